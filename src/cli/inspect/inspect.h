/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* outlive inspect FILE: what is in a migration stream or snapshot. */

/**
 * struct inspect_options - How a stream is shown
 * @json:	As JSON
 * @sections:	Without the fields of the sections
 * @begin:	Where in the file it begins
 */
struct inspect_options {
	bool json, sections;
	uint64_t begin;
};

/* @path may be "-", standard input. EINVAL it isn't a whole stream: what can be read is shown all
 * the same, as text. */
MUST_CHECK int inspect_file(const char *path, const struct inspect_options *o, struct err *e);
/* Takes a stream apart, which begins at @begin. EINVAL: it isn't a whole one; the text has the
 * byte, and @ret what comes before that. The caller owns the reference in any case. */
MUST_CHECK int inspect_stream(const uint8_t *bytes, size_t len, size_t begin, json_t **ret,
			      struct err *e);

#endif
