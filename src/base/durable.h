/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DURABLE_H
#define BASE_DURABLE_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* See that the folder of @path has its name on the disk. */
MUST_CHECK int folder_sync(const char *path, struct err *e);
/* @flags: of json_dumpf(3). Whatever fails or crashes when: the file is the old or the whole new
 * one. */
MUST_CHECK int json_store(const json_t *j, const char *path, size_t flags, struct err *e);

#endif
