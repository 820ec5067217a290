/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: query-pci shows each function as its configuration space has it now: what
 * the guest's firmware and system programmed, bus by bus, each bridge with what is behind it.
 */
#include "vmm/q35/ops/ops.h"

#include "base/bytes.h"
#include "device/pci/pci.h"

#define UNMAPPED (-1) /* as QEMU tells a BAR that the guest hasn't mapped */

/* What the machine can have, by class and subclass (PCI Code and ID Assignment 1.11). */
static const char *class_text(uint16_t class)
{
	static const struct {
		uint16_t class;
		const char *text;
	} classes[] = {
		{0x0100, "SCSI controller"},
		{0x0106, "SATA controller"},
		{0x0200, "Ethernet controller"},
		{0x0600, "Host bridge"},
		{0x0601, "ISA bridge"},
		{0x0604, "PCI bridge"},
		{0x0c05, "SMBus"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (classes[i].class == class)
			return classes[i].text;
	return NULL;
}

static json_t *class_of(const struct pci_device *d)
{
	uint16_t class = load_le16(d->config + PCI_CLASS_DEVICE);
	json_t *info = json_pack("{s:i}", "class", class);
	const char *text = class_text(class);

	if (text)
		json_object_set_new(info, "desc", json_string(text));
	return info;
}

static json_t *id_of(const struct pci_device *d)
{
	json_t *id = json_pack("{s:i, s:i}", "vendor", load_le16(d->config + PCI_VENDOR_ID),
			       "device", load_le16(d->config + PCI_DEVICE_ID));

	if (!d->bridge) {
		json_object_set_new(id, "subsystem-vendor",
				    json_integer(load_le16(d->config + PCI_SUBSYSTEM_VENDOR_ID)));
		json_object_set_new(id, "subsystem",
				    json_integer(load_le16(d->config + PCI_SUBSYSTEM_ID)));
	}
	return id;
}

static json_t *regions_of(const struct pci_device *d)
{
	json_t *all = json_array();

	for (int i = 0; i <= PCI_ROM_SLOT; i++) {
		const struct pci_bar *b = &d->bars[i];
		bool io = b->flags & PCI_BASE_ADDRESS_SPACE_IO && i != PCI_ROM_SLOT;
		json_t *r;

		if (!b->size)
			continue;
		r = json_pack("{s:i, s:s, s:I, s:I}", "bar", i, "type", io ? "io" : "memory",
			      "address", b->mapped ? (json_int_t)b->addr : UNMAPPED, "size",
			      (json_int_t)b->size);
		if (!io) {
			json_object_set_new(r, "prefetch",
					    json_boolean(b->flags & PCI_BASE_ADDRESS_MEM_PREFETCH));
			json_object_set_new(r, "mem_type_64",
					    json_boolean(b->flags & PCI_BASE_ADDRESS_MEM_TYPE_64));
		}
		json_array_append_new(all, r);
	}
	return all;
}

static json_t *range(uint64_t base, uint64_t limit)
{
	return json_pack("{s:I, s:I}", "base", (json_int_t)base, "limit", (json_int_t)limit);
}

/* A bridge's windows (PCI-to-PCI Bridge Architecture 1.2, 3.2.5): the limits are inclusive. */
static json_t *io_range(const uint8_t *config)
{
	uint32_t base = (config[PCI_IO_BASE] & 0xf0U) << 8;
	uint32_t limit = (config[PCI_IO_LIMIT] & 0xf0U) << 8;

	if ((config[PCI_IO_BASE] & PCI_IO_RANGE_TYPE_MASK) == PCI_IO_RANGE_TYPE_32) {
		base |= (uint32_t)load_le16(config + PCI_IO_BASE_UPPER16) << 16;
		limit |= (uint32_t)load_le16(config + PCI_IO_LIMIT_UPPER16) << 16;
	}
	return range(base, limit | 0xfff);
}

static json_t *memory_range(const uint8_t *config)
{
	uint64_t base = (load_le16(config + PCI_MEMORY_BASE) & 0xfff0ULL) << 16;
	uint64_t limit = (load_le16(config + PCI_MEMORY_LIMIT) & 0xfff0ULL) << 16;

	return range(base, limit | 0xfffff);
}

static json_t *prefetch_range(const uint8_t *config)
{
	uint64_t base = (load_le16(config + PCI_PREF_MEMORY_BASE) & 0xfff0ULL) << 16;
	uint64_t limit = (load_le16(config + PCI_PREF_MEMORY_LIMIT) & 0xfff0ULL) << 16;

	if ((config[PCI_PREF_MEMORY_BASE] & PCI_PREF_RANGE_TYPE_MASK) == PCI_PREF_RANGE_TYPE_64) {
		base |= (uint64_t)load_le32(config + PCI_PREF_BASE_UPPER32) << 32;
		limit |= (uint64_t)load_le32(config + PCI_PREF_LIMIT_UPPER32) << 32;
	}
	return range(base, limit | 0xfffff);
}

static json_t *bus_functions(const struct pci_bus *bus);

static json_t *bridge_of(const struct pci_device *d)
{
	const uint8_t *c = d->config;
	json_t *info = json_pack("{s:{s:i, s:i, s:i, s:o, s:o, s:o}}", "bus", "number",
				 c[PCI_PRIMARY_BUS], "secondary", c[PCI_SECONDARY_BUS],
				 "subordinate", c[PCI_SUBORDINATE_BUS], "io_range", io_range(c),
				 "memory_range", memory_range(c), "prefetchable_range",
				 prefetch_range(c));

	if (c[PCI_SECONDARY_BUS])
		json_object_set_new(info, "devices", bus_functions(d->secondary));
	return info;
}

static json_t *function_of(const struct pci_bus *bus, const struct pci_device *d)
{
	json_t *info = json_pack("{s:i, s:i, s:i, s:o, s:o, s:i, s:s, s:o}", "bus",
				 pci_bus_number(bus), "slot", PCI_SLOT(d->devfn), "function",
				 PCI_FN(d->devfn), "class_info", class_of(d), "id", id_of(d),
				 "irq_pin", d->config[PCI_INTERRUPT_PIN], "qdev_id",
				 d->dev.id ? d->dev.id : "", "regions", regions_of(d));

	if (d->config[PCI_INTERRUPT_PIN])
		json_object_set_new(info, "irq", json_integer(d->config[PCI_INTERRUPT_LINE]));
	if (d->secondary)
		json_object_set_new(info, "pci_bridge", bridge_of(d));
	return info;
}

static json_t *bus_functions(const struct pci_bus *bus)
{
	json_t *all = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(bus->devices); i++)
		if (bus->devices[i])
			json_array_append_new(all, function_of(bus, bus->devices[i]));
	return all;
}

/**
 * op_query_pci() - QMP query-pci
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	The root bus with its functions, bridges with those behind them
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_pci(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		 struct err *e)
{
	struct guest *g = opaque;
	const struct pci_bus *root = g->q->root;

	pthread_mutex_lock(&g->q->chipset_lock);
	*ret = json_pack("[{s:i, s:o}]", "bus", pci_bus_number(root), "devices",
			 bus_functions(root));
	pthread_mutex_unlock(&g->q->chipset_lock);
	return 0;
}
