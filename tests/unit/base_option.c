/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the words of users: option strings, their types, what was probably meant,
 * and descriptors that were handed to us.
 */
#include "base/fdstore.h"
#include "base/nearest.h"
#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const colours[] = {"red", "green", NULL};
static const struct option inner[] = {{"x", OPTION_INT, "x"}, OPTIONS_END};
static const struct option table[] = {
	{"name", OPTION_STRING, "name", .required = true},
	{"on", OPTION_BOOL, "switch"},
	{"count", OPTION_INT, "count", .min = 1, .max = 9},
	{"size", OPTION_SIZE, "size", .unit = MiB},
	{"colour", OPTION_ENUM, "colour", .names = colours},
	{"many", OPTION_STRING, "several", .list = true},
	{"in", OPTION_OBJECT, "nested", .fields = inner},
	OPTIONS_END,
};

static json_t *check(const char *text, enum option_form form, struct err *e)
{
	OWNED_JSON *in = NULL;
	OWNED_JSON *nested = NULL;
	json_t *out = NULL;
	bool json;

	assert_int_equal(keyval_or_json(text, "name", &in, &json, e), 0);
	if (!json)
		assert_int_equal(keyval_nest(in, &nested, e), 0);
	return option_check(table, json ? in : nested, form, &out, e) < 0 ? NULL : out;
}

static void values_get_the_types_of_their_rows(void **state)
{
	struct err e = {0};
	OWNED_JSON *o = check("a,,b,on=yes,count=0x7,size=1.5,colour=green,many=p,many=q,in.x=3",
			      OPTION_TEXT, &e);

	assert_non_null(o);
	assert_string_equal(option_str(o, "name", ""), "a,b");
	assert_true(option_bool(o, "on", false));
	assert_int_equal(option_int(o, "count", 0), 7);
	assert_int_equal(option_int(o, "size", 0), 3 * MiB / 2);
	assert_int_equal(json_array_size(json_object_get(o, "many")), 2);
	assert_int_equal(option_int(json_object_get(o, "in"), "x", 0), 3);
	assert_int_equal(option_int(o, "absent", -5), -5);
}

static void refuse(const char *text, enum option_form form, const char *words)
{
	struct err e = {0};
	OWNED_JSON *o = check(text, form, &e);

	assert_null(o);
	if (!strstr(e.msg, words))
		fail_msg("'%s' doesn't say '%s'", e.msg, words);
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
	refuse("on=on", OPTION_TEXT, "'name' is missing");
	refuse("a,cuont=1", OPTION_TEXT, "did you mean 'count'?");
	refuse("a,count=10", OPTION_TEXT, "10 is not in 1...9");
	refuse("a,colour=gren", OPTION_TEXT, "did you mean 'green'?");
	refuse("a,on=maybe", OPTION_TEXT, "is not on or off");
	refuse("a,name=b", OPTION_TEXT, "name is given twice");
	refuse("a,in.y=1", OPTION_TEXT, "in: 'y' is unknown");
	refuse("{\"name\":\"a\",\"count\":\"7\"}", OPTION_STRICT, "count: \"7\" is not a number");
	refuse("{\"name\":\"a\",\"size\":-1}", OPTION_STRICT, "-1 is negative");
}

static void json_on_the_command_line_may_hold_strings(void **state)
{
	struct err e = {0};
	OWNED_JSON *o = check("{\"name\":7,\"count\":\"7\",\"on\":\"off\"}", OPTION_JSON, &e);

	assert_non_null(o);
	assert_string_equal(option_str(o, "name", ""), "7");
	assert_int_equal(option_int(o, "count", 0), 7);
	assert_false(option_bool(o, "on", true));
}

static void dotted_numbers_become_arrays(void **state)
{
	OWNED_JSON *flat = NULL;
	OWNED_JSON *nested = NULL;
	struct err e = {0};
	const json_t *servers;

	assert_int_equal(keyval_parse("s.0.h=a,s.1.h=b,t.1=x", NULL, &flat, &e), 0);
	assert_int_equal(keyval_nest(flat, &nested, &e), 0);
	servers = json_object_get(nested, "s");
	assert_true(json_is_array(servers));
	assert_string_equal(option_str(json_array_get(servers, 1), "h", ""), "b");
	assert_true(json_is_object(json_object_get(nested, "t")));
}

static void sizes_have_suffixes_and_limits(void **state)
{
	uint64_t bytes = 0;

	assert_int_equal(option_parse_size("2g", 1, &bytes), 0);
	assert_int_equal(bytes, 2 * GiB);
	assert_int_equal(option_parse_size("16E", 1, &bytes), -ERANGE);
	assert_int_equal(option_parse_size("nan", 1, &bytes), -EINVAL);
	assert_int_equal(option_parse_size("-1", 1, &bytes), -EINVAL);
	assert_int_equal(option_parse_size("1KB", 1, &bytes), -EINVAL);
}

static void only_near_words_are_suggested(void **state)
{
	assert_string_equal(nearest_string("geen", colours), "green");
	assert_string_equal(nearest_string("gre", colours), "green");
	assert_null(nearest_string("banana", colours));
}

static void a_named_descriptor_is_taken_once(void **state)
{
	struct err e = {0};
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), taken = -1;

	fdstore_name("n", fd);
	assert_int_equal(fdstore_take("n", &taken, &e), 0);
	assert_int_equal(taken, fd);
	assert_int_equal(fdstore_take("n", &taken, &e), -ENOENT);
	assert_int_equal(fdstore_take("987654", &taken, &e), -EBADF);
	close(fd);
}

static void a_set_is_opened_by_access_mode(void **state)
{
	struct err e = {0};
	int64_t id = -1;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy = -1, number;

	assert_int_equal(fdstore_set_add(&id, fd, "x", &number, &e), 0);
	assert_int_equal(number, fd);
	assert_int_equal(id, 0);
	assert_int_equal(fdstore_open("/dev/fdset/0", O_RDONLY, 0, &copy, &e), 0);
	assert_int_not_equal(copy, fd);
	close(copy);
	assert_int_equal(fdstore_open("/dev/fdset/0", O_RDWR, 0, &copy, &e), -EACCES);
	assert_int_equal(fdstore_open("/dev/fdset/9", O_RDONLY, 0, &copy, &e), -ENOENT);
	assert_int_equal(fdstore_set_remove(0, -1, &e), 0);
	assert_int_equal(fdstore_set_remove(0, -1, &e), -ENOENT);
	fdstore_clear();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_get_the_types_of_their_rows),
		cmocka_unit_test(what_does_not_fit_is_refused_by_name),
		cmocka_unit_test(json_on_the_command_line_may_hold_strings),
		cmocka_unit_test(dotted_numbers_become_arrays),
		cmocka_unit_test(sizes_have_suffixes_and_limits),
		cmocka_unit_test(only_near_words_are_suggested),
		cmocka_unit_test(a_named_descriptor_is_taken_once),
		cmocka_unit_test(a_set_is_opened_by_access_mode),
	};

	return cmocka_run_group_tests_name("base options", tests, NULL, NULL);
}
