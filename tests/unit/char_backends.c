/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: back ends seen from both sides: a front end of the test's own inside, plain
 * sockets and files outside. The loop is turned by hand until what is waited for happened, at most
 * WAIT_MS.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "base/scm.h"
#include "char/char.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define WAIT_MS 60000

/* A front end that keeps what it gets. */
struct sink {
	uint8_t in[4096];
	size_t len, room;
	int opened, closed, writable, fd;
};

static struct loop *loop;
static char dir[] = "/tmp/char-XXXXXX";

static size_t sink_can_receive(void *opaque)
{
	return ((struct sink *)opaque)->room;
}

static void sink_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct sink *s = opaque;

	assert_true(len <= s->room);
	assert_true(s->len + len <= sizeof(s->in));
	memcpy(s->in + s->len, buf, len);
	s->len += len;
}

static void sink_event(void *opaque, enum char_event event)
{
	struct sink *s = opaque;

	s->opened += event == CHAR_OPENED;
	s->closed += event == CHAR_CLOSED;
}

static void sink_writable(void *opaque)
{
	((struct sink *)opaque)->writable++;
}

static void sink_fds(void *opaque, const int *fds, size_t len)
{
	((struct sink *)opaque)->fd = fds[0];
}

static void attach(struct char_backend *c, struct sink *s)
{
	struct char_front front = {sink_can_receive, sink_receive, sink_event,
				   sink_writable,    sink_fds,     s};
	struct err e;

	*s = (struct sink){.room = sizeof(s->in), .fd = -1};
	assert_int_equal(char_attach(c, "test", &front, &e), 0);
}

/* Turns the loop until @condition, or fails. */
#define turn_until(condition)                                     \
	do {                                                      \
		int64_t limit_ = time_ns() + WAIT_MS * NS_PER_MS; \
		while (!(condition)) {                            \
			assert_true(time_ns() < limit_);          \
			sd_event_run(loop_event(loop), 10000);    \
		}                                                 \
	} while (0)

static struct char_backend *make(const char *text)
{
	OWNED_JSON *o = NULL;
	struct char_backend *c = NULL;
	struct err e = {0};

