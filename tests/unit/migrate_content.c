/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that the target has already: how they are found, named, and verified. */
#include "migrate/content/content.h"
#include "migrate/preflight.h"
#include "migrate/wire.h"

#include "migrate_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint8_t page[4096];

/* A name whose first slot is always the same. */
static const uint8_t *name(uint8_t n)
{
	static uint8_t bytes[CONTENT_NAME_BYTES];

	bytes[8] = n;
	return bytes;
}

static void a_hash_is_sha_256(void **unused)
{
	/* of 4096 octets 0, by sha256sum(1) */
	static const uint8_t want[] = {0xad, 0x7f, 0xac, 0xb2, 0x58, 0x6f, 0xc6, 0xe9,
				       0x66, 0xc0, 0x04, 0xd7, 0xd1, 0xd1, 0x6b, 0x02,
				       0x4f, 0x58, 0x05, 0xff, 0x7c, 0xb4, 0x7c, 0x7a,
				       0x85, 0xda, 0xbd, 0x8b, 0x48, 0x89, 0x2c, 0xa7};
	uint8_t hash[CONTENT_HASH_BYTES];

	content_hash(page, hash);
	assert_memory_equal(hash, want, sizeof(want));
}

static void a_page_is_found_by_what_it_holds_now(void **unused)
{
	struct content_index x;
	uint64_t at = 99;
	struct err e;

	assert_int_equal(content_index_create(&x, 100, &e), 0);
	assert_false(content_index_find(&x, name(1), &at));
	content_index_set(&x, 7, name(1));
	assert_true(content_index_find(&x, name(1), &at) && at == 7);
	content_index_set(&x, 7, name(2));
	assert_false(content_index_find(&x, name(1), &at));
	assert_true(content_index_find(&x, name(2), &at) && at == 7);
	content_index_forget(&x, 7);
	assert_false(content_index_find(&x, name(2), &at));
	assert_false(content_index_find(&x, (const uint8_t[CONTENT_NAME_BYTES]){0}, &at));
	content_index_destroy(&x);
}

/* More pages in one place than there are slots: some are sent again, none is taken for another. */
static void names_that_collide_cost_hits_only(void **unused)
{
	struct content_index x;
	uint64_t at, found = 0;
	struct err e;
	uint8_t n;

	assert_int_equal(content_index_create(&x, 100, &e), 0);
	for (n = 1; n <= 50; n++)
		content_index_set(&x, n, name(n));
	for (n = 1; n <= 50; n++)
		if (content_index_find(&x, name(n), &at)) {
			assert_int_equal(at, n);
			found++;
		}
	assert_in_range(found, 1, 49);
	for (n = 51; n < 90; n++) { /* each of them again with contents of their own */
		uint8_t other[CONTENT_NAME_BYTES] = {[6] = n, [9] = 1};

		content_index_set(&x, n - 50u, other);
		assert_true(content_index_find(&x, other, &at) && at == n - 50u);
	}
	content_index_destroy(&x);
}

/* What the target has of a page is what was sent last, not what was there once. */
static void a_page_that_was_sent_anew_is_not_what_it_was(void **unused)
{
	struct guest *g = guest_create();
	struct migrate_job job = guest_job(g, NULL);
	uint8_t a[WIRE_PAGE] = {1}, b[WIRE_PAGE] = {2};
	struct content_source *s;
	struct ram_source ram;
	struct content_page p;
	struct err e;

	assert_int_equal(ram_source_begin(&ram, &job, &e), 0);
	assert_int_equal(content_source_create(&s, &ram, &job, &e), 0);
	content_source_look(s, 0, 0x1000, a, &p);
	assert_int_equal(p.where, CONTENT_NOWHERE);
	content_source_look(s, 0, 0x2000, a, &p);
	assert_true(p.where == CONTENT_BLOCK && p.place == 0x1000);
	content_source_look(s, 1, 0x1000, a, &p); /* another block */
	assert_int_equal(p.where, CONTENT_NOWHERE);
	content_source_look(s, 0, 0x1000, b, &p);
	content_source_forget(s, 0, 0x2000);
	content_source_look(s, 0, 0x3000, a, &p);
	assert_int_equal(p.where, CONTENT_NOWHERE);
	content_source_look(s, 0, 0x4000, a, &p);
	assert_true(p.where == CONTENT_BLOCK && p.place == 0x3000);
	assert_memory_equal(p.bytes, a, sizeof(a));
	assert_int_equal(job.progress.content.pages, 2);
	content_source_destroy(s);
	ram_source_end(&ram);
	guest_destroy(g);
}

