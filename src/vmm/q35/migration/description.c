/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: both sides describe their machines by the same code, and the target
 * compares. Only what the guest can see counts: names of back ends, ids and files may differ.
 * Devices are found by their place ("0000:00:03.0"). A CPU feature that only the target has is no
 * mismatch.
 */
#include "vmm/q35/migration/description.h"

#include "base/owned.h"
#include "block/block.h"
#include "kvm/x86/features.h"
#include "vmm/q35/ops/ops.h"

#include <stdio.h>
#include <string.h>

/* Names of all features that the guest sees: CPUID's, or those in MSRs, which earlier versions
 * don't tell. */
static json_t *features(const struct x86_processor *p, bool msr)
{
	json_t *names = json_array();

	for (size_t i = 0; i < X86_FEATURE_WORDS; i++) {
		const struct x86_feature_word *w = &x86_feature_words[i];

		for (unsigned int b = 0; b < X86_FEATURE_BITS && (w->msr != 0) == msr; b++)
			if (p->f.word[i] >> b & 1 && w->names[b])
				json_array_append_new(names, json_string(w->names[b]));
	}
	return names;
}

/* Can the guest see it? Back ends by their names it can't. */
static bool is_seen(const struct prop *p)
{
	static const char *const unseen[] = {"bootindex", "romfile", "addr",    "bus",
					     "rerror",    "werror",  "share-rw"};

	for (size_t i = 0; i < ARRAY_SIZE(unseen); i++)
		if (!strcmp(p->name, unseen[i]))
			return false;
	return p->kind != PROP_DRIVE && p->kind != PROP_NETDEV && p->kind != PROP_CHARDEV &&
	       p->kind != PROP_LINK;
}

static json_t *properties(const struct device *dev)
{
	json_t *all = json_object();

	for (const struct prop *p = dev->class->props; p && p->kind != PROP_END; p++) {
		const void *at = (const char *)dev + p->offset;

		if (is_seen(p))
			json_object_set_new(all, p->name, prop_value(dev, p));
		else if (p->kind == PROP_DRIVE && *(struct block_node *const *)at)
			json_object_set_new(all, "disk-bytes",
					    json_integer((json_int_t)block_size(
						    *(struct block_node *const *)at)));
	}
	return all;
}

static json_t *devices(struct guest *g)
{
	json_t *all = json_object();

	for (size_t i = 0; i < json_array_size(g->devices); i++) {
		const struct device *dev = guest_device_at(g, i);

		if (dev && dev->path[0])
			json_object_set_new(all, dev->path,
					    json_pack("{s:s, s:s, s:o}", "driver", dev->class->name,
						      "id", dev->id ? dev->id : "", "properties",
						      properties(dev)));
	}
	return all;
}

static json_t *sections(const struct migrate_sections *all)
{
	json_t *versions = json_object();
	char id[256], key[300];

	for (size_t i = 0; i < all->len; i++) {
		migrate_section_id(&all->all[i], id);
		snprintf(key, sizeof(key), "%s/%u", id, all->all[i].instance);
		json_object_set_new(versions, key,
				    json_integer((json_int_t)all->all[i].table->version));
	}
	return versions;
}

static json_t *ram_blocks(struct guest *g)
{
	struct ram_block *b;
	json_t *all = json_object();

	list_for_each (b, &g->q->memory.blocks, link)
		json_object_set_new(all, b->name, json_integer((json_int_t)b->size));
	return all;
}

/* vCPUs beside those of the start, as -device makes them. */
static json_t *vcpus_plugged(struct guest *g)
{
	json_t *all = json_object();

	for (unsigned int i = 0; i < g->q->max_cpus; i++) {
		const struct device *dev = q35_vcpu_device(g->q, i);
		char number[16];

		snprintf(number, sizeof(number), "%u", i);
		if (dev)
			json_object_set_new(all, number, guest_vcpu_argument(g, i));
	}
	return all;
}

/**
 * description_make() - Describe the guest's machine
 * @g:		The guest. Main thread
 * @e:		Set on failure only: the device that can't follow, and why
 *
 * Return: new reference, or NULL
 */
