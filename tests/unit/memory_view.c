/* SPDX-License-Identifier: Apache-2.0 */
/* The flattened view, the gate and the dirty marks: what a device and a listener see. */
#include "base/clock.h"
#include "base/owned.h"
#include "memory/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct memory m;
	struct ram_block *ram, *rom;
	struct memory_map *low, *shadow;
	struct err e;
};

static void ok(struct fixture *f, int r)
{
	if (r < 0)
		fail_msg("%s", f->e.msg);
}

static struct memory_map *map(struct fixture *f, struct ram_block *b, gpa_t gpa, uint64_t size,
			      uint64_t offset, int priority)
{
	struct memory_map want = {.gpa = gpa,
				  .size = size,
				  .block = b,
				  .offset = offset,
				  .enabled = true,
				  .priority = priority};
	struct memory_map *ret;

	ok(f, memory_map_add(&f->m, &want, &ret, &f->e));
	return ret;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct ram_options rom = {.kind = RAM_MEMFD, .readonly = true};

	memory_init(&f->m);
	ok(f, ram_create(&f->m, "pc.ram", 16 * MiB, NULL, &f->ram, &f->e));
	ok(f, ram_create(&f->m, "pc.rom", 128 * KiB, &rom, &f->rom, &f->e));
	f->low = map(f, f->ram, 0, 16 * MiB, 0, 0);
	f->shadow = map(f, f->rom, 0xc0000, 0x20000, 0, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	memory_destroy(&f->m);
	free(f);
	return 0;
}

static void the_highest_priority_is_seen(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->m.views[MEMORY_NORMAL].now->len, 3);
	assert_ptr_equal(memory_ptr(&f->m, 0xc0000, 1, MEMORY_READ), f->rom->hva);
	assert_ptr_equal(memory_ptr(&f->m, 0xe0000, 1, MEMORY_READ), f->ram->hva + 0xe0000);
	ok(f, memory_map_set(&f->m, f->shadow, 0xc0000, false, false, &f->e));
	assert_int_equal(f->m.views[MEMORY_NORMAL].now->len, 1);
	assert_ptr_equal(memory_ptr(&f->m, 0xc0000, 1, MEMORY_READ), f->ram->hva + 0xc0000);
}

static void the_gate_refuses_what_isnt_memory(void **state)
{
	struct fixture *f = *state;

	assert_null(memory_ptr(&f->m, 16 * MiB, 1, MEMORY_READ));
	assert_null(memory_ptr(&f->m, 16 * MiB - 1, 2, MEMORY_READ));
	assert_null(memory_ptr(&f->m, ~0ULL, 2, MEMORY_READ));
	assert_null(memory_ptr(&f->m, 0, ~0ULL, MEMORY_READ));
	assert_null(memory_ptr(&f->m, 0, 0, MEMORY_READ));
	assert_null(memory_ptr(&f->m, 0xc0000, 1, MEMORY_WRITE)); /* ROM */
	assert_null(memory_ptr(&f->m, 0xbffff, 2, MEMORY_READ));  /* crosses blocks */
}

static void copies_cross_blocks(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[4] = {1, 2, 3, 4};

	f->rom->hva[0] = 9;
	assert_false(memory_write(&f->m, 0xbfffe, buf, 4));
	assert_true(memory_read(&f->m, 0xbfffe, buf, 4));
	assert_int_equal(buf[2], 9);
	assert_true(memory_write(&f->m, 0xdfffe + 2, buf, 2));
	assert_false(memory_read(&f->m, 16 * MiB - 2, buf, 4));
}

static void writes_are_marked_while_tracking(void **state)
{
	struct fixture *f = *state;

	assert_non_null(memory_ptr(&f->m, 0x1000, 1, MEMORY_WRITE));
	ok(f, memory_track(&f->m, true, &f->e));
	assert_int_equal(bitmap_count(&f->ram->dirty), 0);
	assert_non_null(memory_ptr(&f->m, 0x3fff, 2, MEMORY_WRITE));
	assert_true(bitmap_test(&f->ram->dirty, 3) && bitmap_test(&f->ram->dirty, 4));
	assert_non_null(memory_ptr(&f->m, 0x8000, 1, MEMORY_READ));
	assert_int_equal(bitmap_count(&f->ram->dirty), 2);
	memory_mark_dirty(&f->m, 0x9000, 0x1001);
	assert_int_equal(bitmap_count(&f->ram->dirty), 4);
	ok(f, memory_track(&f->m, false, &f->e));
	assert_true(memory_write(&f->m, 0x20000, "x", 1));
	assert_int_equal(bitmap_count(&f->ram->dirty), 4);
}

