/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each block's bitmap is read with the list of blocks; then several threads
 * read the pages and compare their sums. What isn't in the bitmap is zeros, and is written only
 * where something else may be. Pages are read in spans, over short gaps, which may hold anything.
 *
 * The file isn't trusted: every offset is held against its size.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "migrate/ram/zero.h"
#include "migrate/snapshot/mapped.h"
#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_sums(struct mapped *m, uint64_t end, struct err *e)
{
	void *sums;

	if (m->sums_from % WIRE_PAGE || m->sums_from < m->begin ||
	    m->sums_from - m->begin < m->stream_bytes || m->sums_from > end)
		return err_set(e, EBADMSG,
			       "damaged: the trailer says that the sums are at %" PRIu64,
			       m->sums_from);
	m->sums_bytes = end - m->sums_from;
	m->sums_next = 0;
	if (!m->sums_bytes)
		return 0;
	sums = mmap(NULL, m->sums_bytes, PROT_READ, MAP_SHARED, m->fd, (off_t)m->sums_from);
	if (sums == MAP_FAILED)
		return err_sys(e, "map the sums");
	m->sums = sums;
	return 0;
}

/**
 * mapped_open() - Get ready to read a file
 * @m:		Filled in; mapped_end() it, also after a failure
 * @fd:		The file; stays open while @m is used
 * @begin:	Where in it the stream begins
 * @e:		Set on failure only
 *
 * Errors: EBADMSG a trailer that can't be right; as fstat(2), mmap(2)
 * Return: 0, or a negative errno
 */
int mapped_open(struct mapped *m, int fd, uint64_t begin, struct err *e)
{
	uint8_t t[MAPPED_TRAILER_BYTES];
	struct stat st;

	mapped_begin(m, fd, begin);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "fstat");
	m->file_bytes = (uint64_t)st.st_size;
	if (m->file_bytes < sizeof(t) ||
	    pread(fd, t, sizeof(t), st.st_size - (off_t)sizeof(t)) != sizeof(t) ||
	    memcmp(t, "OUTLIVE2", 8) != 0)
		return 0;
	m->trailer = true;
	m->stream_bytes = load_be64(t + 8);
	m->stream_hash = load_be64(t + 16);
	m->sums_from = load_be64(t + 24);
	return map_sums(m, m->file_bytes - sizeof(t), e);
}

static int header_check(const struct mapped *m, const struct mapped_block *mb, uint32_t version,
			uint64_t page, struct err *e)
{
	uint64_t bitmap_bytes = mapped_bitmap_bytes(mb->block), size = mb->block->size;

	if (version != MAPPED_VERSION || page != WIRE_PAGE)
		return err_set(e, ENOTSUP, "ram/%s: mapped-ram %u with pages of %" PRIu64,
			       mb->block->name, version, page);
	if (mb->pages_at % WIRE_PAGE || mb->pages_at > m->file_bytes ||
	    m->file_bytes - mb->pages_at < size || mb->bitmap_at > mb->pages_at ||
	    mb->pages_at - mb->bitmap_at < bitmap_bytes)
		return err_set(e, EBADMSG,
			       "ram/%s: damaged: its pages can't be at byte %" PRIu64
			       ", their bitmap at %" PRIu64,
			       mb->block->name, mb->pages_at, mb->bitmap_at);
	return 0;
}

/* Finds a block's sums, and compares its bitmap's. */
static int take_sums(struct mapped *m, struct mapped_block *mb, struct err *e)
{
	uint64_t bytes = 8 + mb->present.bits * 8, bitmap_bytes = mapped_bitmap_bytes(mb->block);
	uint8_t *at = (uint8_t *)m->sums + m->sums_next;

	if (!m->trailer)
		return 0;
	if (m->sums_bytes - m->sums_next < bytes)
		return err_set(e, EBADMSG, "ram/%s: damaged: its sums are missing",
			       mb->block->name);
	mb->sums_at = m->sums_from + m->sums_next + 8;
	mb->sums = (uint64_t *)(void *)(at + 8);
	m->sums_next += bytes;
	if (load_be64(at) == XXH3_64bits(mb->present.words, bitmap_bytes))
		return 0;
	return err_set(e, EBADMSG, "ram/%s: damaged: the bitmap at byte %" PRIu64, mb->block->name,
		       mb->bitmap_at);
}

static int read_bitmap(struct mapped *m, struct mapped_block *mb, struct err *e)
{
	uint64_t bits = mb->block->size / WIRE_PAGE;
	int ret = bitmap_create(&mb->present, bits);

	if (ret < 0)
		return err_set(e, ENOMEM, "a bitmap for %s", mb->block->name);
	ret = mapped_read_bytes(m, mb->present.words, mapped_bitmap_bytes(mb->block), mb->bitmap_at,
				e);
	if (ret < 0)
		return ret;
	ret = take_sums(m, mb, e);
	if (bits % 64)
		mb->present.words[bits / 64] &= (1ULL << bits % 64) - 1;
	return ret;
}

