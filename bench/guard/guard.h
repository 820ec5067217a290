/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_GUARD_GUARD_H
#define BENCH_GUARD_GUARD_H

/**
 * struct guard_case - A hot path with a fixed input
 * @name:	As in counts.json; the function counted is "count_" and this name
 * @operations:	How many operations one call of @count makes, to divide the instructions by
 * @prepare:	Makes the input; not counted
 * @count:	The path, and nothing else
 * @check:	Aborts unless the path did its work: a count of nothing would be no figure
 */
struct guard_case {
	const char *name;
	unsigned int operations;
	void (*prepare)(void);
	void (*count)(void);
	void (*check)(void);
};

/* A counted function: callgrind finds it by its name, so it must stay a function. */
#ifdef __clang__
#define COUNTED __attribute__((noinline))
#else
#define COUNTED __attribute__((noipa))
#endif

#define GUARD_CASES(n) extern const struct guard_case n[]

GUARD_CASES(pages_cases); /* each closed by a case without a name */
GUARD_CASES(state_cases);
GUARD_CASES(queue_cases);

void guard_must(int ok, const char *what);

#endif
