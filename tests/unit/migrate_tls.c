/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS below a channel: what is put arrives, whatever is cut or changed on the way is noticed, and
 * whoever doesn't fit is told why. Keys are shared ones; tests/native/test_tls.py has certificates.
 */
#include "base/compiler.h"
#include "migrate/tls/tls.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, PAGES = 300, IDLE_MS = 50, FOR_EVER = 1 << 30 };

static const char key_file[] = "/keys.psk";
static char dir[] = "/tmp/outlive-tls-XXXXXX", other_dir[] = "/tmp/outlive-tls-XXXXXX";

static void write_keys(const char *folder, const char *user, char digit)
{
	char path[64], key[65] = "";
	FILE *f;

	memset(key, digit, 64);
	snprintf(path, sizeof(path), "%s%s", folder, key_file);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "somebody:00\n%s:%s\n", user, key);
	fclose(f);
}

static int folders_make(void **unused)
{
	assert_non_null(mkdtemp(dir));
	assert_non_null(mkdtemp(other_dir));
	write_keys(dir, "qemu", '1');
	write_keys(other_dir, "qemu", '2');
	return 0;
}

static int folders_remove(void **unused)
{
	char path[64];

	snprintf(path, sizeof(path), "%s%s", dir, key_file);
	unlink(path);
	snprintf(path, sizeof(path), "%s%s", other_dir, key_file);
	unlink(path);
	return rmdir(dir) | rmdir(other_dir);
}

static struct tls_credentials *load(const char *from, bool server)
{
	const struct tls_options o = {.kind = TLS_PSK, .server = server, .dir = from};
	struct tls_credentials *t = NULL;
	struct err e = {0};

	if (tls_credentials_load(&t, &o, &e) < 0)
		fail_msg("%s", e.msg);
	return t;
}

/**
 * struct wire - Carries bytes between two ends, and does harm at one place of one direction
 * @inner:	Our ends, of the client and of the server
 * @harmed:	The direction: 0 from the client, 1 from the server
 * @at:		How many bytes pass before the harm
 * @flip:	Change the byte there; else both directions end there
 * @passed:	Bytes of each direction so far
 */
struct wire {
	pthread_t thread;
	int inner[2], harmed, at;
	bool flip;
	int passed[2];
};

