/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a stream socket, server or client. A server serves one client at a time:
 *while one is connected the listening socket isn't watched (the next one waits in the kernel's
 *queue), and it is watched again when the client went. A client that lost its server tries again
 *after reconnect= seconds. Descriptors that come with the bytes of a unix socket go to the front
 *end.
 *
 *	server: LISTENING -> CONNECTED -> LISTENING ...
 *	client: CONNECTING -> CONNECTED -> (timer) -> CONNECTING ..., or gone for good without
 *reconnect=
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "char/address.h"
#include "char/backend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CONNECT_MS (10 * 1000)

struct socket {
	struct char_backend c;
	struct char_stream stream;
	int listen_fd, fd;
	sd_event_source *listen_source;  /* a client waits */
	sd_event_source *connect_source; /* the connection is there, or failed */
	sd_event_source *timer;          /* next attempt */
	uint64_t reconnect_us;           /* 0: never */
	bool server;
	char *name; /* of the listening or asked-for end */
};

static const struct option socket_options[] = {
	{"path", OPTION_STRING, "unix socket"},
	{"abstract", OPTION_BOOL, "path is a name in the abstract namespace"},
	{"host", OPTION_STRING, "TCP host; empty: all addresses"},
	{"port", OPTION_STRING, "TCP port or service"},
	{"ipv4", OPTION_BOOL, "IPv4 only"},
	{"ipv6", OPTION_BOOL, "IPv6 only"},
	{"fd", OPTION_STRING, "a socket that is open already: number, or name from getfd"},
	{"server", OPTION_BOOL, "listen (default off: connect)"},
	{"wait", OPTION_BOOL, "wait for the first client before going on (servers; default on)"},
	{"nodelay", OPTION_BOOL, "send small packets at once (default on)"},
	{"reconnect", OPTION_INT, "clients: seconds until the next attempt; 0: none", .max = 86400},
	{"reconnect-ms", OPTION_INT, "the same in ms", .max = 86400000},
	OPTIONS_END,
};

static void filename_update(struct socket *s)
{
	const char *mode = s->server ? ",server=on" : "";
	OWNED(char *)
	peer = s->fd >= 0 && !address_is_unix(s->fd) ? address_name(s->fd, true) : NULL;

	if (!s->c.connected)
		back_set_filename(&s->c, "disconnected:%s%s", s->name, mode);
	else if (peer)
		back_set_filename(&s->c, "%s%s <-> %s", s->name, mode, peer + 4);
	else
		back_set_filename(&s->c, "%s%s", s->name, mode);
}

static void socket_gone(struct char_backend *c);

/* The client won't say more, so another may come. */
static void socket_left(struct char_backend *c)
{
	struct socket *s = (struct socket *)c;

	if (s->listen_source)
		sd_event_source_set_enabled(s->listen_source, SD_EVENT_ON);
}

static int connected(struct socket *s, int fd, struct err *e)
{
	int r;

	s->fd = fd;
	s->stream = (struct char_stream){.c = &s->c,
					 .in_fd = fd,
					 .out_fd = fd,
					 .scm = true,
					 .gone = socket_gone,
					 .left = socket_left};
	r = stream_open(&s->stream, e);
	if (r < 0) {
		fd_close(&s->fd);
		return r;
	}
	if (s->listen_source)
		sd_event_source_set_enabled(s->listen_source, SD_EVENT_OFF);
	back_connected(&s->c, true);
	filename_update(s);
	return 0;
}

static int on_client(sd_event_source *source, int listen_fd, uint32_t revents, void *opaque)
{
	struct socket *s = opaque;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e;

	if (fd >= 0 && s->fd >= 0)
		socket_gone(&s->c);
	if (fd >= 0 && connected(s, fd, &e) < 0)
		log_warn("%s", e.msg);
	return 0;
}