/**
 * mapped_get_block() - Read where the pages of a block are
 * @m:		Open
 * @c:		Its stream; goes on behind the pages
 * @b:		The block, of the right size
 * @ret:	Set on success only; stays until the next one is read
 * @e:		Says what is wrong, and where
 *
 * Errors: EBADMSG damaged; ENOTSUP another layout; ENOMEM; as pread(2)
 * Return: 0, or a negative errno
 */
int mapped_get_block(struct mapped *m, struct channel *c, struct ram_block *b,
		     struct mapped_block **ret, struct err *e)
{
	struct mapped_block *mb = mapped_block_add(m, b);
	uint32_t version = channel_get_be32(c);
	uint64_t page = channel_get_be64(c);
	int r;

	mb->bitmap_at = channel_get_be64(c);
	mb->pages_at = channel_get_be64(c);
	r = channel_check(c, e);
	if (r == 0)
		r = header_check(m, mb, version, page, e);
	if (r == 0 && mb->bitmap_at < m->begin + channel_taken(c))
		r = err_set(e, EBADMSG, "ram/%s: damaged: a bitmap at byte %" PRIu64, b->name,
			    mb->bitmap_at);
	if (r == 0)
		r = read_bitmap(m, mb, e);
	if (r < 0)
		return r;
	channel_seek(c, mb->pages_at + b->size - m->begin);
	*ret = mb;
	return channel_check(c, e);
}

static int sum_check(const struct mapped_block *mb, uint64_t page, const uint8_t *bytes,
		     struct err *e)
{
	uint64_t is = XXH3_64bits(bytes, WIRE_PAGE), was;

	was = load_be64((const uint8_t *)mb->sums + page * 8);
	if (is == was)
		return 0;
	return err_set(e, EBADMSG,
		       "ram/%s: damaged: the page at %#" PRIx64 " (byte %" PRIu64
		       "): its checksum is %016" PRIx64 ", %016" PRIx64 " was written",
		       mb->block->name, page * WIRE_PAGE, mb->pages_at + page * WIRE_PAGE, is, was);
}

/**
 * mapped_read() - Read pages that are in the file, and compare their sums
 * @m:		Open
 * @mb:		Their block
 * @first:	The first
 * @pages:	How many, all of them in the file
 * @to:		Room for them
 * @e:		Names the first damaged one
 *
 * Errors: EBADMSG damaged; as pread(2)
 * Return: 0, or a negative errno
 */
int mapped_read(const struct mapped *m, const struct mapped_block *mb, uint64_t first,
		uint64_t pages, uint8_t *to, struct err *e)
{
	int ret = mapped_read_bytes(m, to, pages * WIRE_PAGE, mb->pages_at + first * WIRE_PAGE, e);
	uint64_t i;

	for (i = 0; i < pages && ret == 0 && mb->sums; i++)
		ret = sum_check(mb, first + i, to + i * WIRE_PAGE, e);
	return ret;
}

static void clear(const struct mapped_block *mb, uint64_t first, uint64_t end)
{
	uint8_t *page;

	for (; first < end; first++) {
		page = mb->block->hva + first * WIRE_PAGE;
		if (bitmap_test(mb->touched, first) && !page_is_zero(page))
			memset(page, 0, WIRE_PAGE);
	}
}

/* The end of pages that are in the file, from @from on up to @end, with short gaps between them. */
static uint64_t span_end(const struct mapped_block *mb, uint64_t from, uint64_t end)
{
	uint64_t to = MIN(bitmap_next_zero(&mb->present, from), end), next;

	while (to < end) {
		next = bitmap_next(&mb->present, to);
		if (next >= end || next - to > MAPPED_GAP_PAGES)
			break;
		to = MIN(bitmap_next_zero(&mb->present, next), end);
	}
	return to;
}

/* A run of the file's pages or of others, from @from on. */
static uint64_t run_end(const struct mapped_block *mb, uint64_t from, uint64_t end)
{
	return MIN(bitmap_test(&mb->present, from) ? bitmap_next_zero(&mb->present, from)
						   : bitmap_next(&mb->present, from),
		   end);
}

/*
 * Where the pages of a span are read to: huge ones in place, others to @room, which has one of its
 * own for each page of a piece. What isn't the guest's goes to @room in any case.
 */
