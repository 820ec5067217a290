/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the control queues (VIRTIO 1.2, 5.3.6.2): small messages about ports. The
 * driver says it is ready; we name the ports; it says each is ready; we say what it is and whether
 * the host has it open; both say when they open or close. A message for which the driver has no
 * buffer waits, up to a bound.
 */
#include "base/bytes.h"
#include "device/virtio/console.h"

#include <linux/virtio_console.h>
#include <string.h>

#define MESSAGE_BYTES 8

/**
 * console_multiport() - Did the driver negotiate several ports?
 * @c:		The controller
 *
 * Return: whether there are control messages
 */
bool console_multiport(const struct virtio_console *c)
{
	return virtio_has(&c->v, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* A name follows its message without a zero at the end being counted. */
static size_t message_build(const struct virtio_console *c, const struct console_message *m,
			    uint8_t *buf, size_t size)
{
	const struct console_port *p = c->ports[m->nr];
	size_t len = MESSAGE_BYTES, n;

	store_le32(buf, m->nr);
	store_le16(buf + 4, m->event);
	store_le16(buf + 6, m->value);
	if (m->event == VIRTIO_CONSOLE_PORT_NAME && p && p->name) {
		n = MIN(strlen(p->name) + 1, size - len);
		memcpy(buf + len, p->name, n);
		len += n;
	}
	return len;
}

static bool message_put(struct virtio_console *c, const struct console_message *m)
{
	struct virtqueue *q = &c->v.queues[CONSOLE_CTRL_IN].vq;
	struct virtq_chain *chain;
	uint8_t buf[256];
	size_t len;

	if (!virtio_servable(&c->v, q))
		return false;
	chain = virtqueue_pop_or_ask(q, sizeof(*chain));
	if (!chain)
		return false;
	len = message_build(c, m, buf, sizeof(buf));
	virtqueue_push(q, chain, (uint32_t)virtq_write(chain, 0, buf, len));
	return true;
}

/**
 * console_ctrl_flush() - Send what waits, as far as the driver has buffers
 * @c:		The controller
 */
void console_ctrl_flush(struct virtio_console *c)
{
	unsigned int n = 0;

	while (n < c->pending_len && message_put(c, &c->pending[n]))
		n++;
	memmove(c->pending, c->pending + n, (c->pending_len - n) * sizeof(c->pending[0]));
	c->pending_len -= n;
	if (n)
		virtio_notify(&c->v, &c->v.queues[CONSOLE_CTRL_IN].vq);
}

/**
 * console_send() - Tell the driver something about a port
 * @c:		The controller; nothing happens if the driver knows no control messages
 * @nr:		Port
 * @event:	VIRTIO_CONSOLE_*
 * @value:	As the event says
 */
void console_send(struct virtio_console *c, uint32_t nr, uint16_t event, uint16_t value)
{
	if (!console_multiport(c) || c->pending_len == CONSOLE_PENDING)
		return;
	c->pending[c->pending_len++] = (struct console_message){nr, event, value};
	console_ctrl_flush(c);
}

static void port_ready(struct virtio_console *c, const struct console_port *p)
{
	if (p->is_console)
		console_send(c, p->nr, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	if (p->name)
		console_send(c, p->nr, VIRTIO_CONSOLE_PORT_NAME, 1);
	if (p->host_open)
		console_send(c, p->nr, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void port_opened(struct console_port *p, bool open)
{
	console_port_set_open(p, open);
	if (open && p->attached)
		char_accept_input(p->chr);
}

static void message_handle(struct virtio_console *c, uint32_t nr, uint16_t event, uint16_t value)
{
	struct console_port *p;

	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned int i = 0; value && i < c->ports_len; i++)
			console_send(c, c->order[i], VIRTIO_CONSOLE_PORT_ADD, 1);
		return;
	}
	p = nr < CONSOLE_PORTS_MAX ? c->ports[nr] : NULL;
	if (p && event == VIRTIO_CONSOLE_PORT_READY && value)
		port_ready(c, p);
	else if (p && event == VIRTIO_CONSOLE_PORT_OPEN)
		port_opened(p, value);
}

static enum virtio_served message_one(struct virtio *v, struct virtqueue *q)
{
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));
	uint8_t m[MESSAGE_BYTES];

	if (!c)
		return VIRTIO_EMPTY;
	if (virtq_read(c, 0, m, sizeof(m)) == sizeof(m))
		message_handle(console_of(v), load_le32(m), load_le16(m + 4), load_le16(m + 6));
	virtqueue_push(q, c, 0);
	return VIRTIO_SERVED;
}

/**
 * console_ctrl_kick() - The driver sent control messages
 * @c:		The controller
 */
void console_ctrl_kick(struct virtio_console *c)
{
	virtio_serve(&c->v, &c->v.queues[CONSOLE_CTRL_OUT].vq, message_one);
}
