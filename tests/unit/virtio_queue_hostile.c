/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what a hostile driver writes into its rings. Whatever it is, the device
 * gives no chain, says why once, stays inside guest memory (AddressSanitizer watches the borders of
 * the test's RAM) and returns.
 */
#include "unit/virtio_driver.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DATA_GPA (TEST_RAM_GPA + 0x100000)
#define END_GPA  (TEST_RAM_GPA + TEST_RAM_BYTES)

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

	f->why = why;
	f->broken++;
}

static void setup(struct fixture *f, uint64_t features, uint16_t num)
{
	memset(f, 0, sizeof(*f));
	virtqueue_init(&f->q, &f->memory, &f->scratch, 0, 1024);
	f->q.on_broken = on_broken;
	f->q.opaque = f;
	driver_init(&f->d, &f->q, num, features, TEST_RAM_GPA, false);
	assert_true(virtqueue_start(&f->q, features));
}

static void assert_breaks(struct fixture *f)
{
	assert_null(virtqueue_pop(&f->q, sizeof(struct virtq_chain)));
	assert_true(f->q.broken);
	assert_int_equal(f->broken, 1);
	assert_null(virtqueue_pop(&f->q, sizeof(struct virtq_chain)));
	assert_true(virtqueue_empty(&f->q));
	assert_false(virtqueue_should_notify(&f->q));
	virtqueue_want_kicks(&f->q, true);
	virtqueue_flush(&f->q);
	assert_int_equal(f->broken, 1);
}

static void split_with(gpa_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1, 16);
	driver_desc(f.d.desc, 3, gpa, len, flags, next);
	driver_split_publish(&f.d, 3);
	assert_breaks(&f);
}

static void packed_with(gpa_t gpa, uint32_t len, uint16_t flags)
{
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED, 16);
	driver_desc(f.d.desc, 0, gpa, len, 9, flags | 1u << 7);
	assert_breaks(&f);
}

static void descriptors_outside_ram_break_the_queue(void **state)
{
	static const struct {
		gpa_t gpa;
		uint32_t len;
	} bad[] = {
		{0, 16},
		{TEST_RAM_GPA - 1, 1},
		{TEST_RAM_GPA - 1, 2},
		{END_GPA, 1},
		{END_GPA - 1, 2},
		{END_GPA - 4096, 0xffffffff},
		{UINT64_MAX, 1},
		{UINT64_MAX - 15, 16},
		{UINT64_MAX - 15, 17},
		{TEST_RAM_GPA, 0xffffffff},
		{DATA_GPA, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		split_with(bad[i].gpa, bad[i].len, 0, 0);
		split_with(bad[i].gpa, bad[i].len, VIRTQ_DESC_F_WRITE, 0);
		split_with(bad[i].gpa, bad[i].len, VIRTQ_DESC_F_INDIRECT, 0);
		packed_with(bad[i].gpa, bad[i].len, 0);
		packed_with(bad[i].gpa, bad[i].len, VIRTQ_DESC_F_WRITE);
		packed_with(bad[i].gpa, bad[i].len, VIRTQ_DESC_F_INDIRECT);
	}
	split_with(TEST_ROM_GPA, 16, VIRTQ_DESC_F_WRITE, 0);
	packed_with(TEST_ROM_GPA, 16, VIRTQ_DESC_F_WRITE);
}

static void chains_that_loop_or_leave_their_table_break_the_queue(void **state)
{
	split_with(DATA_GPA, 16, VIRTQ_DESC_F_NEXT, 3);
	split_with(DATA_GPA, 16, VIRTQ_DESC_F_NEXT, 16);
	split_with(DATA_GPA, 16, VIRTQ_DESC_F_NEXT, 0xffff);
}

static void odd_indirect_tables_break_the_queue(void **state)
{
	split_with(DATA_GPA, 8, VIRTQ_DESC_F_INDIRECT, 0);
	split_with(DATA_GPA, 24, VIRTQ_DESC_F_INDIRECT, 0);
	split_with(DATA_GPA, 32, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT, 0);
	/* A table in a table, and a loop in a table. */
	driver_desc(DATA_GPA, 0, DATA_GPA, 32, VIRTQ_DESC_F_INDIRECT, 0);
	split_with(DATA_GPA, 32, VIRTQ_DESC_F_INDIRECT, 0);
	driver_desc(DATA_GPA, 0, DATA_GPA, 32, VIRTQ_DESC_F_NEXT, 1);
	driver_desc(DATA_GPA, 1, DATA_GPA, 32, VIRTQ_DESC_F_NEXT, 0);
	split_with(DATA_GPA, 32, VIRTQ_DESC_F_INDIRECT, 0);
}

static void an_indirect_table_holds_at_most_1024_buffers(void **state)
{
	struct virtq_chain *c;
	struct fixture f;

	for (unsigned int i = 0; i < 1026; i++)
		driver_desc(DATA_GPA, i, DATA_GPA, 1, VIRTQ_DESC_F_NEXT, (uint16_t)(i + 1));
	split_with(DATA_GPA, 16 * 1026, VIRTQ_DESC_F_INDIRECT, 0);

	driver_desc(DATA_GPA, 1023, DATA_GPA, 1, 0, 0);
	setup(&f, VIRTQ_F_VERSION_1, 16);
	driver_desc(f.d.desc, 3, DATA_GPA, 16 * 1026, VIRTQ_DESC_F_INDIRECT, 0);
	driver_split_publish(&f.d, 3);
	c = virtqueue_pop(&f.q, sizeof(*c));
	assert_non_null(c);
	assert_int_equal(c->out_len, 1024);
	virtqueue_detach(&f.q, c);
}

static void readable_after_writable_breaks_the_queue(void **state)
{
	struct driver_buf bufs[] = {{DATA_GPA, 16, true}, {DATA_GPA, 16, false}};
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1, 16);
	driver_add(&f.d, bufs, 2);
	assert_breaks(&f);
	setup(&f, VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED, 16);
	driver_add(&f.d, bufs, 2);
	assert_breaks(&f);
}

