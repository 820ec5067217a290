/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what is left when the guest stops goes as the newest bytes went, as many of
 * them as are left. So a round that sent at least as much speaks alone, as the one most like the
 * pause (the target has these pages already, which it hadn't in the first round), and a small one
 * in which something came between doesn't: rounds before it are asked as well.
 *
 * A stretch begins where nothing was on its way and ends with the target's answer. It is a round,
 * or what a round sent since it last waited for the bandwidth it was limited to: the pause isn't
 * limited, so waiting says nothing of it.
 */
#include "migrate/speed.h"
#include "base/bytes.h"
#include "base/clock.h"

enum { FEW_BYTES = 256 * 1024 }; /* fewer say more of the scheduler than of the link */

/**
 * speed_amount() - What a stretch counts for
 * @wire_bytes:	Sent
 * @ram_bytes:	Of RAM, in pages with content
 *
 * Packed pages are more RAM than bytes, and what is left is counted as RAM. Pages of zeros are a
 * few bytes and no content: that they were fast promises nothing.
 *
 * Return: bytes
 */
uint64_t speed_amount(uint64_t wire_bytes, uint64_t ram_bytes)
{
	return MAX(wire_bytes, ram_bytes);
}

/**
 * speed_note() - A stretch is over
 * @s:		Zeroed, or in use
 * @bytes:	Its amount; 0: nothing is learned
 * @ns:		How long it took
 */
void speed_note(struct speed *s, uint64_t bytes, int64_t ns)
{
	unsigned int at = s->noted % SPEED_STRETCHES;

	if (!bytes || ns <= 0)
		return;
	s->bytes[at] = bytes;
	s->ns[at] = (uint64_t)ns;
	s->noted++;
}

/**
 * speed_rate() - How fast so much would go now
 * @s:		Speed
 * @bytes:	How much
 *
 * Return: bytes a second; 0: nothing is known
 */
uint64_t speed_rate(const struct speed *s, uint64_t bytes)
{
	double want = (double)MAX(bytes, (uint64_t)FEW_BYTES), got = 0, ns = 0, part;
	unsigned int i, at;

	for (i = 0; i < MIN(s->noted, (unsigned int)SPEED_STRETCHES) && got < want; i++) {
		at = (s->noted - 1 - i) % SPEED_STRETCHES;
		part = MIN((double)s->bytes[at], want - got);
		got += part;
		ns += (double)s->ns[at] * part / (double)s->bytes[at];
	}
	return ns > 0 ? (uint64_t)(got * NS_PER_SEC / ns) : 0;
}
