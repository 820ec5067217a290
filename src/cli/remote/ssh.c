/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the user's own ssh, with the user's configuration, keys and agent; it asks
 * for passwords at the terminal by itself. Its standard input and output are one end of a socket
 * pair. It ignores interrupts: Ctrl-C is for the migration, which is called off over the same
 * connection. What ssh says on standard error is collected, and explained if it ends: with 255 it
 * is ssh itself that failed, with 127 the shell over there, with anything else "outlive receive".
 */
#include "cli/remote/remote.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/migration.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define HELLO_SECONDS  180 /* somebody may be typing a password */
#define ANSWER_SECONDS 120
#define TICK_MS        20
#define STOP_SECONDS   5
#define NOISE_LINES    200
#define STATUS_SSH     255
#define STATUS_SHELL   127

/* For a shell, in single quotes. The caller frees it. */
static char *quoted(const char *text)
{
	char *out = mem_zalloc(strlen(text) * 4 + 3), *p = out;

	*p++ = '\'';
	for (; *text; text++)
		p = *text == '\'' ? stpcpy(p, "'\\''") : stpcpy(p, (char[]){*text, 0});
	*p = '\'';
	return out;
}

static void ssh_exec(const char *ssh, const struct remote_place *p, const char *command)
{
	OWNED(char) *shell = str_printf("exec %s \"$@\"", ssh);
	const char *argv[16] = {"sh", "-c", shell, "outlive", "-T"};
	size_t n = 5;

	if (p->port) {
		argv[n++] = "-p";
		argv[n++] = p->port;
	}
	if (p->user) {
		argv[n++] = "-l";
		argv[n++] = p->user;
	}
	argv[n++] = "--";
	argv[n++] = p->host;
	argv[n] = command;
	execv("/bin/sh", (char *const *)(uintptr_t)argv);
	_exit(STATUS_SHELL);
}

static void child(const struct cli_args *args, const struct remote *r, int in_out, int error)
{
	const char *own = getenv("OUTLIVE_SSH");
	const char *ssh = cli_value(args, "ssh", own && *own ? own : "ssh");
	OWNED(char) *program = quoted(cli_value(args, "program", "outlive"));
	OWNED(char) *command = str_printf("%s receive %s", program, r->place.name);

	signal(SIGINT, SIG_IGN);
	dup2(in_out, STDIN_FILENO);
	dup2(in_out, STDOUT_FILENO);
	dup2(error, STDERR_FILENO);
	ssh_exec(ssh, &r->place, command);
}

static int spawn(const struct cli_args *args, struct remote *r, struct err *e)
{
	int in_out[2], error[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in_out) < 0)
		return err_sys(e, "socketpair");
	r->fd = in_out[0];
	if (pipe2(error, O_CLOEXEC) < 0) {
		close(in_out[1]);
		return err_sys(e, "pipe");
	}
	r->said_fd = error[0];
	fcntl(r->said_fd, F_SETFL, O_NONBLOCK);
	r->pid = fork();
	if (r->pid == 0)
		child(args, r, in_out[1], error[1]);
	close(in_out[1]);
	close(error[1]);
	return r->pid < 0 ? err_sys(e, "fork") : 0;
}

static void said_add(struct remote *r, const char *text, size_t n)
{
	size_t room = sizeof(r->said) - 1,
	       drop = r->said_len + n > room ? r->said_len + n - room : 0;

	memmove(r->said, r->said + drop, r->said_len - drop);
	memcpy(r->said + r->said_len - drop, text, n);
	r->said_len += n - drop;
	r->said[r->said_len] = '\0';
}

/**
 * remote_listen() - Take in what ssh says on standard error
 * @opaque:	The struct remote; doesn't wait
 */
void remote_listen(void *opaque)
{
	struct remote *r = opaque;
	char text[1024];
	ssize_t n;

	while (r->said_fd >= 0 && (n = read(r->said_fd, text, sizeof(text))) > 0)
		said_add(r, text, (size_t)n);
}

/**
 * remote_last_words() - The last line that came on standard error
 * @r:	Cut where its line ends
 *
 * Return: borrowed, or NULL
 */
const char *remote_last_words(struct remote *r)
{
	char *line;

	remote_listen(r);
	while (r->said_len && strchr("\r\n ", r->said[r->said_len - 1]))
		r->said[--r->said_len] = '\0';
	if (!r->said_len)
		return NULL;
	line = strrchr(r->said, '\n');
	return line ? line + 1 : r->said;
}

/**
 * struct remedy - What to do about words of ssh's
 * @words:	Part of what it says
 * @remedy:	Sentence
 */
static const struct remedy {
	const char *words, *remedy;
} remedies[] = {
	{"Could not resolve hostname",
	 "see whether the name is right; aliases belong into ~/.ssh/config"},
	{"Host key verification failed",
	 "connect to it once with ssh and compare its key; if the host has a new one, remove the "
	 "old one with 'ssh-keygen -R'"},
	{"Permission denied",
	 "your key isn't accepted there: load it with ssh-add, or install it with ssh-copy-id"},
	{"Too many authentication failures",
	 "your key isn't accepted there: load it with ssh-add, or install it with ssh-copy-id"},
	{"Connection refused", "is sshd running there, and is this its port?"},
	{"No route to host", "is the host up, and the network between?"},
	{"timed out", "is the host up, and does a firewall let ssh through?"},
};

static const char *remedy_for(const char *words)
{
	for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
		if (strstr(words, remedies[i].words))
			return remedies[i].remedy;
	return "see whether 'ssh HOST true' works by itself";
}

