/* SPDX-License-Identifier: Apache-2.0 */
/* Channels: what is put arrives in order, failures are latched, commands are waited for. */
#include "migrate/channel/uri.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, PAGES = 300 };

static struct channel *open_uri(const char *text, bool writing)
{
	struct channel *c = NULL;
	struct err e = {0};
	struct uri u;

	assert_int_equal(uri_parse(text, &u, &e), 0);
	assert_int_equal(writing ? uri_connect(&u, NULL, NULL, NULL, &c, &e)
				 : uri_open(&u, NULL, &c, &e),
			 0);
	uri_destroy(&u);
	return c;
}

/* Headers and pages as a RAM section has them. */
static void *write_pages(void *opaque)
{
	static uint8_t pages[PAGES][PAGE];
	struct channel *c = opaque;
	uint64_t i;

	for (i = 0; i < PAGES; i++) {
		memset(pages[i], (int)i, PAGE);
		channel_put_be64(c, i);
		channel_put_ref(c, pages[i], PAGE);
	}
	channel_put_u8(c, 0xaa);
	channel_flush(c);
	return NULL;
}

static void pages_and_headers_arrive_in_order(void **unused)
{
	struct channel *from, *to;
	uint8_t page[PAGE];
	pthread_t writer;
	uint64_t i;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(channel_open_fd(&from, ends[0], NULL), 0);
	assert_int_equal(channel_open_fd(&to, ends[1], NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_pages, from), 0);
	for (i = 0; i < PAGES; i++) {
		assert_int_equal(channel_get_be64(to), i);
		assert_true(channel_get(to, page, PAGE));
		assert_true(page[0] == (uint8_t)i && page[PAGE - 1] == (uint8_t)i);
	}
	assert_int_equal(channel_get_u8(to), 0xaa);
	pthread_join(writer, NULL);
	assert_int_equal(channel_taken(to), channel_written(from));
	channel_destroy(from);
	assert_null(channel_peek(to, 1));
	assert_false(channel_failed(to)); /* an end is no failure until somebody wants more */
	channel_get_u8(to);
	assert_int_equal(channel_check(to, NULL), -EPIPE);
	channel_destroy(to);
}

static void *shut_down(void *opaque)
{
	channel_shutdown(opaque);
	return NULL;
}

static void a_shutdown_wakes_a_waiting_reader(void **unused)
{
	struct channel *c;
	pthread_t other;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(channel_open_fd(&c, ends[0], NULL), 0);
	assert_int_equal(pthread_create(&other, NULL, shut_down, c), 0);
	channel_get_u8(c);
	assert_int_equal(channel_check(c, NULL), -ECANCELED);
	pthread_join(other, NULL);
	channel_destroy(c);
	close(ends[1]);
}

static void a_command_gets_everything_before_it_is_done(void **unused)
{
	struct channel *c = open_uri("exec:cat > /tmp/outlive-channel-test", true);
	struct err e = {0};

	write_pages(c);
	assert_int_equal(channel_finish(c, &e), 0);
	channel_destroy(c);
	c = open_uri("exec:wc -c < /tmp/outlive-channel-test; rm /tmp/outlive-channel-test", false);
	assert_memory_equal(channel_peek(c, 7), "1231201", 7); /* 300 * (8 + 4096) + 1 */
	channel_destroy(c);
}

static void a_command_that_fails_fails_the_stream(void **unused)
{
	struct channel *c = open_uri("exec:cat > /dev/null; exit 3", true);
	struct err e = {0};

	channel_put_u8(c, 1);
	assert_int_equal(channel_finish(c, &e), -EPIPE);
	assert_string_equal(e.msg, "the command ended with status 3");
	channel_destroy(c);
}

static void an_unfinished_command_is_ended(void **unused)
{
	struct channel *c = open_uri("exec:exec sleep 1000", true);

	channel_destroy(c); /* would hang if it weren't */
}

static void uris_are_understood_or_refused_with_a_reason(void **unused)
{
	static const struct {
		const char *text;
		enum uri_kind kind; /* 0: refused */
		const char *host, *port;
	} uris[] = {
		{"tcp:localhost:4444", URI_TCP, "localhost", "4444"},
		{"tcp::4444", URI_TCP, "", "4444"},
		{"tcp:[::1]:4444", URI_TCP, "::1", "4444"},
		{"unix:/run/x", URI_UNIX, NULL, NULL},
		{"file:/tmp/x", URI_FILE, NULL, NULL},
		{"tcp:localhost", 0, NULL, NULL},
		{"tcp:localhost:4444,ipv4=on", 0, NULL, NULL},
		{"exec:", 0, NULL, NULL},
		{"rdma:host:1", 0, NULL, NULL},
	};
	struct err e;
	struct uri u;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(uris); i++) {
		int ret = uri_parse(uris[i].text, &u, &e);

		assert_int_equal(ret, uris[i].kind ? 0 : -EINVAL);
		if (ret < 0)
			continue;
		assert_int_equal(u.kind, uris[i].kind);
		if (uris[i].host) {
			assert_string_equal(json_string_value(json_object_get(u.address, "host")),
					    uris[i].host);
			assert_string_equal(json_string_value(json_object_get(u.address, "port")),
					    uris[i].port);
		}
		uri_destroy(&u);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_and_headers_arrive_in_order),
		cmocka_unit_test(a_shutdown_wakes_a_waiting_reader),
		cmocka_unit_test(a_command_gets_everything_before_it_is_done),
		cmocka_unit_test(a_command_that_fails_fails_the_stream),
		cmocka_unit_test(an_unfinished_command_is_ended),
		cmocka_unit_test(uris_are_understood_or_refused_with_a_reason),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
