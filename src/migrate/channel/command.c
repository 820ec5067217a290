/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a shell command at the other end of a pipe. When the stream is complete, the
 * pipe is closed and the command's end waited for: only with exit status 0 has it done with the
 * stream what it was there for (a full disk shows in cat's status and nowhere else).
 */
#include "base/owned.h"
#include "migrate/channel/carrier.h"
#include "migrate/channel/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

/**
 * struct command_carrier - A command that carries a channel
 * @fd:		Our end of the pipe
 * @pid:	Its process; 0 when it has been waited for
 * @pidfd:	To wait for it together with a shutdown; owned
 */
struct command_carrier {
	struct fd_carrier fd;
	pid_t pid;
	int pidfd;
};

static ssize_t command_readv(void *carrier, const struct iovec *iov, int n)
{
	return fd_carrier_transfer(&((struct command_carrier *)carrier)->fd, iov, n, POLLIN);
}

static ssize_t command_writev(void *carrier, const struct iovec *iov, int n)
{
	return fd_carrier_transfer(&((struct command_carrier *)carrier)->fd, iov, n, POLLOUT);
}

static void command_shutdown(void *carrier)
{
	fd_carrier_shutdown(&((struct command_carrier *)carrier)->fd);
}

static int command_status(struct command_carrier *p, struct err *e)
{
	int status;

	while (waitpid(p->pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, "wait for the command");
	p->pid = 0;
	if (WIFSIGNALED(status))
		return err_set(e, EPIPE, "the command was killed by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, EPIPE, "the command ended with status %d", WEXITSTATUS(status));
	return 0;
}

static int command_finish(void *carrier, struct err *e)
{
	struct command_carrier *p = carrier;
	struct pollfd fds[] = {{.fd = p->pidfd, .events = POLLIN},
			       {.fd = p->fd.wake, .events = POLLIN}};

	fd_close(&p->fd.fd);
	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return err_sys(e, "wait for the command");
	if (!fds[0].revents)
		return err_set(e, ECANCELED, "cancelled while the command was finishing");
	return command_status(p, e);
}

static void command_close(void *carrier)
{
	struct command_carrier *p = carrier;

	fd_carrier_release(&p->fd);
	if (p->pid) {
		kill(p->pid, SIGTERM); /* it isn't done, and nobody wants what it has */
		command_status(p, NULL);
	}
	fd_close(&p->pidfd);
	free(p);
}

static const struct channel_ops command_ops = {.readv = command_readv,
					       .writev = command_writev,
					       .finish = command_finish,
					       .shutdown = command_shutdown,
					       .close = command_close};

/*
 * Starts the command with @theirs as its standard input or output, and the signals of a fresh
 * process.
 */
static int spawn(const char *command, int theirs, int as, pid_t *ret, struct err *e)
{
	char name[] = "sh", option[] = "-c";
	char *argv[] = {name, option, (char *)(uintptr_t)command, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int code;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, theirs, as);
	code = posix_spawn(ret, "/bin/sh", &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return code ? err_ret(e, -code, "start /bin/sh") : 0;
}

/**
 * channel_open_command() - A channel to or from a shell command
 * @ret:	Set on success only
 * @command:	For /bin/sh -c
 * @writing:	It reads what we write; else we read what it writes
 * @e:		Set on failure only
 *
 * Errors: as pipe2(2), posix_spawn(3)
 * Return: 0, or a negative errno
 */
int channel_open_command(struct channel **ret, const char *command, bool writing, struct err *e)
{
	int ends[2], r;
	struct command_carrier *p;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	p = mem_zalloc(sizeof(*p));
	p->pidfd = -1;
	r = fd_carrier_init(&p->fd, ends[writing], e);
	if (r < 0)
		fd_close(&ends[writing]);
	else
		r = spawn(command, ends[!writing], writing ? STDIN_FILENO : STDOUT_FILENO, &p->pid,
			  e);
	fd_close(&ends[!writing]);
	if (r < 0) {
		command_close(p);
		return r;
	}
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd < 0) {
		r = err_sys(e, "pidfd_open");
		command_close(p);
		return r;
	}
	*ret = channel_create(&command_ops, p);
	return 0;
}
