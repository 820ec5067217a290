/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_SPEED_H
#define MIGRATE_SPEED_H

#include <stdint.h>

/* How fast RAM gets to the target when nothing holds it up. Inside this room only. */

enum { SPEED_STRETCHES = 8 };

/**
 * struct speed - The newest stretches of sending
 * @bytes, @ns:	What went in each, and how long that took until the target had it
 * @noted:	Stretches so far; number n is at n % SPEED_STRETCHES
 */
struct speed {
	uint64_t bytes[SPEED_STRETCHES], ns[SPEED_STRETCHES];
	unsigned int noted;
};

uint64_t speed_amount(uint64_t wire_bytes, uint64_t ram_bytes);
void speed_note(struct speed *s, uint64_t bytes, int64_t ns);
uint64_t speed_rate(const struct speed *s, uint64_t bytes);

#endif
