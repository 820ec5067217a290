/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_VIEW_H
#define MEMORY_VIEW_H

#include "memory/memory.h"

/* Inside the memory room: making, publishing and reading flattened views. */

MUST_CHECK int view_update(struct memory *m, struct err *e);
void view_destroy_all(struct memory *m);
bool view_find(const struct memory_views *views, gpa_t gpa, struct memory_range *ret);

#endif
