/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: pages are written by several threads, each group to its place; the thread
 * that walks the dirty bits gathers what is wanted of a group, which may have many holes, before it
 * hands it over, and waits for all before it looks for new ones. A page is hashed and
 * written from where it is. If the guest writes it in between, the file has another content than
 * was hashed, but then the page is dirty since and comes again, the last time when the guest is
 * stopped. That doesn't hold while the guest tells which pages it doesn't use: such a page's writes
 * are forgotten. Then pages are copied, and hashed and written from the copy.
 *
 * Where pages with places of their own go past the cache (mapped_io.c), a few zeros between others
 * are written, too: a disk and a file system's list of extents prefer that to a hole of some pages.
 * Packed, what isn't zeros is gathered: past the cache by a copy, since a disk takes many short
 * pieces of memory slower than one long one, else from where it is. A page gets the next place of
 * its group when it first isn't zeros, so a group's places always suffice.
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

static void places_make(struct mapped_block *mb)
{
	uint64_t pages = mb->block->size / WIRE_PAGE;

	mb->places = mem_zalloc(mapped_places_bytes(mb));
	mb->used = mem_calloc(DIV_ROUND_UP(pages, MAPPED_GROUP_PAGES), sizeof(*mb->used));
	if (bitmap_create(&mb->placed, pages) < 0)
		abort(); /* out of memory */
}

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
	if (bitmap_create(&mb->present, b->size / WIRE_PAGE) < 0 ||
	    bitmap_create(&mb->wanted, b->size / WIRE_PAGE) < 0)
		abort(); /* out of memory */
	if (m->packed)
		places_make(mb);
	channel_put_be32(c, m->packed ? MAPPED_VERSION_PACKED : MAPPED_VERSION);
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

/* A group is rarely worked at by two threads at a time, a page never is. */
static void give_place(struct mapped_block *mb, uint64_t page)
{
	if (!mb->places || bitmap_test(&mb->placed, page))
		return;
	mb->places[page] = (uint8_t)__atomic_fetch_add(&mb->used[page / MAPPED_GROUP_PAGES], 1,
						       __ATOMIC_RELAXED);
	bitmap_set(&mb->placed, page);
}

/**
 * struct run - Pages that are written together
 * @parts:	Where they are
 * @n:		How many parts
 * @at, @bytes:	Where in the file
 * @apart:	Not all pages since the last one of the run were looked at
 */
struct run {
	struct iovec parts[WORK_PAGES];
	int n;
	uint64_t at, bytes;
	bool apart;
};

static int run_write(const struct mapped *m, struct run *run, struct err *e)
{
	int ret = run->n ? mapped_write_parts(m, run->parts, run->n, run->at, e) : 0;

	run->n = 0;
	run->bytes = 0;
	return ret;
}

/* Zeros between two pages that have places of their own: memory has them as the file does. What
 * wasn't looked at may be a hole there, which isn't to be filled by reading it. */
static void run_over_gap(const struct mapped *m, const struct mapped_block *mb, struct run *run,
			 uint64_t at)
{
	uint64_t gap = at - (run->at + run->bytes);

	if (!run->n || run->apart || mb->places || m->direct_fd < 0 ||
	    gap > (uint64_t)MAPPED_GAP_PAGES * WIRE_PAGE)
		return;
	run->parts[run->n - 1].iov_len += gap;
	run->bytes += gap;
}

/* Adds a page to the run, which is written before if the page isn't the file's next. */
static int run_add(const struct mapped *m, const struct mapped_block *mb, struct run *run,
		   uint64_t page, const uint8_t *bytes, struct err *e)
{
	uint64_t at = mapped_place(mb, page);
	struct iovec *last;
	int ret = 0;

	run_over_gap(m, mb, run, at);
	if (run->at + run->bytes != at)
		ret = run_write(m, run, e);
	last = run->n ? &run->parts[run->n - 1] : NULL;
	if (!last)
		run->at = at;
	if (last && (const uint8_t *)last->iov_base + last->iov_len == bytes)
		last->iov_len += WIRE_PAGE;
	else
		run->parts[run->n++] = (struct iovec){(void *)(uintptr_t)bytes, WIRE_PAGE};
	run->bytes += WIRE_PAGE;
	run->apart = false;
	return ret;
}

