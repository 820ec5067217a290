/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FUZZ_STEPS_H
#define FUZZ_STEPS_H

/*
 * Theory of operation: the one shape of all fuzzers of devices. The input is a program of a hostile
 * guest, eight bytes a step: what to do, how, where, with which value. A fuzzer gives a table of
 * what a guest of its device can do; bytes beyond the last whole step are left out. So any input is
 * a program, and a change of a byte changes one step.
 */

#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>

#define STEP_BYTES 8u
#define STEPS_MAX  256u

/**
 * struct step - Something a guest does
 * @how:	Size, index: as the deed wants
 * @where:	Offset
 * @value:	To write
 */
struct step {
	uint8_t how;
	uint16_t where;
	uint32_t value;
};

typedef void step_fn(void *guest, const struct step *s);

static inline unsigned int step_size(const struct step *s, unsigned int largest)
{
	unsigned int size = 1u << (s->how & 3);

	return size > largest ? largest : size;
}

/**
 * steps_run() - Carry a program out
 * @data, @len:	The program
 * @deeds:	What a guest can do, the step's first byte chooses (modulo @deeds_len)
 * @deeds_len:	How many, > 0
 * @between:	Called behind each step; may be NULL
 * @guest:	Passed to them
 */
static inline void steps_run(const uint8_t *data, size_t len, step_fn *const *deeds,
			     size_t deeds_len, void (*between)(void *guest), void *guest)
{
	for (size_t at = 0; at + STEP_BYTES <= len && at < STEPS_MAX * STEP_BYTES;
	     at += STEP_BYTES) {
		const struct step s = {.how = data[at + 1],
				       .where = load_le16(data + at + 2),
				       .value = load_le32(data + at + 4)};

		deeds[data[at] % deeds_len](guest, &s);
		if (between)
			between(guest);
	}
}

#endif
