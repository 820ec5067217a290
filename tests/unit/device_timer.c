/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: timers that are due again as soon as they have fired: the loop they fire on
 * has others to serve, and a clock that somebody put to the end of time is one of the ways. */
#include "device/timer.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TURN_MAX 64

/**
 * struct eager - A timer that arms itself for the past
 * @fired:	So often
 * @until:	Then it leaves off
 */
struct eager {
	struct timer *timer;
	unsigned int fired, until;
};

static void again(void *opaque)
{
	struct eager *x = opaque;

	if (++x->fired < x->until)
		timer_arm_ns(x->timer, 0);
}

static void a_timer_that_is_always_due_leaves_the_loop_to_others(void **state)
{
	struct eager x = {.until = 1000};
	struct guest_clock *clock = NULL;
	struct loop *loop;
	struct err e;

	if (loop_create(&loop, &e) < 0 || guest_clock_create(&clock, loop, &e) < 0)
		fail_msg("%s", e.msg);
	x.timer = timer_create_guest(clock, again, &x, NULL);
	guest_clock_run(clock);
	timer_arm_ns(x.timer, 0);
	for (unsigned int turns = 0; x.fired < x.until; turns++) {
		unsigned int before = x.fired;

		assert_true(sd_event_run(loop_event(loop), 5000000) > 0);
		assert_true(x.fired > before && x.fired <= before + TURN_MAX);
	}
	timer_destroy(x.timer);
	guest_clock_destroy(clock);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_that_is_always_due_leaves_the_loop_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
