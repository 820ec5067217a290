/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the list of back ends, their options, and what all kinds share: being
 * attached, watched and told of the link. The kinds are tap.c and stream.c. A queue is touched by
 * one thread at a time: the loop it is watched on, or the main thread while it isn't.
 */
#include "net/backend.h"

#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct net_ops *const kinds[] = {&net_tap, &net_stream};
static struct list backends = LIST_INIT(backends);

struct adopted {
	struct list link;
	char *id;
	size_t len;
	int fds[2 * NET_QUEUES_MAX];
};

static struct list adopted = LIST_INIT(adopted);

/**
 * net_find() - Look a back end up
 * @id:		Of the user
 *
 * Return: borrowed, or NULL
 */
struct net_backend *net_find(const char *id)
{
	struct net_backend *b;

	list_for_each (b, &backends, link)
		if (strcmp(b->id, id) == 0)
			return b;
	return NULL;
}

/**
 * net_option() - An option as text
 * @b:		The back end
 * @name:	Option
 * @def:	If not given
 *
 * Return: borrowed
 */
const char *net_option(const struct net_backend *b, const char *name, const char *def)
{
	const char *s = json_string_value(json_object_get(b->options, name));

	return s ? s : def;
}

/**
 * net_option_bool() - A boolean option, as JSON or as on/off
 * @b:		The back end
 * @name:	Option
 * @def:	If not given
 *
 * Return: its value
 */
bool net_option_bool(const struct net_backend *b, const char *name, bool def)
{
	const json_t *v = json_object_get(b->options, name);
	const char *s = json_string_value(v);

	if (s)
		return strcmp(s, "on") == 0 || strcmp(s, "yes") == 0 || strcmp(s, "true") == 0;
	return v ? json_is_true(v) : def;
}

/**
 * net_queue_init() - Give a queue its descriptor
 * @b:		The back end
 * @index:	Which queue
 * @fd:		Owned from here on; -1: not connected
 */
void net_queue_init(struct net_backend *b, unsigned int index, int fd)
{
	b->queues[index] = (struct net_queue){.backend = b, .fd = fd, .vhost_fd = -1};
	b->queues_len = MAX(b->queues_len, index + 1);
}

static const struct net_ops *kind_find(const char *name, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (name && strcmp(kinds[i]->kind, name) == 0)
			return kinds[i];
	err_set(e, EINVAL, "type: '%s' is no network back end (known: tap, stream)",
		name ? name : "");
	return NULL;
}

static int options_check(const struct net_ops *ops, const json_t *options, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)options, key, v) {
		const struct net_option *o = ops->options;

		if (strcmp(key, "type") == 0 || strcmp(key, "id") == 0)
			continue;
		while (o->name && strcmp(o->name, key))
			o++;
		if (!o->name)
			return err_set(e, EINVAL, "netdev %s has no option '%s'", ops->kind, key);
	}
	return 0;
}

static void backend_free(struct net_backend *b)
{
	for (unsigned int i = 0; i < b->queues_len; i++) {
		net_unwatch(&b->queues[i]);
		fd_close(&b->queues[i].fd);
		fd_close(&b->queues[i].vhost_fd);
		free(b->queues[i].rx);
		free(b->queues[i].tx);
	}
	json_decref(b->options);
	free(b->user);
	free(b->id);
	free(b);
}

/* Descriptors of the same back end in the process before us: queue fds, then vhost fds. */
static void take_adopted(struct net_backend *b)
{
	struct adopted *a, *tmp;

	list_for_each_safe (a, tmp, &adopted, link) {
		size_t queues = 0;

		if (strcmp(a->id, b->id))
			continue;
		while (queues < a->len && a->fds[queues] >= 0)
			queues++;
		b->borrowed = true;
		for (size_t i = 0; i < queues; i++)
			net_queue_init(b, (unsigned int)i, a->fds[i]);
		for (size_t i = queues + 1; i < a->len && i - queues - 1 < queues; i++)
			b->queues[i - queues - 1].vhost_fd = a->fds[i];
		list_del(&a->link);
		free(a->id);
		free(a);
	}
}

/**
 * net_add() - Make a back end
 * @options:	See net.h
 * @fd_of:	Finds named descriptors; NULL: none are
 * @opaque:	Its argument
 * @e:		Set on failure only
 *
 * Errors: see net.h
 * Return: 0, or a negative errno
 */
