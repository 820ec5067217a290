/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_DEMAND_H
#define MEMORY_DEMAND_H

#include "memory/memory.h"

/*
 * Pages on demand: userfaultfd(2) on RAM blocks.
 *
 * Theory of operation: a block that is watched is empty. Whoever touches a page of it (a vCPU, a
 * device, the kernel on our behalf) waits until the page is given; demand_next() tells which one is
 * waited for. Giving a page that is there already does no harm and wakes whoever waits.
 *
 * Only this process's mapping is watched: another process that maps the file would find holes.
 */

MUST_CHECK int demand_open(int *ret_fd, struct err *e);
/* Drops the block's content and watches it. */
MUST_CHECK int demand_watch(int fd, struct ram_block *b, struct err *e);
/* What isn't there from now on is zeros. */
void demand_unwatch(int fd, const struct ram_block *b);
/* The next address that is waited for; NULL: none. Never waits. */
uint8_t *demand_next(int fd);
/* Gives pages: whole ones of the block's page size. @from NULL: zeros. */
MUST_CHECK int demand_give(int fd, const struct ram_block *b, uint64_t offset, uint64_t bytes,
			   const uint8_t *from, struct err *e);

#endif
