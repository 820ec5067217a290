/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/channel/channel.h"

#include "base/bytes.h"
#include "base/owned.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
	OUT_BYTES = 64 * 1024,           /* small bytes between two flushes */
	OUT_PIECES = 512,                /* queued pieces; IOV_MAX is 1024 */
	OUT_QUEUED = 1024 * 1024,        /* bytes queued before they are handed to the kernel */
	IN_BYTES = 256 * 1024,           /* fits a second-level cache */
	IN_AHEAD = 8 * 1024,             /* behind a large piece: what tells of the next */
	IN_BYTES_MAX = 64 * 1024 * 1024, /* longest piece anyone may peek at */
};

/**
 * struct channel - See channel.h. Owned by one thread but for channel_shutdown()
 * @ops, @carrier: What carries the bytes
 * @error:	First failure; @error.code is 0 while there is none
 * @out:	Small bytes that wait, @out_len of them
 * @pieces:	What waits in wire order, pointing into @out or at queued memory
 * @pieces_len:	How many
 * @queued:	Bytes in @pieces
 * @written:	Bytes put since the beginning
 * @handed:	Bytes that the carrier has taken
 * @sought:	Bytes left out by seeking while writing
 * @in:		Bytes read ahead: from @in_at to @in_end of @in_room
 * @taken:	Bytes taken since the beginning
 * @hash:	Running, or NULL
 * @hash_stable: Queued memory can't change before it is sent
 */
struct channel {
	const struct channel_ops *ops;
	void *carrier;
	struct err error;
	uint8_t out[OUT_BYTES];
	size_t out_len;
	struct iovec pieces[OUT_PIECES];
	int pieces_len;
	uint64_t queued, written, handed, sought;
	uint8_t *in;
	size_t in_at, in_end, in_room;
	uint64_t taken;
	XXH3_state_t *hash;
	bool hash_stable;
};

/**
 * channel_create() - Make a channel on a carrier
 * @ops:	Of the carrier
 * @carrier:	Owned by the channel from now on
 *
 * Return: never NULL
 */
struct channel *channel_create(const struct channel_ops *ops, void *carrier)
{
	struct channel *c = mem_zalloc(sizeof(*c));

	c->ops = ops;
	c->carrier = carrier;
	c->in_room = IN_BYTES;
	c->in = mem_zalloc(c->in_room);
	return c;
}

/**
 * channel_destroy() - Close the carrier and free the channel
 * @c:	May be NULL. What wasn't flushed is dropped
 */
void channel_destroy(struct channel *c)
{
	if (!c)
		return;
	c->ops->close(c->carrier);
	if (c->hash)
		XXH3_freeState(c->hash);
	free(c->in);
	free(c);
}

/**
 * channel_shutdown() - Make everything on this channel fail from now on
 * @c:	Channel; any thread, while it isn't being destroyed
 */
void channel_shutdown(struct channel *c)
{
	c->ops->shutdown(c->carrier);
}

/**
 * channel_patience() - How long a transfer waits while nothing moves
 * @c:	Channel; not while another thread uses it
 * @ms:	Then it fails with ETIMEDOUT; -1: it waits without end
 */
void channel_patience(struct channel *c, int ms)
{
	if (c->ops->patience)
		c->ops->patience(c->carrier, ms);
}

/**
 * channel_revive() - Forget the failure, for a last word
 * @c:	Channel that has failed or was shut down. What waits to be written is dropped
 *
 * Return: false: a channel of this kind can't
 */
bool channel_revive(struct channel *c)
{
	if (!c->ops->revive)
		return false;
	c->ops->revive(c->carrier);
	c->error.code = 0;
	c->pieces_len = 0;
	c->out_len = 0;
	c->queued = 0;
	return true;
}

/**
 * channel_carrier() - The carrier, for the file that made it
 * @c:		Channel
 * @ops:	Of that file
 *
 * Return: NULL if the channel is of another kind
 */
void *channel_carrier(struct channel *c, const struct channel_ops *ops)
{
	return c->ops == ops ? c->carrier : NULL;
}

static void latch(struct channel *c, int code, const char *what)
{
	if (c->error.code)
		return;
	errno = code;
	err_sys(&c->error, "%s", what);
}

/* A transfer has failed: the carrier may know more than an errno says. */
static void latch_transfer(struct channel *c, int code, const char *what)
{
	const char *story = c->ops->story ? c->ops->story(c->carrier) : NULL;

	if (story && !c->error.code)
		err_set(&c->error, code, "%s", story);
	else if (code == ETIMEDOUT && !c->error.code)
		err_set(&c->error, code, "%s: nothing moves any more; does the other side hang?",
			what);
	else
		latch(c, code, what);
}

