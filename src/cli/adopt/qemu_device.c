/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QEMU's devices as they are now, not as they were asked for: the object tree
 * has them all, plugged and built-in ones, with the values that defaults became. Of each device
 * those properties are taken that the other VMM has too. One that it hasn't, with another value
 * than its default, blocks; so does a device that it doesn't know.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX  8
#define NO_INTEGER 9e18 /* an unsigned default that means "none" */

/* What every q35 consists of, and what isn't a device. */
static const char *const builtin[] = {
	"ICH9-LPC",     "ICH9-SMB",  "System",   "apic",        "container",     "fw_cfg_io",
	"hpet",         "i8042",     "i8257",    "ich9-ahci",   "ioapic",        "irq",
	"isa-i8259",    "isa-pcspk", "isa-pit",  "kvm-apic",    "kvm-i8259",     "kvm-ioapic",
	"kvm-pit",      "kvmclock",  "kvmvapic", "mc146818rtc", "memory-region", "port92",
	"smbus-eeprom", "vmmouse",   "vmport",   NULL};

static const struct {
	const char *prefix, *remedy;
} remedies[] = {
	{"VGA", "start the guest with -vga none"},
	{"isa-parallel", "start the guest with -parallel none"},
	{"ide-", "attach the disk as virtio-blk-pci or scsi-hd (-drive if=virtio)"},
	{"scsi-", "attach the disk as scsi-hd or virtio-blk-pci"},
	{"e1000", "use virtio-net-pci (-nic ...,model=virtio-net-pci)"},
	{"pc-dimm", "start the guest with all of its memory (-m)"},
	{"usb-", "leave USB devices out"},
	{"vfio-", "a device of the host can't be carried; unplug it (device_del)"},
	{NULL, NULL},
};

/**
 * struct found - A device in QEMU's object tree
 * @path, @type: Where and what
 * @id:		The user's, or one that it is given because others sit on its bus
 * @values:	As -device takes them
 * @owner:	Path of the device whose bus it sits on, or ""
 */
struct found {
	char *path, *type, *id, *owner;
	json_t *values;
};

/**
 * struct walk - All devices
 * @m:		The move
 * @probe:	The other VMM
 * @known:	{type: its properties in the other VMM}
 * @all, @len:	Devices
 */
struct walk {
	struct move *m;
	struct qmp *probe;
	json_t *known;
	struct found *all;
	size_t len;
};

static bool is_builtin(const char *type)
{
	size_t n = strlen(type);

	for (size_t i = 0; builtin[i]; i++)
		if (!strcmp(type, builtin[i]))
			return true;
	return n > 11 && !strcmp(type + n - 11, "-x86_64-cpu");
}

static const char *remedy_of(const char *type)
{
	for (size_t i = 0; remedies[i].prefix; i++)
		if (!strncmp(type, remedies[i].prefix, strlen(remedies[i].prefix)))
			return remedies[i].remedy;
	return "unplug it (device_del), or start the guest without it";
}

static int get(struct move *m, const char *path, const char *name, json_t **ret)
{
	struct err e;

	*ret = NULL;
	return qmp_command(&m->source, "qom-get",
			   json_pack("{s:s, s:s}", "path", path, "property", name), ret, &e);
}

static int number_in(const char *name)
{
	const char *bracket = strchr(name, '[');

	return bracket ? atoi(bracket + 1) : 0;
}

static int by_place(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (number_in(x->path) != number_in(y->path))
		return number_in(x->path) - number_in(y->path);
	return strcmp(x->path, y->path);
}

static void add_found(struct walk *w, const char *folder, const char *name, const char *child)
{
	bool own = !strcmp(folder, "/machine/peripheral");
	char *type = str_printf("%.*s", (int)(strcspn(child + 6, ">")), child + 6);

	if (!strcmp(folder, "/machine/unattached") && is_builtin(type)) {
		free(type);
		return;
	}
	w->all = mem_realloc(w->all, (w->len + 1) * sizeof(*w->all));
	w->all[w->len++] = (struct found){.path = str_printf("%s/%s", folder, name),
					  .type = type,
					  .id = own ? str_dup(name) : NULL,
					  .values = json_object()};
}

