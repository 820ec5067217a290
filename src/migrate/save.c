/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: section number 1 is the RAM, the devices follow from 2 in the machine's
 * order, globalstate is the last, as QEMU has it. A device's bytes and their description are made
 * in one walk over its table.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "migrate/configuration.h"
#include "migrate/devices.h"
#include "migrate/ram/ram.h"
#include "migrate/stamp.h"
#include "migrate/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/**
 * section_begin() - Write the beginning of a section
 * @c:		Channel
 * @mark:	WIRE_START, _PART, _END or _FULL
 * @number:	Of the section in this stream
 */
void section_begin(struct channel *c, uint8_t mark, uint32_t number)
{
	channel_put_u8(c, mark);
	channel_put_be32(c, number);
}

/**
 * section_name() - Write what a START or FULL section has besides
 * @c:		Channel
 * @id:		"PATH/NAME"
 * @instance:	Instance number
 * @version:	Of the payload
 */
void section_name(struct channel *c, const char *id, uint32_t instance, uint32_t version)
{
	channel_put_u8(c, (uint8_t)strlen(id));
	channel_put(c, id, strlen(id));
	channel_put_be32(c, instance);
	channel_put_be32(c, version);
}

/**
 * section_end() - Write a section's footer
 * @c:		Channel
 * @number:	Of the section in this stream
 */
void section_end(struct channel *c, uint32_t number)
{
	channel_put_u8(c, WIRE_FOOTER);
	channel_put_be32(c, number);
}

static json_t *describe_section(const char *id, uint32_t instance)
{
	json_t *desc = json_object();

	json_object_set_new(desc, "name", json_string(id));
	json_object_set_new(desc, "instance_id", json_integer(instance));
	return desc;
}

static void save_device(struct channel *c, const struct migrate_section *s, uint32_t number,
			json_t *devices)
{
	OWNED(void) *state = mem_zalloc(s->table->size);
	struct state_writer w = {0};
	json_t *desc;
	char id[256];

	migrate_section_id(s, id);
	desc = describe_section(id, s->instance);
	s->capture(s->opaque, state);
	state_save_described(s->table, state, &w, desc);
	section_begin(c, WIRE_FULL, number);
	section_name(c, id, s->instance, s->table->version);
	channel_put(c, w.buf, w.len);
	section_end(c, number);
	state_writer_destroy(&w);
	json_array_append_new(devices, desc);
}

static void save_globalstate(struct migrate_job *job, uint32_t number, json_t *devices)
{
	json_t *desc = describe_section("globalstate", 0);
	struct channel *c = job->channel;
	struct state_writer w = {0};

	globalstate_save(job, &w, desc);
	section_begin(c, WIRE_FULL, number);
	section_name(c, "globalstate", 0, 1);
	channel_put(c, w.buf, w.len);
	section_end(c, number);
	state_writer_destroy(&w);
	json_array_append_new(devices, desc);
}

static void describe_stop(const struct migrate_job *job, json_t *top)
{
	int64_t ago = time_ns() - job->stopped_ns;

	if (job->stopped_ns)
		json_object_set_new(
			top, STAMP_MEMBER,
			json_pack("[I, I]", (json_int_t)(time_wall_ns() - ago), (json_int_t)ago));
}

/**
 * devices_put() - Write all device sections
 * @job:	The guest is stopped
 *
 * Return: what describes them, for devices_finish()
 */
json_t *devices_put(struct migrate_job *job)
{
	const struct migrate_sections *s = job->sections;
	json_t *devices = json_array();
	size_t i;

	for (i = 0; i < s->len; i++)
		save_device(job->channel, &s->all[i], WIRE_FIRST_DEVICE + (uint32_t)i, devices);
	save_globalstate(job, WIRE_FIRST_DEVICE + (uint32_t)s->len, devices);
	return devices;
}

/**
 * devices_finish() - Write the end mark and the description
 * @job:	Behind devices_put()
 * @devices:	What it has returned; owned by this from now on
 *
 * With the end mark a QEMU has a guest, whatever becomes of the description.
 */
void devices_finish(struct migrate_job *job, json_t *devices)
{
	struct channel *c = job->channel;
	json_t *top = json_object();
	char *text;

	channel_put_u8(c, WIRE_EOF);
	describe_stop(job, top); /* first, see stamp.h */
	json_object_set_new(top, "page_size", json_integer(WIRE_PAGE));
	json_object_set_new(top, "devices", devices);
	text = json_dumps(top, 0);
	if (!text)
		abort(); /* out of memory */
	channel_put_u8(c, WIRE_DESCRIPTION);
	channel_put_be32(c, (uint32_t)strlen(text));
	channel_put(c, text, strlen(text));
	free(text);
	json_decref(top);
}

/**
 * devices_save() - Write all device sections, the end mark and the description
 * @job:	The guest is stopped
 */
void devices_save(struct migrate_job *job)
{
	devices_finish(job, devices_put(job));
}

static int save_ram(struct ram_source *ram, struct err *e)
{
	struct channel *c = ram->job->channel;
	bool done;
	int ret;

	section_begin(c, WIRE_START, WIRE_RAM_NUMBER);
	section_name(c, "ram", 0, WIRE_RAM_VERSION);
	ram_put_blocks(ram);
	section_end(c, WIRE_RAM_NUMBER);
	section_begin(c, WIRE_END, WIRE_RAM_NUMBER);
	ret = ram_put_pages(ram, UINT64_MAX, &done, e);
	if (ret < 0)
		return ret;
	ram_put_eos(ram);
	section_end(c, WIRE_RAM_NUMBER);
	return 0;
}

/**
 * migrate_save() - Write a stopped guest
 * @job:	See there; nothing in the guest changes
 * @e:		Set on failure only
 *
 * Errors: as the channel
 * Return: 0 when everything is in the channel's carrier, or a negative errno
 */
int migrate_save(struct migrate_job *job, struct err *e)
{
	int64_t begin = time_ns();
	struct ram_source ram;
	int ret;

	job->progress = (struct migrate_progress){.phase = MIGRATE_SWITCHOVER};
	ret = ram_source_begin(&ram, job, e);
	if (ret == 0) {
		configuration_save(job);
		ret = save_ram(&ram, e);
	}
	ram_source_end(&ram);
	if (ret == 0) {
		devices_save(job);
		ret = channel_finish(job->channel, e);
	}
	job->progress.phase = ret < 0 ? MIGRATE_FAILED : MIGRATE_DONE;
	job->progress.sent_bytes = ram_sent_bytes(job);
	job->progress.total_us = (uint64_t)(time_ns() - begin) / 1000;
	return ret;
}
