/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: source and target talk over a socket pair, one message at a time, in
 * blocking calls with a bound: both do so on threads that have nothing else to do at that moment.
 * Nothing of this lies inside the guest's pause. Descriptors go by name, so neither side depends on
 * an order, and whoever doesn't know a name closes it.
 */
#include "upgrade/link.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/owned.h"
#include "base/scm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define BODY_MAX  (16 * MiB)
#define FDS_CHUNK 200
#define FDS_MAX   4096

/**
 * bundle_init() - An empty message
 * @b:		Release with bundle_release()
 */
void bundle_init(struct bundle *b)
{
	*b = (struct bundle){.body = json_object()};
}

/**
 * bundle_release() - Free a message and close the descriptors nobody took
 * @b:		The message
 */
void bundle_release(struct bundle *b)
{
	for (size_t i = 0; i < b->len; i++) {
		fd_close(&b->fds[i]);
		free(b->names[i]);
	}
	free(b->fds);
	free(b->names);
	json_decref(b->body);
	*b = (struct bundle){0};
}

static void bundle_append(struct bundle *b, const char *name, int fd)
{
	b->fds = reallocarray(b->fds, b->len + 1, sizeof(*b->fds));
	b->names = reallocarray(b->names, b->len + 1, sizeof(*b->names));
	if (!b->fds || !b->names)
		abort();
	b->fds[b->len] = fd;
	b->names[b->len++] = str_dup(name);
}

/**
 * bundle_add_fd() - Put a descriptor in
 * @b:		The message
 * @name:	Copied
 * @fd:		Stays the caller's
 * @e:		Set on failure only
 *
 * Errors: as fcntl(2) F_DUPFD_CLOEXEC, EMFILE above all
 * Return: 0, or a negative errno
 */
int bundle_add_fd(struct bundle *b, const char *name, int fd, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return err_sys(e, "hand over %s", name);
	bundle_append(b, name, copy);
	return 0;
}

/**
 * bundle_take_fd() - Take a descriptor out
 * @b:		The message
 * @name:	Its name
 *
 * Return: owned by the caller; -1 if there is none
 */
