/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include "base/err.h"

#include <stddef.h>

typedef const char *nearest_name_fn(const void *table, size_t index);

const char *nearest(const char *word, const void *table, nearest_name_fn *name);
const char *nearest_string(const char *word, const char *const *words);
int err_nearest(struct err *e, const char *suggestion);

#endif