int net_add(const json_t *options, net_fd_fn *fd_of, void *opaque, struct err *e)
{
	const char *id = json_string_value(json_object_get(options, "id"));
	const struct net_ops *ops = kind_find(json_string_value(json_object_get(options, "type")),
					      e);
	struct net_backend *b;
	int r = ops ? options_check(ops, options, e) : -EINVAL;

	if (r < 0)
		return r;
	if (!id || !*id)
		return err_set(e, EINVAL, "id: missing");
	if (net_find(id))
		return err_set(e, EEXIST, "id: there is a netdev '%s' already", id);
	b = mem_zalloc(sizeof(*b));
	b->id = str_dup(id);
	b->ops = ops;
	b->up = true;
	b->options = json_deep_copy(options);
	take_adopted(b);
	r = ops->open(b, fd_of, opaque, e);
	if (r < 0) {
		backend_free(b);
		return err_in(e, "netdev %s", id);
	}
	list_add_tail(&backends, &b->link);
	return 0;
}

/**
 * net_remove() - Take a back end away
 * @id:		Of the user
 * @e:		Set on failure only
 *
 * Errors: ENOENT; EBUSY a device uses it
 * Return: 0, or a negative errno
 */
int net_remove(const char *id, struct err *e)
{
	struct net_backend *b = net_find(id);

	if (!b)
		return err_set(e, ENOENT, "there is no netdev '%s'", id);
	if (b->user)
		return err_set(e, EBUSY, "netdev '%s' is used by %s", id, b->user);
	list_del(&b->link);
	if (b->ops->close)
		b->ops->close(b);
	backend_free(b);
	return 0;
}

/**
 * net_each() - Visit all back ends
 * @fn:		Called for each
 * @opaque:	Its argument
 */
void net_each(void (*fn)(struct net_backend *b, void *opaque), void *opaque)
{
	struct net_backend *b;

	list_for_each (b, &backends, link)
		fn(b, opaque);
}

/**
 * net_id() - The user's name of a back end
 * @b:		The back end
 *
 * Return: borrowed
 */
const char *net_id(const struct net_backend *b)
{
	return b->id;
}

/**
 * net_options() - What the back end was made from
 * @b:		The back end
 *
 * Return: borrowed
 */
const json_t *net_options(const struct net_backend *b)
{
	return b->options;
}

/**
 * net_queues() - How many queue pairs there are
 * @b:		The back end
 *
 * Return: 1 or more
 */
unsigned int net_queues(const struct net_backend *b)
{
	return b->queues_len;
}

/**
 * net_queue() - One queue pair
 * @b:		The back end
 * @index:	Below net_queues()
 *
 * Return: borrowed
 */
struct net_queue *net_queue(struct net_backend *b, unsigned int index)
{
	return &b->queues[index];
}

/**
 * net_attach() - Use a back end exclusively
 * @b:		The back end
 * @user:	Who, for messages
 * @e:		Set on failure only
 *
 * Errors: EBUSY
 * Return: 0, or a negative errno
 */
int net_attach(struct net_backend *b, const char *user, struct err *e)
{
	if (b->user)
		return err_set(e, EBUSY, "netdev '%s' is used by %s already", b->id, b->user);
	b->user = str_dup(user);
	return 0;
}

/**
 * net_detach() - Undo net_attach()
 * @b:		The back end; its queues are unwatched
 */
void net_detach(struct net_backend *b)
{
	for (unsigned int i = 0; i < b->queues_len; i++)
		net_unwatch(&b->queues[i]);
	b->link_fn = NULL;
	mem_free(&b->user);
}

/**
 * net_has_vnet_header() - Can frames carry a virtio-net header?
 * @b:		The back end
 *
 * Return: whether they can
 */
bool net_has_vnet_header(const struct net_backend *b)
{
	return b->can_vnet;
}

/**
 * net_set_vnet_header() - Choose the header in front of each frame
 * @b:		The back end
 * @len:	10 or 12 bytes, little-endian
 *
 * Return: false if the back end has none
 */
bool net_set_vnet_header(struct net_backend *b, unsigned int len)
{
	if (!b->can_vnet || !b->ops->set_vnet_header)
		return false;
	if (!b->borrowed)
		return b->ops->set_vnet_header(b, len);
	b->wanted.header = b->vnet_header = len;
	return true;
}

