/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: output that couldn't leave yet. Grown in steps up to the caller's limit,
 * given back when empty, so that an idle console costs nothing. Its owner's lock is held.
 */
#include "char/backend.h"

#include "base/owned.h"

#include <string.h>

/**
 * buffer_put() - Append as much as fits
 * @b:		The buffer
 * @buf:	Bytes
 * @len:	How many
 * @max:	The buffer never holds more
 *
 * Return: bytes taken
 */
size_t buffer_put(struct char_buffer *b, const uint8_t *buf, size_t len, size_t max)
{
	len = MIN(len, max - b->len);
	if (b->len + len > b->room) {
		size_t wanted = MAX(b->room * 2, b->len + len + 256);
		size_t room = MIN(wanted, max);
		uint8_t *data = realloc(b->data, room);

		if (!data)
			return 0;
		b->data = data;
		b->room = room;
	}
	if (len)
		memcpy(b->data + b->len, buf, len);
	b->len += len;
	return len;
}

/**
 * buffer_drop() - Forget the oldest bytes
 * @b:		The buffer
 * @len:	At most b->len
 */
void buffer_drop(struct char_buffer *b, size_t len)
{
	b->len -= len;
	if (b->len) {
		memmove(b->data, b->data + len, b->len);
		return;
	}
	free(b->data);
	b->data = NULL;
	b->room = 0;
}
