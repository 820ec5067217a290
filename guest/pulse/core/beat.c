/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A vCPU that does nothing but read its clock sees consecutive readings some ten nanoseconds apart.
 * Whenever it doesn't run, for whatever reason, two readings lie farther apart, by exactly the time
 * it didn't run. So the list of largest gaps is the list of pauses as the guest felt them. What the
 * vCPU did itself between two readings (wrote a page, spoke to the console) is noted with the gap,
 * since that also takes time.
 *
 * The monotonic clock is read rarely and extrapolated by the TSC to the reading before a gap; read
 * again after it, it tells whether the guest's own time went on over the gap or stood still.
 */
#include "beat.h"

/* Entries of @list that hold a gap at least as long as @ticks. */
static unsigned int rank_of(const struct pulse_gap *list, uint64_t ticks)
{
	unsigned int i = 0;

	while (i < PULSE_GAPS && list[i].number && list[i].ticks >= ticks)
		i++;
	return i;
}

static void insert_top(struct pulse_gap *list, const struct pulse_gap *gap)
{
	unsigned int at = rank_of(list, gap->ticks);

	if (at == PULSE_GAPS)
		return;
	for (unsigned int i = PULSE_GAPS - 1; i > at; i--)
		list[i] = list[i - 1];
	list[at] = *gap;
}

/* The lock is odd while the lists change; compiler barriers do, since x86 keeps stores in order. */
static void lock_flip(struct pulse_cpu *out)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	out->lock++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* The monotonic clock at a time near its newest reading, before or after it. */
static uint64_t mono_at(const struct beat *b, uint64_t at)
{
	if (at < b->mono_tsc)
		return b->mono_ns - clock_ns(b->clock, b->mono_tsc - at);
	return b->mono_ns + clock_ns(b->clock, at - b->mono_tsc);
}

static void record_gap(struct beat *b, uint64_t now, uint32_t did)
{
	struct pulse_cpu *out = b->out;
	struct pulse_gap gap = {
		.tsc = b->last,
		.ticks = now - b->last,
		.ns = clock_ns(b->clock, now - b->last),
		.number = out->gaps + 1,
		.cause = did,
	};

	if (b->mono_read) {
		gap.mono_ns = mono_at(b, b->last);
		gap.mono_delta = (int64_t)(beat_mono(b) - gap.mono_ns);
	}
	lock_flip(out);
	out->gaps++;
	out->gap_ns += gap.ns;
	insert_top(out->top, &gap);
	out->recent[gap.number % PULSE_GAPS] = gap;
	lock_flip(out);
}

static void record_backward(struct beat *b, uint64_t ticks)
{
	b->out->tsc_back++;
	if (ticks > b->out->tsc_back_max)
		b->out->tsc_back_max = ticks;
}

unsigned int beat_bucket(uint64_t ns)
{
	unsigned int e, bucket;

	if (ns < 4)
		return (unsigned int)ns;
	e = 61 - (unsigned int)__builtin_clzll(ns); /* ns >> e is 4..7 */
	bucket = 4 * e + (unsigned int)(ns >> e);
	return bucket < PULSE_BUCKETS ? bucket : PULSE_BUCKETS - 1;
}

uint64_t beat_bucket_ns(unsigned int bucket)
{
	if (bucket < 8)
		return bucket;
	return (uint64_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

uint64_t beat_mono(struct beat *b)
{
	uint64_t now;

	if (!b->mono_read)
		return 0;
	b->mono_tsc = tsc();
	now = b->mono_read(b->out->index);
	if (now < b->mono_ns) {
		b->out->mono_back++;
		if (b->mono_ns - now > b->out->mono_back_max)
			b->out->mono_back_max = b->mono_ns - now;
	}
	b->mono_ns = now;
	return now;
}

void beat_start(struct beat *b, uint64_t threshold_ns)
{
	b->threshold = clock_ticks(b->clock, threshold_ns);
	b->mono_ns = 0;
	beat_mono(b);
	b->last = tsc();
	b->out->tsc_first = b->last;
}

void beat_reset(struct beat *b)
{
	struct pulse_cpu *out = b->out;

	lock_flip(out);
	out->gaps = 0;
	out->gap_ns = 0;
	for (unsigned int i = 0; i < PULSE_BUCKETS; i++)
		out->hist[i] = 0;
	for (unsigned int i = 0; i < PULSE_GAPS; i++) {
		out->top[i] = (struct pulse_gap){0};
		out->recent[i] = (struct pulse_gap){0};
	}
	lock_flip(out);
}

void beat(struct beat *b, uint32_t did)
{
	uint64_t now = tsc(), ticks = now - b->last;

	b->out->beats++;
	if ((int64_t)ticks < 0) {
		record_backward(b, b->last - now);
		ticks = 0;
	}
	b->out->hist[beat_bucket(clock_ns(b->clock, ticks))]++;
	if (ticks > b->threshold)
		record_gap(b, now, did);
	b->last = now;
	if (b->out->beats % 256 == 0) {
		b->out->tsc_last = now;
		beat_mono(b);
		b->last = now;
	}
}
