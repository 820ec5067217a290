/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a driver against the whole virtio-blk device on a bus, with a real file
 * behind it.
 */
#include "device/virtio/blk_state.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "device/classes.h"
#include "unit/virtio_machine.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DISK_BYTES 0x100000
#define ALL        (~VIRTIO_BIT(VIRTIO_F_PACKED_RING))

struct fixture {
	struct test_machine m;
	struct block_node *node;
	struct device *dev;
	struct guest g;
	gpa_t data, header, status;
	char path[64];
};

static void disk_open(struct fixture *f)
{
	json_t *options;
	struct err e;
	int fd;

	strcpy(f->path, "/tmp/outlive-blk-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0 && !ftruncate(fd, DISK_BYTES));
	close(fd);
	options = json_pack("{s:s,s:s,s:s,s:s}", "driver", "file", "discard", "unmap", "node-name",
			    "disk0", "filename", f->path);
	if (block_open(options, &f->node, &e))
		fail_msg("%s", e.msg);
	json_decref(options);
}

static void setup(struct fixture *f, uint64_t want, const char *const *props)
{
	memset(f, 0, sizeof(*f));
	machine_open(&f->m, 64 * MiB);
	disk_open(f);
	f->dev = machine_add(&f->m, &virtio_blk_class, props);
	guest_start(&f->g, &f->m, f->dev, want);
	guest_queue(&f->g, 0, 64);
	guest_ready(&f->g);
	f->data = guest_alloc(&f->g, 0x10000);
	f->header = guest_alloc(&f->g, 16);
	f->status = guest_alloc(&f->g, 1);
}

static void teardown(struct fixture *f)
{
	struct err e;

	device_destroy(f->dev);
	assert_int_equal(block_remove("disk0", &e), 0);
	machine_close(&f->m);
	unlink(f->path);
}

static uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len,
		       bool device_writes)
{
	struct driver_buf bufs[] = {
		{f->header, 16, false}, {f->data, len, device_writes}, {f->status, 1, true}};

	store_le32(RAM(f->header), type);
	store_le32(RAM(f->header) + 4, 0);
	store_le64(RAM(f->header) + 8, sector);
	*RAM(f->status) = 0x77;
	if (!len)
		bufs[1] = bufs[2];
	guest_do(&f->g, 0, bufs, len ? 3 : 2);
	return *RAM(f->status);
}

static const char *const plain[] = {"drive=disk0", "serial=abc", NULL};

static void what_is_written_is_read_back(void **state)
{
	static const uint64_t modes[] = {ALL, UINT64_MAX, ALL & ~VIRTIO_BIT(VIRTIO_F_EVENT)};
	static const char *const packed[] = {"drive=disk0", "packed=on", NULL};
	struct fixture f;
	uint8_t back[512];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		setup(&f, modes[i], i == 1 ? packed : plain);
		for (unsigned int n = 0; n < 200; n++) {
			memset(RAM(f.data), (int)(n ^ 0x5a), 4096);
			assert_int_equal(request(&f, VIRTIO_BLK_T_OUT, n * 8, 4096, false), 0);
		}
		memset(RAM(f.data), 0, 4096);
		assert_int_equal(request(&f, VIRTIO_BLK_T_IN, 8 * 77, 4096, true), 0);
		assert_int_equal(*RAM(f.data + 4095), 77 ^ 0x5a);
		assert_int_equal(request(&f, VIRTIO_BLK_T_FLUSH, 0, 0, false), 0);
		fd = open(f.path, O_RDONLY);
		assert_int_equal(pread(fd, back, 512, 199 * 4096), 512);
		assert_int_equal(back[0], 199 ^ 0x5a);
		close(fd);
		assert_true(f.m.msis[0] > 0);
		teardown(&f);
	}
}

