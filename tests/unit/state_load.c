/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to struct and back, and what is said about bytes that can't be right. */
#include "state_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int load(struct sample *s, const uint8_t *bytes, size_t n, unsigned int version, size_t *at,
		struct err *e)
{
	struct state_reader r = {.buf = bytes, .len = n};
	int ret;

	memset(s, 0, sizeof(*s));
	ret = state_load(&sample_table, s, version, &r, e);
	*at = r.at;
	return ret;
}

/* Loads sample_wire with one byte changed; returns the text of the error. */
static const char *refused(size_t at, uint8_t byte)
{
	static struct err e;
	uint8_t wire[sizeof(sample_wire)];
	struct sample s;
	size_t end;

	memcpy(wire, sample_wire, sizeof(wire));
	wire[at] = byte;
	e.msg[0] = '\0';
	assert_true(load(&s, wire, sizeof(wire), 3, &end, &e) < 0);
	return e.msg;
}

static void saves_the_bytes_written_by_hand(void **unused)
{
	struct state_writer w = {0};

	state_save(&sample_table, &sample_state, &w);
	assert_int_equal(w.len, sizeof(sample_wire));
	assert_memory_equal(w.buf, sample_wire, sizeof(sample_wire));
	state_writer_destroy(&w);
}

static void loads_what_it_saved(void **unused)
{
	struct sample s;
	struct err e;
	size_t at;

	assert_int_equal(load(&s, sample_wire, sizeof(sample_wire), 3, &at, &e), 0);
	assert_int_equal(at, sizeof(sample_wire));
	assert_memory_equal(&s, &sample_state, sizeof(s));
}

static void leaves_out_what_is_not_needed(void **unused)
{
	struct sample s = sample_state;
	struct state_writer w = {0};

	s.extra = 0;
	s.on = 0;
	state_save(&sample_table, &s, &w);
	assert_int_equal(w.len, 79 - 4);
	state_writer_destroy(&w);
}

static void an_older_version_has_fewer_fields(void **unused)
{
	uint8_t wire[sizeof(sample_wire) - 1];
	struct sample s;
	struct err e;
	size_t at;

	memcpy(wire, sample_wire, 78);
	memcpy(wire + 78, sample_wire + 79, sizeof(wire) - 78);
	assert_int_equal(load(&s, wire, sizeof(wire), 2, &at, &e), 0);
	assert_int_equal(at, sizeof(wire));
	assert_false(s.yes);
	assert_int_equal(s.extra, 0x55);
}

static void a_version_out_of_range_is_named(void **unused)
{
	struct sample s;
	struct err e;
	size_t at;

	assert_int_equal(load(&s, sample_wire, sizeof(sample_wire), 4, &at, &e), -EINVAL);
	assert_string_equal(e.msg, "sample: version 4 offered, 2 to 3 known here");
	assert_int_equal(load(&s, sample_wire, sizeof(sample_wire), 1, &at, &e), -EINVAL);
	assert_string_equal(e.msg, "sample: version 1 offered, 2 to 3 known here");
	assert_string_equal(refused(123, 6),
			    "sample/extra/deep: version 6 offered, 7 to 7 known here");
}

static void every_cut_is_an_error_or_a_whole_state(void **unused)
{
	uint8_t *cut;
	struct sample s;
	struct err e;
	size_t n, at;

	for (n = 0; n < sizeof(sample_wire); n++) {
		cut = malloc(n ? n : 1); /* so that a sanitizer sees a read behind it */
		memcpy(cut, sample_wire, n);
		e.msg[0] = '\0';
		if (load(&s, cut, n, 3, &at, &e) == 0)
			assert_true(
				at == 79 ||
				at == 101); /* all fields read; the rest is refused by the footer */
		else
			assert_non_null(strstr(e.msg, "cut short"));
		free(cut);
	}
}

