/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: is the running QEMU one whose guest can be taken over? What it is as a
 * whole: accelerator, machine type, CPU model, what it is doing now. Its devices are for
 * qemu_device.c.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>

static void check_status(struct move *m, const json_t *status)
{
	static const char *const wrong[] = {"inmigrate", "postmigrate", "finish-migrate",
					    "save-vm",   "restore-vm",  "colo",
					    NULL};
	const char *state = option_str(status, "status", "");

	m->was_running = option_bool(status, "running", false);
	for (size_t i = 0; wrong[i]; i++)
		if (!strcmp(state, wrong[i]))
			move_block(m,
				   "the guest is in state '%s': wait until that is over, or 'cont'",
				   state);
}

static void check_migration(struct move *m, const json_t *info)
{
	static const char *const busy[] = {"setup",      "active",         "device",
					   "colo",       "pre-switchover", "postcopy-active",
					   "cancelling", "wait-unplug",    NULL};
	const char *status = option_str(info, "status", "");
	size_t n;
	json_t *reason;

	for (size_t i = 0; busy[i]; i++)
		if (!strcmp(status, busy[i]))
			move_block(m, "a migration is under way: wait for it, or migrate_cancel");
	json_array_foreach (json_object_get(info, "blocked-reasons"), n, reason)
		move_block(m, "QEMU can't migrate this guest: %s", json_string_value(reason));
}

static void check_kvm(struct move *m, const json_t *kvm)
{
	if (!option_bool(kvm, "enabled", false))
		move_block(m, "the guest runs without KVM: start it with -accel kvm");
}

static int ask(struct move *m, const char *command, void (*check)(struct move *, const json_t *),
	       struct err *e)
{
	OWNED_JSON *answer = NULL;
	int r = qmp_command(&m->source, command, NULL, &answer, e);

	if (r >= 0)
		check(m, answer);
	return r;
}

/* Names of the probe's machine types or CPU models, in words. The caller frees it. */
static char *names_of(const json_t *list)
{
	char *names = str_dup("");
	size_t i;
	json_t *one;

	json_array_foreach ((json_t *)(uintptr_t)list, i, one) {
		char *longer = str_printf("%s%s%s", names, *names ? ", " : "",
					  option_str(one, "name", ""));

		free(names);
		names = longer;
	}
	return names;
}

/* Is what @path is (its QOM type) among what the other VMM lists? */
static int check_type(struct move *m, struct qmp *probe, const char *path, const char *command,
		      const char *key, const char *suffix, const char *what, struct err *e)
{
	OWNED_JSON *type = NULL, *known = NULL;
	OWNED(char *) name = NULL, *names = NULL;
	const char *text;
	int r = qmp_command(&m->source, "qom-get",
			    json_pack("{s:s, s:s}", "path", path, "property", "type"), &type, e);

	if (r >= 0)
		r = qmp_command(probe, command, NULL, &known, e);
	if (r < 0)
		return r;
	text = json_string_value(type) ? json_string_value(type) : "";
	name = str_dup(text);
	if (strlen(name) > strlen(suffix))
		name[strlen(name) - strlen(suffix)] = '\0';
	names = names_of(known);
	if (!move_find(known, key, strcmp(key, "typename") ? name : text))
		move_block(m, "%s %s isn't known to the other VMM; it knows: %s", what, name,
			   names);
	return 0;
}

static int check_cpu(struct move *m, struct qmp *probe, struct err *e)
{
	OWNED_JSON *cpus = NULL;
	const char *path;
	int r = qmp_command(&m->source, "query-cpus-fast", NULL, &cpus, e);

	if (r < 0)
		return r;
	path = option_str(json_array_get(cpus, 0), "qom-path", "");
	return check_type(m, probe, path, "query-cpu-definitions", "typename", "-x86_64-cpu",
			  "CPU model", e);
}

/**
 * qemu_check() - What the running QEMU is as a whole
 * @m:		@source is connected; @blockers grows
 * @probe:	A VMM of the kind that shall take over
 * @e:		Set on failure only: QEMU doesn't answer
 *
 * Return: 0, or a negative errno
 */
int qemu_check(struct move *m, struct qmp *probe, struct err *e)
{
	int r = ask(m, "query-status", check_status, e);

	if (r >= 0)
		r = ask(m, "query-migrate", check_migration, e);
	if (r >= 0)
		r = ask(m, "query-kvm", check_kvm, e);
	if (r >= 0)
		r = check_type(m, probe, "/machine", "query-machines", "name", "-machine",
			       "machine type", e);
	return r < 0 ? r : check_cpu(m, probe, e);
}
