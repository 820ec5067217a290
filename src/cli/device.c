/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: QMP by hand, and devices that come and go. */
#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

#define ANSWER_SECONDS 5

static int open_both(const char *name, struct guest *g, struct qmp *q, struct err *e)
{
	int r = guest_open_running(name, g, e);

	if (r < 0)
		return r;
	r = qmp_open(g, ANSWER_SECONDS, q, e);
	if (r < 0)
		guest_release(g);
	return r;
}

static void close_both(struct guest *g, struct qmp *q)
{
	qmp_close(q);
	guest_release(g);
}

/* key=VALUE, where VALUE is JSON if it can be read so, else a string. */
static int argument_add(json_t *to, const char *text, struct err *e)
{
	const char *equals = strchr(text, '=');
	OWNED(char *) key = NULL;
	json_t *value;

	if (!equals || equals == text)
		return err_set(e, EINVAL, "'%s' is not KEY=VALUE", text);
	key = str_printf("%.*s", (int)(equals - text), text);
	value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
	json_object_set_new(to, key, value ? value : json_string(equals + 1));
	return 0;
}

static int arguments_of(const struct cli_args *args, size_t first, json_t **ret, struct err *e)
{
	OWNED_JSON *all = json_object();
	json_error_t bad;

	if (args->words_len > first && *args->words[first] == '{') {
		*ret = json_loads(args->words[first], 0, &bad);
		return *ret ? 0 : err_set(e, EINVAL, "bad JSON: %s", bad.text);
	}
	for (size_t i = first; i < args->words_len; i++) {
		int r = argument_add(all, args->words[i], e);

		if (r < 0)
			return r;
	}
	*ret = json_take(&all);
	return 0;
}

static void print_event(const json_t *event, void *opaque)
{
	json_dumpf(event, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

static int watch_events(struct qmp *q, double seconds, struct err *e)
{
	int64_t limit = time_ns() + (int64_t)(seconds * NS_PER_SEC);
	int r = 0;

	while (r == 0 && time_ns() < limit) {
		OWNED_JSON *event = NULL;

		r = qmp_next(q, (double)(limit - time_ns()) / NS_PER_SEC, &event, e);
		if (r == 0)
			print_event(event, NULL);
	}
	return r == -ETIMEDOUT || r == -EPIPE ? 0 : r;
}

/**
 * cmd_qmp() - outlive qmp
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_qmp(const struct cli_args *args)
{
	OWNED_JSON *answer = NULL;
	json_t *arguments;
	struct guest g;
	struct qmp q;
	struct err e;
	int r = arguments_of(args, 2, &arguments, &e);

	if (r < 0)
		return cli_fail(CLI_USAGE, &e);
	r = open_both(args->words[0], &g, &q, &e);
	if (r < 0) {
		json_decref(arguments);
		return cli_fail(guest_exit_code(r), &e);
	}
	if (args->words_len > 1)
		r = qmp_command(&q, args->words[1], arguments, &answer, &e);
	else
		json_decref(arguments);
	if (r == 0 && answer)
		cli_print_json(answer);
	if (r == 0 && cli_switch(args, "events"))
		r = watch_events(&q, cli_seconds(args, "events", 0), &e);
	close_both(&g, &q);
	return r < 0 ? cli_fail(guest_exit_code(r), &e) : CLI_OK;
}

/**
 * cmd_device_ls() - outlive device ls
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_device_ls(const struct cli_args *args)
{
	static const char *const columns[] = {"name", "type", NULL};
	OWNED_JSON *rows = NULL;
	struct guest g;
	struct qmp q;
	struct err e;
	int r = open_both(args->words[0], &g, &q, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	r = qmp_command(&q, "qom-list", json_pack("{s:s}", "path", "/machine/peripheral"), &rows,
			&e);
	close_both(&g, &q);
	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	if (args->json)
		cli_print_json(rows);
	else
		cli_print_table(rows, columns);
	return CLI_OK;
}

/**
 * cmd_device_add() - outlive device add
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_device_add(const struct cli_args *args)
{
	json_t *properties;
	bool is_json;
	struct guest g;
	struct qmp q;
	struct err e;
	int r = keyval_or_json(args->words[1], "driver", &properties, &is_json, &e);

	if (r < 0)
		return cli_fail(CLI_USAGE, &e);
	r = open_both(args->words[0], &g, &q, &e);
	if (r < 0) {
		json_decref(properties);
		return cli_fail(guest_exit_code(r), &e);
	}
	r = qmp_command(&q, "device_add", properties, NULL, &e);
	close_both(&g, &q);
	return r < 0 ? cli_fail(r == -EREMOTEIO ? CLI_REFUSED : guest_exit_code(r), &e) : CLI_OK;
}

struct unplug {
	const char *id;
	bool gone;
};

static void on_deleted(const json_t *event, void *opaque)
{
	struct unplug *u = opaque;
	const json_t *data = json_object_get(event, "data");

	u->gone |= !strcmp(option_str(event, "event", ""), "DEVICE_DELETED") &&
		   !strcmp(option_str(data, "device", ""), u->id);
}

static int wait_gone(struct qmp *q, struct unplug *u, double seconds, struct err *e)
{
	int64_t limit = time_ns() + (int64_t)(seconds * NS_PER_SEC);

	while (!u->gone) {
		OWNED_JSON *event = NULL;
		int r = qmp_next(q, (double)(limit - time_ns()) / NS_PER_SEC, &event, e);

		if (r == -ETIMEDOUT)
			return err_set(e, ETIMEDOUT, "the guest still keeps device '%s' after %g s",
				       u->id, seconds);
		if (r < 0)
			return r;
		on_deleted(event, u);
	}
	return 0;
}

/**
 * cmd_device_rm() - outlive device rm
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_device_rm(const struct cli_args *args)
{
	struct unplug u = {.id = args->words[1]};
	struct guest g;
	struct qmp q;
	struct err e;
	int r = open_both(args->words[0], &g, &q, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	q.on_event = on_deleted;
	q.opaque = &u;
	r = qmp_command(&q, "device_del", json_pack("{s:s}", "id", u.id), NULL, &e);
	if (r == 0)
		r = wait_gone(&q, &u, cli_seconds(args, "timeout", 10), &e);
	close_both(&g, &q);
	return r < 0 ? cli_fail(r == -EREMOTEIO ? CLI_REFUSED : guest_exit_code(r), &e) : CLI_OK;
}