/**
 * net_can_offload() - Could the guest accept these in received frames?
 * @b:		The back end
 * @o:		What
 *
 * Return: whether the back end can give them all
 */
bool net_can_offload(const struct net_backend *b, const struct net_offloads *o)
{
	if (!b->ops->can_offload)
		return false;
	if (b->borrowed) /* asking would change it; what all kernels can was asked for before */
		return !o->uso4 && !o->uso6;
	return b->ops->can_offload((struct net_backend *)(uintptr_t)b, o);
}

/**
 * net_set_offloads() - What the guest accepts in received frames
 * @b:		The back end
 * @o:		What
 */
void net_set_offloads(struct net_backend *b, const struct net_offloads *o)
{
	b->wanted.offloads = *o;
	b->wanted.offloads_set = true;
	if (b->ops->set_offloads && !b->borrowed)
		b->ops->set_offloads(b, o);
}

/**
 * net_set_queues() - Use the first queues only
 * @b:		The back end
 * @active:	1 to net_queues()
 */
void net_set_queues(struct net_backend *b, unsigned int active)
{
	b->wanted.active = active;
	if (b->ops->set_queues && !b->borrowed)
		b->ops->set_queues(b, active);
}

/**
 * net_on_link() - Be told of set_link
 * @b:		The back end
 * @fn:		Called on the main thread
 * @opaque:	Its argument
 */
void net_on_link(struct net_backend *b, void (*fn)(void *opaque, bool up), void *opaque)
{
	b->link_fn = fn;
	b->link_opaque = opaque;
}

/**
 * net_link_up() - The link as set
 * @b:		The back end
 *
 * Return: true unless set down
 */
bool net_link_up(const struct net_backend *b)
{
	return b->up;
}

/**
 * net_set_link() - Pull or plug the cable
 * @b:		The back end
 * @up:		Plugged
 */
void net_set_link(struct net_backend *b, bool up)
{
	b->up = up;
	if (b->link_fn)
		b->link_fn(b->link_opaque, up);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct net_queue *q = opaque;

	if (revents & EPOLLOUT && q->want_write) {
		q->want_write = false;
		net_want_read(q, q->want_read);
		if (q->backend->ops->writable)
			q->backend->ops->writable(q);
		if (q->watcher.writable)
			q->watcher.writable(q->watcher.opaque);
	}
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR) && q->want_read && q->watcher.readable)
		q->watcher.readable(q->watcher.opaque);
	return 0;
}

static uint32_t events(const struct net_queue *q)
{
	return (q->want_read ? (uint32_t)EPOLLIN : 0) | (q->want_write ? (uint32_t)EPOLLOUT : 0);
}

/* epoll tells of a hang-up and of errors whether they are asked for or not, again and again: a peer
 * that has gone, a tap's queue that is out of use. Nobody may be listening then. */
static void rearm(struct net_queue *q)
{
	if (!q->source)
		return;
	sd_event_source_set_io_events(q->source, events(q));
	sd_event_source_set_enabled(q->source, events(q) ? SD_EVENT_ON : SD_EVENT_OFF);
}

/**
 * net_queue_want_write() - Announce when the descriptor takes bytes again
 * @q:		The queue, on its loop
 */
void net_queue_want_write(struct net_queue *q)
{
	q->want_write = true;
	rearm(q);
}

/**
 * net_watch() - Have a queue's frames announced on a loop
 * @q:		Not watched elsewhere
 * @loop:	The loop; this is its thread, or it doesn't run yet
 * @w:		Copied
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int net_watch(struct net_queue *q, struct loop *loop, const struct net_watcher *w, struct err *e)
{
	int r;

	q->watcher = *w;
	q->loop = loop;
	q->want_read = true;
	q->want_write = false;
	if (q->fd < 0)
		return 0;
	r = sd_event_add_io(loop_event(loop), &q->source, q->fd, events(q), on_io, q);
	return r < 0 ? err_ret(e, r, "event loop") : 0;
}

/**
 * net_unwatch() - Undo net_watch()
 * @q:		The queue, on its loop or while that stands still
 */
void net_unwatch(struct net_queue *q)
{
	q->source = sd_event_source_disable_unref(q->source);
	q->loop = NULL;
}

