/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a snapshot file is QEMU's stream, byte for byte, with 24 bytes behind it: a
 * magic word, the stream's length and its XXH3. QEMU stops reading behind the description and never
 * sees them. A file without them is somebody else's and ends there.
 */
#include "migrate/trailer.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const uint8_t trailer_magic[8] = "OUTLIVE1";

/**
 * trailer_put() - Write the trailer
 * @c:			Channel with a hash over the stream
 * @stream_bytes:	How long that is
 */
void trailer_put(struct channel *c, uint64_t stream_bytes)
{
	uint64_t hash = channel_hash(c);

	channel_put(c, trailer_magic, sizeof(trailer_magic));
	channel_put_be64(c, stream_bytes);
	channel_put_be64(c, hash);
}

/**
 * trailer_parse() - Compare a trailer with what was read
 * @bytes:	The trailer
 * @stream_bytes: What came before it
 * @hash:	XXH3 of that
 * @e:		Says what differs
 *
 * Errors: EBADMSG
 * Return: 0, or a negative errno
 */
int trailer_parse(const uint8_t bytes[TRAILER_BYTES], uint64_t stream_bytes, uint64_t hash,
		  struct err *e)
{
	uint64_t len = load_be64(bytes + 8), sum = load_be64(bytes + 16);

	if (memcmp(bytes, trailer_magic, sizeof(trailer_magic)))
		return err_set(e, EBADMSG, "unknown bytes behind the description, at %" PRIu64,
			       stream_bytes);
	if (len != stream_bytes)
		return err_set(e, EBADMSG,
			       "damaged: %" PRIu64 " bytes were written, %" PRIu64 " are here", len,
			       stream_bytes);
	if (sum != hash)
		return err_set(e, EBADMSG,
			       "damaged: its checksum is %016" PRIx64 ", %016" PRIx64
			       " was written",
			       hash, sum);
	return 0;
}

/**
 * trailer_get() - Read the trailer, if there is one
 * @c:	Channel with a hash over the stream, of which the description was the last
 * @e:	Says what is wrong
 *
 * Errors: EBADMSG the stream isn't what was written
 * Return: 0 also when the stream ends here, or a negative errno
 */
int trailer_get(struct channel *c, struct err *e)
{
	uint64_t stream_bytes = channel_taken(c), hash = channel_hash(c);
	const uint8_t *bytes = channel_peek(c, TRAILER_BYTES);

	if (bytes)
		return trailer_parse(bytes, stream_bytes, hash, e);
	if (channel_check(c, e) < 0)
		return channel_check(c, e);
	if (channel_peek(c, 1))
		return err_set(e, EBADMSG, "damaged: the checksum is cut short");
	return 0;
}
