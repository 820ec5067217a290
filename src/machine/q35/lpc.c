/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the ICH9 LPC bridge is where PCI interrupts become inputs of the interrupt
 * controllers. A function's pin leads to one of PIRQA-H (by tables in the RCRB for slots 25-31, by
 * a fixed rule for the others). PIRQ n drives IOAPIC input 16+n always, and the ISA line that its
 * routing register names, if it names one. The system control interrupt shares an input with them.
 * Whoever drives does so under route_lock, a leaf lock: PCI functions change their level from any
 * thread.
 *
 * The rest is the function's configuration space, the RCRB, ports 0xb2/0xb3 (APM) and 0xcf9
 * (reset), and what pm.c, tco.c, pcihp.c and cpuhp.c show.
 *
 * Source: Intel ICH9 data sheet, 13.1, 10.1.
 */
#include "machine/q35/lpc.h"

#include "base/bytes.h"

#include <errno.h>

enum lpc_register {
	LPC_PMBASE = 0x40,
	LPC_ACPI_CNTL = 0x44,
	LPC_PIRQA = 0x60,
	LPC_PIRQE = 0x68,
	LPC_DECODE = 0x82,
	LPC_GEN_PMCON1 = 0xa0,
	LPC_RCBA = 0xf0,
};

#define ROUTE_OFF    0x80
#define SMI_LOCK     0x10
#define RCRB_GCS     0x3410
#define SMI_FEATURES (SMI_BROADCAST | SMI_CPU_PLUG | SMI_CPU_UNPLUG)

/* Where the RCRB has the pins' PIRQs of a slot, 0: it hasn't. */
static const uint16_t pin_registers[32] = {
	[25] = 0x3150, [26] = 0x314c, [27] = 0x3148, [28] = 0x3146, [29] = 0x3144, [31] = 0x3140,
};

static bool touches(unsigned int offset, unsigned int size, unsigned int from, unsigned int len)
{
	return offset < from + len && from < offset + size;
}

static void gsi_drive(struct lpc *l, int gsi, bool level)
{
	struct irq irq = device_gsi(&l->pci.dev, gsi);

	irq_set(&irq, level);
}

/* Everything that shares an input. Route lock held. */
static void gsi_update(struct lpc *l, int gsi)
{
	bool level = gsi == l->sci_gsi && l->s.sci_level;

	if (gsi >= 16)
		level |= l->pirq_level[gsi - 16];
	for (int i = 0; i < LPC_PIRQS && gsi < 16; i++)
		if (!(l->pirq_route[i] & ROUTE_OFF) && (l->pirq_route[i] & 15) == gsi)
			level |= l->pirq_level[i];
	gsi_drive(l, gsi, level);
}

static void pirq_set(void *opaque, int line, bool level)
{
	struct lpc *l = opaque;

	pthread_mutex_lock(&l->route_lock);
	if (l->pirq_level[line] != level) {
		l->pirq_level[line] = level;
		gsi_update(l, 16 + line);
		if (!(l->pirq_route[line] & ROUTE_OFF))
			gsi_update(l, l->pirq_route[line] & 15);
	}
	pthread_mutex_unlock(&l->route_lock);
}

static int pirq_map(void *opaque, struct pci_device *d, int pin)
{
	struct lpc *l = opaque;

	return l->irr[PCI_SLOT(d->devfn)][pin & 3];
}

/**
 * sci_set() - Drive the system control interrupt
 * @l:		The LPC bridge; chipset lock held
 * @level:	Asserted or not
 */
void sci_set(struct lpc *l, bool level)
{
	if (l->s.sci_level == level)
		return;
	pthread_mutex_lock(&l->route_lock);
	l->s.sci_level = level;
	gsi_update(l, l->sci_gsi);
	pthread_mutex_unlock(&l->route_lock);
}

/**
 * smi_raise() - Send a system management interrupt, where there is SMM
 * @l:		The LPC bridge
 * @whom:	To which vCPUs
 */
void smi_raise(struct lpc *l, enum vm_smi whom)
{
	if (l->smi)
		l->smi(l->smi_opaque, whom);
}

