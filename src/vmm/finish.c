/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what the items of a command line mean together: typed fields, defaults, the
 * vCPU topology, and contradictions between options that are each fine alone.
 */
#include "base/owned.h"
#include "control/control.h"
#include "vmm/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAEMON_STDIO "-nographic puts the console on stdio, a daemon has none"
#define RAM_DEFAULT  (128 * MiB)
#define SMP_MAX      288U

static const struct vmm_item *item_of(const struct vmm_options *o, enum vmm_group g)
{
	return &o->groups[g].items[0];
}

static int machine_finish(struct vmm_options *o, struct err *e)
{
	o->machine = option_str(vmm_values(o, VMM_MACHINE), "type", "q35");
	if (option_bool(vmm_values(o, VMM_MACHINE), "usb", false)) {
		err_set(e, EINVAL, "usb=on: this machine has no USB controller of its own");
		return vmm_err_item(e, item_of(o, VMM_MACHINE));
	}
	o->cpu = option_str(vmm_values(o, VMM_CPU), "cpu-model", NULL);
	o->name = option_str(vmm_values(o, VMM_NAME), "guest", NULL);
	return 0;
}

static bool has_kvm(const char *list)
{
	for (const char *p = list; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL)
		if (!strncmp(p, "kvm", 3) && (!p[3] || p[3] == ':'))
			return true;
	return false;
}

static int accel_finish(struct vmm_options *o, struct err *e)
{
	const char *list = option_str(vmm_values(o, VMM_MACHINE), "accel", NULL);

	if (list && !has_kvm(list) && strcmp(o->machine, "none")) {
		err_set(e, EINVAL, "accel=%s: only kvm is there", list);
		return vmm_err_item(e, item_of(o, VMM_MACHINE));
	}
	for (size_t i = 0; i < o->groups[VMM_ACCEL].len; i++) {
		const struct vmm_item *item = &o->groups[VMM_ACCEL].items[i];
		const char *name = option_str(item->values, "accel", "");

		if (strcmp(name, "kvm") && strcmp(name, "help")) {
			err_set(e, EINVAL, "'%s' is not an accelerator here, only kvm is", name);
			return vmm_err_item(e, item);
		}
	}
	return 0;
}

static int memory_finish(struct vmm_options *o, struct err *e)
{
	const json_t *m = vmm_values(o, VMM_MEMORY);

	o->ram_bytes = (uint64_t)option_int(m, "size", RAM_DEFAULT);
	o->max_ram_bytes = (uint64_t)option_int(m, "maxmem", (int64_t)o->ram_bytes);
	o->ram_slots = (unsigned int)option_int(m, "slots", 0);
	o->ram_bytes = ALIGN_UP(o->ram_bytes, 8192ULL);
	o->max_ram_bytes = MAX(o->max_ram_bytes, o->ram_bytes);
	if (!o->ram_bytes)
		err_set(e, EINVAL, "a guest needs some RAM");
	else if (option_int(m, "maxmem", INT64_MAX) < option_int(m, "size", RAM_DEFAULT))
		err_set(e, EINVAL, "maxmem is less than size");
	else if (json_object_get(m, "slots") && !json_object_get(m, "maxmem"))
		err_set(e, EINVAL, "slots= needs maxmem=");
	else
		return 0;
	return vmm_err_item(e, item_of(o, VMM_MEMORY));
}

static unsigned int count(const json_t *m, const char *name)
{
	return (unsigned int)option_int(m, name, 0);
}

/*
 * What isn't given is derived as QEMU does since 6.2: cores before sockets before threads; maxcpus
 * from the product, cpus from maxcpus.
 */
