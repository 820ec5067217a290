/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the guest's serial console on this terminal, and its logs. The terminal is
 * raw while connected and gets its settings back however this ends; C-] leaves. Without a terminal
 * it copies both ways until either side ends.
 */
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE 0x1d /* C-] */

static struct {
	struct termios old;
	bool raw;
} terminal;

static void restore(void)
{
	if (terminal.raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal.old);
	terminal.raw = false;
}

static void on_signal(int signum)
{
	restore();
	_exit(128 + signum);
}

static void make_raw(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &terminal.old) < 0)
		return;
	t = terminal.old;
	cfmakeraw(&t);
	terminal.raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
	atexit(restore);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
}

static bool write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno != EINTR)
			return false;
		buf += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* Copies what is there; false at the end of either side, or at the escape key. */
static bool copy(int from, int to, bool escape)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf));
	char *leave = escape && n > 0 ? memchr(buf, ESCAPE, (size_t)n) : NULL;

	if (leave)
		n = leave - buf;
	return n > 0 && write_all(to, buf, (size_t)n) && !leave;
}

static void pump(int fd)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
			       {.fd = STDIN_FILENO, .events = POLLIN}};

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents && !copy(fd, STDOUT_FILENO, false))
			return;
		if (fds[1].revents && !copy(STDIN_FILENO, fd, terminal.raw)) {
			if (terminal.raw)
				return;
			fds[1].fd = -1; /* a script has said all; the guest may not have */
		}
	}
}

static int dial(const struct guest *g, struct err *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	OWNED(char *) path = guest_path(g, "console.sock");
	OWNED_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(un.sun_path))
		return err_set(e, EINVAL, "%s can't be a socket", path);
	strcpy(un.sun_path, path);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return err_sys(e, "guest '%s' has no console: %s", g->name, path);
	return fd_take(&fd);
}

/**
 * cmd_console() - outlive console
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_console(const struct cli_args *args)
{
	OWNED_FD fd = -1;
	struct guest g;
	struct err e;
	int r = guest_open_running(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	fd = dial(&g, &e);
	guest_release(&g);
	if (fd < 0)
		return cli_fail(CLI_FAILED, &e);
	if (isatty(STDIN_FILENO)) {
		make_raw();
		fprintf(stderr, "Connected to the console of %s. C-] leaves.\r\n", args->words[0]);
	}
	pump(fd);
	restore();
	if (isatty(STDIN_FILENO))
		fputs("\nLeft the console.\n", stderr);
	return CLI_OK;
}

static int follow(const struct guest *g, const char *path, int fd, struct err *e)
{
	OWNED_FD watch = inotify_init1(IN_CLOEXEC);
	struct pollfd poll_fd = {.fd = watch, .events = POLLIN};
	char events[4096];

	if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0)
		return err_sys(e, "watch %s", path);
	for (;;) {
		struct guest now = *g;

		while (copy(fd, STDOUT_FILENO, false))
			;
		if (!guest_refresh(&now))
			return 0;
		if (poll(&poll_fd, 1, 1000) > 0 && read(watch, events, sizeof(events)) < 0)
			return err_sys(e, "watch %s", path);
	}
}

/**
 * cmd_logs() - outlive logs
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_logs(const struct cli_args *args)
{
	OWNED(char *) path = NULL;
	OWNED_FD fd = -1;
	struct guest g;
	struct err e;
	int r = guest_open(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	path = guest_path(&g, cli_switch(args, "console") ? "console.log" : "log");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		r = err_sys(&e, "%s", path);
	else if (cli_switch(args, "follow"))
		r = follow(&g, path, fd, &e);
	else
		while (copy(fd, STDOUT_FILENO, false))
			;
	guest_release(&g);
	return r < 0 ? cli_fail(CLI_FAILED, &e) : CLI_OK;
}