static void the_configuration_says_what_the_drive_is(void **state)
{
	struct fixture f;

	setup(&f, ALL, plain);
	assert_int_equal(guest_read(&f.g, 0x2000, 4), DISK_BYTES / 512);
	assert_int_equal(guest_read(&f.g, 0x200c, 4), 254);
	assert_int_equal(guest_read(&f.g, 0x2014, 4), 512);
	assert_int_equal(guest_read(&f.g, 0x2000 + 57, 1), 0xff);
	assert_int_equal(guest_read(&f.g, 0x2ff0, 4), UINT32_MAX);
	assert_int_equal(request(&f, VIRTIO_BLK_T_GET_ID, 0, 20, true), 0);
	assert_string_equal((char *)RAM(f.data), "abc");
	teardown(&f);
}

static void discard_and_write_zeroes_clear_their_range(void **state)
{
	struct fixture f;

	setup(&f, ALL, plain);
	for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
		memset(RAM(f.data), 0xaa, 0x10000);
		assert_int_equal(request(&f, VIRTIO_BLK_T_OUT, 0, 0x10000, false), 0);
		store_le64(RAM(f.data), 8);
		store_le32(RAM(f.data) + 8, 16);
		store_le32(RAM(f.data) + 12, 0);
		assert_int_equal(request(&f, type, 0, 16, false), 0);
		assert_int_equal(request(&f, VIRTIO_BLK_T_IN, 0, 0x10000, true), 0);
		assert_int_equal(*RAM(f.data + 4095), 0xaa);
		assert_int_equal(*RAM(f.data + 4096), 0);
		assert_int_equal(*RAM(f.data + 4096 + 8191), 0);
		assert_int_equal(*RAM(f.data + 4096 + 8192), 0xaa);
	}
	teardown(&f);
}

static void requests_that_make_no_sense_are_answered(void **state)
{
	struct fixture f;

	setup(&f, ALL, plain);
	assert_int_equal(request(&f, VIRTIO_BLK_T_IN, DISK_BYTES / 512, 512, true),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&f, VIRTIO_BLK_T_OUT, UINT64_MAX / 512 + 1, 512, false),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&f, VIRTIO_BLK_T_OUT, UINT64_MAX, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&f, VIRTIO_BLK_T_IN, 0, 100, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&f, 99, 0, 512, true), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(&f, VIRTIO_BLK_T_DISCARD, 0, 7, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&f, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
	teardown(&f);
}

static void a_request_without_status_needs_a_reset(void **state)
{
	struct driver_buf buf = {0, 16, false};
	struct fixture f;

	setup(&f, ALL, plain);
	buf.gpa = f.header;
	driver_add(&f.g.queues[0], &buf, 1);
	guest_kick(&f.g, 0);
	for (int i = 0; i < 6000 && !(guest_read(&f.g, 20, 1) & VIRTIO_S_NEEDS_RESET); i++)
		machine_poll(&f.m, 10);
	assert_true(guest_read(&f.g, 20, 1) & VIRTIO_S_NEEDS_RESET);
	assert_int_equal(f.m.msis[63], 1);
	guest_write(&f.g, 20, 0, 1);
	assert_int_equal(guest_read(&f.g, 20, 1), 0);
	teardown(&f);
}

