/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: back ends and devices from options and QMP, in one spelling: JSON objects
 * whose members are the properties. -drive and -nic are short for a back end and a device. Numbers
 * and booleans become the text that a property takes.
 */
#include "base/fdstore.h"
#include "base/image.h"
#include "base/nearest.h"
#include "base/owned.h"
#include "block/on_error.h"
#include "net/net.h"
#include "vmm/q35/ops/ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define for_each_item(item, g, group)                                                          \
	for (item = (g)->v->options->groups[group].items;                                      \
	     item < (g)->v->options->groups[group].items + (g)->v->options->groups[group].len; \
	     item++)

/* Descriptors for a network back end: a number that was inherited, or a name given by getfd. */
static int fd_of(void *opaque, const char *name)
{
	char *end;
	long n = strtol(name, &end, 10);
	int fd;

	if (*name && !*end)
		return n > 2 ? (int)n : -1;
	return fdstore_take(name, &fd, NULL) < 0 ? -1 : fd;
}

static const char *interface_of(const json_t *d)
{
	return option_str(d, "if", "virtio");
}

/**
 * guest_drive_name() - The node that a -drive makes
 * @d:		Its values
 * @index:	Its place among them
 * @name:	Filled in
 */
void guest_drive_name(const json_t *d, size_t index, char name[64])
{
	snprintf(name, 64, "%s", option_str(d, "id", ""));
	if (!*name)
		snprintf(name, 64, "%s%zu", interface_of(d), index);
}

/* -drive: a raw node over a file node, named by the id. */
static int drive_open(const json_t *d, size_t index, struct err *e)
{
	const char *format = option_str(d, "format", "raw"),
		   *cache = option_str(d, "cache", "writeback");
	bool direct = !strcmp(cache, "none") || !strcmp(cache, "directsync");
	bool read_only = option_bool(d, "readonly", false) || option_bool(d, "read-only", false) ||
			 !strcmp(option_str(d, "media", "disk"), "cdrom");
	struct block_node *n;
	json_t *options;
	char name[64];
	int r;

	if (!json_object_get(d, "format") && image_check_raw(option_str(d, "file", ""), e) < 0)
		return err_hint(e, "format=raw takes it as it is");
	guest_drive_name(d, index, name);
	options = json_pack("{s:s, s:s, s:b, s:{s:s, s:s, s:b, s:s, s:s*, s:{s:b, s:b}}}", "driver",
			    format, "node-name", name, "read-only", read_only, "file", "driver",
			    "file", "filename", option_str(d, "file", ""), "read-only", read_only,
			    "discard", option_str(d, "discard", "ignore"), "aio",
			    option_str(d, "aio", NULL), "cache", "direct", direct, "no-flush",
			    !strcmp(cache, "unsafe"));
	r = block_open(options, &n, e);
	json_decref(options);
	return r;
}

/**
 * guest_globals_check() - Refuse a -global for what isn't there
 * @v:		The process
 * @e:		Set on failure only: names the argument
 *
 * Return: 0, or -ENOENT
 */
int guest_globals_check(const struct vmm *v, struct err *e)
{
	const struct vmm_items *all = &v->options->groups[VMM_GLOBAL];

	for (size_t i = 0; i < all->len; i++) {
		const char *driver = option_str(all->items[i].values, "driver", "");

		if (device_class_find(driver) || !strcmp(driver, "migration"))
			continue;
		err_set(e, ENOENT, "there is no driver '%s'", driver);
		return vmm_err_item(e, &all->items[i]);
	}
	return 0;
}

static int policy_word(const json_t *d, const char *key, bool read, int *ret, struct err *e)
{
	const char *word = option_str(d, key, "auto");

	for (*ret = BLOCK_ON_ERROR_AUTO; block_on_error_names[*ret]; (*ret)++)
		if (!strcmp(block_on_error_names[*ret], word) &&
		    !(read && *ret == BLOCK_ON_ERROR_ENOSPC))
			return 0;
	return err_set(e, EINVAL, "%s: '%s' is none of report, ignore, stop%s", key, word,
		       read ? "" : " and enospc");
}

static int drive_policy(const json_t *d, struct block_policy *ret, struct err *e)
{
	const char *cache = option_str(d, "cache", "writeback");
	int r = policy_word(d, "rerror", true, &ret->on_read, e);

	ret->write_through = !strcmp(cache, "writethrough") || !strcmp(cache, "directsync");
	return r < 0 ? r : policy_word(d, "werror", false, &ret->on_write, e);
}

/**
 * guest_drive_policies() - Tell the nodes of -drive what its werror, rerror and cache say
 * @v:		The process; nodes are there
 * @e:		Set on failure only: names the argument
 *
 * Return: 0, or -EINVAL
 */
