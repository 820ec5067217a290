/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a QMP client. One command at a time, every wait bounded; lines are messages.
 */
#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "base/scm.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define COMMAND_SECONDS 30

static int dial(const char *path, struct err *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	OWNED_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, "socket");
	if (strlen(path) >= sizeof(un.sun_path))
		return err_set(e, ENAMETOOLONG, "%s is too long for a socket", path);
	strcpy(un.sun_path, path);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return err_sys(e, "%s", path);
	return fd_take(&fd);
}

static int read_more(struct qmp *q, int64_t limit_ns, struct err *e)
{
	struct pollfd poll_fd = {.fd = q->fd, .events = POLLIN};
	int64_t left = limit_ns - time_ns();
	char *in;
	ssize_t n;

	if (left <= 0 || poll(&poll_fd, 1, (int)(left / NS_PER_MS) + 1) == 0)
		return err_set(e, ETIMEDOUT,
			       "the VMM doesn't answer; is another QMP client connected?");
	in = realloc(q->in, q->in_len + 65536);
	if (!in)
		abort();
	q->in = in;
	n = recv(q->fd, in + q->in_len, 65536, 0);
	if (n < 0)
		return err_sys(e, "read from the VMM");
	if (n == 0)
		return err_set(e, EPIPE, "the VMM closed the connection");
	q->in_len += (size_t)n;
	return 0;
}

/**
 * qmp_next() - The next message, of any kind
 * @q:		The connection
 * @seconds:	At most
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: ETIMEDOUT none came, EPIPE the VMM went, EPROTO not JSON
 * Return: 0, or a negative errno
 */
int qmp_next(struct qmp *q, double seconds, json_t **ret, struct err *e)
{
	int64_t limit = time_ns() + (int64_t)(seconds * NS_PER_SEC);
	char *end;
	size_t len;

	while (!q->in_len || !(end = memchr(q->in, '\n', q->in_len))) {
		int r = read_more(q, limit, e);

		if (r < 0)
			return r;
	}
	len = (size_t)(end - q->in) + 1;
	*ret = json_loadb(q->in, len, 0, NULL);
	if (!*ret) /* QEMU writes numbers of 64 bits without a sign */
		*ret = json_loadb(q->in, len, JSON_DECODE_INT_AS_REAL, NULL);
	q->in_len -= len;
	memmove(q->in, q->in + len, q->in_len);
	return *ret ? 0 : err_set(e, EPROTO, "the VMM sent no JSON");
}

static int negotiate(struct qmp *q, double seconds, struct err *e)
{
	OWNED_JSON *greeting = NULL;
	int r = qmp_next(q, seconds, &greeting, e);

	if (r == 0 && !json_object_get(greeting, "QMP"))
		r = err_set(e, EPROTO, "this is not a QMP socket");
	return r < 0 ? r : qmp_command(q, "qmp_capabilities", NULL, NULL, e);
}

/**
 * qmp_open_fd() - Speak QMP over a socket
 * @fd:		Taken on success; closed on failure
 * @seconds:	Wait at most this long for the greeting
 * @ret:	Set on success only, qmp_close()
 * @e:		Set on failure only
 *
 * Errors: ETIMEDOUT no greeting: somebody else is connected; EPROTO it isn't QMP
 * Return: 0, or a negative errno
 */
int qmp_open_fd(int fd, double seconds, struct qmp *ret, struct err *e)
{
	int r;

	*ret = (struct qmp){.fd = fd};
	r = negotiate(ret, seconds, e);
	if (r < 0)
		qmp_close(ret);
	return r;
}

/**
 * qmp_open_path() - Connect to a monitor
 * @path:	Its unix socket
 * @seconds:	Wait at most this long for the greeting
 * @ret:	Set on success only, qmp_close()
 * @e:		Set on failure only
 *
 * Errors: ECONNREFUSED nobody listens; ETIMEDOUT, EPROTO as qmp_open_fd()
 * Return: 0, or a negative errno
 */