int bundle_take_fd(struct bundle *b, const char *name)
{
	for (size_t i = 0; i < b->len; i++)
		if (b->fds[i] >= 0 && strcmp(b->names[i], name) == 0)
			return fd_take(&b->fds[i]);
	return -1;
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/**
 * bundle_equal() - Is it the same message?
 * @a:		A message whose descriptors are all there
 * @b:		Another
 *
 * Return: whether bodies are equal and the same names stand for the same files
 */
bool bundle_equal(const struct bundle *a, const struct bundle *b)
{
	if (a->len != b->len || !json_equal(a->body, b->body))
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (strcmp(a->names[i], b->names[i]) || !same_file(a->fds[i], b->fds[i]))
			return false;
	return true;
}

static int send_failed(int r, struct err *e)
{
	if (r == -EAGAIN)
		return err_set(e, ETIMEDOUT, "the other process didn't read in time");
	return err_ret(e, r, "hand-over socket");
}

static int send_all(int sock, const uint8_t *buf, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = send(sock, buf, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return send_failed(-errno, e);
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_fds(int sock, const struct bundle *b, struct err *e)
{
	for (size_t at = 0; at < b->len; at += FDS_CHUNK) {
		ssize_t n = scm_send(sock, "f", 1, b->fds + at,
				     MIN(b->len - at, (size_t)FDS_CHUNK));

		if (n < 0) {
			send_failed((int)n, e);
			return err_in(e, "hand over descriptors");
		}
	}
	return 0;
}

/**
 * link_send() - Send a message
 * @sock:	Blocking unix stream socket
 * @b:		Stays the caller's
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int link_send(int sock, const struct bundle *b, struct err *e)
{
	json_t *names = json_array(), *message = json_object();
	OWNED(char *) text = NULL;
	uint8_t prefix[4];
	int r;

	for (size_t i = 0; i < b->len; i++)
		json_array_append_new(names, json_string(b->names[i]));
	json_object_set(message, "body", b->body);
	json_object_set_new(message, "fds", names);
	text = json_dumps(message, JSON_COMPACT);
	json_decref(message);
	if (!text)
		return err_set(e, ENOMEM, "hand-over message");
	store_be32(prefix, (uint32_t)strlen(text));
	r = send_all(sock, prefix, sizeof(prefix), e);
	if (r >= 0)
		r = send_all(sock, (uint8_t *)text, strlen(text), e);
	return r < 0 ? r : send_fds(sock, b, e);
}

/**
 * link_send_json() - Send a message without descriptors
 * @sock:	Blocking unix stream socket
 * @stolen_body: A new JSON object; the reference is given away
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int link_send_json(int sock, json_t *stolen_body, struct err *e)
{
	struct bundle b = {.body = stolen_body};
	int r = link_send(sock, &b, e);

	bundle_release(&b);
	return r;
}

static int wait_readable(int sock, int64_t end_ns, struct err *e)
{
	for (;;) {
		struct pollfd p = {.fd = sock, .events = POLLIN};
		int64_t left_ns = end_ns - time_ns();
		int n = left_ns <= 0 ? 0 : poll(&p, 1, (int)(left_ns / NS_PER_MS) + 1);

		if (n > 0)
			return 0;
		if (n == 0)
			return err_set(e, ETIMEDOUT, "the other process didn't answer in time");
		if (errno != EINTR)
			return err_sys(e, "hand-over socket");
	}
}

static int recv_all(int sock, uint8_t *buf, size_t len, int64_t end_ns, struct err *e)
{
	while (len) {
		int r = wait_readable(sock, end_ns, e);
		ssize_t n = r < 0 ? 0 : recv(sock, buf, len, 0);

		if (r < 0)
			return r;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "hand-over socket");
		if (n == 0)
			return err_set(e, ECONNRESET, "the other process is gone");
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int recv_fds(int sock, struct bundle *b, const json_t *names, int64_t end_ns, struct err *e)
{
	size_t want = json_array_size(names);

	while (b->len < want) {
		int fds[FDS_CHUNK], r = wait_readable(sock, end_ns, e);
		size_t due = MIN(want - b->len, (size_t)FDS_CHUNK), got = due;
		char byte;
		ssize_t n = r < 0 ? r : scm_recv(sock, &byte, 1, fds, &got);

		if (r < 0)
			return r;
		if (n <= 0)
			return err_set(e, EPROTO, "descriptors are missing");
		for (size_t i = 0; i < got; i++)
			bundle_append(b, json_string_value(json_array_get(names, b->len)), fds[i]);
		if (got < due)
			return err_set(e, EMFILE,
				       "%zu descriptors came, %zu of them didn't fit: the limit of "
				       "open files (ulimit -n) is too low",
				       want, want - b->len);
	}
	return 0;
}

static bool names_valid(const json_t *names)
{
	size_t i;
	json_t *name;

	if (!json_is_array(names) || json_array_size(names) > FDS_MAX)
		return false;
	json_array_foreach ((json_t *)(uintptr_t)names, i, name)
		if (!json_is_string(name))
			return false;
	return true;
}

static int recv_message(int sock, json_t **ret, int64_t end_ns, struct err *e)
{
	uint8_t prefix[4];
	OWNED(char *) text = NULL;
	int r = recv_all(sock, prefix, sizeof(prefix), end_ns, e);

	if (r < 0)
		return r;
	if (load_be32(prefix) > BODY_MAX)
		return err_set(e, EPROTO, "a message of %u bytes", load_be32(prefix));
	text = mem_zalloc(load_be32(prefix) + 1);
	r = recv_all(sock, (uint8_t *)text, load_be32(prefix), end_ns, e);
	if (r < 0)
		return r;
	*ret = json_loadb(text, load_be32(prefix), 0, NULL);
	if (!*ret || !json_is_object(json_object_get(*ret, "body")) ||
	    !names_valid(json_object_get(*ret, "fds"))) {
		json_decref(*ret);
		return err_set(e, EPROTO, "a message that is none");
	}
	return 0;
}

/**
 * link_recv() - Receive a message
 * @sock:	Unix stream socket
 * @b:		Filled in on success; release with bundle_release()
 * @timeout_ms:	At most this long
 * @e:		Set on failure only
 *
 * Errors: see link.h
 * Return: 0, or a negative errno
 */
int link_recv(int sock, struct bundle *b, int timeout_ms, struct err *e)
{
	int64_t end_ns = time_ns() + timeout_ms * NS_PER_MS;
	json_t *message = NULL;
	int r = recv_message(sock, &message, end_ns, e);

	if (r < 0)
		return r;
	*b = (struct bundle){.body = json_incref(json_object_get(message, "body"))};
	r = recv_fds(sock, b, json_object_get(message, "fds"), end_ns, e);
	if (r < 0)
		bundle_release(b);
	json_decref(message);
	return r;
}
