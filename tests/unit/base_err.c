/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an error as its users meet it: the first cause is recorded, callers put
 * their place in front and a remedy behind, and whoever does not ask passes NULL.
 */
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void first_cause_gives_its_code_and_words(void **state)
{
	struct err e = {0};

	assert_int_equal(err_set(&e, EINVAL, "size %d is odd", 7), -EINVAL);
	assert_int_equal(e.code, EINVAL);
	assert_string_equal(e.msg, "size 7 is odd");
}

static void failed_system_call_adds_its_reason(void **state)
{
	struct err e = {0};

	errno = ENOENT;
	assert_int_equal(err_sys(&e, "open %s", "disk.img"), -ENOENT);
	assert_int_equal(e.code, ENOENT);
	assert_string_equal(e.msg, "open disk.img: No such file or directory");
}

static void callers_put_their_place_in_front(void **state)
{
	struct err e = {0};

	err_set(&e, EIO, "short read");
	assert_int_equal(err_in(&e, "virtio-blk %s", "0000:00:02.0"), -EIO);
	assert_string_equal(e.msg, "virtio-blk 0000:00:02.0: short read");
}

static void nobody_needs_to_ask_for_the_story(void **state)
{
	errno = EPERM;
	assert_int_equal(err_set(NULL, EINVAL, "x"), -EINVAL);
	assert_int_equal(err_sys(NULL, "x"), -EPERM);
}

static void words_that_do_not_fit_are_cut_and_stay_a_string(void **state)
{
	struct {
		struct err e;
		uint8_t guard[16];
	} s = {0};
	char words[2 * sizeof(s.e.msg)];

	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 1] = 0;
	err_set(&s.e, EINVAL, "%s", words);
	err_in(&s.e, "%s", words);
	assert_int_equal(strlen(s.e.msg), sizeof(s.e.msg) - 1);
	for (size_t i = 0; i < sizeof(s.guard); i++)
		assert_int_equal(s.guard[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_cause_gives_its_code_and_words),
		cmocka_unit_test(failed_system_call_adds_its_reason),
		cmocka_unit_test(callers_put_their_place_in_front),
		cmocka_unit_test(nobody_needs_to_ask_for_the_story),
		cmocka_unit_test(words_that_do_not_fit_are_cut_and_stay_a_string),
	};

	return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
