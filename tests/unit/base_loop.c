/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: work that other threads give to a loop: in order, all of it, and never so
 * much at once that the loop's other sources starve.
 */
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define POSTS 1000

/**
 * struct poster - Work that gives the loop more of itself
 * @left:	How often yet
 * @ran:	How often it has run
 */
struct poster {
	struct loop *loop;
	unsigned int left, ran;
};

static void again(void *opaque)
{
	struct poster *p = opaque;

	p->ran++;
	if (p->left && p->left--)
		loop_post(p->loop, again, p);
}

static struct loop *loop_make(void)
{
	struct loop *l;
	struct err e;

	if (loop_create(&l, &e) < 0)
		fail_msg("%s", e.msg);
	return l;
}

static void turn(struct loop *l)
{
	assert_true(sd_event_run(loop_event(l), 0) >= 0);
}

static void work_that_makes_work_leaves_the_loop_to_others(void **state)
{
	struct poster p = {.loop = loop_make(), .left = POSTS};

	loop_post(p.loop, again, &p);
	for (unsigned int turns = 1; p.left; turns++) {
		turn(p.loop);
		assert_true(p.ran <= turns);
	}
	turn(p.loop);
	assert_int_equal(p.ran, POSTS + 1);
	loop_destroy(p.loop);
}

static void note(void *opaque)
{
	struct poster *p = opaque;

	p->left = p->left * 10 + ++p->ran;
}

static void all_that_is_there_runs_in_one_turn_and_in_order(void **state)
{
	struct poster p = {.loop = loop_make()};

	for (int i = 0; i < 3; i++)
		loop_post(p.loop, note, &p);
	turn(p.loop);
	assert_int_equal(p.left, 123);
	loop_destroy(p.loop);
}

static void *post_many(void *opaque)
{
	struct poster *p = opaque;

	for (int i = 0; i < POSTS; i++)
		loop_post(p->loop, note, p);
	loop_exit(p->loop);
	return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
	struct poster p = {.loop = loop_make()};
	pthread_t thread;
	struct err e;

	assert_int_equal(pthread_create(&thread, NULL, post_many, &p), 0);
	assert_true(loop_run(p.loop, &e) >= 0);
	pthread_join(thread, NULL);
	assert_int_equal(p.ran, POSTS);
	loop_destroy(p.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(work_that_makes_work_leaves_the_loop_to_others),
		cmocka_unit_test(all_that_is_there_runs_in_one_turn_and_in_order),
		cmocka_unit_test(nothing_is_lost_between_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
