/* SPDX-License-Identifier: Apache-2.0 */
/* Where a migration goes, in parts: what URI they make, and that a refusal leaves nothing
 * behind. */
#include "base/owned.h"
#include "control/command.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *addr, *uri; /* NULL: refused */
} addresses[] = {
	{"{'transport': 'socket', 'type': 'inet', 'host': 'h', 'port': '1'}", "tcp:h:1"},
	{"{'transport': 'socket', 'type': 'inet', 'host': '::1', 'port': '1'}", "tcp:[::1]:1"},
	{"{'transport': 'socket', 'type': 'inet', 'host': 'h'}", NULL},
	{"{'transport': 'socket', 'type': 'unix', 'path': '/x'}", "unix:/x"},
	{"{'transport': 'socket'}", NULL},
	{"{'transport': 'file', 'filename': '/x', 'offset': 4096}", "file:/x,offset=4096"},
	{"{'transport': 'exec', 'args': ['cat', 'a b']}", "exec:exec 'cat' 'a b'"},
	{"{'transport': 'exec', 'args': []}", NULL},
};

static json_t *with_address(const char *text)
{
	OWNED(char *) copy = str_dup(text);

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	return json_pack("{s:[{s:s, s:o}], s:b}", "channels", "channel-type", "main", "addr",
			 json_loads(copy, 0, NULL), "detach", 1);
}

static void each_address_is_a_uri_or_refused(void **unused)
{
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		OWNED_JSON *args = with_address(addresses[i].addr);
		json_t *ret = NULL;
		struct err e = {0};
		int r = migrate_uri(args, &ret, &e);

		print_message("%s\n", addresses[i].addr);
		assert_int_equal(r, addresses[i].uri ? 0 : -EINVAL);
		if (!addresses[i].uri) {
			assert_null(ret);
			continue;
		}
		assert_string_equal(json_string_value(json_object_get(ret, "uri")),
				    addresses[i].uri);
		assert_null(json_object_get(ret, "channels"));
		assert_true(json_is_true(json_object_get(ret, "detach")));
		json_decref(ret);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_address_is_a_uri_or_refused),
	};

	return cmocka_run_group_tests_name("where a migration goes", tests, NULL, NULL);
}