/**
 * channel_fail() - Latch a failure found by whoever reads or writes
 * @c:	Channel
 * @e:	The story; ignored if there is one already
 */
void channel_fail(struct channel *c, const struct err *e)
{
	if (!c->error.code)
		c->error = *e;
}

/**
 * channel_failed() - Has anything failed yet?
 * @c:	Channel
 */
bool channel_failed(const struct channel *c)
{
	return c->error.code != 0;
}

/**
 * channel_check() - Report the latched failure
 * @c:	Channel
 * @e:	Gets its story
 *
 * Return: 0, or its negative errno
 */
int channel_check(struct channel *c, struct err *e)
{
	if (!c->error.code)
		return 0;
	if (e)
		*e = c->error;
	return -c->error.code;
}

/* Drops @n sent bytes from the front of the pieces; returns the first piece that is left. */
static int pieces_advance(struct iovec *pieces, int first, int len, size_t n)
{
	for (; first < len && n >= pieces[first].iov_len; first++)
		n -= pieces[first].iov_len;
	if (first < len) {
		pieces[first].iov_base = (uint8_t *)pieces[first].iov_base + n;
		pieces[first].iov_len -= n;
	}
	return first;
}

/**
 * channel_flush() - Hand everything that waits to the kernel
 * @c:	Channel; nothing queued is referred to afterwards
 */
void channel_flush(struct channel *c)
{
	int first = 0;
	ssize_t n;

	while (first < c->pieces_len && !c->error.code) {
		n = c->ops->writev(c->carrier, c->pieces + first, c->pieces_len - first);
		if (n < 0)
			latch_transfer(c, (int)-n, "write to the stream");
		else
			first = pieces_advance(c->pieces, first, c->pieces_len, (size_t)n);
		c->handed += n < 0 ? 0 : (uint64_t)n;
	}
	c->pieces_len = 0;
	c->out_len = 0;
	c->queued = 0;
}

/**
 * channel_finish() - Write what waits, and see it arrive
 * @c:	Channel; nothing more is written after
 * @e:	Set on failure only
 *
 * Where the carrier can tell (a command), this waits for the other side to be done; a socket can't.
 *
 * Return: 0, or the negative errno of the first failure
 */
int channel_finish(struct channel *c, struct err *e)
{
	channel_flush(c);
	if (!c->error.code && c->ops->finish)
		c->ops->finish(c->carrier, &c->error);
	return channel_check(c, e);
}

static void queue_piece(struct channel *c, const void *bytes, size_t n)
{
	struct iovec *last = c->pieces_len ? &c->pieces[c->pieces_len - 1] : NULL;

	if (last && (const uint8_t *)last->iov_base + last->iov_len == bytes)
		last->iov_len += n;
	else
		c->pieces[c->pieces_len++] = (struct iovec){(void *)(uintptr_t)bytes, n};
	c->queued += n;
	c->written += n;
	if (c->hash)
		XXH3_64bits_update(c->hash, bytes, n);
}

/**
 * channel_put() - Write bytes, copied
 * @c:		Channel
 * @bytes:	May change afterwards
 * @n:		How many
 */
void channel_put(struct channel *c, const void *bytes, size_t n)
{
	const uint8_t *from = bytes;
	size_t part;

	for (; n && !c->error.code; from += part, n -= part) {
		if (c->out_len == OUT_BYTES || c->pieces_len == OUT_PIECES)
			channel_flush(c);
		part = MIN(n, OUT_BYTES - c->out_len);
		memcpy(c->out + c->out_len, from, part);
		queue_piece(c, c->out + c->out_len, part);
		c->out_len += part;
	}
}

/**
 * channel_put_ref() - Write bytes from where they are
 * @c:		Channel
 * @bytes:	Must stay readable until the next flush; sent as it is then
 * @n:		How many
 */
void channel_put_ref(struct channel *c, const void *bytes, size_t n)
{
	if (c->hash && !c->hash_stable) {
		channel_put(c, bytes, n);
		return;
	}
	if (c->pieces_len == OUT_PIECES || c->queued >= OUT_QUEUED)
		channel_flush(c);
	if (n && !c->error.code)
		queue_piece(c, bytes, n);
}

/**
 * channel_put_u8() - Write one byte
 * @c:	Channel
 * @v:	Value
 */
void channel_put_u8(struct channel *c, uint8_t v)
{
	channel_put(c, &v, 1);
}

