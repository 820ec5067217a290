/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the I/O spaces with regions that write down what came: who answers where
 * regions overlap, how accesses are cut and fitted, doorbells without the kernel, moving regions
 * under running readers; and the guest clock's timers.
 */
#include "device_env.h"

#include <pthread.h>
#include <sys/eventfd.h>

/**
 * struct probe - A region that remembers
 * @calls:	Accesses
 * @offset, @value, @size: Of the last one
 * @answer:	What reads give
 */
struct probe {
	unsigned int calls, size;
	uint64_t offset, value, answer;
	struct io_region io;
};

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct probe *p = opaque;

	p->calls++;
	p->offset = offset;
	p->size = size;
	return p->answer >> 8 * (offset & 7);
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct probe *p = opaque;

	p->calls++;
	p->offset = offset;
	p->value = value;
	p->size = size;
}

static const struct io_ops any = {probe_read, probe_write, 0, 0};
static const struct io_ops bytes_only = {probe_read, probe_write, 1, 1};
static const struct io_ops words_only = {probe_read, probe_write, 4, 4};

static void probe_add(struct bench *b, struct probe *p, enum io_kind kind, uint64_t base,
		      uint64_t size, const struct io_ops *ops)
{
	p->io.name = "probe";
	p->io.kind = kind;
	p->io.base = base;
	p->io.size = size;
	p->io.ops = ops;
	p->io.opaque = p;
	p->io.enabled = true;
	io_region_add(b->io, &p->io);
}

static void nothing_reads_as_ones(void **state)
{
	struct bench *b = bench_create();

	assert_int_equal(port_in(b, 0x1234, 4), 0xffffffff);
	assert_int_equal(mem_in(b, 1ull << 40, 8), UINT64_MAX);
	port_out(b, 0x1234, 1, 4);
	mem_out(b, UINT64_MAX - 1, 1, 2);
	bench_destroy(b);
}

static void highest_priority_answers(void **state)
{
	struct bench *b = bench_create();
	struct probe low = {.answer = 0x11}, high = {.answer = 0x22, .io.priority = 1};

	probe_add(b, &high, IO_PORT, 0x104, 4, &bytes_only);
	probe_add(b, &low, IO_PORT, 0x100, 16, &bytes_only);
	assert_int_equal(port_in(b, 0x103, 1), 0x11 >> 24);
	assert_int_equal(port_in(b, 0x104, 1), 0x22);
	assert_int_equal(low.calls, 1);
	io_region_set(&high.io, 0x104, false);
	port_in(b, 0x104, 1);
	assert_int_equal(low.calls, 2);
	io_region_del(&low.io);
	io_region_del(&high.io);
	bench_destroy(b);
}

/* Port 0xcf9 lies inside the 32-bit register at 0xcf8. */
static void overlay_leaves_wide_accesses_whole(void **state)
{
	struct bench *b = bench_create();
	struct probe wide = {0}, inside = {.io.priority = 1};

	probe_add(b, &wide, IO_PORT, 0xcf8, 4, &any);
	probe_add(b, &inside, IO_PORT, 0xcf9, 1, &any);
	port_out(b, 0xcf8, 0x80001234, 4);
	assert_int_equal(wide.value, 0x80001234);
	assert_int_equal(wide.size, 4);
	assert_int_equal(inside.calls, 0);
	port_out(b, 0xcf9, 6, 1);
	assert_int_equal(inside.value, 6);
	io_region_del(&wide.io);
	io_region_del(&inside.io);
	bench_destroy(b);
}

static void accesses_are_split_and_widened(void **state)
{
	struct bench *b = bench_create();
	struct probe narrow = {.answer = 0x8877665544332211}, wide = {.answer = 0x44332211};

	probe_add(b, &narrow, IO_PORT, 0x200, 8, &bytes_only);
	probe_add(b, &wide, IO_MEMORY, 0x1000, 0x1000, &words_only);
	assert_int_equal(port_in(b, 0x200, 4), 0x44332211);
	assert_int_equal(narrow.calls, 4);
	assert_int_equal(mem_in(b, 0x1002, 1), 0x33);
	assert_int_equal(wide.size, 4);
	assert_int_equal(wide.offset, 0);
	mem_out(b, 0x1003, 0xaa, 1);
	assert_int_equal(wide.value, 0xaa000000);
	mem_in(b, 0x1ffe, 4); /* over the region's end, and not aligned */
	assert_int_equal(wide.offset, 0xffc);
	io_region_del(&narrow.io);
	io_region_del(&wide.io);
	bench_destroy(b);
}

