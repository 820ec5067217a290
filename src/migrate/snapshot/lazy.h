/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_LAZY_H
#define MIGRATE_LAZY_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A guest that runs while its memory is still read from a snapshot file.
 *
 * Theory of operation: the guest's RAM is empty and watched (memory/demand.h). One thread brings
 * what is waited for, with its neighbours, as it is asked; another one brings all the rest, in
 * order. Each piece of 64 KiB is brought once, whatever happens to it later (a balloon may empty
 * it: then it is zeros), under one of a few locks. When all is there the watch ends, and the RAM is
 * as any other's.
 *
 * Until then nobody else may look at the file behind the RAM: it has holes where pages are missing.
 * So an upgrade or a migration waits, or is refused.
 */

struct lazy;

/**
 * struct lazy_hooks - Who wants to know
 * @finished:	All is there. On a thread of lazy's
 * @failed:	A page can't be had: whoever waits for it waits for ever, so the guest can't go on.
 *		On a thread of lazy's, once
 * @opaque:	For both
 */
struct lazy_hooks {
	void (*finished)(void *opaque);
	void (*failed)(void *opaque, const struct err *e);
	void *opaque;
};

void lazy_listen(struct lazy *l, const struct lazy_hooks *hooks); /* before anybody touches RAM */
bool lazy_complete(const struct lazy *l);
void lazy_progress(const struct lazy *l, uint64_t *ret_loaded, uint64_t *ret_total);
/* Ends the threads. If it wasn't complete, the RAM is worth nothing. */
void lazy_destroy(struct lazy *l);

#endif
