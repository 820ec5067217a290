/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_FLOOR_FLOOR_H
#define BENCH_FLOOR_FLOOR_H

#include <stdint.h>

#define FLOOR_ROWS    96
#define FLOOR_SAMPLES 64

/**
 * struct floor_row - One cost, as often as it was measured
 * @group, @name: What it is; string literals
 * @us:		Microseconds, one each time
 * @len:	How many of @us
 */
struct floor_row {
	const char *group, *name;
	double us[FLOOR_SAMPLES];
	unsigned int len;
};

/**
 * struct floor_table - All costs, in the order in which they were first measured
 * @missing:	Why a group could not be measured, a line each; empty: all could
 */
struct floor_table {
	struct floor_row rows[FLOOR_ROWS];
	unsigned int len;
	char missing[512];
};

uint64_t floor_now(void);
void floor_add(struct floor_table *t, const char *group, const char *name, double us);
void floor_since(struct floor_table *t, const char *group, const char *name, uint64_t start_ns);
void floor_missing(struct floor_table *t, const char *group, const char *why);

/* One round of each group. */
void floor_kvm(struct floor_table *t);
void floor_exits(struct floor_table *t);
void floor_memory(struct floor_table *t);
void floor_wake(struct floor_table *t);

#endif
