/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_ARGS_H
#define PULSE_CORE_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_OFF UINT64_MAX
#define RATE_MAX 0ull
#define SIZE_ALL UINT64_MAX

/** enum args_pattern - Which page is written next */
enum args_pattern { PATTERN_SEQ, PATTERN_RANDOM, PATTERN_HOTCOLD };

/** enum args_fill - What memory outside the working set gets at the start */
enum args_fill { FILL_NONE, FILL_RANDOM, FILL_TEXT, FILL_ZERO, FILL_HALF, FILL_SAME };

/** enum args_exit - How the guest ends */
enum args_exit { EXIT_AUTO, EXIT_DEBUG, EXIT_ACPI, EXIT_RESET, EXIT_HALT };

/** enum args_beat - Which vCPUs watch their clock */
enum args_beat { BEAT_BOOT, BEAT_ALL };

/** enum args_idle - What a vCPU does that doesn't beat and has nothing to do */
enum args_idle { IDLE_HALT, IDLE_SPIN };

/**
 * struct args - Parameters of the witness; docs/pulse.md describes each
 *
 * Rates are pages per second and vCPU (RATE_OFF, RATE_MAX), sizes bytes (SIZE_ALL), times as their
 * names say.
 */
struct args {
	uint64_t cpus;
	uint64_t rate;
	uint64_t writers; /* vCPUs that write, 0: all */
	uint64_t verify;
	uint64_t working;
	uint64_t gap_ns;
	uint64_t poll_us;
	uint64_t report_ms;
	uint64_t wall_ms;
	uint64_t tsc_hz;
	uint64_t exit_port;
	uint64_t exit_code;
	uint64_t pattern;
	uint64_t content;
	uint64_t fill;
	uint64_t exit;
	uint64_t beat;
	uint64_t serial;
	uint64_t idle;
	uint64_t blk;       /* queue depth, 0: no block device is used */
	uint64_t balloon;   /* what it gives away, 0: no balloon is used */
	uint64_t blk_bytes; /* how much of the disk is used */
	uint64_t net;       /* packets in flight, 0: no network device is used */
	uint64_t net_ip;
	uint64_t net_rate;
	uint64_t seconds; /* end after this time, 0: never */
};

/**
 * args_default() - What holds without parameters
 * @a:	Set
 */
void args_default(struct args *a);

/**
 * args_parse() - Read parameters
 * @a:		Changed
 * @line:	name=value words, separated by blanks; words without a known name are left alone
 * Return: NULL, or the first word whose value can't be understood
 */
const char *args_parse(struct args *a, const char *line);

/**
 * args_known() - Whether a word names a parameter
 * @word:	Ends at '=', a blank or the end of the string
 * Return: true when it does
 */
bool args_known(const char *word);

#endif
