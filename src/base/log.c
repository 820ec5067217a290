/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one line per call on stderr, written with a single write(2), so that lines
 * of several threads and processes never mix. No file, no rotation: stderr belongs to whoever
 * started us (systemd, libvirt, a shell, the launcher's log file). Trace points compare their name
 * with the enabled patterns once per change of the pattern set, then cost one load and one compare.
 */
#include "base/log.h"

#include "base/clock.h"
#include "base/owned.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct {
	enum log_level level;
	bool timestamps;
	const char *program;
	const char *patterns[32];
	size_t patterns_len;
} config = {.level = LOG_LEVEL_INFO, .program = "outlive"};

unsigned int trace_generation;

static size_t put_timestamp(char *line, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(line + n, size - n, ".%06ldZ ", now.tv_nsec / 1000);
}

PRINTF(2, 0)
static void put_line(const char *prefix, const char *fmt, va_list ap)
{
	char line[1024];
	size_t n = 0;

	if (config.timestamps)
		n = put_timestamp(line, sizeof(line));
	n += (size_t)snprintf(line + n, sizeof(line) - n, "%s: %s", config.program, prefix);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	n = strlen(line);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nobody is left to tell */
}

/**
 * log_at() - Say one line on stderr
 * @level:	Lines above the set level are dropped
 * @fmt:	No final newline
 */
void log_at(enum log_level level, const char *fmt, ...)
{
	static const char *const prefix[] = {"", "warning: ", "", "debug: "};
	va_list ap;

	if (level > config.level)
		return;
	va_start(ap, fmt);
	put_line(prefix[level], fmt, ap);
	va_end(ap);
}

/**
 * log_set_level() - Choose what is said
 * @level:	Everything up to this level
 */
void log_set_level(enum log_level level)
{
	config.level = level;
}

/**
 * log_set_timestamps() - Begin each line with the time (UTC, us)
 * @on:		As in "-msg timestamp=on"
 */
void log_set_timestamps(bool on)
{
	config.timestamps = on;
}

/**
 * log_set_program() - The name each line begins with
 * @name:	Kept, not copied
 */
void log_set_program(const char *name)
{
	config.program = name;
}

/**
 * log_allowed() - May one more line be said under this limit?
 * @limit:	One per place; only ever used from one thread at a time, or with harmless races in
 *		the count
 *
 * Return: whether to say it
 */
bool log_allowed(struct log_limit *limit)
{
	int64_t now_s = time_ns() / NS_PER_SEC;
	unsigned int burst = limit->burst ? limit->burst : 5;

	if (now_s != limit->window_s) {
		if (limit->dropped)
			log_warn("%u more such messages not shown", limit->dropped);
		limit->window_s = now_s;
		limit->said = limit->dropped = 0;
	}
	if (limit->said >= burst) {
		limit->dropped++;
		return false;
	}
	limit->said++;
	return true;
}

/**
 * trace_enable() - Switch on the trace points whose name matches
 * @pattern:	As fnmatch(3), kept, not copied; at most 32 of them, later ones are ignored with a
 *		warning
 */
void trace_enable(const char *pattern)
{
	if (config.patterns_len == ARRAY_SIZE(config.patterns)) {
		log_warn("too many trace patterns, '%s' is ignored", pattern);
		return;
	}
	config.patterns[config.patterns_len++] = pattern;
	trace_generation++;
}

/**
 * trace_resolve() - Is this trace point on?
 * @p:		Remembers the answer until the patterns change
 *
 * Return: whether to emit
 */
bool trace_resolve(struct trace_point *p)
{
	if (p->generation == trace_generation)
		return p->on;
	p->on = false;
	for (size_t i = 0; i < config.patterns_len; i++)
		p->on |= fnmatch(config.patterns[i], p->name, 0) == 0;
	p->generation = trace_generation;
	return p->on;
}

/**
 * trace_emit() - Write one trace line; called by TRACE() only
 * @name:	Of the trace point
 * @fmt:	Its values
 */
void trace_emit(const char *name, const char *fmt, ...)
{
	char prefix[96];
	va_list ap;

	snprintf(prefix, sizeof(prefix), "trace %jd.%03jd %s ", (intmax_t)(time_ns() / NS_PER_MS),
		 (intmax_t)(time_ns() / NS_PER_US % 1000), name);
	va_start(ap, fmt);
	put_line(prefix, fmt, ap);
	va_end(ap);
}
