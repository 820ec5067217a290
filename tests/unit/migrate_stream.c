/* SPDX-License-Identifier: Apache-2.0 */
/* A guest through a stream and back, and what is said about streams that can't be right. */
#include "migrate_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The stream of a used guest; the caller frees it. */
static uint8_t *stream_of(struct guest *g, size_t *len)
{
	struct channel *c = channel_open_memory(NULL, 0);
	struct migrate_job job = guest_job(g, c);
	const uint8_t *bytes;
	struct err e = {0};
	uint8_t *copy;

	assert_int_equal(migrate_save(&job, &e), 0);
	bytes = channel_memory(c, len);
	copy = malloc(*len + 14); /* a test may insert commands */
	memcpy(copy, bytes, *len);
	channel_destroy(c);
	return copy;
}

static int load(struct guest *g, const uint8_t *bytes, size_t len, struct migrate_job *ret_job,
		struct err *e)
{
	struct channel *c = channel_open_memory(bytes, len);
	struct migrate_job job = guest_job(g, c);
	int ret;

	if (ret_job)
		job.options = ret_job->options;
	ret = migrate_load(&job, e);
	channel_destroy(c);
	if (ret_job)
		*ret_job = job;
	return ret;
}

static void a_guest_arrives_as_it_left(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct migrate_job job = guest_job(b, NULL);
	struct err e = {0};
	size_t len;
	uint8_t *bytes = stream_of(a, &len);

	assert_int_equal(load(b, bytes, len, &job, &e), 0);
	assert_true(guest_same(a, b));
	assert_string_equal(job.runstate, "paused");
	assert_int_equal(job.progress.normal_pages, 5);
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

static void holes_stay_holes(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	size_t len;
	uint8_t *bytes = stream_of(a, &len);

	assert_int_equal(lseek(a->ram.fd, 5 * 4096, SEEK_DATA), 63 * 4096);
	assert_int_equal(load(b, bytes, len, NULL, NULL), 0);
	assert_int_equal(lseek(b->ram.fd, 0, SEEK_DATA), 3 * 4096);
	assert_int_equal(lseek(b->ram.fd, 5 * 4096, SEEK_DATA), 63 * 4096);
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_zero_page_overwrites_what_was_there(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	size_t len;
	uint8_t *bytes = stream_of(a, &len);

	memset(b->ram.hva, 0x99, GUEST_RAM);
	assert_int_equal(load(b, bytes, len, NULL, NULL), 0);
	assert_true(guest_same(a, b));
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

static void shared_memory_stays_where_it_is(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct channel *c = channel_open_memory(NULL, 0);
	struct migrate_job job = guest_job(a, c);
	const uint8_t *bytes;
	struct err e = {0};
	size_t len;

	a->rom.readonly = b->rom.readonly = true;
	job.options.ignore_shared = true;
	assert_int_equal(migrate_save(&job, &e), 0);
	bytes = channel_memory(c, &len);
	assert_true(len < 3 * 4096 + 2048);
	assert_int_equal(load(b, bytes, len, NULL, &e), -EINVAL);
	assert_string_equal(e.msg,
			    "configuration/capabilities: x-ignore-shared is on there, off here");
	assert_int_equal(load(b, bytes, len, &job, &e), 0);
	assert_memory_equal(b->rom.hva, a->rom.hva, GUEST_ROM);
	assert_int_equal(b->ram.hva[3 * 4096], 0);
	channel_destroy(c);
	guest_destroy(a);
	guest_destroy(b);
}

static void every_cut_leaves_the_devices_untouched(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e;
	size_t len, n, eof;
	uint8_t *bytes = stream_of(a, &len), *cut;

	for (eof = len - 1; memcmp(bytes + eof, "\x06\0\0", 3); eof--)
		;
	for (n = 0; n<eof; n += n> 600 && n < eof - 400 ? 331 : 1) {
		cut = malloc(n ? n : 1);
		memcpy(cut, bytes, n);
		e.msg[0] = '\0';
		assert_true(load(b, cut, n, NULL, &e) < 0);
		assert_true(e.msg[0]);
		assert_int_equal(b->applied, 0);
		free(cut);
	}
	assert_int_equal(load(b, bytes, len, NULL, &e),
			 0); /* and then the same guest takes the good one */
	assert_true(guest_same(a, b));
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

static void every_flipped_byte_is_refused_or_harmless(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e;
	size_t len, i;
	uint8_t *bytes = stream_of(a, &len);

	for (i = 0; i<len; i += i> 600 && i < len - 1500 ? 251 : 1) {
		unsigned int before = b->applied;

		bytes[i] ^= 0xff;
		e.msg[0] = '\0';
		if (load(b, bytes, len, NULL, &e) < 0) {
			assert_true(e.msg[0]);
			assert_int_equal(b->applied, before);
		}
		bytes[i] ^= 0xff;
	}
	assert_int_equal(load(b, bytes, len, NULL, &e), 0);
	assert_true(guest_same(a, b));
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

static void refusals_name_device_and_field(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct migrate_job other = guest_job(b, NULL);
	struct err e;
	size_t len;
	uint8_t *bytes = stream_of(a, &len);

	b->refuse = true;
	assert_int_equal(load(b, bytes, len, NULL, &e), -EINVAL);
	assert_string_equal(e.msg, "0000:00:02.0/disk/len: 3 offered, 1 configured here");
	other.options.machine = "pc-test-2";
	assert_int_equal(load(b, bytes, len, &other, &e), -EINVAL);
	assert_string_equal(e.msg, "configuration/machine: pc-test-1 offered, pc-test-2 here");
	b->refuse = false;
	snprintf(b->sections.all[1].path, 64, "0000:00:03.0");
	assert_int_equal(load(b, bytes, len, NULL, &e), -ENOENT);
	assert_non_null(strstr(
		e.msg,
		"section 0000:00:02.0/disk, instance 0: there is no such device here (give"));
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_block_of_fixed_size_keeps_it(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e;
	size_t len;
	uint8_t *bytes;

	a->ram.size = GUEST_RAM - 4096;
	bytes = stream_of(a, &len);
	assert_int_equal(load(b, bytes, len, NULL, &e), -EINVAL);
	assert_string_equal(e.msg, "ram/pc.ram: 258048 bytes offered, 262144 here");
	assert_int_equal(b->applied, 0);
	free(bytes);
	a->ram.size = GUEST_RAM;
	guest_destroy(a);
	guest_destroy(b);
}

static void missing_sections_are_listed(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e;
	size_t len;
	uint8_t *bytes;

	a->sections.len = 1;
	bytes = stream_of(a, &len);
	assert_int_equal(load(b, bytes, len, NULL, &e), -ENODATA);
	assert_non_null(strstr(e.msg, "not in the stream: 0000:00:02.0/disk 0 ("));
	assert_int_equal(b->applied, 0);
	b->sections.all[1].optional = true;
	assert_int_equal(load(b, bytes, len, NULL, &e), 0);
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_newer_source_may_announce_the_switchover(void **unused)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e;
	size_t len, at;
	uint8_t *bytes = stream_of(a, &len);

	for (at = 0; memcmp(bytes + at,
			    "\x04\0\0\0\x02\x05"
			    "clock",
			    11);
	     at++)
		;
	memmove(bytes + at + 5, bytes + at, len - at);
	memcpy(bytes + at, "\x08\0\x0b\0\0", 5);
	assert_int_equal(load(b, bytes, len + 5, NULL, &e), 0);
	bytes[at + 2] = 7;
	assert_int_equal(load(b, bytes, len + 5, NULL, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "PACKAGED"));
	free(bytes);
	guest_destroy(a);
	guest_destroy(b);
}

/* How many bytes of answers a source gets that asks for some. */
static size_t answers(const uint8_t *bytes, size_t len, bool one_way)
{
	struct channel *c = channel_open_memory(bytes, len);
	struct guest *g = guest_create();
	struct migrate_job job = guest_job(g, c);
	struct err e;
	size_t n;

	job.options.one_way = one_way;
	assert_int_equal(migrate_load(&job, &e), 0);
	channel_memory(c, &n);
	channel_destroy(c);
	guest_destroy(g);
	return n;
}

static void a_file_is_told_nothing(void **unused)
{
	static const char asks[] = "\x08\0\1\0\0"          /* a way back */
				   "\x08\0\2\0\4\0\0\0\1"; /* a ping */
	struct guest *a = guest_create_used();
	size_t len, at = 0;
	uint8_t *bytes = stream_of(a, &len);

	while (memcmp(bytes + at, "\x01\0\0\0", 4) != 0)
		at++;
	memmove(bytes + at + 14, bytes + at, len - at);
	memcpy(bytes + at, asks, 14);
	assert_int_equal(answers(bytes, len + 14, false), 16);
	assert_int_equal(answers(bytes, len + 14, true), 0);
	free(bytes);
	guest_destroy(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_arrives_as_it_left),
		cmocka_unit_test(a_file_is_told_nothing),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(a_zero_page_overwrites_what_was_there),
		cmocka_unit_test(shared_memory_stays_where_it_is),
		cmocka_unit_test(every_cut_leaves_the_devices_untouched),
		cmocka_unit_test(every_flipped_byte_is_refused_or_harmless),
		cmocka_unit_test(refusals_name_device_and_field),
		cmocka_unit_test(a_block_of_fixed_size_keeps_it),
		cmocka_unit_test(missing_sections_are_listed),
		cmocka_unit_test(a_newer_source_may_announce_the_switchover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
