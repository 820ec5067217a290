/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the hand-over without a guest. This program is its own target: started with
 * --takeover it plays the new process, well or badly, as FAKE_TARGET in the environment says. The
 * "guest" is a counter that must be seen to run in exactly one place.
 */
#include "base/clock.h"
#include "upgrade/upgrade.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define STATE "what the guest knows"
#define HALF  4

/* The target. */

static bool fake(const char *mode)
{
	const char *wanted = getenv("FAKE_TARGET");

	return wanted && strcmp(wanted, mode) == 0;
}

static void witness(int fd, const char *letter)
{
	if (write(fd, letter, 1) < 0)
		_exit(1);
}

/* The state must be whole, and nothing behind it. */
static bool state_right(struct state_reader *r, int fd)
{
	char text[sizeof(STATE)] = "";

	state_get(r, text, HALF);
	if (fake("along"))
		witness(fd, "h");
	if (fake("die-along"))
		kill(getpid(), SIGKILL);
	state_get(r, text + HALF, strlen(STATE) - HALF);
	return !state_peek(r, 1) && !r->failed && !strcmp(text, STATE);
}

static int target_main(void)
{
	json_t *schema = json_pack("{s:{s:s}}", fake("schema") ? "other" : "thing", "name",
				   "thing");
	const char *const features[] = {fake("along") ? "thing" : NULL, NULL};
	struct upgrade_target t;
	struct state_reader r;
	struct err e = {0};
	int fd;

	if (fake("mute"))
		return 0;
	if (fake("deaf")) {
		(void)!link_send_json(3,
				      json_pack("{s:s, s:i, s:o}", "version", "2.0", "protocol",
						UPGRADE_PROTOCOL, "schema", schema),
				      &e);
		pause();
	}
	if (target_open(&t, 3, "2.0", schema, features, &e) < 0)
		return 1;
	json_decref(schema);
	if (fake("die-building"))
		return 1;
	if (fake("hang-building"))
		pause();
	if (target_wait(&t, &e) < 0)
		return 2;
	target_reader(&t, &r);
	fd = bundle_take_fd(&t.bundle, "witness");
	if (fake("die-offered"))
		kill(getpid(), SIGKILL);
	if (fake("hang-offered"))
		pause();
	if (!state_right(&r, fd) || fake("refuse")) {
		err_set(&e, EINVAL, "thing/field: 4 offered, 1 configured here");
		target_refuse(&t, &e);
		pause();
	}
	if (target_take(&t, &e) < 0)
		return 3;
	witness(fd, "T");
	if (fake("along")) {
		usleep(100000); /* longer than a source that doesn't wait would stay */
		witness(fd, "s");
	}
	return 0;
}

/* The source. */

/**
 * struct world - What a test looks at
 * @witness:	Pipe into which whoever runs the guest writes its letter
 * @left:	leave() was called
 * @letters:	How many were in the pipe then
 * @busy:	So often the main thread has something else to do first
 * @large:	The description has more bytes than a socket holds
 * @along:	The rest of the state is written only when the target has read the first half
 * @unreadable:	Capturing fails at its end
 * @unstoppable: Pausing fails
 * @needs:	What the target must say
 * @halves:	Letters of targets that have
 */
struct world {
	struct loop *loop;
	int witness[2];
	bool paused, left, done, along, unreadable, unstoppable;
	const char *needs[2];
	bool large;
	int ret, pauses, resumes, halves, pause_ms, letters, busy;
	struct err e;
	struct upgrade_report report;
	const char *blocker;
};

static void blockers(void *opaque, json_t *sentences)
{
	struct world *w = opaque;

	if (w->blocker)
		json_array_append_new(sentences, json_string(w->blocker));
}

static int describe(void *opaque, struct bundle *b, struct err *e)
{
	struct world *w = opaque;

	json_object_set_new(b->body, "version", json_string("1.0"));
	if (w->large)
		json_object_set_new(b->body, "large", json_sprintf("%4000000d", 0));
	return bundle_add_fd(b, "witness", w->witness[1], e);
}

