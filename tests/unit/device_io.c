/* SPDX-License-Identifier: Apache-2.0 */
/* Which region answers an access of several bytes. */
#include "device/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/**
 * struct seen - The last access that a region got
 */
struct seen {
	uint64_t offset, value;
	unsigned int size, calls;
};

static uint64_t seen_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct seen *s = opaque;

	*s = (struct seen){.offset = offset, .size = size, .calls = s->calls + 1};
	return 0x44332211;
}

static void seen_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct seen *s = opaque;

	*s = (struct seen){offset, value, size, s->calls + 1};
}

static const struct io_ops seen_ops = {seen_read, seen_write, 1, 4};

/**
 * struct fixture - The configuration address port with the reset register on top of its second byte
 */
struct fixture {
	struct io_space *space;
	struct io_region address, reset;
	struct seen in_address, in_reset;
};

static void region_put(struct fixture *f, struct io_region *r, uint64_t base, uint64_t size,
		       struct seen *s)
{
	*r = (struct io_region){.name = "test",
				.kind = IO_PORT,
				.base = base,
				.size = size,
				.ops = &seen_ops,
				.opaque = s,
				.enabled = true};
	io_region_add(f->space, r);
}

static int setup(void **state)
{
	static struct fixture f;
	struct err e;

	f = (struct fixture){0};
	if (io_space_create(&f.space, NULL, &e) < 0)
		return -1;
	region_put(&f, &f.address, 0xcf8, 4, &f.in_address);
	region_put(&f, &f.reset, 0xcf9, 1, &f.in_reset);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	io_region_del(&f->address);
	io_region_del(&f->reset);
	io_space_destroy(f->space);
	return 0;
}

static void doubleword_belongs_to_who_answers_its_first_byte(void **state)
{
	struct fixture *f = *state;
	uint32_t v = 0x80001234;

	io_write(f->space, IO_PORT, 0xcf8, &v, 4);
	assert_int_equal(f->in_address.value, 0x80001234);
	assert_int_equal(f->in_address.size, 4);
	io_read(f->space, IO_PORT, 0xcf8, &v, 4);
	assert_int_equal(v, 0x44332211);
	assert_int_equal(f->in_address.size, 4);
	assert_int_equal(f->in_reset.calls, 0);
}

static void byte_belongs_to_the_region_on_top(void **state)
{
	struct fixture *f = *state;
	uint8_t v = 6;

	io_write(f->space, IO_PORT, 0xcf9, &v, 1);
	assert_int_equal(f->in_reset.value, 6);
	assert_int_equal(f->in_address.calls, 0);
}

static void access_over_a_regions_end_goes_on_behind_it(void **state)
{
	struct fixture *f = *state;
	uint32_t v;

	io_read(f->space, IO_PORT, 0xcfa, &v, 4);
	assert_int_equal(f->in_address.offset, 2);
	assert_int_equal(f->in_address.size, 2);
	assert_int_equal(v, 0xffff2211);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(doubleword_belongs_to_who_answers_its_first_byte,
						setup, teardown),
		cmocka_unit_test_setup_teardown(byte_belongs_to_the_region_on_top, setup, teardown),
		cmocka_unit_test_setup_teardown(access_over_a_regions_end_goes_on_behind_it, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