static void retry_later(struct socket *s)
{
	if (!s->reconnect_us)
		return;
	sd_event_source_set_time_relative(s->timer, s->reconnect_us);
	sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static void socket_gone(struct char_backend *c)
{
	struct socket *s = (struct socket *)c;

	stream_close(&s->stream);
	fd_close(&s->fd);
	back_connected(c, false);
	filename_update(s);
	if (s->listen_source)
		sd_event_source_set_enabled(s->listen_source, SD_EVENT_ON);
	else
		retry_later(s);
}

static int on_connect(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct socket *s = opaque;
	struct err e;
	int r = address_connected(fd, &e);

	s->connect_source = sd_event_source_disable_unref(s->connect_source);
	if (r == 0)
		r = connected(s, fd, &e);
	else
		fd_close(&s->fd);
	if (r < 0) {
		log_debug("chardev %s: %s", s->c.id, e.msg);
		retry_later(s);
	}
	return 0;
}

static int connect_begin(struct socket *s, struct err *e)
{
	int r = address_connect(s->c.options, &s->fd, e);

	if (r < 0)
		return r;
	r = sd_event_add_io(loop_event(s->c.loop), &s->connect_source, s->fd, EPOLLOUT, on_connect,
			    s);
	return r < 0 ? err_ret(e, r, "chardev %s", s->c.id) : 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *opaque)
{
	struct socket *s = opaque;
	struct err e;

	if (connect_begin(s, &e) < 0) {
		log_debug("chardev %s: %s", s->c.id, e.msg);
		retry_later(s);
	}
	return 0;
}

/* Without reconnect= the first attempt must succeed, so it is waited for. */
static int connect_now(struct socket *s, struct err *e)
{
	OWNED_FD fd = -1;
	struct pollfd poll_fd;
	int r = address_connect(s->c.options, &fd, e);

	if (r < 0)
		return r;
	poll_fd = (struct pollfd){.fd = fd, .events = POLLOUT};
	if (poll(&poll_fd, 1, CONNECT_MS) == 0)
		return err_set(e, ETIMEDOUT, "connect to %s: no answer in %d s", s->name,
			       CONNECT_MS / 1000);
	r = address_connected(fd, e);
	return r < 0 ? r : connected(s, fd_take(&fd), e);
}

/* Of a client that tries again: due at once. */
static int timer_open(struct socket *s, struct err *e)
{
	int r = sd_event_add_time_relative(loop_event(s->c.loop), &s->timer, CLOCK_MONOTONIC, 0, 0,
					   on_timer, s);

	return r < 0 ? err_ret(e, r, "timer") : 0;
}

static int client_open(struct socket *s, struct err *e)
{
	return s->reconnect_us ? timer_open(s, e) : connect_now(s, e);
}

/* A connection of another process: the timer is for when it is lost. */
static int client_adopt(struct socket *s, int fd, struct err *e)
{
	int r = s->server || !s->reconnect_us ? 0 : timer_open(s, e);

	if (s->timer)
		sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	return r < 0 ? r : connected(s, fd, e);
}

static int listen_watch(struct socket *s, struct err *e)
{
	int r = sd_event_add_io(loop_event(s->c.loop), &s->listen_source, s->listen_fd, EPOLLIN,
				on_client, s);

	return r < 0 ? err_ret(e, r, "chardev %s", s->c.id) : 0;
}

static int wait_client(struct socket *s, struct err *e)
{
	struct pollfd poll_fd = {.fd = s->listen_fd, .events = POLLIN};

	log_info("waiting for connection on: %s", s->c.filename);
	while (!s->c.connected) {
		if (poll(&poll_fd, 1, -1) < 0 && errno != EINTR)
			return err_sys(e, "wait for a client");
		on_client(NULL, s->listen_fd, EPOLLIN, s);
	}
	return 0;
}

static int server_open(struct socket *s, const json_t *options, struct err *e)
{
	int r = address_listen(options, &s->listen_fd, e);

	if (r < 0)
		return r;
	free(s->name);
	s->name = address_name(s->listen_fd, false);
	filename_update(s);
	r = listen_watch(s, e);
	if (r == 0 && option_bool(options, "wait", true))
		r = wait_client(s, e);
	return r;
}

static int prepare(struct socket *s, const json_t *options, struct err *e)
{
	int64_t seconds = option_int(options, "reconnect", 0);
	int64_t ms = option_int(options, "reconnect-ms", seconds * 1000);

	s->listen_fd = s->fd = -1;
	s->server = option_bool(options, "server", false);
	s->reconnect_us = (uint64_t)ms * 1000;
	s->name = address_text(options);
	if (s->server && ms)
		return err_set(e, EINVAL, "reconnect= is for clients, this is a server");
	if (!s->server && json_object_get(options, "wait"))
		return err_set(e, EINVAL,
			       "wait= is for servers, this is a client (server=on is missing)");
	return address_check(options, e);
}

static int socket_open(struct char_backend *c, const json_t *options, struct err *e)
{
	struct socket *s = (struct socket *)c;
	int r = prepare(s, options, e);

	if (r < 0)
		return r;
	filename_update(s);
	return s->server ? server_open(s, options, e) : client_open(s, e);
}

/* State: "listening" and "connected" say which descriptors come, in this order. */
static int socket_adopt(struct char_backend *c, const json_t *state, const int *fds, size_t fds_len,
			struct err *e)
{
	struct socket *s = (struct socket *)c;
	size_t n = 0;
	int client = -1;
	int r = prepare(s, c->options, e);

	if (option_bool(state, "listening", false) && n < fds_len)
		s->listen_fd = fds[n++];
	if (option_bool(state, "connected", false) && n < fds_len)
		client = fds[n++];
	if (s->listen_fd >= 0) {
		free(s->name);
		s->name = address_name(s->listen_fd, false);
	}
	if (r == 0 && s->listen_fd >= 0)
		r = listen_watch(s, e);
	if (r == 0 && client >= 0)
		r = client_adopt(s, client, e);
	else if (r == 0 && !s->server)
		r = client_open(s, e);
	filename_update(s);
	return r;
}

static void socket_close(struct char_backend *c)
{
	struct socket *s = (struct socket *)c;

	stream_close(&s->stream);
	s->listen_source = sd_event_source_disable_unref(s->listen_source);
	s->connect_source = sd_event_source_disable_unref(s->connect_source);
	s->timer = sd_event_source_disable_unref(s->timer);
	if (s->listen_fd >= 0 && !c->released && json_object_get(c->options, "path") &&
	    !option_bool(c->options, "abstract", false))
		unlink(option_str(c->options, "path", ""));
	fd_close(&s->listen_fd);
	fd_close(&s->fd);
	free(s->name);
}

static ssize_t socket_write(struct char_backend *c, const uint8_t *buf, size_t len)
{
	return stream_write(&((struct socket *)c)->stream, buf, len);
}

static void socket_wait_writable(struct char_backend *c, bool on)
{
	stream_wait_writable(&((struct socket *)c)->stream, on);
}

static void socket_resume(struct char_backend *c)
{
	struct socket *s = (struct socket *)c;

	if (s->fd >= 0 && c->connected)
		stream_resume(&s->stream);
}

/* Who connects is told which process listens (SO_PEERCRED): the last one that has asked to. A
 * socket that came as a descriptor stays its maker's. */
static void socket_owned(struct char_backend *c)
{
	struct socket *s = (struct socket *)c;

	if (s->listen_fd >= 0 && !json_object_get(c->options, "fd") &&
	    listen(s->listen_fd, ADDRESS_BACKLOG) < 0)
		log_warn("chardev %s: listen: %s", c->id, strerror(errno));
}

static int socket_handover(struct char_backend *c, struct char_handover *ret, struct err *e)
{
	struct socket *s = (struct socket *)c;

	json_object_set_new(ret->state, "listening", json_boolean(s->listen_fd >= 0));
	json_object_set_new(ret->state, "connected", json_boolean(c->connected));
	if (s->listen_fd >= 0)
		ret->fds[ret->fds_len++] = s->listen_fd;
	if (c->connected)
		ret->fds[ret->fds_len++] = s->fd;
	return 0;
}

const struct char_kind char_socket = {
	.name = "socket",
	.help = "a unix or TCP socket, server or client",
	.options = socket_options,
	.size = sizeof(struct socket),
	.open = socket_open,
	.adopt = socket_adopt,
	.close = socket_close,
	.write = socket_write,
	.wait_writable = socket_wait_writable,
	.resume = socket_resume,
	.handover = socket_handover,
	.owned = socket_owned,
};