int guest_drive_policies(const struct vmm *v, struct err *e)
{
	const struct vmm_items *all = &v->options->groups[VMM_DRIVE];

	for (size_t i = 0; i < all->len; i++) {
		struct block_policy policy;
		struct block_node *n;
		char name[64];

		if (drive_policy(all->items[i].values, &policy, e) < 0)
			return vmm_err_item(e, &all->items[i]);
		guest_drive_name(all->items[i].values, i, name);
		n = block_find(name);
		if (n)
			block_policy_set(n, &policy);
	}
	return 0;
}

static bool nic_wanted(const struct vmm_item *item)
{
	return strcmp(option_str(item->values, "type", ""), "none") != 0;
}

/* What a -nic calls its back end. */
static void nic_name(const struct vmm_item *item, size_t index, char name[64])
{
	snprintf(name, 64, "%s", option_str(item->values, "id", ""));
	if (!*name)
		snprintf(name, 64, "nic%zu", index);
}

static int nic_backend_add(const struct vmm_item *item, size_t index, struct err *e)
{
	OWNED_JSON *values = json_deep_copy(item->values);
	char name[64];

	nic_name(item, index, name);
	json_object_del(values, "model");
	json_object_del(values, "mac");
	json_object_set_new(values, "id", json_string(name));
	return net_add(values, fd_of, NULL, e);
}

static int nics_open(struct guest *g, struct err *e)
{
	const struct vmm_item *item;
	size_t index = 0;

	for_each_item (item, g, VMM_NIC)
		if (nic_wanted(item) && nic_backend_add(item, index++, e) < 0)
			return vmm_err_item(e, item);
	return 0;
}

/**
 * guest_backends_make() - Disks and networks that the options name
 * @g:		Its process is set
 * @e:		Set on failure only: names the argument
 *
 * Return: 0, or a negative errno
 */
int guest_backends_make(struct guest *g, struct err *e)
{
	const struct vmm_item *item;
	struct block_node *n;
	size_t index = 0;

	for_each_item (item, g, VMM_BLOCKDEV)
		if (block_open(item->values, &n, e) < 0)
			return vmm_err_item(e, item);
	for_each_item (item, g, VMM_DRIVE)
		if (drive_open(item->values, index++, e) < 0)
			return vmm_err_item(e, item);
	for_each_item (item, g, VMM_NETDEV)
		if (net_add(item->values, fd_of, NULL, e) < 0)
			return vmm_err_item(e, item);
	return nics_open(g, e);
}

/**
 * guest_device_find() - A device by its id
 * @g:		The guest
 * @id:		Of the user
 *
 * Return: borrowed, or NULL
 */
struct device *guest_device_find(struct guest *g, const char *id)
{
	struct device *dev;

	list_for_each (dev, &g->q->devices, link)
		if (dev->id && !strcmp(dev->id, id))
			return dev;
	return NULL;
}

static int set_json(struct device *dev, const char *name, const json_t *v, struct err *e)
{
	char number[32];

	if (json_is_string(v))
		return device_set(dev, name, json_string_value(v), e);
	if (json_is_boolean(v))
		return device_set(dev, name, json_is_true(v) ? "on" : "off", e);
	if (!json_is_integer(v))
		return err_set(e, EINVAL, "%s: a string, a number or a boolean is expected", name);
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
	return device_set(dev, name, number, e);
}

/**
 * guest_globals() - Set what -global gave for a device's class
 * @opaque:	The process
 * @dev:	Just created
 * @e:		Set on failure only: names the argument
 *
 * Return: 0, or a negative errno
 */
int guest_globals(void *opaque, struct device *dev, struct err *e)
{
	const struct vmm *v = opaque;
	const struct vmm_items *all = &v->options->groups[VMM_GLOBAL];

	for (size_t i = 0; i < all->len; i++) {
		const struct vmm_item *item = &all->items[i];

		if (strcmp(option_str(item->values, "driver", ""), dev->class->name))
			continue;
		if (device_set(dev, option_str(item->values, "property", ""),
			       option_str(item->values, "value", ""), e) < 0)
			return vmm_err_item(e, item);
	}
	return 0;
}

static int set_all(struct device *dev, const json_t *values, struct err *e)
{
	int r = device_set_globals(dev, e);
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)values, key, v) {
		if (r >= 0 && strcmp(key, "driver") && strcmp(key, "id"))
			r = set_json(dev, key, v, e);
	}
	return r;
}

/* Serial ports and the like count up in their section's instance. */
static int instance_of(struct guest *g, const struct device_class *class)
{
	struct device *dev;
	int n = 0;

	list_for_each (dev, &g->q->devices, link)
		n += dev->class == class;
	return strcmp(class->bus, "ISA") ? 0 : n;
}

/* For whoever makes the same devices again: what was asked for, with the address it got. */
static void remember(struct guest *g, struct device *dev, const json_t *values)
{
	json_t *copy = json_deep_copy(values);
	const char *name = device_name_of(option_str(values, "driver", ""));
	const struct pci_device *pci = CONTAINER_OF(dev, struct pci_device, dev);

	json_object_set_new(copy, "driver", json_string(name));
	if (!strcmp(dev->class->bus, "PCI"))
		json_object_set_new(
			copy, "addr",
			json_sprintf("0x%x.0x%x", PCI_SLOT(pci->devfn), PCI_FN(pci->devfn)));
	json_array_append_new(g->devices, copy);
}