static int list_folder(struct walk *w, const char *folder, struct err *e)
{
	OWNED_JSON *children = NULL;
	size_t begin = w->len, i;
	json_t *c;
	int r = qmp_command(&w->m->source, "qom-list", json_pack("{s:s}", "path", folder),
			    &children, e);

	if (r < 0)
		return r;
	json_array_foreach (children, i, c) {
		if (!strncmp(option_str(c, "type", ""), "child<", 6))
			add_found(w, folder, option_str(c, "name", ""), option_str(c, "type", ""));
	}
	if (w->len > begin)
		qsort(w->all + begin, w->len - begin, sizeof(*w->all), by_place);
	return 0;
}

/* The properties of a type in the other VMM, [] if it hasn't any. Borrowed. */
static const json_t *known_of(struct walk *w, const char *type)
{
	json_t *list = json_object_get(w->known, type);
	struct err e;

	if (list)
		return list;
	if (qmp_command(w->probe, "device-list-properties", json_pack("{s:s}", "typename", type),
			&list, &e) < 0)
		list = json_array();
	json_object_set_new(w->known, type, list);
	return list;
}

/* Things that others name by a path are named by their last part on a command line. */
static const char *plain(const char *text)
{
	return !strncmp(text, "/objects/", 9) ? text + 9 : text;
}

static void value_take(struct found *f, const char *name, const json_t *v)
{
	const char *text = json_string_value(v);
	bool rom = !strcmp(name, "romfile");

	if (text && rom && *text && !strchr(text, '/'))
		return; /* the usual one */
	if (text && !*text && !(rom && strstr(f->type, "-net")))
		return;
	if (text && !strncmp(text, "/machine/", 9))
		return; /* of its own making */
	if (json_is_number(v) && (json_number_value(v) < 0 || json_number_value(v) > NO_INTEGER))
		return;
	if (!strcmp(name, "addr"))
		json_object_set_new(f->values, name,
				    json_sprintf("%02x.%x", (int)json_number_value(v) >> 3,
						 (int)json_number_value(v) & 7));
	else if (text)
		json_object_set_new(f->values, name, json_string(plain(text)));
	else
		json_object_set(f->values, name, (json_t *)(uintptr_t)v);
}

static void values_take(struct walk *w, struct found *f, const json_t *own, const json_t *known)
{
	size_t i;
	json_t *p;

	json_array_foreach ((json_t *)(uintptr_t)known, i, p) {
		const char *name = option_str(p, "name", "");
		OWNED_JSON *v = NULL;

		if (move_find(own, "name", name) && strcmp(name, "bus") &&
		    get(w->m, f->path, name, &v) >= 0)
			value_take(f, name, v);
	}
}

static bool is_equal(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	return json_equal(a, b);
}

/* Computed by QEMU when the device is made, or without a meaning for the guest. */
static bool is_idle(const char *name)
{
	static const char *const idle[] = {"romsize", "cyls",   "heads", "secs",
					   "lcyls",   "lheads", "lsecs", NULL};

	for (size_t i = 0; idle[i]; i++)
		if (!strcmp(name, idle[i]))
			return true;
	return !strncmp(name, "x-", 2) || !strncmp(name, "account-", 8);
}

/* Properties that only QEMU has must be what they are by default. */
static void others_check(struct walk *w, const struct found *f, const json_t *known)
{
	OWNED_JSON *all = NULL;
	struct err e;
	size_t i;
	json_t *p;

	if (qmp_command(&w->m->source, "device-list-properties",
			json_pack("{s:s}", "typename", f->type), &all, &e) < 0)
		return;
	json_array_foreach (all, i, p) {
		const char *name = option_str(p, "name", "");
		const json_t *def = json_object_get(p, "default-value");
		OWNED_JSON *now = NULL;

		if (!def || is_idle(name) || move_find(known, "name", name) ||
		    get(w->m, f->path, name, &now) < 0 || is_equal(def, now) ||
		    json_is_false(now)) /* off, as the machine type has it, and here */
			continue;
		move_block(w->m,
			   "%s %s: its property '%s' isn't as by default, and the other VMM has "
			   "no such property; start the guest without it",
			   f->type, f->id ? f->id : f->path, name);
	}
}

static struct found *found_at(struct walk *w, const char *path)
{
	for (size_t i = 0; i < w->len; i++)
		if (!strcmp(w->all[i].path, path))
			return &w->all[i];
	return NULL;
}

/* "/machine/peripheral/s0/virtio-backend/s0.0" is a bus of "/machine/peripheral/s0". */
static char *owner_of(const char *bus)
{
	const char *end = bus;

	if (strncmp(bus, "/machine/peripheral", 19))
		return str_dup("");
	for (int i = 0; i < 4 && end; i++)
		end = i ? strchr(end + 1, '/') : end;
	return end ? str_printf("%.*s", (int)(end - bus), bus) : str_dup("");
}

