/* SPDX-License-Identifier: Apache-2.0 */
/* The description of what was written, and the comparison of two tables. */
#include "state_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static json_t *describe(const struct sample *s)
{
	struct state_writer w = {0};
	json_t *desc = json_object();

	state_save_described(&sample_table, s, &w, desc);
	assert_int_equal(w.len, sizeof(sample_wire));
	state_writer_destroy(&w);
	return desc;
}

static json_int_t sizes(const json_t *desc)
{
	json_int_t sum = 0;
	const json_t *f;
	size_t i;

	json_array_foreach (json_object_get(desc, "fields"), i, f) {
		const json_t *len = json_object_get(f, "array_len");

		sum += json_integer_value(json_object_get(f, "size")) *
		       (len ? json_integer_value(len) : 1);
	}
	return sum;
}

static void the_sizes_described_are_the_bytes_written(void **unused)
{
	json_t *desc = describe(&sample_state), *extra;

	extra = json_array_get(json_object_get(desc, "subsections"), 0);
	assert_int_equal(sizes(desc), 79);
	assert_int_equal(sizes(extra), 4);
	assert_int_equal(sizes(json_array_get(json_object_get(extra, "subsections"), 0)), 6);
	json_decref(desc);
}

static void the_description_has_qemus_words(void **unused)
{
	json_t *desc = describe(&sample_state);
	char *got = json_dumps(json_array_get(json_object_get(desc, "fields"), 9), JSON_COMPACT);

	assert_string_equal(got,
			    "{\"name\":\"parts\",\"array_len\":2,\"type\":\"struct\",\"struct\":"
			    "{\"vmsd_name\":\"part\",\"version\":1,\"fields\":"
			    "[{\"name\":\"low\",\"type\":\"uint16\",\"size\":2},"
			    "{\"name\":\"high\",\"type\":\"uint16\",\"size\":2}]},\"size\":4}");
	free(got);
	got = json_dumps(json_array_get(json_object_get(desc, "fields"), 6), JSON_COMPACT);
	assert_string_equal(got, "{\"name\":\"unused\",\"type\":\"unused_buffer\",\"size\":2}");
	free(got);
	json_decref(desc);
}

static void keep_sentence(void *opaque, const char *sentence)
{
	snprintf(opaque, 512, "%s", sentence);
}

/* Compares the sample's table (writer) with a changed one; returns the last sentence. */
static const char *compared(const struct state_table *reader, unsigned int expected)
{
	static char sentence[512];
	json_t *w = state_schema(&sample_table), *r = state_schema(reader);

	sentence[0] = '\0';
	assert_int_equal(state_schema_compare(w, r, keep_sentence, sentence), expected);
	json_decref(w);
	json_decref(r);
	return sentence;
}

static void a_table_reads_itself(void **unused)
{
	compared(&sample_table, 0);
}

static void an_older_reader_refuses_a_newer_version(void **unused)
{
	struct state_table t = sample_table;

	t.version = 2;
	assert_string_equal(compared(&t, 1), "sample: version 3 sent, 2 to 2 known");
}

static void an_unknown_subsection_is_named(void **unused)
{
	struct state_table t = sample_table;

	t.subsections = NULL;
	assert_string_equal(compared(&t, 1),
			    "sample: subsection sample/extra may be sent and isn't known");
}

static void a_row_changed_without_a_version_is_named(void **unused)
{
	struct state_field fields[ARRAY_SIZE(sample_fields)];
	struct state_table t = sample_table;

	memcpy(fields, sample_fields, sizeof(fields));
	t.fields = fields;
	fields[2].size = 8;
	assert_string_equal(compared(&t, 2), "sample/u32: size 4 sent, 8 read");
	memcpy(fields, sample_fields, sizeof(fields));
	memmove(&fields[3], &fields[4], sizeof(fields) - 4 * sizeof(fields[0]));
	assert_string_equal(compared(&t, 1), "sample: i32 sent where grid is read");
}

static void a_row_added_with_a_version_is_compatible(void **unused)
{
	struct state_field fields[ARRAY_SIZE(sample_fields) + 1];
	struct state_table t = sample_table;

	memcpy(fields, sample_fields, sizeof(sample_fields));
	fields[16] = (struct state_field)FIELD_V("later", struct sample, cached, 4);
	fields[ARRAY_SIZE(sample_fields)] = (struct state_field)FIELDS_END;
	t.fields = fields;
	t.version = 4;
	compared(&t, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sizes_described_are_the_bytes_written),
		cmocka_unit_test(the_description_has_qemus_words),
		cmocka_unit_test(a_table_reads_itself),
		cmocka_unit_test(an_older_reader_refuses_a_newer_version),
		cmocka_unit_test(an_unknown_subsection_is_named),
		cmocka_unit_test(a_row_changed_without_a_version_is_named),
		cmocka_unit_test(a_row_added_with_a_version_is_compatible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
