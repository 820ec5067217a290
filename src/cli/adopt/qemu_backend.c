/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what QEMU's devices are connected to. Disks are as QMP shows them now, with
 * what only the command line says (discard). Character and network back ends are looked up on the
 * command line under the name that the device knows; one that was plugged by QMP isn't there and
 * blocks. Only what a device uses is taken: monitors and spare back ends stay behind.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *list_of(struct move *m, const char *name)
{
	json_t *list = json_object_get(m->config, name);

	if (list)
		return list;
	list = json_array();
	json_object_set_new(m->config, name, list);
	return list;
}

/* Character back ends. */

/* "unix:PATH,server=on", "file:PATH", "stdio" of -serial. */
static json_t *serial_read(struct move *m, const char *text, struct err *e)
{
	static const struct {
		const char *prefix, *backend, *key;
	} kinds[] = {{"unix:", "socket", "path"},
		     {"file:", "file", "path"},
		     {"pipe:", "pipe", "path"},
		     {"udp:", "udp", "host"},
		     {"/dev/", "serial", "path"}};
	const char *colon = strchr(text, ':');
	json_t *values = NULL;
	int r;

	if (!strncmp(text, "mon:", 4))
		return serial_read(m, text + 4, e);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix))) {
			r = keyval_parse(*text == '/' ? text : colon + 1, kinds[i].key, &values, e);
			if (r >= 0)
				json_object_set_new(values, "backend",
						    json_string(kinds[i].backend));
			return values;
		}
	if (!strncmp(text, "tcp:", 4)) {
		r = keyval_parse(text + 4, "host", &values, e);
		colon = r < 0 ? NULL : strrchr(option_str(values, "host", ""), ':');
		if (!colon)
			return values;
		json_object_set_new(values, "backend", json_string("socket"));
		json_object_set_new(values, "port", json_string(colon + 1));
		json_object_set_new(values, "host",
				    json_sprintf("%.*s",
						 (int)(colon - option_str(values, "host", "")),
						 option_str(values, "host", "")));
		return values;
	}
	return json_pack("{s:s%}", "backend", text, strcspn(text, ":,"));
}

static json_t *serial_find(struct move *m, const char *label)
{
	size_t index = (size_t)atoi(label + 6);
	const json_t *given = json_array_get(json_object_get(m->groups, "serial"), index);
	const char *text = option_str(given, "serial", index ? "none" : "vc");
	struct err e;
	json_t *found;

	if (!strncmp(text, "chardev:", 8))
		return json_incref(
			move_find(json_object_get(m->groups, "chardev"), "id", text + 8));
	found = serial_read(m, text, &e);
	if (!found)
		move_block(m, "-serial %s: %s", text, e.msg);
	return found;
}

static void chardev_take(struct move *m, json_t *device)
{
	const char *id = option_str(device, "chardev", NULL);
	OWNED_JSON *found = NULL;

	if (!id || move_find(list_of(m, "chardevs"), "id", id))
		return;
	found = json_incref(move_find(json_object_get(m->groups, "chardev"), "id", id));
	if (!found && !strncmp(id, "serial", 6) && isdigit((unsigned char)id[6]))
		found = serial_find(m, id);
	if (!found) {
		move_block(m, "chardev %s was plugged by QMP: what it is can't be read; unplug %s",
			   id, option_str(device, "id", option_str(device, "driver", "")));
		return;
	}
	json_object_set_new(found, "id", json_string(id));
	move_paths(m, found);
	json_array_append(list_of(m, "chardevs"), found);
}

/* Network back ends. */

/* The name that -nic made up, "#net" with a count and two digits by chance. */
static const json_t *nic_find(struct move *m, const char *id)
{
	size_t count = (size_t)atoi(id + 4) / 100, seen = 0, i;
	json_t *nic;

	json_array_foreach (json_object_get(m->groups, "nic"), i, nic) {
		if (json_object_get(nic, "id") || !strcmp(option_str(nic, "type", ""), "none"))
			continue;
		if (seen++ == count)
			return nic;
	}
	return NULL;
}

static json_t *netdev_find(struct move *m, const char *id)
{
	static const char *const of_device[] = {"model", "mac", "macaddr", "addr", "vectors"};
	const json_t *found = move_find(json_object_get(m->groups, "netdev"), "id", id);
	json_t *copy;

	if (!found)
		found = move_find(json_object_get(m->groups, "nic"), "id", id);
	if (!found && !strncmp(id, "#net", 4))
		found = nic_find(m, id);
	copy = found ? json_copy((json_t *)(uintptr_t)found) : NULL;
	for (size_t i = 0; copy && i < ARRAY_SIZE(of_device); i++)
		json_object_del(copy, of_device[i]);
	return copy;
}

static void netdev_take(struct move *m, json_t *device)
{
	const char *id = option_str(device, "netdev", NULL);
	OWNED(char *) name = id ? str_dup(*id == '#' ? id + 1 : id) : NULL;
	json_t *found;

	if (!id)
		return;
	found = netdev_find(m, id);
	if (!found) {
		move_block(m, "netdev %s was plugged by QMP: what it is can't be read; unplug %s",
			   id, option_str(device, "id", option_str(device, "driver", "")));
		return;
	}
	json_object_set_new(found, "id", json_string(name));
	json_object_set_new(device, "netdev", json_string(name));
	json_array_append_new(list_of(m, "netdevs"), found);
}

/* Disks. */

static const json_t *disk_find(const json_t *disks, const char *drive)
{
	size_t i;
	json_t *d;

	json_array_foreach ((json_t *)(uintptr_t)disks, i, d) {
		if (!strcmp(option_str(d, "device", ""), drive) ||
		    !strcmp(option_str(json_object_get(d, "inserted"), "node-name", ""), drive))
			return d;
	}
	return NULL;
}

