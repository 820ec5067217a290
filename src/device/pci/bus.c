/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: functions sit on a bus by slot and function; a bridge owns the bus behind it
 * and passes on what its bus number registers cover. INTx goes up bridge by bridge, each rotating
 * the pin by the slot below it, and ends at an input of the root bus, where the functions that
 * drive it are counted: the input is high while any does.
 *
 * A function remembers the input it was counted at, so that a guest that changes the routing in
 * between can't leave an input high for ever or count below zero.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "device/pci/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

/**
 * pci_bus_create() - Make a bus
 * @name:	Copied; how the property "bus" calls it
 * @bridge:	Above it, or NULL for the root bus
 * @number:	Of the root bus
 *
 * Return: never NULL; release with pci_bus_destroy()
 */
struct pci_bus *pci_bus_create(const char *name, struct pci_device *bridge, uint8_t number)
{
	static unsigned int made; /* main thread only */
	struct pci_bus *b = mem_zalloc(sizeof(*b));

	b->order = made++;
	b->name = str_dup(name);
	b->bridge = bridge;
	b->number = number;
	pthread_mutex_init(&b->irq_lock, NULL);
	return b;
}

/**
 * pci_bus_destroy() - Release an empty bus
 * @b:		May be NULL
 */
void pci_bus_destroy(struct pci_bus *b)
{
	if (!b)
		return;
	for (int devfn = 0; devfn < 256; devfn++)
		assert(!b->devices[devfn]);
	pthread_mutex_destroy(&b->irq_lock);
	free(b->name);
	free(b);
}

/**
 * pci_bus_number() - Number of a bus
 * @b:		The bus
 *
 * Return: 0-255, as the guest programmed the bridge
 */
uint8_t pci_bus_number(const struct pci_bus *b)
{
	return b->bridge ? b->bridge->config[PCI_SECONDARY_BUS] : b->number;
}

static bool covers(const struct pci_device *bridge, uint8_t number)
{
	return number >= bridge->config[PCI_SECONDARY_BUS] &&
	       number <= bridge->config[PCI_SUBORDINATE_BUS];
}

static struct pci_bus *next_bus(const struct pci_bus *b, uint8_t number)
{
	for (int devfn = 0; devfn < 256; devfn++) {
		struct pci_device *d = b->devices[devfn];

		if (d && d->secondary && covers(d, number))
			return d->secondary;
	}
	return NULL;
}

/**
 * pci_bus_find() - A function by number
 * @b:		Bus to begin at
 * @number:	Bus
 * @devfn:	Slot and function
 *
 * Return: the function, or NULL. However the guest programs the bridges, the way only leads down
 */
struct pci_device *pci_bus_find(struct pci_bus *b, uint8_t number, uint8_t devfn)
{
	while (b && pci_bus_number(b) != number)
		b = next_bus(b, number);
	return b ? b->devices[devfn] : NULL;
}

/**
 * pci_bus_find_name() - A bus by name
 * @b:		Where to begin
 * @name:	Id of the bridge above it, or "pcie.0"
 *
 * Return: the bus, or NULL
 */
struct pci_bus *pci_bus_find_name(struct pci_bus *b, const char *name)
{
	if (!strcmp(b->name, name))
		return b;
	for (int devfn = 0; devfn < 256; devfn++) {
		struct pci_device *d = b->devices[devfn];
		struct pci_bus *found = d && d->secondary ? pci_bus_find_name(d->secondary, name)
							  : NULL;

		if (found)
			return found;
	}
	return NULL;
}

/**
 * pci_bus_walk() - Call a function for each device at and below a bus, bridges before what is
 * behind them
 * @b:		The bus
 * @fn:		Called
 * @opaque:	Its argument
 */
void pci_bus_walk(struct pci_bus *b, void (*fn)(struct pci_device *d, void *opaque), void *opaque)
{
	for (int devfn = 0; devfn < 256; devfn++) {
		struct pci_device *d = b->devices[devfn];

		if (!d)
			continue;
		fn(d, opaque);
		if (d->secondary)
			pci_bus_walk(d->secondary, fn, opaque);
	}
}

static void bus_lock(struct pci_device *d)
{
	if (d->dev.env->chipset_lock)
		pthread_mutex_lock(d->dev.env->chipset_lock);
}

static void bus_unlock(struct pci_device *d)
{
	if (d->dev.env->chipset_lock)
		pthread_mutex_unlock(d->dev.env->chipset_lock);
}

static int next_free(const struct pci_bus *b)
{
	int slots = b->bridge && b->bridge->express ? 1 : 32;

	for (int slot = 0; slot < slots; slot++)
		if (!b->devices[PCI_DEVFN(slot, 0)])
			return PCI_DEVFN(slot, 0);
	return -1;
}

