/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtserialport and virtconsole: devices on a controller's bus with a
 * character back end. Everything runs on the main loop: the back end's calls take the controller's
 * lock, kicks have it.
 *
 * Output that the back end doesn't take whole stays in its chain, with the place where to go on;
 * the state carries it. Input goes straight into the driver's first buffer; the back end is never
 * asked for more than that holds.
 */
#include "device/virtio/console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <string.h>

#define TURN_BYTES MiB /* of output, before other parts of the loop have their turn */

/* Gives the chain's bytes from chain_at on. SERVED: all; STALLED: the back end is full; LONG: it
 * took a turn's worth, and more is left. */
static enum virtio_served chain_write(struct console_port *p)
{
	const struct virtq_chain *c = p->chain;
	uint64_t skip = p->chain_at, end = p->chain_at + TURN_BYTES;

	for (unsigned int i = 0; p->attached && i < c->out_len; i++) {
		size_t len = c->iov[i].iov_len, taken;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		if (p->chain_at == end)
			return VIRTIO_LONG;
		len = MIN(len - skip, (size_t)(end - p->chain_at));
		taken = char_write(p->chr, (uint8_t *)c->iov[i].iov_base + skip, len);
		p->chain_at += taken;
		if (taken < len)
			return VIRTIO_STALLED;
		if (skip + len < c->iov[i].iov_len)
			return VIRTIO_LONG;
		skip = 0;
	}
	return VIRTIO_SERVED;
}

/**
 * console_port_drop() - Forget output in hand: the queue is being reset
 * @p:		The port
 */
void console_port_drop(struct console_port *p)
{
	if (p->chain)
		virtqueue_detach(console_out(p), p->chain);
	p->chain = NULL;
}

static struct console_port *port_of_queue(struct virtio *v, const struct virtqueue *q)
{
	return console_of(v)->ports[q->index < 2 ? 0 : (q->index - 2) / 2];
}

static enum virtio_served output_one(struct virtio *v, struct virtqueue *q)
{
	struct console_port *p = port_of_queue(v, q);
	enum virtio_served r;

	if (!p->chain) {
		p->chain = virtqueue_pop(q, sizeof(*p->chain));
		p->chain_at = 0;
	}
	if (!p->chain)
		return VIRTIO_EMPTY;
	r = chain_write(p);
	if (r != VIRTIO_SERVED)
		return r;
	virtqueue_push(q, p->chain, 0);
	p->chain = NULL;
	return VIRTIO_SERVED;
}

/**
 * console_port_output() - The driver wrote, or the back end has room
 * @p:		The port
 */
void console_port_output(struct console_port *p)
{
	if (virtio_servable(&p->c->v, console_out(p)))
		virtio_serve(&p->c->v, console_out(p), output_one);
}

/**
 * console_port_set_open() - The driver opens or closes a port
 * @p:		The port
 * @open:	Which
 */
void console_port_set_open(struct console_port *p, bool open)
{
	bool before = p->guest_open;

	p->guest_open = open;
	if (open != before && p->on_open)
		p->on_open(p->on_open_opaque);
}

/**
 * console_port_of() - A port as such
 * @dev:	Any device
 *
 * Return: the port, NULL: it is none
 */
struct console_port *console_port_of(struct device *dev)
{
	bool is_port = dev->class == &virtserialport_class || dev->class == &virtconsole_class;

	return is_port ? CONTAINER_OF(dev, struct console_port, dev) : NULL;
}

/**
 * console_port_watch() - Be told when the guest opens or closes a port
 * @p:		The port, realized
 * @fn:		Called on any thread, the controller's lock held
 * @opaque:	Its argument
 */
void console_port_watch(struct console_port *p, void (*fn)(void *opaque), void *opaque)
{
	virtio_lock_owner(&p->c->v);
	p->on_open = fn;
	p->on_open_opaque = opaque;
	virtio_unlock_owner(&p->c->v);
}

