/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: pages are read group by group, in the order in which the file has them, and
 * their sums are compared; several threads take a group each. What isn't in the bitmap is zeros,
 * and is written only where something else may be. Where pages have places of their own they are
 * read in spans, over short gaps, which may hold anything.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "migrate/ram/zero.h"
#include "migrate/snapshot/mapped.h"
#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/**
 * struct group - What of a group is read
 * @mb:		Its block
 * @first:	Its first page
 * @page:	Per place, the page there, counted from @first; -1: none that is wanted
 * @to:		Per place, room for the page; that of a gap is only read over. NULL: it isn't
 * @places:	How many places there are
 */
struct group {
	const struct mapped_block *mb;
	uint64_t first;
	int16_t page[MAPPED_GROUP_PAGES];
	uint8_t *to[MAPPED_GROUP_PAGES];
	unsigned int places;
};

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
		       mb->block->name, page * WIRE_PAGE, mapped_place(mb, page), is, was);
}

/* Finds where the pages from @from up to @end are; two of them at one place are damage. */
static int group_find(struct group *g, const struct mapped_block *mb, uint64_t from, uint64_t end,
		      struct err *e)
{
	uint64_t page;
	unsigned int place;

	g->mb = mb;
	g->first = ALIGN_DOWN(from, (uint64_t)MAPPED_GROUP_PAGES);
	g->places = (unsigned int)MIN(mb->present.bits - g->first, (uint64_t)MAPPED_GROUP_PAGES);
	memset(g->page, -1, sizeof(g->page));
	for (page = bitmap_next(&mb->present, from); page < end;
	     page = bitmap_next(&mb->present, page + 1)) {
		place = mb->places ? mb->places[page] : (unsigned int)(page - g->first);
		if (place >= g->places || g->page[place] >= 0)
			return err_set(e, EBADMSG,
				       "ram/%s: damaged: the page at %#" PRIx64
				       " has the place of another one",
				       mb->block->name, page * WIRE_PAGE);
		g->page[place] = (int16_t)(page - g->first);
	}
	return 0;
}

static unsigned int next_wanted(const struct group *g, unsigned int place)
{
	while (place < g->places && g->page[place] < 0)
		place++;
	return place;
}

/* The end of what is read at once from @from on. */
static unsigned int span_end(const struct group *g, unsigned int from)
{
	unsigned int end = from + 1, next;

	for (; (next = next_wanted(g, end)) < g->places; end = next + 1)
		if (next > end && (next - end > MAPPED_GAP_PAGES || !g->to[end]))
			break;
	return end;
}

static int span_read(const struct mapped *m, const struct group *g, unsigned int from,
		     unsigned int end, struct err *e)
{
	struct iovec parts[MAPPED_GROUP_PAGES] = {{g->to[from], WIRE_PAGE}};
	uint64_t at = g->mb->pages_at + (g->first + from) * WIRE_PAGE;
	unsigned int i;
	int n = 1, ret;

	for (i = from + 1; i < end; i++)
		if ((uint8_t *)parts[n - 1].iov_base + parts[n - 1].iov_len == g->to[i])
			parts[n - 1].iov_len += WIRE_PAGE;
		else
			parts[n++] = (struct iovec){g->to[i], WIRE_PAGE};
	ret = mapped_read_parts(m, parts, n, at, e);
	for (i = from; i < end && ret == 0 && g->mb->sums; i++)
		if (g->page[i] >= 0)
			ret = sum_check(g->mb, g->first + (uint64_t)g->page[i], g->to[i], e);
	return ret;
}

static int group_read(const struct mapped *m, const struct group *g, struct err *e)
{
	unsigned int from, end;
	int ret = 0;

	for (from = next_wanted(g, 0); from < g->places && ret == 0; from = next_wanted(g, end)) {
		end = span_end(g, from);
		ret = span_read(m, g, from, end, e);
	}
	return ret;
}

/**
 * mapped_read() - Read pages and compare their sums
 * @m:		Open
 * @mb:		Their block
 * @first:	The first
 * @pages:	How many; those that aren't in the file are left out
 * @to:		Room for all of them
 * @e:		Names the first damaged one
 *
 * Errors: EBADMSG damaged; as pread(2)
 * Return: 0, or a negative errno
 */