static void a_cut_names_the_field(void **unused)
{
	struct sample s;
	struct err e;
	size_t at;

	assert_int_equal(load(&s, sample_wire, 5, 3, &at, &e), -EINVAL);
	assert_string_equal(e.msg, "sample/u64: cut short: 8 bytes expected, 5 there");
	assert_int_equal(load(&s, sample_wire, 64, 3, &at, &e), -EINVAL);
	assert_string_equal(e.msg, "sample/parts[1]/high: cut short: 2 bytes expected, 0 there");
	assert_int_equal(load(&s, sample_wire, 126, 3, &at, &e), -EINVAL);
	assert_string_equal(e.msg,
			    "sample/extra/deep/text_len: cut short: 4 bytes expected, 2 there");
	assert_int_equal(load(&s, sample_wire, 77, 3, &at, &e), -EINVAL);
	assert_string_equal(e.msg, "sample/coded: cut short: 1 bytes expected, 0 there");
}

static void every_flipped_byte_is_harmless(void **unused)
{
	uint8_t wire[sizeof(sample_wire)];
	struct sample s;
	size_t i, at;
	unsigned int v;

	for (i = 0; i < sizeof(wire); i++)
		for (v = 0; v < 256; v++) {
			memcpy(wire, sample_wire, sizeof(wire));
			wire[i] = (uint8_t)v;
			if (load(&s, wire, sizeof(wire), 3, &at, NULL) == 0)
				assert_true(s.queue_len <= 4 && s.text_len <= 8);
		}
}

static void what_cannot_be_right_is_named(void **unused)
{
	assert_string_equal(refused(78, 2), "sample/yes: 2 is neither 0 nor 1");
	assert_string_equal(refused(49, 5), "sample/queue: 5 offered, room for 4");
	assert_string_equal(refused(127, 9), "sample/extra/deep/text: 9 offered, room for 8");
	assert_string_equal(refused(124, 0xff),
			    "sample/extra/deep/text: 4278190082 offered, room for 8");
	assert_string_equal(refused(76, 0xee), "sample/coded: 0xee is not a code");
	assert_string_equal(refused(92, 'o'), "sample: unknown subsection sample/extro");
	assert_string_equal(refused(119, 't'),
			    "sample/extra: unknown subsection sample/extra/deet");
}

static void the_tables_check_speaks_last(void **unused)
{
	uint8_t wire[sizeof(sample_wire)];
	struct sample s;
	struct err e;
	size_t at;

	memcpy(wire, sample_wire, sizeof(wire));
	memcpy(wire + 16, "\0\0\x0b\xad", 4);
	assert_int_equal(load(&s, wire, sizeof(wire), 3, &at, &e), -EINVAL);
	assert_string_equal(e.msg, "sample/u32: 2989 offered, less needed");
}

static void a_subsection_of_somebody_else_is_left_alone(void **unused)
{
	uint8_t wire[sizeof(sample_wire)];
	struct state_reader r = {.buf = wire, .len = sizeof(wire)};
	char name[256];
	struct sample s = {0};

	memcpy(wire, sample_wire, sizeof(wire));
	wire[81] = 'S';
	assert_int_equal(state_load(&sample_table, &s, 3, &r, NULL), 0);
	assert_int_equal(r.at, 79);
	assert_true(state_subsection_here(&r, name));
	assert_string_equal(name, "Sample/extra");
}

/* A stream that gives at most a few bytes at a time. */
static bool trickle(struct state_reader *r, size_t need)
{
	if (r->at + need > sizeof(sample_wire))
		return false;
	r->len = r->at + need;
	return true;
}

static void reads_no_further_than_the_table_asks(void **unused)
{
	struct state_reader r = {.buf = sample_wire, .refill = trickle};
	struct sample s = {0};

	assert_int_equal(state_load(&sample_table, &s, 3, &r, NULL), 0);
	assert_int_equal(r.at, sizeof(sample_wire));
	assert_memory_equal(&s, &sample_state, sizeof(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saves_the_bytes_written_by_hand),
		cmocka_unit_test(loads_what_it_saved),
		cmocka_unit_test(leaves_out_what_is_not_needed),
		cmocka_unit_test(an_older_version_has_fewer_fields),
		cmocka_unit_test(a_version_out_of_range_is_named),
		cmocka_unit_test(every_cut_is_an_error_or_a_whole_state),
		cmocka_unit_test(a_cut_names_the_field),
		cmocka_unit_test(every_flipped_byte_is_harmless),
		cmocka_unit_test(what_cannot_be_right_is_named),
		cmocka_unit_test(the_tables_check_speaks_last),
		cmocka_unit_test(a_subsection_of_somebody_else_is_left_alone),
		cmocka_unit_test(reads_no_further_than_the_table_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
