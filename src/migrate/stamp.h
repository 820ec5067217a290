/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_STAMP_H
#define MIGRATE_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Theory of operation: when a guest's clocks came to stand still, for whoever lets them go on.
 * QEMU's stream has no place for it (the RTC's last_update is when the guest last set its clock),
 * but it ends with a description that QEMU never looks at: there it is the first member, so that
 * nobody has to parse the rest of it during a pause.
 *
 * A file of QEMU's was last written when its guest was stopped already: that is known of it.
 *
 * Two hosts' clocks may differ. What is sure is that the guest has been stopped for as long as the
 * source says that it was when it wrote this, and since all of the RAM was there. A wall clock that
 * says less is wrong. One that says more is right for a file; for a source at the other end of a
 * connection only if it doesn't say much more.
 */

#define STAMP_MEMBER   "outlive-stopped" /* [wall clock at the stop, ns; ns ago when written] */
#define STAMP_HEAD     80                /* bytes of a description that hold it */
#define STAMP_SLACK_NS 1000000000LL

/**
 * struct stamp - When a guest was stopped, as its source says
 * @wall_ns:	Wall clock of the source's host at the stop
 * @ago_ns:	How long ago that was when this was written
 */
struct stamp {
	int64_t wall_ns, ago_ns;
};

/**
 * struct stamp_seen - What whoever reads it knows
 * @now_ns:	Host monotonic clock
 * @wall_ns:	Its wall clock
 * @ram_ns:	When the end of the RAM came, host monotonic clock
 * @live:	The source is at the other end, and waits
 */
struct stamp_seen {
	int64_t now_ns, wall_ns, ram_ns;
	bool live;
};

bool stamp_parse(const char *head, struct stamp *ret);
int64_t stamp_stopped_ns(const struct stamp *s, const struct stamp_seen *seen);

#endif
