/* SPDX-License-Identifier: Apache-2.0 */
/* A row that was forgotten, written twice or is for another struct can't ship. */
#include "state_sample.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The sample's table without row @skip, with @twice a second time behind it. */
static const struct state_table *changed(size_t skip, size_t twice)
{
	static struct state_field fields[ARRAY_SIZE(sample_fields) + 1];
	static struct state_table t;
	size_t i, n = 0;

	for (i = 0; i < ARRAY_SIZE(sample_fields); i++) {
		if (i == twice)
			fields[n++] = sample_fields[i];
		if (i != skip)
			fields[n++] = sample_fields[i];
	}
	t = sample_table;
	t.fields = fields;
	return &t;
}

static void a_complete_table_passes(void **unused)
{
	struct err e;

	assert_int_equal(state_cover_check(&sample_table, &e), 0);
}

static void every_deleted_row_is_found(void **unused)
{
	struct err e;
	size_t i;

	for (i = 0; i + 1 < ARRAY_SIZE(sample_fields); i++) {
		if (sample_fields[i].kind == STATE_PAD)
			continue;
		assert_int_equal(state_cover_check(changed(i, SIZE_MAX), &e), -EINVAL);
		assert_non_null(strstr(e.msg, "in no row"));
	}
}

static void the_hole_is_named_with_its_neighbour(void **unused)
{
	struct err e;

	assert_int_equal(state_cover_check(changed(1, SIZE_MAX), &e), -EINVAL);
	assert_non_null(strstr(e.msg, "sample: bytes 8 to 15, behind u64, are in no row"));
	assert_int_equal(state_cover_check(changed(0, SIZE_MAX), &e), -EINVAL);
	assert_non_null(strstr(e.msg, "sample: bytes 0 to 7, the first, are in no row"));
}

static void a_row_written_twice_is_found(void **unused)
{
	struct err e;

	assert_int_equal(state_cover_check(changed(SIZE_MAX, 2), &e), -EINVAL);
	assert_string_equal(e.msg, "sample/u32: byte 16 is also described by u32");
}

static void a_nested_table_must_fit(void **unused)
{
	static struct state_table part;
	struct state_field fields[] = {
		FIELD_STRUCT("s", struct sample, parts[0], &part),
		FIELDS_END
	};
	struct state_table t = {.name = "outer", .size = sizeof(struct sample), .fields = fields};
	struct err e;

	part = sample_part_table;
	part.size = 3;
	assert_int_equal(state_cover_check(&t, &e), -EINVAL);
	assert_string_equal(e.msg, "outer/s: 4 bytes, its table part is for 3");
}

/* What FIELD makes of each type of member. */
struct types {
	uint8_t u8, bytes[3], square[2][2];
	bool b, bools[2], boolss[2][3];
	int8_t i8, i8s[4];
	int16_t i16s[2];
	uint16_t u16ss[3][2];
	int32_t i32s[2];
	uint64_t u64s[5];
	char text[7];
};

static void field_takes_kind_and_size_from_the_type(void **unused)
{
	static const struct {
		struct state_field f;
		enum state_kind kind;
		size_t size, count;
	} rows[] = {
		{FIELD("", struct types, u8), STATE_UINT, 1, 1},
		{FIELD("", struct types, bytes), STATE_BYTES, 3, 1},
		{FIELD("", struct types, square), STATE_BYTES, 4, 1},
		{FIELD("", struct types, b), STATE_BOOL, 1, 1},
		{FIELD("", struct types, bools), STATE_BOOL, 1, 2},
		{FIELD("", struct types, boolss), STATE_BOOL, 1, 6},
		{FIELD("", struct types, i8), STATE_INT, 1, 1},
		{FIELD("", struct types, i8s), STATE_INT, 1, 4},
		{FIELD("", struct types, i16s), STATE_INT, 2, 2},
		{FIELD("", struct types, u16ss), STATE_UINT, 2, 6},
		{FIELD("", struct types, i32s), STATE_INT, 4, 2},
		{FIELD("", struct types, u64s), STATE_UINT, 8, 5},
		{FIELD("", struct types, text), STATE_BYTES, 7, 1},
		{FIELD_U8S("", struct types, bytes), STATE_UINT, 1, 3},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(rows[i].f.kind, rows[i].kind);
		assert_int_equal(rows[i].f.size, rows[i].size);
		assert_int_equal(rows[i].f.count, rows[i].count);
		assert_int_equal(rows[i].f.stride, rows[i].size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_complete_table_passes),
		cmocka_unit_test(every_deleted_row_is_found),
		cmocka_unit_test(the_hole_is_named_with_its_neighbour),
		cmocka_unit_test(a_row_written_twice_is_found),
		cmocka_unit_test(a_nested_table_must_fit),
		cmocka_unit_test(field_takes_kind_and_size_from_the_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
