/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CONVERGE_H
#define MIGRATE_CONVERGE_H

#include "migrate/migrate.h"

/**
 * struct converge_rules - How a guest is slowed, as QEMU's parameters have it
 * @threshold:	Percent of what was sent that must have been dirtied meanwhile, else nothing is done
 * @initial, @increment, @max: Percent: first, each further time, at most
 * @tailslow:	Smaller steps at the end
 */
struct converge_rules {
	unsigned int threshold, initial, increment, max;
	bool tailslow;
};

/* Will rounds alone not get below the limit? */
bool converge_stuck(const struct migrate_progress *p, uint64_t limit_us, unsigned int threshold);
/* Seconds until they will; negative: never. */
double converge_seconds(const struct migrate_progress *p, uint64_t limit_us);
/* us from now on, while the round after that one is under way; negative: never, or unknown. */
int64_t converge_left_us(const struct migrate_progress *p);
/* The next percentage, after @now (0: not slowed yet). */
unsigned int converge_next(const struct converge_rules *r, const struct migrate_progress *p,
			   unsigned int now);

#endif
