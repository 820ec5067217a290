/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what starts and ends with one QMP command or a signal: pause, resume, reset,
 * send-key, stop, kill. */
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANSWER_SECONDS 5

static int say(const struct cli_args *args, const char *name, const char *what)
{
	OWNED_JSON *result = json_pack("{s:s, s:s}", "name", name, "result", what);

	if (args->json)
		cli_print_json(result);
	else
		printf("%s: %s\n", name, what);
	return CLI_OK;
}

/* One command to a running guest; @arguments are taken. */
static int order(const char *name, const char *command, json_t *arguments, struct guest *ret,
		 struct err *e)
{
	OWNED_JSON *owned = arguments;
	struct qmp q;
	int r = guest_open_running(name, ret, e);

	if (r < 0)
		return r;
	r = qmp_open(ret, ANSWER_SECONDS, &q, e);
	if (r == 0) {
		r = qmp_command(&q, command, json_incref(owned), NULL, e);
		qmp_close(&q);
	}
	if (r < 0)
		guest_release(ret);
	return r;
}

static int order_only(const struct cli_args *args, const char *command, json_t *arguments,
		      const char *done)
{
	struct guest g;
	struct err e;
	int r = order(args->words[0], command, arguments, &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	guest_release(&g);
	return say(args, args->words[0], done);
}

/**
 * cmd_pause() - outlive pause
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_pause(const struct cli_args *args)
{
	return order_only(args, "stop", NULL, "paused");
}

/**
 * cmd_resume() - outlive resume
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_resume(const struct cli_args *args)
{
	return order_only(args, "cont", NULL, "running");
}

/**
 * cmd_reset() - outlive reset
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_reset(const struct cli_args *args)
{
	return order_only(args, "system_reset", NULL, "reset");
}

/* "ctrl-alt-delete" is three keys. */
static void keys_add(json_t *keys, const char *word)
{
	for (size_t len; *word; word += len + (word[len] == '-')) {
		len = strcspn(word, "-");
		json_array_append_new(keys,
				      json_pack("{s:s, s:s%}", "type", "qcode", "data", word, len));
	}
}

/**
 * cmd_send_key() - outlive send-key: press keys of the guest's keyboard together
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_send_key(const struct cli_args *args)
{
	json_t *keys = json_array();
	double hold = cli_seconds(args, "hold", 0.1);

	for (size_t i = 1; i < args->words_len; i++)
		keys_add(keys, args->words[i]);
	return order_only(args, "send-key",
			  json_pack("{s:o, s:i}", "keys", keys, "hold-time", (int)(hold * 1000)),
			  "typed");
}

/* By a descriptor of the process: the number can't mean another one. */
static void signal_guest(struct guest *g, int signum)
{
	OWNED_FD fd = (int)syscall(SYS_pidfd_open, g->pid, 0);

	if (fd >= 0 && guest_refresh(g))
		syscall(SYS_pidfd_send_signal, fd, signum, NULL, 0);
}

static bool end_now(struct guest *g)
{
	int pid = g->pid;

	signal_guest(g, SIGTERM);
	g->pid = pid;
	if (guest_wait_end(g, 5))
		return true;
	signal_guest(g, SIGKILL);
	g->pid = pid;
	return guest_wait_end(g, 5);
}

/**
 * cmd_stop() - outlive stop: the power button, then wait
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_stop(const struct cli_args *args)
{
	double seconds = cli_seconds(args, "timeout", 60);
	const char *name = args->words[0];
	struct guest g;
	struct err e;
	int r = order(name, "system_powerdown", NULL, &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	if (guest_wait_end(&g, seconds)) {
		r = say(args, name, "stopped");
	} else if (cli_switch(args, "force") && end_now(&g)) {
		r = say(args, name, "killed");
	} else {
		err_set(&e, ETIMEDOUT,
			"guest '%s' still runs, its power button was pressed %g s ago; "
			"see outlive kill",
			name, seconds);
		r = cli_fail(CLI_TIMEOUT, &e);
	}
	guest_release(&g);
	return r;
}

/**
 * cmd_kill() - outlive kill: end the VMM at once
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_kill(const struct cli_args *args)
{
	struct guest g;
	struct err e;
	int r = guest_open_running(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	if (!end_now(&g)) {
		err_set(&e, ETIMEDOUT, "process %d doesn't go away", g.pid);
		r = cli_fail(CLI_TIMEOUT, &e);
	} else {
		r = say(args, args->words[0], "killed");
	}
	guest_release(&g);
	return r;
}
