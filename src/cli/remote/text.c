/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: lines of JSON over descriptors that may be pipes; every wait is bounded, and
 * an interrupt (Ctrl-C) ends it. */
#include "cli/remote/remote.h"

#include "base/clock.h"
#include "base/owned.h"
#include "cli/migration.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define LINE_MAX_BYTES (4u << 20)
#define IDLE_MS        100

/**
 * remote_put() - Send a line
 * @fd:		To the other side; waits as long as it takes
 * @value:	Borrowed
 * @e:		Set on failure only
 *
 * Errors: as write(2)
 * Return: 0, or a negative errno
 */
int remote_put(int fd, const json_t *value, struct err *e)
{
	OWNED(char) *json = json_dumps(value, JSON_COMPACT);
	OWNED(char) *line = str_printf("%s\n", json);
	size_t len = strlen(line);

	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, line + done, len - done);

		if (n < 0 && errno != EINTR)
			return err_sys(e, "write to the other side");
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int read_more(struct remote_text *t, struct err *e)
{
	ssize_t n;

	if (t->len >= LINE_MAX_BYTES)
		return err_set(e, EPROTO, "the other side sends a line without end");
	t->in = mem_realloc(t->in, t->len + 4096);
	n = read(t->fd, t->in + t->len, 4096);
	if (n < 0)
		return errno == EINTR ? 0 : err_sys(e, "read from the other side");
	if (n == 0)
		return err_set(e, EPIPE, "the other side has closed the connection");
	t->len += (size_t)n;
	return 0;
}

static int wait_readable(const struct remote_text *t, int64_t limit, void (*idle)(void *opaque),
			 void *opaque, struct err *e)
{
	struct pollfd poll_fd = {.fd = t->fd, .events = POLLIN};

	while (poll(&poll_fd, 1, IDLE_MS) <= 0) {
		if (idle)
			idle(opaque);
		if (migration_interrupted())
			return err_set(e, ECANCELED, "cancelled; the guest runs on here");
		if (time_ns() >= limit)
			return err_set(e, ETIMEDOUT, "the other side doesn't answer");
	}
	return 0;
}

/**
 * remote_get() - The next line
 * @t:		Where from
 * @seconds:	At most
 * @idle:	Called while nothing comes; may be NULL
 * @opaque:	For @idle
 * @ret:	Set on success only: an object, new reference
 * @e:		Set on failure only; with EPROTO it has the line
 *
 * Errors: ECANCELED an interrupt; ETIMEDOUT; EPIPE the end; EPROTO not an object
 * Return: 0, or a negative errno
 */
int remote_get(struct remote_text *t, double seconds, void (*idle)(void *opaque), void *opaque,
	       json_t **ret, struct err *e)
{
	int64_t limit = time_ns() + (int64_t)(seconds * NS_PER_SEC);
	char *end;
	size_t len;

	while (!t->len || !(end = memchr(t->in, '\n', t->len))) {
		int r = wait_readable(t, limit, idle, opaque, e);

		if (r >= 0)
			r = read_more(t, e);
		if (r < 0)
			return r;
	}
	*end = '\0';
	len = (size_t)(end - t->in) + 1;
	*ret = json_loads(t->in, 0, NULL);
	if (!json_is_object(*ret)) {
		json_decref(*ret);
		*ret = NULL;
		err_set(e, EPROTO, "%.300s", t->in);
	}
	t->len -= len;
	memmove(t->in, t->in + len, t->len);
	return *ret ? 0 : -EPROTO;
}
