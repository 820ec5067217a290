/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: XBZRLE is the difference of two versions of a page: pairs of a run of equal
 * bytes (its length only) and a run of changed bytes (length and new bytes), lengths in LEB128 of
 * at most two bytes. It pays on slow links with few changed bytes per page only. Which versions the
 * other side has, xbzrle_cache.c knows.
 */
#include "migrate/ram/xbzrle.h"
#include "migrate/wire.h"

#include <errno.h>
#include <string.h>

enum { WORTH = 4 }; /* equal bytes for which a run of changed ones ends */

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

static size_t equal_run(const uint8_t *old, const uint8_t *page, size_t len)
{
	size_t n = 0;

	while (n + 8 <= len && !memcmp(old + n, page + n, 8))
		n += 8;
	while (n < len && old[n] == page[n])
		n++;
	return n;
}

/* Up to the next run of equal bytes that is worth two lengths. */
static size_t changed_run(const uint8_t *old, const uint8_t *page, size_t len)
{
	size_t n = 0, same = 0;

	for (; n < len && same < WORTH; n++)
		same = old[n] == page[n] ? same + 1 : 0;
	return n - same;
}

static size_t put_length(uint8_t *to, size_t value)
{
	to[0] = (uint8_t)(value & 0x7f);
	if (value < 0x80)
		return 1;
	to[0] |= 0x80;
	to[1] = (uint8_t)(value >> 7);
	return 2;
}

/**
 * xbzrle_diff() - What makes a page's next version of it
 * @old:	WIRE_PAGE bytes
 * @page:	The next version; neither changes meanwhile
 * @to:		Filled in; WIRE_PAGE bytes
 *
 * Return: bytes in @to; 0: nothing has changed; WIRE_PAGE: too much has
 */
size_t xbzrle_diff(const uint8_t *old, const uint8_t *page, uint8_t *to)
{
	size_t at = equal_run(old, page, WIRE_PAGE), equal = at, used = 0, run;

	while (at < WIRE_PAGE) {
		run = changed_run(old + at, page + at, WIRE_PAGE - at);
		if (used + 4 + run >= WIRE_PAGE)
			return WIRE_PAGE;
		used += put_length(to + used, equal);
		used += put_length(to + used, run);
		memcpy(to + used, page + at, run);
		used += run;
		at += run;
		equal = equal_run(old + at, page + at, WIRE_PAGE - at);
		at += equal;
	}
	return used;
}
