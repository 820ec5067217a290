/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files: whole or not there, and damage is found before a device changes. */
#include "base/clock.h"
#include "migrate_guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <cmocka.h>

enum { LARGE_RAM = 1000 * 4096 };

static char folder[64], path[128];

static bool mapped, packed, compress; /* of what save() writes */

static int make_folder(void **state)
{
	mapped = packed = compress = false;
	snprintf(folder, sizeof(folder), "/tmp/outlive-snapshot-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/guest", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(path);
	return rmdir(folder);
}

static void save(struct guest *g)
{
	struct migrate_job job = guest_job(g, NULL);
	struct err e = {0};

	job.options.mapped = mapped;
	job.options.packed = packed;
	job.options.compress = compress;
	assert_int_equal(migrate_snapshot_save(&job, path, false, &e), 0);
}

static int make_packed(void **state)
{
	int ret = make_folder(state);

	mapped = packed = true;
	return ret;
}

static int load(struct guest *g, struct err *e)
{
	struct migrate_job job = guest_job(g, NULL);

	return migrate_snapshot_load(&job, path, e);
}

/* As of QEMU, whose stream doesn't say when the guest was stopped: not after it was written. */
static void a_file_without_a_word_was_written_when_its_guest_was_stopped(void **state)
{
	struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - 20}};
	struct guest *a = guest_create_used(), *b = guest_create();
	struct migrate_job job = guest_job(b, NULL);
	struct err e = {0};

	save(a);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	assert_int_equal(migrate_snapshot_load(&job, path, &e), 0);
	assert_true(time_ns() - job.stopped_ns >= 19 * NS_PER_SEC);
	guest_destroy(a);
	guest_destroy(b);
}

static unsigned int files_in_folder(void)
{
	DIR *d = opendir(folder);
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void flip(off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static off_t size_of_file(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void a_snapshot_comes_back(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};
	int fd;

	save(a);
	assert_int_equal(files_in_folder(), 1);
	assert_int_equal(load(b, &e), 0);
	assert_true(guest_same(a, b));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(migrate_snapshot_verify(fd, &e), 0);
	close(fd);
	guest_destroy(a);
	guest_destroy(b);
}

static void damage_in_a_page_changes_no_device(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};
	int fd;

	save(a);
	flip(4096); /* inside the page of 0x11 */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(migrate_snapshot_verify(fd, &e), -EBADMSG);
	close(fd);
	assert_int_equal(load(b, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "damaged: its checksum is"));
	assert_int_equal(b->applied, 0);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_cut_trailer_is_damage(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};

	save(a);
	assert_int_equal(truncate(path, size_of_file() - 1), 0);
	assert_int_equal(load(b, &e), -EBADMSG);
	assert_int_equal(b->applied, 0);
	assert_int_equal(truncate(path, size_of_file() - 23),
			 0); /* as QEMU would have written it */
	assert_int_equal(load(b, &e), 0);
	guest_destroy(a);
	guest_destroy(b);
}

static void pages_at_fixed_places_come_back(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};

	mapped = true;
	memset(b->ram.hva, 0x55, GUEST_RAM); /* all of it must be as it was there */
	save(a);
	assert_int_equal(load(b, &e), 0);
	assert_true(guest_same(a, b));
	guest_destroy(a);
	guest_destroy(b);
}

/*
 * Long runs go past the page cache where the file system can, gaps up to four pages with them; what
 * is in a gap of the file isn't the guest's.
 */
static void runs_with_gaps_come_back(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	uint8_t *ram = a->ram.hva, junk[4096];
	struct err e = {0};
	int fd;

	mapped = true;
	memset(ram, 0x66, GUEST_RAM);
	memset(ram + 20 * 4096, 0, 4096); /* gaps of 1, 4 and 5 pages */
	memset(ram + 40 * 4096, 0, 4 * 4096);
	memset(ram + 50 * 4096, 0, 5 * 4096);
	memset(junk, 0x77, sizeof(junk));
	save(a);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 1024 * 1024 + 20 * 4096), sizeof(junk));
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	for (int way = 0; way < 4; way++) {
		guest_destroy(b);
		b = guest_create();
		b->ram.huge = way & 1;
		if (way & 2)
			memset(b->ram.hva, 0x55, GUEST_RAM);
		assert_int_equal(load(b, &e), 0);
		assert_true(guest_same(a, b));
	}
	flip(1024 * 1024 + 45 * 4096 + 7);
	assert_int_equal(load(b, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "ram/pc.ram: damaged: the page at 0x2d000"));
	guest_destroy(a);
	guest_destroy(b);
}

