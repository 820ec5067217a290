/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: six SATA ports with nothing attached: SStatus says so, commands that a guest
 * issues are never taken. What is left are registers, reset, the index-data pair, and the first
 * device-to-host FIS that QEMU sends even from an empty port when its receive engine starts.
 *
 * Source: AHCI 1.3.1, 3; Intel ICH9 data sheet 14. Fitted to QEMU's ich9-ahci bit by bit.
 */
#include "machine/q35/ahci.h"

#include "base/bytes.h"
#include "machine/q35/q35_chipset.h"

#include <errno.h>
#include <string.h>

enum hba_register {
	HBA_CAP = 0x00,
	HBA_GHC = 0x04,
	HBA_IS = 0x08,
	HBA_PI = 0x0c,
	HBA_VS = 0x10,
	HBA_PORTS = 0x100,
	PORT_BYTES = 0x80
};
enum port_register {
	PX_CLB = 0x00,
	PX_CLBU = 0x04,
	PX_FB = 0x08,
	PX_FBU = 0x0c,
	PX_IS = 0x10,
	PX_IE = 0x14,
	PX_CMD = 0x18,
	PX_TFD = 0x20,
	PX_SIG = 0x24,
	PX_SSTS = 0x28,
	PX_SCTL = 0x2c,
	PX_SERR = 0x30,
	PX_SACT = 0x34,
	PX_CI = 0x38
};

#define GHC_RESET      1u
#define GHC_INTERRUPTS 2u
#define GHC_AHCI       0x80000000u
#define CAP            0xc0141f00u /* 64 bits, NCQ, AHCI only, 1.5 Gb/s, 32 slots */
#define CMD_START      0x00000001u
#define CMD_POWER      0x00000006u /* spun up, powered */
#define CMD_FIS_RX     0x00000010u
#define CMD_FIS_ON     0x00004000u
#define CMD_LIST_ON    0x00008000u
#define CMD_READONLY   0x007dffe0u
#define CMD_ICC        0xf0000000u
#define IS_FIS         1u
#define FIS_D2H        0x34

static void irq_update(struct ahci *a)
{
	bool level;

	a->s.is = 0;
	for (int i = 0; i < AHCI_PORTS; i++)
		if (a->s.port[i].is & a->s.port[i].ie)
			a->s.is |= 1u << i;
	level = a->s.is && a->s.ghc & GHC_INTERRUPTS;
	if (!pci_msi_enabled(&a->pci))
		pci_intx_set(&a->pci, level);
	else if (level)
		pci_msi_notify(&a->pci);
}

/* The ATA registers as after a device's power-on diagnostics. */
static void drive_reset(struct ahci_drive *d)
{
	*d = (struct ahci_drive){.mult_sectors = 16,
				 .nsector = 1,
				 .sector = 1,
				 .lcyl = 0xff,
				 .hcyl = 0xff,
				 .select = 0xa0,
				 .status = 0x50};
}

static void port_reset(struct ahci_port *p)
{
	drive_reset(&p->drive);
	memset(&p->bus, 0, sizeof(p->bus));
	p->ssts = p->serr = p->sact = 0;
	p->tfd = 0x7f;
	p->sig = UINT32_MAX;
	p->busy_slot = -1;
	p->init_d2h_sent = false;
}

static void hba_reset(struct ahci *a)
{
	a->s.is = 0;
	a->s.ghc = GHC_AHCI;
	for (int i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *p = &a->s.port[i];

		p->is = p->ie = p->sctl = 0;
		p->cmd = CMD_POWER;
		port_reset(p);
	}
	irq_update(a);
}

static uint64_t join(uint32_t low, uint32_t high)
{
	return low | (uint64_t)high << 32;
}

/* The first FIS of a port: tells the ATA registers. */
static void fis_send(struct ahci *a, struct ahci_port *p)
{
	const struct ahci_drive *d = &p->drive;
	uint8_t fis[20] = {FIS_D2H,
			   0x40,
			   d->status,
			   d->error,
			   d->sector,
			   d->lcyl,
			   d->hcyl,
			   d->select,
			   d->hob_sector,
			   d->hob_lcyl,
			   d->hob_hcyl,
			   0,
			   (uint8_t)d->nsector,
			   (uint8_t)(d->nsector >> 8)};

	if (!memory_write(a->pci.dev.env->memory, join(p->fb, p->fbu) + 0x40, fis, sizeof(fis)))
		return;
	p->tfd = (uint32_t)d->error << 8 | d->status;
	p->sig = (uint32_t)d->hcyl << 24 | (uint32_t)d->lcyl << 16 | (uint32_t)d->sector << 8 |
		 (d->nsector & 0xff);
	p->init_d2h_sent = true;
	p->is |= IS_FIS;
	irq_update(a);
}

