/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: outlive adopt. A QEMU is read, an outlive-vmm with the same machine is
 * started in a guest's folder, the guest goes over, QEMU ends. Until the guest has gone over
 * nothing has changed for QEMU but its migration settings, and these are put back.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define OPEN_SECONDS 10

static int refuse_outlive(struct move *m, struct err *e)
{
	OWNED_JSON *version = NULL;
	int r = qmp_command(&m->source, "query-version", NULL, &version, e);

	if (r >= 0 && !strncmp(option_str(version, "package", ""), "outlive", 7))
		return err_set(e, EALREADY, "this is an outlive-vmm already (pid %d)",
			       m->source_pid);
	return r;
}

/* What the other VMM knows is asked from one without a machine. */
static int read_qemu(struct move *m, struct err *e)
{
	OWNED(char *) program = vmm_program();
	struct qmp probe;
	pid_t pid;
	int r = probe_start(program, &probe, &pid, e);

	if (r < 0)
		return r;
	json_array_append_new(m->argv, json_string(program));
	json_array_append_new(m->record, json_string(program));
	words_read(m);
	r = qemu_check(m, &probe, e);
	if (r >= 0)
		r = qemu_devices(m, &probe, e);
	if (r >= 0)
		r = qemu_backends(m, e);
	probe_stop(&probe, pid);
	if (r >= 0)
		build_options(m);
	return r;
}

static int open_qemu(struct move *m, const char *path, struct err *e)
{
	int r = qmp_open_path(path, OPEN_SECONDS, &m->source, e);

	if (r < 0) {
		m->source.fd = -1;
		return r;
	}
	r = words_take(m, e);
	return r < 0 ? r : refuse_outlive(m, e);
}

static char *name_of(struct move *m, const struct cli_args *args)
{
	OWNED_JSON *answer = NULL;
	const char *given = cli_value(args, "name", NULL), *own = NULL;
	struct err e;

	if (!given && qmp_command(&m->source, "query-name", NULL, &answer, &e) >= 0)
		own = option_str(answer, "name", NULL);
	return given || own ? str_dup(given ? given : own) : str_printf("qemu-%d", m->source_pid);
}

static int record(const struct move *m, const struct guest *g, struct err *e)
{
	OWNED_JSON *memory = NULL, *cpus = NULL, *record = NULL;
	OWNED(char *) size = NULL, *count = NULL;
	struct qmp *q = (struct qmp *)(uintptr_t)&m->source;
	int r = qmp_command(q, "query-memory-size-summary", NULL, &memory, e);

	if (r >= 0)
		r = qmp_command(q, "query-cpus-fast", NULL, &cpus, e);
	if (r < 0)
		return r;
	size = str_printf("%lldM", (long long)(option_int(memory, "base-memory", 0) >> 20));
	count = str_printf("%zu", json_array_size(cpus));
	record = move_record(m, g, size, count);
	return move_record_write(g, record, e);
}

static void report(const struct move *m, const struct cli_args *args, const struct guest *g,
		   const json_t *info)
{
	OWNED_JSON *result = json_pack(
		"{s:s, s:i, s:s, s:I, s:I, s:O}", "name", m->name, "pid", m->target_pid, "folder",
		g->dir, "total-ms", (json_int_t)option_int(info, "total-time", 0), "downtime-ms",
		(json_int_t)option_int(info, "downtime", 0), "notes", m->notes);

	if (args->json)
		json_dumpf(result, stdout, JSON_COMPACT);
	else
		printf("%s: taken over from process %d in %.2f s, paused for %d ms; pid %d",
		       m->name, m->source_pid, (double)option_int(info, "total-time", 0) / 1000,
		       (int)option_int(info, "downtime", 0), m->target_pid);
	putchar('\n');
}

static int take_over(struct move *m, const struct cli_args *args, struct guest *g, struct err *e)
{
	OWNED(char *) qmp = guest_path(g, "qmp.sock"), *log = guest_path(g, "log");
	OWNED(char *) stream = guest_path(g, "adopt.sock");
	OWNED_JSON *info = NULL, *argv = move_placed(m->argv, g);
	int r;

	json_array_append_new(argv, json_string("-incoming"));
	json_array_append_new(argv, json_string("defer"));
	json_decref(m->argv);
	m->argv = json_take(&argv);
	r = record(m, g, e);
	if (r >= 0)
		r = target_start(m, qmp, log, e);
	if (r >= 0)
		r = transfer(m, args, stream, &info, e);
	if (r < 0)
		return r;
	r = transfer_end_source(m, e);
	report(m, args, g, info);
	return r;
}

static int adopt(struct move *m, const struct cli_args *args, struct err *e)
{
	struct guest g;
	int r = read_qemu(m, e);

	if (r < 0)
		return r;
	move_add_own(m);
	r = transfer_refuse(m, args);
	if (r != CLI_OK || cli_switch(args, "dry-run"))
		return r;
	r = guest_make(m->name, &g, e);
	if (r < 0)
		return r;
	r = take_over(m, args, &g, e);
	guest_release(&g);
	return r;
}

static int exit_code(int r)
{
	switch (-r) {
	case EALREADY:
	case EEXIST:
	case EXDEV: return CLI_REFUSED;
	case EINVAL: return CLI_USAGE;
	case ETIMEDOUT: return CLI_TIMEOUT;
	default: return CLI_FAILED;
	}
}

/**
 * cmd_adopt() - outlive adopt
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_adopt(const struct cli_args *args)
{
	OWNED(char *) name = NULL;
	struct err e = {0};
	struct move m;
	int r;

	move_init(&m, args->words[0], true);
	r = open_qemu(&m, args->words[0], &e);
	if (r >= 0) {
		m.name = name = name_of(&m, args);
		r = adopt(&m, args, &e);
	}
	if (r < 0)
		err_in(&e, "%s", m.name);
	move_release(&m);
	return r < 0 ? cli_fail(exit_code(r), &e) : r;
}
