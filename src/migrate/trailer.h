/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_TRAILER_H
#define MIGRATE_TRAILER_H

#include "migrate/channel/channel.h"

/* What our snapshot files have behind QEMU's stream. Inside this room only; docs/wire.md has the
 * octets. */

enum { TRAILER_BYTES = 24 };

void trailer_put(struct channel *c, uint64_t stream_bytes);
MUST_CHECK int trailer_get(struct channel *c, struct err *e);
MUST_CHECK int trailer_parse(const uint8_t bytes[TRAILER_BYTES], uint64_t stream_bytes,
			     uint64_t hash, struct err *e);

#endif
