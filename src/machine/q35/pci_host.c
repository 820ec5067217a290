/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: two ways into configuration space: an address in port 0xcf8 (bit 31: enable;
 * bus, function, register) with data at 0xcfc-0xcff, and the memory window ECAM, where the address
 * is the offset. Both run under the chipset's lock; the function's own is taken inside.
 *
 * Source: PCI Local Bus 3.0, 3.2.2.3.2; PCI Express Base 7.2.2. The sections are QEMU's "PCIHost"
 * and "PCIBUS".
 */
#include "device/wire.h"
#include "machine/q35/q35_chipset.h"

static uint64_t address_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *h = opaque;

	return size == 4 ? h->s.address : UINT64_MAX;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_host *h = opaque;

	if (size == 4 && !offset)
		h->s.address = (uint32_t)value;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *h = opaque;
	uint32_t at = h->s.address;

	if (!(at & 1u << 31))
		return UINT64_MAX;
	return pci_bus_config_read(h->root, (uint8_t)(at >> 16), (uint8_t)(at >> 8),
				   (at & 0xfc) | (unsigned int)offset, size);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_host *h = opaque;
	uint32_t at = h->s.address;

	if (at & 1u << 31)
		pci_bus_config_write(h->root, (uint8_t)(at >> 16), (uint8_t)(at >> 8),
				     (at & 0xfc) | (unsigned int)offset, (uint32_t)value, size);
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *h = opaque;

	return pci_bus_config_read(h->root, (uint8_t)(offset >> 20), (uint8_t)(offset >> 12),
				   offset & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_host *h = opaque;

	pci_bus_config_write(h->root, (uint8_t)(offset >> 20), (uint8_t)(offset >> 12),
			     offset & 0xfff, (uint32_t)value, size);
}

static const struct io_ops address_ops = {address_read, address_write, 1, 4};
static const struct io_ops data_ops = {data_read, data_write, 1, 4};
static const struct io_ops ecam_ops = {ecam_read, ecam_write, 1, 4};

/**
 * pci_host_set_ecam() - Place the memory window
 * @h:		The host bridge; chipset lock held
 * @enabled:	It is seen
 * @base:	First address
 * @bytes:	64, 128 or 256 MiB
 */
void pci_host_set_ecam(struct pci_host *h, bool enabled, uint64_t base, uint64_t bytes)
{
	if (h->ecam.size != bytes)
		io_region_set(&h->ecam, base, false);
	h->ecam.size = bytes;
	io_region_set(&h->ecam, base, enabled);
}

static void region_add(struct pci_host *h, struct io_region *r, const char *name, uint64_t base,
		       const struct io_ops *ops)
{
	*r = (struct io_region){.name = name,
				.kind = IO_PORT,
				.base = base,
				.size = 4,
				.ops = ops,
				.opaque = h,
				.lock = h->dev.lock,
				.enabled = true};
	io_region_add(h->dev.env->io, r);
}

static int pci_host_realize(struct device *dev, struct err *e)
{
	struct pci_host *h = (struct pci_host *)dev;

	region_add(h, &h->address_io, "pci-conf-idx", 0xcf8, &address_ops);
	region_add(h, &h->data_io, "pci-conf-data", 0xcfc, &data_ops);
	h->ecam = (struct io_region){.name = "pcie-mmcfg-mmio",
				     .kind = IO_MEMORY,
				     .size = 256 * MiB,
				     .ops = &ecam_ops,
				     .opaque = h,
				     .lock = dev->lock};
	io_region_add(dev->env->io, &h->ecam);
	return 0;
}

static void pci_host_unrealize(struct device *dev)
{
	struct pci_host *h = (struct pci_host *)dev;

	io_region_del(&h->address_io);
	io_region_del(&h->data_io);
	io_region_del(&h->ecam);
}

static void pci_host_reset(struct device *dev)
{
	((struct pci_host *)dev)->s.address = 0;
}

static void pci_host_capture(const struct device *dev, void *state)
{
	*(struct pci_host_state *)state = ((const struct pci_host *)dev)->s;
}

static void pci_host_apply(struct device *dev, const void *state)
{
	((struct pci_host *)dev)->s = *(const struct pci_host_state *)state;
}

static const struct state_field pci_host_fields[] = {
	FIELD("config_reg", struct pci_host_state, address),
	FIELDS_END,
};

static const struct state_table pci_host_table = {
	.name = "PCIHost",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct pci_host_state),
	.fields = pci_host_fields,
};

const struct device_class pci_host_class = {
	.name = "q35-pcihost",
	.help = "PCI host bridge: ports and ECAM",
	.bus = "System",
	.size = sizeof(struct pci_host),
	.continuity = CONTINUITY_STATE,
	.state = &pci_host_table,
	.section = "PCIHost",
	.realize = pci_host_realize,
	.unrealize = pci_host_unrealize,
	.reset = pci_host_reset,
	.capture = pci_host_capture,
	.apply = pci_host_apply,
};

/**
 * q35_bus_capture() - The section "PCIBUS" of a bus
 * @b:		The bus; one behind a bridge has no inputs of its own
 * @state:	struct bus_state, zeroed
 */
void q35_bus_capture(const struct pci_bus *b, void *state)
{
	struct bus_state *s = state;

	s->lines = b->irq_lines;
	for (int i = 0; i < b->irq_lines; i++)
		s->count[i] = b->irq_count[i];
}

static void bus_capture(const struct device *dev, void *state)
{
	q35_bus_capture(((const struct bus_section *)dev)->bus, state);
}

/* The counts follow from the functions' own levels, which come in their sections. */
static void bus_apply(struct device *dev, const void *state)
{
}

static const struct state_field bus_fields[] = {
	FIELD_CODEC("nirq", struct bus_state, lines, &wire_int32_equal),
	FIELD_N("irq_count", struct bus_state, count, lines),
	FIELDS_END,
};

static const struct bus_state bus_fresh = {.lines = 8}; /* PIRQA to PIRQH */

const struct state_table q35_bus_table = {
	.name = "PCIBUS",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct bus_state),
	.fields = bus_fields,
	.fresh = &bus_fresh,
};

const struct device_class pci_bus_class = {
	.name = "PCIBUS",
	.help = "Interrupt inputs of a PCI bus",
	.bus = "System",
	.size = sizeof(struct bus_section),
	.continuity = CONTINUITY_STATE,
	.state = &q35_bus_table,
	.section = "PCIBUS",
	.capture = bus_capture,
	.apply = bus_apply,
};
