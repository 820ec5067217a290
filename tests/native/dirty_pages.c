/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM is copied while the witness writes to it, page by page as the dirty pages say; after the last
 * round, with the guest stopped, the copy is the same as the RAM. By KVM's dirty log and by its
 * dirty ring.
 */
#include "pulse_guest.h"

static void page_copy(struct bench *b, struct ram_block *ram, uint8_t *copy, uint64_t page)
{
	struct bitmap which;

	if (bitmap_create(&which, ram->size / 4096) < 0)
		exit(1);
	bitmap_set(&which, page);
	ok(b, slots_dirty_clear(b->slots, ram, &which, page & ~63ULL, 64, &b->e));
	bitmap_destroy(&which);
	memcpy(copy + page * 4096, ram->hva + page * 4096, 4096);
}

/* One round of pre-copy; returns pages copied. */
static uint64_t round_copy(struct bench *b, struct ram_block *ram, uint8_t *copy)
{
	uint64_t page, n = 0;

	ok(b, slots_dirty_collect(b->slots, &b->e));
	bitmap_for_each_set (page, &ram->dirty) {
		bitmap_take(&ram->dirty, page);
		page_copy(b, ram, copy, page);
		n++;
	}
	return n;
}

/* Some pages more are written, and some time goes by. */
static void more_is_written(struct bench *b)
{
	uint64_t before = cpu_report(b, 1)->dirtied;

	usleep(20000);
	assert_true(reaches(&cpu_report(b, 1)->dirtied, 8, before + 16));
}

static void copies_without_loss(uint32_t ring)
{
	struct bench *b = bench_make_with(2, NULL, ring);
	struct ram_block *ram = ram_find(&b->memory, "pc.ram");
	uint8_t *copy = malloc(RAM_BYTES);
	uint64_t copied = 0, last;

	pulse_boots(b);
	ok(b, slots_dirty_start(b->slots, &b->e));
	memcpy(copy, ram->hva, RAM_BYTES);
	for (int i = 0; i < 5; i++) {
		more_is_written(b);
		copied += round_copy(b, ram, copy);
	}
	more_is_written(b);
	vm_stop(&b->vm, RUN_FINISH_MIGRATE);
	last = round_copy(b, ram, copy);
	print_message("%llu pages in 5 rounds, %llu in the last\n", (unsigned long long)copied,
		      (unsigned long long)last);
	assert_true(copied > 0 && last > 0);
	for (uint64_t page = 0; page < RAM_BYTES / 4096; page++)
		if (memcmp(copy + page * 4096, ram->hva + page * 4096, 4096))
			fail_msg("page %#llx was written and not noted", (unsigned long long)page);
	slots_dirty_stop(b->slots);
	vm_start(&b->vm);
	vm_stop(&b->vm, RUN_PAUSED);
	assert_int_equal(report(b)->faults, 0);
	free(copy);
	bench_destroy(b);
}

static void the_log_loses_nothing(void **state)
{
	copies_without_loss(0);
}

static void the_ring_loses_nothing(void **state)
{
	struct kvm_host h;
	struct err e;

	assert_int_equal(kvm_host_open(&h, &e), 0);
	kvm_host_close(&h);
	if (h.caps.dirty_ring_entries < 4096)
		skip();
	copies_without_loss(4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_log_loses_nothing),
		cmocka_unit_test(the_ring_loses_nothing),
	};

	if (access("/dev/kvm", R_OK | W_OK) < 0 || access(pulse_path(), R_OK) < 0) {
		fprintf(stderr, "no /dev/kvm or no %s\n", pulse_path());
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
