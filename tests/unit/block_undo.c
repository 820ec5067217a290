/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power fails while an undo file is in use: whatever part of what was written since the last
 * sync is on the disk then, going back gives the image of the point, to the byte, or is refused.
 *
 * The disk is what it had at the last sync of each file. At each sync, and after each write of the
 * guest, the power fails once for each subset of what isn't synced: header, bitmap and contents of
 * the undo file, contents of the image, and the image's time of change.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "block/undo.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLUSTERS = 2, IMAGE = CLUSTERS * UNDO_CLUSTER, DATA = 1024 * 1024, TIME = 2 * CLUSTERS + 2 };

/* What is on the disk as a whole or not: header, bitmap, what was saved, the image. */
static struct unit {
	bool of_image;
	uint64_t at, bytes;
	uint8_t disk[UNDO_CLUSTER];
} units[TIME] = {{false, 0, 4096},
		 {false, 4096, 4096},
		 {false, DATA, UNDO_CLUSTER},
		 {false, DATA + UNDO_CLUSTER, UNDO_CLUSTER},
		 {true, 0, UNDO_CLUSTER},
		 {true, UNDO_CLUSTER, UNDO_CLUSTER}};

static char folder[64], image_path[96], undo_path[96], boot_path[96];
static struct timespec disk_time;
static uint8_t point[IMAGE];
static struct undo *undo;
static int image_fd = -1;
static int64_t clock_ms;
static bool recording;
static unsigned int boot, trusted, refused, cuts;

static void path_of(char ret[96], const char *name)
{
	snprintf(ret, 96, "%s/%s", folder, name);
}

static void next_boot(void)
{
	FILE *f = fopen(boot_path, "w");

	fprintf(f, "boot-%031u", ++boot);
	fclose(f);
}

static struct timespec time_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_mtim;
}