/* Those pages of a group that are wanted. */
static int save_group(void *opaque, const struct work *w, uint8_t *room, struct err *e)
{
	struct mapped *m = opaque;
	struct mapped_block *mb = w->block;
	uint64_t i, last = w->first, end = w->first + w->pages, all = 0, normal = 0;
	bool gathers = mb->places && m->direct_fd >= 0;
	struct run run = {.n = 0};
	const uint8_t *page;
	uint8_t *own;
	int ret = 0;

	for (i = bitmap_next(&mb->wanted, w->first); i < end && ret == 0;
	     i = bitmap_next(&mb->wanted, i + 1)) {
		bitmap_take(&mb->wanted, i);
		run.apart |= i > last + 1;
		last = i;
		all++;
		page = mb->block->hva + i * WIRE_PAGE;
		own = room + (mb->places ? normal : i - w->first) * WIRE_PAGE;
		if (m->copy)
			page = memcpy(own, page, WIRE_PAGE);
		if (!look_at(mb, i, page))
			continue;
		if (gathers && !m->copy)
			page = memcpy(own, page, WIRE_PAGE);
		normal++;
		give_place(mb, i);
		ret = run_add(m, mb, &run, i, page, e);
	}
	if (ret == 0)
		ret = run_write(m, &run, e);
	__atomic_fetch_add(&m->normal_pages, normal, __ATOMIC_RELAXED);
	__atomic_fetch_add(&m->zero_pages, all - normal, __ATOMIC_RELAXED);
	return ret;
}

static struct mapped_block *find_block(struct mapped *m, const struct ram_block *b)
{
	size_t i = 0;

	while (m->blocks[i].block != b)
		i++; /* every block that is sent was announced */
	return &m->blocks[i];
}

/* Has the group worked at that was being gathered. */
static void group_close(struct mapped *m)
{
	if (m->gathered.pages)
		workers_put(m->workers, &m->gathered);
	m->gathered.pages = 0;
}

static void group_want(struct mapped *m, struct mapped_block *mb, uint64_t first, uint64_t n)
{
	uint64_t begin = ALIGN_DOWN(first, (uint64_t)MAPPED_GROUP_PAGES);

	if (m->gathered.block != mb || m->gathered.first != begin)
		group_close(m);
	m->gathered = (struct work){mb, begin,
				    MIN(mb->present.bits - begin, (uint64_t)MAPPED_GROUP_PAGES)};
	bitmap_set_range(&mb->wanted, first, n);
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
	int ret = m->workers ? 0 : workers_create(&m->workers, save_group, m, e);
	uint64_t n;

	for (; pages && ret == 0; first += n, pages -= n) {
		n = MIN(pages, MAPPED_GROUP_PAGES - first % MAPPED_GROUP_PAGES);
		group_want(m, mb, first, n);
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
	if (!m->workers)
		return 0;
	group_close(m);
	return workers_wait(m->workers, e);
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

/* Writes what is summed up as a whole: its sum, at the file's end so far. */
static int put_sum(const struct mapped *m, const void *bytes, uint64_t n, uint64_t *at,
		   struct err *e)
{
	uint64_t sum = htobe64(XXH3_64bits(bytes, n));
	int ret = mapped_write(m, &sum, sizeof(sum), *at, e);

	*at += sizeof(sum);
	return ret;
}

static int put_places(const struct mapped *m, const struct mapped_block *mb, uint64_t *at,
		      struct err *e)
{
	uint64_t bytes = mapped_places_bytes(mb);
	int ret = put_sum(m, mb->places, bytes, at, e);

	if (ret == 0)
		ret = write_sparse(m, mb->places, bytes, *at, e);
	*at += bytes;
	return ret;
}

static int put_block_end(const struct mapped *m, const struct mapped_block *mb, uint64_t *at,
			 struct err *e)
{
	uint64_t bitmap_bytes = mapped_bitmap_bytes(mb->block);
	uint64_t sums_bytes = mb->present.bits * sizeof(*mb->sums);
	int ret = mapped_write(m, mb->present.words, bitmap_bytes, mb->bitmap_at, e);

	if (ret == 0)
		ret = put_sum(m, mb->present.words, bitmap_bytes, at, e);
	if (ret == 0 && mb->places)
		ret = put_places(m, mb, at, e);
	if (ret == 0)
		ret = write_sparse(m, mb->sums, sums_bytes, *at, e);
	*at += sums_bytes;
	return ret;
}

/**
 * mapped_put_end() - Write the bitmaps, the places, the sums and the trailer
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
