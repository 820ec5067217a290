/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WIRE_SECTION_H
#define TESTS_WIRE_SECTION_H

/*
 * Theory of operation: tests/wire/data/ holds device sections that QEMU wrote, with an index. A
 * device's table is right when it loads each of them whole and saves the same bytes again.
 *
 * A test of one device: section_round_trip(&rtc_table, "mc146818rtc", NULL) or, to look at values,
 * section_load("bios-mc146818rtc-v3.bin", &rtc_table, &state, 3).
 */

#include "state/state.h"

#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/**
 * struct section - A line of the index
 * @file:	In tests/wire/data/
 * @name:	In the stream, with the device's path
 * @instance, @version, @bytes: Of the section
 */
struct section {
	char file[100], name[100];
	unsigned int instance, version;
	size_t bytes;
};

/* The path of a data file, found from where the test's program lies: BUILD/tests/. */
static inline FILE *section_open(const char *file, const char *mode)
{
	char exe[PATH_MAX] = "", here[] = __FILE__, path[2 * PATH_MAX];

	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	if (here[0] == '/')
		snprintf(path, sizeof(path), "%s/data/%s", dirname(here), file);
	else
		snprintf(path, sizeof(path), "%s/../%s/data/%s", dirname(exe), dirname(here), file);
	return fopen(path, mode);
}

/* Bytes of a data file; the caller frees them. The test fails if there is no such file. */
static inline uint8_t *section_bytes(const char *file, size_t *ret_len)
{
	uint8_t *bytes = malloc(1 << 20);
	FILE *f = section_open(file, "re");

	if (!f)
		fail_msg("no tests/wire/data/%s", file);
	*ret_len = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	return bytes;
}

/* Calls @look for every section of the index whose name without the path is @name; returns how
 * many. */
static inline unsigned int section_each(const char *name,
					void (*look)(const struct section *s, void *opaque),
					void *opaque)
{
	FILE *f = section_open("index", "re");
	struct section s;
	unsigned int n = 0;

	assert_non_null(f);
	while (fscanf(f, "%99s %99s %u %u %zu", s.file, s.name, &s.instance, &s.version,
		      &s.bytes) == 5) {
		const char *slash = strrchr(s.name, '/');

		if (strcmp(slash ? slash + 1 : s.name, name))
			continue;
		look(&s, opaque);
		n++;
	}
	fclose(f);
	return n;
}

/* Loads a data file into @state, which stands for a fresh device; the test fails if a byte is left
 * over. */
static inline void section_load(const char *file, const struct state_table *t, void *state,
				unsigned int version)
{
	struct err e = {0};
	size_t len;
	uint8_t *bytes = section_bytes(file, &len);
	struct state_reader r = {.buf = bytes, .len = len};

	if (state_load(t, state, version, &r, &e) < 0)
		fail_msg("%s: %s", file, e.msg);
	if (r.at != len)
		fail_msg("%s: %zu of %zu bytes read", file, r.at, len);
	free(bytes);
}

/**
 * struct section_trip - For section_round_trip()
 * @table:	Of the device
 * @fresh:	State of a fresh device, or NULL for what the table says
 */
struct section_trip {
	const struct state_table *table;
	const void *fresh;
};

static inline void section_trip_one(const struct section *s, void *opaque)
{
	const struct section_trip *trip = opaque;
	const void *fresh = trip->fresh ? trip->fresh : trip->table->fresh;
	struct state_writer w = {0};
	size_t len, i;
	uint8_t *bytes = section_bytes(s->file, &len);
	void *state = calloc(1, trip->table->size);

	if (fresh)
		memcpy(state, fresh, trip->table->size);
	assert_int_equal(len, s->bytes);
	section_load(s->file, trip->table, state, s->version);
	state_save(trip->table, state, &w);
	if (w.len != len)
		fail_msg("%s: %zu bytes saved, QEMU wrote %zu", s->file, w.len, len);
	for (i = 0; i < len; i++)
		if (w.buf[i] != bytes[i])
			fail_msg("%s: byte %zu saved as 0x%02x, QEMU wrote 0x%02x", s->file, i,
				 w.buf[i], bytes[i]);
	state_writer_destroy(&w);
	free(state);
	free(bytes);
}

/* Every section of this name in the data is loaded and saved again, byte for byte; returns how many
 * there are. */
static inline unsigned int section_round_trip(const struct state_table *t, const char *name,
					      const void *fresh)
{
	struct section_trip trip = {.table = t, .fresh = fresh};

	return section_each(name, section_trip_one, &trip);
}

#endif
