/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/compiler.h"

#include <stdint.h>
#include <time.h>

/* A moment of time_ns() that doesn't come. */
#define TIME_NEVER INT64_MAX

/* Monotonic time of the host, ns. */
static inline int64_t time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

/* Wall clock of the host, ns since the epoch. */
static inline int64_t time_wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

#endif
