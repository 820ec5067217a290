/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a monitor greets whoever connects, takes qmp_capabilities and then commands,
 *one after the other; a command that answers later holds back those behind it, but not exec-oob
 *ones. Lines end in CR LF, which libvirt insists on. Output that the client doesn't read is kept
 *here; while much is waiting nothing is read from it, and events are dropped when it is very much.
 *
 *	CONNECTED (greeting sent; only qmp_capabilities) -> NEGOTIATED (commands, events) -> gone:
 *all forgotten
 */
#include "base/log.h"
#include "base/owned.h"
#include "control/command.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_MAX      8
#define OUT_SLOW       (1 * MiB)  /* then nothing is read */
#define OUT_EVENTS_MAX (16 * MiB) /* then events are dropped */

/**
 * monitor_flush() - Move output to the back end
 * @m:		The monitor
 */
void monitor_flush(struct monitor *m)
{
	size_t n;

	if (!m->out_len || m->held)
		return;
	n = char_write(m->backend, (const uint8_t *)m->out, m->out_len);
	m->out_len -= n;
	memmove(m->out, m->out + n, m->out_len);
	if (m->out_len)
		return;
	free(m->out);
	m->out = NULL;
}

/**
 * monitor_send() - Send a message
 * @m:		The monitor
 * @message:	Borrowed
 */
void monitor_send(struct monitor *m, const json_t *message)
{
	char *text = json_dumps(message, m->pretty ? JSON_INDENT(4) : 0);
	size_t len = text ? strlen(text) : 0;
	char *out;

	if (!text || !m->connected) {
		free(text);
		return;
	}
	out = realloc(m->out, m->out_len + len + 2);
	if (!out)
		abort();
	m->out = out;
	memcpy(out + m->out_len, text, len);
	memcpy(out + m->out_len + len, "\r\n", 2);
	m->out_len += len + 2;
	free(text);
	monitor_flush(m);
}

/**
 * monitor_event() - Tell a client that is ready for it
 * @m:		The monitor
 * @event:	Borrowed
 */
void monitor_event(struct monitor *m, const json_t *event)
{
	if (m->negotiated && m->out_len < OUT_EVENTS_MAX)
		monitor_send(m, event);
}

static void greet(struct monitor *m)
{
	OWNED_JSON *hello = json_pack("{s:{s:{s:{s:i, s:i, s:i}, s:s}, s:[s]}}", "QMP", "version",
				      "qemu", "micro", 0, "minor", 2, "major", 8, "package",
				      "outlive-" OUTLIVE_VERSION, "capabilities", "oob");

	monitor_send(m, hello);
}

static void fds_close(struct monitor *m)
{
	while (m->fds_len)
		close(m->fds[--m->fds_len]);
}

/* The client went: its requests answer nobody. */
static void forget_client(struct monitor *m)
{
	struct control_request *rq, *tmp;

	m->connected = m->negotiated = m->oob = false;
	list_for_each_safe (rq, tmp, &m->queue, link)
		request_free(rq);
	m->queued = 0;
	if (m->running) {
		m->running->monitor = NULL;
		m->running = NULL;
	}
	fds_close(m);
	json_stream_reset(&m->in);
	free(m->out);
	m->out = NULL;
	m->out_len = 0;
}

static void on_event(void *opaque, enum char_event event)
{
	struct monitor *m = opaque;

	if (event == CHAR_CLOSED)
		forget_client(m);
	if (event != CHAR_OPENED || m->held)
		return;
	forget_client(m);
	m->connected = true;
	greet(m);
}

static size_t can_receive(void *opaque)
{
	struct monitor *m = opaque;

	if (m->held || m->queued >= QUEUE_MAX || m->out_len > OUT_SLOW)
		return 0;
	return 4096;
}

/**
 * monitor_refuse() - Answer by an error
 * @m:		The monitor
 * @id:		Of the command, borrowed; NULL: none
 * @e:		Why
 */
void monitor_refuse(struct monitor *m, json_t *id, const struct err *e)
{
	OWNED_JSON *answer = json_pack("{s:{s:s, s:s}}", "error", "class", error_class(e), "desc",
				       e->msg);

	if (!answer)
		answer = json_pack("{s:{s:s, s:s}}", "error", "class", "GenericError", "desc",
				   "the message isn't valid UTF-8");
	if (id)
		json_object_set(answer, "id", id);
	monitor_send(m, answer);
}

/**
 * monitor_run() - Run the commands that wait, as far as none is under way
 * @m:		The monitor
 */
