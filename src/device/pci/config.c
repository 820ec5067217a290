/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a function's configuration space. The guest's writes go through the masks
 * byte by byte; then whatever they touched is looked at again as a whole: BARs, MSI-X control, the
 * interrupt disable bit, and the class's hook. Bytes behind the header are writable until a
 * capability takes them, as on QEMU.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "device/pci/internal.h"

#include <assert.h>
#include <errno.h>

#define STATUS_W1C                                                                       \
	(PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT | \
	 PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY)

static void masks_init(struct pci_device *d)
{
	store_le16(d->cmask + PCI_VENDOR_ID, 0xffff);
	store_le16(d->cmask + PCI_DEVICE_ID, 0xffff);
	store_le16(d->cmask + PCI_STATUS, PCI_STATUS_CAP_LIST);
	d->cmask[PCI_REVISION_ID] = 0xff;
	d->cmask[PCI_CLASS_PROG] = 0xff;
	store_le16(d->cmask + PCI_CLASS_DEVICE, 0xffff);
	d->cmask[PCI_HEADER_TYPE] = 0xff;
	d->cmask[PCI_CAPABILITY_LIST] = 0xff;
	d->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
	d->wmask[PCI_INTERRUPT_LINE] = 0xff;
	store_le16(d->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
						   PCI_COMMAND_MASTER | PCI_COMMAND_SERR |
						   PCI_COMMAND_INTX_DISABLE);
	memset(d->wmask + PCI_STD_HEADER_SIZEOF, 0xff, d->config_size - PCI_STD_HEADER_SIZEOF);
	store_le16(d->w1cmask + PCI_STATUS, STATUS_W1C);
}

/* Header type 1. Source: PCI-to-PCI Bridge Architecture 1.2, 3.2.5 */
static void bridge_init(struct pci_device *d)
{
	memset(d->wmask + PCI_PRIMARY_BUS, 0xff, 4);
	d->wmask[PCI_IO_BASE] = d->wmask[PCI_IO_LIMIT] = 0xf0;
	store_le16(d->wmask + PCI_MEMORY_BASE, 0xfff0);
	store_le16(d->wmask + PCI_MEMORY_LIMIT, 0xfff0);
	store_le16(d->wmask + PCI_PREF_MEMORY_BASE, 0xfff0);
	store_le16(d->wmask + PCI_PREF_MEMORY_LIMIT, 0xfff0);
	memset(d->wmask + PCI_PREF_BASE_UPPER32, 0xff, 8);
	store_le16(d->wmask + PCI_BRIDGE_CONTROL, 0x0bff);
	store_le16(d->w1cmask + PCI_BRIDGE_CONTROL, 0x0400);
	d->config[PCI_IO_BASE] = d->config[PCI_IO_LIMIT] = PCI_IO_RANGE_TYPE_16;
	d->config[PCI_PREF_MEMORY_BASE] = PCI_PREF_RANGE_TYPE_64;
	d->config[PCI_PREF_MEMORY_LIMIT] = PCI_PREF_RANGE_TYPE_64;
	d->cmask[PCI_IO_BASE] = d->cmask[PCI_IO_LIMIT] = PCI_IO_RANGE_TYPE_MASK;
	d->cmask[PCI_PREF_MEMORY_BASE] = d->cmask[PCI_PREF_MEMORY_LIMIT] = PCI_PREF_RANGE_TYPE_MASK;
}

/**
 * pci_device_init() - Make the configuration space
 * @d:		@express and @bridge are set
 * @ids:	Fixed part of the header
 * @e:		Unused: kept for what may fail
 *
 * Return: 0; release with pci_device_release()
 */
