/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a driver (virtio_driver.c) and the device's queue code on one ring, in every
 * combination of ring format, event index and indirect tables. The reference for contents is a
 * counter in each buffer.
 */
#include "unit/virtio_driver.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DATA_GPA (TEST_RAM_GPA + 0x100000)

struct mode {
	const char *name;
	uint64_t features;
	bool indirect;
};

static const struct mode modes[] = {
	{"split", VIRTQ_F_VERSION_1, false},
	{"split, indirect", VIRTQ_F_VERSION_1, true},
	{"split, event index", VIRTQ_F_VERSION_1 | VIRTQ_F_EVENT_IDX, false},
	{"split, event index, indirect", VIRTQ_F_VERSION_1 | VIRTQ_F_EVENT_IDX, true},
	{"packed", VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED, false},
	{"packed, indirect", VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED, true},
	{"packed, event index", VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED | VIRTQ_F_EVENT_IDX, false},
	{"packed, event index, indirect", VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED | VIRTQ_F_EVENT_IDX,
	 true},
};

struct fixture {
	struct virtqueue q;
	struct virtq_scratch scratch;
	struct memory memory;
	struct driver d;
	unsigned int broken;
	const char *why;
};

static void on_broken(struct virtqueue *q, const char *why)
{
	struct fixture *f = q->opaque;

	f->broken++;
	f->why = why;
}

static void setup(struct fixture *f, const struct mode *m, uint16_t num)
{
	memset(f, 0, sizeof(*f));
	memset(test_dirty, 0, sizeof(test_dirty));
	virtqueue_init(&f->q, &f->memory, &f->scratch, 0, 1024);
	f->q.on_broken = on_broken;
	f->q.opaque = f;
	driver_init(&f->d, &f->q, num, m->features, TEST_RAM_GPA, m->indirect);
	assert_true(virtqueue_start(&f->q, m->features));
}

static void echo_once(struct fixture *f, uint32_t value)
{
	struct driver_buf bufs[] = {
		{DATA_GPA, 4, false}, {DATA_GPA + 0x800, 3, true}, {DATA_GPA + 0x1000, 5, true}};
	struct virtq_chain *c;
	uint32_t copy, written;
	uint8_t back[8];
	uint16_t id;
	int added;

	store_le32(RAM(DATA_GPA), value);
	added = driver_add(&f->d, bufs, 3);
	assert_true(added >= 0);
	c = virtqueue_pop(&f->q, sizeof(*c));
	assert_non_null(c);
	assert_int_equal(c->out_bytes, 4);
	assert_int_equal(c->in_bytes, 8);
	assert_int_equal(virtq_read(c, 0, &copy, 4), 4);
	assert_int_equal(copy, value);
	assert_int_equal(virtq_write(c, 0, &value, 4), 4);
	assert_int_equal(virtq_write(c, 4, &value, 9), 4);
	assert_false(driver_take(&f->d, &id, &written));
	virtqueue_push(&f->q, c, 8);
	assert_false(driver_take(&f->d, &id, &written));
	virtqueue_flush(&f->q);
	assert_true(driver_take(&f->d, &id, &written));
	assert_int_equal(id, added);
	assert_int_equal(written, 8);
	memcpy(back, RAM(DATA_GPA + 0x800), 3);
	memcpy(back + 3, RAM(DATA_GPA + 0x1000), 5);
	assert_memory_equal(back, &value, 4);
	assert_memory_equal(back + 4, &value, 4);
	assert_int_equal(f->q.s.inuse, 0);
}

static void chains_go_out_and_come_back_in_every_mode(void **state)
{
	struct fixture f;

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		print_message("%s\n", modes[m].name);
		setup(&f, &modes[m], 8);
		for (uint32_t i = 0; i < 200000; i++)
			echo_once(&f, i * 2654435761u);
		assert_false(f.q.broken);
	}
}