/* False: the end. */
static bool carry(struct wire *w, int from)
{
	uint8_t bytes[65536];
	ssize_t n = read(w->inner[from], bytes, sizeof(bytes)), done = 0, part;

	if (n <= 0)
		return false;
	if (from == w->harmed && w->passed[from] <= w->at && w->at < w->passed[from] + n) {
		if (w->flip)
			bytes[w->at - w->passed[from]] ^= 0x40;
		else
			n = w->at - w->passed[from];
	}
	for (; done < n; done += part) {
		part = send(w->inner[!from], bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
		if (part <= 0)
			return false;
	}
	w->passed[from] += (int)n;
	return w->flip || from != w->harmed || w->passed[from] < w->at;
}

static void *wire_main(void *opaque)
{
	struct wire *w = opaque;
	bool open = w->at || w->flip;

	while (open) {
		struct pollfd p[] = {{w->inner[0], POLLIN, 0}, {w->inner[1], POLLIN, 0}};

		/* a length that was changed may have one side wait for what doesn't come */
		open = poll(p, 2, w->passed[w->harmed] > w->at ? IDLE_MS : -1) > 0;
		for (int i = 0; i < 2 && open; i++)
			if (p[i].revents)
				open = carry(w, i);
	}
	close(w->inner[0]);
	close(w->inner[1]);
	return NULL;
}

static void wire_start(struct wire *w, int harmed, int at, bool flip, int outer[2])
{
	int a[2], b[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	*w = (struct wire){.inner = {a[1], b[1]}, .harmed = harmed, .at = at, .flip = flip};
	outer[0] = a[0];
	outer[1] = b[0];
	assert_int_equal(pthread_create(&w->thread, NULL, wire_main, w), 0);
}

/**
 * struct end - One side, on a thread of its own
 * @c:		Its channel
 * @put, @got:	Pages of its direction that were written, that were read and were right
 * @wrong:	One wasn't
 * @ret, @e:	Of its handshake, then of its channel
 */
struct end {
	pthread_t thread;
	struct channel *c;
	int put, got;
	bool wrong;
	int ret;
	struct err e;
};

static void put_pages(struct end *end)
{
	static uint8_t pages[PAGES][PAGE];

	for (uint64_t i = 0; i < (uint64_t)end->put; i++) {
		memset(pages[i], (int)i, PAGE);
		channel_put_be64(end->c, i);
		channel_put_ref(end->c, pages[i], PAGE);
	}
	channel_flush(end->c);
}

static void get_pages(struct end *end, int n)
{
	uint8_t page[PAGE];

	for (int i = 0; i < n; i++) {
		uint64_t number = channel_get_be64(end->c);

		channel_get(end->c, page, PAGE);
		if (channel_failed(end->c))
			return;
		end->wrong |= number != (uint64_t)i || page[0] != (uint8_t)i ||
			      page[PAGE - 1] != (uint8_t)i;
		end->got++;
	}
}

/* The source sends pages and waits for a word; the target takes them and says it. */
static void *source_main(void *opaque)
{
	struct end *end = opaque;

	end->ret = channel_handshake(end->c, &end->e);
	if (end->ret == 0) {
		put_pages(end);
		end->wrong = channel_get_u8(end->c) != 0xaa && !channel_failed(end->c);
		end->ret = channel_check(end->c, &end->e);
	}
	channel_destroy(end->c);
	return NULL;
}

static void *target_main(void *opaque)
{
	struct end *end = opaque;

	end->ret = channel_handshake(end->c, &end->e);
	if (end->ret == 0) {
		get_pages(end, end->put);
		channel_put_u8(end->c, 0xaa);
		channel_flush(end->c);
		end->ret = channel_check(end->c, &end->e);
	}
	channel_destroy(end->c);
	return NULL;
}

/**
 * struct talk - Two sides and the wire between them
 */
struct talk {
	struct wire wire;
	struct end source, target;
};

/* @client, @server: folders of their keys. */
static void talk(struct talk *t, int pages, int harmed, int at, bool flip, const char *client,
		 const char *server)
{
	struct tls_credentials *theirs = load(server, true), *ours = load(client, false);
	int outer[2];

	*t = (struct talk){.source.put = pages, .target.put = pages};
	wire_start(&t->wire, harmed, at, flip, outer);
	assert_int_equal(channel_open_tls(&t->source.c, outer[0], ours, NULL, NULL), 0);
	assert_int_equal(channel_open_tls(&t->target.c, outer[1], theirs, NULL, NULL), 0);
	pthread_create(&t->source.thread, NULL, source_main, &t->source);
	pthread_create(&t->target.thread, NULL, target_main, &t->target);
	pthread_join(t->source.thread, NULL);
	pthread_join(t->target.thread, NULL);
	pthread_join(t->wire.thread, NULL);
	assert_false(t->source.wrong || t->target.wrong);
	tls_credentials_free(ours);
	tls_credentials_free(theirs);
}

static void pages_and_headers_arrive_in_full_records(void **unused)
{
	const int bytes = PAGES * (8 + PAGE);
	struct talk t;

	talk(&t, PAGES, 0, FOR_EVER, false, dir, dir);
	assert_int_equal(t.source.ret, 0);
	assert_int_equal(t.target.ret, 0);
	assert_int_equal(t.target.got, PAGES);
	/* 76 records of 16 KiB, 22 bytes around each, and a handshake */
	assert_in_range(t.wire.passed[0], bytes + 76 * 22, bytes + 76 * 22 + 1500);
}

static void a_cut_anywhere_ends_both_sides(void **unused)
{
	struct talk whole, t;

	talk(&whole, 2, 0, FOR_EVER, false, dir, dir);
	assert_int_equal(whole.source.ret, 0);
	for (int way = 0; way < 2; way++)
		/* behind the last word there is the farewell, which nobody needs */
		for (int at = 0; at < whole.wire.passed[way] - 60; at += at < 1200 ? 7 : 700) {
			talk(&t, 2, way, at, false, dir, dir);
			assert_true(t.source.ret < 0);
			assert_true(t.source.e.msg[0]);
			assert_true(t.target.ret == 0 || t.target.e.msg[0]);
			assert_true(t.target.got < 2 || way == 1 || t.target.ret < 0 || at > PAGE);
		}
}

static void a_changed_byte_is_never_taken_for_the_guests(void **unused)
{
	struct talk whole, t;

	talk(&whole, 1, 0, FOR_EVER, false, dir, dir);
	for (int way = 0; way < 2; way++)
		for (int at = 0; at < whole.wire.passed[way] - 60; at += at < 1200 ? 11 : 300) {
			talk(&t, 1, way, at, true, dir, dir); /* asserts that nothing is wrong */
			assert_true(t.source.ret < 0);
		}
}

static void another_key_is_refused_with_a_reason(void **unused)
{
	struct talk t;

	talk(&t, 1, 0, FOR_EVER, false, other_dir, dir);
	assert_true(t.source.ret < 0 && t.target.ret < 0);
	assert_non_null(strstr(t.source.e.msg, "keys.psk must be the same"));
	assert_non_null(strstr(t.target.e.msg, "keys.psk must be the same"));
}

static void a_shutdown_ends_a_handshake_and_a_wait(void **unused)
{
	struct tls_credentials *ours = load(dir, false);
	struct channel *c;
	struct err e = {0};
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(channel_open_tls(&c, ends[0], ours, NULL, NULL), 0);
	channel_shutdown(c);
	assert_int_equal(channel_handshake(c, &e), -ECANCELED);
	channel_get_u8(c);
	assert_int_equal(channel_check(c, &e), -ECANCELED);
	channel_destroy(c);
	close(ends[1]);
	tls_credentials_free(ours);
}

static void expect_refusal(bool server, const char *says, const char *story)
{
	struct tls_credentials *t = load(dir, server);
	struct channel *c;
	struct err e = {0};
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(channel_open_tls(&c, ends[0], t, NULL, NULL), 0);
	assert_int_equal(send(ends[1], says, strlen(says), 0), strlen(says));
	shutdown(ends[1], SHUT_WR);
	assert_true(channel_handshake(c, &e) < 0);
	if (!strstr(e.msg, story))
		fail_msg("%s", e.msg);
	channel_destroy(c);
	close(ends[1]);
	tls_credentials_free(t);
}

static void a_peer_without_tls_is_named(void **unused)
{
	expect_refusal(true, "QEVM00000000000000000000000000000000",
		       "the source doesn't speak TLS");
	expect_refusal(false, "HTTP/1.1 400 Bad Request\r\n\r\n", "the target doesn't speak TLS");
	expect_refusal(false, "", "the target ended the connection");
}

static void credentials_that_cannot_be_used_are_refused(void **unused)
{
	static const struct {
		struct tls_options o;
		const char *story;
	} cases[] = {
		{{.kind = TLS_PSK, .dir = "/nowhere"}, "/nowhere/keys.psk can't be read"},
		{{.kind = TLS_PSK, .dir = dir, .username = "eve"}, "has no key of 'eve'"},
		{{.kind = TLS_PSK, .dir = dir, .username = "eve", .server = true},
		 "endpoint=client"},
		{{.kind = TLS_PSK, .dir = dir, .priority = "NORMAL:+NOSUCH"}, "at '+NOSUCH"},
		{{.kind = TLS_X509, .dir = dir}, "/ca-cert.pem can't be read"},
	};
	struct tls_credentials *t = NULL;
	struct err e = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(tls_credentials_load(&t, &cases[i].o, &e) < 0);
		if (!strstr(e.msg, cases[i].story))
			fail_msg("%s", e.msg);
		assert_null(t);
	}
}

static void *one_word(void *opaque)
{
	struct end *end = opaque;

	end->ret = channel_handshake(end->c, &end->e);
	channel_put_be32(end->c, 0x5145564d);
	channel_put_u8(end->c, 0xaa);
	channel_flush(end->c);
	return NULL;
}

/* As an event loop does it: no step waits. */
static void the_first_bytes_can_be_looked_at(void **unused)
{
	struct tls_credentials *ours = load(dir, false), *theirs = load(dir, true);
	struct end client = {0};
	struct channel *server;
	uint8_t bytes[4];
	short events = POLLIN;
	int ends[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(channel_open_tls(&client.c, ends[0], ours, NULL, NULL), 0);
	assert_int_equal(channel_open_tls(&server, ends[1], theirs, NULL, NULL), 0);
	assert_int_equal(channel_handshake_step(server, &events, NULL), -EAGAIN);
	pthread_create(&client.thread, NULL, one_word, &client);
	while ((r = channel_handshake_step(server, &events, NULL)) == -EAGAIN)
		poll(&(struct pollfd){ends[1], events, 0}, 1, -1);
	assert_int_equal(r, 0);
	while ((r = channel_tls_look(server, bytes)) == -EAGAIN)
		poll(&(struct pollfd){ends[1], POLLIN, 0}, 1, -1);
	assert_memory_equal(bytes, "QEVM", 4);
	assert_int_equal(channel_get_be32(server), 0x5145564d);
	assert_int_equal(channel_get_u8(server), 0xaa);
	pthread_join(client.thread, NULL);
	channel_destroy(client.c);
	assert_null(channel_peek(server, 1));
	assert_false(channel_failed(server));
	channel_destroy(server);
	tls_credentials_free(ours);
	tls_credentials_free(theirs);
}

/* AES-256-CBC of "password" with the key 00 01 02 ... and the vector 10 11 12 ..., by openssl
 * enc. */
static void secrets_are_decrypted(void **unused)
{
	uint8_t key[32], iv[16], *bytes;
	struct err e = {0};
	size_t len;

	for (uint8_t i = 0; i < sizeof(key); i++)
		key[i] = i;
	for (uint8_t i = 0; i < sizeof(iv); i++)
		iv[i] = (uint8_t)(0x10 + i);
	assert_int_equal(tls_base64_decode("Lus6SEDHpP/7OPLtKTzp3A==\n", &bytes, &len, &e), 0);
	assert_int_equal(len, 16);
	assert_int_equal(tls_decrypt(key, iv, bytes, &len, &e), 0);
	assert_int_equal(len, 8);
	assert_memory_equal(bytes, "password", 8);
	free(bytes);
	assert_int_equal(tls_base64_decode("no*base64", &bytes, &len, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_and_headers_arrive_in_full_records),
		cmocka_unit_test(a_cut_anywhere_ends_both_sides),
		cmocka_unit_test(a_changed_byte_is_never_taken_for_the_guests),
		cmocka_unit_test(another_key_is_refused_with_a_reason),
		cmocka_unit_test(a_shutdown_ends_a_handshake_and_a_wait),
		cmocka_unit_test(a_peer_without_tls_is_named),
		cmocka_unit_test(credentials_that_cannot_be_used_are_refused),
		cmocka_unit_test(the_first_bytes_can_be_looked_at),
		cmocka_unit_test(secrets_are_decrypted),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, folders_make, folders_remove);
}