int pci_device_init(struct pci_device *d, const struct pci_ids *ids, struct err *e)
{
	d->config_size = d->express ? 4096 : 256;
	d->config = mem_zalloc(d->config_size);
	d->wmask = mem_zalloc(d->config_size);
	d->w1cmask = mem_zalloc(d->config_size);
	d->cmask = mem_zalloc(d->config_size);
	d->used = mem_zalloc(d->config_size);
	d->irq_line = -1;
	masks_init(d);
	if (d->bridge)
		bridge_init(d);
	store_le16(d->config + PCI_VENDOR_ID, ids->vendor);
	store_le16(d->config + PCI_DEVICE_ID, ids->device);
	d->config[PCI_REVISION_ID] = ids->revision;
	d->config[PCI_CLASS_PROG] = (uint8_t)ids->class_code;
	store_le16(d->config + PCI_CLASS_DEVICE, (uint16_t)(ids->class_code >> 8));
	if (!d->bridge) {
		store_le16(d->config + PCI_SUBSYSTEM_VENDOR_ID, ids->subsystem_vendor);
		store_le16(d->config + PCI_SUBSYSTEM_ID, ids->subsystem);
	}
	d->config[PCI_HEADER_TYPE] = (uint8_t)((d->bridge ? PCI_HEADER_TYPE_BRIDGE : 0) |
					       (d->multifunction ? 0x80 : 0));
	memset(d->used, 1, PCI_STD_HEADER_SIZEOF);
	return 0;
}

/**
 * pci_device_release() - Free what pci_device_init() and capabilities took
 * @d:		Detached
 */
void pci_device_release(struct pci_device *d)
{
	assert(!d->bus);
	msix_release(d);
	mem_free(&d->config);
	mem_free(&d->wmask);
	mem_free(&d->w1cmask);
	mem_free(&d->cmask);
	mem_free(&d->used);
}

static int free_space(const struct pci_device *d, uint8_t size)
{
	int from = PCI_STD_HEADER_SIZEOF;

	for (int at = from; at < 256; at++) {
		if (d->used[at])
			from = at + 1;
		else if (at - from + 1 == size)
			return from;
	}
	return -ENOSPC;
}

/**
 * pci_add_capability() - Put a capability in front of the list
 * @d:		The function
 * @id:		PCI_CAP_ID_...
 * @offset:	Where, or 0 for the first place that is free
 * @size:	Bytes; they become read-only, and must agree in a loaded state
 * @e:		Set on failure only
 *
 * Return: the offset, or -ENOSPC
 */
int pci_add_capability(struct pci_device *d, uint8_t id, uint8_t offset, uint8_t size,
		       struct err *e)
{
	int at = offset ? offset : free_space(d, size);

	if (at < 0)
		return err_set(e, ENOSPC, "no room for PCI capability %#x", id);
	d->config[at] = id;
	d->config[at + 1] = d->config[PCI_CAPABILITY_LIST];
	d->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
	d->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	memset(d->used + at, 1, ALIGN_UP((size_t)size, 4));
	memset(d->wmask + at, 0, size);
	memset(d->cmask + at, 0xff, size);
	return at;
}

/**
 * pci_add_express_capability() - Put a capability at the end of the extended list
 * @d:		Has @express
 * @id:		PCI_EXT_CAP_ID_...
 * @version:	Of the capability
 * @offset:	0x100 for the first one
 * @size:	Bytes
 */
void pci_add_express_capability(struct pci_device *d, uint16_t id, uint8_t version, uint16_t offset,
				uint16_t size)
{
	uint32_t header = id | (uint32_t)version << 16;
	uint16_t last = 0x100;

	assert(d->express && offset >= 0x100 && offset + size <= 4096);
	if (offset != 0x100) {
		while (load_le16(d->config + last + 2) >> 4)
			last = load_le16(d->config + last + 2) >> 4;
		store_le16(d->config + last + 2,
			   (uint16_t)((d->config[last + 2] & 0xf) | offset << 4));
	}
	store_le32(d->config + offset, header);
	memset(d->wmask + offset, 0, size);
	memset(d->w1cmask + offset, 0, size);
	memset(d->cmask + offset, 0xff, size);
}

/**
 * pci_bus_master() - May it access memory and send MSIs?
 * @d:		The function
 *
 * Return: the command register's bit
 */
