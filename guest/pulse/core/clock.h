/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_CLOCK_H
#define PULSE_CORE_CLOCK_H

#include <stdint.h>

/**
 * struct clock - How to turn TSC ticks into nanoseconds
 * @hz:		Ticks per second
 * @mult:	Nanoseconds per tick, times 2^32
 */
struct clock {
	uint64_t hz;
	uint64_t mult;
};

/**
 * clock_set() - Fix the frequency
 * @c:	Changed
 * @hz:	Ticks per second, not 0
 */
static inline void clock_set(struct clock *c, uint64_t hz)
{
	c->hz = hz;
	c->mult = (1000000000ull << 32) / hz;
}

/**
 * clock_ns() - Ticks to nanoseconds
 * @c:		Frequency
 * @ticks:	Any difference of two readings
 * Return: nanoseconds
 */
static inline uint64_t clock_ns(const struct clock *c, uint64_t ticks)
{
	return (uint64_t)(((unsigned __int128)ticks * c->mult) >> 32);
}

/**
 * clock_ticks() - Nanoseconds to ticks
 * @c:	Frequency
 * @ns:	Any time
 * Return: ticks
 */
static inline uint64_t clock_ticks(const struct clock *c, uint64_t ns)
{
	return ns / 1000000000 * c->hz +
	       ns % 1000000000 * c->hz / 1000000000; /* no product over 2^64 below 18 GHz */
}

/**
 * tsc() - Read the CPU's steady counter
 * Return: ticks
 */
static inline uint64_t tsc(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#endif
}

/** clock_relax() - Tell the CPU that this is a loop that waits */
static inline void clock_relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

#endif
