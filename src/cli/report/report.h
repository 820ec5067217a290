/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "cli/cli.h"

/*
 * Theory of operation: a record (record.h) is read into runs, each a list of lines; a run becomes a
 * picture, a JSON object that says what is to be drawn: parts on a line, charts under it, the
 * pause, rounds. --json prints pictures, the text and the page are made of them, and so is the
 * benchmarks' page. report/timeline.js draws them and knows nothing of QMP.
 *
 * A picture: "kind", "title", "end" ("completed", "failed" ...), "error", "total-ms", "facts"
 * [{name, text}], "parts" [{name, kind, from, to, text}], "charts" [{title, unit, series [{name,
 * points [[ms, value]]}], limit {name, value}}], "pause" {limit-ms, predicted-ms, said-ms, felt-ms,
 * parts}, "rounds" [{round, from, to, sent, rate, dirty-rate, throttle, predicted-ms}]. Times are
 * ms since the begin.
 */

/* Each takes the lines of a run and returns what is new and the caller's. */
json_t *picture_migration(const json_t *lines);
json_t *picture_upgrade(const json_t *lines);

/* picture.c: what both need. */
double picture_number(const json_t *o, const char *key);
json_t *picture_new(const json_t *lines, const char *what);
void picture_fact(json_t *picture, const char *name, const char *text);
void picture_part(json_t *parts, const char *name, const char *kind, double from, double to,
		  const char *text);

/* report/text.c, report/page.c */
void report_text(FILE *out, const json_t *pictures);
MUST_CHECK int report_page(const char *path, const json_t *pictures, struct err *e);

#endif