/**
 * channel_put_be16() - Write a big-endian number of 2 bytes
 * @c:	Channel
 * @v:	Value
 */
void channel_put_be16(struct channel *c, uint16_t v)
{
	v = htobe16(v);
	channel_put(c, &v, sizeof(v));
}

/**
 * channel_put_be32() - Write a big-endian number of 4 bytes
 * @c:	Channel
 * @v:	Value
 */
void channel_put_be32(struct channel *c, uint32_t v)
{
	v = htobe32(v);
	channel_put(c, &v, sizeof(v));
}

/**
 * channel_put_be64() - Write a big-endian number of 8 bytes
 * @c:	Channel
 * @v:	Value
 */
void channel_put_be64(struct channel *c, uint64_t v)
{
	v = htobe64(v);
	channel_put(c, &v, sizeof(v));
}

/**
 * channel_written() - Bytes put since the beginning, flushed or not
 * @c:	Channel
 */
uint64_t channel_written(const struct channel *c)
{
	return c->written;
}

/**
 * channel_handed() - Bytes that the carrier has taken since the beginning
 * @c:	Channel
 *
 * After a failure the other side may have got as many, and no more.
 */
uint64_t channel_handed(const struct channel *c)
{
	return c->handed;
}

/**
 * channel_offset() - Where the next byte that is put goes to
 * @c:	Channel
 *
 * Return: bytes from where the channel began in its file
 */
uint64_t channel_offset(const struct channel *c)
{
	return c->written + c->sought;
}

/* Moves the file's position; @bytes may be negative only by what was read ahead. */
static void seek_by(struct channel *c, int64_t bytes)
{
	int ret = c->ops->seek ? c->ops->seek(c->carrier, bytes) : -ESPIPE;

	if (ret < 0)
		latch(c, -ret, "seek in the stream");
}

/**
 * channel_seek() - Go on elsewhere in the file
 * @c:	Channel on a file, used in one direction
 * @to:	Offset, not before the present one
 */
void channel_seek(struct channel *c, uint64_t to)
{
	size_t ahead = c->in_end - c->in_at;

	channel_flush(c);
	if (c->error.code)
		return;
	if (c->written) {
		seek_by(c, (int64_t)(to - channel_offset(c)));
		c->sought = to - c->written;
		return;
	}
	seek_by(c, (int64_t)(to - c->taken) - (int64_t)ahead);
	c->in_at = c->in_end = 0;
	c->taken = to;
}

/* Makes room for @n bytes in one piece, moving what is there to the front. */
static bool in_reserve(struct channel *c, size_t n)
{
	size_t have = c->in_end - c->in_at, room = c->in_room;
	uint8_t *grown;

	if (c->in_room - c->in_at >= n)
		return true;
	memmove(c->in, c->in + c->in_at, have);
	c->in_at = 0;
	c->in_end = have;
	while (room < n)
		room *= 2;
	if (room == c->in_room)
		return true;
	grown = room <= IN_BYTES_MAX ? realloc(c->in, room) : NULL;
	if (!grown) {
		latch(c, EMSGSIZE, "read the stream");
		return false;
	}
	c->in = grown;
	c->in_room = room;
	return true;
}

/**
 * channel_room() - Get ready to peek at so many bytes, one after the other
 * @c:	Channel
 * @n:	How many. What is there is moved once, while it is little
 */
void channel_room(struct channel *c, size_t n)
{
	if (!c->error.code)
		(void)in_reserve(c, n);
}

/**
 * channel_peek() - Look at bytes that haven't been taken
 * @c:	Channel
 * @n:	How many
 *
 * Return: them, valid until the next read of any kind; NULL if the stream ends before or has failed
 */
const uint8_t *channel_peek(struct channel *c, size_t n)
{
	struct iovec iov;
	size_t want;
	ssize_t got;

	if (c->error.code || !in_reserve(c, n))
		return NULL;
	while (c->in_end - c->in_at < n) {
		want = MAX(n - (c->in_end - c->in_at), (size_t)IN_BYTES);
		iov = (struct iovec){c->in + c->in_end, MIN(c->in_room - c->in_end, want)};
		got = c->ops->readv(c->carrier, &iov, 1);
		if (got < 0)
			latch_transfer(c, (int)-got, "read the stream");
		if (got <= 0)
			return NULL;
		c->in_end += (size_t)got;
	}
	return c->in + c->in_at;
}

/**
 * channel_buffered() - What has been read ahead
 * @c:		Channel
 * @ret_len:	Set to how much that is
 *
 * Return: it, valid until the next read of any kind
 */
