/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see arrivals.h. */
#include "vmm/q35/migration/arrivals.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/owned.h"
#include "migrate/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { CHANNELS_MAX = 255, MULTIFD_MAGIC = 0x11223344, HANDSHAKE_SECONDS = 30 };

enum arrival_kind {
	ARRIVAL_UNKNOWN,
	ARRIVAL_STREAM,
	ARRIVAL_CHANNEL,
	ARRIVAL_STRANGER, /* no source: it has gone, speaks otherwise, or TLS refuses it */
};

/**
 * struct arrival - A connection that hasn't been told apart yet
 * @owner:	Whose
 * @channel:	Owned; NULL: unused
 * @fd:		The channel's
 * @number:	Counts them in the order in which they came
 * @source:	Waits for its first bytes, or for the next step of its handshake
 * @late:	Ends the wait for the handshake; NULL: it is done, or there is none
 * @ready:	It is done
 */
struct arrival {
	struct arrivals *owner;
	struct channel *channel;
	int fd;
	uint64_t number;
	sd_event_source *source, *late;
	bool ready;
};

/**
 * struct arrivals - Connections of a source
 * @loop:	Main loop
 * @rules:	What was asked for
 * @listen_fd:	Owned; -1 once all are there
 * @listener:	Waits for connections
 * @stream:	The stream, or NULL. Owned until all are there
 * @channels, @len: The channels. Owned until all are there
 * @came:	Connections so far
 * @strangers:	What is said of them
 * @waiting:	Those that haven't said anything
 */
struct arrivals {
	struct loop *loop;
	struct arrivals_rules rules;
	int listen_fd;
	sd_event_source *listener;
	struct channel *stream;
	struct channel *channels[CHANNELS_MAX];
	unsigned int len;
	uint64_t came;
	struct log_limit strangers;
	struct arrival waiting[CHANNELS_MAX + 1];
};

static enum arrival_kind gone(struct arrivals *a)
{
	log_guest(&a->strangers,
		  "incoming migration: a connection ended before it was a migration; "
		  "the source is still waited for");
	return ARRIVAL_STRANGER;
}

static enum arrival_kind kind_by_magic(struct arrivals *a, const uint8_t bytes[4])
{
	uint32_t magic = load_be32(bytes);

	if (magic == MULTIFD_MAGIC || magic == WIRE_MAGIC)
		return magic == WIRE_MAGIC ? ARRIVAL_STREAM : ARRIVAL_CHANNEL;
	if (magic >> 16 == WIRE_TLS_HANDSHAKE)
		log_guest(&a->strangers, "incoming migration: the source speaks TLS: set tls-creds "
					 "here, or empty it there");
	else
		log_guest(&a->strangers,
			  "incoming migration: a connection that begins with 0x%08x is no "
			  "migration and is closed; the source is still waited for",
			  magic);
	return ARRIVAL_STRANGER;
}

/* What is this connection, as far as one can tell without waiting? */
static enum arrival_kind kind_of_plain(const struct arrival *one)
{
	uint8_t bytes[4];
	ssize_t n = recv(one->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return ARRIVAL_UNKNOWN;
	if (n <= 0)
		return gone(one->owner);
	return n < (ssize_t)sizeof(bytes) ? ARRIVAL_UNKNOWN : kind_by_magic(one->owner, bytes);
}

static enum arrival_kind kind_of_tls(struct arrival *one)
{
	uint8_t bytes[4];
	short events = POLLIN;
	struct err e;
	int r = one->ready ? 0 : channel_handshake_step(one->channel, &events, &e);

	if (r == -EAGAIN) {
		sd_event_source_set_io_events(one->source, (uint32_t)events);
		return ARRIVAL_UNKNOWN;
	}
	if (r < 0) {
		log_warn("incoming migration: %s", e.msg);
		return ARRIVAL_STRANGER;
	}
	one->ready = true;
	one->late = sd_event_source_disable_unref(one->late);
	sd_event_source_set_io_events(one->source, EPOLLIN);
	r = channel_tls_look(one->channel, bytes);
	return r == -EAGAIN ? ARRIVAL_UNKNOWN
	       : r < 0      ? gone(one->owner)
			    : kind_by_magic(one->owner, bytes);
}

static bool complete(const struct arrivals *a)
{
	return a->stream && a->len >= a->rules.channels;
}

static struct channel *leave(struct arrival *one)
{
	struct channel *c = one->channel;