json_t *description_make(struct guest *g, struct err *e)
{
	struct migrate_sections all;
	json_t *d;

	if (guest_sections(g, &all, e) < 0)
		return NULL;
	d = json_pack("{s:s, s:s, s:I, s:i, s:i, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o}",
		      "version", OUTLIVE_VERSION, "machine", Q35_MACHINE, "memory",
		      (json_int_t)g->v->options->ram_bytes, "cpus", (int)g->q->cpus, "max-cpus",
		      (int)g->q->max_cpus, "smm", g->q->smm, "cpu-model", g->q->cpuid.cpu.name,
		      "features", features(&g->q->cpuid.cpu, false), "msr-features",
		      features(&g->q->cpuid.cpu, true), "blocks", ram_blocks(g), "devices",
		      devices(g), "vcpus-plugged", vcpus_plugged(g), "sections", sections(&all));
	migrate_sections_destroy(&all);
	return d;
}

/* Comparing. */

static void add(json_t *found, const char *fmt, ...) PRINTF(2, 3);

static void add(json_t *found, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (json_array_size(found) < 100)
		json_array_append_new(found, json_vsprintf(fmt, ap));
	va_end(ap);
}

static void compare_size(json_t *found, const json_t *guest, const json_t *target)
{
	long long m = (long long)option_int(guest, "memory", 0) >> 20;
	long long tm = (long long)option_int(target, "memory", 0) >> 20;
	int c = (int)option_int(guest, "cpus", 0), tc = (int)option_int(target, "cpus", 0);
	int x = (int)option_int(guest, "max-cpus", 0), tx = (int)option_int(target, "max-cpus", 0);

	if (strcmp(option_str(guest, "machine", ""), option_str(target, "machine", "")))
		add(found, "machine type: the guest has %s, the target %s: start it with -M %s",
		    option_str(guest, "machine", ""), option_str(target, "machine", ""),
		    option_str(guest, "machine", ""));
	if (m != tm)
		add(found, "memory: the guest has %lld MiB, the target %lld: start it with -m %lld",
		    m, tm, m);
	if (c != tc || x != tx)
		add(found,
		    "vCPUs: the guest has %d of at most %d, the target %d of %d: start it with "
		    "-smp %d,maxcpus=%d",
		    c, x, tc, tx, c, x);
}

/* Versions that don't tell have none. */
static void compare_smm(json_t *found, const json_t *guest, const json_t *target)
{
	bool mine = option_bool(guest, "smm", false);

	if (mine != option_bool(target, "smm", false))
		add(found,
		    "system management mode: the guest has %s, the target %s: start it with "
		    "-machine smm=%s",
		    mine ? "it" : "none", mine ? "none" : "it", mine ? "on" : "off");
}

/* vCPUs that only one side has plugged; nothing to a target that doesn't tell. */
static void compare_plugged(json_t *found, const json_t *guest, const json_t *target)
{
	const json_t *mine = json_object_get(guest, "vcpus-plugged");
	const json_t *theirs = json_object_get(target, "vcpus-plugged");
	const char *place;
	json_t *one;

	json_object_foreach (theirs ? (json_t *)(uintptr_t)mine : NULL, place, one) {
		if (!json_object_get(theirs, place))
			add(found,
			    "vCPU %s was plugged into the guest, and the target hasn't got it: "
			    "start it with -device %s",
			    place, json_string_value(one));
	}
	json_object_foreach (mine ? (json_t *)(uintptr_t)theirs : NULL, place, one) {
		if (!json_object_get(mine, place))
			add(found,
			    "the target has vCPU %s, which the guest hasn't: start it without "
			    "-device %s",
			    place, json_string_value(one));
	}
}

static bool lists(const json_t *names, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)names, i, one) {
		if (!strcmp(json_string_value(one), name))
			return true;
	}
	return false;
}

/* Counts what the target lacks of @key, and writes it down as -cpu takes it. A target that doesn't
 * know the key isn't judged by it. */
static size_t features_missing(const json_t *guest, const json_t *target, const char *key,
			       char *names, size_t size)
{
	const json_t *theirs = json_object_get(target, key), *one;
	size_t i, n = strlen(names), missing = 0;

	json_array_foreach (theirs ? json_object_get(guest, key) : NULL, i, one) {
		const char *name = json_string_value(one);

		if (!name || lists(theirs, name))
			continue;
		missing++;
		if (n + strlen(name) + 3 < size)
			n += (size_t)snprintf(names + n, size - n, ",-%s", name);
	}
	return missing;
}

static void compare_features(json_t *found, const json_t *guest, const json_t *target)
{
	const char *model = option_str(guest, "cpu-model", "host");
	const char *theirs = option_str(target, "cpu-model", model);
	char names[160] = "";
	size_t missing = features_missing(guest, target, "features", names, sizeof(names));

	missing += features_missing(guest, target, "msr-features", names, sizeof(names));
	if (missing && strcmp(model, theirs))
		add(found,
		    "CPU: the guest's model is %s, the target's %s, which lacks %zu of its "
		    "features (%s): start it with -cpu %s",
		    model, theirs, missing, names + 1, model);
	else if (missing)
		add(found,
		    "CPU: the guest sees %zu features that the target can't give: start it without "
		    "them on both sides (-cpu %s%s), or choose a host that has them",
		    missing, model, names);
}

