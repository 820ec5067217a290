/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ROOM_H
#define VMM_ROOM_H

#include "memory/memory.h"

#include <jansson.h>

/* A target: is there room for a guest? */

void room_check(const struct memory *memory, json_t *found);

#endif
