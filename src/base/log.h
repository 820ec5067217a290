/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_at(enum log_level level, const char *fmt, ...) PRINTF(2, 3);
void log_set_level(enum log_level level);
void log_set_timestamps(bool on);
void log_set_program(const char *name);

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/**
 * struct log_limit - What a guest or a peer may make us say, at most @burst lines in a second
 * @burst:	Lines a second; 0 means 5
 * @window_s:	Second that @said counts for (monotonic)
 * @said:	Lines said in it
 * @dropped:	Lines not said since the last one that was
 */
struct log_limit {
	unsigned int burst;
	int64_t window_s;
	unsigned int said, dropped;
};

bool log_allowed(struct log_limit *limit);

/* A line that a guest can cause: warned about a few times a second, then counted. */
#define log_guest(limit, ...)                  \
	do {                                   \
		if (log_allowed(limit))        \
			log_warn(__VA_ARGS__); \
	} while (0)

/**
 * struct trace_point - A named place that can tell what happens ("--trace 'ram_*'")
 * @name:	Of the place
 * @generation:	Of the pattern set that @on was computed for
 * @on:		Some pattern matches
 *
 * Off until asked for; one line each with a monotonic time stamp in us. The test costs one load.
 */
struct trace_point {
	const char *name;
	unsigned int generation;
	bool on;
};

extern unsigned int trace_generation;
bool trace_resolve(struct trace_point *p);
void trace_emit(const char *name, const char *fmt, ...) PRINTF(2, 3);
void trace_enable(const char *pattern);

#define TRACE(event, ...)                                            \
	do {                                                         \
		static struct trace_point point_ = {.name = #event}; \
		if (trace_generation && trace_resolve(&point_))      \
			trace_emit(#event, __VA_ARGS__);             \
	} while (0)

#endif
