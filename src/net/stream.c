/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: frames over a stream socket, each behind its length (32 bits, big-endian),
 * as passt and QEMU's "stream" back end speak it. We connect; the peer listens. When it goes away,
 * frames to be sent vanish as on a cable without a peer. A frame half sent stays in the queue and
 * goes first; a peer that announces a frame larger than any can be is disconnected.
 */
#include "net/backend.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PREFIX 4

static const struct net_option options[] = {
	{"addr", "{\"type\":\"unix\",\"path\":P} or {\"type\":\"fd\",\"str\":N}"},
	{"addr.type", "'unix' or 'fd'"},
	{"addr.path", "path of the unix socket"},
	{"addr.str", "inherited descriptor of a connected socket"},
	{"server", "listen instead of connecting (off)"},
	{NULL, NULL},
};

static const char *address(const struct net_backend *b, const char *key)
{
	const char *s =
		json_string_value(json_object_get(json_object_get(b->options, "addr"), key));
	char dotted[16];

	snprintf(dotted, sizeof(dotted), "addr.%s", key);
	return s ? s : net_option(b, dotted, "");
}

static int unix_connect(const char *path, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	OWNED_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, "socket");
	if (!*path || strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, EINVAL, "addr.path: 1 to %zu characters",
			       sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "connect to %s", path);
	return fd_take(&fd);
}

static int stream_open(struct net_backend *b, net_fd_fn *fd_of, void *opaque, struct err *e)
{
	const char *type = address(b, "type");
	int fd;

	if (net_option_bool(b, "server", false))
		return err_set(e, ENOTSUP,
			       "server: not supported; let the peer listen (passt does)");
	if (!b->queues_len) {
		if (strcmp(type, "unix") == 0)
			fd = unix_connect(address(b, "path"), e);
		else if (strcmp(type, "fd") == 0)
			fd = fd_of ? fd_of(opaque, address(b, "str")) : -1;
		else
			return err_set(e, EINVAL, "addr.type: '%s' is neither 'unix' nor 'fd'",
				       type);
		if (fd < 0)
			return strcmp(type, "fd")
				       ? fd
				       : err_set(e, EBADF, "addr.str: there is no such descriptor");
		net_queue_init(b, 0, fd);
	}
	fcntl(b->queues[0].fd, F_SETFL, fcntl(b->queues[0].fd, F_GETFL) | O_NONBLOCK);
	b->queues[0].rx = mem_zalloc(PREFIX + NET_FRAME_MAX);
	b->queues[0].tx = mem_zalloc(PREFIX + NET_FRAME_MAX);
	return 0;
}

static void disconnect(struct net_queue *q, const char *why)
{
	log_warn("netdev %s: %s; the cable is out", q->backend->id, why);
	q->source = sd_event_source_disable_unref(q->source);
	fd_close(&q->fd);
	q->rx_len = q->rx_want = q->tx_len = q->tx_sent = 0;
}

/* Reads towards @want bytes in the frame buffer. 1: they are there; 0: not yet; negative errno:
 * the peer is gone. */
static int fill(struct net_queue *q, size_t want)
{
	while (q->rx_len < want) {
		ssize_t n = recv(q->fd, q->rx + q->rx_len, want - q->rx_len, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0) {
			disconnect(q, n < 0 ? strerror(errno) : "the peer closed the connection");
			return -ENOTCONN;
		}
		q->rx_len += (size_t)n;
	}
	return 1;
}

static ssize_t hand_out(struct net_queue *q, const struct iovec *iov, int iov_len)
{
	size_t len = q->rx_want - PREFIX, at = 0;

	for (int i = 0; i < iov_len && at < len; i++) {
		size_t n = MIN(iov[i].iov_len, len - at);

		memcpy(iov[i].iov_base, q->rx + PREFIX + at, n);
		at += n;
	}
	q->rx_len = q->rx_want = 0;
	return at < len ? -EMSGSIZE : (ssize_t)len;
}

static ssize_t stream_receive(struct net_queue *q, const struct iovec *iov, int iov_len)
{
	int r;

	if (q->fd < 0)
		return -EAGAIN;
	r = fill(q, PREFIX);
	if (r <= 0)
		return -EAGAIN;
	q->rx_want = PREFIX + (size_t)load_be32(q->rx);
	if (q->rx_want > PREFIX + NET_FRAME_MAX) {
		disconnect(q, "the peer sent a frame that is too long");
		return -EAGAIN;
	}
	return fill(q, q->rx_want) > 0 ? hand_out(q, iov, iov_len) : -EAGAIN;
}

/* Sends what is left of the last frame. 0, -EAGAIN, or the peer is gone. */
static int flush(struct net_queue *q)
{
	while (q->tx_sent < q->tx_len) {
		ssize_t n = send(q->fd, q->tx + q->tx_sent, q->tx_len - q->tx_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (n < 0) {
			disconnect(q, strerror(errno));
			return -ENOTCONN;
		}
		q->tx_sent += (size_t)n;
	}
	q->tx_len = q->tx_sent = 0;
	return 0;
}

static int stream_send(struct net_queue *q, const struct iovec *iov, int iov_len)
{
	size_t len = 0;
	int r;

	if (q->fd < 0)
		return 0;
	r = flush(q);
	if (r < 0)
		return r == -EAGAIN ? r : 0;
	for (int i = 0; i < iov_len; i++) {
		if (iov[i].iov_len > NET_FRAME_MAX - len)
			return -EMSGSIZE;
		memcpy(q->tx + PREFIX + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	store_be32(q->tx, (uint32_t)len);
	q->tx_len = PREFIX + len;
	if (flush(q) == -EAGAIN)
		net_queue_want_write(q);
	return 0;
}

static void stream_writable(struct net_queue *q)
{
	if (flush(q) == -EAGAIN)
		net_queue_want_write(q);
}

const struct net_ops net_stream = {
	.kind = "stream",
	.options = options,
	.open = stream_open,
	.receive = stream_receive,
	.send = stream_send,
	.writable = stream_writable,
};