static int do_pause(void *opaque, int64_t until_ns, struct err *e)
{
	struct world *w = opaque;
	int64_t left_ms = (until_ns - time_ns()) / NS_PER_MS;

	assert_true(left_ms > 0 && left_ms <= w->pause_ms);
	if (w->unstoppable)
		return err_set(e, ETIMEDOUT, "vCPU 3 didn't stop");
	if (w->busy && w->busy--)
		return err_set(e, EINTR, "the machine asked for a reset");
	w->paused = true;
	w->pauses++;
	return 0;
}

static int capture(void *opaque, struct state_writer *sw, struct err *e)
{
	struct world *w = opaque;
	struct pollfd p = {.fd = w->witness[0], .events = POLLIN};
	char letter = '-';

	state_put(sw, STATE, HALF);
	sw->flush(sw);
	if (w->along && poll(&p, 1, 60000) == 1 && read(w->witness[0], &letter, 1) == 1)
		w->halves += letter == 'h';
	state_put(sw, &STATE[HALF], strlen(STATE) - HALF);
	return w->unreadable ? err_set(e, EIO, "KVM doesn't tell") : 0;
}

static void resume(void *opaque)
{
	struct world *w = opaque;

	assert_true(w->paused);
	w->paused = false;
	w->resumes++;
}

static void leave(void *opaque)
{
	struct world *w = opaque;

	w->left = true;
	assert_int_equal(ioctl(w->witness[0], FIONREAD, &w->letters), 0);
	loop_exit(w->loop);
}

static void done(void *opaque, int ret, const struct upgrade_report *report, const struct err *e)
{
	struct world *w = opaque;

	w->done = true;
	w->ret = ret;
	w->e = *e;
	w->report = *report;
	loop_exit(w->loop);
}

/* The upgrade's thread is detached and ends after it has reported. */
static void await_thread(void)
{
	struct stat tasks = {.st_nlink = 4};

	for (int i = 0; i < 60000 && tasks.st_nlink > 3; i++) { /* ".", ".." and this thread */
		assert_int_equal(stat("/proc/self/task", &tasks), 0);
		usleep(1000);
	}
}

static void run_with(struct world *w, const char *mode, struct upgrade_options options)
{
	static json_t *schema;
	static struct upgrade_guest guest;
	struct upgrade *u;
	struct err e;

	if (!schema)
		schema = json_pack("{s:{s:s}}", "thing", "name", "thing");
	if (!options.prepare_ms)
		options.prepare_ms = 60000;
	if (!options.pause_ms)
		options.pause_ms = 60000;
	w->pause_ms = options.pause_ms;
	guest = (struct upgrade_guest){.version = "1.0",
				       .schema = schema,
				       .needs = w->needs,
				       .blockers = blockers,
				       .describe = describe,
				       .pause = do_pause,
				       .capture = capture,
				       .resume = resume,
				       .leave = leave,
				       .opaque = w};
	setenv("FAKE_TARGET", mode, 1);
	assert_int_equal(loop_create(&w->loop, &e), 0);
	assert_int_equal(pipe(w->witness), 0);
	assert_int_equal(upgrade_start(&u, w->loop, &guest, &options, NULL, done, w, &e), 0);
	assert_int_equal(upgrade_start(&u, w->loop, &guest, &options, NULL, done, w, &e), -EBUSY);
	assert_int_equal(loop_run(w->loop, &e), 0);
	if (w->left)
		return; /* a VMM would have ended here; the thread waits for it */
	await_thread();
	loop_destroy(w->loop);
}

static char owner_letter(struct world *w)
{
	char letter = '-';

	close(w->witness[1]);
	if (read(w->witness[0], &letter, 1) < 0)
		letter = '!';
	close(w->witness[0]);
	return letter;
}