static void routes_update(struct lpc *l)
{
	pthread_mutex_lock(&l->route_lock);
	memcpy(l->pirq_route, l->pci.config + LPC_PIRQA, 4);
	memcpy(l->pirq_route + 4, l->pci.config + LPC_PIRQE, 4);
	for (int gsi = 0; gsi < 16; gsi++) {
		bool was = false;

		for (int i = 0; i < LPC_PIRQS; i++)
			was |= l->pirq_level[i];
		if (was) /* else no input is driven by any of them, before or after */
			gsi_update(l, gsi);
	}
	pthread_mutex_unlock(&l->route_lock);
}

/* Slots without a register: pins A-D go to PIRQE-H, rotated by the slot. Slot 30 stands for what is
 * behind DMI. */
static void pins_update(struct lpc *l)
{
	for (unsigned int slot = 0; slot < 32; slot++) {
		uint16_t reg = pin_registers[slot];

		for (unsigned int pin = 0; pin < 4; pin++)
			l->irr[slot][pin] = reg          ? load_le16(l->s.rcrb + reg) >> 4 * pin & 7
					    : slot == 30 ? (uint8_t)(pin + 4)
							 : (uint8_t)((slot + pin) % 4 + 4);
	}
	pci_bus_irq_remap(l->pci.bus);
}

static uint64_t rcrb_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct lpc *l = opaque;

	return load_le32(l->s.rcrb + (offset & ~3ull)) >> 8 * (offset & 3);
}

static void rcrb_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct lpc *l = opaque;

	for (unsigned int i = 0; i < size; i++)
		l->s.rcrb[offset + i] = (uint8_t)(value >> 8 * i);
	if (touches((unsigned int)offset, size, 0x3140, 0x14))
		pins_update(l);
}

static void rcrb_place(struct lpc *l)
{
	uint32_t reg = load_le32(l->pci.config + LPC_RCBA);

	io_region_set(&l->rcrb_io, reg & 0xffffc000, reg & 1);
}

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct lpc *l = opaque;

	return offset ? l->s.apms : l->s.apmc;
}

static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct lpc *l = opaque;

	if (offset) {
		l->s.apms = (uint8_t)value;
		return;
	}
	l->s.apmc = (uint8_t)value;
	pm_apm_command(l, (uint8_t)value);
}

static uint64_t reset_read(void *opaque, uint64_t offset, unsigned int size)
{
	return ((struct lpc *)opaque)->s.rst_cnt;
}

static void reset_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct lpc *l = opaque;

	if (value & 4)
		device_request(&l->pci.dev, MACHINE_RESET, 0);
	else
		l->s.rst_cnt = value & 0x0a;
}

static const struct io_ops rcrb_ops = {rcrb_read, rcrb_write, 1, 4};
static const struct io_ops apm_ops = {apm_read, apm_write, 1, 1};
static const struct io_ops reset_ops = {reset_read, reset_write, 1, 1};

static void pmcon_update(struct lpc *l)
{
	if (!(l->pci.config[LPC_GEN_PMCON1] & SMI_LOCK))
		return;
	l->pci.wmask[LPC_GEN_PMCON1] &= (uint8_t)~SMI_LOCK;
	l->smi_wmask &= ~1u;
}

static void lpc_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct lpc *l = (struct lpc *)pci;

	if (touches(offset, size, LPC_PMBASE, 5))
		pm_place(l);
	if (touches(offset, size, LPC_RCBA, 4))
		rcrb_place(l);
	if (touches(offset, size, LPC_PIRQA, 4) || touches(offset, size, LPC_PIRQE, 4))
		routes_update(l);
	if (touches(offset, size, LPC_GEN_PMCON1, 8))
		pmcon_update(l);
}

static void rcrb_reset(struct lpc *l)
{
	memset(l->s.rcrb, 0, sizeof(l->s.rcrb));
	for (int slot = 0; slot < 32; slot++)
		if (pin_registers[slot])
			store_le16(l->s.rcrb + pin_registers[slot], 0x3210);
	store_le32(l->s.rcrb + RCRB_GCS, 0x20);
	pins_update(l);
}

