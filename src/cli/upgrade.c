/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one QMP command per guest. The answer comes from the new process on the same
 * connection; the old one answers only if the guest stays with it. What the answer says is shown as
 * a line, or as it is with --json. With --all each guest is tried, whatever became of the others;
 * then comes a table, or one array.
 */
#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"
#include "cli/report/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PREPARE_SECONDS 60
#define PAUSE_SECONDS   1
#define SLACK_SECONDS   10 /* answer */

static json_t *arguments(const struct cli_args *args)
{
	json_t *a = json_pack("{s:i, s:i}", "prepare-timeout",
			      (int)(cli_seconds(args, "timeout", PREPARE_SECONDS) * 1000),
			      "pause-timeout",
			      (int)(cli_seconds(args, "pause-timeout", PAUSE_SECONDS) * 1000));
	const char *binary = cli_value(args, "binary", NULL);

	if (binary) {
		OWNED(char *)
		path = realpath(binary, NULL); /* the VMM may stand in another folder */

		json_object_set_new(a, "binary", json_string(path ? path : binary));
	}
	if (cli_switch(args, "dry-run"))
		json_object_set_new(a, "dry-run", json_true());
	return a;
}

static int ask(const struct cli_args *args, const struct guest *g, json_t **report,
	       json_t **blockers, struct err *e)
{
	struct qmp q;
	int r = qmp_open(g,
			 cli_seconds(args, "timeout", PREPARE_SECONDS) +
				 cli_seconds(args, "pause-timeout", PAUSE_SECONDS) + SLACK_SECONDS,
			 &q, e);

	if (r < 0)
		return r;
	r = qmp_command(&q, "query-upgrade-blockers", NULL, blockers, e);
	if (r >= 0 && json_array_size(*blockers))
		r = err_set(e, EPERM, "something stands in the way");
	if (r >= 0)
		r = qmp_command(&q, "outlive-upgrade", arguments(args), report, e);
	qmp_close(&q);
	return r;
}

static double mark_ms(const json_t *report, const char *name)
{
	return (double)option_int(json_object_get(report, "pause-us"), name, 0) / 1000;
}

static json_t *result_of(const char *name, json_t *report, int64_t total_ns)
{
	json_t *result = json_copy(report);

	json_object_set_new(result, "name", json_string(name));
	json_object_set_new(result, "total-ms", json_real((double)total_ns / NS_PER_MS));
	return result;
}

static void show(const struct cli_args *args, const char *name, json_t *report, int64_t total_ns)
{
	OWNED_JSON *result = result_of(name, report, total_ns);

	if (args->json) {
		cli_print_json(result);
	} else if (cli_switch(args, "dry-run")) {
		printf("%s: nothing stands in the way of going from %s to %s\n", name,
		       option_str(report, "from", "?"), option_str(report, "to", "?"));
	} else {
		printf("%s: upgraded from %s to %s; paused for %.2f ms, %.0f ms in all\n", name,
		       option_str(report, "from", "?"), option_str(report, "to", "?"),
		       mark_ms(report, "running"), (double)total_ns / NS_PER_MS);
	}
}

/* The report has the times of everything: one line. */
static void write_down(struct record *record, const json_t *report, int64_t total_ns,
		       const struct err *e)
{
	record_line(record, report ? json_pack("{s:O, s:f}", "upgrade", report, "total-ms",
					       (double)total_ns / NS_PER_MS)
				   : json_pack("{s:s}", "error", e->msg));
}

static void show_blockers(const struct cli_args *args, const char *name, const json_t *blockers)
{
	OWNED_JSON *result = json_pack("{s:s, s:O}", "name", name, "blockers", blockers);
	size_t i;
	json_t *one;

	if (args->json) {
		cli_print_json(result);
		return;
	}
	json_array_foreach ((json_t *)(uintptr_t)blockers, i, one)
		fprintf(stderr, "outlive: %s: blocked: %s\n", name, json_string_value(one));
}

static int fail_one(const struct cli_args *args, const char *name, int r, struct err *e,
		    const json_t *blockers)
{
	if (r == -EPERM && json_array_size(blockers)) {
		show_blockers(args, name, blockers);
		return CLI_REFUSED;
	}
	err_in(e, "%s", name);
	return cli_fail(r == -ETIMEDOUT ? CLI_TIMEOUT : CLI_FAILED, e);
}

