/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: XBZRLE is the difference of two versions of a page: pairs of a run of equal
 * bytes (its length only) and a run of changed bytes (length and new bytes), lengths in LEB128 of
 * at most two bytes. We read it from QEMU and never write it: it pays on slow links with few
 * changed bytes per page only.
 */
#include "migrate/ram.h"
#include "migrate/wire.h"

#include <errno.h>
#include <string.h>

/* A length of one or two bytes; 0 bytes read: there is none. */
static size_t get_length(const uint8_t *from, size_t len, size_t *value)
{
	if (len < 1)
		return 0;
	*value = from[0] & 0x7f;
	if (!(from[0] & 0x80))
		return 1;
	if (len < 2 || from[1] & 0x80)
		return 0;
	*value |= (size_t)from[1] << 7;
	return 2;
}

/**
 * xbzrle_apply() - Turn a page into its next version
 * @page:	WIRE_PAGE bytes
 * @from:	Difference
 * @len:	Its bytes
 *
 * Errors: EINVAL the difference is cut short or leaves the page, which is then undefined
 * Return: 0, or a negative errno
 */
int xbzrle_apply(uint8_t *page, const uint8_t *from, size_t len)
{
	size_t at = 0, i = 0, run, used;

	while (i < len) {
		used = get_length(from + i, len - i, &run);
		if (!used || (i && !run) || run > WIRE_PAGE - at)
			return -EINVAL;
		at += run;
		i += used;
		used = get_length(from + i, len - i, &run);
		i += used;
		if (!used || !run || run > WIRE_PAGE - at || run > len - i)
			return -EINVAL;
		memcpy(page + at, from + i, run);
		at += run;
		i += run;
	}
	return 0;
}