static int check_multifunction(const struct pci_device *d, struct err *e)
{
	const struct pci_device *first = d->bus->devices[d->devfn & ~7];

	if (PCI_FN(d->devfn)) {
		if (first && !first->multifunction)
			return err_set(e, EINVAL,
				       "slot %x is not multifunction: %x.%x can't be used",
				       PCI_SLOT(d->devfn), PCI_SLOT(d->devfn), PCI_FN(d->devfn));
		return 0;
	}
	for (int fn = 1; fn < 8 && !d->multifunction; fn++)
		if (d->bus->devices[d->devfn + fn])
			return err_set(
				e, EINVAL,
				"%x.%x is in use already, so function 0 needs multifunction=on",
				PCI_SLOT(d->devfn), fn);
	return 0;
}

static int check_place(struct pci_device *d, struct err *e)
{
	const struct pci_bus *b = d->bus;

	if (d->devfn < 0)
		d->devfn = next_free(b);
	if (d->devfn < 0)
		return err_set(e, ENOSPC, "bus %s has no free slot", b->name);
	if (b->bridge && b->bridge->express && PCI_SLOT(d->devfn))
		return err_set(e, EINVAL, "slot %x: a PCIe port has only slot 0",
			       PCI_SLOT(d->devfn));
	if (b->devices[d->devfn])
		return err_set(e, EBUSY, "%x.%x on bus %s is taken by %s", PCI_SLOT(d->devfn),
			       PCI_FN(d->devfn), b->name, b->devices[d->devfn]->dev.class->name);
	return check_multifunction(d, e);
}

static size_t path_make(const struct pci_device *d, char *to, size_t room)
{
	const struct pci_device *up = d->bus->bridge;
	size_t n = up ? path_make(up, to, room) : (size_t)snprintf(to, room, "0000:00");

	if (n < room)
		n += (size_t)snprintf(to + n, room - n, ":%02x.%x", PCI_SLOT(d->devfn),
				      PCI_FN(d->devfn));
	return n;
}

static struct pci_bus *bus_named(const struct pci_device *d, struct err *e)
{
	struct pci_bus *root = d->dev.env->pci_root, *b;

	if (!root) {
		err_set(e, ENODEV, "this machine has no PCI bus");
		return NULL;
	}
	b = d->bus_name ? pci_bus_find_name(root, d->bus_name) : root;
	if (!b)
		err_set(e, ENOENT, "there is no PCI bus '%s'", d->bus_name);
	return b;
}

/**
 * pci_device_attach() - Put a function on a bus, where the guest can find it
 * @d:		Initialised, with its BARs and capabilities
 * @bus:	NULL: the one its property names, else the root bus
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such bus, ENOSPC no free slot, EBUSY the place is taken, EINVAL it can't be
 * there Return: 0, or a negative errno
 */
int pci_device_attach(struct pci_device *d, struct pci_bus *bus, struct err *e)
{
	struct pci_bus *to = bus ? bus : bus_named(d, e);
	int r;

	if (!to)
		return d->dev.env->pci_root ? -ENOENT : -ENODEV;
	bus_lock(d);
	d->bus = to;
	r = check_place(d, e);
	if (r) {
		d->bus = NULL;
		bus_unlock(d);
		return r;
	}
	path_make(d, d->dev.path, sizeof(d->dev.path));
	bars_show(d);
	to->devices[d->devfn] = d;
	if (to->bridge && to->bridge->child_attached)
		to->bridge->child_attached(to->bridge, d);
	bus_unlock(d);
	return 0;
}

/**
 * pci_device_detach() - Take a function off its bus
 * @d:		May be detached already; no lock held, main thread
 */
void pci_device_detach(struct pci_device *d)
{
	struct pci_bus *from = d->bus;

	if (!from)
		return;
	pci_intx_set(d, false);
	bus_lock(d);
	from->devices[d->devfn] = NULL;
	d->bus = NULL;
	if (from->bridge && from->bridge->child_detached)
		from->bridge->child_detached(from->bridge, d);
	bus_unlock(d);
	bars_hide(d);
}

/**
 * pci_requester() - Who a transaction comes from
 * @d:		Attached
 *
 * Return: bus << 8 | devfn
 */
uint16_t pci_requester(const struct pci_device *d)
{
	return (uint16_t)((d->bus ? pci_bus_number(d->bus) << 8 : 0) | (d->devfn & 0xff));
}

static struct pci_bus *root_of(const struct pci_device *d)
{
	struct pci_bus *b = d->bus;

	while (b && b->bridge)
		b = b->bridge->bus;
	return b;
}

static int root_line(struct pci_device *d, const struct pci_bus *root)
{
	int pin = (d->config[PCI_INTERRUPT_PIN] - 1) & 3, line;

	for (; d->bus != root; d = d->bus->bridge)
		pin = (pin + PCI_SLOT(d->devfn)) & 3;
	line = root->map(root->opaque, d, pin);
	return line >= 0 && line < root->irq_lines ? line : -1;
}

/* Interrupt lock held. */
static void count(struct pci_bus *root, int line, int change)
{
	int32_t *n = &root->irq_count[line];

	*n = MAX(*n + change, 0);
	root->set(root->opaque, line, *n > 0);
}