/* @results: Gets what became of it; NULL: it is shown at once. */
static int upgrade_guest(const struct cli_args *args, const char *name, struct record *record,
			 json_t *results)
{
	OWNED_JSON *report = NULL, *blockers = NULL;
	int64_t begin_ns = time_ns(), total_ns;
	struct guest g;
	struct err e = {0};
	int r = guest_open_running(name, &g, &e);

	if (r < 0 && !results)
		return cli_fail(guest_exit_code(r), &e);
	if (r >= 0) {
		record_begin(record, "upgrade", name, NULL);
		r = ask(args, &g, &report, &blockers, &e);
		guest_release(&g);
	}
	total_ns = time_ns() - begin_ns;
	write_down(record, r >= 0 ? report : NULL, total_ns, &e);
	if (results)
		json_array_append_new(results, r >= 0 ? result_of(name, report, total_ns)
						      : json_pack("{s:s, s:b, s:s, s:O*}", "name",
								  name, "done", 0, "error", e.msg,
								  "blockers", blockers));
	else if (r >= 0)
		show(args, name, report, total_ns);
	return r >= 0 ? CLI_OK : fail_one(args, name, r, &e, results ? NULL : blockers);
}

static int upgrade_one(const struct cli_args *args, const char *name, json_t *results)
{
	struct record record;
	struct err e, unwritten;
	int code;

	if (record_open(&record, cli_value(args, "record", NULL), &e) < 0)
		return cli_fail(CLI_FAILED, &e);
	code = upgrade_guest(args, name, &record, results);
	if (record_close(&record, &unwritten) < 0) /* the guest is upgraded all the same */
		fprintf(stderr, "outlive: %s\n", unwritten.msg);
	return code;
}

/**
 * struct sweep - An upgrade of every guest
 * @args:	Parsed
 * @results:	What became of each
 * @code:	Of the first that failed
 */
struct sweep {
	const struct cli_args *args;
	json_t *results;
	int code;
};

static void sweep_one(const struct guest *g, void *opaque)
{
	struct sweep *s = opaque;
	int code = g->pid ? upgrade_one(s->args, g->name, s->results) : CLI_OK;

	s->code = s->code ? s->code : code;
}

static void print_table(const json_t *results)
{
	static const char *const columns[] = {"name",     "from",   "to", "paused-ms",
					      "total-ms", "result", NULL};
	OWNED_JSON *rows = json_array();
	size_t i;
	json_t *one;

	json_array_foreach (results, i, one) {
		const char *error = option_str(one, "error", NULL);
		const char *good = option_bool(one, "done", false) ? "upgraded" : "could be";

		json_array_append_new(
			rows, json_pack("{s:O, s:s, s:s, s:o, s:O*, s:s}", "name",
					json_object_get(one, "name"), "from",
					option_str(one, "from", "-"), "to",
					option_str(one, "to", "-"), "paused-ms",
					option_bool(one, "done", false)
						? json_sprintf("%.2f", mark_ms(one, "running"))
						: json_string("-"),
					"total-ms", json_object_get(one, "total-ms"), "result",
					error ? error : good));
	}
	cli_print_table(rows, columns);
}

static int upgrade_all(const struct cli_args *args)
{
	OWNED_JSON *results = json_array();
	struct sweep s = {.args = args, .results = results};

	guest_each(sweep_one, &s);
	if (args->json)
		cli_print_json(results);
	else
		print_table(results);
	return s.code;
}

/**
 * cmd_upgrade() - outlive upgrade
 * @args:	Parsed
 *
 * Return: enum cli_exit; with --all that of the first guest that couldn't be upgraded
 */
int cmd_upgrade(const struct cli_args *args)
{
	struct err e;
	bool all = cli_switch(args, "all");

	if (all == (args->words_len == 1)) {
		err_set(&e, EINVAL, "upgrade takes the name of a guest, or --all");
		return cli_fail(CLI_USAGE, &e);
	}
	if (all && cli_value(args, "record", NULL)) {
		err_set(&e, EINVAL, "--record takes down one guest's upgrade, not those of --all");
		return cli_fail(CLI_USAGE, &e);
	}
	if (args->words_len == 1)
		return upgrade_one(args, args->words[0], NULL);
	return upgrade_all(args);
}