static void topology_complete(struct vmm_topology *t)
{
	unsigned int rest;

	t->dies = t->dies ? t->dies : 1;
	t->clusters = t->clusters ? t->clusters : 1;
	if (!t->cpus && !t->max_cpus) {
		t->sockets = t->sockets ? t->sockets : 1;
		t->cores = t->cores ? t->cores : 1;
		t->threads = t->threads ? t->threads : 1;
	} else {
		unsigned int total = t->max_cpus ? t->max_cpus : t->cpus;

		rest = t->dies * t->clusters;
		if (!t->cores) {
			t->sockets = t->sockets ? t->sockets : 1;
			t->threads = t->threads ? t->threads : 1;
			t->cores = total / (t->sockets * rest * t->threads);
		} else if (!t->sockets) {
			t->threads = t->threads ? t->threads : 1;
			t->sockets = total / (rest * t->cores * t->threads);
		} else if (!t->threads) {
			t->threads = total / (t->sockets * rest * t->cores);
		}
	}
	if (!t->max_cpus)
		t->max_cpus = t->sockets * t->dies * t->clusters * t->cores * t->threads;
	t->cpus = t->cpus ? t->cpus : t->max_cpus;
}

static int smp_finish(struct vmm_options *o, struct err *e)
{
	const json_t *m = vmm_values(o, VMM_SMP);
	struct vmm_topology *t = &o->smp;

	*t = (struct vmm_topology){count(m, "cpus"),   count(m, "maxcpus"),  count(m, "sockets"),
				   count(m, "dies"),   count(m, "clusters"), count(m, "cores"),
				   count(m, "threads")};
	topology_complete(t);
	t->max_cpus = t->max_cpus ? t->max_cpus : t->cpus; /* the product of too many is 0 */
	if (t->clusters != 1)
		err_set(e, EINVAL, "clusters=%u: this machine has no clusters, only 1 is possible",
			t->clusters);
	else if ((uint64_t)t->sockets * t->dies * t->cores * t->threads != t->max_cpus)
		err_set(e, EINVAL,
			"sockets (%u) * dies (%u) * cores (%u) * threads (%u) is not maxcpus (%u)",
			t->sockets, t->dies, t->cores, t->threads, t->max_cpus);
	else if (t->max_cpus > SMP_MAX)
		err_set(e, EINVAL, "%u vCPUs: this machine has room for %u", t->max_cpus, SMP_MAX);
	else if (t->cpus > t->max_cpus)
		err_set(e, EINVAL, "maxcpus (%u) is less than cpus (%u)", t->max_cpus, t->cpus);
	else
		return 0;
	return vmm_err_item(e, item_of(o, VMM_SMP));
}

static int uuid_finish(struct vmm_options *o, struct err *e)
{
	const char *text = vmm_text(o, VMM_UUID);
	const char *p = text;

	for (size_t i = 0; text && i < 16; i++) {
		int end = 0;

		if (i == 4 || i == 6 || i == 8 || i == 10)
			p += *p == '-' ? 1 : 0;
		if (sscanf(p, "%2hhx%n", &o->uuid[i], &end) != 1 || end != 2)
			break;
		p += 2;
		o->has_uuid = i == 15 && !*p && strlen(text) == 36;
	}
	if (!text || o->has_uuid)
		return 0;
	err_set(e, EINVAL, "this is not a UUID");
	return vmm_err_item(e, item_of(o, VMM_UUID));
}

static int refuse_pair(const struct vmm_options *o, enum vmm_group a, enum vmm_group b,
		       const char *why, struct err *e)
{
	if (!vmm_given(o, a) || !vmm_given(o, b))
		return 0;
	err_set(e, EINVAL, "%s", why);
	return vmm_err_item(e, item_of(o, a));
}

static int refuse_without(const struct vmm_options *o, enum vmm_group a, enum vmm_group b,
			  const char *why, struct err *e)
{
	if (!vmm_given(o, a) || vmm_given(o, b) ||
	    (b == VMM_KERNEL && json_object_get(vmm_values(o, VMM_MACHINE), "kernel")))
		return 0;
	err_set(e, EINVAL, "%s", why);
	return vmm_err_item(e, item_of(o, a));
}

