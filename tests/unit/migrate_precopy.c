/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that writes while it is being sent, and what becomes of it when the job fails. */
#include "base/clock.h"
#include "migrate/precopy.h"
#include "migrate/speed.h"

#include "migrate_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The guest and what happens to it; each sync is a moment in which it has written @pages_left
 * pages. */
struct world {
	struct guest *guest;
	struct channel *channel;
	unsigned int syncs, clears, stops, resumes, writes, cancel_at, fail_sync;
	bool logging, running, cut_at_stop, hinting;
	unsigned int asked;
};

static int world_start(void *opaque, struct err *e)
{
	((struct world *)opaque)->logging = true;
	return 0;
}

static int world_sync(void *opaque, struct err *e)
{
	struct world *w = opaque;
	unsigned int i;

	assert_false(w->hinting); /* what it would say now is of before the sync */
	w->syncs++;
	if (w->syncs == w->fail_sync)
		return err_set(e, EIO, "the dirty log is gone");
	for (i = 0; w->running && i < w->writes; i++) {
		w->guest->ram.hva[(10 + i) * 4096] = (uint8_t)(w->syncs + i + 1);
		bitmap_set(&w->guest->ram.dirty, 10 + i);
	}
	w->writes /= 2;
	return 0;
}

static int world_clear(void *opaque, struct ram_block *b, const struct bitmap *which,
		       uint64_t first, uint64_t n, struct err *e)
{
	assert_in_range(bitmap_next(which, first), first, first + n - 1);
	assert_true(((struct world *)opaque)->running); /* else nobody writes what is protected */
	((struct world *)opaque)->clears++;
	return 0;
}

static void world_log_stop(void *opaque)
{
	((struct world *)opaque)->logging = false;
}

static int world_stop(void *opaque, struct err *e)
{
	struct world *w = opaque;

	w->running = false;
	w->stops++;
	if (w->cut_at_stop)
		channel_shutdown(w->channel);
	return 0;
}

static void world_resume(void *opaque)
{
	struct world *w = opaque;

	w->running = true;
	w->resumes++;
}

static bool world_ask(void *opaque)
{
	struct world *w = opaque;

	assert_true(w->logging && w->running && !w->hinting);
	w->asked++;
	w->hinting = true;
	return true;
}

static bool world_has_no_balloon(void *opaque)
{
	((struct world *)opaque)->asked++;
	return false;
}

static void world_ask_no_more(void *opaque)
{
	((struct world *)opaque)->hinting = false;
}

static bool world_cancelled(void *opaque)
{
	struct world *w = opaque;

	return w->cancel_at && w->syncs >= w->cancel_at;
}

static void hooks_fill(struct world *w, struct migrate_job *job)
{
	job->hooks = (struct migrate_hooks){.dirty_start = world_start,
					    .dirty_sync = world_sync,
					    .dirty_clear = world_clear,
					    .dirty_stop = world_log_stop,
					    .stop = world_stop,
					    .resume = world_resume,
					    .cancelled = world_cancelled,
					    .opaque = w};
	w->running = true;
}

static int precopy(struct world *w, struct migrate_job *job, struct err *e)
{
	*job = guest_job(w->guest, w->channel);
	hooks_fill(w, job);
	return migrate_precopy(job, e);
}

static struct world world_create(void)
{
	return (struct world){.guest = guest_create_used(),
			      .channel = channel_open_memory(NULL, 0),
			      .writes = 16};
}

static void world_destroy(struct world *w)
{
	channel_destroy(w->channel);
	guest_destroy(w->guest);
}

static void what_the_guest_writes_meanwhile_arrives(void **unused)
{
	struct world w = world_create();
	struct guest *b = guest_create();
	struct channel *c;
	struct migrate_job job, load;
	struct err e = {0};
	const uint8_t *bytes;
	size_t len;

	assert_int_equal(precopy(&w, &job, &e), 0);
	assert_int_equal(job.progress.phase, MIGRATE_DONE);
	assert_true(w.stops == 1 && !w.resumes && !w.running && !w.logging && w.clears);
	bytes = channel_memory(w.channel, &len);
	c = channel_open_memory(bytes, len);
	load = guest_job(b, c);
	assert_int_equal(migrate_load(&load, &e), 0);
	assert_true(guest_same(w.guest, b));
	assert_int_not_equal(b->ram.hva[10 * 4096], 0);
	channel_destroy(c);
	guest_destroy(b);
	world_destroy(&w);
}

