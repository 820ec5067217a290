/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's section, the largest of a stream, from struct to bytes and back: in each pause. */
#include "guard/guard.h"

#include "machine/x86/cpu_section.h"
#include "state/state.h"

#include <stdlib.h>
#include <string.h>

#define TIMES 16

static struct cpu_section from, to;
static struct state_writer bytes;
static int failed;

/* Numbers everywhere, but flags and counts as a guest has them. */
static void prepare_encode(void)
{
	memcpy(&from, cpu_section_table.fresh, sizeof(from));
	for (unsigned int i = 0; i < 16; i++)
		from.regs[i] = 0x0123456789abcdefULL * (i + 1);
	for (unsigned int i = 0; i < 32; i++)
		from.zmm[i].q[0] = i;
	from.steal_time_msr = from.tsc_deadline = from.tsc_adjust = 1;
	from.poll_control_msr = 1;
	from.tsc_khz = 2500000;
	from.xss = 1;
	state_writer_destroy(&bytes);
	memset(&bytes, 0, sizeof(bytes));
	state_writer_reserve(&bytes, 1 << 20);
}

static void encode(void)
{
	for (unsigned int i = 0; i < TIMES; i++)
		state_save(&cpu_section_table, &from, &bytes);
}

COUNTED static void count_state_encode(void)
{
	encode();
}

static void check_encode(void)
{
	guard_must(bytes.len > TIMES * 1024, "state_encode: the section is too small to be true");
}

static void prepare_decode(void)
{
	prepare_encode();
	encode();
	failed = 0;
}

COUNTED static void count_state_decode(void)
{
	struct state_reader r = {.buf = bytes.buf, .len = bytes.len};
	struct err e;

	for (unsigned int i = 0; i < TIMES; i++) {
		memcpy(&to, cpu_section_table.fresh, sizeof(to));
		failed += state_load(&cpu_section_table, &to, cpu_section_table.version, &r, &e) <
			  0;
	}
}

static void check_decode(void)
{
	guard_must(!failed && !memcmp(&from, &to, sizeof(from)),
		   "state_decode: what was read isn't what was written");
}

const struct guard_case state_cases[] = {
	{"state_encode", TIMES, prepare_encode, count_state_encode, check_encode},
	{"state_decode", TIMES, prepare_decode, count_state_decode, check_decode},
	{0},
};