static void compare_blocks(json_t *found, const json_t *guest, const json_t *target)
{
	const json_t *theirs = json_object_get(target, "blocks"), *size;
	const char *name;

	json_object_foreach (json_object_get(guest, "blocks"), name, size) {
		long long bytes = json_integer_value(size), other = option_int(theirs, name, 0);

		if (!strcmp(name, "pc.ram") || !strncmp(name, "/rom@", 5) || bytes == other)
			continue; /* judged by its size above; grows as it must */
		if (!json_object_get(theirs, name))
			add(found,
			    "RAM block %s is missing on the target: give it the same devices, "
			    "firmware and memory-backend id",
			    name);
		else
			add(found,
			    "RAM block %s has %lld bytes, on the target %lld: use firmware (-bios) "
			    "and ROMs of the same size",
			    name, bytes, other);
	}
}

static void compare_properties(json_t *found, const char *path, const json_t *guest,
			       const json_t *target)
{
	const json_t *theirs = json_object_get(target, "properties"), *value;
	const char *name;

	json_object_foreach (json_object_get(guest, "properties"), name, value) {
		const json_t *other = json_object_get(theirs, name);
		OWNED(char) *a = json_dumps(value, JSON_ENCODE_ANY), *b = NULL;

		if (!other || json_equal(value, other))
			continue; /* unknown there: it has its default */
		b = json_dumps(other, JSON_ENCODE_ANY);
		if (!strcmp(name, "disk-bytes"))
			add(found,
			    "%s at %s: the guest's disk has %s bytes, the target's %s: give it the "
			    "same disk",
			    option_str(guest, "driver", "?"), path, a, b);
		else
			add(found,
			    "%s at %s: %s is %s, on the target %s: start it with %s=%s there",
			    option_str(guest, "driver", "?"), path, name, a, b, name, a);
	}
}

static void compare_devices(json_t *found, const json_t *guest, const json_t *target)
{
	const json_t *mine = json_object_get(guest, "devices");
	const json_t *theirs = json_object_get(target, "devices"), *one;
	const char *path;

	json_object_foreach ((json_t *)(uintptr_t)mine, path, one) {
		const json_t *other = json_object_get(theirs, path);
		const char *driver = option_str(one, "driver", "?");

		if (!other)
			add(found,
			    "%s at %s is missing on the target: start it with -device %s at the "
			    "same address",
			    driver, path, driver);
		else if (strcmp(driver, option_str(other, "driver", "?")))
			add(found,
			    "at %s the guest has a %s, the target a %s: start it with -device %s",
			    path, driver, option_str(other, "driver", "?"), driver);
		else
			compare_properties(found, path, one, other);
	}
	json_object_foreach ((json_t *)(uintptr_t)theirs, path, one) {
		if (!json_object_get(mine, path))
			add(found,
			    "the target has a %s at %s that the guest hasn't: start it without",
			    option_str(one, "driver", "?"), path);
	}
}

/* What devices of the chipset differ in; those of the user have been named already. */
static void compare_sections(json_t *found, const json_t *guest, const json_t *target)
{
	const json_t *theirs = json_object_get(target, "sections"), *version;
	const char *key;

	json_object_foreach (json_object_get(guest, "sections"), key, version) {
		long long other = option_int(theirs, key, -1);

		if (other < 0)
			add(found,
			    "state %s: the target has no such device: start it with the same "
			    "-machine options and serial ports",
			    key);
		else if (other < json_integer_value(version))
			add(found,
			    "state %s: version %lld, the target reads up to %lld: upgrade it", key,
			    (long long)json_integer_value(version), other);
	}
}

/**
 * description_compare() - What stands in the way of a guest
 * @guest:	Its description
 * @target:	Of the machine that is to take it
 *
 * Return: sentences, new reference
 */
json_t *description_compare(const json_t *guest, const json_t *target)
{
	json_t *found = json_array();
	size_t before;

	compare_size(found, guest, target);
	compare_smm(found, guest, target);
	compare_plugged(found, guest, target);
	compare_features(found, guest, target);
	before = json_array_size(found);
	compare_devices(found, guest, target);
	compare_blocks(found, guest, target);
	if (json_array_size(found) == before)
		compare_sections(found, guest, target);
	return found;
}