static void another_process_sees_the_same_pages(void **state)
{
	struct fixture *f = *state;
	struct memory other;
	struct ram_block *b;

	memory_init(&other);
	f->ram->hva[12345] = 77;
	ok(f, ram_adopt(&other, "pc.ram", 16 * MiB, NULL, dup(f->ram->fd), 0, &b, &f->e));
	assert_int_equal(b->hva[12345], 77);
	b->hva[0] = 5;
	assert_int_equal(f->ram->hva[0], 5);
	assert_int_equal(ftruncate(b->fd, 0), -1); /* sealed */
	memory_destroy(&other);
}

/* Does this process have a page table entry? Bit 63 of the page's word in pagemap. */
static bool mapped(const uint8_t *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t word = 0;

	assert_int_equal(pread(fd, &word, 8, (off_t)((uintptr_t)p / page_size() * 8)), 8);
	close(fd);
	return word >> 63;
}

static void prefault_maps_what_is_there_and_allocates_nothing(void **state)
{
	struct fixture *f = *state;
	struct memory other;
	struct ram_block *b;
	struct stat before, after;

	memory_init(&other);
	f->ram->hva[0] = f->ram->hva[8 * MiB] = f->ram->hva[8 * MiB + 32 * page_size()] = 1;
	ok(f, ram_adopt(&other, "pc.ram", 16 * MiB, NULL, dup(f->ram->fd), 0, &b, &f->e));
	assert_int_equal(fstat(b->fd, &before), 0);
	memory_prefault(&other, 0);
	assert_false(mapped(b->hva));
	memory_prefault(&other, 10 * NS_PER_SEC);
	assert_int_equal(fstat(b->fd, &after), 0);
	assert_int_equal(after.st_blocks, before.st_blocks);
	assert_true(mapped(b->hva));
	assert_true(mapped(b->hva + 8 * MiB));
	assert_true(mapped(b->hva + 8 * MiB + 32 * page_size()));
	assert_false(mapped(b->hva + 4 * MiB));
	assert_false(mapped(b->hva + 8 * MiB + 31 * page_size()));
	memory_destroy(&other);
}

static void a_resizable_block_takes_its_mapping_along(void **state)
{
	struct fixture *f = *state;
	struct ram_options o = {.kind = RAM_MEMFD, .max_bytes = 64 * KiB};
	struct ram_block *b;
	struct memory_map *m;

	ok(f, ram_create(&f->m, "/rom@etc/acpi/tables", 4 * KiB, &o, &b, &f->e));
	m = map(f, b, 0xfe000000, 4 * KiB, 0, 0);
	assert_null(memory_ptr(&f->m, 0xfe001000, 1, MEMORY_READ));
	ok(f, ram_resize(&f->m, b, 64 * KiB, &f->e));
	assert_int_equal(m->size, 64 * KiB);
	assert_non_null(memory_ptr(&f->m, 0xfe00ffff, 1, MEMORY_READ));
	assert_int_equal(ram_resize(&f->m, b, 128 * KiB, &f->e), -EINVAL);
}

static void bad_wishes_are_refused(void **state)
{
	struct fixture *f = *state;
	struct memory_map m = {
		.block = f->ram, .size = 0x1000, .offset = 16 * MiB, .enabled = true};
	struct ram_block *b;

	assert_int_equal(ram_create(&f->m, "pc.ram", 4096, NULL, &b, &f->e), -EEXIST);
	assert_int_equal(ram_create(&f->m, "odd", 4097, NULL, &b, &f->e), -EINVAL);
	assert_int_equal(memory_map_add(&f->m, &m, NULL, &f->e), -EINVAL);
	m.offset = 1;
	assert_int_equal(memory_map_add(&f->m, &m, NULL, &f->e), -EINVAL);
	assert_int_equal(f->m.views[MEMORY_NORMAL].now->len, 3);
}

static int refuse(struct memory_listener *l, enum memory_space space, const struct memory_view *v,
		  struct err *e)
{
	return err_set(e, ENOSPC, "no slot");
}

static void a_listener_can_refuse_a_mapping(void **state)
{
	struct fixture *f = *state;
	struct memory_listener l = {.changed = refuse};
	struct memory_map m = {.gpa = 1 * GiB, .block = f->ram, .size = 0x1000, .enabled = true};

	memory_listen(&f->m, &l);
	assert_int_equal(memory_map_add(&f->m, &m, NULL, &f->e), -ENOSPC);
	assert_null(memory_ptr(&f->m, 1 * GiB, 1, MEMORY_READ));
	list_del(&l.link);
}

