/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the chipset as a table, in the order in which the parts are made, saved and
 * applied. A row names a class and what must be set before the part appears. Interrupt controllers,
 * timer and clock are KVM's; their sections are made with the vCPUs.
 */
#include "machine/q35/q35.h"

#include "device/i8042.h"
#include "device/pcspk.h"
#include "device/pflash.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* By this firmware knows that memory has a guest that it shall go on with. */
#define CMOS_SHUTDOWN 0x0f
#define CMOS_RESUME   0xfe

/**
 * struct part - A row of the chipset
 * @class:	Device class
 * @prepare:	Sets what the part needs to know; may be NULL
 * @wanted:	Whether this machine has it; NULL: always
 * @instance:	Instance number of its section
 */
struct part {
	const char *class;
	void (*prepare)(struct q35 *q, struct device *dev);
	bool (*wanted)(const struct q35 *q);
	int instance;
};

/* The chips end at 4 GiB, one below the other. */
static void prepare_flash(struct q35 *q, struct device *dev)
{
	struct pflash *f = CONTAINER_OF(dev, struct pflash, dev);

	f->drive = q->pflash[dev->instance];
	f->block = q->ram.flash[dev->instance];
	f->adopted = q->adopted;
	f->gpa = Q35_BIOS_END;
	for (int i = 0; i <= dev->instance; i++)
		f->gpa -= q->ram.flash[i]->size;
}

static bool with_flash(const struct q35 *q)
{
	return q->pflash[0];
}

static bool with_second_flash(const struct q35 *q)
{
	return q->pflash[1];
}

static void prepare_fw_cfg(struct q35 *q, struct device *dev)
{
	q->fw_cfg = CONTAINER_OF(dev, struct fw_cfg, dev);
	q->env.fw_cfg = q->fw_cfg;
}

static void prepare_host(struct q35 *q, struct device *dev)
{
	q->host_bridge = CONTAINER_OF(dev, struct pci_host, dev);
	q->host_bridge->root = q->root;
}

static void place(struct q35 *q, struct pci_device *d, int devfn)
{
	d->devfn = devfn;
	d->multifunction = devfn != 0;
}

static void prepare_mch(struct q35 *q, struct device *dev)
{
	q->mch = CONTAINER_OF(dev, struct mch, pci.dev);
	q->mch->host = q->host_bridge;
	q->mch->ram = q->ram.parts[0];
	q->mch->below_4g = x86_layout_q35(q->ram.bytes).below_4g;
	q->mch->top = q35_ram_at(&q->ram, q->mch->below_4g - 1, &q->mch->top_bytes);
	q->mch->top_bytes++;
	place(q, &q->mch->pci, PCI_DEVFN(0, 0));
}

static void prepare_bus(struct q35 *q, struct device *dev)
{
	CONTAINER_OF(dev, struct bus_section, dev)->bus = q->root;
}

static void raise_event(void *opaque, int bit, bool level)
{
	if (level)
		lpc_gpe_event(opaque, (enum gpe_bit)bit);
}

static void raise_smi(void *opaque, enum vm_smi whom)
{
	vm_smi(opaque, whom);
}

static void prepare_lpc(struct q35 *q, struct device *dev)
{
	uint32_t ids[CPUHP_MAX];

	for (unsigned int i = 0; i < q->max_cpus; i++)
		ids[i] = x86_apic_id(&q->cpuid.topology, i);
	q->lpc = CONTAINER_OF(dev, struct lpc, pci.dev);
	q->lpc->host = q->host_bridge;
	q->lpc->fw_cfg = q->fw_cfg;
	q->lpc->tables = q->ram.tables;
	q->lpc->smi = q->smm ? raise_smi : NULL;
	q->lpc->smi_opaque = &q->vm;
	place(q, &q->lpc->pci, PCI_DEVFN(31, 0));
	lpc_set_cpus(q->lpc, ids, q->max_cpus, q->cpus);
	q->env.gpe = (struct irq){.set = raise_event, .opaque = q->lpc};
}

static void prepare_second_dma(struct q35 *q, struct device *dev)
{
	struct err e = {0};
	int r = device_set(dev, "second", "on", &e);

	assert(r == 0);
	(void)r;
}

static void prepare_hpet(struct q35 *q, struct device *dev)
{
	q->hpet_dev = CONTAINER_OF(dev, struct hpet, dev);
	q->hpet_dev->pit_enabled = (struct irq){.set = q35_pit_enable, .opaque = q};
}

/* In its legacy mode the HPET stands between the RTC and its interrupt. */
static void prepare_rtc(struct q35 *q, struct device *dev)
{
	q->rtc = CONTAINER_OF(dev, struct rtc, dev);
	if (q->hpet_dev)
		q->rtc->irq = hpet_rtc_input(q->hpet_dev);
	if (q->rtc_slew)
		q->rtc->lost_ticks = RTC_SLEW;
}

static void prepare_speaker(struct q35 *q, struct device *dev)
{
	struct pcspk *d = CONTAINER_OF(dev, struct pcspk, dev);

	d->pit_read = q35_pit_speaker;
	d->pit_gate = q35_pit_gate;
	d->pit_opaque = q;
}

