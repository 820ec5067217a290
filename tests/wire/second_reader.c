/* SPDX-License-Identifier: Apache-2.0 */
/* Our streams in the eyes of two readers that share nothing with the writer: inspect and
 * tools/stream-reader. */
#include "../unit/migrate_guest.h"

#include "cli/inspect/inspect.h"

#include "section.h"

static char path[] = "/tmp/outlive-stream-XXXXXX";

/* A whole stream of ours as a file; with a trailer if it is a snapshot. */
static uint8_t *write_stream(bool ignore_shared, size_t *ret_len)
{
	struct guest *g = guest_create_used();
	struct migrate_job job = guest_job(g, NULL);
	struct err e = {0};
	uint8_t *bytes = malloc(1 << 20);
	FILE *f;

	g->rom.readonly = true;
	job.options.ignore_shared = ignore_shared;
	job.options.uuid = (const uint8_t *)"0123456789abcdef";
	assert_int_equal(migrate_snapshot_save(&job, path, false, &e), 0);
	f = fopen(path, "re");
	*ret_len = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	guest_destroy(g);
	return bytes;
}

static json_t *second_reader(void)
{
	char exe[PATH_MAX] = "", command[2 * PATH_MAX], here[] = __FILE__;
	json_error_t error;
	json_t *j;
	FILE *f;

	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	snprintf(command, sizeof(command), "%s/../%s/../../tools/stream-reader --json %s",
		 here[0] == '/' ? "" : dirname(exe), dirname(here), path);
	f = popen(command, "re");
	assert_non_null(f);
	j = json_loadf(f, 0, &error);
	assert_int_equal(pclose(f), 0);
	if (!j)
		fail_msg("%s: %s", command, error.text);
	return j;
}

static void both_readers_see_the_same(void **unused)
{
	int ignore_shared;

	for (ignore_shared = 0; ignore_shared < 2; ignore_shared++) {
		json_t *first = NULL, *second;
		struct err e = {0};
		size_t len;
		uint8_t *bytes = write_stream(ignore_shared, &len);

		if (inspect_stream(bytes, len, 0, &first, &e) < 0)
			fail_msg("%s", e.msg);
		second = second_reader();
		assert_true(json_equal(first, second));
		assert_int_equal(json_array_size(json_object_get(first, "sections")), 5);
		json_decref(first);
		json_decref(second);
		free(bytes);
	}
}

static void a_byte_too_many_is_found(void **unused)
{
	struct err e = {0};
	json_t *j;
	size_t len, at;
	uint8_t *bytes = write_stream(false, &len);

	for (at = 0; memcmp(bytes + at,
			    "\x04\0\0\0\x02\x05"
			    "clock",
			    11);
	     at++)
		;
	at += 11 + 8;
	memmove(bytes + at + 1, bytes + at, len - 24 - at);
	assert_int_equal(inspect_stream(bytes, len - 23, 0, &j, &e), -EINVAL);
	json_decref(j);
	assert_non_null(strstr(e.msg, "clock/irq")); /* its place is one further on */
	free(bytes);
}

static void damage_never_crashes_inspect(void **unused)
{
	struct err e;
	json_t *j;
	size_t len, i;
	uint8_t *bytes = write_stream(false, &len), *cut;

	for (i = 0; i<len; i += i> 500 && i < len - 1800 ? 97 : 1) {
		bytes[i] ^= 0xff;
		if (inspect_stream(bytes, len, 0, &j, &e) < 0)
			assert_true(e.msg[0]);
		json_decref(j);
		bytes[i] ^= 0xff;
		cut = malloc(i + 1);
		memcpy(cut, bytes, i);
		if (inspect_stream(cut, i, 0, &j, &e) == 0)
			assert_int_equal(i, len - 24); /* whole but for our trailer */
		json_decref(j);
		free(cut);
	}
	free(bytes);
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_readers_see_the_same),
		cmocka_unit_test(a_byte_too_many_is_found),
		cmocka_unit_test(damage_never_crashes_inspect),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
