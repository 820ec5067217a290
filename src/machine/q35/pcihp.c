/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: ACPI hot-plug of PCI devices. The guest's ACPI code selects a bus by number,
 * reads which slots changed
 * ("up", "down"), and ejects a slot by writing its bit; then the machine is asked to take the
 * device away. Buses that take devices are numbered as QEMU numbers them (the ACPI tables that
 * travel with a guest have these numbers in them): depth first from 0, of several bridges the one
 * made last comes first. The root bus takes none.
 *
 * Outlive 0.1 numbered the root bus and ports with hotplug=off, too. A guest that has its tables
 * goes on with its numbers until it reads new ones; the tables themselves say which they are.
 *
 * Source: QEMU's docs/specs/acpi_pci_hotplug, at port 0xcc0.
 */
#include "machine/q35/lpc.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

enum pcihp_register {
	REG_UP = 0,
	REG_DOWN = 4,
	REG_EJECT = 8,
	REG_REMOVABLE = 12,
	REG_SELECT = 16,
	REG_INDEX = 20,
	REGS_END = 24
};

/**
 * struct numbering - Walk over the buses in the order of their numbers
 * @next:	Number of the next bus
 * @number:	Wanted number, or -1
 * @bus:	Wanted bus, or NULL; found one on return
 * @all:	Buses that take no devices count, too
 */
struct numbering {
	int next, number;
	const struct pci_bus *bus;
	bool all;
};

/* Bridge behind which the bus made last before @before lies. */
static struct pci_device *bridge_before(struct pci_bus *b, unsigned int before)
{
	struct pci_device *best = NULL;

	for (int devfn = 0; devfn < 256; devfn++) {
		struct pci_device *d = b->devices[devfn];

		if (d && d->secondary && d->secondary->order < before &&
		    (!best || d->secondary->order > best->secondary->order))
			best = d;
	}
	return best;
}

static bool number_walk(struct pci_bus *b, struct numbering *n)
{
	struct pci_device *d = NULL;

	if (b->hotplug || n->all) {
		if (n->next == n->number || b == n->bus) {
			n->number = n->next;
			n->bus = b;
			return true;
		}
		n->next++;
	}
	while ((d = bridge_before(b, d ? d->secondary->order : UINT32_MAX)))
		if (number_walk(d->secondary, n))
			return true;
	return false;
}

/* A number in the DSDT: Name (BSEL, n). Ours and QEMU's begin at 0, Outlive 0.1's at 1. */
static bool numbers_all(struct lpc *l)
{
	static const uint8_t name[] = {0x08, 'B', 'S', 'E', 'L'};
	const uint8_t *at, *end;
	bool any = false;

	if (l->numbering != PCIHP_UNKNOWN || !l->tables)
		return l->numbering == PCIHP_ALL;
	l->numbering = PCIHP_HOTPLUG;
	at = l->tables->hva;
	end = at + l->tables->size;
	while ((at = memmem(at, (size_t)(end - at), name, sizeof(name)))) {
		at += sizeof(name);
		if (at == end || *at == 0)
			return false;
		any = true;
	}
	if (any)
		l->numbering = PCIHP_ALL;
	return any;
}

/**
 * lpc_pci_tables_written() - The guest is given tables with numbers of this version
 * @l:		The LPC bridge; chipset lock held, or the machine doesn't run
 */
void lpc_pci_tables_written(struct lpc *l)
{
	l->numbering = PCIHP_HOTPLUG;
}

static struct pci_bus *bus_selected(struct lpc *l)
{
	struct numbering n = {.number = (int)MIN(l->s.pm.pcihp_select, (uint32_t)PCIHP_BUSES),
			      .all = numbers_all(l)};

	if (n.number >= PCIHP_BUSES || !number_walk(l->pci.bus, &n))
		return NULL;
	return (struct pci_bus *)n.bus;
}

