/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what every back end does around its kind's ops. Writers (vCPUs too) append
 * to the output buffer under the back end's lock and ring an eventfd; the main loop then writes as
 * much as the kind takes. If some is left it waits until the kind is writable. Whoever was refused
 * is told once half of the buffer is free again. The log file is written on the main loop as well,
 * from a buffer of its own. Input goes straight to the front end, never more than it said it can
 * take.
 */
#include "char/backend.h"

#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/**
 * back_guest_paced() - Is it up to the guest when input is taken?
 * @c:		The back end
 *
 * Return: whether; true if nothing is attached
 */
bool back_guest_paced(const struct char_backend *c)
{
	return !c->user || c->front.guest_paced;
}

/**
 * back_can_receive() - How much input the front end takes now
 * @c:		The back end
 *
 * Return: bytes; 0: stop reading until @kind->resume is called
 */
size_t back_can_receive(struct char_backend *c)
{
	return c->user && c->front.can_receive ? c->front.can_receive(c->front.opaque) : 0;
}

/**
 * back_receive() - Input arrived
 * @c:		The back end
 * @buf:	Bytes
 * @len:	At most what back_can_receive() said
 */
void back_receive(struct char_backend *c, const uint8_t *buf, size_t len)
{
	if (c->user && c->front.receive)
		c->front.receive(c->front.opaque, buf, len);
}

/**
 * back_receive_fds() - Descriptors arrived with the bytes that follow
 * @c:		The back end
 * @fds:	Owned by the front end afterwards; closed here if it wants none
 * @len:	How many
 */
void back_receive_fds(struct char_backend *c, const int *fds, size_t len)
{
	if (c->user && c->front.fds) {
		c->front.fds(c->front.opaque, fds, len);
		return;
	}
	for (size_t i = 0; i < len; i++)
		close(fds[i]);
}

static void tell(struct char_backend *c, enum char_event event)
{
	if (c->user && c->front.event)
		c->front.event(c->front.opaque, event);
}

/**
 * back_connected() - Somebody came or went
 * @c:		The back end
 * @on:		Came; what waited for a reader that went is dropped
 */
void back_connected(struct char_backend *c, bool on)
{
	bool full;

	if (c->connected == on)
		return;
	pthread_mutex_lock(&c->lock);
	c->connected = on;
	if (!on)
		buffer_drop(&c->out, c->out.len);
	full = c->full;
	c->full = false;
	pthread_mutex_unlock(&c->lock);
	if (!on && c->waiting)
		c->kind->wait_writable(c, c->waiting = false);
	tell(c, on ? CHAR_OPENED : CHAR_CLOSED);
	if (full && c->user && c->front.writable)
		c->front.writable(c->front.opaque);
}

/**
 * back_break() - A break condition was sent to us
 * @c:		The back end
 */
void back_break(struct char_backend *c)
{
	tell(c, CHAR_BREAK);
}

/**
 * back_set_filename() - Change what query-chardev shows
 * @c:		The back end
 * @fmt:	In QEMU's form
 */
void back_set_filename(struct char_backend *c, const char *fmt, ...)
{
	va_list ap;

	free(c->filename);
	va_start(ap, fmt);
	if (vasprintf(&c->filename, fmt, ap) < 0)
		c->filename = NULL;
	va_end(ap);
}

/**
 * back_log_flush() - Write what waits for the log file
 * @c:		A back end that has one; main loop
 */
void back_log_flush(struct char_backend *c)
{
	struct char_buffer taken;
	size_t done = 0;

	pthread_mutex_lock(&c->lock);
	taken = c->log;
	c->log = (struct char_buffer){0};
	pthread_mutex_unlock(&c->lock);
	while (done < taken.len) {
		ssize_t n = write(c->log_fd, taken.data + done, taken.len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_warn("chardev %s: log file: %m; logging ends", c->id);
			fd_close(&c->log_fd);
			break;
		}
		done += (size_t)n;
	}
	free(taken.data);
}

/* Writes out a piece; true while there is more and the kind takes it. */
static bool flush_piece(struct char_backend *c)
{
	uint8_t piece[4096];
	size_t len;
	ssize_t n;

	pthread_mutex_lock(&c->lock);
	len = MIN(c->out.len, sizeof(piece));
	if (len)
		__builtin_memcpy(piece, c->out.data, len);
	pthread_mutex_unlock(&c->lock);
	if (!len)
		return false;
	n = c->kind->write(c, piece, len);
	if (n < 0 && n != -EAGAIN)
		n = (ssize_t)
			len; /* nobody will ever read it; the reader's end is noticed by reading */
	if (n <= 0)
		return false;
	pthread_mutex_lock(&c->lock);
	buffer_drop(&c->out, MIN((size_t)n, c->out.len));
	pthread_mutex_unlock(&c->lock);
	return true;
}

static void flush(struct char_backend *c)
{
	bool tell_room, left;

	if (c->log_fd >= 0)
		back_log_flush(c);
	if (!c->kind->write)
		return;
	while (flush_piece(c))
		;
	pthread_mutex_lock(&c->lock);
	left = c->out.len > 0;
	tell_room = c->full && c->out.len < CHAR_OUT_MAX / 2;
	if (tell_room)
		c->full = false;
	pthread_mutex_unlock(&c->lock);
	if (left != c->waiting && c->kind->wait_writable)
		c->kind->wait_writable(c, c->waiting = left);
	if (tell_room && c->user && c->front.writable)
		c->front.writable(c->front.opaque);
}

/**
 * back_writable() - The kind takes bytes again
 * @c:		The back end
 */
void back_writable(struct char_backend *c)
{
	flush(c);
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct char_backend *c = opaque;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	if (!c->connected && c->kind->probe)
		c->kind->probe(c);
	flush(c);
	if (c->kind->resume && back_can_receive(c))
		c->kind->resume(c);
	return 0;
}

/**
 * back_wake() - Have the main loop look at this back end, from any thread
 * @c:		The back end
 */
void back_wake(struct char_backend *c)
{
	uint64_t one = 1;

	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

/**
 * back_alloc() - A back end that isn't open yet
 * @kind:	Its kind
 * @id:		Copied
 * @loop:	Main loop
 *
 * Return: owned by the caller, back_free()
 */
struct char_backend *back_alloc(const struct char_kind *kind, const char *id, struct loop *loop)
{
	struct char_backend *c = mem_zalloc(kind->size);

	c->kind = kind;
	c->id = str_dup(id);
	c->loop = loop;
	c->wake_fd = c->log_fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->link);
	return c;
}

/**
 * back_start() - Make it reachable from other threads
 * @c:		From back_alloc()
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int back_start(struct char_backend *c, struct err *e)
{
	int r;

	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return err_sys(e, "eventfd");
	r = sd_event_add_io(loop_event(c->loop), &c->wake_source, c->wake_fd, EPOLLIN, on_wake, c);
	return r < 0 ? err_ret(e, r, "chardev %s", c->id) : 0;
}

/**
 * back_free() - Close and release a back end
 * @c:		No other thread uses it any more; what it can still write at once is written
 */
void back_free(struct char_backend *c)
{
	if (c->opened && !c->released)
		flush(c);
	if (c->opened && c->kind->close)
		c->kind->close(c);
	list_del(&c->link);
	sd_event_source_disable_unref(c->wake_source);
	fd_close(&c->wake_fd);
	fd_close(&c->log_fd);
	buffer_drop(&c->out, c->out.len);
	buffer_drop(&c->log, c->log.len);
	pthread_mutex_destroy(&c->lock);
	json_decref(c->options);
	free(c->filename);
	free(c->user);
	free(c->id);
	free(c);
}
