/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RECORD_H
#define CLI_RECORD_H

#include "cli/cli.h"

/*
 * Theory of operation: a record is a file of JSON lines, written while an upgrade or a migration
 * goes on, so that what is interrupted is there as far as it came. docs/record.md is the format;
 * "outlive report" draws it. A record without a file swallows everything: nobody has to ask whether
 * there is one.
 */

/**
 * struct record - A run that is being written down
 * @file:	NULL: it isn't
 * @path:	Borrowed
 * @begin_ns:	When it began, monotonic
 * @begin_wall_ns: The same by the wall clock, which events carry
 */
struct record {
	FILE *file;
	const char *path;
	int64_t begin_ns, begin_wall_ns;
};

/* @path NULL: nothing is written. EEXIST is no error: a run is appended. */
MUST_CHECK int record_open(struct record *r, const char *path, struct err *e);
void record_begin(struct record *r, const char *kind, const char *guest, json_t *more);
void record_line(struct record *r, json_t *line);
/* struct qmp.on_event; @opaque is the record. */
void record_event(const json_t *event, void *opaque);
MUST_CHECK int record_close(struct record *r, struct err *e);

#endif