int mapped_read(const struct mapped *m, const struct mapped_block *mb, uint64_t first,
		uint64_t pages, uint8_t *to, struct err *e)
{
	uint64_t at, last = first + pages, end;
	struct group g;
	unsigned int i;
	int ret = 0;

	for (at = first; at < last && ret == 0; at = end) {
		end = MIN(ALIGN_DOWN(at, (uint64_t)MAPPED_GROUP_PAGES) + MAPPED_GROUP_PAGES, last);
		ret = group_find(&g, mb, at, end, e);
		for (i = 0; i < g.places && ret == 0; i++)
			g.to[i] = g.page[i] < 0 ? NULL
						: to + (g.first + (uint64_t)g.page[i] - first) *
								  WIRE_PAGE;
		if (ret == 0)
			ret = group_read(m, &g, e);
	}
	return ret;
}

static void clear(const struct mapped_block *mb, uint64_t first, uint64_t end)
{
	uint8_t *page;

	for (first = bitmap_next(mb->touched, first); first < end;
	     first = bitmap_next(mb->touched, first + 1)) {
		page = mb->block->hva + first * WIRE_PAGE;
		if (!bitmap_test(&mb->present, first) && !page_is_zero(page))
			memset(page, 0, WIRE_PAGE);
	}
}

/* What is read in place needs its pages before. */
static int group_reserve(const struct mapped_block *mb, uint64_t first, uint64_t end, struct err *e)
{
	uint64_t last = end;

	first = bitmap_next(&mb->present, first);
	while (last > first && !bitmap_test(&mb->present, last - 1))
		last--;
	if (first >= last)
		return 0;
	return ram_reserve(mb->block, first * WIRE_PAGE, (last - first) * WIRE_PAGE, e);
}

/* What was read to a room, to the guest: runs that follow each other there as well. */
static int group_put(const struct group *g, struct err *e)
{
	unsigned int from, end;
	struct iovec part;
	int ret = 0;

	for (from = next_wanted(g, 0); from < g->places && ret == 0; from = next_wanted(g, end)) {
		for (end = from + 1; end < g->places; end++)
			if (g->page[end] != g->page[end - 1] + 1)
				break;
		part = (struct iovec){g->to[from], (size_t)(end - from) * WIRE_PAGE};
		ret = ram_put(g->mb->block, (g->first + (uint64_t)g->page[from]) * WIRE_PAGE, &part,
			      1, e);
	}
	return ret;
}

/* Huge pages are read in place, others to @room, where each place has one of its own; so does what
 * isn't the guest's. */
static int load_group(void *opaque, const struct work *w, uint8_t *room, struct err *e)
{
	const struct mapped_block *mb = w->block;
	uint64_t end = w->first + w->pages;
	struct group g;
	unsigned int i;
	int ret = group_find(&g, mb, w->first, end, e);

	for (i = 0; i < g.places && ret == 0; i++)
		g.to[i] = mb->block->huge && g.page[i] >= 0
				  ? mb->block->hva + (g.first + (uint64_t)g.page[i]) * WIRE_PAGE
				  : room + (uint64_t)i * WIRE_PAGE;
	if (ret == 0 && mb->block->huge)
		ret = group_reserve(mb, w->first, end, e);
	if (ret == 0)
		ret = group_read(opaque, &g, e);
	if (ret == 0)
		clear(mb, w->first, end);
	return ret < 0 || mb->block->huge ? ret : group_put(&g, e);
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
	int ret = m->workers ? 0 : workers_create(&m->workers, load_group, m, e);
	uint64_t at, n;

	if (ret < 0)
		return ret;
	for (at = 0; at < mb->present.bits; at += n) {
		n = MIN(mb->present.bits - at, (uint64_t)MAPPED_GROUP_PAGES);
		workers_put(m->workers, &(struct work){mb, at, n});
	}
	ret = workers_wait(m->workers, e);
	m->normal_pages += bitmap_count(&mb->present);
	return ret;
}
