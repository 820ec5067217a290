/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one QMP command per guest. The answer comes from the new process on the same
 * connection; the old one answers only if the guest stays with it. What the answer says is shown as
 * a line, or as it is with --json.
 */
#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"
#include "cli/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PREPARE_SECONDS 60
#define SLACK_SECONDS   10 /* pause, answer */

static json_t *arguments(const struct cli_args *args)
{
	json_t *a = json_pack("{s:i}", "prepare-timeout",
			      (int)(cli_seconds(args, "timeout", PREPARE_SECONDS) * 1000));
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
	int r = qmp_open(g, cli_seconds(args, "timeout", PREPARE_SECONDS) + SLACK_SECONDS, &q, e);

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

static void show(const struct cli_args *args, const char *name, json_t *report, int64_t total_ns)
{
	OWNED_JSON *result = json_copy(report);

	if (args->json) {
		json_object_set_new(result, "name", json_string(name));
		json_object_set_new(result, "total-ms", json_real((double)total_ns / NS_PER_MS));
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
	json_array_foreach((json_t *)(uintptr_t)blockers, i, one)
		fprintf(stderr, "outlive: %s: blocked: %s\n", name, json_string_value(one));
}

static int upgrade_guest(const struct cli_args *args, const char *name, struct record *record)
{
	OWNED_JSON *report = NULL, *blockers = NULL;
	int64_t begin_ns = time_ns(), total_ns;
	struct guest g;
	struct err e = {0};
	int r = guest_open_running(name, &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	record_begin(record, "upgrade", name, NULL);
	r = ask(args, &g, &report, &blockers, &e);
	total_ns = time_ns() - begin_ns;
	guest_release(&g);
	write_down(record, r >= 0 ? report : NULL, total_ns, &e);
	if (r >= 0) {
		show(args, name, report, total_ns);
		return CLI_OK;
	}
	if (r == -EPERM && json_array_size(blockers)) {
		show_blockers(args, name, blockers);
		return CLI_REFUSED;
	}
	err_in(&e, "%s", name);
	return cli_fail(r == -ETIMEDOUT ? CLI_TIMEOUT : CLI_FAILED, &e);
}

static int upgrade_one(const struct cli_args *args, const char *name)
{
	struct record record;
	struct err e, unwritten;
	int code;

	if (record_open(&record, cli_value(args, "record", NULL), &e) < 0)
		return cli_fail(CLI_FAILED, &e);
	code = upgrade_guest(args, name, &record);
	if (record_close(&record, &unwritten) < 0) /* the guest is upgraded all the same */
		fprintf(stderr, "outlive: %s\n", unwritten.msg);
	return code;
}

/**
 * struct sweep - An upgrade of every guest
 * @args:	Parsed
 * @code:	Worst exit code so far
 */
struct sweep {
	const struct cli_args *args;
	int code;
};

static void sweep_one(const struct guest *g, void *opaque)
{
	struct sweep *s = opaque;
	int code = g->pid ? upgrade_one(s->args, g->name) : CLI_OK;

	s->code = s->code ? s->code : code;
}

/**
 * cmd_upgrade() - outlive upgrade
 * @args:	Parsed
 *
 * Return: enum cli_exit; with --all that of the first guest that couldn't be upgraded
 */
int cmd_upgrade(const struct cli_args *args)
{
	struct sweep s = {.args = args};
	struct err e;

	if (cli_switch(args, "all") == (args->words_len == 1)) {
		err_set(&e, EINVAL, "upgrade takes the name of a guest, or --all");
		return cli_fail(CLI_USAGE, &e);
	}
	if (args->words_len == 1)
		return upgrade_one(args, args->words[0]);
	guest_each(sweep_one, &s);
	return s.code;
}