/**
 * console_port_news() - Has the guest opened or closed a port since this was asked last?
 * @p:		The port. What query-chardev tells of its back end follows
 * @ret_open:	Set to what it did
 *
 * Return: whether; also false of a port whose controller is gone
 */
bool console_port_news(struct console_port *p, bool *ret_open)
{
	if (!p->c)
		return false;
	virtio_lock_owner(&p->c->v);
	*ret_open = p->guest_open;
	virtio_unlock_owner(&p->c->v);
	if (*ret_open == p->told_open)
		return false;
	p->told_open = *ret_open;
	if (p->attached && !p->is_console)
		char_front_set_open(p->chr, p->told_open);
	return true;
}

/**
 * console_port_input() - The driver gave buffers
 * @p:		The port
 */
void console_port_input(struct console_port *p)
{
	if (p->attached)
		char_accept_input(p->chr);
}

static bool guest_listens(const struct console_port *p)
{
	return virtio_servable(&p->c->v, console_in(p)) &&
	       (p->guest_open || !console_multiport(p->c));
}

static size_t on_can_receive(void *opaque)
{
	struct console_port *p = opaque;
	struct virtq_chain *c = NULL;
	size_t n = 0;

	virtio_lock_owner(&p->c->v);
	if (guest_listens(p))
		c = virtqueue_pop_or_ask(console_in(p), sizeof(*c));
	if (c) {
		n = MIN(c->in_bytes, 64 * KiB);
		virtqueue_unpop(console_in(p), c);
	}
	virtio_unlock_owner(&p->c->v);
	return n;
}

static void on_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct console_port *p = opaque;
	struct virtq_chain *c;
	size_t done = 0, n;

	virtio_lock_owner(&p->c->v);
	while (done < len && guest_listens(p) && (c = virtqueue_pop(console_in(p), sizeof(*c)))) {
		n = virtq_write(c, 0, buf + done, len - done);
		done += n;
		virtqueue_push(console_in(p), c, (uint32_t)n);
	}
	virtio_notify(&p->c->v, console_in(p));
	virtio_unlock_owner(&p->c->v);
}

static void on_event(void *opaque, enum char_event event)
{
	struct console_port *p = opaque;

	if (p->is_console || event == CHAR_BREAK)
		return;
	virtio_lock_owner(&p->c->v);
	if (p->host_open != (event == CHAR_OPENED)) {
		p->host_open = event == CHAR_OPENED;
		console_send(p->c, p->nr, VIRTIO_CONSOLE_PORT_OPEN, p->host_open);
	}
	virtio_unlock_owner(&p->c->v);
}

static void on_writable(void *opaque)
{
	struct console_port *p = opaque;

	virtio_lock_owner(&p->c->v);
	console_port_output(p);
	virtio_unlock_owner(&p->c->v);
}

static bool nr_taken(const struct virtio_console *c, uint32_t nr)
{
	return c->map[nr / 32] >> nr % 32 & 1;
}

static int nr_choose(struct console_port *p, struct virtio_console *c, struct err *e)
{
	if (p->nr == CONSOLE_NR_AUTO && p->is_console && !c->ports[0])
		p->nr = 0;
	if (p->nr == CONSOLE_NR_AUTO)
		for (p->nr = 1; p->nr < c->max_ports && nr_taken(c, p->nr); p->nr++)
			;
	if (p->nr >= c->max_ports)
		return err_set(e, ENOSPC, "nr: %u, the controller has %u ports", p->nr,
			       c->max_ports);
	if (!p->nr && !p->is_console)
		return err_set(e, EINVAL, "nr: 0 is reserved for virtconsole devices");
	if (c->ports[p->nr])
		return err_set(e, EBUSY, "nr: port %u is in use", p->nr);
	return 0;
}