static bool is_ram(struct ahci *a, uint64_t gpa, uint64_t len)
{
	return memory_ptr(a->pci.dev.env->memory, gpa, len, MEMORY_READ) != NULL;
}

/* Engines run only on buffers that are RAM. */
static void engines_update(struct ahci *a, struct ahci_port *p)
{
	if (p->cmd & CMD_START && !(p->cmd & CMD_LIST_ON))
		p->cmd = is_ram(a, join(p->clb, p->clbu), 1024) ? p->cmd | CMD_LIST_ON
								: p->cmd & ~CMD_START;
	else if (!(p->cmd & CMD_START))
		p->cmd &= ~CMD_LIST_ON;
	if (p->cmd & CMD_FIS_RX && !(p->cmd & CMD_FIS_ON))
		p->cmd = is_ram(a, join(p->fb, p->fbu), 256) ? p->cmd | CMD_FIS_ON
							     : p->cmd & ~CMD_FIS_RX;
	else if (!(p->cmd & CMD_FIS_RX))
		p->cmd &= ~CMD_FIS_ON;
}

static void command_write(struct ahci *a, struct ahci_port *p, uint32_t value)
{
	p->cmd = (p->cmd & CMD_READONLY) | (value & ~(CMD_READONLY | CMD_ICC));
	engines_update(a, p);
	if (p->cmd & CMD_FIS_ON && !p->init_d2h_sent)
		fis_send(a, p);
}

static void port_write(struct ahci *a, struct ahci_port *p, unsigned int reg, uint32_t value)
{
	switch (reg) {
	case PX_CLB: p->clb = value; break;
	case PX_CLBU: p->clbu = value; break;
	case PX_FB: p->fb = value; break;
	case PX_FBU: p->fbu = value; break;
	case PX_IS:
		p->is &= ~value;
		irq_update(a);
		break;
	case PX_IE:
		p->ie = value & 0xfdc000ff;
		irq_update(a);
		break;
	case PX_CMD: command_write(a, p, value); break;
	case PX_SCTL:
		if ((p->sctl & 0xf) == 1 && !(value & 0xf))
			port_reset(p);
		p->sctl = value;
		break;
	case PX_SERR: p->serr &= ~value; break;
	case PX_SACT: p->sact |= value; break;
	case PX_CI: p->ci |= value; break; /* nobody takes it */
	default: break;
	}
}

static uint32_t port_read(const struct ahci_port *p, unsigned int reg)
{
	switch (reg) {
	case PX_CLB: return p->clb;
	case PX_CLBU: return p->clbu;
	case PX_FB: return p->fb;
	case PX_FBU: return p->fbu;
	case PX_IS: return p->is;
	case PX_IE: return p->ie;
	case PX_CMD: return p->cmd;
	case PX_TFD: return p->tfd;
	case PX_SIG: return p->sig;
	case PX_SCTL: return p->sctl;
	case PX_SERR: return p->serr;
	case PX_SACT: return p->sact;
	case PX_CI: return p->ci;
	default: return 0; /* PX_SSTS: no device */
	}
}

static struct ahci_port *port_at(struct ahci *a, uint64_t offset)
{
	uint64_t n = (offset - HBA_PORTS) / PORT_BYTES;

	return offset >= HBA_PORTS && n < AHCI_PORTS ? &a->s.port[n] : NULL;
}

static uint32_t word_read(struct ahci *a, uint64_t offset)
{
	struct ahci_port *p = port_at(a, offset);

	if (p)
		return port_read(p, offset % PORT_BYTES);
	switch (offset) {
	case HBA_CAP: return a->s.cap;
	case HBA_GHC: return a->s.ghc;
	case HBA_IS: return a->s.is;
	case HBA_PI: return a->s.pi;
	case HBA_VS: return a->s.vs;
	default: return 0;
	}
}

static void word_write(struct ahci *a, uint64_t offset, uint32_t value)
{
	struct ahci_port *p = port_at(a, offset);

	if (p) {
		port_write(a, p, offset % PORT_BYTES, value);
	} else if (offset == HBA_GHC && value & GHC_RESET) {
		hba_reset(a);
	} else if (offset == HBA_GHC) {
		a->s.ghc = (value & 3) | GHC_AHCI;
		irq_update(a);
	} else if (offset == HBA_IS) {
		irq_update(a);
	}
}

static uint64_t memory_in(void *opaque, uint64_t offset, unsigned int size)
{
	return word_read(opaque, offset & ~3ull) >> 8 * (offset & 3);
}

