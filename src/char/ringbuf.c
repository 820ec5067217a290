/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the newest bytes of the output are kept in memory, to be fetched by
 * ringbuf-read. */
#include "base/owned.h"
#include "char/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ringbuf {
	struct char_backend c;
	uint8_t *data;
	size_t size;       /* power of two */
	size_t head, tail; /* counts of bytes ever written and read; under c.lock */
};

static const struct option ringbuf_options[] = {
	{"size", OPTION_SIZE, "bytes kept, a power of two (default 64K)"},
	OPTIONS_END,
};

static int ringbuf_open(struct char_backend *c, const json_t *options, struct err *e)
{
	struct ringbuf *r = (struct ringbuf *)c;
	int64_t size = option_int(options, "size", 64 * 1024);

	if (size <= 0 || size > (int64_t)(64 * MiB) || !IS_POWER_OF_2(size))
		return err_set(e, EINVAL,
			       "size of ringbuf chardev must be power of two, at most 64M");
	r->size = (size_t)size;
	r->data = calloc(1, r->size);
	if (!r->data)
		return err_set(e, ENOMEM, "no memory for %zu bytes", r->size);
	back_set_filename(c, "ringbuf");
	c->connected = true;
	return 0;
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

/* "ring" in the state: its content in hexadecimal. */
static int ringbuf_adopt(struct char_backend *c, const json_t *state, const int *fds,
			 size_t fds_len, struct err *e)
{
	const char *hex = option_str(state, "ring", "");
	int r = ringbuf_open(c, json_object_get(state, "options"), e);

	for (; r == 0 && hex[0] && hex[1]; hex += 2) {
		char digits[3] = {hex[0], hex[1]};
		uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);

		ringbuf_store(c, &byte, 1);
	}
	return r;
}

static int ringbuf_handover(struct char_backend *c, struct char_handover *ret, struct err *e)
{
	struct ringbuf *r = (struct ringbuf *)c;
	OWNED(char *) hex = mem_calloc(r->size + 1, 2);
	size_t n = 0;

	for (size_t at = r->tail; at != r->head; at++, n += 2)
		snprintf(hex + n, 3, "%02x", r->data[at & (r->size - 1)]);
	json_object_set_new(ret->state, "ring", json_string(hex));
	return 0;
}

static void ringbuf_close(struct char_backend *c)
{
	free(((struct ringbuf *)c)->data);
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