	one->source = sd_event_source_disable_unref(one->source);
	one->late = sd_event_source_disable_unref(one->late);
	one->channel = NULL;
	one->ready = false;
	return c;
}

/* False: it isn't known yet what it is. */
static bool sort(struct arrivals *a, struct arrival *one)
{
	enum arrival_kind kind = a->rules.tls ? kind_of_tls(one) : kind_of_plain(one);
	struct channel *c;

	if (kind == ARRIVAL_UNKNOWN)
		return false;
	c = leave(one);
	if (kind == ARRIVAL_CHANNEL && a->len < CHANNELS_MAX)
		a->channels[a->len++] = c;
	else if (kind == ARRIVAL_STREAM && !a->stream)
		a->stream = c;
	else
		channel_destroy(c);
	return true;
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *opaque);
static int on_bytes(sd_event_source *source, int fd, uint32_t events, void *opaque);

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static int on_late(sd_event_source *source, uint64_t usec, void *opaque)
{
	log_warn("incoming migration: TLS: a connection without a handshake within %d s is closed; "
		 "does the source have its tls-creds?",
		 HANDSHAKE_SECONDS);
	channel_destroy(leave(opaque));
	return 0;
}

/* A connection that can't be waited for is closed: the source notices. */
static int wait_for_bytes(struct arrivals *a, struct arrival *one)
{
	sd_event *loop = loop_event(a->loop);
	int r = sd_event_add_io(loop, &one->source, one->fd, EPOLLIN, on_bytes, one);

	if (r >= 0 && a->rules.tls)
		r = sd_event_add_time_relative(loop, &one->late, CLOCK_MONOTONIC,
					       HANDSHAKE_SECONDS * 1000000ULL, 0, on_late, one);
	return r;
}

/* Where all places are taken by those that say nothing, the one that came first goes. */
static struct arrival *find_place(struct arrivals *a)
{
	struct arrival *oldest = &a->waiting[0];

	for (unsigned int i = 0; i <= CHANNELS_MAX; i++) {
		if (!a->waiting[i].channel)
			return &a->waiting[i];
		if (a->waiting[i].number < oldest->number)
			oldest = &a->waiting[i];
	}
	log_guest(&a->strangers,
		  "incoming migration: %d connections say nothing; the oldest is "
		  "closed",
		  CHANNELS_MAX + 1);
	channel_destroy(leave(oldest));
	return oldest;
}

static void accept_one(struct arrivals *a)
{
	int fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC), r;
	struct arrival *one;
	struct err e;

	if (fd < 0)
		return; /* it has gone already */
	one = find_place(a);
	r = a->rules.tls ? channel_open_tls(&one->channel, fd, a->rules.tls, NULL, &e)
			 : channel_open_fd(&one->channel, fd, &e);
	if (r < 0) {
		close(fd);
		return;
	}
	one->fd = fd;
	one->number = a->came++;
	if (wait_for_bytes(a, one) < 0)
		channel_destroy(leave(one));
	else
		sort(a, one);
}

static void close_waiting(struct arrivals *a)
{
	for (unsigned int i = 0; i <= CHANNELS_MAX; i++)
		channel_destroy(leave(&a->waiting[i]));
}

static void close_listener(struct arrivals *a)
{
	a->listener = sd_event_source_disable_unref(a->listener);
	fd_close(&a->listen_fd);
}

/* What has come and hasn't been looked at: a source of ours has sent it before its stream. */
static void sort_rest(struct arrivals *a)
{
	while (readable(a->listen_fd))
		accept_one(a);
	for (unsigned int i = 0; i <= CHANNELS_MAX; i++)
		if (a->waiting[i].channel)
			sort(a, &a->waiting[i]);
}

static void look(struct arrivals *a)
{
	struct channel *stream;
	unsigned int n;

	if (!complete(a))
		return;
	if (!a->rules.channels)
		sort_rest(a);
	close_waiting(a);
	close_listener(a);
	stream = a->stream;
	n = a->len;
	a->stream = NULL;
	a->len = 0;
	a->rules.done(a->rules.opaque, stream, a->channels, n); /* the end of @a, perhaps */
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
 * @rules:	Whom to wait for; copied
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of sd_event_add_io(3)
 */
int arrivals_create(struct arrivals **ret, struct loop *loop, int listen_fd,
		    const struct arrivals_rules *rules, struct err *e)
{
	struct arrivals *a = mem_zalloc(sizeof(*a));
	unsigned int i;
	int r;

	*a = (struct arrivals){.loop = loop, .listen_fd = listen_fd, .rules = *rules};
	for (i = 0; i <= CHANNELS_MAX; i++)
		a->waiting[i].owner = a;
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
	channel_destroy(a->stream);
	while (a->len)
		channel_destroy(a->channels[--a->len]);
	free(a);
}
