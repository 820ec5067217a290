/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the enabled regions' borders cut the address space into intervals; within
 * one, the same region answers everywhere: the one of highest priority, of equals the one added
 * last. Neighbours of the same region are joined. There are some hundred regions at most, and a
 * view is made when a BAR moves: simple beats clever here.
 */
#include "device/io_view.h"

#include "base/owned.h"

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t last_of(const struct io_region *r)
{
	uint64_t last = r->base + r->size - 1;

	return last < r->base ? UINT64_MAX : last;
}

static bool answers(const struct io_region *r, uint64_t addr)
{
	return r->enabled && r->size && addr >= r->base && addr <= last_of(r);
}

/* First addresses of intervals, sorted. */
static size_t borders(const struct list *regions, uint64_t *at)
{
	const struct io_region *r;
	size_t n = 0;

	list_for_each (r, regions, link) {
		if (!r->enabled || !r->size)
			continue;
		at[n++] = r->base;
		if (last_of(r) != UINT64_MAX)
			at[n++] = last_of(r) + 1;
	}
	qsort(at, n, sizeof(*at), compare);
	return n;
}

static struct io_region *winner(const struct list *regions, uint64_t addr)
{
	struct io_region *best = NULL, *r;

	list_for_each (r, regions, link)
		if (answers(r, addr) && (!best || r->priority >= best->priority))
			best = r;
	return best;
}

static void append(struct io_view *v, uint64_t first, uint64_t last, struct io_region *r)
{
	struct io_range *before = v->len ? &v->ranges[v->len - 1] : NULL;

	if (before && before->region == r && before->last + 1 == first)
		before->last = last;
	else
		v->ranges[v->len++] = (struct io_range){first, last, r->base, last_of(r), r};
}

/**
 * io_view_make() - Flatten a list of regions
 * @regions:	Links of struct io_region
 *
 * Return: a new view; the caller frees it
 */
struct io_view *io_view_make(const struct list *regions)
{
	const struct io_region *count;
	size_t len = 0;

	list_for_each (count, regions, link)
		len++;

	OWNED(uint64_t *) at = mem_calloc(2 * len, sizeof(*at));
	struct io_view *v = mem_zalloc(sizeof(*v) + 2 * len * sizeof(v->ranges[0]));
	size_t n = borders(regions, at);

	for (size_t i = 0; i < n; i++) {
		uint64_t last = i + 1 < n ? at[i + 1] - 1 : UINT64_MAX;
		struct io_region *r = i + 1 < n && at[i + 1] == at[i] ? NULL
								      : winner(regions, at[i]);

		if (r)
			append(v, at[i], MIN(last, last_of(r)), r);
	}
	return v;
}

/**
 * io_view_find() - Who answers at an address
 * @v:		The view
 * @addr:	Address
 *
 * Return: the range, or NULL if nothing is there
 */
const struct io_range *io_view_find(const struct io_view *v, uint64_t addr)
{
	size_t low = 0, high = v->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (addr > v->ranges[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	return low < v->len && addr >= v->ranges[low].first ? &v->ranges[low] : NULL;
}
