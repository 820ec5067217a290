/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see stamp.h. */
#include "migrate/stamp.h"

#include "base/compiler.h"

#include <inttypes.h>
#include <stdio.h>

/**
 * stamp_parse() - Look for a stamp at the beginning of a description
 * @head:	Its first bytes, terminated
 * @ret:	Set if there is one
 *
 * Return: whether there is one
 */
bool stamp_parse(const char *head, struct stamp *ret)
{
	struct stamp s;

	if (sscanf(head, "{\"" STAMP_MEMBER "\": [%" SCNd64 ", %" SCNd64 "]", &s.wall_ns,
		   &s.ago_ns) != 2)
		return false;
	if (s.wall_ns < 0 || s.ago_ns < 0)
		return false;
	*ret = s;
	return true;
}

/**
 * stamp_stopped_ns() - When the guest's clocks came to stand still
 * @s:		What the source says; NULL: nothing (QEMU)
 * @seen:	What is known here
 *
 * Return: host monotonic clock, perhaps below 0; never too late by more than the source's clock is
 * wrong, and without its word not too early
 */
int64_t stamp_stopped_ns(const struct stamp *s, const struct stamp_seen *seen)
{
	int64_t sure, said;

	if (!s || s->ago_ns > seen->now_ns)
		return seen->ram_ns;
	sure = MIN(seen->ram_ns, seen->now_ns - s->ago_ns);
	said = seen->now_ns - (seen->wall_ns - s->wall_ns);
	if (said > sure || (seen->live && sure - said > STAMP_SLACK_NS))
		return sure;
	return said;
}