bool pci_bus_master(const struct pci_device *d)
{
	return d->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

/**
 * pci_config_read() - The guest reads configuration space
 * @d:		The function; its lock held
 * @offset:	Bytes
 * @size:	1, 2 or 4
 *
 * Return: little-endian value; all ones beyond the end
 */
uint32_t pci_config_read(struct pci_device *d, unsigned int offset, unsigned int size)
{
	uint8_t bytes[4] = {0xff, 0xff, 0xff, 0xff};

	if (d->config_reading)
		d->config_reading(d, offset, size);
	for (unsigned int i = 0; i < size && offset + i < d->config_size; i++) {
		bytes[i] = d->config[offset + i];
		if (offset + i == PCI_STATUS && __atomic_load_n(&d->irq_state, __ATOMIC_RELAXED))
			bytes[i] |= PCI_STATUS_INTERRUPT;
	}
	return load_le32(bytes) & (size == 4 ? UINT32_MAX : (1u << 8 * size) - 1);
}

static void byte_write(struct pci_device *d, unsigned int at, uint8_t value)
{
	uint8_t w = d->wmask[at], clear = d->w1cmask[at];

	assert(!(w & clear));
	d->config[at] = (uint8_t)((d->config[at] & ~w) | (value & w));
	d->config[at] &= (uint8_t) ~(value & clear);
}

static bool touches(unsigned int offset, unsigned int size, unsigned int from, unsigned int len)
{
	return offset < from + len && from < offset + size;
}

static bool moves_bars(const struct pci_device *d, unsigned int offset, unsigned int size)
{
	unsigned int rom = d->bridge ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS;

	return touches(offset, size, PCI_COMMAND, 2) ||
	       touches(offset, size, PCI_BASE_ADDRESS_0, 24) || touches(offset, size, rom, 4);
}

/* Secondary bus numbers don't move anything: children are found through them at each access. */
static bool moves_windows(const struct pci_device *d, unsigned int offset, unsigned int size)
{
	return d->bridge &&
	       (touches(offset, size, PCI_COMMAND, 2) || touches(offset, size, PCI_IO_BASE, 2) ||
		touches(offset, size, PCI_MEMORY_BASE, 0x14));
}

static void update_child(struct pci_device *child, void *opaque)
{
	pci_bars_update(child);
}

/**
 * pci_config_write() - The guest writes configuration space
 * @d:		The function; its lock held, and the chipset's
 * @offset:	Bytes; what lies beyond the end is ignored
 * @value:	Little-endian
 * @size:	1, 2 or 4
 */
void pci_config_write(struct pci_device *d, unsigned int offset, uint32_t value, unsigned int size)
{
	for (unsigned int i = 0; i < size && offset + i < d->config_size; i++)
		byte_write(d, offset + i, (uint8_t)(value >> 8 * i));
	if (moves_bars(d, offset, size))
		pci_bars_update(d);
	if (moves_windows(d, offset, size) && d->secondary)
		pci_bus_walk(d->secondary, update_child, NULL);
	if (touches(offset, size, PCI_COMMAND, 2))
		intx_refresh(d);
	if (d->msix.entries && touches(offset, size, d->msix.cap, PCI_CAP_MSIX_SIZEOF))
		msix_control_written(d);
	if (d->msi_cap && touches(offset, size, d->msi_cap, 14))
		msi_control_written(d);
	if (d->config_written)
		d->config_written(d, offset, size);
}

static void clear_writable16(struct pci_device *d, unsigned int at)
{
	uint16_t mask = load_le16(d->wmask + at) | load_le16(d->w1cmask + at);

	store_le16(d->config + at, load_le16(d->config + at) & (uint16_t)~mask);
}

/**
 * pci_device_reset() - The header, BARs, INTx, MSI and MSI-X to power-on values
 * @d:		The function
 */
void pci_device_reset(struct pci_device *d)
{
	pci_intx_set(d, false);
	clear_writable16(d, PCI_COMMAND);
	clear_writable16(d, PCI_STATUS);
	d->config[PCI_INTERRUPT_LINE] &= (uint8_t) ~(d->wmask[PCI_INTERRUPT_LINE] |
						     d->w1cmask[PCI_INTERRUPT_LINE]);
	d->config[PCI_CACHE_LINE_SIZE] = 0;
	bars_reset(d);
	msi_reset(d);
	msix_reset(d);
}
