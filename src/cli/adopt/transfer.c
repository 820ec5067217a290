/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the migration itself, between two monitors. The target runs the guest as
 * soon as it has it, without our help: whenever this program is killed, the guest is in one place.
 * If it fails, the source goes on by itself; only when the source believes that all went well and
 * the target is gone has somebody to let it go on, and that is done after the target's process has
 * ended. What was set at the source for the way is put back.
 */
#include "cli/adopt/adopt.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/migration.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define ARRIVE_SECONDS 60
#define END_SECONDS    10
#define ANSWER_SECONDS 5
#define LOOK_MS        10

static json_t *capability(const char *name, bool on)
{
	return json_pack("{s:s, s:b}", "capability", name, "state", on);
}

static int capabilities_set(struct qmp *q, json_t *list, struct err *e)
{
	return qmp_command(q, "migrate-set-capabilities", json_pack("{s:o}", "capabilities", list),
			   NULL, e);
}

/* All off that are on, but what is needed here. */
static int source_prepare(struct move *m, const struct cli_args *args, struct err *e)
{
	json_t *wanted = json_array(), *p = json_pack("{s:i}", "max-bandwidth", 0), *c;
	const char *downtime = cli_value(args, "downtime", NULL);
	size_t i;
	int r = qmp_command(&m->source, "query-migrate-capabilities", NULL, &m->capabilities, e);

	if (r >= 0)
		r = qmp_command(&m->source, "query-migrate-parameters", NULL, &m->limits, e);
	json_array_foreach (m->capabilities, i, c) {
		const char *name = option_str(c, "capability", "");
		bool need = !strcmp(name, "return-path") ||
			    (!strcmp(name, "x-ignore-shared") && m->ignore_shared);

		if (option_bool(c, "state", false) != need)
			json_array_append_new(wanted, capability(name, need));
	}
	if (downtime)
		json_object_set_new(p, "downtime-limit", json_integer(atoi(downtime)));
	if (r < 0) {
		json_decref(wanted);
		json_decref(p);
		return r;
	}
	r = capabilities_set(&m->source, wanted, e);
	if (r < 0) {
		json_decref(p);
		return r;
	}
	return qmp_command(&m->source, "migrate-set-parameters", p, NULL, e);
}

static void source_restore(struct move *m)
{
	json_t *p = json_object();
	static const char *const names[] = {"max-bandwidth", "downtime-limit"};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set(p, names[i], json_object_get(m->limits, names[i]));
	if (qmp_command(&m->source, "migrate-set-parameters", p, NULL, &e) < 0 ||
	    capabilities_set(&m->source, json_incref(m->capabilities), &e) < 0)
		fprintf(stderr, "outlive: %s: %s\n", m->name, e.msg);
}

static int begin(struct move *m, const struct cli_args *args, const char *uri, struct err *e)
{
	int r = source_prepare(m, args, e);

	if (r >= 0 && m->ignore_shared)
		r = capabilities_set(&m->target,
				     json_pack("[o]", capability("x-ignore-shared", true)), e);
	if (r >= 0)
		r = qmp_command(&m->target, "migrate-incoming", json_pack("{s:s}", "uri", uri),
				NULL, e);
	if (r >= 0)
		r = qmp_command(&m->source, "migrate", json_pack("{s:s}", "uri", uri), NULL, e);
	return r;
}

static int status_of(struct qmp *q, const char *command, char status[32])
{
	OWNED_JSON *answer = NULL;
	struct err e;
	int r = qmp_command(q, command, NULL, &answer, &e);

	snprintf(status, 32, "%s", option_str(answer, "status", ""));
	return r;
}

/* Has the target taken the guest? Waits for as long as it loads. */
static bool has_arrived(struct move *m, double seconds)
{
	int64_t limit = time_ns() + (int64_t)(seconds * (double)NS_PER_SEC);
	char run[32], migration[32];

	do {
		if (status_of(&m->target, "query-status", run) < 0 ||
		    status_of(&m->target, "query-migrate", migration) < 0)
			return false;
		if (strcmp(run, "inmigrate") && strcmp(migration, "active") &&
		    strcmp(migration, "setup") && strcmp(migration, "failed"))
			return true;
		if (!strcmp(migration, "failed"))
			return false;
		poll(NULL, 0, LOOK_MS);
	} while (time_ns() < limit);
	return false;
}

/* The guest stays: the target ends first, then the source may run it. */
static void stay(struct move *m)
{
	char status[32];
	struct err e;

	target_kill(m);
	if (status_of(&m->source, "query-status", status) < 0)
		return;
	if (m->was_running && strcmp(status, "running") &&
	    qmp_command(&m->source, "cont", NULL, NULL, &e) < 0)
		fprintf(stderr, "outlive: %s: %s\n", m->name, e.msg);
	source_restore(m);
}