static int span_parts(const struct mapped_block *mb, uint64_t from, uint64_t end, uint8_t *room,
		      struct iovec *parts)
{
	const struct ram_block *b = mb->block;
	uint64_t at, to;
	int n = 0;

	for (at = from; at < end; at = to) {
		to = run_end(mb, at, end);
		parts[n].iov_base = b->huge && bitmap_test(&mb->present, at)
					    ? b->hva + at * WIRE_PAGE
					    : room + (at - from) * WIRE_PAGE;
		parts[n++].iov_len = (to - at) * WIRE_PAGE;
	}
	return n;
}

/* What is read in place needs its pages before. */
static int span_reserve(const struct mapped_block *mb, uint64_t from, uint64_t end, struct err *e)
{
	uint64_t at, to;
	int ret = 0;

	for (at = from; mb->block->huge && at < end && ret == 0; at = to) {
		to = run_end(mb, at, end);
		if (bitmap_test(&mb->present, at))
			ret = ram_reserve(mb->block, at * WIRE_PAGE, (to - at) * WIRE_PAGE, e);
	}
	return ret;
}

/* What was read of a span, if it is what was written, to the guest. */
static int span_take(const struct mapped_block *mb, uint64_t from, uint64_t end,
		     const struct iovec *part, struct err *e)
{
	uint64_t at, to, i;
	int ret = 0;

	for (at = from; at < end && ret == 0; at = to, part++) {
		to = run_end(mb, at, end);
		if (!bitmap_test(&mb->present, at)) {
			clear(mb, at, to);
			continue;
		}
		for (i = at; i < to && ret == 0 && mb->sums; i++)
			ret = sum_check(mb, i, (uint8_t *)part->iov_base + (i - at) * WIRE_PAGE, e);
		if (ret == 0 && !mb->block->huge)
			ret = ram_put(mb->block, at * WIRE_PAGE, part, 1, e);
	}
	return ret;
}

static int load_piece(void *opaque, const struct work *w, uint8_t *room, struct err *e)
{
	const struct mapped_block *mb = w->block;
	struct iovec parts[WORK_PAGES];
	uint64_t at = w->first, end = w->first + w->pages, from, to;
	int n, ret = 0;

	for (; at < end && ret == 0; at = to) {
		from = MIN(bitmap_next(&mb->present, at), end);
		clear(mb, at, from);
		if (from == end)
			break;
		to = span_end(mb, from, end);
		n = span_parts(mb, from, to, room, parts);
		ret = span_reserve(mb, from, to, e);
		if (ret == 0)
			ret = mapped_read_parts(opaque, parts, n, mb->pages_at + from * WIRE_PAGE,
						e);
		if (ret == 0)
			ret = span_take(mb, from, to, parts, e);
	}
	return ret;
}

/**
 * mapped_get_pages() - Read all pages of a block
 * @m:		Open
 * @mb:		The block; its @touched is set
 * @e:		Names the damaged page
 *
 * Errors: EBADMSG damaged; as pread(2), pthread_create(3)
 * Return: 0, or a negative errno
 */
int mapped_get_pages(struct mapped *m, struct mapped_block *mb, struct err *e)
{
	int ret = m->workers ? 0 : workers_create(&m->workers, load_piece, m, e);
	uint64_t at, n;

	if (ret < 0)
		return ret;
	for (at = 0; at < mb->present.bits; at += n) {
		n = MIN(mb->present.bits - at, (uint64_t)WORK_PAGES);
		workers_put(m->workers, &(struct work){mb, at, n});
	}
	ret = workers_wait(m->workers, e);
	m->normal_pages += bitmap_count(&mb->present);
	return ret;
}

/**
 * mapped_check() - Is the stream around the pages what was written?
 * @m:	Open
 * @c:	Its stream, read to the end, with a hash
 * @e:	Says what differs
 *
 * Errors: EBADMSG
 * Return: 0 also if the file says nothing about it, or a negative errno
 */
int mapped_check(const struct mapped *m, struct channel *c, struct err *e)
{
	uint64_t bytes = channel_taken(c), hash = channel_hash(c);

	if (!m->trailer)
		return channel_peek(c, 1) ? err_set(e, EBADMSG,
						    "damaged: unknown bytes behind the stream, at "
						    "%" PRIu64,
						    bytes)
					  : 0;
	if (m->stream_bytes != bytes)
		return err_set(e, EBADMSG,
			       "damaged: the stream had %" PRIu64 " bytes and has %" PRIu64,
			       m->stream_bytes, bytes);
	if (m->stream_hash != hash)
		return err_set(e, EBADMSG,
			       "damaged: what isn't memory: its checksum is %016" PRIx64
			       ", %016" PRIx64 " was written",
			       hash, m->stream_hash);
	return 0;
}
