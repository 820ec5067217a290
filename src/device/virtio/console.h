/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_CONSOLE_H
#define DEVICE_VIRTIO_CONSOLE_H

#include "char/char.h"
#include "device/virtio/virtio_state.h"

#define CONSOLE_PORTS_MAX 126
#define CONSOLE_MAP_WORDS 4
#define CONSOLE_NR_AUTO   UINT32_MAX
#define CONSOLE_PENDING   64
#define CONSOLE_CTRL_IN   2
#define CONSOLE_CTRL_OUT  3

struct virtio_console;

/**
 * struct console_port - A port: a device of its own on the controller's bus; served by the main
 * loop, controller's lock
 * @dev:	First
 * @bus_name, @nr, @name, @chr: Properties
 * @c:		Controller; NULL: not realized
 * @is_console:	virtconsole: open from the host's side for ever, and fit for boot messages
 * @attached:	@chr is ours
 * @guest_open, @host_open: Who has it open
 * @told_open:	The @guest_open that console_port_news() has told; main thread
 * @on_open, @on_open_opaque: Called when @guest_open changes, whatever thread that is
 * @chain, @chain_at: Guest output that the back end has taken the first bytes of; NULL: none
 */
struct console_port {
	struct device dev;
	char *bus_name;
	uint32_t nr;
	char *name;
	struct char_backend *chr;
	struct virtio_console *c;
	bool is_console, attached, guest_open, host_open, told_open;
	void (*on_open)(void *opaque);
	void *on_open_opaque;
	struct virtq_chain *chain;
	uint64_t chain_at;
};

/**
 * struct console_message - A control message for the driver, while it has no buffer
 */
struct console_message {
	uint32_t nr;
	uint16_t event, value;
};

/**
 * struct virtio_console - The controller
 * @v:		First
 * @max_ports:	Property
 * @link:	In the list of controllers; main thread
 * @ports, @order: By number, and in the order they came (numbers)
 * @ports_len:	How many
 * @map:	Numbers in use; 0 always counts
 * @pending, @pending_len: Messages that wait for buffers
 */
struct virtio_console {
	struct virtio v;
	uint32_t max_ports;
	struct list link;
	struct console_port *ports[CONSOLE_PORTS_MAX];
	uint8_t order[CONSOLE_PORTS_MAX];
	uint32_t ports_len;
	uint32_t map[CONSOLE_MAP_WORDS];
	struct console_message pending[CONSOLE_PENDING];
	unsigned int pending_len;
};

static inline struct virtio_console *console_of(struct virtio *v)
{
	return CONTAINER_OF(v, struct virtio_console, v);
}

/* Queues of a port (VIRTIO 1.2, 5.3.2): 0, 1 for the first, then behind the control queues. */
static inline unsigned int console_in_index(uint32_t nr)
{
	return nr ? 2 * nr + 2 : 0;
}

static inline struct virtqueue *console_in(const struct console_port *p)
{
	return &p->c->v.queues[console_in_index(p->nr)].vq;
}

static inline struct virtqueue *console_out(const struct console_port *p)
{
	return &p->c->v.queues[console_in_index(p->nr) + 1].vq;
}

/* console.c: main thread */
struct virtio_console *console_find(const char *bus_name);

/* console_ctrl.c: controller's lock held */
bool console_multiport(const struct virtio_console *c);
void console_send(struct virtio_console *c, uint32_t nr, uint16_t event, uint16_t value);
void console_ctrl_flush(struct virtio_console *c);
void console_ctrl_kick(struct virtio_console *c);

/* console_port.c: controller's lock held */
void console_port_output(struct console_port *p);
void console_port_input(struct console_port *p);
void console_port_drop(struct console_port *p);
void console_port_set_open(struct console_port *p, bool open);
void console_port_orphan(struct console_port *p); /* main thread, no lock held */

/* console_port.c: for whoever reports it. Main thread, no lock held */
struct console_port *console_port_of(struct device *dev);
void console_port_watch(struct console_port *p, void (*fn)(void *opaque), void *opaque);
bool console_port_news(struct console_port *p, bool *ret_open);

/* console_state.c */
extern const struct state_table virtio_console_state_table;
void console_capture(const struct device *dev, void *state);
int console_validate(const struct device *dev, const void *state, struct err *e);
void console_apply(struct device *dev, const void *state);

extern const struct device_class virtio_serial_class, virtio_serial_transitional_class,
	virtio_serial_non_transitional_class, virtserialport_class, virtconsole_class;

#endif
