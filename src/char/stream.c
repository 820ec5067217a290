/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: reading and writing of descriptors as they get ready. Reading stops while
 * the front end takes nothing (the source is switched off, so the loop sleeps) and goes on by
 * stream_resume(). A socket whose front end is the guest's is watched meanwhile for its other end
 * closing: it ends at once if all was read, else when the guest has read it or the next client
 * comes. Regular files and /dev/null can't be polled: for those a deferred source stands in, which
 * is always ready.
 */
#include "char/backend.h"

#include "base/scm.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FDS_MAX 16 /* descriptors taken with one read */

static void update(struct char_stream *s);

static ssize_t read_some(struct char_stream *s, uint8_t *buf, size_t len)
{
	int fds[FDS_MAX];
	size_t fds_len = FDS_MAX;
	ssize_t n;

	if (!s->scm) {
		n = read(s->in_fd, buf, len);
		return n < 0 ? -errno : n;
	}
	n = scm_recv(s->in_fd, buf, len, fds, &fds_len);
	if (n >= 0 && fds_len)
		back_receive_fds(s->c, fds, fds_len);
	return n;
}

static void readable(struct char_stream *s)
{
	uint8_t buf[4096];
	size_t room = MIN(back_can_receive(s->c), sizeof(buf));
	ssize_t n;

	if (!room) {
		s->want_in = false;
		update(s);
		return;
	}
	n = read_some(s, buf, room);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n > 0)
		back_receive(s->c, buf, (size_t)n);
	else
		s->gone(s->c);
}

static bool same_fd(const struct char_stream *s)
{
	return s->in_fd == s->out_fd;
}

static bool watches_end(const struct char_stream *s)
{
	return s->left && !s->hung && back_guest_paced(s->c);
}

/* The other end has closed while nothing is read. */
static void hang_up(struct char_stream *s)
{
	int unread = 0;

	if (!watches_end(s) || ioctl(s->in_fd, FIONREAD, &unread) < 0 || !unread) {
		s->gone(s->c);
		return;
	}
	s->hung = true;
	s->want_out = false;
	update(s);
	s->left(s->c);
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct char_stream *s = opaque;

	if (s->want_out && (revents & (EPOLLOUT | EPOLLERR)))
		back_writable(s->c);
	if (s->want_in && (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		readable(s);
	else if (revents & (EPOLLHUP | EPOLLERR))
		hang_up(s);
	return 0;
}

static int on_always_readable(sd_event_source *source, void *opaque)
{
	readable(opaque);
	return 0;
}

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct char_stream *s = opaque;

	back_writable(s->c);
	return 0;
}

/* Tells the loop what to wait for; one source serves both directions of one descriptor. */
static void update(struct char_stream *s)
{
	bool out = s->want_out && same_fd(s);

	if (!s->in)
		return;
	if (!s->always_ready)
		sd_event_source_set_io_events(s->in,
					      (s->want_in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0));
	sd_event_source_set_enabled(s->in, s->want_in || out || watches_end(s) ? SD_EVENT_ON
									       : SD_EVENT_OFF);
}

/**
 * stream_open() - Begin to watch
 * @s:		@c, the descriptors, @scm and @gone are set
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int stream_open(struct char_stream *s, struct err *e)
{
	sd_event *event = loop_event(s->c->loop);
	int r = sd_event_add_io(event, &s->in, s->in_fd, EPOLLIN, on_ready, s);

	s->want_in = true;
	s->want_out = false;
	s->always_ready = r == -EPERM;
	if (s->always_ready)
		r = sd_event_add_defer(event, &s->in, on_always_readable, s);
	if (r < 0)
		return err_ret(e, r, "chardev %s: watch input", s->c->id);
	update(s);
	return 0;
}

/**
 * stream_close() - Stop watching; the descriptors stay open
 * @s:		May never have been opened
 */
void stream_close(struct char_stream *s)
{
	s->in = sd_event_source_disable_unref(s->in);
	s->out = sd_event_source_disable_unref(s->out);
}

/**
 * stream_resume() - Read on
 * @s:		The stream
 */
void stream_resume(struct char_stream *s)
{
	if (s->want_in)
		return;
	s->want_in = true;
	update(s);
}

/**
 * stream_wait_writable() - Call back_writable() when bytes can leave again
 * @s:		The stream
 * @on:		Or no longer
 */
void stream_wait_writable(struct char_stream *s, bool on)
{
	s->want_out = on;
	if (same_fd(s)) {
		update(s);
		return;
	}
	s->out = sd_event_source_disable_unref(s->out);
	if (on && s->out_fd >= 0)
		sd_event_add_io(loop_event(s->c->loop), &s->out, s->out_fd, EPOLLOUT, on_writable,
				s);
}

/**
 * stream_write() - Write what leaves at once
 * @s:		The stream
 * @buf:	Bytes
 * @len:	How many
 *
 * Return: bytes written, or a negative errno (-EAGAIN: wait)
 */
ssize_t stream_write(struct char_stream *s, const uint8_t *buf, size_t len)
{
	ssize_t n;

	if (s->out_fd < 0)
		return (ssize_t)len;
	if (s->scm)
		return scm_send(s->out_fd, buf, len, NULL, 0);
	do {
		n = write(s->out_fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
