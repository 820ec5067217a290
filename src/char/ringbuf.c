/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the newest bytes of the output are kept in memory, to be fetched by
 * ringbuf-read. The memory is a file, so that another process takes it over as it is.
 */
#include "base/owned.h"
#include "char/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct ringbuf {
	struct char_backend c;
	int fd;            /* of @data */
	uint8_t *data;     /* NULL: none yet */
	size_t size;       /* power of two */
	size_t head, tail; /* counts of bytes ever written and read; under c.lock */
};

static const struct option ringbuf_options[] = {
	{"size", OPTION_SIZE, "bytes kept, a power of two (default 64K)"},
	OPTIONS_END,
};

/* @taken_fd: Owned by the ring buffer from here on. */
static int map(struct ringbuf *r, int taken_fd, struct err *e)
{
	void *p = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, taken_fd, 0);

	if (p == MAP_FAILED) {
		err_sys(e, "map %zu bytes", r->size);
		close(taken_fd);
		return -e->code;
	}
	r->fd = taken_fd;
	r->data = p;
	back_set_filename(&r->c, "ringbuf");
	r->c.connected = true;
	return 0;
}

static int measure(struct ringbuf *r, const json_t *options, struct err *e)
{
	int64_t size = option_int(options, "size", 64 * 1024);

	if (size <= 0 || size > (int64_t)(64 * MiB) || !IS_POWER_OF_2(size))
		return err_set(e, EINVAL,
			       "size of ringbuf chardev must be power of two, at most 64M");
	r->size = (size_t)size;
	return 0;
}

static int ringbuf_open(struct char_backend *c, const json_t *options, struct err *e)
{
	struct ringbuf *r = (struct ringbuf *)c;
	OWNED_FD fd = -1;
	int ret = measure(r, options, e);

	if (ret < 0)
		return ret;
	fd = memfd_create("outlive-ringbuf", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)r->size) < 0)
		return err_sys(e, "memory for %zu bytes", r->size);
	return map(r, fd_take(&fd), e);
}

static size_t ringbuf_store(struct char_backend *c, const uint8_t *buf, size_t len)
{
	struct ringbuf *r = (struct ringbuf *)c;

	for (size_t i = 0; i < len; i++)
		r->data[r->head++ & (r->size - 1)] = buf[i];
	if (r->head - r->tail > r->size)
		r->tail = r->head - r->size;
	return len;
}

static size_t take(struct ringbuf *r, uint8_t *buf, size_t len)
{
	size_t n = 0;

	while (n < len && r->tail != r->head)
		buf[n++] = r->data[r->tail++ & (r->size - 1)];
	return n;
}

static int ringbuf_adopt(struct char_backend *c, const json_t *state, const int *fds,
			 size_t fds_len, struct err *e)
{
	struct ringbuf *r = (struct ringbuf *)c;
	int ret;

	if (fds_len != 1)
		return err_set(e, EPROTO, "its memory is missing");
	ret = measure(r, json_object_get(state, "options"), e);
	if (ret < 0) {
		close(fds[0]);
		return ret;
	}
	return map(r, fds[0], e);
}

static int ringbuf_handover(struct char_backend *c, struct char_handover *ret, struct err *e)
{
	ret->fds[ret->fds_len++] = ((struct ringbuf *)c)->fd;
	return 0;
}

static json_t *ringbuf_late(const struct char_backend *c)
{
	const struct ringbuf *r = (const struct ringbuf *)c;

	return json_pack("{s:I, s:I}", "head", (json_int_t)r->head, "tail", (json_int_t)r->tail);
}

static void ringbuf_adopt_late(struct char_backend *c, const json_t *late)
{
	struct ringbuf *r = (struct ringbuf *)c;
	size_t head = (size_t)option_int(late, "head", 0),
	       tail = (size_t)option_int(late, "tail", 0);

	if (head - tail > r->size)
		return; /* nonsense: what came is lost, the guest isn't */
	r->head = head;
	r->tail = tail;
}

static void ringbuf_close(struct char_backend *c)
{
	struct ringbuf *r = (struct ringbuf *)c;

	if (!r->data)
		return;
	munmap(r->data, r->size);
	close(r->fd);
}

const struct char_kind char_ringbuf = {
	.name = "ringbuf",
	.help = "keeps the newest output in memory for ringbuf-read",
	.options = ringbuf_options,
	.size = sizeof(struct ringbuf),
	.open = ringbuf_open,
	.adopt = ringbuf_adopt,
	.close = ringbuf_close,
	.store = ringbuf_store,
	.handover = ringbuf_handover,
	.late = ringbuf_late,
	.adopt_late = ringbuf_adopt_late,
};

/**
 * char_ringbuf_read() - Take the oldest bytes out
 * @c:		A ring buffer
 * @buf:	Filled in
 * @len:	In: room; out: bytes taken
 * @e:		Set on failure only
 *
 * Errors: EINVAL not a ring buffer
 * Return: 0, or a negative errno
 */
int char_ringbuf_read(struct char_backend *c, uint8_t *buf, size_t *len, struct err *e)
{
	if (c->kind != &char_ringbuf)
		return err_set(e, EINVAL, "%s is not a ringbuf device", c->id);
	pthread_mutex_lock(&c->lock);
	*len = take((struct ringbuf *)c, buf, *len);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/**
 * char_ringbuf_write() - Append bytes, as the front end would
 * @c:		A ring buffer
 * @buf:	Bytes
 * @len:	How many
 * @e:		Set on failure only
 *
 * Errors: EINVAL not a ring buffer
 * Return: 0, or a negative errno
 */
int char_ringbuf_write(struct char_backend *c, const uint8_t *buf, size_t len, struct err *e)
{
	if (c->kind != &char_ringbuf)
		return err_set(e, EINVAL, "%s is not a ringbuf device", c->id);
	pthread_mutex_lock(&c->lock);
	ringbuf_store(c, buf, len);
	pthread_mutex_unlock(&c->lock);
	return 0;
}
