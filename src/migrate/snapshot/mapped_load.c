/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each block's bitmap is read with the list of blocks, its sums and places are
 * looked up behind the stream. The pages are mapped_read.c's.
 *
 * The file isn't trusted: every offset is held against its size.
 */
#include "base/bytes.h"
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

	if ((version != MAPPED_VERSION && version != MAPPED_VERSION_PACKED) || page != WIRE_PAGE)
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

/* The next @n bytes behind the stream; NULL: there are fewer. */
static uint8_t *take_tail(struct mapped *m, uint64_t n)
{
	uint8_t *at = (uint8_t *)m->sums + m->sums_next;

	if (m->sums_bytes - m->sums_next < n)
		return NULL;
	m->sums_next += n;
	return at;
}

/* A place leads nowhere but into its group; the block's last group may be a short one. */
static int take_places(struct mapped *m, struct mapped_block *mb, struct err *e)
{
	uint64_t bytes = mapped_places_bytes(mb), at = m->sums_from + m->sums_next, i;
	const uint8_t *sum = take_tail(m, 8);
	uint64_t rest = mb->present.bits % MAPPED_GROUP_PAGES;
	bool whole;

	mb->places = sum ? take_tail(m, bytes) : NULL;
	if (!mb->places)
		return err_set(e, EBADMSG, "ram/%s: damaged: its pages' places are missing",
			       mb->block->name);
	whole = load_be64(sum) == XXH3_64bits(mb->places, bytes);
	for (i = mb->present.bits - rest; i < mb->present.bits && whole; i++)
		whole = mb->places[i] < rest;
	return whole ? 0
		     : err_set(e, EBADMSG, "ram/%s: damaged: the pages' places at byte %" PRIu64,
			       mb->block->name, at);
}

/* Finds a block's sums, and compares its bitmap's. */
static int take_sums(struct mapped *m, struct mapped_block *mb, bool packed, struct err *e)
{
	const uint8_t *sum = take_tail(m, 8);
	int ret = 0;

	if (sum && load_be64(sum) != XXH3_64bits(mb->present.words, mapped_bitmap_bytes(mb->block)))
		return err_set(e, EBADMSG, "ram/%s: damaged: the bitmap at byte %" PRIu64,
			       mb->block->name, mb->bitmap_at);
	if (sum && packed)
		ret = take_places(m, mb, e);
	if (ret < 0)
		return ret;
	mb->sums = sum ? (void *)take_tail(m, mb->present.bits * sizeof(*mb->sums)) : NULL;
	return mb->sums ? 0
			: err_set(e, EBADMSG, "ram/%s: damaged: its sums are missing",
				  mb->block->name);
}

static int read_bitmap(struct mapped *m, struct mapped_block *mb, bool packed, struct err *e)
{
	uint64_t bits = mb->block->size / WIRE_PAGE;
	int ret = bitmap_create(&mb->present, bits);

	if (ret < 0)
		return err_set(e, ENOMEM, "a bitmap for %s", mb->block->name);
	ret = mapped_read_bytes(m, mb->present.words, mapped_bitmap_bytes(mb->block), mb->bitmap_at,
				e);
	if (ret < 0)
		return ret;
	if (m->trailer)
		ret = take_sums(m, mb, packed, e);
	else if (packed)
		ret = err_set(e, EBADMSG,
			      "ram/%s: damaged: the file ends before the places of its "
			      "pages",
			      mb->block->name);
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
		r = read_bitmap(m, mb, version == MAPPED_VERSION_PACKED, e);
	if (r < 0)
		return r;
	channel_seek(c, mb->pages_at + b->size - m->begin);
	*ret = mb;
	return channel_check(c, e);
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