static void time_set(int fd, struct timespec t)
{
	assert_int_equal(futimens(fd, (struct timespec[]){t, t}), 0);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void unit_now(const struct unit *u, uint8_t now[UNDO_CLUSTER])
{
	ssize_t n = pread(u->of_image ? image_fd : undo->fd, now, u->bytes, (off_t)u->at);

	assert_true(n >= 0);
	memset(now + n, 0, UNDO_CLUSTER - (size_t)n);
}

/* The host is up again, and somebody goes back to the point. */
static void go_back(const char *image, const char *file)
{
	uint8_t now[IMAGE];
	struct err e = {0};
	struct undo *u;
	int fd = open(image, O_RDWR | O_CLOEXEC), r;

	r = undo_open(&u, file, &e);
	if (r == 0) {
		r = undo_check(u, fd, &e);
		if (r == 0)
			assert_int_equal(undo_copy_back(u, fd, &e), 0);
		undo_drop(u);
	}
	assert_true(r == 0 || e.msg[0]);
	assert_int_equal(pread(fd, now, IMAGE, 0), IMAGE);
	if (r == 0)
		assert_memory_equal(now, point, IMAGE);
	close(fd);
	trusted += r == 0;
	refused += r != 0;
}

/* The disk has what it had, and of what was written since the units whose bits are in @has. */
static void cut(unsigned int has, uint8_t now[][UNDO_CLUSTER], struct timespec now_time)
{
	char image[96], file[96];
	int fds[2], i;

	path_of(image, "cut-image");
	path_of(file, "cut-undo");
	fds[0] = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fds[1] = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (i = 0; i < TIME; i++)
		assert_int_equal(pwrite(fds[units[i].of_image],
					has >> i & 1 ? now[i] : units[i].disk, units[i].bytes,
					(off_t)units[i].at),
				 units[i].bytes);
	time_set(fds[1], has >> TIME & 1 ? now_time : disk_time);
	close(fds[0]);
	close(fds[1]);
	go_back(image, file);
	cuts++;
}

static void the_power_fails(void)
{
	static uint8_t now[TIME][UNDO_CLUSTER];
	struct timespec now_time = time_of(image_fd);
	unsigned int dirty = 0, has = 0;
	int i;

	recording = false;
	for (i = 0; i < TIME; i++) {
		unit_now(&units[i], now[i]);
		dirty |= (unsigned int)(memcmp(now[i], units[i].disk, units[i].bytes) != 0) << i;
	}
	dirty |= (unsigned int)!same_time(now_time, disk_time) << TIME;
	next_boot();
	do {
		cut(has, now, now_time);
		has = (has - dirty) & dirty; /* the next subset */
	} while (has);
	recording = true;
}

/* The disk has these units. */
static void synced(bool of_image, uint64_t end)
{
	if (!recording)
		return;
	the_power_fails();
	for (int i = 0; i < TIME; i++)
		if (units[i].of_image == of_image && units[i].at < end)
			unit_now(&units[i], units[i].disk);
}

/* The calls by which undo.c says what must be on the disk. */
int fsync(int fd)
{
	if (undo && fd == undo->fd)
		synced(false, UINT64_MAX);
	if (fd == image_fd)
		synced(true, UINT64_MAX);
	if (recording && fd == image_fd)
		disk_time = time_of(image_fd);
	return 0;
}

/* Doesn't promise that the time is on the disk. */
int fdatasync(int fd)
{
	if (fd == image_fd)
		synced(true, UINT64_MAX);
	return 0;
}

int msync(void *at, size_t n, int flags)
{
	if (undo && at == undo->h)
		synced(false, n);
	return 0;
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	if (flags & O_CREAT) {
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	if (strstr(path, "boot_id"))
		path = boot_path;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static void guest_writes(unsigned int cluster, uint8_t value)
{
	static uint8_t bytes[UNDO_CLUSTER];

	memset(bytes, value, sizeof(bytes));
	undo_save(undo, image_fd, cluster * UNDO_CLUSTER, UNDO_CLUSTER);
	assert_int_equal(pwrite(image_fd, bytes, UNDO_CLUSTER, cluster * UNDO_CLUSTER),
			 UNDO_CLUSTER);
	time_set(image_fd, (struct timespec){1000000 + ++clock_ms, 0});
	the_power_fails();
}

/* The host goes down as it should. */
static void reboot_host(void)
{
	recording = true;
	undo_close(undo, image_fd);
	undo = NULL;
	recording = false;
	next_boot();
}

static void open_undo(void)
{
	struct err e = {0};

	recording = false;
	assert_int_equal(undo_open(&undo, undo_path, &e), 0);
	for (int i = 0; i < TIME; i++)
		unit_now(&units[i], units[i].disk);
	disk_time = time_of(image_fd);
	recording = true;
}

static int make_point(void **state)
{
	struct err e = {0};

	snprintf(folder, sizeof(folder), "/tmp/outlive-undo-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	path_of(image_path, "image");
	path_of(undo_path, "undo");
	path_of(boot_path, "boot");
	trusted = refused = cuts = 0;
	recording = false;
	next_boot();
	image_fd = open(image_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (int i = 0; i < IMAGE; i++)
		point[i] = (uint8_t)(i / 4096 + 1);
	assert_int_equal(pwrite(image_fd, point, IMAGE, 0), IMAGE);
	time_set(image_fd, (struct timespec){1000000, 0});
	assert_int_equal(undo_create(&undo, undo_path, IMAGE, &e), 0);
	for (int i = 0; i < TIME; i++)
		memset(units[i].disk, 0, UNDO_CLUSTER);
	for (int i = 0; i < TIME; i++)
		if (units[i].of_image)
			unit_now(&units[i], units[i].disk);
	disk_time = time_of(image_fd);
	recording = true;
	return 0;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"image", "undo", "boot", "cut-image", "cut-undo"};
	char path[96];

	recording = false;
	if (undo)
		undo_drop(undo);
	undo = NULL;
	close(image_fd);
	image_fd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		path_of(path, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

static void a_new_point_is_right_or_refused(void **state)
{
	the_power_fails();
	guest_writes(0, 0xb0);
	guest_writes(0, 0xb1);
	guest_writes(1, 0xb2);
	assert_true(refused > 50);
}

static void a_closed_point_is_trusted_after_a_reboot(void **state)
{
	guest_writes(0, 0xb0);
	reboot_host();
	open_undo();
	trusted = refused = 0;
	the_power_fails();
	assert_int_equal(trusted, 1);
	assert_int_equal(refused, 0);
}

static void a_point_that_is_used_again_is_right_or_refused(void **state)
{
	guest_writes(0, 0xb0);
	reboot_host();
	open_undo();
	guest_writes(1, 0xc0); /* in another boot than the one it was closed in */
	guest_writes(1, 0xc1);
	next_boot();
	assert_true(cuts > 100 && trusted > 0);
}

static void a_rollback_that_is_cut_off_is_right_or_refused(void **state)
{
	struct err e = {0};

	guest_writes(0, 0xb0);
	reboot_host();
	open_undo();
	assert_int_equal(undo_apply(undo, image_fd, &e), 0);
	guest_writes(0, 0xd0);
	guest_writes(1, 0xd1);
	assert_true(cuts > 100 && trusted > 0);
}

/* The newer file goes as soon as the older one has what it had. */
static void a_merge_is_right_or_refused(void **state)
{
	struct undo *older, *newer;
	struct err e = {0};
	char path[96];

	guest_writes(0, 0xb0);
	reboot_host();
	open_undo();
	older = undo;
	path_of(path, "cut-undo");
	unlink(path);
	path_of(path, "newer");
	assert_int_equal(undo_create(&newer, path, IMAGE, &e), 0);
	undo_save(newer, image_fd, UNDO_CLUSTER, UNDO_CLUSTER);
	memset(units[5].disk, 0xe0, UNDO_CLUSTER);
	assert_int_equal(pwrite(image_fd, units[5].disk, UNDO_CLUSTER, UNDO_CLUSTER), UNDO_CLUSTER);
	time_set(image_fd, disk_time); /* the disk has what was written, but not when */
	recording = false;
	assert_int_equal(undo_merge(older, newer, &e), 0);
	memcpy(units[0].disk, older->h, 4096); /* that much was synced */
	undo_drop(newer);
	unlink(path);
	recording = true;
	the_power_fails();
	assert_true(refused > 0);
}

static void a_merged_point_is_right_in_the_same_boot(void **state)
{
	struct err e = {0};
	struct undo *newer;
	char path[96];

	guest_writes(0, 0xb0);
	recording = false;
	undo_close(undo, image_fd);
	path_of(path, "newer");
	assert_int_equal(undo_create(&newer, path, IMAGE, &e), 0);
	undo = newer;
	undo_save(undo, image_fd, UNDO_CLUSTER, UNDO_CLUSTER);
	assert_int_equal(pwrite(image_fd, units[2].disk, UNDO_CLUSTER, UNDO_CLUSTER), UNDO_CLUSTER);
	assert_int_equal(undo_open(&undo, undo_path, &e), 0);
	assert_int_equal(undo_merge(undo, newer, &e), 0);
	undo_drop(newer);
	unlink(path);
	refused = 0;
	go_back(image_path, undo_path);
	assert_int_equal(refused, 0);
}

#define AT_POINT(test) cmocka_unit_test_setup_teardown(test, make_point, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		AT_POINT(a_new_point_is_right_or_refused),
		AT_POINT(a_closed_point_is_trusted_after_a_reboot),
		AT_POINT(a_point_that_is_used_again_is_right_or_refused),
		AT_POINT(a_rollback_that_is_cut_off_is_right_or_refused),
		AT_POINT(a_merge_is_right_or_refused),
		AT_POINT(a_merged_point_is_right_in_the_same_boot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
