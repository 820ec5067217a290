/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: pages are written by several threads, each piece to its place; the thread
 * that walks the dirty bits waits for them before it looks for new ones. A page is hashed and
 * written from where it is. If the guest writes it in between, the file has another content than
 * was hashed, but then the page is dirty since and comes again, the last time when the guest is
 * stopped. That doesn't hold while the guest tells which pages it doesn't use: such a page's writes
 * are forgotten. Then pages are copied, and hashed and written from the copy.
 *
 * Where pages go past the cache (mapped_io.c), a few zeros between others are written, too: a disk
 * and a file system's list of extents prefer that to a hole of some pages.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "migrate/ram/zero.h"
#include "migrate/snapshot/mapped.h"
#include "migrate/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t mapped_magic[8] = "OUTLIVE2";

/**
 * mapped_put_block() - Write where the pages of a block will be
 * @m:	File being written
 * @c:	Its stream; goes on behind the pages
 * @b:	The block
 *
 * Source: docs/wire.md, "RAM at fixed places"
 */
void mapped_put_block(struct mapped *m, struct channel *c, struct ram_block *b)
{
	struct mapped_block *mb = mapped_block_add(m, b);

	mb->bitmap_at = m->begin + channel_offset(c) + MAPPED_HEADER_BYTES;
	mb->pages_at = ALIGN_UP(mb->bitmap_at + mapped_bitmap_bytes(b), (uint64_t)MAPPED_ALIGN);
	mb->sums = mem_calloc(b->size / WIRE_PAGE, sizeof(*mb->sums));
	if (bitmap_create(&mb->present, b->size / WIRE_PAGE) < 0)
		abort(); /* out of memory */
	channel_put_be32(c, MAPPED_VERSION);
	channel_put_be64(c, WIRE_PAGE);
	channel_put_be64(c, mb->bitmap_at);
	channel_put_be64(c, mb->pages_at);
	channel_seek(c, mb->pages_at + b->size - m->begin);
}

/* Hashes a page, or finds that it is zeros. */
static bool look_at(struct mapped_block *mb, uint64_t page, const uint8_t *bytes)
{
	if (page_is_zero(bytes)) {
		bitmap_take(&mb->present, page);
		return false;
	}
	mb->sums[page] = htobe64(XXH3_64bits(bytes, WIRE_PAGE));
	bitmap_set(&mb->present, page);
	return true;
}

/* Pages of a block, from @bytes on. */
static int save_run(struct mapped *m, const struct mapped_block *mb, const uint8_t *bytes,
		    uint64_t first, uint64_t pages, struct err *e)
{
	if (!pages)
		return 0;
	return mapped_write_pages(m, bytes, pages * WIRE_PAGE, mb->pages_at + first * WIRE_PAGE, e);
}

static int save_piece(void *opaque, const struct work *w, uint8_t *room, struct err *e)
{
	struct mapped *m = opaque;
	struct mapped_block *mb = w->block;
	const uint8_t *bytes = mb->block->hva + w->first * WIRE_PAGE;
	uint64_t gap = m->direct_fd < 0 ? 0 : MAPPED_GAP_PAGES;
	uint64_t i, run = 0, end = 0, normal = 0;
	int ret = 0;

	if (m->copy)
		bytes = memcpy(room, bytes, w->pages * WIRE_PAGE);
	for (i = 0; i < w->pages && ret == 0; i++) {
		if (!look_at(mb, w->first + i, bytes + i * WIRE_PAGE))
			continue;
		normal++;
		if (i - end > gap || run == end) {
			ret = save_run(m, mb, bytes + run * WIRE_PAGE, w->first + run, end - run,
				       e);
			run = i;
		}
		end = i + 1;
	}
	if (ret == 0)
		ret = save_run(m, mb, bytes + run * WIRE_PAGE, w->first + run, end - run, e);
	__atomic_fetch_add(&m->normal_pages, normal, __ATOMIC_RELAXED);
	__atomic_fetch_add(&m->zero_pages, w->pages - normal, __ATOMIC_RELAXED);
	return ret;
}

