/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see record.h. */
#include "cli/report/record.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"

#include <errno.h>

#define RECORD_VERSION 1

/**
 * record_open() - Begin to write a run down
 * @r:		Set always; record_close()
 * @path:	File, made or appended to; NULL: nothing is written
 * @e:		Set on failure only
 *
 * Errors: as fopen(3)
 * Return: 0, or a negative errno
 */
int record_open(struct record *r, const char *path, struct err *e)
{
	*r = (struct record){.path = path};
	if (!path)
		return 0;
	r->file = fopen(path, "ae");
	return r->file ? 0 : err_sys(e, "record to %s", path);
}

/* @line is taken. What can't be written is found by record_close(). */
static void write_line(struct record *r, json_t *line)
{
	if (r->file) {
		json_dumpf(line, r->file, JSON_COMPACT);
		fputc('\n', r->file);
		fflush(r->file);
	}
	json_decref(line);
}

/**
 * record_begin() - The line that a run begins with; times count from now
 * @r:		The record
 * @kind:	"migration", "upgrade"
 * @guest:	Its name
 * @more:	Further members; taken, may be NULL
 */
void record_begin(struct record *r, const char *kind, const char *guest, json_t *more)
{
	json_t *line = json_pack("{s:i, s:s, s:s}", "record", RECORD_VERSION, "kind", kind, "guest",
				 guest);

	json_object_update(line, more);
	r->begin_ns = time_ns();
	r->begin_wall_ns = time_wall_ns();
	json_object_set_new(line, "begin-us", json_integer(r->begin_wall_ns / NS_PER_US));
	json_decref(more);
	write_line(r, line);
}

/**
 * record_line() - What is known now
 * @r:		The record
 * @line:	Taken; gets "at-ms"
 */
void record_line(struct record *r, json_t *line)
{
	json_object_set_new(line, "at-ms",
			    json_real((double)(time_ns() - r->begin_ns) / NS_PER_MS));
	write_line(r, line);
}

/**
 * record_event() - An event of the VMM's, at the time that it says
 * @event:	Borrowed
 * @opaque:	struct record
 */
void record_event(const json_t *event, void *opaque)
{
	struct record *r = opaque;
	const json_t *when = json_object_get(event, "timestamp");
	int64_t us = option_int(when, "seconds", 0) * 1000000 + option_int(when, "microseconds", 0);

	write_line(r, json_pack("{s:O, s:f}", "event", event, "at-ms",
				(double)(us - r->begin_wall_ns / 1000) / 1000));
}

/**
 * record_close() - It has ended
 * @r:		Closed afterwards
 * @e:		Set on failure only
 *
 * Errors: EIO something couldn't be written, else as fclose(3)
 * Return: 0, or a negative errno
 */
int record_close(struct record *r, struct err *e)
{
	FILE *file = r->file;
	int failed;

	r->file = NULL;
	if (!file)
		return 0;
	failed = ferror(file);
	if (fclose(file) != 0)
		return err_sys(e, "record to %s", r->path);
	return failed ? err_set(e, EIO, "record to %s: not all of it could be written", r->path)
		      : 0;
}
