/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_TIMER_H
#define DEVICE_TIMER_H

#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Theory of operation: guest time is a monotonic clock in ns that stands still while the guest is
 * stopped and goes on from the same value in another process or on another host. Timers are armed
 * in guest time; they are host timers of the main loop that are cancelled when the clock stops and
 * armed anew when it runs.
 */

/**
 * struct guest_clock - The guest's virtual time
 * @offset_ns:	Guest time minus host monotonic time while running; guest time itself while stopped
 * @running:	The clock runs
 */
struct guest_clock;

MUST_CHECK int guest_clock_create(struct guest_clock **ret, struct loop *main_loop, struct err *e);
void guest_clock_destroy(struct guest_clock *c);
int64_t guest_clock_now_ns(struct guest_clock *c);
void guest_clock_set_ns(struct guest_clock *c, int64_t now_ns); /* only while stopped */
void guest_clock_run(struct guest_clock *c);
void guest_clock_stop(struct guest_clock *c);

struct timer;
typedef void timer_fn(void *opaque);

/* @fn runs on the main thread with @lock held (NULL: none). Arm and cancel from any thread. */
struct timer *timer_create_guest(struct guest_clock *c, timer_fn *fn, void *opaque,
				 pthread_mutex_t *lock);
/* The same in the host's wall-clock time, which the RTC follows. */
struct timer *timer_create_wall(struct guest_clock *c, timer_fn *fn, void *opaque,
				pthread_mutex_t *lock);
void timer_destroy(struct timer *t);               /* main thread */
void timer_arm_ns(struct timer *t, int64_t at_ns); /* guest time; in the past: at once */
void timer_cancel(struct timer *t);
bool timer_pending(const struct timer *t);
int64_t timer_expires_ns(
	const struct timer *t); /* -1: not pending. What QEMU's stream sends for a timer */
void timer_restore_ns(struct timer *t, int64_t at_ns); /* the other way round */

#endif
