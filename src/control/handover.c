/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a QMP client must not notice that another process serves it. So a monitor's
 * state crosses over: what was negotiated, bytes of a command that hasn't come whole, commands that
 * wait, answers not yet taken, and the command that is being answered (the one that asked for the
 * upgrade, mostly), which the other process then completes. The connection itself is the character
 * back end's, see char_handover().
 */
#include "base/owned.h"
#include "control/command.h"

#include <errno.h>
#include <string.h>

static json_t *hex_of(const char *bytes, size_t len)
{
	OWNED(char *) hex = mem_zalloc(len * 2 + 1);

	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", (uint8_t)bytes[i]);
	return json_string(hex);
}

/* The caller frees it. */
static char *bytes_of(const json_t *hex, size_t *len)
{
	const char *text = json_string_value(hex);
	char *bytes = mem_zalloc(strlen(text ? text : "") / 2 + 1);

	*len = 0;
	for (; text && text[0] && text[1]; text += 2) {
		char digits[3] = {text[0], text[1]};

		bytes[(*len)++] = (char)strtoul(digits, NULL, 16);
	}
	return bytes;
}

/* A request as the message it came in. */
static json_t *message_of(const struct control_request *rq)
{
	json_t *message = json_pack("{s:s, s:O}", rq->oob ? "exec-oob" : "execute",
				    rq->command->name, "arguments", rq->args);

	if (rq->id)
		json_object_set(message, "id", rq->id);
	return message;
}

static json_t *monitor_describe(const struct monitor *m)
{
	json_t *waiting = json_array();
	json_t *state = json_pack("{s:s, s:b, s:b, s:b, s:b, s:o, s:o, s:o}", "chardev",
				  char_id(m->backend), "pretty", m->pretty, "connected",
				  m->connected, "negotiated", m->negotiated, "oob", m->oob, "in",
				  hex_of(m->in.text, m->in.len), "out", hex_of(m->out, m->out_len),
				  "waiting", waiting);
	const struct control_request *rq;

	list_for_each (rq, &m->queue, link)
		json_array_append_new(waiting, message_of(rq));
	if (m->running)
		json_object_set_new(state, "running", message_of(m->running));
	return state;
}

/**
 * control_handover() - Describe all monitors for another process
 * @c:		QMP; goes on as before
 * @ret:	Set on success only: an array; the caller owns it
 * @e:		Set on failure only: the blocker
 *
 * Errors: EBUSY descriptors came that no command has taken yet
 * Return: 0, or a negative errno
 */
int control_handover(struct control *c, json_t **ret, struct err *e)
{
	OWNED_JSON *all = json_array();
	const struct monitor *m;

	events_flush(c);
	list_for_each (m, &c->monitors, link) {
		if (m->fds_len)
			return err_set(e, EBUSY,
				       "monitor %s: a client sent descriptors, but not yet the "
				       "command that takes them",
				       char_id(m->backend));
		json_array_append_new(all, monitor_describe(m));
	}
	*ret = json_take(&all);
	return 0;
}

/* One that this build doesn't know is answered by that; the client stays. */
static struct control_request *request_adopt(struct monitor *m, json_t *message)
{
	struct err e;
	struct control_request *rq = request_create(m, message, &e);

	if (!rq)
		monitor_refuse(m, json_object_get(message, "id"), &e);
	return rq;
}

static void requests_adopt(struct monitor *m, const json_t *state)
{
	json_t *running = json_object_get(state, "running");
	const json_t *waiting = json_object_get(state, "waiting");
	size_t i;
	json_t *message;

	if (running)
		m->running = request_adopt(m, running);
	if (m->running)
		list_add_tail(&m->control->orphans, &m->running->link);
	json_array_foreach (waiting, i, message) {
		struct control_request *rq = request_adopt(m, message);

		if (!rq)
			continue;
		list_add_tail(&m->queue, &rq->link);
		m->queued++;
	}
}

static void ignore_value(void *opaque, const char *text, size_t len, const char *error)
{
}

static int monitor_adopt(struct control *c, const json_t *state, struct err *e)
{
	OWNED(char *) in = NULL;
	struct monitor *m;
	size_t len;
	int r = monitor_create(c, option_str(state, "chardev", ""),
			       option_bool(state, "pretty", false), true, &m, e);

	if (r < 0)
		return r;
	m->connected = option_bool(state, "connected", false);
	m->negotiated = option_bool(state, "negotiated", false);
	m->oob = option_bool(state, "oob", false);
	m->out = bytes_of(json_object_get(state, "out"), &m->out_len);
	in = bytes_of(json_object_get(state, "in"), &len);
	json_stream_feed(&m->in, (const uint8_t *)in, len, ignore_value, NULL);
	requests_adopt(m, state);
	return 0;
}

/**
 * control_adopt() - Serve the clients of another process
 * @c:		QMP without monitors; the character back ends are adopted already
 * @state:	From control_handover()
 * @e:		Set on failure only
 *
 * Nothing is sent or run before control_adopted(). A monitor that can't be served keeps no other
 * one from it.
 *
 * Errors: ENOENT a back end is missing, EBUSY something else uses it
 * Return: 0, or a negative errno of the first that failed
 */
int control_adopt(struct control *c, const json_t *state, struct err *e)
{
	size_t i;
	json_t *one;
	int ret = 0;

	json_array_foreach (state, i, one) {
		int r = monitor_adopt(c, one, ret < 0 ? NULL : e);

		ret = ret < 0 ? ret : r;
	}
	return ret;
}

/* What the other process was at and nobody goes on with. */
static void orphans_refuse(struct control *c)
{
	struct control_request *rq, *next;
	struct err e;

	err_set(&e, ECANCELED, "the process that did this was replaced meanwhile");
	list_for_each_safe (rq, next, &c->orphans, link)
		control_complete(rq, NULL, &e);
}

/**
 * control_adopted() - The guest is ours: answer what waits
 * @c:		After control_adopt(); commands that the other process had begun and that nobody has
 *		completed here are refused
 */
void control_adopted(struct control *c)
{
	struct monitor *m;

	orphans_refuse(c);
	list_for_each (m, &c->monitors, link) {
		m->held = false;
		monitor_flush(m);
		monitor_run(m);
	}
}

/**
 * control_adopted_request() - A command that the other process has begun and we shall answer
 * @c:		After control_adopt()
 * @command:	Its name
 *
 * Return: for control_complete(), or NULL if there is none
 */
struct control_request *control_adopted_request(struct control *c, const char *command)
{
	struct control_request *rq;

	list_for_each (rq, &c->orphans, link)
		if (!strcmp(rq->command->name, command))
			return rq;
	return NULL;
}
