/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a page that was sent is kept as it was sent, so that its next version can go
 * as a difference. Each page has one place where it may be kept; one that was used in this round or
 * the last isn't pushed out by another. The guest writes while we look, so a page is copied once,
 * and everything is said of the copy: what is kept is exactly what the other side has.
 */
#include "base/owned.h"
#include "migrate/ram/xbzrle.h"
#include "migrate/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FRESH_ROUNDS = 1 };

/**
 * struct xbzrle_place - Where a page is kept
 * @block:	Of the page; NULL: free
 * @offset:	Where in it
 * @round:	In which it was last sent
 */
struct xbzrle_place {
	const struct ram_block *block;
	uint64_t offset;
	unsigned int round;
};

/**
 * struct xbzrle_cache - Pages that were sent
 * @places:	One per page that fits
 * @len:	How many
 * @pages:	Their content, mapped; the kernel gives memory for what is used only
 * @stats:	Kept up to date
 * @copy, @change: The page at hand, and what has changed in it
 */
struct xbzrle_cache {
	struct xbzrle_place *places;
	uint64_t len;
	uint8_t *pages;
	struct migrate_xbzrle *stats;
	uint8_t copy[WIRE_PAGE], change[WIRE_PAGE];
};

/**
 * xbzrle_cache_create() - An empty cache
 * @bytes:	Room for pages; at least one is kept
 * @stats:	Stays while the cache does
 *
 * Return: NULL: no address space for it
 */
struct xbzrle_cache *xbzrle_cache_create(uint64_t bytes, struct migrate_xbzrle *stats)
{
	struct xbzrle_cache *x = mem_zalloc(sizeof(*x));

	x->len = MAX(bytes / WIRE_PAGE, (uint64_t)1);
	x->stats = stats;
	x->pages = mmap(NULL, x->len * WIRE_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (x->pages == MAP_FAILED) {
		free(x);
		return NULL;
	}
	x->places = mem_calloc(x->len, sizeof(*x->places));
	*stats = (struct migrate_xbzrle){.cache_bytes = x->len * WIRE_PAGE};
	return x;
}

/**
 * xbzrle_cache_destroy() - Forget all
 * @x:	May be NULL
 */
void xbzrle_cache_destroy(struct xbzrle_cache *x)
{
	if (!x)
		return;
	munmap(x->pages, x->len * WIRE_PAGE);
	free(x->places);
	free(x);
}

static struct xbzrle_place *place_of(const struct xbzrle_cache *x, const struct ram_block *b,
				     uint64_t offset)
{
	uint64_t hash = (uintptr_t)b / sizeof(*b) * 0x9e3779b97f4a7c15;

	return &x->places[(offset / WIRE_PAGE + hash) % x->len];
}

static bool is_kept(const struct xbzrle_place *p, const struct ram_block *b, uint64_t offset)
{
	return p->block == b && p->offset == offset;
}

static uint8_t *content(const struct xbzrle_cache *x, const struct xbzrle_place *p)
{
	return x->pages + (uint64_t)(p - x->places) * WIRE_PAGE;
}

static enum xbzrle_answer miss(struct xbzrle_cache *x, struct xbzrle_place *p,
			       const struct ram_block *b, uint64_t offset, unsigned int round,
			       const uint8_t **ret, size_t *ret_len)
{
	x->stats->misses++;
	if (p->block && p->round + FRESH_ROUNDS >= round)
		return XBZRLE_AS_IT_IS;
	*p = (struct xbzrle_place){b, offset, round};
	memcpy(content(x, p), b->hva + offset, WIRE_PAGE);
	*ret = content(x, p);
	*ret_len = WIRE_PAGE;
	return XBZRLE_WHOLE;
}

/**
 * xbzrle_cache_send() - A page is to be sent: how?
 * @x:		Cache
 * @b:		Block of the page
 * @offset:	Where in it
 * @round:	Of pre-copy
 * @ret:	Set to the bytes to send, until the next call
 * @ret_len:	Set to how many
 *
 * Return: how
 */
enum xbzrle_answer xbzrle_cache_send(struct xbzrle_cache *x, const struct ram_block *b,
				     uint64_t offset, unsigned int round, const uint8_t **ret,
				     size_t *ret_len)
{
	struct xbzrle_place *p = place_of(x, b, offset);

	if (!is_kept(p, b, offset))
		return miss(x, p, b, offset, round, ret, ret_len);
	p->round = round;
	x->stats->pages++;
	memcpy(x->copy, b->hva + offset, WIRE_PAGE);
	*ret_len = xbzrle_diff(content(x, p), x->copy, x->change);
	if (!*ret_len)
		return XBZRLE_SAME;
	memcpy(content(x, p), x->copy, WIRE_PAGE);
	*ret = *ret_len == WIRE_PAGE ? x->copy : x->change;
	x->stats->overflows += *ret_len == WIRE_PAGE;
	x->stats->bytes += *ret_len;
	return *ret_len == WIRE_PAGE ? XBZRLE_WHOLE : XBZRLE_CHANGE;
}

/**
 * xbzrle_cache_forget() - A page is sent in another way
 * @x:		Cache
 * @b:		Block of the page
 * @offset:	Where in it
 */
void xbzrle_cache_forget(struct xbzrle_cache *x, const struct ram_block *b, uint64_t offset)
{
	struct xbzrle_place *p = place_of(x, b, offset);

	if (is_kept(p, b, offset))
		p->block = NULL;
}
