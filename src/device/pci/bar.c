/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: after any write that may matter, each BAR's address is computed afresh from
 * the registers of the function and of the bridges above it; what changed is moved, shown or
 * hidden. A BAR is seen when the command register enables its space, its address is neither 0 nor
 * at the end of what its register can hold (the value that sizing leaves there), and every bridge
 * above forwards all of it.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "device/pci/internal.h"

#include <assert.h>

/**
 * bar_register() - Offset of a BAR's register
 * @d:		The function
 * @bar:	0-5, or PCI_ROM_SLOT
 *
 * Return: bytes
 */
unsigned int bar_register(const struct pci_device *d, int bar)
{
	if (bar != PCI_ROM_SLOT)
		return PCI_BASE_ADDRESS_0 + 4 * (unsigned int)bar;
	return d->bridge ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS;
}

static bool is_io(const struct pci_bar *b)
{
	return b->flags & PCI_BASE_ADDRESS_SPACE_IO;
}

static bool is_64bit(const struct pci_bar *b)
{
	return !is_io(b) && b->flags & PCI_BASE_ADDRESS_MEM_TYPE_64;
}

/* What the register reads as when it holds address 0. */
static uint32_t fixed_bits(const struct pci_device *d, int bar)
{
	return bar == PCI_ROM_SLOT ? 0 : d->bars[bar].flags;
}

/**
 * bar_reserve() - Give a BAR its register
 * @d:		The function
 * @bar:	0-5, or PCI_ROM_SLOT
 * @size:	Bytes, a power of two
 * @flags:	Low bits of the register
 */
void bar_reserve(struct pci_device *d, int bar, uint64_t size, uint8_t flags)
{
	unsigned int at = bar_register(d, bar);
	uint64_t mask = ~(size - 1);

	assert(IS_POWER_OF_2(size) && !d->bars[bar].size);
	d->bars[bar].size = size;
	d->bars[bar].flags = flags;
	if (bar == PCI_ROM_SLOT)
		mask |= PCI_ROM_ADDRESS_ENABLE;
	store_le32(d->config + at, fixed_bits(d, bar));
	if (is_64bit(&d->bars[bar])) {
		store_le64(d->wmask + at, mask);
		store_le64(d->cmask + at, UINT64_MAX);
	} else {
		store_le32(d->wmask + at, (uint32_t)mask);
		store_le32(d->cmask + at, UINT32_MAX);
	}
}

/**
 * pci_bar_region() - Let a BAR show an I/O region
 * @d:		Initialised, not attached yet
 * @bar:	0-5
 * @r:		Size is set (a power of two); kind, base and enabled are the core's
 * @flags:	Low bits of the register
 */
void pci_bar_region(struct pci_device *d, int bar, struct io_region *r, uint8_t flags)
{
	bar_reserve(d, bar, r->size, flags);
	r->kind = is_io(&d->bars[bar]) ? IO_PORT : IO_MEMORY;
	r->enabled = false;
	r->priority = MAX(r->priority, 1);
	d->bars[bar].region = r;
}

/**
 * pci_bar_map() - Let a BAR show a window of a RAM block
 * @d:		Initialised
 * @bar:	0-5, or PCI_ROM_SLOT
 * @map:	Made disabled; its size is a power of two
 * @flags:	Low bits of the register; 0 for the ROM
 */
void pci_bar_map(struct pci_device *d, int bar, struct memory_map *map, uint8_t flags)
{
	bar_reserve(d, bar, map->size, flags);
	d->bars[bar].map = map;
}

