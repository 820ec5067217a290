/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A window of the newest numbers remembers when each was sent and whether it came back; a number
 * that leaves the window, or is older than TIMEOUT_NS, unanswered, is lost. How packets travel is
 * the business of each form: Ethernet frames, datagrams or records of a stream.
 */
#include <string.h>

#include "numbered.h"

#define TIMEOUT_NS 5000000000ull /* more than a move on a busy host takes, which the TSC counts */

void numbered_start(struct numbered_window *n, struct witness *w, struct pulse_device *out,
		    struct numbered_sent *sent)
{
	*n = (struct numbered_window){.w = w, .out = out, .next = 1, .oldest = 1, .sent = sent};
	pace_set(&n->pace, &w->clock, w->args.net_rate);
	out->kind = 2;
	out->depth = (uint32_t)w->args.net;
}

static struct numbered_sent *slot(const struct numbered_window *n, uint64_t number)
{
	return &n->sent[number % NUMBERED_WINDOW];
}

static void lose(struct numbered_window *n, struct numbered_sent *s)
{
	if (!s->at)
		return;
	s->at = 0;
	n->waiting--;
	n->out->lost++;
}

bool numbered_give_up(struct numbered_window *n)
{
	struct numbered_sent *s = slot(n, n->oldest);

	if (n->oldest == n->next)
		return false;
	if (s->at && clock_ns(&n->w->clock, tsc() - s->at) < TIMEOUT_NS)
		return false;
	lose(n, s);
	n->oldest++;
	return true;
}

bool numbered_due(struct numbered_window *n)
{
	uint64_t ignored = 0;

	return n->waiting < n->w->args.net && pace_due(&n->pace, &n->w->clock, &ignored);
}

void numbered_make(struct numbered_window *n, struct numbered *p)
{
	struct numbered_sent *s = slot(n, n->next);

	p->life = n->w->report->life;
	p->number = n->next;
	p->check = mix64(p->life, p->number);
	memset(p->fill, (int)p->number, sizeof(p->fill));
	lose(n, s);
	*s = (struct numbered_sent){.number = n->next, .at = tsc()};
	n->next++;
	n->waiting++;
	n->out->out++;
}

static bool is_whole(const struct numbered *p)
{
	if (p->check != mix64(p->life, p->number))
		return false;
	for (unsigned int i = 0; i < sizeof(p->fill); i++)
		if (p->fill[i] != (uint8_t)p->number)
			return false;
	return true;
}

void numbered_take(struct numbered_window *n, const struct numbered *p)
{
	struct numbered_sent *s = slot(n, p->number);
	uint64_t ns;

	if (p->life != n->w->report->life)
		return; /* not ours: another witness, or an earlier life */
	if (!is_whole(p)) {
		if (!n->out->bad++)
			n->out->first_bad = p->number;
		return;
	}
	n->out->in++;
	if (s->number != p->number || !s->at) {
		n->out->duplicated++; /* or later than the timeout */
		return;
	}
	ns = clock_ns(&n->w->clock, tsc() - s->at);
	if (ns > n->out->longest_ns)
		n->out->longest_ns = ns;
	s->at = 0;
	n->waiting--;
	if (p->number < n->highest)
		n->out->reordered++;
	else
		n->highest = p->number;
}
