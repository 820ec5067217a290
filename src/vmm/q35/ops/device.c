/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: devices that come and go while the guest is there. A PCI device comes to a
 * port's bus: it is made, reset, given power, and the guest is told by ACPI, or by the port itself
 * where ACPI hot-plug is off. device_del only asks: the guest answers by an eject, on a vCPU's
 * thread with the chipset lock held. The device is noted in guest->ejected and the main thread
 * destroys it and says DEVICE_DELETED. A vCPU comes and goes by ACPI, too. What sits on another bus
 * (a port of virtio-serial, a SCSI disk) goes at once; its controller tells the driver.
 *
 * A device stays on its bus until the main thread detaches it, so the guest can eject it again
 * meanwhile: a device is noted once, and forgotten behind its end.
 */
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"

#include "base/owned.h"
#include "device/classes.h"
#include "device/pci/pcie_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool on_pci(const struct device *dev)
{
	return !strcmp(dev->class->bus, "PCI");
}

static struct pci_device *pci_of(struct device *dev)
{
	return CONTAINER_OF(dev, struct pci_device, dev);
}

/* The port above a bus, if it does hot-plug itself. */
static struct pcie_port *native_port(const struct pci_bus *bus)
{
	struct pcie_port *p = (struct pcie_port *)bus->bridge;

	return p && p->pci.dev.class == &pcie_port_class && p->native ? p : NULL;
}

static int bus_check(struct guest *g, const struct pci_bus *bus, struct err *e)
{
	if (native_port(bus))
		return 0;
	return lpc_pci_can_plug(g->q->lpc, bus, e);
}

static int plug_check(struct guest *g, const json_t *args, struct err *e)
{
	const char *driver = option_str(args, "driver", ""), *name = option_str(args, "bus", NULL);
	const struct device_class *class = device_class_find(driver);
	const struct pci_bus *bus;

	if (!class || !class->user)
		return 0; /* making it says why */
	if (!class->hotplug)
		return err_set(e, EOPNOTSUPP, "Device '%s' does not support hotplugging", driver);
	if (class == &vcpu_class)
		return lpc_cpu_can_plug(g->q->lpc, e);
	if (strcmp(class->bus, "PCI"))
		return 0;
	bus = name ? pci_bus_find_name(g->q->root, name) : g->q->root;
	if (!bus)
		return err_set(e, ENOENT, "Bus '%s' not found", name);
	return bus_check(g, bus, e);
}

/* Function 0 comes last; the guest then looks at the whole slot. */
static void announce(struct guest *g, struct pci_device *d)
{
	struct pci_device *bridge = d->bus->bridge;

	if (PCI_FN(d->devfn))
		return;
	if (native_port(d->bus)) {
		pcie_port_plugged(native_port(d->bus), d);
		return;
	}
	if (bridge->dev.class == &pcie_port_class)
		pcie_port_power_on((struct pcie_port *)bridge);
	lpc_pci_plugged(g->q->lpc, d);
}

/**
 * op_device_add() - QMP device_add: plug a device in
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Driver, id, properties
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: EOPNOTSUPP the device or the bus doesn't do it; else as guest_device_add()
 * Return: 0, or a negative errno
 */
int op_device_add(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	struct guest *g = opaque;
	struct device *dev;
	int r = guest_stays(g, e);

	if (r >= 0)
		r = plug_check(g, args, e);
	if (r >= 0)
		r = guest_device_add(g, args, e);
	if (r < 0)
		return r;
	dev = list_entry(g->q->devices.prev, struct device, link);
	if (dev->class == &vcpu_class)
		lpc_cpu_announce(g->q->lpc, q35_vcpu_place(dev));
	if (!on_pci(dev))
		return 0;
	device_reset(dev);
	if (vm_active(&g->q->vm) && dev->class->run)
		dev->class->run(dev);
	announce(g, pci_of(dev));
	return 0;
}

/**
 * guest_device_at() - A device of the user's
 * @g:		The guest
 * @i:		Its place in guest->devices
 *
 * They are the last ones of the machine's list, in the same order.
 *
 * Return: borrowed, or NULL
 */
struct device *guest_device_at(struct guest *g, size_t i)
{
	size_t n = json_array_size(g->devices);
	struct list *at = &g->q->devices;

	if (i >= n)
		return NULL;
	for (; n > i; n--)
		at = at->prev;
	return list_entry(at, struct device, link);
}

static bool place_of(struct guest *g, const struct device *dev, size_t *ret)
{
	for (*ret = 0; *ret < json_array_size(g->devices); (*ret)++)
		if (guest_device_at(g, *ret) == dev)
			return true;
	return false;
}

static void forget(struct guest *g, const struct device *dev)
{
	pthread_mutex_lock(&g->eject_lock);
	for (size_t i = 0; i < g->ejected_len; i++)
		if (g->ejected[i] == dev)
			g->ejected[i] = g->ejected[--g->ejected_len];
	pthread_mutex_unlock(&g->eject_lock);
}

/**
 * guest_device_path() - Where a device of the user's is in the object tree
 * @g:		The guest
 * @dev:	The device
 *
 * Return: the path; the caller frees it
 */
char *guest_device_path(struct guest *g, const struct device *dev)
{
	size_t place;

	if (dev->id)
		return str_printf("/machine/peripheral/%s", dev->id);
	(void)place_of(g, dev, &place);
	return str_printf("/machine/peripheral-anon/device[%zu]", place);
}

