/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the other VMM's process. First one without a machine, which is only asked
 * what it knows, over a socket pair in place of a terminal; then the one that takes the guest.
 * While that one starts, the taps it shares with the running one keep the running one's settings.
 */
#include "cli/adopt/adopt.h"

#include "base/clock.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PROBE_SECONDS 30
#define START_SECONDS 60
#define TICK_MS       2

static void probe_exec(const char *program, int fd)
{
	OWNED_FD null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	execlp(program, program, "-machine", "none", "-nodefaults", "-no-user-config", "-display",
	       "none", "-S", "-qmp", "stdio", (char *)NULL);
	_exit(127);
}

/**
 * probe_start() - Start a VMM without a machine
 * @program:	Its path, or a name in PATH
 * @ret:	Set on success only: its monitor
 * @ret_pid:	Set on success only, for probe_stop()
 * @e:		Set on failure only
 *
 * Errors: ENOEXEC it isn't a VMM; else as fork(2)
 * Return: 0, or a negative errno
 */
int probe_start(const char *program, struct qmp *ret, pid_t *ret_pid, struct err *e)
{
	struct err why;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "socketpair");
	pid = fork();
	if (pid == 0)
		probe_exec(program, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return err_sys(e, "fork");
	}
	r = qmp_open_fd(pair[0], PROBE_SECONDS, ret, &why);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_set(e, ENOEXEC, "%s doesn't answer as a VMM (%s)", program, why.msg);
	}
	*ret_pid = pid;
	return 0;
}

/**
 * probe_stop() - End what probe_start() started
 * @q:		Its monitor
 * @pid:	Its process
 */
void probe_stop(struct qmp *q, pid_t pid)
{
	qmp_close(q);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int wait_listening(struct move *m, const char *qmp_path, const char *log_path, struct err *e)
{
	int64_t limit = time_ns() + START_SECONDS * NS_PER_SEC;

	while (time_ns() < limit) {
		taps_restore(m->taps, m->taps_len);
		if (access(qmp_path, F_OK) == 0 && qmp_open_path(qmp_path, 1, &m->target, e) == 0) {
			taps_restore(m->taps, m->taps_len);
			return 0;
		}
		m->target.fd = -1;
		if (waitpid(m->target_pid, NULL, WNOHANG) == m->target_pid) {
			m->target_pid = 0;
			taps_restore(m->taps, m->taps_len);
			return vmm_blame_log(log_path, e);
		}
		poll(NULL, 0, TICK_MS);
	}
	return err_set(e, ETIMEDOUT, "the new VMM's monitor doesn't answer after %d s",
		       START_SECONDS);
}

/**
 * target_start() - Start the VMM that takes the guest
 * @m:		@argv is complete; @target is connected on success
 * @qmp_path:	Where its monitor will listen
 * @log_path:	What it says is appended
 * @e:		Set on failure only
 *
 * Errors: ECHILD it ended at once, with its words; ETIMEDOUT
 * Return: 0, or a negative errno
 */
int target_start(struct move *m, const char *qmp_path, const char *log_path, struct err *e)
{
	OWNED_FD log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int r;

	m->log_path = log_path;
	if (log_fd < 0)
		return err_sys(e, "%s", log_path);
	if (unlink(qmp_path) < 0 && errno != ENOENT)
		return err_sys(e, "%s", qmp_path);
	taps_remember(m->taps, m->taps_len);
	m->target_pid = fork();
	if (m->target_pid < 0)
		return err_sys(e, "fork");
	if (m->target_pid == 0)
		vmm_exec(m->argv, log_fd);
	r = wait_listening(m, qmp_path, log_path, e);
	if (r < 0)
		target_kill(m);
	return r;
}

/**
 * target_kill() - End the target's process: the guest stays where it is
 * @m:	May have none
 */
void target_kill(struct move *m)
{
	qmp_close(&m->target);
	if (m->target_pid > 0) {
		kill(m->target_pid, SIGKILL);
		waitpid(m->target_pid, NULL, 0);
	}
	m->target_pid = 0;
	taps_restore(m->taps, m->taps_len);
}
