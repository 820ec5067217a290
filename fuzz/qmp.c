/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes from a QMP client: cut into values, checked by the schema, and, if they only ask,
 * answered. Commands that change something are checked but not run: a fuzzer that opens files is a
 * danger to its owner.
 */
#include "control/command.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct monitor *monitor_make(void)
{
	struct control_config config = {.name = "fuzz", .uuid = (const uint8_t *)"0123456789abcde"};
	struct char_backend *c;
	struct control *control;
	struct loop *loop;
	struct err e;
	json_t *o = json_pack("{s:s, s:s}", "backend", "null", "id", "fuzz");

	config.options = json_array();
	if (loop_create(&loop, &e) < 0 || char_create(loop, o, &c, &e) < 0 ||
	    control_create(&control, loop, &config, &e) < 0 ||
	    control_monitor_add(control, "fuzz", false, &e) < 0)
		abort();
	json_decref(o);
	return list_entry(control->monitors.next, struct monitor, link);
}

static bool only_asks(const char *name)
{
	return !strncmp(name, "query-", 6) || !strncmp(name, "qom-list", 8) ||
	       !strncmp(name, "job-", 4) || !strncmp(name, "device-list", 11) ||
	       !strncmp(name, "migrate-set", 11);
}

static void on_value(void *opaque, const char *text, size_t len, const char *error)
{
	struct monitor *m = opaque;
	json_t *message = text ? json_loadb(text, len, 0, NULL) : NULL;
	struct control_request *rq;
	struct err e = {0};

	if (!message)
		return;
	rq = request_create(m, message, &e);
	if (!rq && !e.msg[0])
		abort();
	if (rq && only_asks(rq->command->name))
		request_run(rq);
	else if (rq)
		request_free(rq);
	json_decref(message);
}

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	The first byte says what was negotiated
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct monitor *m;

	if (!m)
		m = monitor_make();
	if (!size)
		return 0;
	m->negotiated = data[0] & 1;
	m->oob = data[0] & 2;
	json_stream_reset(&m->in);
	json_stream_feed(&m->in, data + 1, size - 1, on_value, m);
	return 0;
}
