/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_WORKERS_H
#define MIGRATE_WORKERS_H

#include "base/err.h"

#include <stdint.h>

/*
 * A few threads that work off pieces of a RAM block in any order. Inside this room only.
 */

/**
 * struct work - A piece of a block
 * @block:	The user's
 * @first, @pages: Pages of 4 KiB
 */
struct work {
	void *block;
	uint64_t first, pages;
};

/**
 * typedef work_fn - Does a piece of work, on a thread of its own
 * @opaque:	The user's
 * @w:		The piece
 * @room:	WORK_ROOM bytes of the thread's own, page aligned
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno; after the first failure pieces are dropped
 */
typedef int work_fn(void *opaque, const struct work *w, uint8_t *room, struct err *e);

enum { WORK_PAGES = 256, WORK_ROOM = WORK_PAGES * 4096 };

struct workers;

MUST_CHECK int workers_create(struct workers **ret, work_fn *fn, void *opaque, struct err *e);
void workers_destroy(struct workers *w); /* waits for what is under way */
void workers_put(struct workers *w, const struct work *piece);
MUST_CHECK int workers_wait(struct workers *w, struct err *e); /* the first failure, once */

#endif