static void prepare_keyboard(struct q35 *q, struct device *dev)
{
	q->keyboard = CONTAINER_OF(dev, struct ps2_keyboard, dev);
}

static void prepare_mouse(struct q35 *q, struct device *dev)
{
	q->mouse = CONTAINER_OF(dev, struct ps2_mouse, dev);
}

static void prepare_i8042(struct q35 *q, struct device *dev)
{
	struct i8042 *d = CONTAINER_OF(dev, struct i8042, dev);

	d->keyboard = q->keyboard;
	d->mouse = q->mouse;
}

static void prepare_vmmouse(struct q35 *q, struct device *dev)
{
	q->vmmouse = CONTAINER_OF(dev, struct vmmouse, dev);
	q->vmmouse->mouse = q->mouse;
}

static void prepare_vmport(struct q35 *q, struct device *dev)
{
	struct vmport *d = CONTAINER_OF(dev, struct vmport, dev);

	d->mouse = q->vmmouse;
	d->ram_bytes = q->ram.bytes;
}

static void prepare_ahci(struct q35 *q, struct device *dev)
{
	place(q, CONTAINER_OF(dev, struct pci_device, dev), PCI_DEVFN(31, 2));
}

static void prepare_smbus(struct q35 *q, struct device *dev)
{
	place(q, CONTAINER_OF(dev, struct pci_device, dev), PCI_DEVFN(31, 3));
}

static bool with_hpet(const struct q35 *q)
{
	return q->hpet;
}

static bool with_vmport(const struct q35 *q)
{
	return q->vmport;
}

static const struct part parts[] = {
	{"cfi.pflash01", prepare_flash, with_flash, 0},
	{"cfi.pflash01", prepare_flash, with_second_flash, 1},
	{"fw_cfg_io", prepare_fw_cfg, NULL, 0},
	{"q35-pcihost", prepare_host, NULL, 0},
	{"mch", prepare_mch, NULL, 0},
	{"PCIBUS", prepare_bus, NULL, 0},
	{"i8257", NULL, NULL, 0},
	{"i8257", prepare_second_dma, NULL, 1},
	{"ICH9-LPC", prepare_lpc, NULL, 0},
	{"hpet", prepare_hpet, with_hpet, 0},
	{"mc146818rtc", prepare_rtc, NULL, 0},
	{"isa-pcspk", prepare_speaker, NULL, 0},
	{"ps2-kbd", prepare_keyboard, NULL, 0},
	{"ps2-mouse", prepare_mouse, NULL, 0},
	{"i8042", prepare_i8042, NULL, 0},
	{"vmmouse", prepare_vmmouse, with_vmport, 0},
	{"vmport", prepare_vmport, with_vmport, 0},
	{"port92", NULL, NULL, 0},
	{"ich9-ahci", prepare_ahci, NULL, 0},
	{"i2c-bus", NULL, NULL, 0},
	{"ICH9-SMB", prepare_smbus, NULL, 0},
	{"acpi-build", NULL, NULL, 0},
};

static int part_make(struct q35 *q, const struct part *p, struct err *e)
{
	const struct device_class *class = device_class_find(p->class);
	struct device *dev;
	int r;

	if (p->wanted && !p->wanted(q))
		return 0;
	if (!class)
		return err_set(e, ENOENT, "%s isn't in this build", p->class);
	dev = device_create(class, &q->env);
	dev->instance = p->instance;
	if (p->prepare)
		p->prepare(q, dev);
	r = device_set_globals(dev, e);
	if (r >= 0)
		r = device_realize(dev, e);
	if (r < 0) {
		device_destroy(dev);
		return err_in(e, "%s", p->class);
	}
	list_add_tail(&q->devices, &dev->link);
	return 0;
}

static void on_event(struct vm_listener *l, enum vm_event event, int arg)
{
	struct q35 *q = CONTAINER_OF(l, struct q35, listener);

	if (event == VM_POWERDOWN && q->lpc)
		lpc_power_button(q->lpc);
	if (event == VM_SUSPENDED)
		rtc_set_cmos(q->rtc, CMOS_SHUTDOWN, CMOS_RESUME);
	if (event == VM_WAKEUP)
		lpc_wakeup(q->lpc, (enum wakeup_reason)arg);
	if (event == VM_RESET)
		q35_boot_order_reset(q);
}

/**
 * q35_parts_make() - Make the chipset
 * @q:		KVM, memory, I/O space and CPUID are there
 * @c:		The configuration
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int q35_parts_make(struct q35 *q, const struct q35_config *c, struct err *e)
{
	int r = 0;

	q->root = pci_bus_create("pcie.0", NULL, 0);
	q->env.pci_root = q->root;
	for (size_t i = 0; i < ARRAY_SIZE(parts) && r >= 0; i++)
		r = part_make(q, &parts[i], e);
	if (r < 0)
		return r;
	q->env.native_hotplug = !q->lpc->acpi_hotplug;
	rtc_set_time(q->rtc, c->rtc_s);
	lpc_set_decode(q->lpc, c->serials & 3);
	q->listener.event = on_event;
	vm_listen(&q->vm, &q->listener);
	return 0;
}
