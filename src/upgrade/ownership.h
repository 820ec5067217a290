/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UPGRADE_OWNERSHIP_H
#define UPGRADE_OWNERSHIP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * enum owner - Who may run the guest's vCPUs and do its I/O. The word moves by compare-and-swap
 *only
 * @OWNER_SOURCE:	The old process. It runs the guest, pauses it, captures its state.
 *			Next: OFFERED by the source.
 * @OWNER_OFFERED:	Nobody runs it. The target checks and applies the state; the source waits.
 *			Next: TARGET by the target once everything is applied; or SOURCE by the
 *source, on timeout, on the target's death or on its refusal.
 * @OWNER_TARGET:	The new process, for good. The source leaves without touching anything the
 *guest uses.
 */
enum owner { OWNER_SOURCE = 1, OWNER_OFFERED, OWNER_TARGET };

/**
 * enum handover_mark - Moments of a hand-over, host monotonic clock, which both processes share
 */
enum handover_mark {
	MARK_PAUSE,    /* source: the guest is asked to stop */
	MARK_STOPPED,  /* source: vCPUs and I/O stand still */
	MARK_CAPTURED, /* source: state is in the area */
	MARK_OFFERED,  /* source: word moved */
	MARK_SEEN,     /* target: the first of the state has come */
	MARK_LOADED,   /* target: all state is checked, and in the devices */
	MARK_APPLIED,  /* target: and in the vCPUs */
	MARK_TAKEN,    /* target: won the word */
	MARK_RUNNING,  /* target: the boot vCPU begins to run */
	HANDOVER_MARKS
};

/**
 * struct area - Memory that source and target share during a hand-over
 * @fd:		Its memfd; owned
 * @map:	Its mapping
 * @size:	Bytes of the mapping
 */
struct area {
	int fd;
	struct area_header *map;
	size_t size;
};

MUST_CHECK int area_create(struct area *a, size_t state_room, size_t expected, struct err *e);
MUST_CHECK int area_open(struct area *a, int fd, struct err *e);
void area_close(struct area *a);

/* The state's bytes. The source writes before offering. What it has said is written is final, and
 * the target may read along; how much there is in all is known with the offer. */
uint8_t *area_state(struct area *a, size_t *ret_room);
void area_set_written(struct area *a, size_t len);
size_t area_written(const struct area *a);
/* Before the offer: waits for more than @known to be written, or for the offer. */
size_t area_await(struct area *a, size_t known, int64_t timeout_ns);
/* Ends the sleep of area_await(): state will come in a moment. */
void area_nudge(struct area *a);
size_t area_state_len(const struct area *a);
void area_set_state_len(struct area *a, size_t len);

enum owner ownership(const struct area *a);
bool ownership_offer(struct area *a);  /* SOURCE -> OFFERED */
bool ownership_revoke(struct area *a); /* OFFERED -> SOURCE */
bool ownership_take(struct area *a);   /* OFFERED -> TARGET */
/* Sleeps while the word is @while_is, at most @timeout_ns. Returns what it is then. */
enum owner ownership_wait(struct area *a, enum owner while_is, int64_t timeout_ns);

void area_mark(struct area *a, enum handover_mark mark);
void area_mark_at(struct area *a, enum handover_mark mark, int64_t at_ns);
int64_t area_mark_ns(const struct area *a, enum handover_mark mark); /* 0: not reached */

#endif
