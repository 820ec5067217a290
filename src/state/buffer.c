/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: wire bytes are written to a buffer that grows and can't fail (as
 * everywhere, no memory ends the process), and read from one with bounds. A read beyond the end
 * latches @failed and gives zeros, so that code which reads many small things (codecs) may look
 * once at the end.
 */
#include "base/bytes.h"
#include "state/state.h"

#include <stdlib.h>
#include <string.h>

/**
 * state_writer_destroy() - Free the bytes
 * @w:	Zeroed before first use; may be used again after
 */
void state_writer_destroy(struct state_writer *w)
{
	free(w->buf);
	*w = (struct state_writer){0};
}

/**
 * state_writer_clear() - Forget the bytes, keep the memory
 * @w:	Writer
 */
void state_writer_clear(struct state_writer *w)
{
	w->len = 0;
}

/**
 * state_writer_reserve() - Have memory ready, so that writing allocates and faults nothing
 * @w:		Writer
 * @room:	Bytes in all
 */
void state_writer_reserve(struct state_writer *w, size_t room)
{
	if (w->room < room) {
		w->buf = realloc(w->buf, room);
		if (!w->buf)
			abort();
		w->room = room;
	}
	memset(w->buf + w->len, 0, w->room - w->len);
}

/**
 * state_writer_grow() - Make room behind what is written
 * @w:	Writer
 * @n:	Bytes there shall be, more than there are
 */
void state_writer_grow(struct state_writer *w, size_t n)
{
	w->room = MAX(w->room * 2, ALIGN_UP(w->len + n, (size_t)4096));
	w->buf = realloc(w->buf, w->room);
	if (!w->buf)
		abort();
}

/**
 * state_put() - Append bytes
 * @w:		Writer
 * @bytes:	Copied
 * @n:		How many
 */
void state_put(struct state_writer *w, const void *bytes, size_t n)
{
	if (n)
		memcpy(state_extend(w, n), bytes, n);
}

/**
 * state_put_u8() - Append one byte
 * @w:	Writer
 * @v:	Value
 */
void state_put_u8(struct state_writer *w, uint8_t v)
{
	state_put(w, &v, 1);
}

/**
 * state_put_be16() - Append a big-endian number of 2 bytes
 * @w:	Writer
 * @v:	Value
 */
void state_put_be16(struct state_writer *w, uint16_t v)
{
	v = htobe16(v);
	state_put(w, &v, sizeof(v));
}

/**
 * state_put_be32() - Append a big-endian number of 4 bytes
 * @w:	Writer
 * @v:	Value
 */
void state_put_be32(struct state_writer *w, uint32_t v)
{
	v = htobe32(v);
	state_put(w, &v, sizeof(v));
}

/**
 * state_put_be64() - Append a big-endian number of 8 bytes
 * @w:	Writer
 * @v:	Value
 */
void state_put_be64(struct state_writer *w, uint64_t v)
{
	v = htobe64(v);
	state_put(w, &v, sizeof(v));
}

/**
 * state_peek() - Are so many more bytes there?
 * @r:	Reader
 * @n:	Bytes behind those read so far
 *
 * Asks the refill function if need be. Reads nothing and doesn't latch a failure.
 */
bool state_peek(struct state_reader *r, size_t n)
{
	if (r->failed)
		return false;
	return r->len - r->at >= n || (r->refill && r->refill(r, n));
}

/**
 * state_skip() - Read bytes that mean nothing
 * @r:	Reader
 * @n:	How many
 *
 * Return: false if they aren't there (latched)
 */
bool state_skip(struct state_reader *r, size_t n)
{
	if (!state_peek(r, n)) {
		r->failed = true;
		return false;
	}
	r->at += n;
	return true;
}

/**
 * state_get() - Read bytes
 * @r:		Reader
 * @bytes:	Filled in; with 0 if they aren't there
 * @n:		How many
 *
 * Return: false if they aren't there (latched)
 */
bool state_get(struct state_reader *r, void *bytes, size_t n)
{
	if (!n)
		return !r->failed;
	if (!state_skip(r, n)) {
		memset(bytes, 0, n);
		return false;
	}
	memcpy(bytes, r->buf + r->at - n, n);
	return true;
}

/**
 * state_get_u8() - Read one byte
 * @r:	Reader
 */
uint8_t state_get_u8(struct state_reader *r)
{
	uint8_t v;

	state_get(r, &v, sizeof(v));
	return v;
}

/**
 * state_get_be16() - Read a big-endian number of 2 bytes
 * @r:	Reader
 */
uint16_t state_get_be16(struct state_reader *r)
{
	uint16_t v;

	state_get(r, &v, sizeof(v));
	return be16toh(v);
}

/**
 * state_get_be32() - Read a big-endian number of 4 bytes
 * @r:	Reader
 */
uint32_t state_get_be32(struct state_reader *r)
{
	uint32_t v;

	state_get(r, &v, sizeof(v));
	return be32toh(v);
}

/**
 * state_get_be64() - Read a big-endian number of 8 bytes
 * @r:	Reader
 */
uint64_t state_get_be64(struct state_reader *r)
{
	uint64_t v;

	state_get(r, &v, sizeof(v));
	return be64toh(v);
}