/* Keeps @depth chains in flight and completes them in a shuffled order. */
static void shuffle_mode(const struct mode *m)
{
	struct driver_buf bufs[] = {{DATA_GPA, 16, false}, {DATA_GPA + 0x800, 16, true}};
	struct virtq_chain *held[64];
	unsigned int held_len = 0, done = 0, returned = 0;
	struct fixture f;
	uint32_t written;
	uint16_t id;

	setup(&f, m, 64);
	srand(1);
	while (returned < 20000) {
		while (driver_add(&f.d, bufs, 2) >= 0)
			;
		while (held_len < 64 && (held[held_len] = virtqueue_pop(&f.q, sizeof(*held[0]))))
			held_len++;
		for (unsigned int n = (unsigned int)rand() % 8 + 1; n && held_len; n--) {
			unsigned int i = (unsigned int)rand() % held_len;

			virtqueue_push(&f.q, held[i], done++ % 16);
			held[i] = held[--held_len];
		}
		virtqueue_flush(&f.q);
		while (driver_take(&f.d, &id, &written)) {
			assert_int_equal(written, returned % 16);
			returned++;
		}
		assert_int_equal(returned, done);
	}
	assert_false(f.q.broken);
	while (held_len)
		virtqueue_detach(&f.q, held[--held_len]);
}

static void chains_may_complete_out_of_order(void **state)
{
	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		print_message("%s\n", modes[m].name);
		shuffle_mode(&modes[m]);
	}
}

static void the_driver_is_told_only_when_it_asked(void **state)
{
	struct driver_buf buf = {DATA_GPA, 16, true};
	struct fixture f;
	uint32_t written;
	uint16_t id;

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		setup(&f, &modes[m], 8);
		driver_interrupts(&f.d, true);
		for (int i = 0; i < 100; i++) {
			driver_add(&f.d, &buf, 1);
			virtqueue_push(&f.q, virtqueue_pop(&f.q, sizeof(struct virtq_chain)), 0);
			virtqueue_flush(&f.q);
			assert_true(virtqueue_should_notify(&f.q));
			assert_true(driver_take(&f.d, &id, &written));
		}
		if (f.d.event) /* nothing new came back since */
			assert_false(virtqueue_should_notify(&f.q));
		if (f.d.event && !f.d.packed)
			continue;
		driver_interrupts(&f.d, false);
		driver_add(&f.d, &buf, 1);
		virtqueue_push(&f.q, virtqueue_pop(&f.q, sizeof(struct virtq_chain)), 0);
		virtqueue_flush(&f.q);
		assert_false(virtqueue_should_notify(&f.q));
	}
}

static void an_event_index_ahead_holds_interrupts_back(void **state)
{
	struct driver_buf buf = {DATA_GPA, 16, true};
	struct fixture f;

	setup(&f, &modes[2], 16);
	store_le16(RAM(f.d.avail + 4 + 2 * 16), 4); /* tell me when the fifth is back */
	for (int i = 0; i < 8; i++) {
		driver_add(&f.d, &buf, 1);
		virtqueue_push(&f.q, virtqueue_pop(&f.q, sizeof(struct virtq_chain)), 0);
		virtqueue_flush(&f.q);
		assert_int_equal(virtqueue_should_notify(&f.q), i == 0 || i == 4);
	}
}

static void kicks_are_spared_while_the_device_looks(void **state)
{
	struct driver_buf buf = {DATA_GPA, 16, true};
	struct fixture f;
	uint32_t written;
	uint16_t id;

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		print_message("%s\n", modes[m].name);
		setup(&f, &modes[m], 8);
		for (int i = 0; i < 40; i++) {
			virtqueue_want_kicks(&f.q, true);
			assert_true(virtqueue_empty(&f.q));
			driver_add(&f.d, &buf, 1);
			assert_true(driver_must_kick(&f.d));
			virtqueue_want_kicks(&f.q, false);
			driver_add(&f.d, &buf, 1);
			assert_false(driver_must_kick(&f.d));
			for (int n = 0; n < 2; n++)
				virtqueue_push(&f.q,
					       virtqueue_pop(&f.q, sizeof(struct virtq_chain)), 0);
			virtqueue_flush(&f.q);
			while (driver_take(&f.d, &id, &written))
				;
		}
	}
}

/* Where the driver gives buffers that the device fills some day: it kicks with the first one after
 * the device found none, each time. */