static int pairs_check(const struct vmm_options *o, struct err *e)
{
	const json_t *machine = vmm_values(o, VMM_MACHINE);
	int r = refuse_without(o, VMM_APPEND, VMM_KERNEL, "there is no -kernel to append to", e);

	if (r == 0)
		r = refuse_without(o, VMM_INITRD, VMM_KERNEL, "an initrd needs -kernel", e);
	if (r == 0)
		r = vmm_given(o, VMM_NODEFAULTS)
			    ? 0
			    : refuse_pair(o, VMM_DAEMONIZE, VMM_NOGRAPHIC, DAEMON_STDIO, e);
	if (r == 0 && vmm_given(o, VMM_NO_HPET) && option_bool(machine, "hpet", false)) {
		err_set(e, EINVAL, "it contradicts -machine hpet=on");
		r = vmm_err_item(e, item_of(o, VMM_NO_HPET));
	}
	return r;
}

/* Ids are one name space within each group. */
static int ids_check(const struct vmm_options *o, enum vmm_group g, const char *key, struct err *e)
{
	const struct vmm_items *all = &o->groups[g];

	for (size_t i = 0; i < all->len; i++) {
		const char *id = option_str(all->items[i].values, key, NULL);

		for (size_t j = 0; id && j < i; j++) {
			if (strcmp(id, option_str(all->items[j].values, key, "")))
				continue;
			err_set(e, EEXIST, "%s '%s' is taken by argument %d", key, id,
				all->items[j].position);
			return vmm_err_item(e, &all->items[i]);
		}
	}
	return 0;
}

static int objects_check(const struct vmm_options *o, struct err *e)
{
	for (size_t i = 0; i < o->groups[VMM_OBJECT].len; i++) {
		struct vmm_item *item = &o->groups[VMM_OBJECT].items[i];
		json_t *checked;

		if (json_object_get(item->values, "help") ||
		    !strcmp(option_str(item->values, "qom-type", ""), "help"))
			continue;
		if (object_check(item->values, OPTION_JSON, &checked, e) < 0)
			return vmm_err_item(e, item);
		json_decref(item->values);
		item->values = checked;
	}
	return 0;
}

static int monitors_check(const struct vmm_options *o, struct err *e)
{
	for (size_t i = 0; i < o->groups[VMM_MON].len; i++) {
		const struct vmm_item *item = &o->groups[VMM_MON].items[i];

		if (!strcmp(option_str(item->values, "mode", "readline"), "control"))
			continue;
		err_set(e, EINVAL, "only mode=control is there (QMP)");
		return vmm_err_item(e, item);
	}
	for (size_t i = 0; i < o->groups[VMM_MONITOR].len; i++) {
		const struct vmm_item *item = &o->groups[VMM_MONITOR].items[i];

		if (!strcmp(item->argument, "none"))
			continue;
		err_set(e, EINVAL, "there is no human monitor, only QMP (-qmp)");
		return vmm_err_item(e, item);
	}
	return 0;
}

/**
 * vmm_options_finish() - Fill the typed fields and find contradictions
 * @o:		Parsed options
 * @e:		Set on failure only: names the argument
 *
 * Errors: EINVAL a contradiction or a bad value, EEXIST an id is taken
 * Return: 0, or a negative errno
 */
int vmm_options_finish(struct vmm_options *o, struct err *e)
{
	static int (*const steps[])(struct vmm_options *, struct err *) = {
		machine_finish, accel_finish, memory_finish, smp_finish, uuid_finish,
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
		r = steps[i](o, e);
	if (r == 0)
		r = pairs_check(o, e);
	if (r == 0)
		r = objects_check(o, e);
	if (r == 0)
		r = monitors_check(o, e);
	if (r == 0)
		r = ids_check(o, VMM_DEVICE, "id", e);
	if (r == 0)
		r = ids_check(o, VMM_NETDEV, "id", e);
	if (r == 0)
		r = ids_check(o, VMM_OBJECT, "id", e);
	if (r == 0)
		r = ids_check(o, VMM_CHARDEV, "id", e);
	return r == 0 ? ids_check(o, VMM_BLOCKDEV, "node-name", e) : r;
}
