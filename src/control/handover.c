/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: monitors that go to another process with their clients. What a client can notice is carried: that it has
 * negotiated, what it has sent of its next command, what it hasn't read yet, and the commands that wait behind the one
 * that does the hand-over. That one is answered over there, by control_adopt_answer().
 */
#include "base/owned.h"
#include "control/command.h"

#include <errno.h>
#include <string.h>

static json_t *request_describe(const struct control_request *rq)
{
	json_t *r = json_pack("{s:s, s:O}", "execute", rq->command->name, "arguments", rq->args);

	if (rq->id)
		json_object_set(r, "id", rq->id);
	return r;
}

static json_t *monitor_describe(const struct monitor *m)
{
	json_t *queue = json_array();
	const struct control_request *rq;

	list_for_each (rq, (struct list *)(uintptr_t)&m->queue, link)
		json_array_append_new(queue, request_describe(rq));
	return json_pack("{s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o?}", "chardev",
			 char_id(m->backend), "pretty", m->pretty, "negotiated", m->negotiated,
			 "oob", m->oob, "in", json_stringn(m->in.text ? m->in.text : "", m->in.len),
			 "out", json_stringn(m->out ? m->out : "", m->out_len), "queue", queue,
			 "running", m->running ? request_describe(m->running) : NULL);
}

/**
 * control_handover() - Describe all monitors for another process
 * @c:		QMP; goes on as before
 *
 * Return: new reference
 */
json_t *control_handover(struct control *c)
{
	json_t *all = json_array();
	struct monitor *m;

	list_for_each (m, &c->monitors, link)
		json_array_append_new(all, monitor_describe(m));
	return all;
}

static struct monitor *last_monitor(struct control *c)
{
	return list_entry(c->monitors.prev, struct monitor, link);
}

static void put_out(struct monitor *m, const json_t *out)
{
	size_t len = json_string_length(out);

	if (!len)
		return;
	m->out = mem_zalloc(len);
	memcpy(m->out, json_string_value(out), len);
	m->out_len = len;
	monitor_flush(m);
}

static void put_requests(struct monitor *m, const json_t *queue, const json_t *running)
{
	struct err e;
	size_t i;
	json_t *message;

	if (running && !json_is_null(running))
		m->running = request_create(m, (json_t *)(uintptr_t)running, &e);
	json_array_foreach((json_t *)(uintptr_t)queue, i, message)
	{
		struct control_request *rq = request_create(m, message, &e);

		if (!rq)
			continue;
		list_add_tail(&m->queue, &rq->link);
		m->queued++;
	}
}

/**
 * control_adopt() - Make the monitors that another process described, with their clients
 * @c:		QMP without monitors; their character back ends are there
 * @state:	From control_handover()
 * @e:		Set on failure only
 *
 * Errors: ENOENT a character back end is missing
 * Return: 0, or a negative errno
 */
int control_adopt(struct control *c, const json_t *state, struct err *e)
{
	size_t i;
	json_t *one;

	json_array_foreach((json_t *)(uintptr_t)state, i, one)
	{
		struct monitor *m;
		int r;

		c->adopting = true;
		r = control_monitor_add(c, option_str(one, "chardev", ""),
					option_bool(one, "pretty", false), e);
		c->adopting = false;
		if (r < 0)
			return r;
		m = last_monitor(c);
		m->connected = char_connected(m->backend);
		m->negotiated = option_bool(one, "negotiated", false);
		m->oob = option_bool(one, "oob", false);
		put_out(m, json_object_get(one, "out"));
		put_requests(m, json_object_get(one, "queue"), json_object_get(one, "running"));
		monitor_feed(m, option_str(one, "in", ""));
	}
	return 0;
}

/**
 * control_adopt_answer() - Answer the commands that did the hand-over
 * @c:		QMP with adopted monitors
 * @name:	Of the command
 * @ret:	The answer; borrowed
 */
void control_adopt_answer(struct control *c, const char *name, json_t *ret)
{
	struct monitor *m;

	list_for_each (m, &c->monitors, link)
		if (m->running && !strcmp(m->running->command->name, name))
			monitor_answer(m->running, json_incref(ret), NULL);
}
