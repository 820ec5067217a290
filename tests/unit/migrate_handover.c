/* SPDX-License-Identifier: Apache-2.0 */
/* The very end of a stream, with which the target has a guest, gets through in part or not at all:
 * the guest must not run on here unless it is certain that it doesn't run there. */
#include "base/bytes.h"
#include "migrate/precopy.h"
#include "migrate/wire.h"

#include "migrate_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NO_WORD = -1 };

/**
 * struct way - What is between source and target
 * @takes:	Bytes of the end that get through
 * @word:	Of the target after that: value of SHUT, or NO_WORD
 * @lost:	Errno of whoever waits for a word that doesn't come
 * @outlive:	The target has said that it is an Outlive
 * @cancel:	Somebody does as soon as the guest has stopped
 * @ending, @sent, @stopped, @resumes: Where the source is
 * @to:		What has got through
 */
struct way {
	int takes, word, lost;
	bool outlive, cancel, ending, sent, stopped;
	unsigned int resumes;
	struct state_writer to;
};

static ssize_t way_writev(void *carrier, const struct iovec *iov, int n)
{
	struct way *w = carrier;
	size_t part = iov[0].iov_len;

	assert_false(w->sent);
	if (w->ending && w->takes <= 0)
		return -ETIMEDOUT;
	if (w->ending)
		part = MIN(part, (size_t)w->takes);
	w->takes -= w->ending ? (int)part : 0;
	state_put(&w->to, iov[0].iov_base, part);
	return (ssize_t)part;
}

/* Each PING has its answer, at the end there is the word. */
static ssize_t way_readv(void *carrier, const struct iovec *iov, int n)
{
	const struct way *w = carrier;
	uint8_t reply[8] = {0, w->ending ? WIRE_REPLY_SHUT : WIRE_REPLY_PONG, 0, 4};

	if (w->ending && w->word == NO_WORD)
		return w->lost == EPIPE ? 0 : -w->lost;
	reply[7] = (uint8_t)w->word;
	memcpy(iov[0].iov_base, reply, sizeof(reply));
	return sizeof(reply);
}

static void way_nothing(void *carrier)
{
}

static const struct channel_ops way_ops = {.readv = way_readv,
					   .writev = way_writev,
					   .shutdown = way_nothing,
					   .revive = way_nothing,
					   .close = way_nothing};

static int log_nothing(void *opaque, struct err *e)
{
	return 0;
}

static void log_stop(void *opaque)
{
}

static int guest_stop(void *opaque, struct err *e)
{
	((struct way *)opaque)->stopped = true;
	return 0;
}

static void guest_resume(void *opaque)
{
	((struct way *)opaque)->resumes++;
}

static bool cancelled(void *opaque)
{
	const struct way *w = opaque;

	return w->cancel && w->stopped;
}

static void progress(void *opaque, const struct migrate_progress *p)
{
	struct way *w = opaque;

	w->ending |= p->phase == MIGRATE_HANDOVER;
	w->sent |= p->phase == MIGRATE_CONFIRM;
}

static int send(struct way *w, bool *ret_unsure)
{
	struct channel *c = channel_create(&way_ops, w);
	struct guest *g = guest_create_used();
	struct migrate_job job = guest_job(g, c);
	struct err e;
	int ret;

	job.options.return_path = true;
	job.preflight = w->outlive ? json_object() : NULL;
	job.hooks = (struct migrate_hooks){.dirty_start = log_nothing,
					   .dirty_sync = log_nothing,
					   .dirty_stop = log_stop,
					   .stop = guest_stop,
					   .resume = guest_resume,
					   .cancelled = cancelled,
					   .progress = progress,
					   .opaque = w};
	ret = migrate_precopy(&job, &e);
	*ret_unsure = job.unsure;
	json_decref(job.preflight);
	channel_destroy(c);
	guest_destroy(g);
	return ret;
}

/* Does what got through make a guest? */
static bool makes_a_guest(const struct way *w)
{
	struct channel *c = channel_open_memory(w->to.buf, w->to.len);
	struct guest *g = guest_create();
	struct migrate_job job = guest_job(g, c);
	bool made;

	job.tells_why = w->outlive; /* it was told that the source wants to know */
	made = migrate_load(&job, NULL) == 0;

	channel_destroy(c);
	guest_destroy(g);
	return made;
}

/**
 * struct ending - How it ends
 * @takes, @word, @lost, @outlive: Of struct way
 * @has_guest:	The target has all that makes a guest
 * @left:	The guest has gone
 * @unsure:	Or it may have
 */
struct ending {
	int takes, word, lost;
	bool outlive, has_guest, left, unsure;
};

static void a_guest_runs_on_only_if_it_is_certain_that_it_does_not_run_there(void **unused)
{
	static const struct ending endings[] = {
		{.takes = 0, .word = NO_WORD, .lost = ETIMEDOUT},
		{.takes = 1, .word = NO_WORD, .lost = ETIMEDOUT, .has_guest = true, .unsure = true},
		{.takes = 1, .word = NO_WORD, .lost = EPIPE, .has_guest = true, .unsure = true},
		{.takes = 1, .word = 0, .has_guest = true, .left = true},
		{.takes = 1, .word = 1, .has_guest = true, .unsure = true},
		{.takes = 1, .word = 1, .outlive = true},
		{.takes = 20, .word = 1, .outlive = true},
		{.takes = 20, .word = NO_WORD, .lost = ETIMEDOUT, .outlive = true},
		{.takes = 1 << 20, .word = 0, .has_guest = true, .left = true},
		{.takes = 1 << 20, .word = 1, .has_guest = true},
		{.takes = 1 << 20,
		 .word = NO_WORD,
		 .lost = EPIPE,
		 .has_guest = true,
		 .unsure = true},
		{.takes = 1 << 20,
		 .word = NO_WORD,
		 .lost = ETIMEDOUT,
		 .has_guest = true,
		 .unsure = true},
	};
	bool unsure;

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		const struct ending *x = &endings[i];
		struct way w = {
			.takes = x->takes, .word = x->word, .lost = x->lost, .outlive = x->outlive};

		print_message("ending %zu\n", i);
		assert_int_equal(send(&w, &unsure) == 0, x->left);
		assert_int_equal(unsure, x->unsure);
		assert_int_equal(w.resumes, !x->left && !x->unsure);
		assert_int_equal(makes_a_guest(&w), x->has_guest);
		state_writer_destroy(&w.to);
	}
}

static void a_call_off_in_time_gives_the_target_no_guest(void **unused)
{
	struct way w = {.cancel = true, .takes = 1 << 20, .word = 0};
	bool unsure;

	assert_int_equal(send(&w, &unsure), -ECANCELED);
	assert_true(w.resumes == 1 && !unsure && w.ending && !w.sent);
	assert_false(makes_a_guest(&w));
	state_writer_destroy(&w.to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_runs_on_only_if_it_is_certain_that_it_does_not_run_there),
		cmocka_unit_test(a_call_off_in_time_gives_the_target_no_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
