/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_PACE_H
#define PULSE_CORE_PACE_H

#include <stdbool.h>

#include "args.h"
#include "clock.h"

/**
 * struct pace - So many steps per second, evenly
 * @rate:	RATE_OFF, RATE_MAX or steps per second
 * @period:	Ticks per step
 * @due:	When the next is due (TSC)
 */
struct pace {
	uint64_t rate;
	uint64_t period;
	uint64_t due;
};

/**
 * pace_set() - Fix a rate
 * @p:		Set; the first step is due now
 * @clock:	TSC frequency
 * @rate:	RATE_OFF, RATE_MAX or steps per second
 */
void pace_set(struct pace *p, const struct clock *clock, uint64_t rate);

/**
 * pace_due() - Whether a step is due now; if so it counts as done
 * @p:		Rate
 * @clock:	TSC frequency
 * @behind:	Gets 1 more when steps that were due can't be made up for
 * Return: true when it is
 */
bool pace_due(struct pace *p, const struct clock *clock, uint64_t *behind);

/**
 * pace_idle() - How long no step will be due
 * @p:		Rate
 * @now:	TSC
 * @limit:	Longest answer
 * Return: ticks
 */
uint64_t pace_idle(const struct pace *p, uint64_t now, uint64_t limit);

#endif