static struct memory_map *space_map(struct fixture *f, struct ram_block *b, bool smm_only)
{
	const struct memory_map want = {.gpa = 0x800000,
					.size = 0x100000,
					.block = b,
					.offset = b ? 0x800000 : 0,
					.enabled = true,
					.smm_only = smm_only,
					.priority = smm_only ? 4 : 3};
	struct memory_map *ret;

	ok(f, memory_map_add(&f->m, &want, &ret, &f->e));
	return ret;
}

static void smm_sees_what_a_hole_hides_from_all_others(void **state)
{
	struct fixture *f = *state;
	uint8_t byte = 7, seen = 0;

	memory_use_smm(&f->m);
	space_map(f, NULL, false);
	assert_null(memory_ptr(&f->m, 0x800000, 1, MEMORY_READ));
	assert_false(memory_write_in(&f->m, MEMORY_SMM, 0x800000, &byte, 1));
	space_map(f, f->ram, true);
	assert_null(memory_ptr(&f->m, 0x800000, 1, MEMORY_READ));
	assert_true(memory_write_in(&f->m, MEMORY_SMM, 0x800000, &byte, 1));
	assert_false(memory_write(&f->m, 0x800000, &byte, 1));
	assert_false(memory_read(&f->m, 0x800000, &seen, 1));
	assert_true(memory_read_in(&f->m, MEMORY_SMM, 0x800000, &seen, 1));
	assert_int_equal(seen, 7);
	assert_int_equal(f->ram->hva[0x800000], 7);
	/* Below and above nothing changes, for neither. */
	assert_ptr_equal(memory_ptr(&f->m, 0x7fffff, 1, MEMORY_READ), f->ram->hva + 0x7fffff);
	assert_ptr_equal(memory_ptr(&f->m, 0x900000, 1, MEMORY_READ), f->ram->hva + 0x900000);
	assert_true(memory_read_in(&f->m, MEMORY_SMM, 0x7fffff, &seen, 1));
}

static void what_smm_writes_is_dirty(void **state)
{
	struct fixture *f = *state;
	uint8_t byte = 7;

	memory_use_smm(&f->m);
	space_map(f, NULL, false);
	space_map(f, f->ram, true);
	ok(f, memory_track(&f->m, true, &f->e));
	assert_true(memory_write_in(&f->m, MEMORY_SMM, 0x801000, &byte, 1));
	assert_true(bitmap_test(&f->ram->dirty, 0x801));
	assert_false(bitmap_test(&f->ram->dirty, 0x800));
	ok(f, memory_track(&f->m, false, &f->e));
}

struct reader {
	struct fixture *f;
	bool end;
	unsigned long looks, wrong;
};

/* RAM below is always there; the ROM window is either the ROM or the RAM behind it. */
static void *read_on(void *arg)
{
	struct reader *r = arg;

	while (!__atomic_load_n(&r->end, __ATOMIC_RELAXED)) {
		uint8_t *p = memory_ptr(&r->f->m, 0xc0000, 16, MEMORY_READ);

		r->wrong += p != r->f->rom->hva && p != r->f->ram->hva + 0xc0000;
		r->wrong += memory_ptr(&r->f->m, 0x1000, 16, MEMORY_WRITE) !=
			    r->f->ram->hva + 0x1000;
		__atomic_fetch_add(&r->looks, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void readers_never_see_a_view_in_the_making(void **state)
{
	struct fixture *f = *state;
	struct reader r = {.f = f};
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, read_on, &r), 0);
	/* Three layouts, so that each of the four buffers is rewritten with another one. */
	for (int i = 0; i < 3000000 || __atomic_load_n(&r.looks, __ATOMIC_RELAXED) < 1000; i++)
		ok(f, memory_map_set(&f->m, f->shadow, i % 3 == 2 ? 0x1000000 - 0x20000 : 0xc0000,
				     i % 3 != 1, false, &f->e));
	__atomic_store_n(&r.end, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	assert_int_equal(r.wrong, 0);
	assert_null(f->m.retired); /* a million changes cost no memory */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_highest_priority_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(the_gate_refuses_what_isnt_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(smm_sees_what_a_hole_hides_from_all_others, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_smm_writes_is_dirty, setup, teardown),
		cmocka_unit_test_setup_teardown(copies_cross_blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_are_marked_while_tracking, setup, teardown),
		cmocka_unit_test_setup_teardown(another_process_sees_the_same_pages, setup,
						teardown),
		cmocka_unit_test_setup_teardown(prefault_maps_what_is_there_and_allocates_nothing,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_resizable_block_takes_its_mapping_along, setup,
						teardown),
		cmocka_unit_test_setup_teardown(bad_wishes_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_listener_can_refuse_a_mapping, setup, teardown),
		cmocka_unit_test_setup_teardown(readers_never_see_a_view_in_the_making, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