static uint64_t fd_count(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) < 0 ? 0 : count;
}

static void doorbell_rings_without_the_kernel(void **state)
{
	struct bench *b = bench_create();
	struct probe p = {0};
	struct io_doorbell bell = {.offset = 8,
				   .size = 2,
				   .datamatch = true,
				   .match = 3,
				   .fd = eventfd(0, EFD_NONBLOCK)};

	probe_add(b, &p, IO_MEMORY, 0x10000, 0x1000, &any);
	io_doorbell_add(&p.io, &bell);
	mem_out(b, 0x10008, 3, 2);
	assert_int_equal(fd_count(bell.fd), 1);
	assert_int_equal(p.calls, 0);
	mem_out(b, 0x10008, 4, 2);
	mem_out(b, 0x10008, 3, 4);
	assert_int_equal(fd_count(bell.fd), 0);
	assert_int_equal(p.calls, 2);
	io_region_set(&p.io, 0x20000, true);
	mem_out(b, 0x20008, 3, 2);
	assert_int_equal(fd_count(bell.fd), 1);
	io_doorbell_del(&p.io, &bell);
	mem_out(b, 0x20008, 3, 2);
	assert_int_equal(p.calls, 3);
	io_region_del(&p.io);
	close(bell.fd);
	bench_destroy(b);
}

static void *reader(void *opaque)
{
	struct bench *b = opaque;

	while (!__atomic_load_n(&b->request, __ATOMIC_ACQUIRE)) {
		port_in(b, 0x300, 4);
		port_in(b, 0x400, 4);
	}
	return NULL;
}

static void regions_move_under_readers(void **state)
{
	struct bench *b = bench_create();
	pthread_t threads[2];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, reader, b);
	for (int i = 0; i < 2000; i++) {
		struct probe *p = mem_zalloc(sizeof(*p));

		p->io.lock = &b->chipset_lock;
		probe_add(b, p, IO_PORT, 0x300, 4, &any);
		io_region_set(&p->io, 0x400, true);
		io_region_del(&p->io);
		memset(p, 0xee, sizeof(*p)); /* a late reader would crash */
		free(p);
	}
	__atomic_store_n(&b->request, 1, __ATOMIC_RELEASE);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	bench_destroy(b);
}

static void set_true(void *opaque)
{
	*(bool *)opaque = true;
}

static void timers_fire_in_guest_time(void **state)
{
	struct bench *b = bench_create();
	bool first = false, never = false;
	struct timer *t = timer_create_guest(b->clock, set_true, &first, &b->chipset_lock);
	struct timer *cancelled = timer_create_guest(b->clock, set_true, &never, NULL);

	guest_clock_set_ns(b->clock, 1000);
	timer_arm_ns(t, 500);
	timer_arm_ns(cancelled, 600);
	sd_event_run(loop_event(b->loop), 2000);
	assert_false(first); /* the clock stands still */
	assert_int_equal(guest_clock_now_ns(b->clock), 1000);
	timer_cancel(cancelled);
	guest_clock_run(b->clock);
	bench_wait(b, &first);
	assert_false(never);
	assert_false(timer_pending(t));
	assert_int_equal(timer_expires_ns(t), -1);
	timer_destroy(t);
	timer_destroy(cancelled);
	bench_destroy(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_reads_as_ones),
		cmocka_unit_test(highest_priority_answers),
		cmocka_unit_test(overlay_leaves_wide_accesses_whole),
		cmocka_unit_test(accesses_are_split_and_widened),
		cmocka_unit_test(doorbell_rings_without_the_kernel),
		cmocka_unit_test(regions_move_under_readers),
		cmocka_unit_test(timers_fire_in_guest_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