static void memory_out(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	if (!(offset & 3))
		word_write(opaque, offset, (uint32_t)value);
}

/* Ports 0x10 and 0x14 of the BAR: index and data. */
static uint64_t idp_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ahci *a = opaque;

	if (offset == 0x10)
		return a->s.idp_index;
	return offset == 0x14 ? word_read(a, a->s.idp_index) : 0;
}

static void idp_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct ahci *a = opaque;

	if (offset == 0x10)
		a->s.idp_index = (uint32_t)value & 0xffc;
	else if (offset == 0x14)
		word_write(a, a->s.idp_index, (uint32_t)value);
}

static const struct io_ops memory_ops = {memory_in, memory_out, 1, 4};
static const struct io_ops idp_ops = {idp_read, idp_write, 1, 4};

static void ahci_reset(struct device *dev)
{
	struct ahci *a = (struct ahci *)dev;

	pci_device_reset(&a->pci);
	hba_reset(a);
}

static int caps_init(struct pci_device *d, struct err *e)
{
	int at = pci_add_capability(d, 0x12, 0xa8, 8, e);

	if (at < 0)
		return at;
	store_le16(d->config + at + 2, 0x10); /* revision 1.0 */
	store_le32(d->config + at + 4, 0x48); /* index-data pair in BAR 4 at 0x10 */
	return pci_msi_init(d, 0x80, e);
}

static void bars_init(struct ahci *a)
{
	a->idp_io = (struct io_region){.name = "ahci-idp",
				       .size = 32,
				       .ops = &idp_ops,
				       .opaque = a,
				       .lock = a->pci.dev.lock};
	a->memory_io = (struct io_region){.name = "ahci",
					  .size = 4096,
					  .ops = &memory_ops,
					  .opaque = a,
					  .lock = a->pci.dev.lock};
	pci_bar_region(&a->pci, 4, &a->idp_io, PCI_BASE_ADDRESS_SPACE_IO);
	pci_bar_region(&a->pci, 5, &a->memory_io, 0);
}

static int ahci_realize(struct device *dev, struct err *e)
{
	static const struct pci_ids ids = {.vendor = 0x8086,
					   .device = 0x2922,
					   .revision = 2,
					   .subsystem_vendor = 0x1af4,
					   .subsystem = 0x1100,
					   .class_code = 0x010601};
	struct ahci *a = (struct ahci *)dev;
	int r;

	a->pci.devfn = PCI_DEVFN(31, 2);
	a->pci.multifunction = true;
	a->s.cap = CAP | (AHCI_PORTS - 1);
	a->s.pi = (1u << AHCI_PORTS) - 1;
	a->s.vs = 0x00010000;
	a->s.ports = AHCI_PORTS;
	r = pci_device_init(&a->pci, &ids, e);
	if (!r) {
		a->pci.config[PCI_INTERRUPT_PIN] = 1;
		a->pci.config[0x90] = 0x40; /* address map: AHCI */
		bars_init(a);
		r = caps_init(&a->pci, e);
	}
	if (!r)
		r = pci_device_attach(&a->pci, NULL, e);
	if (r) {
		pci_device_release(&a->pci);
		return r;
	}
	ahci_reset(dev);
	return 0;
}

static void ahci_unrealize(struct device *dev)
{
	struct ahci *a = (struct ahci *)dev;

	pci_device_detach(&a->pci);
	pci_device_release(&a->pci);
}

static void ahci_capture(const struct device *dev, void *state)
{
	const struct ahci *a = (const struct ahci *)dev;
	struct ahci_state *s = state;

	s->hba = a->s;
	pci_capture(&a->pci, &s->pci);
}

static int ahci_validate(const struct device *dev, const void *state, struct err *e)
{
	return pci_validate(&((const struct ahci *)dev)->pci,
			    &((const struct ahci_state *)state)->pci, e);
}

static void ahci_apply(struct device *dev, const void *state)
{
	struct ahci *a = (struct ahci *)dev;
	const struct ahci_state *s = state;

	a->s = s->hba;
	pci_apply(&a->pci, &s->pci);
}

const struct device_class ahci_class = {
	.name = "ich9-ahci",
	.help = "SATA controller, nothing attached",
	.bus = "PCI",
	.size = sizeof(struct ahci),
	.continuity = CONTINUITY_STATE,
	.state = &ahci_table,
	.section = "ich9_ahci",
	.realize = ahci_realize,
	.unrealize = ahci_unrealize,
	.reset = ahci_reset,
	.capture = ahci_capture,
	.validate = ahci_validate,
	.apply = ahci_apply,
};