/* Every byte that isn't in a hole, one after the other. */
static void damage_anywhere_is_found(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};
	unsigned int refused = 0;
	int fd, ret;

	mapped = true; /* packed or not */
	save(a);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0; at += at < 160 ? 1 : 89) {
		unsigned int before = b->applied;

		flip(at);
		ret = load(b, &e);
		flip(at);
		assert_int_equal(b->applied, ret < 0 ? before : before + 2);
		assert_true(ret == 0 ? guest_same(a, b) : strlen(e.msg) > 0);
		refused += ret < 0;
	}
	close(fd);
	assert_true(refused > 200);
	assert_int_equal(load(b, &e), 0);
	assert_true(guest_same(a, b));
	guest_destroy(a);
	guest_destroy(b);
}

/* A guest of some groups of pages, the last one short. */
static struct guest *guest_create_large(void)
{
	struct guest *g = guest_create();

	guest_block_destroy(&g->ram);
	list_del(&g->ram.link);
	memset(&g->ram, 0, sizeof(g->ram));
	guest_block(g, &g->ram, "pc.ram", LARGE_RAM);
	return g;
}

static void fill_page(struct guest *g, uint64_t page, uint8_t value)
{
	memset(g->ram.hva + page * 4096, value, 4096);
}

/* Every second page is zeros: a group of the file has the others at its front. The ROM is first, in
 * the file's second MiB. */
static void packed_pages_lie_one_behind_the_other(void **state)
{
	struct guest *a = guest_create_large(), *b;
	struct err e = {0};
	uint8_t byte;
	int fd;

	for (uint64_t page = 0; page < LARGE_RAM / 4096; page += 2)
		fill_page(a, page, (uint8_t)(page / 2 + 1) | 1);
	save(a);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (off_t place = 0; place < 128; place++) {
		assert_int_equal(pread(fd, &byte, 1, 3 * MiB + place * 4096), 1);
		assert_int_equal(byte, (uint8_t)(place + 128 + 1) | 1);
	}
	assert_true(lseek(fd, 3 * MiB + 128 * 4096, SEEK_DATA) >= (off_t)(4 * MiB));
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	for (int way = 0; way < 4; way++) {
		b = guest_create_large();
		b->ram.huge = way & 1;
		if (way & 2)
			memset(b->ram.hva, 0x55, LARGE_RAM);
		assert_int_equal(load(b, &e), 0);
		assert_memory_equal(a->ram.hva, b->ram.hva, LARGE_RAM);
		guest_destroy(b);
	}
	guest_destroy(a);
}

/* What a guest that is saved writes at each look at it. */
static int writes_meanwhile(void *opaque, struct err *e)
{
	struct guest *g = opaque;
	static const struct {
		uint16_t page;
		uint8_t value;
	} writes[2][4] = {{{300, 0}, {301, 7}, {302, 8}, {511, 9}},
			  {{300, 5}, {301, 0}, {303, 6}, {302, 3}}};
	static unsigned int round;

	for (size_t i = 0; i < 4; i++) {
		fill_page(g, writes[round % 2][i].page, writes[round % 2][i].value);
		bitmap_set(&g->ram.dirty, writes[round % 2][i].page);
	}
	round++;
	return 0;
}

static int nothing_to_start(void *opaque, struct err *e)
{
	return 0;
}

static void nothing_to_stop(void *opaque)
{
}

static bool nobody_cancels(void *opaque)
{
	return false;
}

static void a_page_that_comes_again_keeps_its_place(void **state)
{
	struct guest *a = guest_create_large(), *b = guest_create_large();
	struct migrate_job job = guest_job(a, NULL);
	struct err e = {0};

	for (uint64_t page = 256; page < 512; page++) /* its group has no place to spare */
		fill_page(a, page, page == 300 || page == 303 ? 0 : (uint8_t)page | 1);
	job.options.mapped = mapped;
	job.options.packed = packed;
	job.hooks = (struct migrate_hooks){.dirty_start = nothing_to_start,
					   .dirty_sync = writes_meanwhile,
					   .dirty_stop = nothing_to_stop,
					   .stop = nothing_to_start,
					   .resume = nothing_to_stop,
					   .cancelled = nobody_cancels,
					   .opaque = a};
	assert_int_equal(migrate_snapshot_save(&job, path, true, &e), 0);
	assert_true(size_of_file() < (off_t)(LARGE_RAM + 3 * MiB));
	assert_int_equal(load(b, &e), 0);
	assert_memory_equal(a->ram.hva, b->ram.hva, LARGE_RAM);
	guest_destroy(a);
	guest_destroy(b);
}