static unsigned int asked(bool (*hint_start)(void *opaque), unsigned int *ret_rounds)
{
	struct world w = world_create();
	struct migrate_job job = guest_job(w.guest, w.channel);
	struct err e = {0};

	w.writes = 50; /* halved by each sync: some rounds, as any of it is above the limit */
	job.options.limit_us = 1;
	hooks_fill(&w, &job);
	job.hooks.hint_start = hint_start;
	job.hooks.hint_stop = world_ask_no_more;
	assert_int_equal(migrate_precopy(&job, &e), 0);
	assert_false(w.hinting);
	*ret_rounds = job.progress.round;
	world_destroy(&w);
	return w.asked;
}

static void which_pages_are_free_is_asked_for_each_round(void **unused)
{
	unsigned int rounds, times = asked(world_ask, &rounds);

	assert_int_equal(times, rounds);
	assert_in_range(rounds, 2, 100);
	assert_int_equal(asked(world_has_no_balloon, &rounds), 1);
	assert_in_range(rounds, 2, 100);
}

static void a_cancelled_guest_never_stopped(void **unused)
{
	struct world w = world_create();
	struct migrate_job job;
	struct err e = {0};

	w.cancel_at = 1;
	assert_int_equal(precopy(&w, &job, &e), -ECANCELED);
	assert_int_equal(job.progress.phase, MIGRATE_CANCELLED);
	assert_true(!w.stops && w.running && !w.logging);
	world_destroy(&w);
}

static void a_cut_cable_at_the_switchover_lets_the_guest_run_on(void **unused)
{
	struct world w = world_create();
	struct migrate_job job;
	struct err e = {0};

	w.cut_at_stop = true;
	assert_int_equal(precopy(&w, &job, &e), -ECANCELED);
	assert_true(w.stops == 1 && w.resumes == 1 && w.running && !w.logging);
	world_destroy(&w);
}

static void a_failing_dirty_log_fails_the_job_only(void **unused)
{
	struct world w = world_create();
	struct migrate_job job;
	struct err e = {0};

	w.fail_sync = 1;
	assert_int_equal(precopy(&w, &job, &e), -EIO);
	assert_int_equal(job.progress.phase, MIGRATE_FAILED);
	assert_string_equal(e.msg, "the dirty log is gone");
	assert_true(w.running && !w.logging);
	world_destroy(&w);
}

static bool again(uint64_t remaining, uint64_t rate, uint64_t dirty_rate, uint64_t limit_us,
		  unsigned int rounds)
{
	struct migrate_progress p = {.remaining_bytes = remaining,
				     .ram_rate = rate,
				     .pause_rate = rate,
				     .dirty_rate = dirty_rate};

	p.predicted_us = precopy_predict(&p);
	return precopy_again(&p, limit_us, rounds);
}

static void the_limit_is_a_ceiling_not_a_target(void **unused)
{
	assert_true(again(500 * MiB, GiB, 100 * MiB, 300000, 0)); /* doesn't fit: no choice */
	assert_true(again(500 * MiB, GiB, 2 * GiB, 300000, 99));  /* ... even without hope */
	assert_true(again(100 * MiB, GiB, 100 * MiB, 300000,
			  0)); /* fits, but a round makes it a tenth */
	assert_false(again(100 * MiB, GiB, GiB, 300000, 0)); /* fits, and a round gains nothing */
	assert_false(again(256 * KiB, GiB, MiB, 300000, 0)); /* RAM is a small part of the pause */
	assert_false(again(0, GiB, 0, 300000, 0));
	assert_false(again(100 * MiB, GiB, 100 * MiB, 300000, 32)); /* enough is enough */
}

/* 100 MB in a second, when the target had none of its pages yet; then 50 MB in a quarter of one. */
static void what_is_left_goes_as_the_newest_that_went(void **unused)
{
	struct speed s = {0};
	unsigned int i;

	assert_int_equal(speed_rate(&s, 1), 0);
	speed_note(&s, 100000000, NS_PER_SEC);
	speed_note(&s, 50000000, NS_PER_SEC / 4);
	speed_note(&s, 0, NS_PER_SEC);
	speed_note(&s, 1, 0);
	assert_int_equal(speed_rate(&s, 0), 200000000);
	assert_int_equal(speed_rate(&s, 50000000), 200000000);
	assert_int_equal(speed_rate(&s, 100000000), 133333333); /* as many again at half the rate */
	assert_int_equal(speed_rate(&s, 900000000), 120000000); /* there is no more to go by */
	for (i = 0; i < 2 * SPEED_STRETCHES; i++)
		speed_note(&s, 1000000, NS_PER_SEC);
	assert_int_equal(speed_rate(&s, 900000000), 1000000);
}