/* Its monitor is gone: so is the process, or it will be at once. */
static bool source_ended(const struct move *m)
{
	OWNED_FD fd = (int)syscall(SYS_pidfd_open, m->source_pid, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return fd < 0 ? errno == ESRCH : poll(&poll_fd, 1, END_SECONDS * 1000) == 1;
}

/* What the target has against it, in its own words if it can say them. The caller frees it. */
static char *complaint(struct move *m, const json_t *info)
{
	OWNED(char) *last = NULL;
	OWNED_JSON *there = NULL;
	struct err e = {0};
	int r;

	m->target.seconds = ANSWER_SECONDS;
	r = qmp_command(&m->target, "query-migrate", NULL, &there, &e);
	if (r == -ETIMEDOUT)
		return str_printf("%s, and the new VMM hangs (no answer within %d s)",
				  option_str(info, "error-desc", "it failed"), ANSWER_SECONDS);
	if (r < 0) {
		last = vmm_last_words(m->log_path);
		return str_printf("the new VMM has ended: %s", last);
	}
	return str_dup(option_str(there, "error-desc",
				  option_str(info, "error-desc", "the other VMM didn't take it")));
}

static int judge(struct move *m, int followed, const json_t *info, struct err *e)
{
	const char *status = option_str(info, "status", "");
	const char *stays = m->from_qemu ? "the guest stays in QEMU" : "the guest stays in Outlive";
	OWNED(char *) why = NULL;

	if (followed < 0 && source_ended(m)) {
		if (has_arrived(m, 1))
			return 0;
		target_kill(m);
		return err_set(e, EPIPE, "the VMM that had the guest has ended");
	}
	if (!strcmp(status, "completed") && has_arrived(m, ARRIVE_SECONDS))
		return 0;
	if (followed < 0 || !strcmp(status, "cancelled")) {
		stay(m);
		return followed < 0 ? -e->code : err_set(e, ECANCELED, "cancelled; %s", stays);
	}
	why = complaint(m, info);
	stay(m);
	return err_set(e, EREMOTEIO, "%s; %s", why, stays);
}

/**
 * transfer() - Move the guest from one process to the other
 * @m:		Both monitors are connected
 * @args:	Options of the command
 * @socket:	Where the stream goes; removed afterwards
 * @ret_info:	Set on success only: the source's last query-migrate
 * @e:		Set on failure only: the guest is where it was, the target's process has ended
 *
 * Errors: ECANCELED by an interrupt; EREMOTEIO a side refused; EPIPE the source has ended
 * Return: 0, or a negative errno
 */
int transfer(struct move *m, const struct cli_args *args, const char *socket, json_t **ret_info,
	     struct err *e)
{
	const struct migration_watch w = {.name = m->name, .json = args->json};
	OWNED(char *) uri = str_printf("unix:%s", socket);
	OWNED_JSON *info = NULL;
	int r = begin(m, args, uri, e);

	if (r >= 0) {
		r = migration_follow(&m->source, &w, &info, e);
		r = judge(m, r, info, e);
	} else {
		stay(m);
	}
	unlink(socket);
	if (r >= 0)
		*ret_info = json_incref(info);
	return r;
}

static char *second_name(const char *path)
{
	return str_printf("%s.outlive", path);
}

/* A VMM that ends removes the sockets it listened on. A second name keeps them. */
static void paths_keep(const struct move *m)
{
	size_t i;
	json_t *path;

	json_array_foreach (m->paths, i, path) {
		OWNED(char *) name = second_name(json_string_value(path));

		unlink(name);
		if (link(json_string_value(path), name) < 0)
			fprintf(stderr, "outlive: %s: %s\n", name, strerror(errno));
	}
}

static void paths_put_back(const struct move *m)
{
	size_t i;
	json_t *path;

	json_array_foreach (m->paths, i, path) {
		OWNED(char *) name = second_name(json_string_value(path));

		if (rename(name, json_string_value(path)) < 0)
			fprintf(stderr, "outlive: %s: %s\n", name, strerror(errno));
		unlink(name); /* both were names of one socket: rename() did nothing */
	}
}

/**
 * transfer_end_source() - End the process that had the guest
 * @m:		The guest is in the target
 * @e:		Set on failure only
 *
 * Errors: ETIMEDOUT it doesn't end
 * Return: 0, or a negative errno
 */
int transfer_end_source(struct move *m, struct err *e)
{
	OWNED_FD fd = (int)syscall(SYS_pidfd_open, m->source_pid, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	struct err ignored;
	int r = 0;

	paths_keep(m);
	if (qmp_command(&m->source, "quit", NULL, NULL, &ignored) < 0 && fd < 0)
		r = 0; /* it has ended already */
	if (fd >= 0 && poll(&poll_fd, 1, END_SECONDS * 1000) != 1)
		r = err_set(e, ETIMEDOUT, "process %d doesn't end; the guest is no longer in it",
			    m->source_pid);
	paths_put_back(m);
	return r;
}

static void print_list(const json_t *list, const char *what)
{
	size_t i;
	json_t *one;

	json_array_foreach ((json_t *)(uintptr_t)list, i, one)
		fprintf(stderr, "outlive: %s: %s\n", what, json_string_value(one));
}

/**
 * transfer_refuse() - Say what stands in the way, and what will be different
 * @m:		With its command line
 * @args:	With --dry-run that is printed too
 *
 * Return: CLI_REFUSED if there are blockers, else CLI_OK
 */
int transfer_refuse(const struct move *m, const struct cli_args *args)
{
	bool blocked = json_array_size(m->blockers) > 0, dry = cli_switch(args, "dry-run");
	OWNED_JSON *all = json_pack("{s:O, s:O, s:O}", "blockers", m->blockers, "notes", m->notes,
				    "argv", m->argv);

	if (args->json && (blocked || dry)) {
		cli_print_json(all);
	} else if (!args->json) {
		print_list(m->notes, "note");
		print_list(m->blockers, m->name);
	}
	if (!args->json && dry && !blocked)
		cli_print_words(m->argv);
	return blocked ? CLI_REFUSED : CLI_OK;
}
