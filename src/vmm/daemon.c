/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: -daemonize forks before anything is opened. The parent waits at a pipe
 * until the child says that its monitors listen and its pid file is written, and exits with 0; if
 * the pipe ends without a word the child has failed (and said why on stderr, which it keeps until
 * then), and the parent exits with 1.
 */
#include "base/owned.h"
#include "vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int parent_wait(int fd, pid_t child)
{
	char byte;
	ssize_t n;
	int status = 0;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return 1;
}

/**
 * daemon_fork() - Continue in a child; the parent exits when the child is ready or has failed
 * @ret_ready_fd: Set on success only: for daemon_ready()
 * @e:		Set on failure only
 *
 * Return: 0 in the child, or a negative errno in the only process
 */
int daemon_fork(int *ret_ready_fd, struct err *e)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	child = fork();
	if (child < 0)
		return err_sys(e, "fork");
	if (child > 0) {
		close(fds[1]);
		_exit(parent_wait(fds[0], child));
	}
	close(fds[0]);
	setsid();
	*ret_ready_fd = fds[1];
	return 0;
}

/**
 * daemon_ready() - Let the parent go and leave the terminal
 * @ready_fd:	From daemon_fork(); -1: this is no daemon
 */
void daemon_ready(int *ready_fd)
{
	OWNED_FD null = -1;

	if (*ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
	}
	if (chdir("/") < 0 || write(*ready_fd, "", 1) < 0)
		return; /* the parent has gone: nobody to tell */
	fd_close(ready_fd);
}

static int pidfile_fd = -1; /* open for the life of the guest: its lock says that it lives */

/* What another process wrote is written over first, which needs no room on the disk. */
static int pid_put(int fd, const char *path, struct err *e)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (pwrite(fd, text, (size_t)len, 0) != len || ftruncate(fd, len) < 0)
		return err_sys(e, "pid file %s", path);
	return 0;
}

/**
 * pidfile_write() - Write and lock the pid file
 * @path:	Replaced if nobody has it locked
 * @e:		Set on failure only
 *
 * The lock is on the open file, so it goes along when the guest goes to another process.
 *
 * Errors: EAGAIN another guest has it locked; else as open(2)
 * Return: 0, or a negative errno
 */
int pidfile_write(const char *path, struct err *e)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	OWNED_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return err_sys(e, "pid file %s", path);
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return err_sys(e, "pid file %s is locked by another process", path);
	r = pid_put(fd, path, e);
	if (r == 0)
		pidfile_fd = fd_take(&fd);
	return r;
}

/**
 * pidfile_handover() - The locked pid file, for another process
 *
 * Return: borrowed, -1 if there is none
 */
int pidfile_handover(void)
{
	return pidfile_fd;
}

/**
 * pidfile_adopt() - Take the locked pid file over and put our number in
 * @fd:		From pidfile_handover() of the other process; owned from here on
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int pidfile_adopt(int fd, struct err *e)
{
	pidfile_fd = fd;
	return pid_put(fd, "of this guest", e);
}

/**
 * user_change() - Become another user for good
 * @name:	User name
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such user; else as setuid(2)
 * Return: 0, or a negative errno
 */
int user_change(const char *name, struct err *e)
{
	const struct passwd *pw = getpwnam(name);

	if (!pw)
		return err_set(e, ENOENT, "there is no user '%s'", name);
	if (initgroups(name, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
		return err_sys(e, "become user '%s'", name);
	return 0;
}