/* Drives the input, or stops, as level and the interrupt disable bit say. Interrupt lock held. */
static void intx_drive(struct pci_device *d, struct pci_bus *root)
{
	bool disabled = load_le16(d->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
	bool on = d->irq_state && !disabled;

	if (on && d->irq_line < 0) {
		d->irq_line = root_line(d, root);
		if (d->irq_line >= 0)
			count(root, d->irq_line, 1);
	} else if (!on && d->irq_line >= 0) {
		count(root, d->irq_line, -1);
		d->irq_line = -1;
	}
}

/**
 * pci_intx_set() - Drive the function's interrupt pin
 * @d:		Any thread, any lock held
 * @level:	Asserted or not
 */
void pci_intx_set(struct pci_device *d, bool level)
{
	struct pci_bus *root = root_of(d);

	if (!root || !root->set) {
		__atomic_store_n(&d->irq_state, level, __ATOMIC_RELAXED);
		return;
	}
	pthread_mutex_lock(&root->irq_lock);
	if (d->irq_state != level) {
		__atomic_store_n(&d->irq_state, level, __ATOMIC_RELAXED);
		intx_drive(d, root);
	}
	pthread_mutex_unlock(&root->irq_lock);
}

/**
 * intx_refresh() - The interrupt disable bit may have changed
 * @d:		The function
 */
void intx_refresh(struct pci_device *d)
{
	struct pci_bus *root = root_of(d);

	if (!root || !root->set)
		return;
	pthread_mutex_lock(&root->irq_lock);
	intx_drive(d, root);
	pthread_mutex_unlock(&root->irq_lock);
}

/**
 * intx_restore() - Take over a loaded level. The root bus's counts are derived from these, not
 * loaded
 * @d:		The function, its configuration space is in place
 * @level:	As it was sent
 */
void intx_restore(struct pci_device *d, bool level)
{
	pci_intx_set(d, level);
	intx_refresh(d);
}

static void remap(struct pci_device *d, void *opaque)
{
	struct pci_bus *root = opaque;

	if (d->irq_line < 0)
		return;
	count(root, d->irq_line, -1);
	d->irq_line = -1;
	intx_drive(d, root);
}

/**
 * pci_bus_irq_remap() - What the sink's map() says has changed: count every function at its new
 * input
 * @root:	Root bus; chipset lock held
 */
void pci_bus_irq_remap(struct pci_bus *root)
{
	pthread_mutex_lock(&root->irq_lock);
	pci_bus_walk(root, remap, root);
	pthread_mutex_unlock(&root->irq_lock);
}

/**
 * pci_bus_set_irq_sink() - Say where the root bus's interrupts go
 * @b:		Root bus
 * @set:	Drives input @line; called with a leaf lock held
 * @map:	Gives the input for a function of the root bus and its pin
 * @opaque:	For both
 * @lines:	How many inputs, at most PCI_IRQ_LINES
 */
void pci_bus_set_irq_sink(struct pci_bus *b, void (*set)(void *opaque, int line, bool level),
			  pci_swizzle_fn *map, void *opaque, int lines)
{
	assert(lines <= PCI_IRQ_LINES);
	b->set = set;
	b->map = map;
	b->opaque = opaque;
	b->irq_lines = lines;
}

static void enter(struct pci_device *d)
{
	if (d->dev.lock != d->dev.env->chipset_lock)
		pthread_mutex_lock(d->dev.lock);
}

static void leave(struct pci_device *d)
{
	if (d->dev.lock != d->dev.env->chipset_lock)
		pthread_mutex_unlock(d->dev.lock);
}

/**
 * pci_bus_config_read() - The guest reads a function's configuration space
 * @root:	Root bus; chipset lock held
 * @number:	Bus
 * @devfn:	Slot and function
 * @offset:	0-4095
 * @size:	1, 2 or 4
 *
 * Return: the value, all ones if nobody is there
 */
uint32_t pci_bus_config_read(struct pci_bus *root, uint8_t number, uint8_t devfn,
			     unsigned int offset, unsigned int size)
{
	struct pci_device *d = pci_bus_find(root, number, devfn);
	uint32_t value;

	if (!d || d->power_off)
		return size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
	enter(d);
	value = pci_config_read(d, offset, size);
	leave(d);
	return value;
}

/**
 * pci_bus_config_write() - The guest writes a function's configuration space
 * @root:	Root bus; chipset lock held
 * @number:	Bus
 * @devfn:	Slot and function
 * @offset:	0-4095
 * @value:	Little-endian
 * @size:	1, 2 or 4
 */
void pci_bus_config_write(struct pci_bus *root, uint8_t number, uint8_t devfn, unsigned int offset,
			  uint32_t value, unsigned int size)
{
	struct pci_device *d = pci_bus_find(root, number, devfn);

	if (!d || d->power_off)
		return;
	enter(d);
	pci_config_write(d, offset, value, size);
	leave(d);
}
