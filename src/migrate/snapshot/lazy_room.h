/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_LAZY_ROOM_H
#define MIGRATE_LAZY_ROOM_H

#include "migrate/snapshot/lazy.h"
#include "migrate/snapshot/mapped.h"

/* How a load leaves RAM for later. Inside this room only. */

/* @fd is duplicated. */
MUST_CHECK int lazy_create(struct lazy **ret, int fd, uint64_t begin, struct err *e);
struct mapped *lazy_file(struct lazy *l);
bool lazy_takes(const struct ram_block *b);
/* The block that mapped_get_block() gave last is brought later. */
MUST_CHECK int lazy_add(struct lazy *l, struct err *e);
MUST_CHECK int lazy_start(struct lazy *l, struct err *e);

#endif
