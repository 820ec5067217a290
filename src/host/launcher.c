/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: parent and child talk over a socket pair of packets. A request is the path
 * of a program with five descriptors: the program's socket, standard input, output, error, folder.
 * An answer is a struct answer, with a pidfd if the program was started. The program is opened
 * first, judged by that descriptor and started through it, so what was judged is what runs.
 */
#include "host/launcher.h"

#include "base/owned.h"
#include "base/scm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_FD 3 /* the child's, and that of the program it starts */

enum request_fd { FD_SOCKET, FD_IN, FD_OUT, FD_ERR, FD_FOLDER, REQUEST_FDS };

/**
 * struct answer - What became of a request
 * @pid:	Of the program
 * @e:		@e.code 0: it was started
 */
struct answer {
	pid_t pid;
	struct err e;
};

extern char **environ;

static int parent_sock = -1;

/* The child. */

/* Who breaks out of the guest runs as this user: what that can write isn't started. */
static int program_judge(int fd, const char *program, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", program);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EPERM, "%s isn't a file", program);
	if (geteuid() &&
	    (st.st_uid == geteuid() || faccessat(fd, "", W_OK, AT_EMPTY_PATH | AT_EACCESS) == 0)) {
		err_set(e, EPERM, "%s can be written by the user that the guest's process runs as",
			program);
		return err_hint(e, "with -sandbox spawn=deny only a program of another user is "
				   "started: install it as root");
	}
	return 0;
}

static void actions_fill(posix_spawn_file_actions_t *a, const int fds[REQUEST_FDS])
{
	posix_spawn_file_actions_init(a);
	posix_spawn_file_actions_addfchdir_np(a, fds[FD_FOLDER]);
	posix_spawn_file_actions_adddup2(a, fds[FD_IN], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(a, fds[FD_OUT], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(a, fds[FD_ERR], STDERR_FILENO);
	posix_spawn_file_actions_adddup2(a, fds[FD_SOCKET], SOCKET_FD);
}

static int program_start(const char *program, int fd, const int fds[REQUEST_FDS], pid_t *pid)
{
	static char takeover[] = "--takeover", number[] = "3";
	char *argv[] = {(char *)(uintptr_t)program, takeover, number, NULL}, path[32];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	actions_fill(&actions, fds);
	r = posix_spawn(pid, path, &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r;
}

/* Returns a pidfd or a negative errno. */
static int request_do(const char *program, const int fds[REQUEST_FDS], struct answer *a)
{
	OWNED_FD fd = open(program, O_PATH | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(&a->e, "%s", program);
	r = program_judge(fd, program, &a->e);
	if (r < 0)
		return r;
	r = program_start(program, fd, fds, &a->pid);
	if (r)
		return err_set(&a->e, r, "start %s: %s", program, strerror(r));
	r = (int)syscall(SYS_pidfd_open, a->pid, 0);
	return r < 0 ? err_sys(&a->e, "pidfd_open") : r;
}

/* False: the parent has gone. */
static bool serve(int *child)
{
	char program[PATH_MAX + 1];
	struct answer a = {0};
	size_t len = REQUEST_FDS;
	int fds[REQUEST_FDS];
	ssize_t n = scm_recv(SOCKET_FD, program, sizeof(program) - 1, fds, &len);

	if (n <= 0)
		return false;
	program[n] = '\0';
	fd_close(child);
	*child = len == REQUEST_FDS ? request_do(program, fds, &a)
				    : err_set(&a.e, EPROTO, "not a request");
	for (size_t i = 0; i < len; i++)
		close(fds[i]);
	return scm_send(SOCKET_FD, &a, sizeof(a), child, *child >= 0) == sizeof(a);
}

static void child_run(void)
{
	struct pollfd p[2] = {{.fd = SOCKET_FD, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	int child = -1;

	for (;;) {
		p[1].fd = child;
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents) { /* it has ended: let it go */
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
			fd_close(&child);
		}
		if (p[0].revents && !serve(&child))
			_exit(0);
	}
}

/* Nothing of the parent stays open, nobody but root looks inside. */
static void child_begin(int sock, pid_t parent)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(sock, SOCKET_FD) < 0)
		_exit(1);
	for (int fd = 0; fd < SOCKET_FD; fd++)
		dup2(null, fd);
	close_range(SOCKET_FD + 1, UINT_MAX, 0);
	fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	prctl(PR_SET_NAME, "outlive-launch");
	prctl(PR_SET_DUMPABLE, 0);
}

static void child_main(int sock, pid_t parent, int (*become)(const char *user, struct err *e),
		       const char *user)
{
	struct err e;

	child_begin(sock, parent);
	if (user && become(user, &e) < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* becoming another user takes it away */
	child_run();
}

/* The parent. */

int launcher_start(int (*become)(const char *user, struct err *e), const char *user, struct err *e)
{
	pid_t parent = getpid(), child;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "socketpair");
	child = fork();
	if (child == 0)
		child_main(pair[1], parent, become, user);
	close(pair[1]);
	if (child < 0) {
		close(pair[0]);
		return err_sys(e, "fork");
	}
	parent_sock = pair[0];
	return 0;
}

/**
 * launcher_there() - Can this process have a program started?
 *
 * Return: whether the child is there
 */
bool launcher_there(void)
{
	struct pollfd p = {.fd = parent_sock}; /* says when the other end is closed */

	return parent_sock >= 0 && poll(&p, 1, 0) == 0;
}

static int answer_take(pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	struct answer a = {0};
	OWNED_FD pidfd = -1;
	size_t len = 1;
	ssize_t n = scm_recv(parent_sock, &a, sizeof(a), &pidfd, &len);

	if (n != sizeof(a))
		return err_set(e, ESRCH, "the process that starts programs for this one has gone");
	if (a.e.code || len != 1)
		return err_set(e, a.e.code ? a.e.code : EPROTO, "%s", a.e.msg);
	*ret_pid = a.pid;
	*ret_pidfd = fd_take(&pidfd);
	return 0;
}

int launcher_spawn(const char *program, int sock, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	OWNED_FD folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const int fds[REQUEST_FDS] = {sock, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, folder};
	ssize_t n;

	if (folder < 0)
		return err_sys(e, "the current folder");
	if (strlen(program) >= PATH_MAX)
		return err_set(e, ENAMETOOLONG, "%s", program);
	n = scm_send(parent_sock, program, strlen(program), fds, REQUEST_FDS);
	if (n < 0)
		return err_set(e, ESRCH, "the process that starts programs for this one has gone");
	return answer_take(ret_pid, ret_pidfd, e);
}
