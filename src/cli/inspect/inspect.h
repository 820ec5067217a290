/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* outlive inspect FILE: what is in a migration stream or snapshot. */

int inspect_main(int argc, char **argv);
/* Takes a whole stream apart. EINVAL, EBADMSG: it isn't one; the text has the byte. The caller owns
 * the reference. */
MUST_CHECK int inspect_stream(const uint8_t *bytes, size_t len, json_t **ret, struct err *e);

#endif
