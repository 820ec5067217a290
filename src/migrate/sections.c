/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "migrate/migrate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/**
 * migrate_sections_destroy() - Free the list
 * @s:	Zeroed before first use; empty afterwards
 */
void migrate_sections_destroy(struct migrate_sections *s)
{
	free(s->all);
	*s = (struct migrate_sections){0};
}

/**
 * migrate_sections_add() - Append a section
 * @s:		List
 * @section:	Copied; has a table, capture and apply
 */
void migrate_sections_add(struct migrate_sections *s, const struct migrate_section *section)
{
	assert(section->table && section->capture && section->apply);
	if (s->len == s->room) {
		s->room = s->room ? s->room * 2 : 64;
		s->all = reallocarray(s->all, s->room, sizeof(*s->all));
		if (!s->all)
			abort();
	}
	s->all[s->len++] = *section;
}

static void device_section_capture(void *opaque, void *state)
{
	const struct device *dev = opaque;

	dev->class->capture(dev, state);
}

static int device_section_validate(void *opaque, const void *state, struct err *e)
{
	const struct device *dev = opaque;

	return dev->class->validate ? dev->class->validate(dev, state, e) : 0;
}

static void device_section_apply(void *opaque, const void *state)
{
	struct device *dev = opaque;

	dev->class->apply(dev, state);
}

/**
 * migrate_sections_add_device() - Append a device's section, if it has one
 * @s:		List
 * @dev:	Realized device
 * @e:		Says why the device can't follow
 *
 * Errors: EOPNOTSUPP the device blocks, or can be handed over on this host only
 * Return: 0, or a negative errno
 */
int migrate_sections_add_device(struct migrate_sections *s, struct device *dev, struct err *e)
{
	const struct device_class *class = dev->class;
	struct migrate_section section = {
		.name = class->section,
		.instance = (uint32_t)dev->instance,
		.table = class->state,
		.capture = device_section_capture,
		.validate = device_section_validate,
		.apply = device_section_apply,
		.opaque = dev,
	};

	if (class->continuity == CONTINUITY_STATELESS)
		return 0;
	if (class->continuity != CONTINUITY_STATE)
		return err_set(e, EOPNOTSUPP, "%s%s%s: %s", class->name, dev->id ? " " : "",
			       dev->id ? dev->id : "", class->why);
	memcpy(section.path, dev->path, sizeof(section.path));
	migrate_sections_add(s, &section);
	return 0;
}

/**
 * migrate_section_id() - A section's name as the stream has it
 * @s:	Section
 * @id:	Set to "PATH/NAME" or NAME
 */
void migrate_section_id(const struct migrate_section *s, char id[256])
{
	snprintf(id, 256, "%s%s%s", s->path, s->path[0] ? "/" : "", s->name);
}
