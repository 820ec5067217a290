/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what guests there are and what they do: ls, info, top. */
#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_SECONDS 3

/* The run state by QMP; "ended" without a process, "busy" if the monitor is taken. The caller frees
 * it. */
static char *state_of(const struct guest *g)
{
	OWNED_JSON *status = NULL;
	struct qmp q;
	struct err e;
	char *state;

	if (!g->pid)
		return str_dup("ended");
	if (qmp_open(g, ANSWER_SECONDS, &q, &e) < 0)
		return str_dup("busy");
	state = str_dup(qmp_command(&q, "query-status", NULL, &status, &e) < 0
				? "unknown"
				: option_str(status, "status", "unknown"));
	qmp_close(&q);
	return state;
}

static char *age_of(const struct guest *g)
{
	int64_t s = time_wall_ns() / NS_PER_SEC - option_int(g->record, "started", 0);

	if (!g->pid || !json_object_get(g->record, "started"))
		return str_dup("-");
	if (s < 60)
		return str_printf("%" PRId64 "s", s);
	if (s < 3600)
		return str_printf("%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	return str_printf("%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
}

static json_t *row_of(const struct guest *g)
{
	OWNED(char *) state = state_of(g);
	OWNED(char *) age = age_of(g);
	json_t *row = json_pack("{s:s, s:s, s:s}", "name", g->name, "state", state, "age", age);

	json_object_set_new(row, "pid", g->pid ? json_integer(g->pid) : json_null());
	json_object_set(row, "memory", json_object_get(g->record, "memory"));
	json_object_set(row, "cpus", json_object_get(g->record, "cpus"));
	return row;
}

static void put_row(const struct guest *g, void *opaque)
{
	json_array_append_new(opaque, row_of(g));
}

static void put_name(const struct guest *g, void *opaque)
{
	puts(g->name);
}

/**
 * cmd_ls() - outlive ls
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_ls(const struct cli_args *args)
{
	static const char *const columns[] = {"name",   "state", "pid", "cpus",
					      "memory", "age",   NULL};
	OWNED_JSON *rows = json_array();

	if (cli_switch(args, "names")) {
		guest_each(put_name, NULL);
		return CLI_OK;
	}
	guest_each(put_row, rows);
	if (args->json)
		cli_print_json(rows);
	else
		cli_print_table(rows, columns);
	return CLI_OK;
}

/* What the VMM tells about itself; commands that this machine lacks are left out. */
static void ask_all(const struct guest *g, json_t *info)
{
	static const char *const asked[][2] = {
		{"query-status", "status"},    {"query-version", "version"},
		{"query-uuid", "uuid"},        {"query-cpus-fast", "vcpus"},
		{"query-chardev", "chardevs"}, {"query-block", "disks"},
		{"query-balloon", "balloon"},  {"query-migrate", "migration"},
		{"query-jobs", "jobs"}};
	struct qmp q;
	struct err e;

	if (!g->pid || qmp_open(g, ANSWER_SECONDS, &q, &e) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		json_t *answer;

		if (qmp_command(&q, asked[i][0], NULL, &answer, &e) == 0)
			json_object_set_new(info, asked[i][1], answer);
	}
	qmp_close(&q);
}

static void print_info(const json_t *info)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)info, key, v) {
		OWNED(char *)
		text = json_is_string(v) ? str_dup(json_string_value(v))
					 : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

		printf("%-10s %s\n", key, text);
	}
}

/**
 * cmd_info() - outlive info
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_info(const struct cli_args *args)
{
	OWNED_JSON *info = NULL;
	struct guest g;
	struct err e;
	int r = guest_open(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	info = row_of(&g);
	json_object_set_new(info, "folder", json_string(g.dir));
	ask_all(&g, info);
	json_object_set(info, "argv", json_object_get(g.record, "argv"));
	if (args->json)
		cli_print_json(info);
	else
		print_info(info);
	guest_release(&g);
	return CLI_OK;
}

/* CPU time in ticks and resident pages of a process. */
static void process_usage(int pid, uint64_t *ticks, uint64_t *rss_bytes)
{
	OWNED(char *) path = str_printf("/proc/%d/stat", pid);
	FILE *f = fopen(path, "re");
	char line[1024];
	uint64_t user = 0, system = 0, pages = 0;
	const char *p = NULL;

	if (f && fgets(line, sizeof(line), f))
		p = strrchr(line, ')');
	if (p)
		sscanf(p,
		       ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
		       " %*d %*d %*d %*d %*d %*d %*u %*u %" SCNu64,
		       &user, &system, &pages);
	if (f)
		fclose(f);
	*ticks = user + system;
	*rss_bytes = pages * page_size();
}

struct sample {
	json_t *rows; /* with "ticks" of the last time */
	double seconds;
};

static void sample_guest(const struct guest *g, void *opaque)
{
	struct sample *s = opaque;
	OWNED(char *) size = NULL;
	uint64_t ticks, rss;
	int64_t before = -1;
	json_t *row;
	size_t i;

	if (!g->pid)
		return;
	process_usage(g->pid, &ticks, &rss);
	json_array_foreach (s->rows, i, row) {
		if (strcmp(option_str(row, "name", ""), g->name))
			continue;
		before = option_int(row, "ticks", 0);
		json_array_remove(s->rows, i);
		break;
	}
	size = cli_size(rss);
	row = json_pack("{s:s, s:i, s:s, s:I, s:I}", "name", g->name, "pid", g->pid, "resident",
			size, "resident-bytes", (json_int_t)rss, "ticks", (json_int_t)ticks);
	if (before >= 0)
		json_object_set_new(row, "cpu%",
				    json_real(100.0 * (double)((int64_t)ticks - before) /
					      (double)sysconf(_SC_CLK_TCK) / s->seconds));
	json_array_append_new(s->rows, row);
}

/**
 * cmd_top() - outlive top
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_top(const struct cli_args *args)
{
	static const char *const columns[] = {"name", "pid", "cpu%", "resident", NULL};
	struct sample s = {.rows = json_array(), .seconds = cli_seconds(args, "interval", 1)};
	long times = strtol(cli_value(args, "count", isatty(STDOUT_FILENO) ? "0" : "1"), NULL, 10);

	s.seconds = MAX(s.seconds, 0.05);
	guest_each(sample_guest, &s);
	for (long n = 0; !times || n < times; n++) {
		usleep((useconds_t)(s.seconds * 1e6));
		guest_each(sample_guest, &s);
		if (args->json) {
			cli_print_json(s.rows);
			continue;
		}
		if (isatty(STDOUT_FILENO))
			fputs("\033[H\033[J", stdout);
		cli_print_table(s.rows, columns);
		fflush(stdout);
	}
	json_decref(s.rows);
	return CLI_OK;
}
