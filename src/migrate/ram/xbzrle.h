/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_XBZRLE_H
#define MIGRATE_XBZRLE_H

#include "migrate/ram/ram.h"

/* Differences of pages, see xbzrle.c, and the versions that were sent, xbzrle_cache.c. Inside this
 * room only. */

MUST_CHECK int xbzrle_apply(uint8_t *page, const uint8_t *from, size_t len);
size_t xbzrle_diff(const uint8_t *old, const uint8_t *page, uint8_t *to);

enum xbzrle_answer {
	XBZRLE_AS_IT_IS = 1, /* the cache doesn't take it: send it from guest RAM */
	XBZRLE_WHOLE,        /* send these bytes: what the cache has now */
	XBZRLE_CHANGE,       /* send these bytes as a difference */
	XBZRLE_SAME,         /* the other side has it already */
};

struct xbzrle_cache;
struct xbzrle_cache *xbzrle_cache_create(uint64_t bytes, struct migrate_xbzrle *stats);
void xbzrle_cache_destroy(struct xbzrle_cache *x);
enum xbzrle_answer xbzrle_cache_send(struct xbzrle_cache *x, const struct ram_block *b,
				     uint64_t offset, unsigned int round, const uint8_t **ret,
				     size_t *ret_len);
void xbzrle_cache_forget(struct xbzrle_cache *x, const struct ram_block *b, uint64_t offset);

#endif