static void an_index_too_far_ahead_breaks_the_queue(void **state)
{
	static const uint16_t bad[] = {17, 0x7fff, 0xffff};
	struct fixture f;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		setup(&f, VIRTQ_F_VERSION_1, 16);
		store_le16(RAM(f.d.avail + 2), bad[i]);
		assert_breaks(&f);
		assert_string_equal(f.why, "available index runs too far ahead");
	}
}

static void a_head_outside_the_table_breaks_the_queue(void **state)
{
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1, 16);
	driver_split_publish(&f.d, 16);
	assert_breaks(&f);
	assert_string_equal(f.why, "head is outside the descriptor table");
}

static void one_head_offered_many_times_stays_bounded(void **state)
{
	struct virtq_chain *held[16];
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1, 16);
	driver_desc(f.d.desc, 3, DATA_GPA, 16, VIRTQ_DESC_F_WRITE, 0);
	for (unsigned int i = 0; i < 16; i++) {
		driver_split_publish(&f.d, 3);
		held[i] = virtqueue_pop(&f.q, sizeof(*held[i]));
		assert_non_null(held[i]);
	}
	driver_split_publish(&f.d, 3);
	assert_breaks(&f);
	for (unsigned int i = 0; i < 16; i++)
		virtqueue_push(&f.q, held[i], 1);
	assert_int_equal(f.q.s.inuse, 0);
}

static void a_packed_chain_round_the_ring_breaks_the_queue(void **state)
{
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED, 16);
	for (unsigned int i = 0; i < 16; i++)
		driver_desc(f.d.desc, i, DATA_GPA, 16, 1, VIRTQ_DESC_F_NEXT | 1u << 7);
	assert_breaks(&f);
}

static void rings_outside_ram_break_the_queue(void **state)
{
	static const gpa_t bad[] = {0, END_GPA, UINT64_MAX - 0xfff, TEST_RAM_GPA - 4096,
				    END_GPA - 16};
	struct fixture f;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (unsigned int part = 0; part < 6; part++) {
			uint64_t features = VIRTQ_F_VERSION_1 | (part > 2 ? VIRTQ_F_PACKED : 0);
			struct driver_buf buf = {DATA_GPA, 16, true};
			struct virtq_chain *c;

			setup(&f, features | VIRTQ_F_EVENT_IDX, 256);
			for (int n = 0; n < 200; n++)
				driver_add(&f.d, &buf, 1);
			*(part % 3 == 0   ? &f.q.s.desc
			  : part % 3 == 1 ? &f.q.s.avail
					  : &f.q.s.used) = bad[i];
			for (int n = 0; n < 200; n++) {
				virtqueue_want_kicks(&f.q, true);
				c = virtqueue_pop(&f.q, sizeof(*c));
				if (c)
					virtqueue_push(&f.q, c, 1);
				virtqueue_flush(&f.q);
				virtqueue_should_notify(&f.q);
			}
			/* A ring that begins within the last bytes of RAM is legal as long as
			 * nothing beyond is used. */
			if (bad[i] != END_GPA - 16)
				assert_true(f.q.broken);
			assert_true(f.broken <= 1);
		}
	}
}