void monitor_run(struct monitor *m)
{
	while (!m->held && !m->running && !list_empty(&m->queue)) {
		struct control_request *rq = list_entry(m->queue.next, struct control_request,
							link);

		list_del(&rq->link);
		m->queued--;
		request_run(rq);
	}
	if (can_receive(m))
		char_accept_input(m->backend);
}

static void on_value(void *opaque, const char *text, size_t len, const char *error)
{
	struct monitor *m = opaque;
	struct control_request *rq;
	json_error_t bad;
	OWNED_JSON *message = NULL;
	struct err e;

	if (text)
		message = json_loadb(text, len, 0, &bad);
	if (!message) {
		err_set(&e, EINVAL, "JSON parse error, %s", error ? error : bad.text);
		monitor_refuse(m, NULL, &e);
		return;
	}
	rq = request_create(m, message, &e);
	if (!rq) {
		monitor_refuse(m, json_object_get(message, "id"), &e);
		return;
	}
	if (rq->oob) {
		request_run(rq);
		return;
	}
	list_add_tail(&m->queue, &rq->link);
	m->queued++;
	monitor_run(m);
}

static void on_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct monitor *m = opaque;

	json_stream_feed(&m->in, buf, len, on_value, m);
}

static void on_fds(void *opaque, const int *fds, size_t len)
{
	struct monitor *m = opaque;

	for (size_t i = 0; i < len; i++) {
		if (m->fds_len < ARRAY_SIZE(m->fds))
			m->fds[m->fds_len++] = fds[i];
		else
			close(fds[i]);
	}
}

static void on_room(void *opaque)
{
	struct monitor *m = opaque;

	monitor_flush(m);
	if (can_receive(m))
		char_accept_input(m->backend);
}

/**
 * monitor_answer() - Answer a request and go on with the next
 * @rq:		Gone afterwards
 * @ret:	Taken; NULL: {}
 * @e:		If it failed, else NULL
 */
void monitor_answer(struct control_request *rq, json_t *ret, const struct err *e)
{
	struct monitor *m = rq->monitor;
	OWNED_JSON *answer = NULL;
	bool was_running = m && m->running == rq;

	if (was_running)
		m->running = NULL;
	if (m && e) {
		monitor_refuse(m, rq->id, e);
	} else if (m) {
		answer = json_pack("{s:O}", "return", ret ? ret : json_object());
		if (!ret)
			json_decref(json_object_get(answer, "return"));
		if (rq->id)
			json_object_set(answer, "id", rq->id);
		monitor_send(m, answer);
	}
	json_decref(ret);
	request_free(rq);
	if (was_running)
		monitor_run(m);
}

/**
 * monitor_create() - Serve QMP on a character back end
 * @c:		QMP
 * @chardev:	Id of the back end
 * @pretty:	Indented output
 * @held:	Greet nobody yet: a client of another process is being taken over
 * @ret:	Set on success only; owned by @c
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such back end, EBUSY something else uses it
 * Return: 0, or a negative errno
 */
int monitor_create(struct control *c, const char *chardev, bool pretty, bool held,
		   struct monitor **ret, struct err *e)
{
	struct char_backend *backend = char_find(chardev);
	struct char_front front = {can_receive, on_receive, on_event, on_room, on_fds, NULL};
	struct monitor *m;
	int r;

	if (!backend)
		return err_set(e, ENOENT, "chardev \"%s\" not found", chardev);
	m = mem_zalloc(sizeof(*m));
	m->control = c;
	m->backend = backend;
	m->pretty = pretty;
	m->held = held;
	list_init(&m->queue);
	list_add_tail(&c->monitors, &m->link);
	front.opaque = m;
	r = char_attach(backend, "monitor", &front, e);
	if (r < 0) {
		list_del(&m->link);
		free(m);
		return r;
	}
	*ret = m;
	return 0;
}

/**
 * control_monitor_add() - Serve QMP on a character back end
 * @c:		QMP
 * @chardev:	Id of the back end
 * @pretty:	Indented output
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such back end, EBUSY something else uses it
 * Return: 0, or a negative errno
 */
int control_monitor_add(struct control *c, const char *chardev, bool pretty, struct err *e)
{
	struct monitor *m;

	return monitor_create(c, chardev, pretty, false, &m, e);
}

/**
 * monitor_destroy() - Stop serving
 * @m:		Gone afterwards; the back end stays
 */
void monitor_destroy(struct monitor *m)
{
	char_detach(m->backend);
	forget_client(m);
	list_del(&m->link);
	free(m->name);
	free(m);
}