/**
 * net_want_read() - Announce frames, or not
 * @q:		The queue, on its loop
 * @on:		Off while the guest has no buffers
 */
void net_want_read(struct net_queue *q, bool on)
{
	q->want_read = on;
	rearm(q);
}

/**
 * net_receive() - Take one frame
 * @q:		The queue, on its loop
 * @iov:	Filled in
 * @iov_len:	How many
 *
 * Errors: EAGAIN none waits; EMSGSIZE it was larger and is dropped; else of the descriptor, and
 * nothing is announced until the guest asks again: it would be the same error without end
 * Return: bytes of the whole frame, or a negative errno
 */
ssize_t net_receive(struct net_queue *q, const struct iovec *iov, int iov_len)
{
	static struct log_limit limit;
	ssize_t n = q->backend->ops->receive(q, iov, iov_len);

	if (n >= 0 || n == -EAGAIN || n == -EINTR || n == -EMSGSIZE)
		return n;
	log_guest(&limit, "netdev %s: receive: %s", q->backend->id, strerror((int)-n));
	net_want_read(q, false);
	return n;
}

/**
 * net_send() - Give one frame
 * @q:		The queue, on its loop
 * @iov:	The frame
 * @iov_len:	How many pieces
 *
 * Errors: EAGAIN the watcher's writable is called later; anything else: the frame is gone
 * Return: 0, or a negative errno
 */
int net_send(struct net_queue *q, const struct iovec *iov, int iov_len)
{
	int r = q->backend->up ? q->backend->ops->send(q, iov, iov_len) : 0;

	if (r == -EAGAIN)
		net_queue_want_write(q);
	return r;
}

/**
 * net_tap_fd() - The tap queue's descriptor, for vhost
 * @q:		The queue
 *
 * Return: borrowed, -1 if it is no tap
 */
int net_tap_fd(const struct net_queue *q)
{
	return q->backend->ops == &net_tap ? q->fd : -1;
}

/**
 * net_vhost_fd() - The vhost-net descriptor given for this queue
 * @q:		The queue
 *
 * Return: borrowed, -1 if none
 */
int net_vhost_fd(const struct net_queue *q)
{
	return q->vhost_fd;
}

/**
 * net_fds() - All descriptors, for a live hand-over
 * @b:		The back end
 * @fds:	Filled in: queue fds, -1, vhost fds in the same order (none if there are none)
 * @room:	Places in @fds
 *
 * Return: how many places were used
 */
size_t net_fds(const struct net_backend *b, int *fds, size_t room)
{
	size_t n = 0;

	for (unsigned int i = 0; i < b->queues_len && n < room; i++)
		if (b->queues[i].fd >= 0)
			fds[n++] = b->queues[i].fd;
	if (b->queues_len && b->queues[0].vhost_fd >= 0 && n < room)
		fds[n++] = -1;
	for (unsigned int i = 0; i < b->queues_len && n < room; i++)
		if (b->queues[i].vhost_fd >= 0)
			fds[n++] = b->queues[i].vhost_fd;
	return n;
}

/**
 * net_adopt_fds() - Descriptors for the next net_add() with this id
 * @id:		Of the back end
 * @fds:	As net_fds() gave them; owned from here on
 * @len:	How many
 */
void net_adopt_fds(const char *id, const int *fds, size_t len)
{
	struct adopted *a = mem_zalloc(sizeof(*a));

	a->id = str_dup(id);
	a->len = MIN(len, ARRAY_SIZE(a->fds));
	memcpy(a->fds, fds, a->len * sizeof(*fds));
	list_add_tail(&adopted, &a->link);
}

static void take(struct net_backend *b)
{
	b->borrowed = false;
	if (b->wanted.header)
		net_set_vnet_header(b, b->wanted.header);
	if (b->wanted.active)
		net_set_queues(b, b->wanted.active);
	if (b->wanted.offloads_set && b->ops->set_offloads)
		b->ops->set_offloads(b, &b->wanted.offloads);
}

/**
 * net_take_all() - The process before us has let go of what it handed over
 *
 * Settings that the devices chose meanwhile take effect.
 */
void net_take_all(void)
{
	struct net_backend *b;

	list_for_each (b, &backends, link)
		if (b->borrowed)
			take(b);
}
