/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: every kind of device there is, in one array that a person can read. A class
 * that isn't here can't be created by a user, and the test that walks the array checks all of them:
 * continuity stated, state covered.
 *
 * The chipset of a machine is in the room below this one: it hands its classes in by
 * device_classes_add().
 */
#include "device/classes.h"
#include "device/virtio/classes.h"

#include <assert.h>
#include <string.h>

/* clang-format off: one a line */
static const struct device_class *classes[128] = {
	&debug_exit_class,   &debugcon_class,  &dma_class,     &fw_cfg_class,  &hpet_class,
	&i8042_class,        &pcie_port_class, &pcspk_class,   &pflash_class,  &port92_class,
	&ps2_keyboard_class, &ps2_mouse_class, &pvpanic_class, &rtc_class,     &serial_class,
	&vmgenid_class,      &vmmouse_class,   &vmport_class,  VIRTIO_CLASSES, NULL,
};
/* clang-format on */

/**
 * device_classes() - Every kind of device
 *
 * Return: NULL-terminated
 */
const struct device_class *const *device_classes(void)
{
	return classes;
}

/**
 * device_classes_add() - Add the classes of a machine's chipset, at program start
 * @more:	NULL-terminated
 */
void device_classes_add(const struct device_class *const *more)
{
	size_t n = 0;

	while (classes[n])
		n++;
	for (; *more; more++) {
		assert(n + 1 < ARRAY_SIZE(classes));
		classes[n++] = *more;
	}
}

static bool is_of_family(const struct device_class *c, const char *name)
{
	size_t end = strlen(c->name), n = strlen(name);

	return n > end + 1 && name[n - end - 1] == '-' && !strcmp(name + n - end, c->name);
}

/* Short names that QEMU has for what is meant on a PC. */
static const struct {
	const char *alias, *name;
} aliases[] = {
	{"ahci", "ich9-ahci"},
	{"virtio-balloon", "virtio-balloon-pci"},
	{"virtio-blk", "virtio-blk-pci"},
	{"virtio-net", "virtio-net-pci"},
	{"virtio-rng", "virtio-rng-pci"},
	{"virtio-scsi", "virtio-scsi-pci"},
	{"virtio-serial", "virtio-serial-pci"},
};

/**
 * device_name_of() - What a kind of device is called in full
 * @name:	As on the command line
 *
 * Return: borrowed; @name where it is no short name
 */
const char *device_name_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (!strcmp(aliases[i].alias, name))
			return aliases[i].name;
	return name;
}

/**
 * device_class_find() - A kind of device by name
 * @name:	As on the command line, short or in full
 *
 * Return: the class, or NULL
 */
const struct device_class *device_class_find(const char *name)
{
	name = device_name_of(name);
	for (const struct device_class *const *c = classes; *c; c++)
		if (!strcmp((*c)->name, name) || ((*c)->family && is_of_family(*c, name)))
			return *c;
	return NULL;
}