/* docs/wire.md, "Pages that the target has" */
static void a_record_is_a_place_and_a_hash(void **unused)
{
	static const uint8_t want[] = {
		0x01,                                         /* in the same block */
		0,           0,    0,    0,    0, 0, 0x30, 0, /* at 0x3000 */
		0x11,        0x22, 0x33, 0x44,                /* hash, 32 octets */
		[40] = 0x99,
	};
	struct channel *c = channel_open_memory(NULL, 0);
	struct content_page p = {.where = CONTENT_BLOCK, .place = 0x3000};
	const uint8_t *bytes;
	size_t len;

	memcpy(p.hash, "\x11\x22\x33\x44", 4);
	p.hash[31] = 0x99;
	content_record_put(c, &p);
	bytes = channel_memory(c, &len);
	assert_int_equal(len, sizeof(want));
	assert_memory_equal(bytes, want, len);
	channel_destroy(c);
}

static int get(struct guest *g, uint8_t where, uint64_t place, const uint8_t *content,
	       struct err *e)
{
	struct channel *out = channel_open_memory(NULL, 0), *in;
	struct content_page p = {.where = (enum content_where)where, .place = place};
	uint8_t got[WIRE_PAGE];
	const uint8_t *bytes;
	size_t len;
	int r;

	content_hash(content, p.hash);
	content_record_put(out, &p);
	bytes = channel_memory(out, &len);
	in = channel_open_memory(bytes, len);
	r = content_record_get(in, &g->ram, NULL, got, e);
	if (r == 0)
		assert_memory_equal(got, content, sizeof(got));
	channel_destroy(in);
	channel_destroy(out);
	return r;
}

static void a_place_with_another_content_is_refused(void **unused)
{
	struct guest *g = guest_create_used();
	struct err e;

	assert_int_equal(get(g, CONTENT_BLOCK, 3 * 4096, g->ram.hva + 3 * 4096, &e), 0);
	assert_int_equal(get(g, CONTENT_BLOCK, 4 * 4096, g->ram.hva + 3 * 4096, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "pc.ram: the page at 0x4000 isn't the one"));
	assert_int_equal(get(g, CONTENT_BLOCK, GUEST_RAM, page, &e), -EINVAL);
	assert_int_equal(get(g, CONTENT_BLOCK, 5, page, &e), -EINVAL);
	assert_int_equal(get(g, CONTENT_FILE, 0, page, &e), -EINVAL);
	assert_int_equal(get(g, 3, 0, page, &e), -EINVAL);
	guest_destroy(g);
}

static void a_known_page_that_was_not_agreed_on_is_refused(void **unused)
{
	struct guest *g = guest_create();
	struct channel *out = channel_open_memory(NULL, 0), *in;
	struct migrate_job job;
	struct ram_sink sink;
	const uint8_t *bytes;
	struct err e;
	size_t len;

	channel_put_be64(out, WIRE_RAM_KNOWN | 4096);
	channel_put(out, "\6pc.ram", 7);
	bytes = channel_memory(out, &len);
	in = channel_open_memory(bytes, len);
	job = guest_job(g, in);
	assert_int_equal(ram_sink_begin(&sink, &job, &e), 0);
	assert_int_equal(ram_get(&sink, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "wasn't agreed on"));
	ram_sink_end(&sink);
	channel_destroy(in);
	channel_destroy(out);
	guest_destroy(g);
}

