/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the program. Options are parsed and judged before anything happens; then
 * (as a daemon, in a child) start.c builds everything, the pid file is written, whoever waits is
 * told, and the loop runs until the guest, QMP or a signal ends it. Errors are printed here, once,
 * on stderr: libvirt shows them to its user.
 */
#include "base/log.h"
#include "base/owned.h"
#include "migrate/migrate.h"
#include "vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/**
 * vmm_present() - What the process is called, and how much it says
 * @o:		The command line
 */
void vmm_present(const struct vmm_options *o)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	const char *name = option_str(vmm_values(o, VMM_NAME), "process", NULL);
	const char *level = vmm_text(o, VMM_LOG);

	if (name)
		prctl(PR_SET_NAME, name);
	log_set_timestamps(option_bool(vmm_values(o, VMM_MSG), "timestamp", false));
	for (size_t i = 0; level && i < ARRAY_SIZE(levels); i++)
		if (!strcmp(level, levels[i]))
			log_set_level((enum log_level)i);
	for (size_t i = 0; i < o->groups[VMM_TRACE].len; i++)
		trace_enable(option_str(o->groups[VMM_TRACE].items[i].values, "enable", ""));
}

static int log_file_open(const struct vmm_options *o, struct err *e)
{
	const char *path = vmm_text(o, VMM_LOGFILE);
	OWNED_FD fd = -1;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		return err_sys(e, "log file %s", path);
	return 0;
}

/**
 * vmm_end() - The process ends in order
 * @v:		Its loop has ended
 */
void vmm_end(struct vmm *v)
{
	if (vmm_text(v->options, VMM_PIDFILE) && unlink(vmm_text(v->options, VMM_PIDFILE)) < 0)
		log_debug("pid file: %m");
	vmm_stop_all(v);
	loop_destroy(v->loop);
}

static int ready(struct vmm *v, int *ready_fd, struct err *e)
{
	const char *pidfile = vmm_text(v->options, VMM_PIDFILE);
	const char *user = vmm_text(v->options, VMM_RUNAS);
	int r = 0;

	if (pidfile)
		r = pidfile_write(pidfile, e);
	if (r == 0 && user)
		r = user_change(user, e);
	if (r == 0 && user)
		r = vmm_sandbox_finish(v->options, e);
	if (r == 0)
		daemon_ready(ready_fd);
	return r;
}

static int run(struct vmm *v, struct err *e)
{
	OWNED_FD ready_fd = -1;
	int r = log_file_open(v->options, e);

	if (r == 0 && vmm_given(v->options, VMM_DAEMONIZE))
		r = daemon_fork(&ready_fd, e);
	if (r == 0)
		r = vmm_sandbox_enter(v->options, vmm_text(v->options, VMM_RUNAS), e);
	if (r == 0)
		r = loop_create(&v->loop, e);
	if (r == 0)
		r = vmm_signals_watch(v, e);
	if (r == 0)
		r = vmm_start(v, e);
	if (r == 0)
		r = ready(v, &ready_fd, e);
	if (r == 0)
		r = loop_run(v->loop, e);
	if (r < 0) { /* a pid file that is there may be somebody else's */
		vmm_stop_all(v);
		loop_destroy(v->loop);
	} else {
		vmm_end(v);
	}
	return r;
}

static void dump_schema(void)
{
	OWNED_JSON *schema = schema_of_build();

	json_dumpf(schema, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	puts("");
}

/* Options that only print something: true if one was given. */
static bool only_prints(const struct vmm_options *o)
{
	bool printed = false;

	if (vmm_given(o, VMM_HELP))
		vmm_help(stdout);
	else if (vmm_given(o, VMM_VERSION))
		puts("QEMU emulator version 8.2.0 (outlive-" OUTLIVE_VERSION ")\n"
		     "outlive-vmm " OUTLIVE_VERSION ", which speaks QEMU's command line and QMP");
	else if (vmm_given(o, VMM_PROBE_HOST))
		probe_host();
	else if (vmm_given(o, VMM_DUMP_STATE_SCHEMA))
		dump_schema();
	else
		for (size_t g = 0; g < VMM_GROUPS; g++)
			for (size_t i = 0; i < o->groups[g].len; i++)
				printed |= vmm_help_item(stdout, &o->groups[g].items[i]);
	return printed || vmm_given(o, VMM_HELP) || vmm_given(o, VMM_VERSION) ||
	       vmm_given(o, VMM_PROBE_HOST) || vmm_given(o, VMM_DUMP_STATE_SCHEMA);
}

/* Standard output says what is wrong and nothing else. */
static int verify_snapshot(const char *path)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct err e;

	if (fd < 0)
		err_sys(&e, "%s", path);
	else if (migrate_snapshot_verify(fd, &e) == 0)
		return 0;
	else
		err_in(&e, "%s", path);
	puts(e.msg);
	return 1;
}

static json_t *words_of(int argc, char **argv)
{
	json_t *words = json_array();

	for (int i = 0; i < argc; i++)
		json_array_append_new(words, json_string(argv[i]));
	return words;
}

int main(int argc, char **argv)
{
	struct vmm_options options;
	struct vmm v = {.options = &options};
	struct err e = {0};
	int r;

	log_set_program("outlive-vmm");
	machine_classes_add();
	if (argc == 3 && !strcmp(argv[1], "--takeover"))
		return takeover_main(atoi(argv[2]));
	r = vmm_options_parse(&options, argc, (const char *const *)argv, &e);
	if (r == 0 && (vmm_given(&options, VMM_VERIFY_SNAPSHOT) || only_prints(&options))) {
		const char *snapshot = vmm_text(&options, VMM_VERIFY_SNAPSHOT);

		r = snapshot ? verify_snapshot(snapshot) : 0;
		vmm_options_release(&options);
		return r;
	}
	if (r == 0)
		r = vmm_options_finish(&options, &e);
	if (r == 0) {
		vmm_present(&options);
		v.argv = words_of(argc, argv);
		r = run(&v, &e);
	}
	if (r < 0)
		log_error("%s", e.msg);
	json_decref(v.argv);
	vmm_options_release(&options);
	return r < 0 ? 1 : v.exit_code;
}