static void bus_take(struct walk *w, struct found *f)
{
	OWNED_JSON *bus = NULL;
	struct found *owner;

	if (get(w->m, f->path, "parent_bus", &bus) < 0 || !json_is_string(bus))
		return;
	f->owner = owner_of(json_string_value(bus));
	owner = found_at(w, f->owner);
	if (!owner)
		return;
	if (!owner->id)
		owner->id = str_printf("adopted%d", number_in(owner->path));
	json_object_set_new(f->values, "bus",
			    json_object_get(f->values, "addr") ? json_string(owner->id)
							       : json_sprintf("%s.0", owner->id));
}

static int device_read(struct walk *w, struct found *f, struct err *e)
{
	const json_t *known = known_of(w, f->type);
	OWNED_JSON *own = NULL;
	int r;

	if (!json_array_size(known) || is_builtin(f->type)) {
		move_block(w->m, "%s %s: the other VMM has no such device; %s", f->type,
			   f->id ? f->id : f->path, remedy_of(f->type));
		return 0;
	}
	r = qmp_command(&w->m->source, "qom-list", json_pack("{s:s}", "path", f->path), &own, e);
	if (r < 0)
		return r;
	json_object_set_new(f->values, "driver", json_string(f->type));
	values_take(w, f, own, known);
	bus_take(w, f);
	others_check(w, f, known);
	return 0;
}

static int depth_of(struct walk *w, const struct found *f)
{
	int depth = 0;

	for (; f && f->owner && *f->owner && depth < DEPTH_MAX; depth++)
		f = found_at(w, f->owner);
	return depth;
}

/* Buses before what sits on them; serial ports by their number. */
static void put_in_order(struct walk *w)
{
	json_t *list = json_array();

	for (int depth = 0; depth < DEPTH_MAX; depth++)
		for (size_t i = 0; i < w->len; i++) {
			const struct found *f = &w->all[i];

			if (f->id)
				json_object_set_new(f->values, "id", json_string(f->id));
			if (depth_of(w, f) == depth && strcmp(f->type, "isa-serial"))
				json_array_append(list, f->values);
		}
	for (int index = 0; index < 4; index++)
		for (size_t i = 0; i < w->len; i++)
			if (!strcmp(w->all[i].type, "isa-serial") &&
			    json_number_value(json_object_get(w->all[i].values, "index")) == index)
				json_array_append(list, w->all[i].values);
	json_object_set_new(w->m->config, "devices", list);
}

/* What the command line sets and the other VMM hasn't, whatever its value. */
static void words_check(struct walk *w)
{
	size_t i;
	json_t *d, *v;
	const char *key;

	json_array_foreach (json_object_get(w->m->groups, "device"), i, d) {
		const char *driver = option_str(d, "driver", "");
		const json_t *known = known_of(w, driver);

		json_object_foreach (d, key, v) {
			if (json_array_size(known) && strcmp(key, "driver") && strcmp(key, "id") &&
			    strcmp(key, "bus") && !move_find(known, "name", key))
				move_block(w->m,
					   "-device %s: the other VMM has no property '%s'; start "
					   "the guest without it",
					   driver, key);
		}
	}
}

/**
 * qemu_devices() - Read QEMU's devices
 * @m:		@config gets "devices"; @blockers grows
 * @probe:	A VMM of the kind that shall take over
 * @e:		Set on failure only: QEMU doesn't answer
 *
 * Return: 0, or a negative errno
 */
int qemu_devices(struct move *m, struct qmp *probe, struct err *e)
{
	static const char *const folders[] = {"/machine/unattached", "/machine/peripheral-anon",
					      "/machine/peripheral"};
	struct walk w = {.m = m, .probe = probe, .known = json_object()};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(folders) && r >= 0; i++)
		r = list_folder(&w, folders[i], e);
	for (size_t i = 0; i < w.len && r >= 0; i++)
		r = device_read(&w, &w.all[i], e);
	if (r >= 0) {
		put_in_order(&w);
		words_check(&w);
	}
	for (size_t i = 0; i < w.len; i++) {
		free(w.all[i].path);
		free(w.all[i].type);
		free(w.all[i].id);
		free(w.all[i].owner);
		json_decref(w.all[i].values);
	}
	free(w.all);
	json_decref(w.known);
	return r;
}
