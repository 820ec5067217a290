/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ANNOUNCE_H
#define VMM_ANNOUNCE_H

#include "vmm/q35/guest.h"

/**
 * struct announce_rules - How often, as QEMU's parameters have it
 * @initial, @max, @step: ms: to the second round, at most between two, and more each time
 * @rounds:	How many
 */
struct announce_rules {
	int64_t initial, max, step, rounds;
};

/* "announce-initial" and so on with @prefix "announce-", else without. */
struct announce_rules announce_rules_read(const json_t *values, const char *prefix,
					  const struct announce_rules *def);
/* Tells the network where the guest's interfaces are, now and then again. @names: ids of devices,
 * NULL: all. Main thread. */
void announce_begin(struct guest *g, const struct announce_rules *rules, const json_t *names);
void announce_end(struct guest *g);

#endif
