/* SPDX-License-Identifier: Apache-2.0 */
/* When a guest is slowed so that it gets away, and how much. */
#include "migrate/converge.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LINK  (100 * MiB)
#define LIMIT 300000

/* After a round: @left bytes to send, the guest writes @dirty bytes a second. */
static struct migrate_progress after(uint64_t left, uint64_t dirty)
{
	struct migrate_progress p = {
		.ram_rate = LINK, .pause_rate = LINK, .remaining_bytes = left, .dirty_rate = dirty};

	p.predicted_us = 2000 + left * 1000000 / LINK;
	return p;
}

static void test_what_shrinks_is_left_alone(void **state)
{
	struct migrate_progress fits = after(20 * MiB, 2 * LINK), shrinks = after(GiB, LINK / 2),
				slowly = after(GiB, LINK / 10 * 8);

	assert_false(converge_stuck(&fits, LIMIT, 50));
	assert_false(converge_stuck(&shrinks, LIMIT, 10));
	assert_false(converge_stuck(&slowly, LIMIT, 50));
	assert_true(converge_seconds(&fits, LIMIT) == 0);
	assert_true(converge_seconds(&shrinks, LIMIT) > 10 &&
		    converge_seconds(&shrinks, LIMIT) < 21);
}

static void test_what_is_written_faster_than_sent_is_stuck(void **state)
{
	struct migrate_progress same = after(GiB, LINK), much = after(GiB, 5 * LINK),
				hardly = after(GiB, LINK / 100 * 97);

	assert_true(converge_stuck(&same, LIMIT, 50));
	assert_true(converge_stuck(&much, LIMIT, 50));
	assert_true(converge_stuck(&hardly, LIMIT, 50));
	assert_true(converge_seconds(&hardly, LIMIT) < 0);
	assert_false(converge_stuck(&hardly, LIMIT, 98));
}

static void test_a_limit_below_what_devices_cost_is_never_reached(void **state)
{
	struct migrate_progress p = after(GiB, LINK / 2);

	assert_true(converge_seconds(&p, 1000) < 0);
}

static void test_what_is_left_of_the_time_runs_down_and_ends_at_zero(void **state)
{
	struct migrate_progress p = {.round = 3, .converge_us = 5000000, .total_us = 12000000};

	p.rounds[1] = (struct migrate_round){.from_us = 8000000, .to_us = 10000000};
	assert_int_equal(converge_left_us(&p), 3000000);
	p.total_us = 20000000;
	assert_int_equal(converge_left_us(&p), 0);
	p.converge_us = -1000000;
	assert_true(converge_left_us(&p) < 0);
	p = (struct migrate_progress){.round = 1, .total_us = 5};
	assert_true(converge_left_us(&p) < 0);
}

static void test_nothing_is_said_before_anything_was_measured(void **state)
{
	struct migrate_progress p = {.remaining_bytes = GiB, .predicted_us = UINT64_MAX};

	assert_false(converge_stuck(&p, LIMIT, 50));
}

static void test_steps_are_those_of_the_rules(void **state)
{
	struct converge_rules r = {.threshold = 50, .initial = 20, .increment = 10, .max = 45};
	struct migrate_progress p = after(GiB, 2 * LINK);

	assert_int_equal(converge_next(&r, &p, 0), 20);
	assert_int_equal(converge_next(&r, &p, 20), 30);
	assert_int_equal(converge_next(&r, &p, 40), 45);
	r.tailslow = true;
	p.dirty_rate = LINK * 52 / 100;
	assert_in_range(converge_next(&r, &p, 20), 21, 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_shrinks_is_left_alone),
		cmocka_unit_test(test_what_is_written_faster_than_sent_is_stuck),
		cmocka_unit_test(test_a_limit_below_what_devices_cost_is_never_reached),
		cmocka_unit_test(test_what_is_left_of_the_time_runs_down_and_ends_at_zero),
		cmocka_unit_test(test_nothing_is_said_before_anything_was_measured),
		cmocka_unit_test(test_steps_are_those_of_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
