/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a driver against the whole virtio-scsi device with one disk on a real file,
 * speaking SCSI as Linux does.
 */
#include "device/virtio/scsi.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "unit/virtio_machine.h"

#include <errno.h>
#include <jansson.h>
#include <linux/virtio_scsi.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#define DISK_BYTES 0x400000
#define ALL        (~VIRTIO_BIT(VIRTIO_F_PACKED_RING))

enum { CONTROL, EVENT, COMMAND };

struct fixture {
	struct test_machine m;
	struct block_node *node;
	struct device *dev, *disk;
	struct guest g;
	gpa_t data, head, answer;
	char path[64];
};

static void setup(struct fixture *f)
{
	static const char *const props[] = {"drive=s0", "bus=scsi.0", "serial=xyz", "werror=stop",
					    NULL};
	json_t *options;
	struct err e;
	int fd;

	memset(f, 0, sizeof(*f));
	machine_open(&f->m, 64 * MiB);
	strcpy(f->path, "/tmp/outlive-scsi-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0 && !ftruncate(fd, DISK_BYTES));
	close(fd);
	options = json_pack("{s:s,s:s,s:s,s:s}", "driver", "file", "discard", "unmap", "node-name",
			    "s0", "filename", f->path);
	if (block_open(options, &f->node, &e))
		fail_msg("%s", e.msg);
	json_decref(options);
	f->dev = machine_add(&f->m, &virtio_scsi_class, NULL);
	f->disk = machine_add(&f->m, &scsi_hd_class, props);
	guest_start(&f->g, &f->m, f->dev, ALL);
	guest_queue(&f->g, CONTROL, 16);
	guest_queue(&f->g, EVENT, 16);
	guest_queue(&f->g, COMMAND, 64);
	guest_ready(&f->g);
	f->data = guest_alloc(&f->g, 0x20000);
	f->head = guest_alloc(&f->g, 128);
	f->answer = guest_alloc(&f->g, 128);
}

static void teardown(struct fixture *f)
{
	struct err e;

	device_destroy(f->disk);
	device_destroy(f->dev);
	assert_int_equal(block_remove("s0", &e), 0);
	machine_close(&f->m);
	unlink(f->path);
}

/* Returns the SCSI status; 0x100 and up: the response code of the controller. */
static unsigned int command(struct fixture *f, uint8_t target, uint16_t lun, const uint8_t *cdb,
			    size_t cdb_len, uint32_t out, uint32_t in)
{
	struct driver_buf bufs[4];
	unsigned int n = 0;

	memset(RAM(f->head), 0, 51);
	RAM(f->head)[0] = 1;
	RAM(f->head)[1] = target;
	store_be16(RAM(f->head) + 2, lun | 0x4000);
	memcpy(RAM(f->head) + 19, cdb, cdb_len);
	memset(RAM(f->answer), 0x77, 108);
	bufs[n++] = (struct driver_buf){f->head, 51, false};
	if (out)
		bufs[n++] = (struct driver_buf){f->data, out, false};
	bufs[n++] = (struct driver_buf){f->answer, 108, true};
	if (in)
		bufs[n++] = (struct driver_buf){f->data, in, true};
	guest_do(&f->g, COMMAND, bufs, n);
	if (RAM(f->answer)[11])
		return 0x100u + RAM(f->answer)[11];
	return RAM(f->answer)[10];
}

static void wake(struct fixture *f)
{
	static const uint8_t test[6] = {0};

	assert_int_equal(command(f, 0, 0, test, 6, 0, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(RAM(f->answer)[12 + 2], 6);
	assert_int_equal(RAM(f->answer)[12 + 12], 0x29);
	assert_int_equal(command(f, 0, 0, test, 6, 0, 0), SCSI_GOOD);
}

static void a_disk_introduces_itself(void **state)
{
	static const uint8_t inquiry[6] = {0x12, 0, 0, 0, 36}, pages[6] = {0x12, 1, 0, 0, 255},
			     serial[6] = {0x12, 1, 0x80, 0, 255}, bad[6] = {0x12, 1, 0x55, 0, 255},
			     sense[6] = {0x1a, 0, 0x3f, 0, 255}, luns[12] = {0xa0, [9] = 255},
			     capacity[10] = {0x25}, capacity16[16] = {0x9e, 0x10, [13] = 32};
	struct fixture f;

	setup(&f);
	assert_int_equal(command(&f, 0, 0, inquiry, 6, 0, 36), SCSI_GOOD);
	assert_memory_equal(RAM(f.data) + 8, "QEMU    QEMU HARDDISK   2.5+", 28);
	assert_int_equal(load_le32(RAM(f.answer) + 4), 0);
	wake(&f);
	assert_int_equal(command(&f, 0, 0, pages, 6, 0, 255), SCSI_GOOD);
	assert_memory_equal(RAM(f.data), "\0\0\0\6\0\x80\x83\xb0\xb1\xb2", 10);
	assert_int_equal(load_le32(RAM(f.answer) + 4), 255 - 10);
	assert_int_equal(command(&f, 0, 0, serial, 6, 0, 255), SCSI_GOOD);
	assert_memory_equal(RAM(f.data), "\0\x80\0\3xyz", 7);
	assert_int_equal(command(&f, 0, 0, bad, 6, 0, 255), SCSI_CHECK_CONDITION);
	assert_int_equal(RAM(f.answer)[12 + 12], 0x24);
	assert_int_equal(command(&f, 0, 0, sense, 6, 0, 255), SCSI_GOOD);
	assert_int_equal(RAM(f.data)[0], 4 + 8 + 12 + 20 - 1);
	assert_int_equal(command(&f, 0, 0, luns, 12, 0, 255), SCSI_GOOD);
	assert_int_equal(load_be32(RAM(f.data)), 8);
	assert_int_equal(command(&f, 0, 0, capacity, 10, 0, 8), SCSI_GOOD);
	assert_int_equal(load_be32(RAM(f.data)), DISK_BYTES / 512 - 1);
	assert_int_equal(command(&f, 0, 0, capacity16, 16, 0, 32), SCSI_GOOD);
	assert_int_equal(load_be64(RAM(f.data)), DISK_BYTES / 512 - 1);
	teardown(&f);
}

static void reads_and_writes_of_every_size_meet(void **state)
{
	static const uint8_t write6[6] = {0x0a, 0, 0, 8, 8}, read10[10] = {0x28, [5] = 8, [8] = 8},
			     write16[16] = {0x8a, [9] = 16, [13] = 8},
			     read12[12] = {0xa8, [5] = 16, [9] = 8}, sync[10] = {0x35};
	struct fixture f;

	setup(&f);
	wake(&f);
	memset(RAM(f.data), 0x5a, 4096);
	assert_int_equal(command(&f, 0, 0, write6, 6, 4096, 0), SCSI_GOOD);
	memset(RAM(f.data), 0, 4096);
	assert_int_equal(command(&f, 0, 0, read10, 10, 0, 4096), SCSI_GOOD);
	assert_int_equal(*RAM(f.data + 4095), 0x5a);
	memset(RAM(f.data), 0xa5, 4096);
	assert_int_equal(command(&f, 0, 0, write16, 16, 4096, 0), SCSI_GOOD);
	memset(RAM(f.data), 0, 8192);
	assert_int_equal(command(&f, 0, 0, read12, 12, 0, 8192), SCSI_GOOD);
	assert_int_equal(*RAM(f.data + 4095), 0xa5);
	assert_int_equal(*RAM(f.data + 4096), 0);
	assert_int_equal(load_le32(RAM(f.answer) + 4), 4096);
	assert_int_equal(command(&f, 0, 0, sync, 10, 0, 0), SCSI_GOOD);
	teardown(&f);
}

static void unmap_and_write_same_clear_their_blocks(void **state)
{
	static const uint8_t write10[10] = {0x2a, [8] = 64}, read10[10] = {0x28, [8] = 64},
			     unmap[10] = {0x42, [8] = 40}, same[16] = {0x93, 8, [9] = 40, [13] = 8};
	struct fixture f;

	setup(&f);
	wake(&f);
	memset(RAM(f.data), 0xff, 0x8000);
	assert_int_equal(command(&f, 0, 0, write10, 10, 0x8000, 0), SCSI_GOOD);
	memset(RAM(f.data), 0, 64);
	store_be16(RAM(f.data), 38);
	store_be16(RAM(f.data) + 2, 32);
	store_be64(RAM(f.data) + 8, 8);
	store_be32(RAM(f.data) + 16, 8);
	store_be64(RAM(f.data) + 24, 24);
	store_be32(RAM(f.data) + 32, 8);
	assert_int_equal(command(&f, 0, 0, unmap, 10, 40, 0), SCSI_GOOD);
	memset(RAM(f.data), 0, 512);
	assert_int_equal(command(&f, 0, 0, same, 16, 512, 0), SCSI_GOOD);
	assert_int_equal(command(&f, 0, 0, read10, 10, 0, 0x8000), SCSI_GOOD);
	for (unsigned int i = 0; i < 64; i += 8)
		assert_int_equal(*RAM(f.data + i * 512), i == 8 || i == 24 || i == 40 ? 0 : 0xff);
	teardown(&f);
}

static void nonsense_is_answered(void **state)
{
	static const uint8_t beyond[10] = {0x28, [2] = 0xff, [8] = 1}, unknown[6] = {0x77},
			     huge[16] = {0x88, 0,    0xff, 0xff, 0xff, 0xff, 0xff,
					 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
			     short_read[10] = {0x28, [8] = 8}, inquiry[6] = {0x12, 0, 0, 0, 36},
			     test[6] = {0};
	struct fixture f;

	setup(&f);
	wake(&f);
	assert_int_equal(command(&f, 0, 0, beyond, 10, 0, 512), SCSI_CHECK_CONDITION);
	assert_int_equal(RAM(f.answer)[12 + 12], 0x21);
	assert_int_equal(command(&f, 0, 0, huge, 16, 0, 512), SCSI_CHECK_CONDITION);
	assert_int_equal(command(&f, 0, 0, unknown, 6, 0, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(RAM(f.answer)[12 + 12], 0x20);
	assert_int_equal(command(&f, 0, 0, short_read, 10, 0, 512), 0x100 + VIRTIO_SCSI_S_OVERRUN);
	assert_int_equal(command(&f, 9, 0, test, 6, 0, 0), 0x100 + VIRTIO_SCSI_S_BAD_TARGET);
	assert_int_equal(command(&f, 0, 5, test, 6, 0, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(command(&f, 0, 5, inquiry, 6, 0, 36), SCSI_GOOD);
	assert_int_equal(RAM(f.data)[0], 0x7f);
	teardown(&f);
}

static void a_reset_of_the_unit_is_noticed(void **state)
{
	struct driver_buf bufs[2];
	struct fixture f;

	setup(&f);
	wake(&f);
	bufs[0] = (struct driver_buf){f.head, 24, false};
	bufs[1] = (struct driver_buf){f.answer, 1, true};
	memset(RAM(f.head), 0, 24);
	store_le32(RAM(f.head) + 4, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET);
	RAM(f.head)[8] = 1;
	RAM(f.head)[10] = 0x40;
	*RAM(f.answer) = 0x77;
	guest_do(&f.g, CONTROL, bufs, 2);
	assert_int_equal(*RAM(f.answer), VIRTIO_SCSI_S_OK);
	wake(&f);
	teardown(&f);
}

static void a_new_size_is_an_event(void **state)
{
	struct driver_buf buf;
	struct fixture f;
	uint32_t written;
	struct err e;
	uint16_t id;

	setup(&f);
	buf = (struct driver_buf){f.data, 16, true};
	driver_add(&f.g.queues[EVENT], &buf, 1);
	assert_int_equal(block_resize(f.node, 2 * DISK_BYTES, &e), 0);
	assert_true(guest_wait(&f.g, EVENT, &id, &written));
	assert_int_equal(load_le32(RAM(f.data)), VIRTIO_SCSI_T_PARAM_CHANGE);
	assert_int_equal(load_le32(RAM(f.data) + 12), 0x092a);
	teardown(&f);
}

static void note_stop(void *opaque, const struct device_io_error *what)
{
	if (what->action == BLOCK_ERROR_STOP && !what->read && what->error == EFBIG)
		__atomic_store_n((bool *)opaque, true, __ATOMIC_RELEASE);
}

/* Writes behind 64 KiB of the file fail while @on. */
static void limit_files(bool on)
{
	struct rlimit l;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = on ? 0x10000 : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* The state goes through its bytes and comes back. */
static void move(struct device *disk)
{
	const struct state_table *t = disk->class->state;
	void *before = mem_zalloc(t->size), *after = mem_zalloc(t->size);
	struct state_writer w = {0}, again = {0};
	struct state_reader r;
	struct err e;

	disk->class->capture(disk, before);
	state_save(t, before, &w);
	disk->class->capture(disk, after);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	if (state_load(t, after, t->version, &r, &e))
		fail_msg("%s", e.msg);
	assert_int_equal(r.at, w.len);
	state_save(t, after, &again);
	assert_int_equal(again.len, w.len);
	assert_memory_equal(again.buf, w.buf, w.len);
	disk->class->apply(disk, after);
	state_writer_destroy(&w);
	state_writer_destroy(&again);
	free(before);
	free(after);
}

static void a_write_that_fails_waits_and_is_done_when_the_guest_runs(void **state)
{
	static const uint8_t write10[10] = {0x2a, [4] = 8, [8] = 8},
			     read10[10] = {0x28, [4] = 8, [8] = 8};
	struct driver_buf bufs[3];
	bool stopped = false;
	struct fixture f;
	uint32_t written;
	uint16_t id;

	setup(&f);
	wake(&f);
	f.m.env.io_error = note_stop;
	f.m.env.io_error_opaque = &stopped;
	memset(RAM(f.data), 0x3c, 4096);
	memset(RAM(f.head) + 19, 0, 32);
	memcpy(RAM(f.head) + 19, write10, sizeof(write10));
	bufs[0] = (struct driver_buf){f.head, 51, false};
	bufs[1] = (struct driver_buf){f.data, 4096, false};
	bufs[2] = (struct driver_buf){f.answer, 108, true};
	limit_files(true);
	driver_add(&f.g.queues[COMMAND], bufs, 3);
	guest_kick(&f.g, COMMAND);
	for (int i = 0; i < 60000 && !__atomic_load_n(&stopped, __ATOMIC_ACQUIRE); i++)
		machine_poll(&f.m, 1);
	assert_true(stopped);
	f.dev->class->stop(f.dev);
	limit_files(false);
	assert_int_equal(CONTAINER_OF(f.disk, struct scsi_disk, dev)->carried.len, 1);
	move(f.disk);
	f.dev->class->run(f.dev);
	assert_true(guest_wait(&f.g, COMMAND, &id, &written));
	assert_int_equal(RAM(f.answer)[10], SCSI_GOOD);
	assert_int_equal(RAM(f.answer)[11], 0);
	memset(RAM(f.data), 0, 4096);
	assert_int_equal(command(&f, 0, 0, read10, 10, 0, 4096), SCSI_GOOD);
	assert_int_equal(*RAM(f.data + 4095), 0x3c);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_introduces_itself),
		cmocka_unit_test(reads_and_writes_of_every_size_meet),
		cmocka_unit_test(unmap_and_write_same_clear_their_blocks),
		cmocka_unit_test(nonsense_is_answered),
		cmocka_unit_test(a_reset_of_the_unit_is_noticed),
		cmocka_unit_test(a_new_size_is_an_event),
		cmocka_unit_test(a_write_that_fails_waits_and_is_done_when_the_guest_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
