/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each section that comes is read into a scratch copy that begins as the state
 * of the fresh device, and is judged by its table and its device. Only when all have come are they
 * applied, in the machine's order, which can't fail.
 */
#include "migrate/devices.h"

#include "base/owned.h"
#include "migrate/configuration.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/**
 * devices_scratch_begin() - Get ready to receive device sections
 * @d:	Filled in
 * @s:	What the machine has; stays while @d does
 */
void devices_scratch_begin(struct devices_scratch *d, const struct migrate_sections *s)
{
	d->sections = s;
	d->states = mem_calloc(s->len, sizeof(*d->states));
}

/**
 * devices_scratch_end() - Free the scratch copies
 * @d:	Begun
 */
void devices_scratch_end(struct devices_scratch *d)
{
	size_t i;

	for (i = 0; i < d->sections->len; i++)
		free(d->states[i]);
	free(d->states);
	d->states = NULL;
}

static size_t section_find(const struct migrate_sections *s, const char *id, uint32_t instance)
{
	char mine[256];
	size_t i;

	for (i = 0; i < s->len; i++) {
		migrate_section_id(&s->all[i], mine);
		if (s->all[i].instance == instance && !strcmp(mine, id))
			break;
	}
	return i;
}

/* Puts the device's place in front of a text that begins with its table's name. */
static int place_in(const struct migrate_section *s, int ret, struct err *e)
{
	struct err inner = *e;

	if (s->path[0])
		snprintf(e->msg, sizeof(e->msg), "%.64s/%.440s", s->path, inner.msg);
	else if (s->instance)
		snprintf(e->msg, sizeof(e->msg), "instance %u of %.440s", s->instance, inner.msg);
	return ret;
}

static int load_scratch(const struct migrate_section *s, void *state, struct channel *c,
			uint32_t version, struct err *e)
{
	struct state_reader r = reader_on(c);
	char unknown[256];
	int ret;

	s->capture(s->opaque,
		   state); /* what the stream doesn't say stays as it is in a fresh device */
	ret = state_load(s->table, state, version, &r, e);
	if (ret == 0 && state_subsection_here(&r, unknown))
		ret = err_set(e, ENOENT, "%s: unknown subsection %s", s->table->name, unknown);
	reader_done(&r);
	if (ret == 0 && s->validate) {
		ret = s->validate(s->opaque, state, e);
		if (ret < 0) {
			struct err inner = *e;

			snprintf(e->msg, sizeof(e->msg), "%.100s/%.400s", s->name, inner.msg);
		}
	}
	return ret < 0 ? place_in(s, ret, e) : 0;
}

/**
 * device_missing() - A device of the source's isn't here: what can be done
 * @e:		Names it
 * @cpu:	It is a vCPU
 *
 * Return: -@e->code
 */
int device_missing(struct err *e, bool cpu)
{
	if (cpu)
		return err_hint(e, "the source has more vCPUs: give this machine the same -smp");
	return err_hint(e, "give this machine the source's devices, at the same addresses; what "
			   "outlive-devices(7) doesn't list must be unplugged there first");
}

/**
 * devices_load_one() - Read the payload of a device's section into its scratch
 * @d:		Begun
 * @c:		Channel; stands at the payload
 * @id:		"PATH/NAME" of the section
 * @instance:	Its instance number
 * @version:	Of the payload
 * @e:		Names device, field and what about it
 *
 * Errors: ENOENT no such device here, or an unknown subsection; EEXIST it came already; EINVAL as
 * state_load()
 * Return: 0, or a negative errno
 */
int devices_load_one(struct devices_scratch *d, struct channel *c, const char *id,
		     uint32_t instance, uint32_t version, struct err *e)
{
	size_t i = section_find(d->sections, id, instance);
	const struct migrate_section *s = &d->sections->all[i];

	if (i == d->sections->len) {
		err_set(e, ENOENT, "section %s, instance %u: there is no such device here", id,
			instance);
		return device_missing(e, !strncmp(id, "cpu", 3) || !strcmp(id, "apic"));
	}
	if (d->states[i])
		return err_set(e, EEXIST, "section %s, instance %u: came twice", id, instance);
	d->states[i] = mem_zalloc(s->table->size);
	return load_scratch(s, d->states[i], c, version, e);
}

/**
 * devices_check() - Has everything come?
 * @d:	Begun
 * @e:	Lists the sections that are missing
 *
 * Errors: ENODATA
 * Return: 0, or a negative errno
 */
int devices_check(const struct devices_scratch *d, struct err *e)
{
	char missing[400] = "", id[256];
	size_t i, n = 0;

	for (i = 0; i < d->sections->len; i++) {
		if (d->states[i] || d->sections->all[i].optional)
			continue;
		migrate_section_id(&d->sections->all[i], id);
		n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s %u", n ? ", " : "",
				      id, d->sections->all[i].instance);
		if (n >= sizeof(missing))
			break;
	}
	if (!n)
		return 0;
	err_set(e, ENODATA, "not in the stream: %s", missing);
	return err_hint(e, "start this machine without what the source doesn't have");
}

/**
 * devices_apply() - Hand every loaded state to its device, in the machine's order
 * @d:	Complete and checked
 */
void devices_apply(const struct devices_scratch *d)
{
	size_t i;

	for (i = 0; i < d->sections->len; i++)
		if (d->states[i])
			d->sections->all[i].apply(d->sections->all[i].opaque, d->states[i]);
}
