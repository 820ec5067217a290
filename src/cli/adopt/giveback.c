/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: outlive giveback. Our VMM describes its machine as it is now
 * (outlive-query-configuration); QEMU's command line is made from it, QEMU is started, the guest
 * goes over, our process ends.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OPEN_SECONDS 10

/* What isn't a property of QEMU's device of that name. */
static void properties_check(struct move *m, struct qmp *probe, const json_t *device)
{
	const char *driver = option_str(device, "driver", "");
	OWNED_JSON *known = NULL;
	struct err e;
	const char *key;
	json_t *v;

	if (qmp_command(probe, "device-list-properties", json_pack("{s:s}", "typename", driver),
			&known, &e) < 0) {
		move_block(m, "%s: QEMU has no such device; unplug it", driver);
		return;
	}
	json_object_foreach ((json_t *)(uintptr_t)device, key, v) {
		if (strcmp(key, "driver") && strcmp(key, "id") && strcmp(key, "bus") &&
		    !move_find(known, "name", key))
			move_block(m, "%s: QEMU's has no property '%s'", driver, key);
	}
}

static int check_qemu(struct move *m, const char *program, struct err *e)
{
	OWNED_JSON *machines = NULL;
	struct qmp probe;
	pid_t pid;
	size_t i;
	json_t *d;
	int r = probe_start(program, &probe, &pid, e);

	if (r < 0)
		return r;
	r = qmp_command(&probe, "query-machines", NULL, &machines, e);
	if (r >= 0 && !move_find(machines, "name", "pc-q35-7.2"))
		move_block(m, "%s has no machine type pc-q35-7.2; take QEMU 7.2 or newer", program);
	json_array_foreach (json_object_get(m->config, "devices"), i, d)
		properties_check(m, &probe, d);
	probe_stop(&probe, pid);
	return r;
}

/* "-cpu" stands in @argv already if the guest was started with it. */
static void cpu_put(struct move *m, const char *model)
{
	for (size_t i = 0; i + 1 < json_array_size(m->argv); i++) {
		if (strcmp(json_string_value(json_array_get(m->argv, i)), "-cpu"))
			continue;
		if (model)
			json_array_set_new(m->argv, i + 1, json_string(model));
		return;
	}
	move_add(m, "-cpu", model ? model : "host");
}

static void add_own(struct move *m, const struct cli_args *args, const char *qmp)
{
	OWNED(char *) name = str_printf("guest=%s", m->name);
	OWNED(char *) monitor = str_printf("unix:%s,server=on,wait=off", qmp);

	cpu_put(m, cli_value(args, "cpu", NULL));
	move_add(m, "-name", name);
	move_add(m, "-msg", "timestamp=on");
	move_add(m, "-qmp", monitor);
	move_add(m, "-incoming", "defer");
}

static void report(const struct move *m, const struct cli_args *args, const char *qmp,
		   const json_t *info)
{
	OWNED_JSON *result = json_pack(
		"{s:s, s:i, s:s, s:I, s:f, s:O}", "name", m->name, "pid", m->target_pid, "qmp", qmp,
		"total-ms", (json_int_t)option_int(info, "total-time", 0), "downtime-ms",
		(double)option_int(info, "outlive-downtime-us", 0) / 1000, "notes", m->notes);

	if (args->json)
		json_dumpf(result, stdout, JSON_COMPACT);
	else
		printf("%s: given to process %d in %.2f s, paused for %.2f ms; its monitor: %s",
		       m->name, m->target_pid, (double)option_int(info, "total-time", 0) / 1000,
		       (double)option_int(info, "outlive-downtime-us", 0) / 1000, qmp);
	putchar('\n');
}

static int hand_over(struct move *m, const struct cli_args *args, const struct guest *g,
		     const char *qmp, struct err *e)
{
	OWNED(char *) log = guest_path(g, "qemu.log"), *stream = guest_path(g, "giveback.sock");
	OWNED_JSON *info = NULL;
	int r = target_start(m, qmp, log, e);

	if (r >= 0)
		r = transfer(m, args, stream, &info, e);
	if (r < 0)
		return r;
	r = transfer_end_source(m, e);
	report(m, args, qmp, info);
	return r;
}

static int give(struct move *m, const struct cli_args *args, const struct guest *g, struct err *e)
{
	const char *program = cli_value(args, "emulator", "qemu-system-x86_64");
	const char *given = cli_value(args, "qmp", NULL);
	OWNED(char *) qmp = given ? str_dup(given) : guest_path(g, "qemu.sock");
	int r = outlive_read(m, g, e);

	if (r >= 0)
		r = check_qemu(m, program, e);
	if (r < 0)
		return r;
	move_add(m, program, NULL);
	words_read(m);
	build_options(m);
	add_own(m, args, qmp);
	r = transfer_refuse(m, args);
	if (r != CLI_OK || cli_switch(args, "dry-run"))
		return r;
	return hand_over(m, args, g, qmp, e);
}

/**
 * cmd_giveback() - outlive giveback
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_giveback(const struct cli_args *args)
{
	struct err e = {0};
	struct guest g;
	struct move m;
	int r = guest_open_running(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	move_init(&m, g.name, false);
	r = qmp_open(&g, OPEN_SECONDS, &m.source, &e);
	if (r < 0)
		m.source.fd = -1;
	else
		r = give(&m, args, &g, &e);
	if (r < 0)
		err_in(&e, "%s", g.name);
	move_release(&m);
	guest_release(&g);
	return r < 0 ? cli_fail(r == -ETIMEDOUT ? CLI_TIMEOUT : CLI_FAILED, &e) : r;
}