/* Stops in the middle of traffic, moves the state into a second device, and goes on there. */
static void a_stopped_disk_goes_on_in_another_device(void **state)
{
	struct virtio_blk_state *s = mem_zalloc(sizeof(*s)), *again = mem_zalloc(sizeof(*s));
	struct driver_buf bufs[3];
	struct state_writer w = {0};
	struct state_reader r;
	struct fixture f;
	uint32_t written;
	struct err e;
	uint16_t id;

	setup(&f, ALL, plain);
	bufs[0] = (struct driver_buf){f.header, 16, false};
	bufs[1] = (struct driver_buf){f.data, 512, true};
	bufs[2] = (struct driver_buf){f.status, 1, true};
	memset(RAM(f.header), 0, 16);
	for (int i = 0; i < 20; i++)
		driver_add(&f.g.queues[0], bufs, 3);
	guest_kick(&f.g, 0);
	f.dev->class->stop(f.dev);
	f.dev->class->capture(f.dev, s);
	assert_int_equal(f.g.v->queues[0].vq.s.inuse, 0);
	state_save(f.dev->class->state, s, &w);
	device_destroy(f.dev);

	f.dev = machine_add(&f.m, &virtio_blk_class, plain);
	f.g.v = virtio_of(f.dev);
	f.dev->class->capture(f.dev, again);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	if (state_load(f.dev->class->state, again, 2, &r, &e) ||
	    f.dev->class->validate(f.dev, again, &e))
		fail_msg("%s", e.msg);
	assert_int_equal(r.at, w.len);
	f.dev->class->apply(f.dev, again);
	f.dev->class->run(f.dev);
	for (int i = 0; i < 20; i++)
		assert_true(guest_wait(&f.g, 0, &id, &written));
	assert_int_equal(request(&f, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
	state_writer_destroy(&w);
	free(s);
	free(again);
	teardown(&f);
}

static void a_resize_is_announced(void **state)
{
	struct fixture f;
	struct err e;

	setup(&f, ALL, plain);
	assert_int_equal(block_resize(f.node, 2 * DISK_BYTES, &e), 0);
	assert_int_equal(f.m.msis[63], 1);
	assert_int_equal(guest_read(&f.g, 0x2000, 4), 2 * DISK_BYTES / 512);
	teardown(&f);
}

/* Behind a port a device is an Express endpoint without the legacy registers, and can be reset
 * alone. */
static void behind_a_port_it_is_modern_and_express(void **state)
{
	static const char *const props[] = {"drive=disk0", "bus=rp0", NULL};
	struct pci_device *d;
	struct device *port;
	struct fixture f = {0};
	struct err e;

	machine_open(&f.m, 64 * MiB);
	disk_open(&f);
	port = device_create(&pcie_port_class, &f.m.env);
	port->id = str_dup("rp0");
	if (device_realize(port, &e))
		fail_msg("%s", e.msg);
	f.dev = machine_add(&f.m, &virtio_blk_class, props);
	d = &virtio_of(f.dev)->pci;
	assert_int_equal(load_le16(d->config + PCI_DEVICE_ID), 0x1042);
	assert_int_equal(d->config[PCI_REVISION_ID], 1);
	assert_int_equal(d->config_size, 4096);
	assert_int_equal(d->bars[0].size, 0);
	assert_true(d->exp_cap && load_le16(d->config + d->exp_cap + PCI_EXP_FLAGS) == 2);
	pthread_mutex_lock(&f.m.chipset_lock);
	virtio_of(f.dev)->status = 3;
	pci_config_write(d, d->exp_cap + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR, 2);
	assert_int_equal(virtio_of(f.dev)->status, 0);
	assert_int_equal(load_le16(d->config + d->exp_cap + PCI_EXP_DEVCTL), 0);
	pthread_mutex_unlock(&f.m.chipset_lock);
	device_destroy(f.dev);
	device_destroy(port);
	assert_int_equal(block_remove("disk0", &e), 0);
	machine_close(&f.m);
	unlink(f.path);
}

/* A transitional device has two sets of registers; its owner reads the ring from the first on. */
static void a_queue_is_set_up_by_one_set_of_registers(void **state)
{
	struct fixture f;
	gpa_t desc;

	setup(&f, ALL, plain);
	virtio_reset(f.g.v);
	virtio_legacy_ops.write(f.g.v, VIRTIO_PCI_QUEUE_PFN, TEST_RAM_GPA / 4096, 4);
	desc = f.g.v->queues[0].vq.s.desc;
	assert_int_equal(desc, TEST_RAM_GPA);
	guest_write(&f.g, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	guest_write(&f.g, VIRTIO_PCI_COMMON_Q_DESCLO, 0xdead0000, 4);
	guest_write(&f.g, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(f.g.v->queues[0].vq.s.desc, desc);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(the_configuration_says_what_the_drive_is),
		cmocka_unit_test(discard_and_write_zeroes_clear_their_range),
		cmocka_unit_test(requests_that_make_no_sense_are_answered),
		cmocka_unit_test(a_request_without_status_needs_a_reset),
		cmocka_unit_test(a_stopped_disk_goes_on_in_another_device),
		cmocka_unit_test(a_resize_is_announced),
		cmocka_unit_test(a_queue_is_set_up_by_one_set_of_registers),
		cmocka_unit_test(behind_a_port_it_is_modern_and_express),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
