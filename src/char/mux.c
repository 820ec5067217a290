/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: several front ends on one back end (mux=on). The mux is the front end of
 * the real back end, which is renamed ID-base; each user of the mux gets a port, a small back end
 * of its own, from char_find(ID). Output of all ports goes out as it comes. Input goes to the port
 * in focus; C-a is the escape: C-a c moves the focus to the next port, C-a x ends the VMM, C-a b
 * sends a break, C-a C-a sends C-a, C-a h lists these.
 */
#include "base/log.h"
#include "base/owned.h"
#include "char/backend.h"

#include <errno.h>
#include <string.h>

#define PORTS_MAX 4
#define ESCAPE    0x01 /* C-a */

struct port {
	struct char_backend c;
	struct mux *mux;
};

struct mux {
	struct char_backend c;
	struct char_backend *base;
	struct port *ports[PORTS_MAX];
	size_t ports_len, focus;
	bool escaped;
	char *wanted; /* in the process before this the focus was on this user's port; else NULL */
	size_t wanted_nth; /* of its ports with such a user */
};

static struct {
	void (*fn)(void *opaque);
	void *opaque;
} quit;

/**
 * char_on_quit() - What C-a x does
 * @fn:		Called on the main loop
 * @opaque:	Its argument
 */
void char_on_quit(void (*fn)(void *opaque), void *opaque)
{
	quit.fn = fn;
	quit.opaque = opaque;
}

static bool used_by(const struct port *p, const char *user)
{
	return p->c.user && !strcmp(p->c.user, user);
}

/* Users attach one after the other, not all in the order of before. */
static void focus_restore(struct mux *m)
{
	size_t nth = 0;

	for (size_t i = 0; i < m->ports_len; i++) {
		if (!used_by(m->ports[i], m->wanted) || nth++ != m->wanted_nth)
			continue;
		m->focus = i;
		mem_free(&m->wanted);
		return;
	}
}

static struct char_backend *focused(struct mux *m)
{
	if (m->wanted)
		focus_restore(m);
	return m->ports_len ? &m->ports[m->focus]->c : NULL;
}

static size_t mux_can_receive(void *opaque)
{
	struct char_backend *c = focused(opaque);

	return c ? back_can_receive(c) : 1;
}

static void print(struct mux *m, const char *text)
{
	char_write(m->base, (const uint8_t *)text, strlen(text));
}

static void focus_next(struct mux *m)
{
	struct char_backend *next = focused(m);

	m->focus = m->ports_len ? (m->focus + 1) % m->ports_len : 0;
	next = focused(m);
	if (!next || m->ports_len == 1)
		return;
	print(m, "\r\n[");
	print(m, next->user ? next->user : "no front end");
	print(m, "]\r\n");
}

/* The key after C-a; true if it is one to pass on. */
static bool command(struct mux *m, uint8_t key)
{
	switch (key) {
	case ESCAPE: return true;
	case 'c': focus_next(m); return false;
	case 'b':
		if (focused(m))
			back_break(focused(m));
		return false;
	case 'x':
		print(m, "\r\nterminated by C-a x\r\n");
		if (quit.fn)
			quit.fn(quit.opaque);
		return false;
	default:
		print(m, "\r\nC-a c: next front end   C-a x: end the VMM   C-a b: send break   "
			 "C-a C-a: send C-a\r\n");
		return false;
	}
}

static void mux_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct mux *m = opaque;

	for (size_t i = 0; i < len; i++) {
		bool pass = m->escaped ? command(m, buf[i]) : buf[i] != ESCAPE;

		m->escaped = !m->escaped && buf[i] == ESCAPE;
		if (pass && focused(m))
			back_receive(focused(m), buf + i, 1);
	}
}

static void mux_event(void *opaque, enum char_event event)
{
	struct mux *m = opaque;

	for (size_t i = 0; i < m->ports_len; i++) {
		if (event == CHAR_BREAK)
			continue;
		back_connected(&m->ports[i]->c, event == CHAR_OPENED);
	}
	if (event == CHAR_BREAK && focused(m))
		back_break(focused(m));
}