int qmp_open_path(const char *path, double seconds, struct qmp *ret, struct err *e)
{
	int fd = dial(path, e);

	if (fd < 0)
		return fd == -ENOENT ? err_set(e, ECONNREFUSED, "%s isn't there", path) : fd;
	return qmp_open_fd(fd, seconds, ret, e);
}

/**
 * qmp_open() - Connect to a guest's monitor
 * @g:		The guest
 * @seconds:	Wait at most this long for the greeting
 * @ret:	Set on success only, qmp_close()
 * @e:		Set on failure only
 *
 * Errors: as qmp_open_path()
 * Return: 0, or a negative errno
 */
int qmp_open(const struct guest *g, double seconds, struct qmp *ret, struct err *e)
{
	OWNED(char *) path = guest_path(g, "qmp.sock");
	int r = qmp_open_path(path, seconds, ret, e);

	return r < 0 ? (err_in(e, "guest '%s'", g->name), r) : 0;
}

/**
 * qmp_close() - Disconnect
 * @q:		May be closed
 */
void qmp_close(struct qmp *q)
{
	fd_close(&q->fd);
	free(q->in);
	q->in = NULL;
	q->in_len = 0;
}

/* @fd goes with the first byte; -1: none. */
static int send_bytes(struct qmp *q, const char *text, size_t len, int fd, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = scm_send(q->fd, text + done, len - done, &fd, fd >= 0 && !done);

		if (n < 0)
			return err_ret(e, (int)n, "write to the VMM");
		done += (size_t)n;
	}
	return 0;
}

static int send_command(struct qmp *q, const char *name, const json_t *args, int fd, struct err *e)
{
	OWNED_JSON *message = json_pack("{s:s, s:i}", "execute", name, "id", ++q->next_id);
	OWNED(char *) text = NULL;

	if (args)
		json_object_set(message, "arguments", (json_t *)(uintptr_t)args);
	text = json_dumps(message, JSON_COMPACT);
	return send_bytes(q, text, strlen(text), fd, e);
}

static int command_with_fd(struct qmp *q, const char *name, json_t *args, int fd, json_t **ret,
			   struct err *e)
{
	OWNED_JSON *owned = args;
	int r = send_command(q, name, owned, fd, e);

	while (r == 0) {
		OWNED_JSON *message = NULL;
		const json_t *error;

		r = qmp_next(q, q->seconds > 0 ? q->seconds : COMMAND_SECONDS, &message, e);
		if (r < 0)
			break;
		error = json_object_get(message, "error");
		if (error)
			return err_set(e, EREMOTEIO, "%s", option_str(error, "desc", name));
		if (json_object_get(message, "return")) {
			if (ret)
				*ret = json_incref(json_object_get(message, "return"));
			return 0;
		}
		if (q->on_event && json_object_get(message, "event"))
			q->on_event(message, q->opaque);
	}
	return r;
}

/**
 * qmp_command() - Run a command and wait for its answer
 * @q:		The connection
 * @name:	The command
 * @args:	Taken; NULL: none
 * @ret:	Set on success to a new reference; may be NULL
 * @e:		Set on failure only: the VMM's own words, if it answered
 *
 * Errors: EREMOTEIO the VMM answered with an error; ETIMEDOUT, EPIPE, EPROTO as qmp_next()
 * Return: 0, or a negative errno
 */
int qmp_command(struct qmp *q, const char *name, json_t *args, json_t **ret, struct err *e)
{
	return command_with_fd(q, name, args, -1, ret, e);
}

/**
 * qmp_give_fd() - Give the VMM a descriptor (getfd)
 * @q:		The connection
 * @name:	What it is called there, as in fd:NAME
 * @fd:		Borrowed
 * @e:		Set on failure only
 *
 * Errors: as qmp_command()
 * Return: 0, or a negative errno
 */
int qmp_give_fd(struct qmp *q, const char *name, int fd, struct err *e)
{
	return command_with_fd(q, "getfd", json_pack("{s:s}", "fdname", name), fd, NULL, e);
}
