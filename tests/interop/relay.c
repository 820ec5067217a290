/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay IN OUT: loads a stream that QEMU wrote and writes it again, for QEMU to load.
 *
 * Theory of operation: everything but the devices is ours: frame, configuration, RAM, description,
 * snapshot file. The devices are stood for by buffers as large as IN's description says, so their
 * payloads pass unread. With "live" as a third word the RAM is sent in rounds.
 */
#include "base/owned.h"
#include "cli/inspect/inspect.h"
#include "migrate/migrate.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/**
 * struct opaque - A device section whose content nobody looks at
 * @table:	One buffer
 * @fields:	Its rows
 * @bytes:	The payload
 * @id:		Name in the stream
 */
struct opaque {
	struct state_table table;
	struct state_field fields[2];
	uint8_t *bytes;
	char id[256];
};

static int failed(const struct err *e)
{
	fprintf(stderr, "relay: %s\n", e->msg);
	return 1;
}

static void opaque_capture(void *opaque, void *state)
{
	const struct opaque *o = opaque;

	memcpy(state, o->bytes, o->table.size);
}

static void opaque_apply(void *opaque, const void *state)
{
	const struct opaque *o = opaque;

	memcpy(o->bytes, state, o->table.size);
}

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

/* A section as the description of IN shows it: header of 14 bytes and the name, footer of 5. */
static void add_section(struct migrate_sections *sections, const json_t *s)
{
	struct opaque *o = mem_zalloc(sizeof(*o));
	struct migrate_section section = {.name = o->id,
					  .instance = (uint32_t)number(s, "instance"),
					  .table = &o->table,
					  .capture = opaque_capture,
					  .apply = opaque_apply,
					  .opaque = o};

	snprintf(o->id, sizeof(o->id), "%s", json_string_value(json_object_get(s, "name")));
	o->table.size = (size_t)number(s, "size") - 14 - strlen(o->id) - 5;
	o->table.name = o->id;
	o->table.version = (unsigned int)number(s, "version");
	o->table.fields = o->fields;
	o->fields[0] = (struct state_field){.name = "data",
					    .kind = STATE_BYTES,
					    .size = o->table.size,
					    .count = 1,
					    .count_offset = -1};
	o->bytes = mem_zalloc(o->table.size);
	migrate_sections_add(sections, &section);
}

static void add_sections(struct migrate_sections *sections, const json_t *stream)
{
	const json_t *s;
	const char *name;
	size_t i;

	json_array_foreach (json_object_get(stream, "sections"), i, s) {
		name = json_string_value(json_object_get(s, "name"));
		if (strcmp(name, "ram") && strcmp(name, "globalstate"))
			add_section(sections, s);
	}
}

static int add_blocks(struct memory *m, json_t *stream, struct err *e)
{
	struct ram_options options = {.kind = RAM_MEMFD};
	struct ram_block *b;
	const char *name;
	json_t *block;
	int ret = 0;

	json_object_foreach (json_object_get(stream, "ram"), name, block) {
		ret = ram_create(m, name, (uint64_t)number(block, "bytes"), &options, &b, e);
		if (ret < 0)
			break;
	}
	return ret;
}

static int look_at(const char *path, json_t **ret, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *bytes;
	int result;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open %s", path);
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return err_sys(e, "map %s", path);
	result = inspect_stream(bytes, (size_t)st.st_size, 0, ret, e);
	munmap(bytes, (size_t)st.st_size);
	return result;
}

static int nothing(void *opaque, struct err *e)
{
	return 0;
}

static void ignore(void *opaque)
{
}

int main(int argc, char **argv)
{
	static struct migrate_sections sections;
	static struct memory memory;
	struct migrate_job job = {
		.memory = &memory,
		.sections = &sections,
		.options = {.machine = "pc-q35-7.2"},
		.hooks = {.dirty_start = nothing,
			  .dirty_sync = nothing,
			  .dirty_stop = ignore,
			  .stop = nothing,
			  .resume = ignore},
	};
	struct err e = {0};
	json_t *stream;

	if (argc < 3 || look_at(argv[1], &stream, &e) < 0)
		return argc < 3 ? 2 : failed(&e);
	memory_init(&memory);
	add_sections(&sections, stream);
	if (add_blocks(&memory, stream, &e) < 0 || migrate_snapshot_load(&job, argv[1], &e) < 0)
		return failed(&e);
	job.options.runstate = job.runstate;
	if (migrate_snapshot_save(&job, argv[2], argc > 3, &e) < 0)
		return failed(&e);
	printf("%llu pages, %llu zero, run state %s\n",
	       (unsigned long long)job.progress.normal_pages,
	       (unsigned long long)job.progress.zero_pages, job.runstate);
	return 0;
}
