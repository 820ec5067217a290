/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_BEAT_H
#define PULSE_CORE_BEAT_H

#include <stdbool.h>

#include "../report.h"
#include "clock.h"

/**
 * struct beat - One vCPU's watch on its own clock
 * @out:	Where the figures go; written by this vCPU only
 * @clock:	Frequency
 * @last:	Newest reading
 * @threshold:	Gaps longer than this many ticks are listed
 * @mono_tsc:	When the monotonic clock was last read
 * @mono_ns:	What it said; 0 without one
 * @mono_read:	Reads the monotonic clock (ns) of vCPU @cpu, or NULL
 */
struct beat {
	struct pulse_cpu *out;
	const struct clock *clock;
	uint64_t last;
	uint64_t threshold;
	uint64_t mono_tsc;
	uint64_t mono_ns;
	uint64_t (*mono_read)(unsigned int cpu);
};

/**
 * beat_bucket() - Bucket of a gap in the histogram
 * @ns:	Length of the gap
 * Return: index below PULSE_BUCKETS
 */
unsigned int beat_bucket(uint64_t ns);

/**
 * beat_bucket_ns() - Shortest gap that a bucket counts
 * @bucket:	Index below PULSE_BUCKETS
 * Return: nanoseconds, rounded down
 */
uint64_t beat_bucket_ns(unsigned int bucket);

/**
 * beat_start() - Begin to watch
 * @b:		Set, all but @out, @clock and @mono_read, which the caller has set
 * @threshold_ns: Gaps longer than this are listed
 */
void beat_start(struct beat *b, uint64_t threshold_ns);

/**
 * beat_reset() - Forget the gaps seen so far
 * @b:	Owner's
 *
 * The counters of beats, pages and clock steps go on; histogram, gap counters and lists start anew.
 */
void beat_reset(struct beat *b);

/**
 * beat_mono() - Read the monotonic clock and look whether it went backward
 * @b:	Owner's
 * Return: what it says now (ns), 0 without one
 */
uint64_t beat_mono(struct beat *b);

/**
 * beat() - Read the clock once
 * @b:		Owner's
 * @did:	PULSE_DID_*: what this vCPU did since the last beat
 */
void beat(struct beat *b, uint32_t did);

#endif
