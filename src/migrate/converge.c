/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: pre-copy ends by itself if each round leaves clearly less than the one
 * before. What a round leaves is the share q = (written by the guest) / (brought over), so what is
 * left shrinks by q each round, and the rounds that are needed can be counted: as many as bring
 * what is left below what fits the limit. Only where that isn't so within ROUNDS the guest has to
 * be slowed.
 */
#include "migrate/converge.h"

enum { ROUNDS = 20 };

/* RAM that may be left so that the pause fits, at the measured rate. */
static double fitting_bytes(const struct migrate_progress *p, uint64_t limit_us)
{
	double rate = (double)p->pause_rate;
	double ram_us = p->pause_rate ? (double)p->remaining_bytes * 1e6 / rate : 0;
	double other_us = (double)p->predicted_us - ram_us;
	double room_us = (double)limit_us - other_us;

	return room_us > 0 ? room_us * rate / 1e6 : 0;
}

/**
 * converge_seconds() - When the pause will fit the limit, if the guest goes on as it does
 * @p:		After a round, with the prediction
 * @limit_us:	The limit
 *
 * Return: seconds, 0 if it fits now; negative if it never will
 */
double converge_seconds(const struct migrate_progress *p, uint64_t limit_us)
{
	double left = (double)p->remaining_bytes, fits = fitting_bytes(p, limit_us), s = 0;
	double q = p->ram_rate ? (double)p->dirty_rate / (double)p->ram_rate : 1;

	if (p->predicted_us <= limit_us)
		return 0;
	for (int i = 0; i < ROUNDS && q < 1 && p->ram_rate; i++) {
		s += left / (double)p->ram_rate;
		left *= q;
		if (left <= fits)
			return s;
	}
	return -1;
}

/**
 * converge_left_us() - The same, some time after the round
 * @p:	As it is shown: with the rounds that are over, and the time so far
 *
 * Return: us, 0: it will with this round, or does already; negative: never, or nothing is known
 */
int64_t converge_left_us(const struct migrate_progress *p)
{
	const struct migrate_round *last;
	int64_t since;

	if (p->round < 2 || p->converge_us < 0)
		return -1;
	last = &p->rounds[(p->round - 2) % MIGRATE_ROUNDS_KEPT];
	since = (int64_t)(p->total_us - MIN(p->total_us, last->to_us));
	return MAX(p->converge_us - since, (int64_t)0);
}

/**
 * converge_stuck() - Does the guest write so fast that rounds won't end?
 * @p:		After a round, with the prediction
 * @limit_us:	Pause to get below
 * @threshold:	Percent, see struct converge_rules
 */
bool converge_stuck(const struct migrate_progress *p, uint64_t limit_us, unsigned int threshold)
{
	if (!p->ram_rate || (double)p->dirty_rate * 100 <= (double)p->ram_rate * threshold)
		return false;
	return converge_seconds(p, limit_us) < 0;
}

/**
 * converge_next() - How much the guest is slowed from now on
 * @r:		The operator's rules
 * @p:		After a round that is stuck
 * @now:	Percent so far; 0: not at all
 *
 * Return: percent
 */
unsigned int converge_next(const struct converge_rules *r, const struct migrate_progress *p,
			   unsigned int now)
{
	double runs = 100.0 - now, enough;
	unsigned int step = r->increment;

	if (!now)
		return MIN(r->initial, r->max);
	if (r->tailslow && p->dirty_rate) {
		enough = runs * (double)p->ram_rate * r->threshold / 100 / (double)p->dirty_rate;
		if (runs - enough < step)
			step = (unsigned int)MAX(runs - enough, 1.0);
	}
	return MIN(now + step, r->max);
}
