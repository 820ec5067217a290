/* SPDX-License-Identifier: Apache-2.0 */
/* Pages: is one zero, and what a difference makes of one. */
#include "migrate/ram/xbzrle.h"
#include "migrate/ram/zero.h"
#include "migrate/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint8_t page[4096] ALIGNED(64);

static void any_single_bit_makes_a_page_not_zero(void **unused)
{
	size_t i;

	memset(page, 0, sizeof(page));
	assert_true(page_is_zero(page));
	for (i = 0; i < 8 * sizeof(page); i++) {
		page[i / 8] = (uint8_t)(1 << i % 8);
		if (page_is_zero(page))
			fail_msg("bit %zu isn't seen", i);
		page[i / 8] = 0;
	}
}

static void a_difference_changes_its_runs_only(void **unused)
{
	static const uint8_t diff[] = {
		0x02, 0x03, 'a',  'b', 'c', /* 2 equal, 3 new */
		0x81, 0x01, 0x01, 'd',      /* 129 equal, 1 new */
	};

	memset(page, '.', sizeof(page));
	assert_int_equal(xbzrle_apply(page, diff, sizeof(diff)), 0);
	assert_memory_equal(page, "..abc....", 9);
	assert_int_equal(page[5 + 129], 'd');
	assert_int_equal(page[5 + 130], '.');
}

static void a_damaged_difference_is_refused(void **unused)
{
	static const struct {
		uint8_t bytes[8];
		size_t len;
	} bad[] = {
		{{0x02}, 1},                             /* no second run */
		{{0x02, 0x03, 'a', 'b'}, 4},             /* a run cut short */
		{{0x02, 0x00}, 2},                       /* nothing new */
		{{0x80, 0x20, 0x01, 'a'}, 4},            /* behind the page's end */
		{{0xff, 0xff, 0x01, 'a'}, 4},            /* a length of three bytes */
		{{0xff}, 1},                             /* a length cut short */
		{{0x00, 0x01, 'a', 0x00, 0x01, 'b'}, 6}, /* two runs that are one */
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (xbzrle_apply(page, bad[i].bytes, bad[i].len) != -EINVAL)
			fail_msg("difference %zu is taken", i);
}

/* Pages with more and more changes: each difference makes the new one of the old one. */
static void a_difference_is_found_and_brings_the_next_version(void **state)
{
	uint8_t old[WIRE_PAGE], diff[WIRE_PAGE];
	unsigned int seed = 1, i, changes;
	size_t len;

	for (i = 0; i < WIRE_PAGE; i++)
		old[i] = (uint8_t)rand_r(&seed);
	assert_int_equal(xbzrle_diff(old, old, diff), 0);
	for (changes = 1; changes < 4 * WIRE_PAGE; changes += changes / 8 + 1) {
		memcpy(page, old, WIRE_PAGE);
		for (i = 0; i < changes; i++)
			page[(unsigned int)rand_r(&seed) % WIRE_PAGE] ^= (uint8_t)(1 + i % 255);
		len = xbzrle_diff(old, page, diff);
		assert_true(len <= 7 * changes);
		if (len == WIRE_PAGE || !len)
			continue;
		assert_int_equal(xbzrle_apply(old, diff, len), 0);
		assert_memory_equal(old, page, WIRE_PAGE);
	}
	for (i = 0; i < WIRE_PAGE; i++)
		page[i] = (uint8_t)~old[i];
	assert_int_equal(xbzrle_diff(old, page, diff), WIRE_PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_single_bit_makes_a_page_not_zero),
		cmocka_unit_test(a_difference_changes_its_runs_only),
		cmocka_unit_test(a_difference_is_found_and_brings_the_next_version),
		cmocka_unit_test(a_damaged_difference_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
