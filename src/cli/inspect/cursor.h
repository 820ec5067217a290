/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CURSOR_H
#define CLI_CURSOR_H

#include "base/compiler.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * struct cursor - Bytes of a stream being read in order, for "outlive inspect"
 * @data:	The whole file; offsets count from its beginning
 * @at:		Next byte
 * @end:	First byte that isn't ours
 * @e:		Story of the first failure
 * @failed:	There was one: everything read since is 0
 */
struct cursor {
	const uint8_t *data;
	size_t at, end;
	struct err *e;
	bool failed;
};

void cursor_fail(struct cursor *c, const char *fmt, ...) PRINTF(2, 3);
const uint8_t *cursor_take(struct cursor *c, size_t n, const char *what);
uint64_t cursor_number(struct cursor *c, unsigned int n,
		       const char *what); /* big-endian, @n bytes */
void cursor_text(struct cursor *c, char text[256], const char *what);
bool cursor_at(const struct cursor *c, uint8_t byte);

/* A piece of the stream as JSON: name, type, offset, size, and value or fields. */
json_t *piece_new(const char *name, const char *type, size_t offset);
void piece_end(json_t *piece, const struct cursor *c); /* sets the size from the offset */
json_t *piece_inner(json_t *piece);                    /* its list of fields */
json_t *piece_number(uint64_t v);
json_t *piece_read(struct cursor *c, json_t *into, const char *name, const char *type, size_t n);
json_t *piece_subsection(struct cursor *c, json_t *into);

/* inspect/device.c, inspect/virtio.c */
void inspect_described(struct cursor *c, const json_t *desc, json_t *into);
void inspect_virtio(struct cursor *c, json_t *into);

#endif
