/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a connection is the target's where that is sure, and nowhere else. */
#include "migrate/peer.h"

#include "base/keyval.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A connection over loopback: the source's end, and the target's. */
struct wire {
	struct channel *source, *target;
};

static int listen_somewhere(struct sockaddr_in6 *a)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*a);

	*a = (struct sockaddr_in6){.sin6_family = AF_INET6}; /* IPv4 comes in, too */
	assert_int_equal(bind(fd, (struct sockaddr *)a, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)a, &len), 0);
	return fd;
}

static struct wire wire_open(void)
{
	struct sockaddr_in6 there;
	int listener = listen_somewhere(&there);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = there.sin6_port,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct wire w = {0};

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(channel_open_fd(&w.source, fd, NULL), 0);
	assert_int_equal(channel_open_fd(&w.target, accept(listener, NULL, NULL), NULL), 0);
	close(listener);
	return w;
}

static void wire_close(struct wire *w)
{
	channel_destroy(w->source);
	channel_destroy(w->target);
}

static bool ended(json_t *told, struct channel *c, int ret)
{
	struct peer *p = peer_meet(told, c);
	bool is = peer_has_ended(p, ret);

	peer_forget(p);
	return is;
}

static void of_another_host_an_orderly_end_of_the_same_connection_counts(void **unused)
{
	struct wire w = wire_open(), other = wire_open();
	OWNED_JSON *told = peer_describe(w.target);

	json_object_set_new(told, "host", json_string("another"));
	assert_true(ended(told, w.source, -EPIPE));
	assert_false(ended(told, w.source, -ECONNRESET)); /* by whom? */
	assert_false(ended(told, w.source, -ETIMEDOUT));
	assert_false(ended(told, other.source, -EPIPE)); /* somebody carries it */
	wire_close(&other);
	wire_close(&w);
}

static void of_this_host_the_end_of_the_process_counts(void **unused)
{
	struct wire w = wire_open(), other = wire_open();
	OWNED_JSON *told = peer_describe(w.target);
	pid_t child = fork();
	struct peer *p;

	if (!child)
		for (;;)
			pause();
	json_object_set_new(told, "pid", json_integer(child));
	p = peer_meet(told, other.source);
	assert_false(peer_has_ended(p, -ECONNRESET));
	assert_false(peer_has_ended(p, -EPIPE));
	kill(child, SIGKILL);
	assert_true(peer_has_ended(p, -ECONNRESET));
	assert_true(peer_has_ended(p, -EPIPE));
	peer_forget(p);
	waitpid(child, NULL, 0);
	wire_close(&other);
	wire_close(&w);
}

static void who_says_nothing_may_be_anybody(void **unused)
{
	struct wire w = wire_open();
	OWNED_JSON *empty = json_object();

	assert_false(ended(NULL, w.source, -EPIPE));
	assert_false(ended(empty, w.source, -EPIPE));
	wire_close(&w);
}

static void at_a_unix_socket_of_the_target_itself_any_end_counts(void **unused)
{
	struct wire w;
	OWNED_JSON *told = NULL;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(channel_open_fd(&w.source, ends[0], NULL), 0);
	assert_int_equal(channel_open_fd(&w.target, ends[1], NULL), 0);
	told = peer_describe(w.target);
	assert_true(ended(told, w.source, -ECONNRESET));
	json_object_set_new(told, "pid", json_integer(getppid()));
	assert_false(ended(told, w.source, -ECONNRESET)); /* a program in between */
	wire_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_another_host_an_orderly_end_of_the_same_connection_counts),
		cmocka_unit_test(of_this_host_the_end_of_the_process_counts),
		cmocka_unit_test(who_says_nothing_may_be_anybody),
		cmocka_unit_test(at_a_unix_socket_of_the_target_itself_any_end_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