static void lpc_reset(struct device *dev)
{
	struct lpc *l = (struct lpc *)dev;
	uint8_t *c = l->pci.config;

	pci_device_reset(&l->pci);
	memset(c + LPC_PIRQA, ROUTE_OFF, 4);
	memset(c + LPC_PIRQE, ROUTE_OFF, 4);
	c[LPC_ACPI_CNTL] = 0;
	store_le32(c + LPC_PMBASE, 1);
	store_le32(c + LPC_RCBA, 0);
	l->pci.wmask[LPC_GEN_PMCON1] |= SMI_LOCK;
	rcrb_reset(l);
	routes_update(l);
	rcrb_place(l);
	pm_reset(l);
	pm_place(l);
	sci_set(l, false);
	l->s.rst_cnt = 0;
	memset(l->s.smi_guest, 0, sizeof(l->s.smi_guest));
	l->s.smi_ok = 0;
	l->s.smi_negotiated = 0;
	if (l->acpi_hotplug)
		pcihp_reset(l);
}

/* Firmware asks for SMI features by writing them, and selects features-ok to have them locked. */
static void smi_features_lock(void *opaque)
{
	struct lpc *l = opaque;
	uint64_t wanted = load_le64(l->s.smi_guest);
	uint64_t cpu = wanted & (SMI_CPU_PLUG | SMI_CPU_UNPLUG);
	bool ok = !(wanted & ~(uint64_t)SMI_FEATURES) && (wanted & SMI_BROADCAST || !cpu) &&
		  cpu != SMI_CPU_UNPLUG;

	if (l->s.smi_ok || !ok)
		return;
	l->s.smi_negotiated = wanted;
	l->s.smi_ok = 1;
}

static int smi_files_add(struct lpc *l, struct err *e)
{
	const uint8_t host[8] = {SMI_FEATURES};
	const struct fw_cfg_blob guest = {.data = l->s.smi_guest, .len = 8, .writable = true};
	const struct fw_cfg_blob done = {
		.data = &l->s.smi_ok, .len = 1, .opaque = l, .selected = smi_features_lock};
	int r;

	if (!l->fw_cfg)
		return 0;
	r = fw_cfg_add_file(l->fw_cfg, "etc/smi/supported-features", host, sizeof(host), e);
	if (!r)
		r = fw_cfg_add_shared(l->fw_cfg, "etc/smi/requested-features", &guest, e);
	if (!r)
		r = fw_cfg_add_shared(l->fw_cfg, "etc/smi/features-ok", &done, e);
	return r;
}

static void port_init(struct lpc *l, struct io_region *r, const char *name, uint64_t base,
		      uint64_t size, const struct io_ops *ops)
{
	*r = (struct io_region){.name = name,
				.kind = IO_PORT,
				.base = base,
				.size = size,
				.ops = ops,
				.opaque = l,
				.lock = l->pci.dev.lock,
				.priority = 1,
				.enabled = true};
	io_region_add(l->pci.dev.env->io, r);
}

static void regions_add(struct lpc *l)
{
	port_init(l, &l->apm_io, "apm-io", 0xb2, 2, &apm_ops);
	port_init(l, &l->reset_io, "lpc-reset-control", 0xcf9, 1, &reset_ops);
	l->rcrb_io = (struct io_region){.name = "lpc-rcrb-mmio",
					.kind = IO_MEMORY,
					.size = LPC_RCRB_BYTES,
					.ops = &rcrb_ops,
					.opaque = l,
					.lock = l->pci.dev.lock,
					.priority = 1};
	io_region_add(l->pci.dev.env->io, &l->rcrb_io);
	pm_init(l);
	pcihp_init(l);
	cpuhp_init(l);
}

static int lpc_realize(struct device *dev, struct err *e)
{
	static const struct pci_ids ids = {.vendor = 0x8086,
					   .device = 0x2918,
					   .revision = 2,
					   .subsystem_vendor = 0x1af4,
					   .subsystem = 0x1100,
					   .class_code = 0x060100};
	struct lpc *l = (struct lpc *)dev;
	int r;

	l->pci.devfn = PCI_DEVFN(31, 0);
	l->pci.multifunction = true;
	l->pci.config_written = lpc_written;
	pthread_mutex_init(&l->route_lock, NULL);
	r = pci_device_init(&l->pci, &ids, e);
	store_le32(l->pci.wmask + LPC_PMBASE, 0xff87);
	if (!r)
		r = pci_device_attach(&l->pci, l->host ? l->host->root : NULL, e);
	if (!r)
		r = smi_files_add(l, e);
	if (r) {
		pci_device_detach(&l->pci);
		pci_device_release(&l->pci);
		return r;
	}
	pci_bus_set_irq_sink(l->pci.bus, pirq_set, pirq_map, l, LPC_PIRQS);
	regions_add(l);
	lpc_reset(dev);
	return 0;
}

