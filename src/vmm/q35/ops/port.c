/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the guest opens and closes the ports of virtio-serial, as its agents come
 * and go. That happens on any thread and is told on the main one, so what was closed and opened
 * again meanwhile isn't told.
 */
#include "device/virtio/console.h"
#include "vmm/q35/ops/ops.h"

/**
 * guest_ports_tell() - Tell which ports were opened or closed since the last time
 * @g:		The guest
 */
void guest_ports_tell(struct guest *g)
{
	struct device *dev;
	bool open;

	list_for_each (dev, &g->q->devices, link) {
		struct console_port *p = console_port_of(dev);

		if (p && console_port_news(p, &open) && dev->id)
			control_event(g->v->control, "VSERPORT_CHANGE",
				      json_pack("{s:s, s:b}", "id", dev->id, "open", open));
	}
}

static void on_changed(void *opaque)
{
	guest_ports_tell(opaque);
}

/* The port's owner, whatever thread that is. */
static void changed(void *opaque)
{
	struct guest *g = opaque;

	loop_post(g->v->loop, on_changed, g);
}

/**
 * guest_port_watch() - Turn what the guest does with a port into events
 * @g:		The guest
 * @dev:	A device that is new; nothing happens if it is no port of virtio-serial
 */
void guest_port_watch(struct guest *g, struct device *dev)
{
	struct console_port *p = console_port_of(dev);

	if (p)
		console_port_watch(p, changed, g);
}