static void stays_here(struct world *w, const char *reason)
{
	assert_true(w->done);
	assert_true(w->ret < 0);
	assert_false(w->left);
	assert_false(w->paused);
	assert_int_equal(w->pauses, w->resumes);
	if (!strstr(w->e.msg, reason))
		fail_msg("'%s' doesn't say '%s'", w->e.msg, reason);
	assert_int_equal(owner_letter(w), '-');
}

static void a_dry_run_builds_the_target_and_pauses_nothing(void **state)
{
	struct world w = {0};

	run_with(&w, "good", (struct upgrade_options){.dry_run = true});
	assert_int_equal(w.ret, 0);
	assert_int_equal(w.pauses, 0);
	assert_string_equal(w.report.to, "2.0");
	assert_int_equal(owner_letter(&w), '-');
}

static void a_state_that_cannot_be_read_stays_here(void **state)
{
	struct world w = {.unreadable = true};

	run_with(&w, "good", (struct upgrade_options){0});
	stays_here(&w, "KVM doesn't tell");
	assert_int_equal(w.pauses, 1);
}

static void a_guest_that_does_not_stop_in_time_stays_here(void **state)
{
	struct world w = {.unstoppable = true};

	run_with(&w, "good", (struct upgrade_options){.pause_ms = 100});
	assert_int_equal(w.ret, -ETIMEDOUT);
	stays_here(&w, "vCPU 3 didn't stop");
}

static void a_blocker_stops_it_before_anything_starts(void **state)
{
	struct world w = {.blocker = "chardev tls0: a TLS session can't follow"};

	run_with(&w, "good", (struct upgrade_options){0});
	assert_string_equal(w.report.stage, "preflight");
	assert_int_equal(w.ret, -EPERM);
	stays_here(&w, "TLS session can't follow");
}

static void a_missing_binary_is_named(void **state)
{
	struct world w = {0};

	run_with(&w, "good", (struct upgrade_options){.binary = "/nonexistent/outlive-vmm"});
	stays_here(&w, "/nonexistent/outlive-vmm: No such file or directory");
}

static void a_program_that_is_no_vmm_is_refused(void **state)
{
	struct world w = {0};

	run_with(&w, "good", (struct upgrade_options){.binary = "/bin/true"});
	stays_here(&w, "without saying hello");
}

static void a_target_with_another_schema_is_refused_before_the_pause(void **state)
{
	struct world w = {0};

	run_with(&w, "schema", (struct upgrade_options){0});
	assert_int_equal(w.pauses, 0);
	stays_here(&w, "no device with the state 'thing'");
}

static void a_target_that_lacks_what_the_guest_needs_is_refused_before_the_pause(void **state)
{
	struct world w = {.needs = {"thing"}};

	run_with(&w, "good", (struct upgrade_options){0});
	assert_int_equal(w.pauses, 0);
	stays_here(&w, "doesn't know 'thing'");
}

static void a_target_that_dies_while_building_costs_no_pause(void **state)
{
	struct world w = {0};

	run_with(&w, "die-building", (struct upgrade_options){0});
	assert_int_equal(w.pauses, 0);
	stays_here(&w, "gone");
}

static void a_target_that_hangs_while_building_is_given_up(void **state)
{
	struct world w = {0};

	run_with(&w, "hang-building", (struct upgrade_options){.prepare_ms = 300});
	assert_int_equal(w.pauses, 0);
	stays_here(&w, "didn't answer in time");
}

static void a_target_that_reads_nothing_is_given_up(void **state)
{
	struct world w = {.large = true};

	run_with(&w, "deaf", (struct upgrade_options){.prepare_ms = 2000});
	assert_int_equal(w.pauses, 0);
	stays_here(&w, "didn't read in time");
}

static void a_main_thread_that_is_always_busy_stays_here(void **state)
{
	struct world w = {.busy = 1000};

	run_with(&w, "good", (struct upgrade_options){0});
	assert_int_equal(w.pauses, 0);
	stays_here(&w, "asked for a reset");
}