static void lpc_unrealize(struct device *dev)
{
	struct lpc *l = (struct lpc *)dev;

	io_region_del(&l->apm_io);
	io_region_del(&l->reset_io);
	io_region_del(&l->rcrb_io);
	io_region_del(&l->pcihp_io);
	io_region_del(&l->cpuhp_io);
	io_region_del(&l->memhp_io);
	pm_release(l);
	pci_bus_set_irq_sink(l->pci.bus, NULL, NULL, NULL, 0);
	pci_device_detach(&l->pci);
	pci_device_release(&l->pci);
	pthread_mutex_destroy(&l->route_lock);
}

/**
 * lpc_set_decode() - Say which legacy ports there are
 * @l:		The LPC bridge, realized
 * @bits:	1: COM1, 2: COM2, 4: LPT, 8: floppy
 */
void lpc_set_decode(struct lpc *l, uint8_t bits)
{
	l->pci.config[LPC_DECODE] |= bits;
}

static void lpc_capture(const struct device *dev, void *state)
{
	const struct lpc *l = (const struct lpc *)dev;
	struct lpc_state *s = state;

	*s = l->s;
	pci_capture(&l->pci, &s->pci);
	s->pm.timer = timer_expires_ns(l->pm_timer);
	s->pm.tco.timer = timer_expires_ns(l->tco_timer);
}

static int lpc_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct lpc_state *s = state;

	if (s->sci_level > 1)
		return err_set(e, EINVAL, "sci_level: %u, 0 or 1 is possible", s->sci_level);
	return pci_validate(&((const struct lpc *)dev)->pci, &s->pci, e);
}

/* All inputs are driven afresh: the interrupt controllers' own state may come before or after this.
 */
static void lpc_apply(struct device *dev, const void *state)
{
	struct lpc *l = (struct lpc *)dev;

	l->s = *(const struct lpc_state *)state;
	l->numbering = PCIHP_UNKNOWN;
	pci_apply(&l->pci, &l->s.pci);
	pm_place(l);
	rcrb_place(l);
	pmcon_update(l);
	pm_apply(l);
	pins_update(l);
	routes_update(l);
}

static void lpc_run(struct device *dev)
{
	struct lpc *l = (struct lpc *)dev;

	pthread_mutex_lock(&l->route_lock);
	for (int i = 0; i < LPC_PIRQS; i++)
		if (l->pirq_level[i])
			gsi_update(l, 16 + i);
	if (l->s.sci_level)
		gsi_update(l, l->sci_gsi);
	pthread_mutex_unlock(&l->route_lock);
}

static const struct prop lpc_props[] = {
	{.name = "noreboot",
	 .kind = PROP_BOOL,
	 .offset = offsetof(struct lpc, noreboot),
	 .def = "on",
	 .help = "The watchdog's second time-out does nothing"},
	{.name = "acpi-pci-hotplug-with-bridge-support",
	 .kind = PROP_BOOL,
	 .offset = offsetof(struct lpc, acpi_hotplug),
	 .def = "on",
	 .help = "PCI hot-plug by ACPI behind bridges"},
	{.name = "disable_s3",
	 .kind = PROP_U8,
	 .offset = offsetof(struct lpc, s3_off),
	 .def = "0",
	 .help = "1: no suspend to RAM",
	 .max = 1},
	{.name = "disable_s4",
	 .kind = PROP_U8,
	 .offset = offsetof(struct lpc, s4_off),
	 .def = "0",
	 .help = "1: no suspend to disk",
	 .max = 1},
	{.name = "s4_val",
	 .kind = PROP_U8,
	 .offset = offsetof(struct lpc, s4_type),
	 .def = "2",
	 .help = "Sleep type of suspend to disk",
	 .max = 7},
	PROPS_END,
};

const struct device_class lpc_class = {
	.name = "ICH9-LPC",
	.help = "ICH9 LPC bridge",
	.bus = "PCI",
	.size = sizeof(struct lpc),
	.continuity = CONTINUITY_STATE,
	.state = &lpc_table,
	.section = "ICH9LPC",
	.props = lpc_props,
	.realize = lpc_realize,
	.unrealize = lpc_unrealize,
	.reset = lpc_reset,
	.capture = lpc_capture,
	.validate = lpc_validate,
	.apply = lpc_apply,
	.run = lpc_run,
};