static void a_driver_is_asked_when_the_device_runs_out_of_buffers(void **state)
{
	struct driver_buf buf = {DATA_GPA, 64, true};
	struct virtq_chain *c;
	struct fixture f;
	uint32_t written;
	uint16_t id;

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		print_message("%s\n", modes[m].name);
		setup(&f, &modes[m], 8);
		for (unsigned int i = 0; i < 50; i++) {
			assert_null(virtqueue_pop_or_ask(&f.q, sizeof(*c)));
			assert_true(driver_add(&f.d, &buf, 1) >= 0);
			assert_true(driver_must_kick(&f.d));
			virtqueue_want_kicks(&f.q, false);
			c = virtqueue_pop_or_ask(&f.q, sizeof(*c));
			assert_non_null(c);
			virtqueue_push(&f.q, c, 1);
			virtqueue_flush(&f.q);
			assert_true(driver_take(&f.d, &id, &written));
		}
	}
}

static void what_the_device_writes_is_marked_dirty(void **state)
{
	struct driver_buf bufs[] = {{DATA_GPA, 16, false},
				    {DATA_GPA + 0x1000, 4096, true},
				    {DATA_GPA + 0x2000, 4096, true}};
	unsigned int data = (DATA_GPA - TEST_RAM_GPA) / 4096;
	struct fixture f;

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		struct virtq_chain *c;

		setup(&f, &modes[m], 256);
		driver_add(&f.d, bufs, 3);
		c = virtqueue_pop(&f.q, sizeof(*c));
		memset(test_dirty, 0, sizeof(test_dirty));
		virtqueue_push(&f.q, c, 4096);
		virtqueue_flush(&f.q);
		assert_int_equal(test_dirty[data], 0);
		assert_int_equal(test_dirty[data + 1], 1);
		assert_int_equal(test_dirty[data + 2], 0);
		assert_true(test_dirty[((f.d.packed ? f.d.desc : f.d.used) - TEST_RAM_GPA) / 4096]);
	}
}

static void a_quiet_queue_resumes_elsewhere(void **state)
{
	struct virtqueue_state moved;
	struct fixture f;

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		print_message("%s\n", modes[m].name);
		setup(&f, &modes[m], 8);
		for (uint32_t i = 0; i < 70001; i++) {
			if (i % 9973 == 0) {
				moved = f.q.s;
				if (!f.d.packed)
					moved.used_idx = 0xdead; /* comes from memory */
				virtqueue_init(&f.q, &f.memory, &f.scratch, 0, 1024);
				f.q.s = moved;
				assert_true(virtqueue_resume(&f.q, modes[m].features));
				assert_int_equal(f.q.s.inuse, 0);
			}
			echo_once(&f, i);
		}
	}
}

static void an_unfinished_chain_can_be_put_back(void **state)
{
	struct driver_buf bufs[] = {{DATA_GPA, 4, false}, {DATA_GPA + 8, 4, true}};
	struct fixture f;

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		struct virtqueue_state before;
		struct virtq_chain *c;

		setup(&f, &modes[m], 4);
		for (uint32_t i = 0; i < 50; i++) {
			uint32_t written;
			uint16_t id;

			driver_add(&f.d, bufs, 2);
			before = f.q.s;
			virtqueue_unpop(&f.q, virtqueue_pop(&f.q, sizeof(*c)));
			assert_memory_equal(&before, &f.q.s, sizeof(before));
			c = virtqueue_pop(&f.q, sizeof(*c));
			assert_non_null(c);
			virtqueue_push(&f.q, c, 4);
			virtqueue_flush(&f.q);
			assert_true(driver_take(&f.d, &id, &written));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_go_out_and_come_back_in_every_mode),
		cmocka_unit_test(chains_may_complete_out_of_order),
		cmocka_unit_test(the_driver_is_told_only_when_it_asked),
		cmocka_unit_test(an_event_index_ahead_holds_interrupts_back),
		cmocka_unit_test(kicks_are_spared_while_the_device_looks),
		cmocka_unit_test(a_driver_is_asked_when_the_device_runs_out_of_buffers),
		cmocka_unit_test(what_the_device_writes_is_marked_dirty),
		cmocka_unit_test(a_quiet_queue_resumes_elsewhere),
		cmocka_unit_test(an_unfinished_chain_can_be_put_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