static void misaligned_or_misshapen_rings_are_refused(void **state)
{
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1, 16);
	f.q.s.used += 2;
	assert_false(virtqueue_start(&f.q, VIRTQ_F_VERSION_1));
	setup(&f, VIRTQ_F_VERSION_1, 16);
	f.q.s.avail += 1;
	assert_false(virtqueue_start(&f.q, VIRTQ_F_VERSION_1));
	setup(&f, VIRTQ_F_VERSION_1, 16);
	f.q.s.desc += 8;
	assert_false(virtqueue_start(&f.q, VIRTQ_F_VERSION_1));
	setup(&f, VIRTQ_F_VERSION_1, 16);
	f.q.s.num = 12;
	assert_false(virtqueue_start(&f.q, VIRTQ_F_VERSION_1));
}

static void a_loaded_state_that_contradicts_memory_breaks_the_queue(void **state)
{
	struct fixture f;

	setup(&f, VIRTQ_F_VERSION_1, 16);
	f.q.s.last_avail = 100;
	assert_false(virtqueue_resume(&f.q, VIRTQ_F_VERSION_1));
	setup(&f, VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED, 16);
	f.q.s.last_avail = 16;
	assert_false(virtqueue_resume(&f.q, VIRTQ_F_VERSION_1 | VIRTQ_F_PACKED));
}

/* Random bytes all over the rings, many times: nothing to assert but that we get here, in time and
 * within memory. */
static void noise_in_the_rings_is_survived(void **state)
{
	struct virtq_chain *c;
	struct fixture f;

	srand(7);
	for (unsigned int round = 0; round < 20000; round++) {
		uint64_t features = VIRTQ_F_VERSION_1 | (round & 1 ? VIRTQ_F_PACKED : 0) |
				    (round & 2 ? VIRTQ_F_EVENT_IDX : 0);

		memset(&f, 0, sizeof(f.q));
		virtqueue_init(&f.q, &f.memory, &f.scratch, 0, 1024);
		driver_init(&f.d, &f.q, 16, features, TEST_RAM_GPA, false);
		virtqueue_start(&f.q, features);
		for (gpa_t at = f.d.desc; at < f.d.tables; at += 4)
			store_le32(RAM(at), rand() & (rand() & 1 ? 0x1f001f : 0x8f83));
		for (gpa_t at = f.d.desc; at < f.d.avail; at += 16)
			store_le64(RAM(at), DATA_GPA + (unsigned int)rand() % 0x110000);
		store_le16(RAM(f.d.avail + 2), (uint16_t)(rand() % 18));
		for (unsigned int n = 0; n < 40; n++) {
			c = virtqueue_pop(&f.q, sizeof(*c));
			if (c)
				virtqueue_push(&f.q, c, (uint32_t)rand());
			virtqueue_flush(&f.q);
			virtqueue_should_notify(&f.q);
			virtqueue_want_kicks(&f.q, n & 1);
		}
		assert_true(f.q.s.inuse <= 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_outside_ram_break_the_queue),
		cmocka_unit_test(chains_that_loop_or_leave_their_table_break_the_queue),
		cmocka_unit_test(odd_indirect_tables_break_the_queue),
		cmocka_unit_test(an_indirect_table_holds_at_most_1024_buffers),
		cmocka_unit_test(readable_after_writable_breaks_the_queue),
		cmocka_unit_test(an_index_too_far_ahead_breaks_the_queue),
		cmocka_unit_test(a_head_outside_the_table_breaks_the_queue),
		cmocka_unit_test(one_head_offered_many_times_stays_bounded),
		cmocka_unit_test(a_packed_chain_round_the_ring_breaks_the_queue),
		cmocka_unit_test(rings_outside_ram_break_the_queue),
		cmocka_unit_test(misaligned_or_misshapen_rings_are_refused),
		cmocka_unit_test(a_loaded_state_that_contradicts_memory_breaks_the_queue),
		cmocka_unit_test(noise_in_the_rings_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