/* The offset behind the stream, from the end: trailer, sums and places of both blocks. */
static void put_places(const uint8_t *places, uint64_t n)
{
	const uint64_t rom = GUEST_ROM / 4096, ram = GUEST_RAM / 4096;
	off_t at = size_of_file() - 32 - (off_t)(8 * rom + 8 + 8 + 8) - (off_t)(8 * ram + ram);
	uint64_t sum = htobe64(XXH3_64bits(places, n));
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, places, n, at), n);
	assert_int_equal(pwrite(fd, &sum, 8, at - 8), 8);
	close(fd);
}

/* Whoever makes such a file can make its sums, too. */
static void places_that_cannot_be_are_refused(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	uint8_t places[GUEST_RAM / 4096] = {[3] = 0, [4] = 1, [63] = 2};
	struct err e = {0};

	save(a);
	put_places(places, sizeof(places)); /* those it has */
	assert_int_equal(load(b, &e), 0);
	places[63] = 1;
	put_places(places, sizeof(places));
	assert_int_equal(load(b, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "the page at 0x3f000 has the place of another one"));
	places[63] = sizeof(places);
	put_places(places, sizeof(places));
	assert_int_equal(load(b, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "damaged: the pages' places at byte"));
	assert_int_equal(b->applied, 2);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_damaged_page_is_named(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};

	mapped = true;
	save(a);
	flip(1024 * 1024 + 4 * 4096 + 7);
	assert_int_equal(load(b, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "ram/pc.ram: damaged: the page at 0x4000 (byte 1064960)"));
	assert_int_equal(b->applied, 0);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};

	mapped = true; /* packed or not */
	save(a);
	for (off_t n = size_of_file() - 1; n > 0; n -= n > 512 ? 9777 : 5) {
		/* behind the stream only what tells damage is missing, as QEMU would have it */
		assert_int_equal(truncate(path, n), 0);
		if (load(b, &e) == 0)
			assert_true(guest_same(a, b));
	}
	assert_true(load(b, &e) < 0);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_compressed_snapshot_comes_back(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct err e = {0};

	compress = true;
	save(a);
	assert_true(size_of_file() < 4096);
	assert_int_equal(load(b, &e), 0);
	assert_true(guest_same(a, b));
	flip(size_of_file() / 2);
	assert_true(load(b, &e) < 0);
	assert_int_equal(b->applied, 2);
	guest_destroy(a);
	guest_destroy(b);
}

static void a_failed_snapshot_leaves_the_old_one(void **state)
{
	struct guest *a = guest_create_used(), *b = guest_create();
	struct migrate_job job = guest_job(a, NULL);
	struct err e = {0};
	char sub[160];

	save(a);
	snprintf(sub, sizeof(sub), "%s/file", path); /* the snapshot as a folder */
	assert_int_equal(migrate_snapshot_save(&job, sub, false, &e), -ENOTDIR);
	assert_int_equal(files_in_folder(), 1);
	assert_int_equal(load(b, &e), 0);
	guest_destroy(a);
	guest_destroy(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_snapshot_comes_back, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			a_file_without_a_word_was_written_when_its_guest_was_stopped, make_folder,
			remove_folder),
		cmocka_unit_test_setup_teardown(damage_in_a_page_changes_no_device, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_cut_trailer_is_damage, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(pages_at_fixed_places_come_back, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(runs_with_gaps_come_back, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(damage_anywhere_is_found, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(pages_at_fixed_places_come_back, make_packed,
						remove_folder),
		cmocka_unit_test_setup_teardown(damage_anywhere_is_found, make_packed,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_file_cut_anywhere_is_refused, make_packed,
						remove_folder),
		cmocka_unit_test_setup_teardown(packed_pages_lie_one_behind_the_other, make_packed,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_page_that_comes_again_keeps_its_place,
						make_packed, remove_folder),
		cmocka_unit_test_setup_teardown(places_that_cannot_be_are_refused, make_packed,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_damaged_page_is_named, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_file_cut_anywhere_is_refused, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_compressed_snapshot_comes_back, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_failed_snapshot_leaves_the_old_one, make_folder,
						remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
