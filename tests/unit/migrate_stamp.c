/* SPDX-License-Identifier: Apache-2.0 */
/* When a guest was stopped, from what its source says and what is known where it arrives. */
#include "base/compiler.h"
#include "migrate/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS   (int64_t) NS_PER_MS
#define SEC  (int64_t) NS_PER_SEC
#define NOW  (5000 * SEC)         /* monotonic */
#define WALL (1700000000LL * SEC) /* at the same moment */

static int64_t stopped_ago(int64_t wall_ago, int64_t ago, int64_t ram_ago, bool live)
{
	const struct stamp s = {.wall_ns = WALL - wall_ago, .ago_ns = ago};
	const struct stamp_seen seen = {
		.now_ns = NOW, .wall_ns = WALL, .ram_ns = NOW - ram_ago, .live = live};

	return NOW - stamp_stopped_ns(&s, &seen);
}

static void a_file_says_when_by_the_wall_clock(void **state)
{
	assert_int_equal(stopped_ago(3 * SEC, 40 * MS, 20 * MS, false), 3 * SEC);
	assert_int_equal(stopped_ago(86400 * SEC, 40 * MS, 20 * MS, false), 86400 * SEC);
}

static void a_source_whose_clock_is_right_is_believed(void **state)
{
	assert_int_equal(stopped_ago(55 * MS, 40 * MS, 20 * MS, true), 55 * MS);
}

static void a_clock_that_says_less_than_is_sure_is_wrong(void **state)
{
	assert_int_equal(stopped_ago(-5 * SEC, 40 * MS, 20 * MS, true), 40 * MS);
	assert_int_equal(stopped_ago(-5 * SEC, 40 * MS, 20 * MS, false), 40 * MS);
	assert_int_equal(stopped_ago(30 * MS, 10 * MS, 45 * MS, true), 45 * MS);
}

static void a_clock_that_says_much_more_than_a_live_source_is_wrong(void **state)
{
	assert_int_equal(stopped_ago(30 * SEC, 40 * MS, 20 * MS, true), 40 * MS);
}

static void a_source_that_says_nothing_had_stopped_it_when_the_ram_ended(void **state)
{
	const struct stamp_seen seen = {.now_ns = NOW, .wall_ns = WALL, .ram_ns = NOW - 20 * MS};

	assert_int_equal(NOW - stamp_stopped_ns(NULL, &seen), 20 * MS);
	assert_int_equal(stopped_ago(3 * SEC, NOW + 1, 20 * MS, false), 20 * MS);
}

static void a_stamp_is_the_descriptions_first_member(void **state)
{
	struct stamp s = {0};

	assert_true(stamp_parse("{\"outlive-stopped\": [1700000000123456789, 42], \"page_size\": 4",
				&s));
	assert_int_equal(s.wall_ns, 1700000000123456789);
	assert_int_equal(s.ago_ns, 42);
	assert_false(stamp_parse("{\"page_size\": 4096, \"devices\": [", &s));
	assert_false(stamp_parse("{\"outlive-stopped\": [17", &s));
	assert_false(stamp_parse("{\"outlive-stopped\": [-1, 42], ", &s));
	assert_false(stamp_parse("{\"outlive-stopped\": [1, -42], ", &s));
	assert_false(stamp_parse("", &s));
	assert_int_equal(s.ago_ns, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_says_when_by_the_wall_clock),
		cmocka_unit_test(a_source_whose_clock_is_right_is_believed),
		cmocka_unit_test(a_clock_that_says_less_than_is_sure_is_wrong),
		cmocka_unit_test(a_clock_that_says_much_more_than_a_live_source_is_wrong),
		cmocka_unit_test(a_source_that_says_nothing_had_stopped_it_when_the_ram_ended),
		cmocka_unit_test(a_stamp_is_the_descriptions_first_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