/* One of the user's that sits on the bus of @dev. */
static struct device *child_of(struct guest *g, const struct device *dev)
{
	for (size_t i = 0; i < json_array_size(g->devices); i++)
		if (guest_device_at(g, i)->parent == dev)
			return guest_device_at(g, i);
	return NULL;
}

/* What sits on its bus goes first: without it, it has no state and no place. */
static void take_away(struct guest *g, struct device *dev)
{
	OWNED(char *) path = NULL;
	struct device *child;
	json_t *data;
	size_t place;

	while ((child = child_of(g, dev)))
		take_away(g, child);
	if (!place_of(g, dev, &place))
		return;
	path = guest_device_path(g, dev);
	data = json_pack("{s:s*, s:s}", "device", dev->id, "path", path);
	json_array_remove(g->devices, place);
	device_destroy(dev);
	forget(g, dev);
	control_event(g->v->control, "DEVICE_DELETED", data);
}

/**
 * guest_ejected_remove() - Take away what the guest has let go by now
 * @g:		The guest; main thread
 */
void guest_ejected_remove(struct guest *g)
{
	for (;;) {
		struct device *dev;

		pthread_mutex_lock(&g->eject_lock);
		dev = g->ejected_len ? g->ejected[0] : NULL;
		pthread_mutex_unlock(&g->eject_lock);
		if (!dev)
			return;
		take_away(g, dev);
		forget(g, dev);
	}
}

/**
 * guest_ejected() - Has the guest let go of a device that is still there?
 * @g:		The guest
 *
 * Return: whether guest_ejected_remove() has something to do
 */
bool guest_ejected(struct guest *g)
{
	bool any;

	pthread_mutex_lock(&g->eject_lock);
	any = g->ejected_len > 0;
	pthread_mutex_unlock(&g->eject_lock);
	return any;
}

/* A migration and an upgrade have the state of all devices in their hands; they look themselves. */
static void on_ejected(void *opaque)
{
	struct guest *g = opaque;
	struct err e;

	if (guest_stays(g, &e) == 0)
		guest_ejected_remove(g);
}

/* struct device_env.eject: any thread, chipset lock held. */
static void eject(void *opaque, struct device *dev)
{
	struct guest *g = opaque;
	bool noted = false;

	pthread_mutex_lock(&g->eject_lock);
	for (size_t i = 0; i < g->ejected_len; i++)
		noted |= g->ejected[i] == dev;
	if (!noted) {
		g->ejected = mem_realloc(g->ejected, (g->ejected_len + 1) * sizeof(*g->ejected));
		g->ejected[g->ejected_len++] = dev;
	}
	pthread_mutex_unlock(&g->eject_lock);
	if (!noted)
		loop_post(g->v->loop, on_ejected, g);
}

static void request(void *opaque, int what, int arg)
{
	vm_request(&((struct guest *)opaque)->q->vm, what, arg);
}

/**
 * guest_eject_init() - Hear of ejects
 * @g:		The machine is made and hasn't run
 */
void guest_eject_init(struct guest *g)
{
	pthread_mutex_init(&g->eject_lock, NULL);
	g->q->env.request = request;
	g->q->env.eject = eject;
	g->q->env.ost = guest_ost;
	g->q->env.opaque = g;
}

/**
 * guest_eject_release() - Undo guest_eject_init()
 * @g:		The machine is gone
 */
void guest_eject_release(struct guest *g)
{
	pthread_mutex_destroy(&g->eject_lock);
	free(g->ejected);
}

/* By id, or by the path that DEVICE_DELETED and qom-list give. */
static struct device *find(struct guest *g, const char *name)
{
	static const char folder[] = "/machine/peripheral/";

	if (!strncmp(name, folder, sizeof(folder) - 1))
		name += sizeof(folder) - 1;
	return guest_device_find(g, name);
}

static int pci_unplug(struct guest *g, struct pci_device *d, struct err *e)
{
	struct pcie_port *port = native_port(d->bus);
	int r = bus_check(g, d->bus, e);

	if (r < 0)
		return r;
	if (port)
		return pcie_port_unplug_request(port, e);
	return lpc_pci_unplug_request(g->q->lpc, d, e);
}

/**
 * op_device_del() - QMP device_del: ask the guest to let a device go
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Its id
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: ENXIO there is no such device; EOPNOTSUPP it or its bus doesn't do it; EBUSY the guest is
 * at work on the slot
 * Return: 0, or a negative errno
 */
int op_device_del(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	struct guest *g = opaque;
	const char *id = option_str(args, "id", "");
	struct device *dev = find(g, id);

	if (guest_stays(g, e) < 0)
		return -e->code;
	if (!dev)
		return err_set(e, ENXIO, "Device '%s' not found", id);
	if (!dev->class->hotplug)
		return err_set(e, EOPNOTSUPP, "Device '%s' does not support hotplugging",
			       dev->class->name);
	if (on_pci(dev))
		return pci_unplug(g, pci_of(dev), e);
	if (dev->class == &vcpu_class && lpc_cpu_can_plug(g->q->lpc, e) < 0)
		return -e->code;
	if (dev->class == &vcpu_class)
		return lpc_cpu_unplug_request(g->q->lpc, q35_vcpu_place(dev), e);
	take_away(g, dev);
	return 0;
}