static void a_target_that_refuses_the_state_gives_its_reason(void **state)
{
	struct world w = {0};

	run_with(&w, "refuse", (struct upgrade_options){0});
	assert_int_equal(w.pauses, 1);
	stays_here(&w, "thing/field: 4 offered, 1 configured here");
}

static void a_target_killed_with_the_offer_in_hand_loses_it(void **state)
{
	struct world w = {0};

	run_with(&w, "die-offered", (struct upgrade_options){0});
	assert_int_equal(w.pauses, 1);
	stays_here(&w, "died");
}

static void a_target_that_hangs_with_the_offer_in_hand_loses_it(void **state)
{
	struct world w = {0};

	run_with(&w, "hang-offered", (struct upgrade_options){.pause_ms = 500});
	assert_int_equal(w.pauses, 1);
	stays_here(&w, "within 500 ms");
}

static void a_good_target_reads_along_and_gets_the_guest(void **state)
{
	static struct world w = {.along = true,
				 .busy = 2,
				 .needs = {"thing"}}; /* its loop's thread outlasts the test */

	run_with(&w, "along", (struct upgrade_options){0});
	assert_int_equal(w.halves, 1);
	assert_true(w.left);
	assert_false(w.done);
	assert_int_equal(w.resumes, 0);
	assert_int_equal(w.letters, 2); /* it has settled */
	assert_int_equal(owner_letter(&w), 'T');
}

static void a_target_killed_while_it_reads_costs_nothing(void **state)
{
	struct world w = {0};

	run_with(&w, "die-along", (struct upgrade_options){0});
	assert_int_equal(w.pauses, 1);
	stays_here(&w, "died");
}

/* The word alone. */

#define ROUNDS 60 /* a fork each, which is slow under sanitizers */

