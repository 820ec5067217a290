/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtio-serial (VIRTIO 1.2, 5.3, "console device"): a controller with ports,
 * two queues each and a pair for control messages. The controller is here, ports in console_port.c,
 * messages in console_ctrl.c, state in console_state.c. Served by the main loop, where the
 * character back ends are.
 */
#include "device/virtio/console.h"

#include "base/bytes.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <stdio.h>
#include <string.h>

#define PCI_CLASS    0x078000
#define DATA_SIZE    128
#define CONTROL_SIZE 32

static struct list controllers = LIST_INIT(controllers); /* main thread */

/**
 * console_find() - A controller by the name of its bus
 * @bus_name:	"ID.0"; NULL: the first there is
 *
 * Return: borrowed, or NULL
 */
struct virtio_console *console_find(const char *bus_name)
{
	struct virtio_console *c;
	char name[256];

	list_for_each (c, &controllers, link) {
		snprintf(name, sizeof(name), "%s.0",
			 c->v.pci.dev.id ? c->v.pci.dev.id : "virtio-serial-bus");
		if (!bus_name || !strcmp(name, bus_name))
			return c;
	}
	return NULL;
}

static void console_config_read(struct virtio *v, uint8_t *config)
{
	struct virtio_console_config c = {
		.max_nr_ports = htole32(console_of(v)->max_ports),
	};

	memcpy(config, &c, v->config_len);
}

/* A character from a guest whose driver isn't up: to the first console. */
static void console_config_write(struct virtio *v, const uint8_t *config)
{
	struct virtio_console *c = console_of(v);
	uint8_t byte = config[offsetof(struct virtio_console_config, emerg_wr)];

	if (!virtio_offers(v, VIRTIO_CONSOLE_F_EMERG_WRITE) || !byte)
		return;
	for (unsigned int i = 0; i < c->ports_len; i++) {
		struct console_port *p = c->ports[c->order[i]];

		if (!p->is_console)
			continue;
		if (p->attached)
			char_write(p->chr, &byte, 1);
		break;
	}
	v->config[offsetof(struct virtio_console_config, emerg_wr)] = 0;
}

static void console_kick(struct virtio *v, struct virtqueue *q)
{
	struct virtio_console *c = console_of(v);
	struct console_port *p = c->ports[q->index < 2 ? 0 : (q->index - 2) / 2];

	if (q->index == CONSOLE_CTRL_IN)
		console_ctrl_flush(c);
	else if (q->index == CONSOLE_CTRL_OUT)
		console_ctrl_kick(c);
	else if (p && q->index & 1)
		console_port_output(p);
	else if (p)
		console_port_input(p);
}

/* A driver without control messages can't say that it opens its one port. */
static void console_started(struct virtio *v, bool on)
{
	struct virtio_console *c = console_of(v);

	for (unsigned int i = 0; !on && i < c->ports_len; i++)
		console_port_set_open(c->ports[c->order[i]], false);
	if (on && !console_multiport(c) && c->ports[0])
		console_port_set_open(c->ports[0], true);
}

static void console_reset(struct virtio *v)
{
	struct virtio_console *c = console_of(v);

	c->pending_len = 0;
	for (unsigned int i = 0; i < c->ports_len; i++) {
		struct console_port *p = c->ports[c->order[i]];

		console_port_drop(p);
		console_port_set_open(p, false);
	}
}

/* Output in hand: its buffers aren't the device's any more. */
static void console_forget(struct virtio *v, struct virtqueue *q)
{
	struct console_port *p = console_of(v)->ports[q->index < 2 ? 0 : (q->index - 2) / 2];

	if (p && q == console_out(p))
		console_port_drop(p);
}

static const char *const feature_names[64] = {"SIZE", "MULTIPORT", "EMERG_WRITE"};

static const struct virtio_ops console_ops = {
	.id = 3,
	.pci_id = 0x1003,
	.pci_class = PCI_CLASS,
	.name = "virtio-serial",
	.feature_names = feature_names,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.kick = console_kick,
	.started = console_started,
	.reset = console_reset,
	.forget = console_forget,
};