/* What a bridge forwards: kind 0 I/O, 1 memory, 2 prefetchable memory. */
static void window(const struct pci_device *bridge, int kind, uint64_t *base, uint64_t *limit)
{
	const uint8_t *c = bridge->config;

	if (kind == 0) {
		*base = (uint64_t)(c[PCI_IO_BASE] & 0xf0) << 8;
		*limit = (uint64_t)(c[PCI_IO_LIMIT] & 0xf0) << 8 | 0xfff;
	} else if (kind == 1) {
		*base = (uint64_t)(load_le16(c + PCI_MEMORY_BASE) & 0xfff0) << 16;
		*limit = (uint64_t)(load_le16(c + PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff;
	} else {
		*base = (uint64_t)(load_le16(c + PCI_PREF_MEMORY_BASE) & 0xfff0) << 16 |
			(uint64_t)load_le32(c + PCI_PREF_BASE_UPPER32) << 32;
		*limit = (uint64_t)(load_le16(c + PCI_PREF_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff |
			 (uint64_t)load_le32(c + PCI_PREF_LIMIT_UPPER32) << 32;
	}
}

static bool in_window(const struct pci_device *bridge, int kind, uint64_t first, uint64_t last)
{
	uint64_t base, limit;

	window(bridge, kind, &base, &limit);
	return first >= base && last <= limit;
}

static bool forwarded(const struct pci_device *d, bool io, uint64_t first, uint64_t last)
{
	for (const struct pci_device *up = d->bus->bridge; up; up = up->bus->bridge) {
		uint8_t command = up->config[PCI_COMMAND];

		if (io ? !(command & PCI_COMMAND_IO) || !in_window(up, 0, first, last)
		       : !(command & PCI_COMMAND_MEMORY) || (!in_window(up, 1, first, last) &&
							     !in_window(up, 2, first, last)))
			return false;
		if (!up->bus)
			return false;
	}
	return true;
}

static uint64_t address(const struct pci_device *d, int bar)
{
	const uint8_t *reg = d->config + bar_register(d, bar);

	return (is_64bit(&d->bars[bar]) ? load_le64(reg) : load_le32(reg)) &
	       ~(d->bars[bar].size - 1);
}

static bool space_enabled(const struct pci_device *d, int bar)
{
	uint8_t wanted = is_io(&d->bars[bar]) ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	if (bar == PCI_ROM_SLOT && !(d->config[bar_register(d, bar)] & PCI_ROM_ADDRESS_ENABLE))
		return false;
	return d->config[PCI_COMMAND] & wanted;
}

/* Above 2^52 there is no physical address on x86; sizing a 64-bit BAR passes through there. */
static bool visible(const struct pci_device *d, int bar, uint64_t addr)
{
	const struct pci_bar *b = &d->bars[bar];
	uint64_t last = addr + b->size - 1;
	uint64_t end = is_io(b) ? 0xffff : is_64bit(b) ? (1ULL << 52) - 1 : UINT32_MAX - 1;

	return d->bus && !d->power_off && space_enabled(d, bar) && addr && last > addr &&
	       last <= end && forwarded(d, is_io(b), addr, last);
}

static void place(struct pci_device *d, int bar)
{
	static struct log_limit limit;
	struct pci_bar *b = &d->bars[bar];
	struct err e;

	if (b->region)
		io_region_set(b->region, b->addr, b->mapped);
	if (d->msix.entries && d->msix.bar == bar)
		msix_place(d, b);
	if (b->map &&
	    memory_map_set(d->dev.env->memory, b->map, b->addr, b->mapped, b->map->readonly, &e))
		log_guest(&limit, "%s: BAR %d: %s", d->dev.path, bar, e.msg);
}

/**
 * pci_bars_update() - Let the BARs be seen where the registers say
 * @d:		Attached, or being detached (nothing is seen then); chipset lock held
 */
void pci_bars_update(struct pci_device *d)
{
	for (int bar = 0; bar <= PCI_ROM_SLOT; bar++) {
		struct pci_bar *b = &d->bars[bar];
		uint64_t addr;
		bool mapped;

		if (!b->size)
			continue;
		addr = address(d, bar);
		mapped = visible(d, bar, addr);
		if (mapped == b->mapped && (!mapped || addr == b->addr))
			continue;
		b->mapped = mapped;
		b->addr = mapped ? addr : 0;
		place(d, bar);
	}
}

/**
 * bars_reset() - Forget the addresses that the guest gave
 * @d:		The function
 */
void bars_reset(struct pci_device *d)
{
	for (int bar = 0; bar <= PCI_ROM_SLOT; bar++) {
		uint8_t *reg = d->config + bar_register(d, bar);

		if (d->bars[bar].size && is_64bit(&d->bars[bar]))
			store_le64(reg, fixed_bits(d, bar));
		else if (d->bars[bar].size)
			store_le32(reg, fixed_bits(d, bar));
	}
	if (d->bus)
		pci_bars_update(d);
}

/**
 * bars_show() - Take part in the address spaces, hidden at first
 * @d:		Being attached
 */
void bars_show(struct pci_device *d)
{
	for (int bar = 0; bar < PCI_BARS; bar++)
		if (d->bars[bar].region)
			io_region_add(d->dev.env->io, d->bars[bar].region);
	if (d->msix.entries) {
		io_region_add(d->dev.env->io, &d->msix.table_region);
		io_region_add(d->dev.env->io, &d->msix.pba_region);
	}
	pci_bars_update(d);
}

/**
 * bars_hide() - Leave the address spaces; waits until no vCPU is in the regions
 * @d:		Being detached
 */
void bars_hide(struct pci_device *d)
{
	pci_bars_update(d);
	for (int bar = 0; bar < PCI_BARS; bar++)
		if (d->bars[bar].region)
			io_region_del(d->bars[bar].region);
	if (d->msix.entries) {
		io_region_del(&d->msix.table_region);
		io_region_del(&d->msix.pba_region);
	}
}
