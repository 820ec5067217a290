/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_BACKING_H
#define MEMORY_BACKING_H

#include "memory/memory.h"

/* Inside the memory room: the file behind a block and its mapping. */

MUST_CHECK int backing_open(struct ram_block *b, const struct ram_options *options, struct err *e);
MUST_CHECK int backing_map(struct ram_block *b, const struct ram_options *options, struct err *e);
void backing_unmap(struct ram_block *b);

#endif
