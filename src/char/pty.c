/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a pseudo terminal; the name of its other side is logged and shown by
 * query-chardev. The kernel doesn't say when somebody opens the other side, only when the last one
 * closes it (hang-up). So while nobody is there it is looked at every second, and whenever there
 * is output.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "char/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#define LOOK_US (1000 * 1000)

struct pty {
	struct char_backend c;
	struct char_stream stream;
	sd_event_source *timer;
	int fd;
};

static void pty_gone(struct char_backend *c)
{
	struct pty *p = (struct pty *)c;

	stream_close(&p->stream);
	back_connected(c, false);
	sd_event_source_set_time_relative(p->timer, LOOK_US);
	sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

/* Somebody has the other side open: no hang-up. */
static void pty_probe(struct char_backend *c)
{
	struct pty *p = (struct pty *)c;
	struct pollfd poll_fd = {.fd = p->fd, .events = POLLIN};
	struct err e;

	if (c->connected || poll(&poll_fd, 1, 0) < 0 || (poll_fd.revents & POLLHUP))
		return;
	if (stream_open(&p->stream, &e) < 0) {
		log_warn("%s", e.msg);
		return;
	}
	sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	back_connected(c, true);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *opaque)
{
	struct pty *p = opaque;

	pty_probe(&p->c);
	if (p->c.connected)
		return 0;
	sd_event_source_set_time_relative(source, LOOK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int pty_start(struct pty *p, struct err *e)
{
	char name[128];
	int r;

	if (ptsname_r(p->fd, name, sizeof(name)))
		return err_sys(e, "name of the pseudo terminal");
	back_set_filename(&p->c, "pty:%s", name);
	p->stream =
		(struct char_stream){.c = &p->c, .in_fd = p->fd, .out_fd = p->fd, .gone = pty_gone};
	r = sd_event_add_time_relative(loop_event(p->c.loop), &p->timer, CLOCK_MONOTONIC, LOOK_US,
				       0, on_timer, p);
	if (r < 0)
		return err_ret(e, r, "timer");
	pty_probe(&p->c);
	return 0;
}

/* Raw mode; and a first opening and closing, without which the kernel reports no hang-up. */
static int other_side_prepare(int fd, struct err *e)
{
	struct termios t;
	char name[128];
	int other;

	if (ptsname_r(fd, name, sizeof(name)))
		return err_sys(e, "name of the pseudo terminal");
	other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (other < 0)
		return err_sys(e, "%s", name);
	if (tcgetattr(other, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(other, TCSANOW, &t);
	}
	close(other);
	return 0;
}

static int pty_open(struct char_backend *c, const json_t *options, struct err *e)
{
	struct pty *p = (struct pty *)c;
	int r;

	p->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (p->fd < 0 || grantpt(p->fd) < 0 || unlockpt(p->fd) < 0)
		return err_sys(e, "pseudo terminal");
	r = other_side_prepare(p->fd, e);
	if (r == 0)
		r = pty_start(p, e);
	if (r == 0)
		log_info("char device redirected to %s (label %s)", c->filename + strlen("pty:"),
			 c->id);
	return r;
}

static int pty_adopt(struct char_backend *c, const json_t *state, const int *fds, size_t fds_len,
		     struct err *e)
{
	struct pty *p = (struct pty *)c;

	p->fd = -1;
	if (fds_len != 1)
		return err_set(e, EINVAL, "a pty needs one descriptor, not %zu", fds_len);
	p->fd = fds[0];
	return pty_start(p, e);
}

static void pty_close(struct char_backend *c)
{
	struct pty *p = (struct pty *)c;

	stream_close(&p->stream);
	p->timer = sd_event_source_disable_unref(p->timer);
	fd_close(&p->fd);
}

static ssize_t pty_write(struct char_backend *c, const uint8_t *buf, size_t len)
{
	return stream_write(&((struct pty *)c)->stream, buf, len);
}

static void pty_wait_writable(struct char_backend *c, bool on)
{
	stream_wait_writable(&((struct pty *)c)->stream, on);
}

static void pty_resume(struct char_backend *c)
{
	stream_resume(&((struct pty *)c)->stream);
}

static int pty_handover(struct char_backend *c, struct char_handover *ret, struct err *e)
{
	ret->fds[ret->fds_len++] = ((struct pty *)c)->fd;
	return 0;
}

const struct char_kind char_pty = {
	.name = "pty",
	.help = "a pseudo terminal",
	.size = sizeof(struct pty),
	.open = pty_open,
	.adopt = pty_adopt,
	.close = pty_close,
	.write = pty_write,
	.wait_writable = pty_wait_writable,
	.resume = pty_resume,
	.probe = pty_probe,
	.handover = pty_handover,
};
