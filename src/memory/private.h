/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_PRIVATE_H
#define MEMORY_PRIVATE_H

#include "memory/memory.h"

/* Inside the memory room: a block that begins as a file and leaves it as it is. */

MUST_CHECK int private_fill(struct ram_block *b, const char *path, struct err *e);

#endif