/* It ended before it could be asked. */
static int explain(struct remote *r, int status, struct err *e)
{
	const char *host = r->place.host, *words = remote_last_words(r);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	if (!words)
		words = "it said nothing";
	if (code == STATUS_SSH) {
		err_set(e, EHOSTUNREACH, "ssh to %s failed: %s", host, words);
		return err_hint(e, "%s", remedy_for(r->said));
	}
	if (code == STATUS_SHELL && strstr(r->said, "ssh") && !strstr(r->said, "receive"))
		return err_set(e, ENOEXEC, "%s; name your ssh by --ssh or OUTLIVE_SSH", words);
	if (code == STATUS_SHELL) {
		err_set(e, ENOEXEC, "no outlive was found on %s: %s", host, words);
		return err_hint(e, "install it there, or name it with --program PATH");
	}
	if (strstr(r->said, "there is no command 'receive'")) {
		err_set(e, EPROTONOSUPPORT, "the outlive on %s is too old to receive a guest",
			host);
		return err_hint(e, "install " OUTLIVE_VERSION " or newer there");
	}
	return err_set(e, EPIPE, "%s: %s (exit status %d)", host, words, code);
}

/**
 * remote_wait() - Wait for ssh's end
 * @r:		@pid becomes 0 when it has ended
 * @seconds:	At most
 *
 * Return: whether it has ended
 */
bool remote_wait(struct remote *r, double seconds)
{
	int64_t limit = time_ns() + (int64_t)(seconds * NS_PER_SEC);

	while (r->pid > 0 && waitpid(r->pid, NULL, WNOHANG) == 0) {
		remote_listen(r);
		if (time_ns() >= limit)
			return false;
		poll(NULL, 0, TICK_MS);
	}
	r->pid = 0;
	remote_listen(r);
	return true;
}

/* The connection has ended: say why. */
static int ended(struct remote *r, struct err *e)
{
	int status = 0;

	fd_close(&r->fd);
	for (int i = 0; i < 250 && waitpid(r->pid, &status, WNOHANG) == 0; i++)
		poll(NULL, 0, TICK_MS);
	r->pid = 0;
	return explain(r, status, e);
}

static int hello(struct remote *r, struct err *e)
{
	OWNED_JSON *line = NULL;
	struct err noise;
	int ret = -EPROTO;
	int64_t protocol;

	for (int i = 0; i < NOISE_LINES && ret == -EPROTO; i++) /* what a shell's profile prints */
		ret = remote_get(&r->text, HELLO_SECONDS, remote_listen, r, &line, &noise);
	if (ret == -EPIPE || ret == -ECONNRESET)
		return ended(r, e);
	if (ret < 0)
		return err_set(e, -ret, "%s: %s", r->place.host, noise.msg);
	protocol = option_int(line, "outlive-receive", 0);
	r->up = true;
	if (protocol == REMOTE_PROTOCOL)
		return 0;
	err_set(e, EPROTONOSUPPORT,
		"the outlive on %s (%s) speaks version %d of this, here it is %d", r->place.host,
		option_str(line, "version", "?"), (int)protocol, REMOTE_PROTOCOL);
	return err_hint(e, "install the same version of outlive on both hosts");
}

/**
 * remote_start() - Start "outlive receive" on another host
 * @args:	--ssh, --program
 * @r:		@place is set; remote_stop() it in any case
 * @e:		Set on failure only, with a remedy
 *
 * Errors: EHOSTUNREACH ssh failed; ENOEXEC no outlive there; EPROTONOSUPPORT another version;
 * ECANCELED; ETIMEDOUT
 * Return: 0, or a negative errno
 */
int remote_start(const struct cli_args *args, struct remote *r, struct err *e)
{
	int ret = spawn(args, r, e);

	if (ret < 0)
		return ret;
	r->text.fd = r->fd;
	return hello(r, e);
}

/**
 * remote_ask() - Ask the other side, which answers once
 * @r:		Started
 * @question:	Taken
 * @answer:	Set on success only; new reference
 * @e:		Set on failure only
 *
 * Errors: EREMOTEIO it answered with an error; else as remote_get()
 * Return: 0, or a negative errno
 */
int remote_ask(struct remote *r, json_t *question, json_t **answer, struct err *e)
{
	OWNED_JSON *owned = question, *got = NULL;
	int ret = remote_put(r->fd, owned, e);

	if (ret >= 0)
		ret = remote_get(&r->text, ANSWER_SECONDS, remote_listen, r, &got, e);
	if (ret == -EPIPE || ret == -ECONNRESET)
		return ended(r, e);
	if (ret < 0)
		return err_in(e, "%s", r->place.host);
	if (json_object_get(got, "error"))
		return err_set(e, EREMOTEIO, "%s: %s", r->place.host, option_str(got, "error", ""));
	*answer = json_take(&got);
	return 0;
}

/**
 * remote_stop() - End the connection; what it has started over there, and isn't needed, ends too
 * @r:	May not be started
 */
void remote_stop(struct remote *r)
{
	fd_close(&r->fd);
	if (r->pid > 0 && (!r->up || !remote_wait(r, STOP_SECONDS))) {
		kill(r->pid, SIGTERM);
		remote_wait(r, STOP_SECONDS);
	}
	fd_close(&r->said_fd);
	free(r->text.in);
	json_decref(r->notes);
	json_decref(r->blockers);
	remote_place_release(&r->place);
	*r = (struct remote){.fd = -1, .said_fd = -1};
}