static void port_insert(struct console_port *p, struct virtio_console *c)
{
	virtio_lock_owner(&c->v);
	p->c = c;
	p->dev.parent = &c->v.pci.dev;
	p->host_open = p->is_console;
	p->guest_open = !console_multiport(c) && c->v.ready;
	c->ports[p->nr] = p;
	c->order[c->ports_len++] = (uint8_t)p->nr;
	c->map[p->nr / 32] |= 1u << p->nr % 32;
	console_send(c, p->nr, VIRTIO_CONSOLE_PORT_ADD, 1);
	virtio_unlock_owner(&c->v);
}

static void port_remove(struct console_port *p)
{
	struct virtio_console *c = p->c;
	unsigned int i = 0;

	virtio_lock_owner(&c->v);
	console_port_drop(p);
	while (c->order[i] != p->nr)
		i++;
	memmove(c->order + i, c->order + i + 1, c->ports_len - i - 1);
	c->ports_len--;
	c->ports[p->nr] = NULL;
	if (p->nr)
		c->map[p->nr / 32] &= ~(1u << p->nr % 32);
	console_send(c, p->nr, VIRTIO_CONSOLE_PORT_REMOVE, 1);
	virtio_unlock_owner(&c->v);
}

/**
 * console_port_orphan() - Leave the controller and the back end
 * @p:		May have left already
 */
void console_port_orphan(struct console_port *p)
{
	if (p->attached)
		char_detach(p->chr);
	p->attached = false;
	if (p->c)
		port_remove(p);
	p->c = NULL;
	p->dev.parent = NULL;
}

static void port_unrealize(struct device *dev)
{
	console_port_orphan(CONTAINER_OF(dev, struct console_port, dev));
}

static int port_realize(struct device *dev, struct err *e)
{
	struct console_port *p = CONTAINER_OF(dev, struct console_port, dev);
	struct virtio_console *c = console_find(p->bus_name);
	struct char_front front = {on_can_receive, on_receive, on_event, on_writable,
				   NULL,           p,          true};
	int r;

	p->is_console = dev->class == &virtconsole_class;
	if (!c)
		return err_set(e, ENOENT, "bus: there is no virtio-serial bus '%s'",
			       p->bus_name ? p->bus_name : "virtio-serial-bus");
	r = nr_choose(p, c, e);
	if (r)
		return r;
	port_insert(p, c);
	if (!p->chr)
		return 0;
	p->attached = true;
	r = char_attach(p->chr, dev->id ? dev->id : dev->class->name, &front, e);
	if (r) {
		p->attached = false;
		port_unrealize(dev);
		return r;
	}
	char_front_set_open(p->chr, p->is_console);
	return 0;
}

#define PORT_FIELD(m) offsetof(struct console_port, m)

static const struct prop port_props[] = {
	{"bus", PROP_STRING, PORT_FIELD(bus_name), NULL, "Controller's id and \".0\""},
	{"nr", PROP_U32, PORT_FIELD(nr), "4294967295", "Port number (default: the next free)"},
	{"name", PROP_STRING, PORT_FIELD(name), NULL, "Name under /dev/virtio-ports"},
	{"chardev", PROP_CHARDEV, PORT_FIELD(chr), NULL, "Character back end"},
	PROPS_END,
};

#define PORT_CLASS(var, wire, text)                                \
	const struct device_class var = {                          \
		.name = (wire),                                    \
		.help = (text),                                    \
		.bus = "virtio-serial-bus",                        \
		.size = sizeof(struct console_port),               \
		.user = true,                                      \
		.hotplug = true,                                   \
		.own_lock = true,                                  \
		.continuity = CONTINUITY_STATELESS,                \
		.why = "its state is in its controller's section", \
		.props = port_props,                               \
		.realize = port_realize,                           \
		.unrealize = port_unrealize,                       \
	}

PORT_CLASS(virtserialport_class, "virtserialport", "Port of a virtio serial controller");
PORT_CLASS(virtconsole_class, "virtconsole", "Console on a virtio serial controller");