static void mux_writable(void *opaque)
{
	struct mux *m = opaque;

	for (size_t i = 0; i < m->ports_len; i++)
		back_wake(&m->ports[i]->c);
}

static int mux_open(struct char_backend *c, const json_t *options, struct err *e)
{
	struct mux *m = (struct mux *)c;
	OWNED(char *) name = str_printf("%s-base", c->id);
	struct char_front front = {.can_receive = mux_can_receive,
				   .receive = mux_receive,
				   .event = mux_event,
				   .writable = mux_writable,
				   .opaque = m};

	m->base = char_find(name);
	if (!m->base)
		return err_set(e, ENOENT, "chardev %s does not exist", name);
	back_set_filename(c, "mux");
	c->connected = true;
	return char_attach(m->base, "mux", &front, e);
}

static void mux_close(struct char_backend *c)
{
	struct mux *m = (struct mux *)c;

	for (size_t i = 0; i < m->ports_len; i++)
		back_free(&m->ports[i]->c);
	if (m->base)
		char_detach(m->base);
	free(m->wanted);
}

static int mux_adopt(struct char_backend *c, const json_t *state, const int *fds, size_t fds_len,
		     struct err *e)
{
	return mux_open(c, NULL, e);
}

static json_t *mux_late(const struct char_backend *c)
{
	const struct mux *m = (const struct mux *)c;
	const char *user = m->ports_len ? m->ports[m->focus]->c.user : NULL;
	json_int_t nth = 0;

	for (size_t i = 0; user && i < m->focus; i++)
		nth += used_by(m->ports[i], user);
	return json_pack("{s:s*, s:I, s:b}", "focus", user, "nth", nth, "escaped", m->escaped);
}

static void mux_adopt_late(struct char_backend *c, const json_t *late)
{
	struct mux *m = (struct mux *)c;

	m->wanted = str_dup(option_str(late, "focus", NULL));
	m->wanted_nth = (size_t)option_int(late, "nth", 0);
	m->escaped = option_bool(late, "escaped", false);
}

/**
 * mux_port() - A port that nobody is attached to
 * @c:		A mux
 *
 * Return: borrowed from the mux, or NULL if it has no more
 */
struct char_backend *mux_port(struct char_backend *c)
{
	struct mux *m = (struct mux *)c;
	struct port *p;
	struct err e;

	for (size_t i = 0; i < m->ports_len; i++)
		if (!m->ports[i]->c.user)
			return &m->ports[i]->c;
	if (m->ports_len == PORTS_MAX)
		return NULL;
	p = (struct port *)back_alloc(&char_mux_port, c->id, c->loop);
	p->mux = m;
	p->c.opened = true;
	p->c.connected = char_connected(m->base);
	back_set_filename(&p->c, "mux");
	if (back_start(&p->c, &e) < 0) {
		log_warn("%s", e.msg);
		back_free(&p->c);
		return NULL;
	}
	m->ports[m->ports_len++] = p;
	return &p->c;
}

static ssize_t port_write(struct char_backend *c, const uint8_t *buf, size_t len)
{
	size_t n = char_write(((struct port *)c)->mux->base, buf, len);

	return n ? (ssize_t)n : -EAGAIN;
}

static void port_resume(struct char_backend *c)
{
	char_accept_input(((struct port *)c)->mux->base);
}

static void port_wait_writable(struct char_backend *c, bool on)
{
	/* mux_writable() wakes every port */
}

const struct char_kind char_mux = {
	.name = "mux",
	.help = "several front ends on one back end (made by mux=on)",
	.size = sizeof(struct mux),
	.open = mux_open,
	.adopt = mux_adopt,
	.close = mux_close,
	.late = mux_late,
	.adopt_late = mux_adopt_late,
};

const struct char_kind char_mux_port = {
	.name = "mux-port",
	.help = "one user of a mux",
	.size = sizeof(struct port),
	.write = port_write,
	.wait_writable = port_wait_writable,
	.resume = port_resume,
};