	assert_int_equal(keyval_parse(text, "backend", &o, &e), 0);
	if (char_create(loop, o, &c, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return c;
}

static void refuse(const char *text, const char *words)
{
	OWNED_JSON *o = NULL;
	struct char_backend *c;
	struct err e = {0};

	assert_int_equal(keyval_parse(text, "backend", &o, &e), 0);
	assert_true(char_create(loop, o, &c, &e) < 0);
	if (!strstr(e.msg, words))
		fail_msg("'%s' doesn't say '%s'", e.msg, words);
}

static int dial(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static int setup(void **state)
{
	struct err e;

	strcpy(dir, "/tmp/char-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	return loop_create(&loop, &e);
}

static int teardown(void **state)
{
	char_remove_all();
	loop_destroy(loop);
	unlink("log");
	unlink("out");
	return chdir("/") || rmdir(dir); /* fails if a socket was left behind */
}

static void a_server_serves_one_client_after_the_other(void **state)
{
	struct char_backend *c = make("socket,id=c,path=s,server=on,wait=off");
	struct sink s;
	int one, two;

	assert_string_equal(char_filename(c), "disconnected:unix:s,server=on");
	attach(c, &s);
	one = dial("s");
	two = dial("s");
	turn_until(s.opened == 1);
	assert_string_equal(char_filename(c), "unix:s,server=on");
	assert_int_equal(write(two, "2", 1), 1);
	assert_int_equal(write(one, "1", 1), 1);
	turn_until(s.len == 1);
	assert_int_equal(s.in[0], '1');
	close(one);
	turn_until(s.closed == 1 && s.opened == 2 && s.len == 2);
	assert_int_equal(s.in[1], '2');
	close(two);
}

static void descriptors_come_with_the_bytes(void **state)
{
	struct char_backend *c = make("socket,id=c,path=s,server=on,wait=off");
	struct sink s;
	int client, pipe_fds[2];
	char byte = 'x';

	attach(c, &s);
	client = dial("s");
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(scm_send(client, "m", 1, &pipe_fds[1], 1), 1);
	turn_until(s.len == 1);
	assert_true(s.fd >= 0);
	assert_int_equal(write(s.fd, &byte, 1), 1);
	byte = 0;
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(s.fd);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(client);
}

static void a_slow_reader_fills_a_bounded_buffer_and_is_resumed(void **state)
{
	struct char_backend *c = make("socket,id=c,path=s,server=on,wait=off");
	static uint8_t block[16384];
	size_t sent = 0, got = 0, n;
	struct sink s;
	int client;

	attach(c, &s);
	client = dial("s");
	turn_until(s.opened);
	do {
		n = char_write(c, block, sizeof(block));
		sent += n;
		sd_event_run(loop_event(loop), 0);
		assert_true(sent < 8 * MiB);
	} while (n == sizeof(block));
	assert_int_equal(s.writable, 0);
	while (got < sent) {
		ssize_t r = read(client, block, sizeof(block));

		got += r > 0 ? (size_t)r : 0;
		sd_event_run(loop_event(loop), 1000);
	}
	assert_int_equal(got, sent);
	assert_int_equal(s.writable, 1);
	close(client);
}

static void output_without_a_reader_is_dropped_but_logged(void **state)
{
	struct char_backend *c = make("socket,id=c,path=s,server=on,wait=off,logfile=log");
	char text[16] = "";
	int fd;

	assert_int_equal(char_write(c, (const uint8_t *)"hello", 5), 5);
	sd_event_run(loop_event(loop), 100000);
	fd = open("log", O_RDONLY);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	close(fd);
}

static void input_waits_until_the_front_end_has_room(void **state)
{
	struct char_backend *c = make("socket,id=c,path=s,server=on,wait=off");
	struct sink s;
	int client;

	attach(c, &s);
	s.room = 0;
	client = dial("s");
	turn_until(s.opened);
	assert_int_equal(write(client, "abc", 3), 3);
	for (int i = 0; i < 5; i++)
		sd_event_run(loop_event(loop), 1000);
	assert_int_equal(s.len, 0);
	s.room = 2;
	char_accept_input(c);
	turn_until(s.len == 3);
	close(client);
}

static void a_client_comes_back_to_its_server(void **state)
{
	struct char_backend *server = make("socket,id=srv,path=s,server=on,wait=off");
	struct char_backend *client = make("socket,id=cli,path=s,reconnect-ms=20");
	struct sink a, b;
	struct err e;

	attach(server, &a);
	attach(client, &b);
	turn_until(a.opened && b.opened);
	char_detach(server);
	assert_int_equal(char_remove("srv", &e), 0);
	turn_until(b.closed);
	server = make("socket,id=srv,path=s,server=on,wait=off");
	attach(server, &a);
	turn_until(a.opened && b.opened == 2);
	char_write(client, (const uint8_t *)"x", 1);
	turn_until(a.len == 1);
}

static void a_client_without_server_fails_with_the_path(void **state)
{
	refuse("socket,id=c,path=nobody", "chardev c: connect to nobody: No such file");
}

static void a_ring_buffer_keeps_the_newest_bytes(void **state)
{
	struct char_backend *c = make("ringbuf,id=c,size=8");
	uint8_t out[16];
	size_t len = sizeof(out);
	struct err e;

	char_write(c, (const uint8_t *)"0123456789", 10);
	assert_int_equal(char_ringbuf_read(c, out, &len, &e), 0);
	assert_int_equal(len, 8);
	assert_memory_equal(out, "23456789", 8);
	refuse("ringbuf,id=d,size=7", "power of two");
}

static void mistakes_name_what_was_meant(void **state)
{
	refuse("sokcet,id=c", "did you mean 'socket'?");
	refuse("socket,id=c,paht=x", "did you mean 'path'?");
	refuse("socket,id=c", "one of path=, fd=");
	refuse("socket,id=c,path=x,server=maybe", "server: \"maybe\" is not on or off");
	refuse("socket,id=c,path=x,reconnect=1,server=on", "reconnect= is for clients");
	refuse("null,id=c,logappend=on", "needs logfile");
	refuse("null,id=c,id=d", "id is given twice");
	make("null,id=c");
	refuse("null,id=c", "exists already");
}

static void a_connected_socket_goes_to_another_owner(void **state)
{
	struct char_backend *c = make("socket,id=c,path=s,server=on,wait=off");
	struct char_handover h;
	struct sink a, b;
	struct err e = {0};
	int client, fds[4];
	char text[8] = "";

	attach(c, &a);
	client = dial("s");
	turn_until(a.opened);
	assert_int_equal(char_handover(c, &h, &e), 0);
	assert_int_equal(h.fds_len, 2);
	for (size_t i = 0; i < h.fds_len; i++)
		fds[i] = dup(h.fds[i]);
	char_release(c);
	assert_int_equal(access("s", F_OK), 0);
	assert_int_equal(char_adopt(loop, h.state, fds, h.fds_len, -1, &c, &e), 0);
	json_decref(h.state);
	attach(c, &b);
	assert_int_equal(b.opened, 1);
	assert_int_equal(write(client, "in", 2), 2);
	turn_until(b.len == 2);
	char_write(c, (const uint8_t *)"out", 3);
	turn_until(read(client, text, sizeof(text)) == 3);
	assert_string_equal(text, "out");
	assert_string_equal(char_filename(c), "unix:s,server=on");
	close(client);
}

static void a_mux_switches_its_focus_by_escape(void **state)
{
	struct char_backend *one, *two;
	struct sink a, b;
	int client;

	one = make("socket,id=c,path=s,server=on,wait=off,mux=on");
	one = char_find("c");
	attach(one, &a);
	two = char_find("c");
	assert_ptr_not_equal(one, two);
	attach(two, &b);
	client = dial("s");
	turn_until(a.opened && b.opened);
	assert_int_equal(write(client, "1\1c2\1\1", 6), 6);
	turn_until(a.len == 1 && b.len == 2);
	assert_int_equal(a.in[0], '1');
	assert_int_equal(b.in[0], '2');
	assert_int_equal(b.in[1], 1);
	close(client);
}

static void a_pty_notices_who_opens_it(void **state)
{
	struct char_backend *c = make("pty,id=c");
	struct sink s;
	int fd;

	attach(c, &s);
	assert_int_equal(s.opened, 0);
	fd = open(char_filename(c) + strlen("pty:"), O_RDWR | O_NOCTTY);
	assert_true(fd >= 0);
	char_write(c, (const uint8_t *)"x", 1); /* output makes it look */
	turn_until(s.opened == 1);
	assert_int_equal(write(fd, "hi", 2), 2);
	turn_until(s.len == 2);
	close(fd);
	turn_until(s.closed == 1);
}

static void short_forms_are_understood(void **state)
{
	OWNED_JSON *o = NULL;
	struct err e;

	assert_int_equal(char_options_from_legacy("tcp:[::1]:555,server=on", "x", &o, &e), 0);
	assert_string_equal(json_string_value(json_object_get(o, "port")), "555");
	assert_string_equal(json_string_value(json_object_get(o, "host")), "[::1]");
	assert_int_equal(char_options_from_legacy("carrier-pigeon", "x", &o, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_server_serves_one_client_after_the_other, setup,
						teardown),
		cmocka_unit_test_setup_teardown(descriptors_come_with_the_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_reader_fills_a_bounded_buffer_and_is_resumed,
						setup, teardown),
		cmocka_unit_test_setup_teardown(output_without_a_reader_is_dropped_but_logged,
						setup, teardown),
		cmocka_unit_test_setup_teardown(input_waits_until_the_front_end_has_room, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_client_comes_back_to_its_server, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_without_server_fails_with_the_path, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_ring_buffer_keeps_the_newest_bytes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(mistakes_name_what_was_meant, setup, teardown),
		cmocka_unit_test_setup_teardown(a_connected_socket_goes_to_another_owner, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_mux_switches_its_focus_by_escape, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_pty_notices_who_opens_it, setup, teardown),
		cmocka_unit_test_setup_teardown(short_forms_are_understood, setup, teardown),
	};

	return cmocka_run_group_tests_name("char backends", tests, NULL, NULL);
}