/* What the guest may ask for and only the command line says. */
static const json_t *words_of(struct move *m, const char *drive, const char *node)
{
	const json_t *found = move_find(json_object_get(m->groups, "blockdev"), "node-name", node);
	const json_t *drives = json_object_get(m->groups, "drive");

	if (!found)
		found = move_find(drives, "id", drive);
	if (!found && !strncmp(drive, "virtio", 6)) {
		size_t i, index = (size_t)atoi(drive + 6), seen = 0;
		json_t *d;

		json_array_foreach ((json_t *)(uintptr_t)drives, i, d) {
			if (!strcmp(option_str(d, "if", ""), "virtio") && seen++ == index)
				found = d;
		}
	}
	return found;
}

static void limits_check(struct move *m, const char *drive, const json_t *inserted)
{
	static const char *const limits[] = {"iops", "iops_rd", "iops_wr",
					     "bps",  "bps_rd",  "bps_wr"};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (option_int(inserted, limits[i], 0)) {
			move_note(m, "disk %s has I/O limits, which aren't carried over", drive);
			return;
		}
}

static void node_put(struct move *m, const char *name, const json_t *inserted, const json_t *given,
		     const char *driver, const char *path)
{
	const json_t *cache = json_object_get(inserted, "cache");
	const char *protocol = strncmp(path, "/dev/", 5) || !strncmp(path, "/dev/shm/", 9)
				       ? "file"
				       : "host_device";
	json_t *node = json_pack(
		"{s:s, s:s, s:b, s:s, s:{s:s, s:s, s:{s:b, s:b}}}", "driver", driver, "node-name",
		name, "read-only", option_bool(inserted, "ro", false), "discard",
		option_str(given, "discard", "ignore"), "file", "driver", protocol, "filename",
		path, "cache", "direct", option_bool(cache, "direct", false), "no-flush",
		option_bool(cache, "no-flush", false));

	json_array_append_new(list_of(m, "blockdevs"), node);
}

static void disk_put(struct move *m, const char *drive, const json_t *inserted)
{
	const char *driver = option_str(inserted, "drv", ""),
		   *file = option_str(inserted, "file", "");
	const char *node = option_str(inserted, "node-name", "");
	const json_t *given = words_of(m, drive, node);
	OWNED(char *) path = move_path(m, file);

	if (!strcmp(driver, "file") || !strcmp(driver, "host_device"))
		driver = "raw";
	if (strcmp(driver, "raw"))
		move_block(m, "disk %s: its format is %s, and only raw images can be taken over",
			   drive, driver);
	else if (*path != '/' || access(path, F_OK) < 0)
		move_block(m, "disk %s: %s isn't a file of this host", drive, file);
	limits_check(m, drive, inserted);
	node_put(m, drive, inserted, given, driver, path);
}

static void disk_take(struct move *m, json_t *device, const json_t *disks)
{
	const char *drive = option_str(device, "drive", NULL);
	const json_t *inserted, *disk = drive ? disk_find(disks, drive) : NULL;
	OWNED(char *) name = drive ? str_dup(*drive == '#' ? drive + 1 : drive) : NULL;

	if (!drive)
		return;
	inserted = json_object_get(disk, "inserted");
	if (!inserted) {
		move_block(m, "disk %s has no image; unplug %s", drive,
			   option_str(device, "id", option_str(device, "driver", "")));
		return;
	}
	disk_put(m, name, inserted);
	json_object_set_new(device, "drive", json_string(name));
}

/* Objects. */

static void memory_check(struct move *m, json_t *object)
{
	const char *type = option_str(object, "qom-type", "");
	const char *share = option_str(object, "share", "off"), *path;
	bool is_folder;

	if (strcmp(type, "memory-backend-file"))
		return;
	path = option_str(object, "mem-path", "");
	is_folder = *path && path[strlen(path) - 1] == '/';
	if (!strcmp(share, "on") && !is_folder) {
		m->ignore_shared = true;
		return;
	}
	json_object_set_new(object, "qom-type", json_string("memory-backend-memfd"));
	json_object_del(object, "mem-path");
	json_object_set_new(object, "share", json_string("on"));
	move_note(m, "guest memory is in a file of its own from now on, not in %s", path);
}

static void object_take(struct move *m, const json_t *given)
{
	json_t *object = json_copy((json_t *)(uintptr_t)given);

	memory_check(m, object);
	json_array_append_new(list_of(m, "objects"), object);
}

static void objects_check(struct move *m, const json_t *device)
{
	static const char *const links[] = {"iothread", "rng", "memdev"};

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		const char *id = option_str(device, links[i], NULL);

		if (id && !move_find(list_of(m, "objects"), "id", id))
			move_block(m, "object %s was made by QMP: what it is can't be read", id);
	}
}

/**
 * qemu_backends() - Read what QEMU's devices are connected to
 * @m:		@config has "devices"; gets the rest
 * @e:		Set on failure only: QEMU doesn't answer
 *
 * Return: 0, or a negative errno
 */
int qemu_backends(struct move *m, struct err *e)
{
	OWNED_JSON *disks = NULL;
	size_t i;
	json_t *one;
	int r = qmp_command(&m->source, "query-block", NULL, &disks, e);

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(m->groups, "object"), i, one)
		object_take(m, one);
	json_array_foreach (json_object_get(m->config, "devices"), i, one) {
		chardev_take(m, one);
		netdev_take(m, one);
		disk_take(m, one, disks);
		objects_check(m, one);
	}
	return 0;
}
