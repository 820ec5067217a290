/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: tests/wire/schema/pc-q35-7.2.json says what each section of the machine may
 * hold, as the last agreed version had it. A table that differs must still read what the agreed one
 * writes, and be read by it: that takes a new version or a subsection. The file itself is then
 * brought up to date by OUTLIVE_UPDATE_SCHEMA=1, which makes the change visible in review.
 */
#include "device/device.h"
#include "machine/q35/q35_chipset.h"

#include "section.h"

static const char golden[] = "../schema/pc-q35-7.2.json";

/* What the program at hand knows: section name to schema. */
static json_t *schema_now(void)
{
	const struct device_class *const *c;
	json_t *all = json_object();

	for (c = device_classes(); *c; c++)
		if ((*c)->state)
			json_object_set_new(all, (*c)->section, state_schema((*c)->state));
	return all;
}

static json_t *schema_agreed(void)
{
	FILE *f = section_open(golden, "re");
	json_error_t error;
	json_t *all;

	if (!f)
		return json_object();
	all = json_loadf(f, 0, &error);
	fclose(f);
	if (!all)
		fail_msg("%s:%d: %s", golden, error.line, error.text);
	return all;
}

static void update(void)
{
	json_t *all = schema_now();
	FILE *f = section_open(golden, "we");

	assert_non_null(f);
	assert_int_equal(json_dumpf(all, f, JSON_INDENT(1) | JSON_SORT_KEYS), 0);
	fputc('\n', f);
	assert_int_equal(fclose(f), 0);
	json_decref(all);
}

static void complain(void *opaque, const char *sentence)
{
	print_error("%s: %s\n", (const char *)opaque, sentence);
}

static void tables_changed_only_with_a_version(void **unused)
{
	static char from[] = "from the agreed version", to[] = "to the agreed version";
	json_t *now = schema_now(), *agreed = schema_agreed(), *old, *new;
	unsigned int wrong = 0;
	const char *section;

	json_object_foreach (agreed, section, old) {
		new = json_object_get(now, section);
		if (!new) {
			print_error("section %s is gone\n", section);
			wrong++;
			continue;
		}
		wrong += state_schema_compare(old, new, complain, from);
		if (json_equal(json_object_get(old, "version"), json_object_get(new, "version")))
			wrong += state_schema_compare(new, old, complain, to);
	}
	assert_int_equal(wrong, 0);
	json_decref(now);
	json_decref(agreed);
}

static void the_agreed_schema_is_up_to_date(void **unused)
{
	json_t *now = schema_now(), *agreed = schema_agreed(), *new;
	const char *section;

	json_object_foreach (now, section, new)
		if (!json_equal(new, json_object_get(agreed, section)))
			fail_msg("section %s isn't what tests/wire/schema/ says; if that is meant: "
				 "OUTLIVE_UPDATE_SCHEMA=1 build/tests/wire_schema",
				 section);
	json_decref(now);
	json_decref(agreed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_changed_only_with_a_version),
		cmocka_unit_test(the_agreed_schema_is_up_to_date),
	};

	device_classes_add(q35_classes);
	if (getenv("OUTLIVE_UPDATE_SCHEMA"))
		update();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