static struct mapped_block *find_block(struct mapped *m, const struct ram_block *b)
{
	size_t i = 0;

	while (m->blocks[i].block != b)
		i++; /* every block that is sent was announced */
	return &m->blocks[i];
}

/**
 * mapped_put_pages() - Have pages written
 * @m:		File being written
 * @b:		Their block
 * @first:	The first
 * @pages:	How many; they are read later, until mapped_put_wait()
 * @e:		Set on failure only
 *
 * Errors: as pthread_create(3)
 * Return: 0, or a negative errno
 */
int mapped_put_pages(struct mapped *m, struct ram_block *b, uint64_t first, uint64_t pages,
		     struct err *e)
{
	struct mapped_block *mb = find_block(m, b);
	int ret = m->workers ? 0 : workers_create(&m->workers, save_piece, m, e);
	uint64_t n;

	for (; pages && ret == 0; first += n, pages -= n) {
		n = MIN(pages, (uint64_t)WORK_PAGES);
		workers_put(m->workers, &(struct work){mb, first, n});
	}
	return ret;
}

/**
 * mapped_put_wait() - Wait until all pages are in the file
 * @m:	File being written
 * @e:	Set on failure only
 *
 * Return: 0, or a negative errno of pwrite(2)
 */
int mapped_put_wait(struct mapped *m, struct err *e)
{
	return m->workers ? workers_wait(m->workers, e) : 0;
}

/* Writes words, leaving those out that are zeros page by page: what isn't written is a hole. */
static int write_sparse(const struct mapped *m, const void *bytes, uint64_t n, uint64_t at,
			struct err *e)
{
	static const uint8_t zeros[WIRE_PAGE];
	const uint8_t *from = bytes;
	uint64_t part;
	int ret = 0;

	for (; n && ret == 0; from += part, at += part, n -= part) {
		part = MIN(n, (uint64_t)WIRE_PAGE);
		if (memcmp(from, zeros, part))
			ret = mapped_write(m, from, part, at, e);
	}
	return ret;
}

static int put_block_end(struct mapped *m, const struct mapped_block *mb, uint64_t *at,
			 struct err *e)
{
	uint64_t bitmap_bytes = mapped_bitmap_bytes(mb->block);
	uint64_t sums_bytes = mb->present.bits * sizeof(*mb->sums);
	uint64_t sum = htobe64(XXH3_64bits(mb->present.words, bitmap_bytes));
	int ret = mapped_write(m, mb->present.words, bitmap_bytes, mb->bitmap_at, e);

	if (ret == 0)
		ret = mapped_write(m, &sum, sizeof(sum), *at, e);
	if (ret == 0)
		ret = write_sparse(m, mb->sums, sums_bytes, *at + sizeof(sum), e);
	*at += sizeof(sum) + sums_bytes;
	return ret;
}

/**
 * mapped_put_end() - Write the bitmaps, the sums and the trailer
 * @m:	File being written; all pages are in it
 * @c:	Its stream, whole, with a hash
 * @e:	Set on failure only
 *
 * Return: 0, or a negative errno of pwrite(2)
 */
int mapped_put_end(struct mapped *m, struct channel *c, struct err *e)
{
	uint64_t stream_bytes = channel_offset(c), sums_at, at, hash = channel_hash(c);
	uint8_t trailer[MAPPED_TRAILER_BYTES];
	int ret = 0;
	size_t i;

	sums_at = at = ALIGN_UP(m->begin + stream_bytes, (uint64_t)WIRE_PAGE);
	for (i = 0; i < m->blocks_len && ret == 0; i++)
		ret = put_block_end(m, &m->blocks[i], &at, e);
	memcpy(trailer, mapped_magic, sizeof(mapped_magic));
	store_be64(trailer + 8, stream_bytes);
	store_be64(trailer + 16, hash);
	store_be64(trailer + 24, sums_at);
	return ret < 0 ? ret : mapped_write(m, trailer, sizeof(trailer), at, e);
}