/* A thread that wasn't run for half a second sent little meanwhile, and much is left. */
static void a_small_round_in_which_something_came_between_says_little(void **unused)
{
	struct speed s = {0};

	speed_note(&s, 100000000, NS_PER_SEC);
	speed_note(&s, 1000000, NS_PER_SEC / 2);
	assert_in_range(speed_rate(&s, 50000000), 50000000, 51000000);
	assert_in_range(speed_rate(&s, 500000), 1999999, 2000001);
}

static void packed_pages_count_as_ram_and_pages_of_zeros_do_not(void **unused)
{
	assert_int_equal(speed_amount(1000, 4096), 4096);
	assert_int_equal(speed_amount(4104, 4096), 4104);
	assert_int_equal(speed_amount(9, 0), 9);
}

/* 100 MB/s for 20 ms until it stands still, but no more than it has in use. */
static void what_the_guest_writes_until_it_stands_still_is_sent_as_well(void **unused)
{
	struct migrate_progress p = {.remaining_bytes = 10000000,
				     .dirty_bytes = 10000000,
				     .dirty_rate = 100000000,
				     .stop_us = 20000,
				     .fixed_us = 1000,
				     .pause_rate = 100000000};

	assert_int_equal(precopy_left(&p), 12000000);
	assert_int_equal(precopy_predict(&p), 121000);
	p.stop_us = 2000000;
	assert_int_equal(precopy_left(&p), 20000000);
	p.pause_rate = 0;
	assert_int_equal(precopy_predict(&p), UINT64_MAX);
	p.remaining_bytes = p.dirty_bytes = 0;
	assert_int_equal(precopy_predict(&p), 1000);
}

static bool pause_is_faster(uint64_t limit)
{
	struct world w = world_create();
	struct migrate_job job = guest_job(w.guest, w.channel);
	struct err e = {0};

	w.writes = 0;
	job.options.max_bandwidth = limit;
	hooks_fill(&w, &job);
	assert_int_equal(migrate_precopy(&job, &e), 0);
	assert_true(job.progress.ram_rate <= limit && job.progress.rate <= limit);
	world_destroy(&w);
	return job.progress.pause_rate > limit;
}

/* Of a machine with other work each try may be disturbed for longer than the bandwidth lasts. */
static void the_bandwidth_of_the_rounds_does_not_bind_the_pause(void **unused)
{
	int tries = 0;

	while (!pause_is_faster(4 * MiB))
		assert_in_range(++tries, 1, 50);
}

/* 1 MB in 1 ms and an answer that takes another: a pause of as much isn't twice as long. */
static void what_an_answer_takes_is_not_the_links_rate(void **unused)
{
	assert_int_equal(precopy_rate(1000000, 2000000, 1000), 1000000000);
	assert_int_equal(precopy_rate(1000000, 1000000, 0), 1000000000);
	assert_int_equal(precopy_rate(1000000, 1000000, 5000),
			 4000000000); /* an answer that was late */
	assert_int_equal(precopy_rate(1000000, 0, 0), 0);
}

/* Devices and the link alone take longer than the limit: rounds end all the same. */
static void a_limit_that_rounds_cannot_reach_ends_them(void **unused)
{
	struct migrate_progress p = {
		.fixed_us = 30000, .ram_rate = 1000000000, .pause_rate = 1000000000};

	p.remaining_bytes = 4000000;
	p.predicted_us = precopy_predict(&p);
	assert_int_equal(p.predicted_us, 34000);
	assert_true(precopy_again(&p, precopy_reachable(&p, 10000), 0));
	p.remaining_bytes = 2000000;
	p.dirty_rate = p.ram_rate;
	p.predicted_us = precopy_predict(&p);
	assert_false(precopy_again(&p, precopy_reachable(&p, 10000), 0));
	assert_int_equal(precopy_reachable(&p, 300000), 300000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_answer_takes_is_not_the_links_rate),
		cmocka_unit_test(a_limit_that_rounds_cannot_reach_ends_them),
		cmocka_unit_test(what_is_left_goes_as_the_newest_that_went),
		cmocka_unit_test(a_small_round_in_which_something_came_between_says_little),
		cmocka_unit_test(packed_pages_count_as_ram_and_pages_of_zeros_do_not),
		cmocka_unit_test(what_the_guest_writes_until_it_stands_still_is_sent_as_well),
		cmocka_unit_test(the_bandwidth_of_the_rounds_does_not_bind_the_pause),
		cmocka_unit_test(what_the_guest_writes_meanwhile_arrives),
		cmocka_unit_test(which_pages_are_free_is_asked_for_each_round),
		cmocka_unit_test(a_cancelled_guest_never_stopped),
		cmocka_unit_test(a_cut_cable_at_the_switchover_lets_the_guest_run_on),
		cmocka_unit_test(a_failing_dirty_log_fails_the_job_only),
		cmocka_unit_test(the_limit_is_a_ceiling_not_a_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
