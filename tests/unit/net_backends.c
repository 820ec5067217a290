/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: peers that go, or say what no peer should, at a stream back end on a loop
 * of the test's. A loop that has nothing to tell must be at rest: sd_event_run() returns 0.
 */
#include "net/net.h"

#include "base/bytes.h"
#include "base/loop.h"
#include "base/owned.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FRAME_MAX (65536 + 64)

/**
 * struct fixture - A back end and its peer
 * @readable:	How often frames were announced
 */
struct fixture {
	struct loop *loop;
	struct net_queue *q;
	int peer;
	unsigned int readable;
};

static int fd_of(void *opaque, const char *name)
{
	return atoi(name);
}

static void on_readable(void *opaque)
{
	((struct fixture *)opaque)->readable++;
}

static void on_writable(void *opaque)
{
}

static void setup(struct fixture *f)
{
	const struct net_watcher watcher = {on_readable, on_writable, f};
	int fds[2];
	char text[12];
	json_t *options;
	struct err e;

	*f = (struct fixture){.peer = -1};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->peer = fds[1];
	snprintf(text, sizeof(text), "%d", fds[0]);
	options = json_pack("{s:s,s:s,s:{s:s,s:s}}", "type", "stream", "id", "n0", "addr", "type",
			    "fd", "str", text);
	if (loop_create(&f->loop, &e) < 0 || net_add(options, fd_of, NULL, &e) < 0)
		fail_msg("%s", e.msg);
	json_decref(options);
	f->q = net_queue(net_find("n0"), 0);
	assert_int_equal(net_watch(f->q, f->loop, &watcher, &e), 0);
}

static void teardown(struct fixture *f)
{
	struct err e;

	net_unwatch(f->q);
	assert_int_equal(net_remove("n0", &e), 0);
	fd_close(&f->peer);
	loop_destroy(f->loop);
}

static bool busy(struct fixture *f)
{
	int r = sd_event_run(loop_event(f->loop), 0);

	assert_true(r >= 0);
	return r > 0;
}

static ssize_t receive(struct fixture *f)
{
	static uint8_t frame[FRAME_MAX];

	return net_receive(f->q, &(struct iovec){frame, sizeof(frame)}, 1);
}

static void a_peer_that_went_leaves_the_loop_at_rest(void **state)
{
	struct fixture f;

	setup(&f);
	net_want_read(f.q, false); /* the guest has no buffers */
	assert_false(busy(&f));
	fd_close(&f.peer);
	assert_false(busy(&f));
	net_want_read(f.q, true);
	assert_true(busy(&f));
	assert_int_equal(f.readable, 1);
	assert_int_equal(receive(&f), -EAGAIN); /* now it is noticed: the cable is out */
	assert_false(busy(&f));
	teardown(&f);
}

static void a_frame_longer_than_any_disconnects(void **state)
{
	uint8_t prefix[4];
	struct fixture f;

	setup(&f);
	store_be32(prefix, FRAME_MAX + 1);
	assert_int_equal(write(f.peer, prefix, 4), 4);
	assert_true(busy(&f));
	assert_int_equal(receive(&f), -EAGAIN);
	assert_int_equal(read(f.peer, prefix, 4), 0);
	assert_false(busy(&f));
	teardown(&f);
}

static void frames_of_no_bytes_are_passed_over(void **state)
{
	uint8_t bytes[8 + 60] = {0};
	struct fixture f;

	setup(&f);
	store_be32(bytes + 4, 60);
	assert_int_equal(write(f.peer, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(receive(&f), 0);
	assert_int_equal(receive(&f), 60);
	assert_int_equal(receive(&f), -EAGAIN);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_that_went_leaves_the_loop_at_rest),
		cmocka_unit_test(a_frame_longer_than_any_disconnects),
		cmocka_unit_test(frames_of_no_bytes_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