/**
 * lpc_pci_bus_selector() - Number by which the hot-plug registers know a bus
 * @l:		The LPC bridge
 * @bus:	The bus
 *
 * Return: 0-255, or -1: it takes no devices
 */
int lpc_pci_bus_selector(struct lpc *l, const struct pci_bus *bus)
{
	struct numbering n = {.number = -1, .bus = bus, .all = numbers_all(l)};
	bool known = l->acpi_hotplug && bus->hotplug && number_walk(l->pci.bus, &n);

	return known && n.number < PCIHP_BUSES ? n.number : -1;
}

static bool can_go(const struct pci_device *d)
{
	return d->dev.class->hotplug && !d->bridge;
}

static uint32_t removable(const struct pci_bus *b)
{
	uint32_t mask = UINT32_MAX;

	for (int devfn = 0; b && devfn < 256; devfn++)
		if (b->devices[devfn] && !can_go(b->devices[devfn]))
			mask &= ~(1u << PCI_SLOT(devfn));
	return mask;
}

static void eject(struct lpc *l, uint32_t slots)
{
	const struct device_env *env = l->pci.dev.env;
	struct pci_bus *b = bus_selected(l);
	struct pcihp_status *status;
	int slot;

	if (!b || !slots)
		return;
	slot = __builtin_ctz(slots);
	status = &l->s.pm.pcihp[l->s.pm.pcihp_select];
	status->up &= ~(1u << slot);
	status->down &= ~(1u << slot);
	for (int fn = 0; fn < 8; fn++) {
		struct pci_device *d = b->devices[PCI_DEVFN(slot, fn)];

		if (d && can_go(d) && env->eject)
			env->eject(env->opaque, &d->dev);
	}
}

static void index_fetch(struct lpc *l, uint32_t slots)
{
	struct pci_bus *b = bus_selected(l);

	for (int fn = 0; b && slots && fn < 8; fn++) {
		struct pci_device *d = b->devices[PCI_DEVFN(__builtin_ctz(slots), fn)];

		if (d) {
			l->s.pm.acpi_index = d->acpi_index;
			return;
		}
	}
}

static uint64_t pcihp_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct lpc *l = opaque;
	struct pm_state *p = &l->s.pm;
	uint32_t value = 0;

	if (size != 4 || p->pcihp_select >= PCIHP_BUSES)
		return 0;
	switch (offset) {
	case REG_UP:
		value = p->pcihp[p->pcihp_select].up;
		p->pcihp[p->pcihp_select].up = 0;
		break;
	case REG_DOWN: value = p->pcihp[p->pcihp_select].down; break;
	case REG_REMOVABLE: value = removable(bus_selected(l)); break;
	case REG_SELECT: value = p->pcihp_select; break;
	case REG_INDEX:
		value = p->acpi_index;
		p->acpi_index = 0;
		break;
	default: break;
	}
	return value;
}

static void pcihp_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct lpc *l = opaque;

	if (size != 4)
		return;
	l->s.pm.acpi_index = 0;
	if (offset == REG_SELECT)
		l->s.pm.pcihp_select = (uint32_t)value;
	else if (offset == REG_EJECT)
		eject(l, (uint32_t)value);
	else if (offset == REG_INDEX)
		index_fetch(l, (uint32_t)value);
}

static const struct io_ops pcihp_ops = {pcihp_read, pcihp_write, 1, 4};

/**
 * pcihp_init() - Show the registers
 * @l:		The LPC bridge
 */
void pcihp_init(struct lpc *l)
{
	l->pcihp_io = (struct io_region){.name = "acpi-pci-hotplug",
					 .kind = IO_PORT,
					 .base = 0xcc0,
					 .size = REGS_END,
					 .ops = &pcihp_ops,
					 .opaque = l,
					 .lock = l->pci.dev.lock,
					 .enabled = l->acpi_hotplug};
	l->s.pm.pcihp_off = !l->acpi_hotplug;
	io_region_add(l->pci.dev.env->io, &l->pcihp_io);
}