/* Clearing and freeing what nobody writes to would cost the guest time. */
static void the_area_has_memory_for_what_is_expected(void **state)
{
	struct area a, b;
	struct stat st;
	struct err e;

	assert_int_equal(area_create(&a, 8 * MiB, 3 * 4096 - 1, &e), 0);
	assert_int_equal(fstat(a.fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, 4 * 4096);
	assert_int_equal(area_open(&b, dup(a.fd), &e), 0);
	assert_int_equal(fstat(a.fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, 4 * 4096);
	area_close(&b);
	area_close(&a);
}

/* The area moves in front of a page that can't be read. */
static void guard(struct area *a)
{
	char *all = mmap(NULL, a->size + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	a->map = mremap(a->map, a->size, a->size, MREMAP_MAYMOVE | MREMAP_FIXED, all);
	assert_ptr_equal(a->map, all);
}

/* Whoever plays the source can write any length at any time. */
static void lengths_of_a_hostile_source_stay_within_the_area(void **state)
{
	static const uint64_t lens[] = {0, 3, 7, 8, 4095, 4096, 4097, UINT64_MAX};
	struct upgrade_target t = {.sock = -1};
	struct state_reader r;
	uint8_t bytes[64], *at;
	struct err e;
	size_t room;

	assert_int_equal(area_create(&t.area, 4096, 4096, &e), 0);
	guard(&t.area);
	at = area_state(&t.area, &room);
	assert_true(ownership_offer(&t.area));
	for (size_t i = 0; i < ARRAY_SIZE(lens) * ARRAY_SIZE(lens); i++) {
		memset(at, ' ', room);
		memcpy(at, &lens[i % ARRAY_SIZE(lens)], 8);
		area_set_state_len(&t.area, lens[i / ARRAY_SIZE(lens)]);
		json_decref(target_late(&t));
		target_reader(&t, &r);
		for (int n = 0; n < 80 && !r.failed; n++)
			state_get(&r, bytes, sizeof(bytes));
		assert_true(r.failed);
	}
	munmap((char *)t.area.map + t.area.size, 4096);
	area_close(&t.area);
}

static void the_word_has_one_winner(void **state)
{
	struct area a;
	struct err e;
	int taken = 0, revoked = 0;

	for (int i = 0; i < ROUNDS; i++) {
		int status;
		pid_t pid;

		assert_int_equal(area_create(&a, 4096, 4096, &e), 0);
		assert_int_equal(ownership(&a), OWNER_SOURCE);
		assert_false(ownership_take(&a));
		pid = fork();
		if (pid == 0) {
			/* one that comes late may find the offer revoked, and waits in vain */
			ownership_wait(&a, OWNER_SOURCE, 20 * NS_PER_MS);
			_exit(ownership_take(&a) ? 1 : 0);
		}
		assert_true(ownership_offer(&a));
		ownership_wait(&a, OWNER_OFFERED, i * 2 * NS_PER_US);
		if (ownership_revoke(&a))
			revoked++;
		else
			taken++;
		waitpid(pid, &status, 0);
		assert_int_equal(WEXITSTATUS(status), ownership(&a) == OWNER_TARGET);
		area_close(&a);
	}
	assert_int_equal(taken + revoked, ROUNDS);
}

static void descriptors_go_by_name(void **state)
{
	int pair[2], fd = memfd_create("thing", 0);
	struct bundle out, in;
	struct err e;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	bundle_init(&out);
	json_object_set_new(out.body, "answer", json_integer(42));
	for (int i = 0; i < 450; i++) {
		char name[16];

		snprintf(name, sizeof(name), "fd%d", i);
		assert_int_equal(bundle_add_fd(&out, name, fd, &e), 0);
	}
	assert_int_equal(link_send(pair[0], &out, &e), 0);
	assert_int_equal(link_recv(pair[1], &in, 1000, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(in.body, "answer")), 42);
	assert_int_equal(in.len, 450);
	fd = bundle_take_fd(&in, "fd449");
	assert_true(fd >= 0);
	assert_int_equal(bundle_take_fd(&in, "fd449"), -1);
	assert_int_equal(bundle_take_fd(&in, "fd450"), -1);
	close(fd);
	bundle_release(&out);
	bundle_release(&in);
	assert_int_equal(link_recv(pair[1], &in, 50, &e), -ETIMEDOUT);
	close(pair[0]);
	assert_int_equal(link_recv(pair[1], &in, 50, &e), -ECONNRESET);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_area_has_memory_for_what_is_expected),
		cmocka_unit_test(lengths_of_a_hostile_source_stay_within_the_area),
		cmocka_unit_test(the_word_has_one_winner),
		cmocka_unit_test(descriptors_go_by_name),
		cmocka_unit_test(a_dry_run_builds_the_target_and_pauses_nothing),
		cmocka_unit_test(a_state_that_cannot_be_read_stays_here),
		cmocka_unit_test(a_guest_that_does_not_stop_in_time_stays_here),
		cmocka_unit_test(a_blocker_stops_it_before_anything_starts),
		cmocka_unit_test(a_missing_binary_is_named),
		cmocka_unit_test(a_program_that_is_no_vmm_is_refused),
		cmocka_unit_test(a_target_with_another_schema_is_refused_before_the_pause),
		cmocka_unit_test(
			a_target_that_lacks_what_the_guest_needs_is_refused_before_the_pause),
		cmocka_unit_test(a_target_that_dies_while_building_costs_no_pause),
		cmocka_unit_test(a_target_that_hangs_while_building_is_given_up),
		cmocka_unit_test(a_target_that_reads_nothing_is_given_up),
		cmocka_unit_test(a_main_thread_that_is_always_busy_stays_here),
		cmocka_unit_test(a_target_that_refuses_the_state_gives_its_reason),
		cmocka_unit_test(a_target_killed_with_the_offer_in_hand_loses_it),
		cmocka_unit_test(a_target_that_hangs_with_the_offer_in_hand_loses_it),
		cmocka_unit_test(a_target_killed_while_it_reads_costs_nothing),
		cmocka_unit_test(a_good_target_reads_along_and_gets_the_guest),
	};

	if (argc > 1 && strcmp(argv[1], "--takeover") == 0)
		_exit(target_main()); /* as the VMM does: what it took over is not given back */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
