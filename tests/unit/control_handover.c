/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a QMP client that is connected while the serving process is replaced: here
 * the old and the new one are two sets of objects in this process. The client must get each answer
 * once, and no second greeting.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "char/char.h"
#include "control/control.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define WAIT_MS 60000

static struct loop *loop;
static struct control *control;
static struct control_request *late;
static char dir[] = "/tmp/qmp-XXXXXX";
static char got[65536];
static size_t got_len;
static int client;

/* "stop" is answered later, by whoever serves then. */
static int answer_later(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	late = rq;
	return CONTROL_LATER;
}

static const struct control_ops ops = {.stop = answer_later};

static void turn(void)
{
	ssize_t n;

	sd_event_run(loop_event(loop), 10000);
	n = recv(client, got + got_len, sizeof(got) - 1 - got_len, MSG_DONTWAIT);
	got_len += n > 0 ? (size_t)n : 0;
	got[got_len] = '\0';
}

static void until_got(const char *text)
{
	int64_t limit = time_ns() + WAIT_MS * NS_PER_MS;

	while (!strstr(got, text)) {
		turn();
		if (time_ns() > limit)
			fail_msg("no '%s' in '%s'", text, got);
	}
}

static void say(const char *text)
{
	assert_int_equal(send(client, text, strlen(text), 0), strlen(text));
}

static void serve(void)
{
	struct control_config config = {.uuid = (const uint8_t *)"0123456789abcde"};
	struct err e;

	config.options = json_array();
	assert_int_equal(control_create(&control, loop, &config, &e), 0);
	control_set_ops(control, &ops);
}

static int setup(void **state)
{
	OWNED_JSON *o = NULL;
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "q"};
	struct char_backend *c;
	struct err e;

	strcpy(dir, "/tmp/qmp-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(loop_create(&loop, &e), 0);
	serve();
	assert_int_equal(keyval_parse("socket,id=m,path=q,server=on,wait=off", "backend", &o, &e),
			 0);
	assert_int_equal(char_create(loop, o, &c, &e), 0);
	assert_int_equal(control_monitor_add(control, "m", false, &e), 0);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&un, sizeof(un)), 0);
	got_len = 0;
	got[0] = '\0';
	say("{\"execute\":\"qmp_capabilities\",\"id\":0}");
	until_got("\"id\": 0}");
	return 0;
}

static int teardown(void **state)
{
	control_destroy(control);
	char_remove_all();
	loop_destroy(loop);
	close(client);
	return chdir("/") || rmdir(dir);
}

/* What the two processes do, one after the other. */
static void replace(void)
{
	OWNED_JSON *monitors = NULL;
	struct char_backend *c = NULL;
	struct char_handover h;
	struct err e = {0};
	int fds[4];

	assert_int_equal(control_handover(control, &monitors, &e), 0);
	control_destroy(control);
	c = char_find("m");
	assert_int_equal(char_handover(c, &h, &e), 0);
	for (size_t i = 0; i < h.fds_len; i++)
		fds[i] = dup(h.fds[i]);
	char_release(c);
	serve();
	assert_int_equal(char_adopt(loop, h.state, fds, h.fds_len, -1, &c, &e), 0);
	json_decref(h.state);
	if (control_adopt(control, monitors, &e) < 0)
		fail_msg("%s", e.msg);
}

static void a_client_goes_on_without_a_second_greeting(void **state)
{
	replace();
	control_adopted(control);
	say("{\"execute\":\"query-target\",\"id\":1}");
	until_got("\"id\": 1}");
	assert_ptr_equal(strstr(got, "\"QMP\""), got + 1);
	assert_null(strstr(got + 2, "\"QMP\""));
}

static void half_a_command_is_completed_by_the_other_half(void **state)
{
	say("{\"execute\":\"query-");
	for (int i = 0; i < 3; i++)
		turn();
	replace();
	control_adopted(control);
	say("target\",\"id\":\"whole\"}");
	until_got("\"arch\": \"x86_64\"}, \"id\": \"whole\"}");
}

/* A command is under way, another one waits behind it, and the process is replaced. */
static void replace_while_busy(void)
{
	late = NULL;
	say("{\"execute\":\"stop\",\"id\":7} {\"execute\":\"query-target\",\"id\":8}");
	while (!late)
		turn();
	turn();
	replace();
}

static void the_command_under_way_is_answered_and_what_waits_behind_it(void **state)
{
	struct control_request *rq;

	replace_while_busy();
	assert_null(control_adopted_request(control, "cont"));
	rq = control_adopted_request(control, "stop");
	assert_non_null(rq);
	for (int i = 0; i < 3; i++)
		turn();
	assert_null(strstr(got, "\"id\": 8}"));
	control_complete(rq, NULL, NULL);
	control_adopted(control);
	until_got("{\"return\": {}, \"id\": 7}\r\n{\"return\": {\"arch\": \"x86_64\"}, \"id\": 8}");
}

static void a_command_that_nobody_goes_on_with_is_refused(void **state)
{
	replace_while_busy();
	control_adopted(control);
	assert_null(control_adopted_request(control, "stop"));
	until_got("replaced meanwhile\"}, \"id\": 7}");
	until_got("\"id\": 8}");
}

static void nothing_is_read_or_sent_before_ownership(void **state)
{
	replace();
	say("{\"execute\":\"query-target\",\"id\":1}");
	control_event(control, "STOP", NULL);
	for (int i = 0; i < 5; i++)
		turn();
	assert_null(strstr(got, "STOP"));
	assert_null(strstr(got, "\"id\": 1}"));
	control_adopted(control);
	until_got("STOP");
	until_got("\"id\": 1}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_client_goes_on_without_a_second_greeting, setup,
						teardown),
		cmocka_unit_test_setup_teardown(half_a_command_is_completed_by_the_other_half,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_command_under_way_is_answered_and_what_waits_behind_it, setup,
			teardown),
		cmocka_unit_test_setup_teardown(a_command_that_nobody_goes_on_with_is_refused,
						setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_read_or_sent_before_ownership, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("QMP hand-over", tests, NULL, NULL);
}