static const char *class_name(const void *table, size_t index)
{
	const struct device_class *const *classes = table;

	while (*classes && (!(*classes)->user || index))
		index -= (*classes++)->user ? 1 : 0;
	return *classes ? (*classes)->name : NULL;
}

static int no_such_device(const char *driver, struct err *e)
{
	err_set(e, ENOENT, "'%s' is not a device model (see -device help)", driver);
	return err_nearest(e, nearest(driver, device_classes(), class_name));
}

/**
 * guest_device_add() - Make a device of the user's
 * @g:		The guest, with its machine
 * @values:	{"driver": ..., "id": ..., PROPERTY: VALUE ...}
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such driver; EEXIST the id or the place is taken; EINVAL a property
 * Return: 0, or a negative errno
 */
int guest_device_add(struct guest *g, const json_t *values, struct err *e)
{
	const char *driver = option_str(values, "driver", ""), *id = option_str(values, "id", NULL);
	const struct device_class *class = device_class_find(driver);
	struct device *dev;
	int r;

	if (!class || !class->user)
		return no_such_device(driver, e);
	if (id && guest_device_find(g, id))
		return err_set(e, EEXIST, "there is a device '%s' already", id);
	if (class == &vcpu_class && guest_vcpu_check(g, driver, e) < 0)
		return -e->code;
	dev = device_create(class, &g->q->env);
	dev->id = str_dup(id);
	dev->instance = instance_of(g, class);
	r = set_all(dev, values, e);
	if (r >= 0)
		r = q35_boot_order_check(g->q, dev, e);
	if (r >= 0)
		r = device_realize(dev, e);
	if (r < 0) {
		device_destroy(dev);
		return err_in(e, "%s%s%s", driver, id ? " " : "", id ? id : "");
	}
	list_add_tail(&g->q->devices, &dev->link);
	remember(g, dev, values);
	guest_balloon_watch(g, dev);
	guest_nic_watch(g, dev);
	guest_port_watch(g, dev);
	return 0;
}

/**
 * guest_devices_take() - The devices that another process describes
 * @g:		With its machine
 * @devices:	As remember() kept them there
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int guest_devices_take(struct guest *g, const json_t *devices, struct err *e)
{
	size_t i;
	json_t *one;
	int r = 0;

	json_array_foreach ((json_t *)(uintptr_t)devices, i, one)
		if (r >= 0)
			r = guest_device_add(g, one, e);
	return r;
}

static int serial_add(struct guest *g, size_t index, const char *chardev, struct err *e)
{
	json_t *values = json_pack("{s:s, s:i, s:s}", "driver", "isa-serial", "index", (int)index,
				   "chardev", chardev);
	int r = guest_device_add(g, values, e);

	json_decref(values);
	return r;
}

static int nic_device_add(struct guest *g, const struct vmm_item *item, size_t index, struct err *e)
{
	const char *model = option_str(item->values, "model", "virtio-net-pci");
	OWNED_JSON *values = NULL;
	char name[64];

	nic_name(item, index, name);
	values = json_pack("{s:s, s:s, s:s*}", "driver",
			   strcmp(model, "virtio") ? model : "virtio-net-pci", "netdev", name,
			   "mac", option_str(item->values, "mac", NULL));
	return guest_device_add(g, values, e);
}

static int drive_device_add(struct guest *g, const json_t *d, size_t index, struct err *e)
{
	char name[64];
	json_t *values;
	int r;

	if (strcmp(interface_of(d), "virtio"))
		return 0;
	guest_drive_name(d, index, name);
	values = json_pack("{s:s, s:s}", "driver", "virtio-blk-pci", "drive", name);
	r = guest_device_add(g, values, e);
	json_decref(values);
	return r;
}

/**
 * guest_devices_make() - Serial ports and devices that the options name
 * @g:		With its machine
 * @e:		Set on failure only: names the argument
 *
 * Return: 0, or a negative errno
 */
int guest_devices_make(struct guest *g, struct err *e)
{
	const struct vmm_item *item;
	size_t index = 0, nic = 0;

	for (size_t i = 0; i < 4; i++)
		if (vmm_serial(g->v, i) && serial_add(g, i, vmm_serial(g->v, i), e) < 0)
			return -e->code;
	for_each_item (item, g, VMM_NIC)
		if (nic_wanted(item) && nic_device_add(g, item, nic++, e) < 0)
			return vmm_err_item(e, item);
	for_each_item (item, g, VMM_DEVICE)
		if (guest_device_add(g, item->values, e) < 0)
			return vmm_err_item(e, item);
	for_each_item (item, g, VMM_DRIVE)
		if (drive_device_add(g, item->values, index++, e) < 0)
			return vmm_err_item(e, item);
	return 0;
}