static void console_unrealize(struct device *dev)
{
	struct virtio_console *c = console_of(virtio_of(dev));

	virtio_detach(&c->v);
	while (c->ports_len)
		console_port_orphan(c->ports[c->order[0]]);
	virtio_release(&c->v);
	list_del(&c->link);
}

static int console_realize(struct device *dev, struct err *e)
{
	struct virtio_console *c = console_of(virtio_of(dev));
	uint16_t sizes[VIRTIO_QUEUES_MAX], config_len = sizeof(struct virtio_console_config);
	int r;

	list_init(&c->link);
	if (!c->max_ports || c->max_ports > CONSOLE_PORTS_MAX)
		return err_set(e, EINVAL, "max_ports: %u, 1 to %u are possible", c->max_ports,
			       CONSOLE_PORTS_MAX);
	for (unsigned int i = 0; i < 2 * c->max_ports + 2; i++)
		sizes[i] = i == CONSOLE_CTRL_IN || i == CONSOLE_CTRL_OUT ? CONTROL_SIZE : DATA_SIZE;
	if (!virtio_offers(&c->v, VIRTIO_CONSOLE_F_EMERG_WRITE))
		config_len = offsetof(struct virtio_console_config, emerg_wr);
	if (c->max_ports > 1)
		c->v.host_features |= VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT);
	if (c->v.vectors == VIRTIO_VECTORS_UNSET)
		c->v.vectors = c->max_ports + 1;
	c->v.ops = &console_ops;
	c->map[0] = 1;
	r = virtio_init(&c->v, 2 * c->max_ports + 2, sizes, config_len, e);
	if (!r)
		r = virtio_attach(&c->v, e);
	if (r)
		console_unrealize(dev);
	else
		list_add_tail(&controllers, &c->link);
	return r;
}

/* The guest runs: what a back end couldn't be asked for while it stood still is asked for now. */
static void console_run(struct device *dev)
{
	struct virtio_console *c = console_of(virtio_of(dev));

	virtio_run(dev);
	for (unsigned int i = 0; i < c->ports_len; i++)
		console_port_input(c->ports[c->order[i]]);
}

static const struct prop console_props[] = {
	VIRTIO_PROPS(struct virtio_console, "2"),
	{"max_ports", PROP_U32, offsetof(struct virtio_console, max_ports), "31", "Most ports"},
	{"class", PROP_U32, offsetof(struct virtio_console, v.class_code), "0",
	 "PCI class, 0: communication"},
	VIRTIO_SWITCH(struct virtio_console, "emergency-write", VIRTIO_CONSOLE_F_EMERG_WRITE, "on",
		      "A character can be written without a driver"),
	PROPS_END,
};

#define CONSOLE_CLASS(var, wire)                        \
	const struct device_class var = {               \
		.name = (wire),                         \
		.help = "Serial controller with ports", \
		.bus = "PCI",                           \
		.size = sizeof(struct virtio_console),  \
		.user = true,                           \
		.hotplug = true,                        \
		.own_lock = true,                       \
		.continuity = CONTINUITY_STATE,         \
		.state = &virtio_console_state_table,   \
		.section = "virtio-console",            \
		.props = console_props,                 \
		.realize = console_realize,             \
		.unrealize = console_unrealize,         \
		.reset = virtio_device_reset,           \
		.capture = console_capture,             \
		.validate = console_validate,           \
		.apply = console_apply,                 \
		.stop = virtio_stop,                    \
		.run = console_run,                     \
	}

CONSOLE_CLASS(virtio_serial_class, "virtio-serial-pci");
CONSOLE_CLASS(virtio_serial_transitional_class, "virtio-serial-pci-transitional");
CONSOLE_CLASS(virtio_serial_non_transitional_class, "virtio-serial-pci-non-transitional");