const uint8_t *channel_buffered(const struct channel *c, size_t *ret_len)
{
	*ret_len = c->in_end - c->in_at;
	return c->in + c->in_at;
}

static void take(struct channel *c, size_t n)
{
	if (c->hash)
		XXH3_64bits_update(c->hash, c->in + c->in_at, n);
	c->in_at += n;
	c->taken += n;
}

static void ended(struct channel *c)
{
	if (!c->error.code)
		err_set(&c->error, EPIPE, "the stream ends at byte %llu",
			(unsigned long long)c->taken + c->in_end - c->in_at);
}

/**
 * channel_skip() - Take bytes without looking
 * @c:	Channel
 * @n:	How many; a stream that is shorter has failed
 */
void channel_skip(struct channel *c, size_t n)
{
	size_t part;

	for (; n; n -= part) {
		part = MIN(n, (size_t)IN_BYTES);
		if (!channel_peek(c, part)) {
			ended(c);
			return;
		}
		take(c, part);
	}
}

/* Reads the rest of a large piece straight to its place, and a little ahead into the empty buffer
 * in the same call. */
static bool get_direct(struct channel *c, uint8_t *to, size_t n)
{
	ssize_t got;

	c->in_at = c->in_end = 0;
	while (n) {
		struct iovec iov[2] = {{to, n}, {c->in, IN_AHEAD}};

		got = c->ops->readv(c->carrier, iov, 2);
		if (got < 0)
			latch_transfer(c, (int)-got, "read the stream");
		if (got <= 0)
			return false;
		if (c->hash)
			XXH3_64bits_update(c->hash, to, MIN((size_t)got, n));
		c->taken += MIN((size_t)got, n);
		c->in_end = (size_t)got > n ? (size_t)got - n : 0;
		to += MIN((size_t)got, n);
		n -= MIN((size_t)got, n);
	}
	return true;
}

/**
 * channel_get() - Take bytes
 * @c:		Channel
 * @bytes:	Filled in; zeros once the channel has failed
 * @n:		How many; a stream that is shorter has failed
 *
 * Return: true if they are there
 */
bool channel_get(struct channel *c, void *bytes, size_t n)
{
	uint8_t *to = bytes;
	size_t have;

	if (n > 64 || channel_peek(c, n)) {
		have = c->error.code ? 0 : MIN(c->in_end - c->in_at, n);
		memcpy(to, c->in + c->in_at, have);
		take(c, have);
		if (!c->error.code && (have == n || get_direct(c, to + have, n - have)))
			return true;
	}
	ended(c);
	memset(bytes, 0, n);
	return false;
}

/**
 * channel_get_u8() - Take one byte
 * @c:	Channel
 */
uint8_t channel_get_u8(struct channel *c)
{
	uint8_t v;

	channel_get(c, &v, sizeof(v));
	return v;
}

/**
 * channel_get_be16() - Take a big-endian number of 2 bytes
 * @c:	Channel
 */
uint16_t channel_get_be16(struct channel *c)
{
	uint16_t v;

	channel_get(c, &v, sizeof(v));
	return be16toh(v);
}

/**
 * channel_get_be32() - Take a big-endian number of 4 bytes
 * @c:	Channel
 */
uint32_t channel_get_be32(struct channel *c)
{
	uint32_t v;

	channel_get(c, &v, sizeof(v));
	return be32toh(v);
}

/**
 * channel_get_be64() - Take a big-endian number of 8 bytes
 * @c:	Channel
 */
uint64_t channel_get_be64(struct channel *c)
{
	uint64_t v;

	channel_get(c, &v, sizeof(v));
	return be64toh(v);
}

/**
 * channel_taken() - Bytes taken since the beginning
 * @c:	Channel
 */
uint64_t channel_taken(const struct channel *c)
{
	return c->taken;
}

/**
 * channel_hash_start() - Hash what passes from here on
 * @c:		Channel, used in one direction
 * @stable:	Queued memory can't change before it is sent (the guest is stopped)
 */
void channel_hash_start(struct channel *c, bool stable)
{
	if (!c->hash)
		c->hash = XXH3_createState();
	XXH3_64bits_reset(c->hash);
	c->hash_stable = stable;
}

/**
 * channel_hash() - XXH3 (64 bits, no seed) of what passed since the start
 * @c:	Channel with a started hash
 */
uint64_t channel_hash(struct channel *c)
{
	assert(c->hash);
	return XXH3_64bits_digest(c->hash);
}
