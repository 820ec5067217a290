/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICE_VICTIM_H
#define TESTS_UNIT_DEVICE_VICTIM_H

/* The whole chipset with two root ports on a bench, for guests that mean harm. */

#include "device/classes.h"
#include "device/fw_cfg.h"
#include "device/hpet.h"
#include "device/i8042.h"
#include "device/rtc.h"
#include "device/vmport.h"
#include "device_env.h"
#include "machine/q35/lpc.h"

/**
 * struct victim - A machine's chipset and its bench
 * @devices:	In the order they were made
 * @random:	Of what isn't the guest's to choose
 */
struct victim {
	struct bench *b;
	struct device *devices[32];
	size_t len;
	uint64_t random;
};

static inline uint64_t victim_random(struct victim *v)
{
	v->random ^= v->random << 13;
	v->random ^= v->random >> 7;
	v->random ^= v->random << 17;
	return v->random;
}

static inline struct device *victim_add(struct victim *v, struct device *dev)
{
	v->devices[v->len++] = dev;
	return bench_realize(v->b, dev);
}

static inline struct device *victim_make(struct victim *v, const struct device_class *class)
{
	return device_create(class, &v->b->env);
}

static inline bool victim_registers(void *opaque, uint32_t *regs, bool write)
{
	struct victim *v = opaque;

	for (int i = 0; i < VMPORT_REGISTERS && !write; i++)
		regs[i] = (uint32_t)(victim_random(v) % 3 ? victim_random(v) % 64
							  : victim_random(v));
	if (!write && victim_random(v) % 4)
		regs[VMPORT_EAX] = 0x564d5868;
	return true;
}

static inline void victim_add_input(struct victim *v)
{
	struct i8042 *d = (struct i8042 *)victim_make(v, &i8042_class);
	struct vmport *p = (struct vmport *)victim_make(v, &vmport_class);

	d->keyboard = (struct ps2_keyboard *)victim_add(v, victim_make(v, &ps2_keyboard_class));
	d->mouse = (struct ps2_mouse *)victim_add(v, victim_make(v, &ps2_mouse_class));
	victim_add(v, &d->dev);
	p->mouse = (struct vmmouse *)victim_add(v, victim_make(v, &vmmouse_class));
	p->registers = victim_registers;
	p->registers_opaque = v;
	victim_add(v, &p->dev);
}

static inline void victim_add_port(struct victim *v, const char *id, const char *bus)
{
	struct device *dev = victim_make(v, &pcie_port_class);
	struct err e;

	assert_ok(device_set(dev, "id", id, &e), &e);
	if (bus)
		assert_ok(device_set(dev, "bus", bus, &e), &e);
	victim_add(v, dev);
}

static inline void victim_add_pci(struct victim *v)
{
	static const uint32_t cpus[] = {0, 1};
	struct pci_host *h = (struct pci_host *)victim_make(v, &pci_host_class);
	struct mch *m = (struct mch *)victim_make(v, &mch_class);
	struct lpc *l = (struct lpc *)victim_make(v, &lpc_class);

	h->root = v->b->root;
	victim_add(v, &h->dev);
	m->host = l->host = h;
	m->ram = ram_find(&v->b->memory, "pc.ram");
	m->below_4g = m->ram->size;
	victim_add(v, &m->pci.dev);
	lpc_set_cpus(l, cpus, 2, 2);
	victim_add(v, &l->pci.dev);
	victim_add(v, victim_make(v, &ahci_class));
	victim_add(v, victim_make(v, &smbus_class));
	victim_add_port(v, "rp0", NULL);
	victim_add_port(v, "rp1", "rp0");
}

/* A file to read and one that the guest may write, as the generation id's address is. */
static inline void victim_add_fw_cfg(struct victim *v)
{
	static uint8_t address[8];
	const struct fw_cfg_blob writable = {
		.data = address, .len = sizeof(address), .writable = true};
	struct fw_cfg *f = (struct fw_cfg *)victim_make(v, &fw_cfg_class);
	struct err e;

	victim_add(v, &f->dev);
	assert_ok(fw_cfg_add_file(f, "opt/org.example/text", "seventeen letters", 17, &e), &e);
	assert_ok(fw_cfg_add_shared(f, "etc/vmgenid_addr", &writable, &e), &e);
}

static inline struct victim *victim_create(uint64_t seed)
{
	const struct ram_options options = {.kind = RAM_MEMFD};
	struct victim *v = mem_zalloc(sizeof(*v));
	struct memory_map map = {.size = 2 * MiB, .enabled = true}, *mapped;
	struct err e;

	v->b = bench_create();
	v->random = seed;
	assert_ok(ram_create(&v->b->memory, "pc.ram", 2 * MiB, &options, &map.block, &e), &e);
	assert_ok(memory_map_add(&v->b->memory, &map, &mapped, &e), &e);
	victim_add_pci(v);
	victim_add_fw_cfg(v);
	victim_add(v, victim_make(v, &serial_class));
	victim_add(v, victim_make(v, &rtc_class));
	victim_add(v, victim_make(v, &hpet_class));
	victim_add(v, victim_make(v, &dma_class));
	victim_add(v, victim_make(v, &pcspk_class));
	victim_add_input(v);
	victim_add(v, victim_make(v, &port92_class));
	victim_add(v, victim_make(v, &pvpanic_class));
	return v;
}

static inline void victim_destroy(struct victim *v)
{
	while (v->len)
		device_destroy(v->devices[--v->len]);
	bench_destroy(v->b);
	free(v);
}

/* What firmware would set up, now and then, so that the accesses find something. */
static inline void victim_set_up(struct victim *v)
{
	struct lpc *l = (struct lpc *)v->devices[2];

	pthread_mutex_lock(&v->b->chipset_lock);
	pci_config_write(&l->pci, 0x40, 0x600, 4);
	pci_config_write(&l->pci, 0x44, 0x80, 1);
	pci_config_write(&l->pci, 0xf0, 0xfed1c001, 4);
	for (size_t i = 3; i <= 6; i++) { /* victim_add_pci() made them in this order */
		struct pci_device *d = (struct pci_device *)v->devices[i];

		pci_config_write(d, PCI_BASE_ADDRESS_4, i == 3 ? 0xc040 : 0xc000, 4);
		pci_config_write(d, PCI_BASE_ADDRESS_5, 0xfe801000, 4);
		pci_config_write(d, PCI_BASE_ADDRESS_0, 0xfe000000, 4);
		pci_config_write(d, PCI_COMMAND, 7, 2);
	}
	pthread_mutex_unlock(&v->b->chipset_lock);
}

#endif