/**
 * pcihp_reset() - A guest that reboots has let go of what was asked to go
 * @l:		The LPC bridge
 */
void pcihp_reset(struct lpc *l)
{
	uint32_t selected = l->s.pm.pcihp_select;

	for (uint32_t bus = 0; bus < PCIHP_BUSES; bus++) {
		l->s.pm.pcihp_select = bus;
		while (l->s.pm.pcihp[bus].down) {
			uint32_t first = l->s.pm.pcihp[bus].down & -l->s.pm.pcihp[bus].down;

			eject(l, first);
			l->s.pm.pcihp[bus].down &= ~first; /* also where the bus is gone */
		}
	}
	l->s.pm.pcihp_select = selected;
}

/**
 * lpc_pci_can_plug() - Can a device come to this bus while the guest runs?
 * @l:		The LPC bridge; main thread
 * @bus:	The bus
 * @e:		Set on failure only
 *
 * Errors: EOPNOTSUPP it is the root bus (QEMU's q35 doesn't either), its port has hotplug=off, or
 * ACPI hot-plug is off
 * Return: 0, or a negative errno
 */
int lpc_pci_can_plug(struct lpc *l, const struct pci_bus *bus, struct err *e)
{
	int number;

	if (!bus->bridge)
		return err_set(e, EOPNOTSUPP,
			       "bus %s doesn't take devices while the guest runs: use bus=ID of a "
			       "port that it was started with (-device "
			       "pcie-root-port,id=ID,chassis=1)",
			       bus->name);
	if (!bus->hotplug)
		return err_set(e, EOPNOTSUPP, "port '%s' has hotplug=off", bus->name);
	pthread_mutex_lock(l->pci.dev.lock);
	number = lpc_pci_bus_selector(l, bus);
	pthread_mutex_unlock(l->pci.dev.lock);
	if (number < 0)
		return err_set(e, EOPNOTSUPP, "ACPI hot-plug is off, bus %s has none", bus->name);
	return 0;
}

/**
 * lpc_pci_plugged() - Tell the guest that a device came
 * @l:		The LPC bridge; main thread
 * @d:		Attached
 */
void lpc_pci_plugged(struct lpc *l, struct pci_device *d)
{
	int number;

	pthread_mutex_lock(l->pci.dev.lock);
	number = lpc_pci_bus_selector(l, d->bus);
	if (number >= 0)
		l->s.pm.pcihp[number].up |= 1u << PCI_SLOT(d->devfn);
	pthread_mutex_unlock(l->pci.dev.lock);
	if (number >= 0)
		lpc_gpe_event(l, GPE_PCI_HOTPLUG);
}

/**
 * lpc_pci_unplug_request() - Ask the guest to let a device go
 * @l:		The LPC bridge; main thread
 * @d:		Attached
 * @e:		Set on failure only
 *
 * Errors: EOPNOTSUPP it can't go, or ACPI hot-plug is off
 * Return: 0, or a negative errno
 */
int lpc_pci_unplug_request(struct lpc *l, struct pci_device *d, struct err *e)
{
	int number;

	if (!can_go(d))
		return err_set(e, EOPNOTSUPP, "%s can't be taken away while the guest runs",
			       d->dev.class->name);
	pthread_mutex_lock(l->pci.dev.lock);
	number = lpc_pci_bus_selector(l, d->bus);
	if (number >= 0)
		l->s.pm.pcihp[number].down |= 1u << PCI_SLOT(d->devfn);
	pthread_mutex_unlock(l->pci.dev.lock);
	if (number < 0)
		return err_set(e, EOPNOTSUPP, "ACPI hot-plug is off, bus %s has none",
			       d->bus->name);
	lpc_gpe_event(l, GPE_PCI_HOTPLUG);
	return 0;
}
