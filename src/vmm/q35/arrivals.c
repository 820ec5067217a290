/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see arrivals.h. */
#include "vmm/q35/arrivals.h"

#include "base/bytes.h"
#include "base/owned.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { CHANNELS_MAX = 255, MULTIFD_MAGIC = 0x11223344 };

enum arrival_kind { ARRIVAL_UNKNOWN, ARRIVAL_STREAM, ARRIVAL_CHANNEL, ARRIVAL_GONE };

/**
 * struct arrival - A connection that hasn't been told apart yet
 * @owner:	Whose
 * @fd:		Owned; -1: unused
 * @source:	Waits for its first bytes
 */
struct arrival {
	struct arrivals *owner;
	int fd;
	sd_event_source *source;
};

/**
 * struct arrivals - Connections of a source
 * @loop:	Main loop
 * @listen_fd:	Owned; -1 once all are there
 * @listener:	Waits for connections
 * @expected:	Channels that will come; 0: not known
 * @stream:	The stream, or -1. Owned until @done
 * @ended:	The stream has nothing: what there is is all there will be
 * @channels, @len: The channels. Owned until @done
 * @waiting:	Those that haven't said anything
 * @done, @opaque: See arrivals_fn
 */
struct arrivals {
	struct loop *loop;
	int listen_fd;
	sd_event_source *listener;
	unsigned int expected;
	int stream;
	bool ended;
	int channels[CHANNELS_MAX];
	unsigned int len;
	struct arrival waiting[CHANNELS_MAX + 1];
	arrivals_fn *done;
	void *opaque;
};

/* What is this connection, as far as one can tell without waiting? */
static enum arrival_kind kind_of(int fd)
{
	uint8_t bytes[4];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return ARRIVAL_UNKNOWN;
	if (n <= 0)
		return ARRIVAL_GONE;
	if (n < (ssize_t)sizeof(bytes))
		return ARRIVAL_UNKNOWN;
	return load_be32(bytes) == MULTIFD_MAGIC ? ARRIVAL_CHANNEL : ARRIVAL_STREAM;
}

static bool complete(const struct arrivals *a)
{
	return a->stream >= 0 && (a->ended || a->len >= a->expected);
}

static void leave(struct arrival *one)
{
	one->source = sd_event_source_disable_unref(one->source);
	one->fd = -1;
}

/* False: it isn't known yet what it is. */
static bool sort(struct arrivals *a, struct arrival *one)
{
	enum arrival_kind kind = kind_of(one->fd);

	if (kind == ARRIVAL_UNKNOWN)
		return false;
	if (kind == ARRIVAL_CHANNEL && a->len < CHANNELS_MAX) {
		a->channels[a->len++] = one->fd;
	} else if (kind != ARRIVAL_CHANNEL && a->stream < 0) {
		a->stream = one->fd; /* one that has gone, too: reading it says so */
		a->ended = kind == ARRIVAL_GONE;
	} else {
		close(one->fd);
	}
	leave(one);
	return true;
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *opaque);
static int on_bytes(sd_event_source *source, int fd, uint32_t events, void *opaque);

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* A connection that can't be waited for is closed: the source notices. */
static void wait_for_bytes(struct arrivals *a, struct arrival *one)
{
	int r = sd_event_add_io(loop_event(a->loop), &one->source, one->fd, EPOLLIN, on_bytes, one);

	if (r < 0)
		close(fd_take(&one->fd));
}

static void accept_one(struct arrivals *a)
{
	int fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct arrival *one = a->waiting;

	if (fd < 0)
		return; /* it has gone already */
	while (one < a->waiting + CHANNELS_MAX && one->fd >= 0)
		one++;
	if (one->fd >= 0) {
		close(fd);
		return;
	}
	one->fd = fd;
	if (!sort(a, one))
		wait_for_bytes(a, one);
}

static void close_waiting(struct arrivals *a)
{
	unsigned int i;

	for (i = 0; i <= CHANNELS_MAX; i++) {
		int fd = a->waiting[i].fd;

		leave(&a->waiting[i]);
		fd_close(&fd);
	}
}

static void close_listener(struct arrivals *a)
{
	a->listener = sd_event_source_disable_unref(a->listener);
	fd_close(&a->listen_fd);
}

static void look(struct arrivals *a)
{
	unsigned int n;

	if (!complete(a))
		return;
	while (!a->expected && readable(a->listen_fd))
		accept_one(a);
	close_waiting(a);
	close_listener(a);
	n = a->len;
	a->len = 0;
	a->done(a->opaque, fd_take(&a->stream), a->channels, n); /* the end of @a, perhaps */
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *opaque)
{
	struct arrivals *a = opaque;

	accept_one(a);
	look(a);
	return 0;
}

static int on_bytes(sd_event_source *source, int fd, uint32_t events, void *opaque)
{
	struct arrival *one = opaque;
	struct arrivals *a = one->owner;

	if (sort(a, one))
		look(a);
	return 0;
}

/**
 * arrivals_create() - Wait for a source
 * @ret:	Set on success only; arrivals_destroy() it
 * @loop:	Main loop
 * @listen_fd:	Listening socket; owned from now on, also after a failure
 * @channels:	How many come beside the stream; 0: whatever is there when the stream begins
 * @done:	Called when they are there
 * @opaque:	For @done
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of sd_event_add_io(3)
 */
int arrivals_create(struct arrivals **ret, struct loop *loop, int listen_fd, unsigned int channels,
		    arrivals_fn *done, void *opaque, struct err *e)
{
	struct arrivals *a = mem_zalloc(sizeof(*a));
	unsigned int i;
	int r;

	*a = (struct arrivals){.loop = loop,
			       .listen_fd = listen_fd,
			       .expected = channels,
			       .stream = -1,
			       .done = done,
			       .opaque = opaque};
	for (i = 0; i <= CHANNELS_MAX; i++)
		a->waiting[i] = (struct arrival){.owner = a, .fd = -1};
	r = listen(listen_fd, CHANNELS_MAX + 1) < 0 ? -errno : 0; /* all may come at once */
	if (r >= 0)
		r = sd_event_add_io(loop_event(loop), &a->listener, listen_fd, EPOLLIN, on_listener,
				    a);
	if (r < 0) {
		arrivals_destroy(a);
		return err_ret(e, r, "wait for a source");
	}
	*ret = a;
	return 0;
}

/**
 * arrivals_destroy() - Stop waiting, close what has come
 * @a:	May be NULL
 */
void arrivals_destroy(struct arrivals *a)
{
	if (!a)
		return;
	close_waiting(a);
	close_listener(a);
	fd_close(&a->stream);
	while (a->len)
		close(a->channels[--a->len]);
	free(a);
}
