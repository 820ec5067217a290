/* SPDX-License-Identifier: Apache-2.0 */
#include "pace.h"

#define BURST_DIVISOR 1000 /* a debt of more than 1 ms of work is given up */

void pace_set(struct pace *p, const struct clock *clock, uint64_t rate)
{
	p->rate = rate;
	p->period = rate && rate != RATE_OFF ? clock->hz / rate : 0;
	p->due = tsc();
}

bool pace_due(struct pace *p, const struct clock *clock, uint64_t *behind)
{
	uint64_t now;
	int64_t debt;

	if (p->rate == RATE_OFF)
		return false;
	if (p->rate == RATE_MAX)
		return true;
	now = tsc();
	if (now < p->due && p->due - now <= p->period) /* farther ahead: the clock went backward */
		return false;
	debt = (int64_t)(now - p->due);
	p->due += p->period;
	if (debt < 0 || debt > (int64_t)(clock->hz / BURST_DIVISOR + p->period)) {
		p->due = now;
		++*behind;
	}
	return true;
}

uint64_t pace_idle(const struct pace *p, uint64_t now, uint64_t limit)
{
	if (p->rate == RATE_OFF)
		return limit;
	if (p->rate == RATE_MAX || p->due <= now)
		return 0;
	return p->due - now < limit ? p->due - now : limit;
}