/* A hole between two pages; the list has numbers 0 and 1, the file pages 1 and 5. */
static int make_file(char path[])
{
	int fd = mkstemp(path);

	memset(page, 0x41, sizeof(page));
	assert_int_equal(pwrite(fd, page, 4096, 4096), 4096);
	memset(page, 0x42, sizeof(page));
	assert_int_equal(pwrite(fd, page, 4096, 5 * 4096), 4096);
	memset(page, 0, sizeof(page));
	return fd;
}

static void a_file_is_listed_and_told_and_read(void **unused)
{
	char path[] = "/tmp/outlive-content-XXXXXX";
	struct channel *out = channel_open_memory(NULL, 0), *in;
	uint8_t hash[CONTENT_HASH_BYTES], want[WIRE_PAGE];
	struct content_file *f;
	struct content_index x;
	uint64_t number = 99;
	struct err e;
	size_t len;
	int fd = make_file(path);

	assert_int_equal(content_file_open(&f, path, &e), 0);
	assert_int_equal(content_file_pages(f), 2);
	content_list_put(out, f);
	in = channel_open_memory(channel_memory(out, &len), 4 + 2 * CONTENT_NAME_BYTES);
	assert_int_equal(len, 4 + 2 * CONTENT_NAME_BYTES);
	assert_int_equal(content_list_get(in, &x, 2, &e), 0);
	memset(want, 0x42, sizeof(want));
	content_hash(want, hash);
	assert_true(content_index_find(&x, hash, &number));
	assert_int_equal(number, 1);
	assert_int_equal(content_file_read(f, number, page, &e), 0);
	assert_memory_equal(page, want, sizeof(want));
	assert_int_equal(content_file_read(f, 2, page, &e), -EINVAL);
	content_index_destroy(&x);
	content_file_close(f);
	channel_destroy(in);
	channel_destroy(out);
	unlink(path);
	close(fd);
}

static void a_list_that_cannot_be_right_is_refused(void **unused)
{
	uint8_t bytes[4 + 3 * CONTENT_NAME_BYTES] = {0x4f, 0x4d, 0, 2 * CONTENT_NAME_BYTES};
	struct content_index x;
	struct channel *c;
	struct err e;
	const struct {
		uint8_t type, len;
		uint64_t pages;
	} bad[] = {
		{0x4c, 32, 2}, /* another message */
		{0x4d, 33, 4}, /* not whole names */
		{0x4d, 0, 2},  /* none */
		{0x4d, 48, 2}, /* more than were announced */
		{0x4d, 32, 3}, /* fewer */
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bytes[1] = bad[i].type;
		bytes[3] = bad[i].len;
		c = channel_open_memory(bytes, 4u + bad[i].len);
		assert_true(content_list_get(c, &x, bad[i].pages, &e) < 0);
		content_index_destroy(&x);
		channel_destroy(c);
	}
}

static json_t *nothing_to_say(void *opaque, const json_t *theirs)
{
	return json_pack("{s:[]}", "mismatches");
}

/* Else each one would open the file once more. */
static void a_second_description_is_refused(void **unused)
{
	struct channel *c = channel_open_memory((const uint8_t[]){0, '{', '}', 0, ' '}, 5);
	struct guest *g = guest_create();
	struct migrate_job job = guest_job(g, c);
	struct err e;

	job.hooks.compare = nothing_to_say;
	assert_int_equal(preflight_piece(&job, 3, &e), 0);
	assert_int_equal(preflight_piece(&job, 2, &e), -EPROTO);
	preflight_end(&job);
	channel_destroy(c);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hash_is_sha_256),
		cmocka_unit_test(a_page_is_found_by_what_it_holds_now),
		cmocka_unit_test(names_that_collide_cost_hits_only),
		cmocka_unit_test(a_page_that_was_sent_anew_is_not_what_it_was),
		cmocka_unit_test(a_record_is_a_place_and_a_hash),
		cmocka_unit_test(a_place_with_another_content_is_refused),
		cmocka_unit_test(a_known_page_that_was_not_agreed_on_is_refused),
		cmocka_unit_test(a_file_is_listed_and_told_and_read),
		cmocka_unit_test(a_list_that_cannot_be_right_is_refused),
		cmocka_unit_test(a_second_description_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
