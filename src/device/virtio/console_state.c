/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a controller's part of its section: its configuration (which nobody reads),
 * the map of ports, which must be ours, and each port: who has it open, and output that the back
 * end hasn't taken whole, as the element and the place in it. Both sides have the same ports in any
 * order.
 */
#include "device/virtio/console.h"

#include "base/owned.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <string.h>

#define HELD_MAX 8 /* ports that can carry output at once */

/**
 * struct console_port_state - A port as it is sent
 * @nr:		Which
 * @guest_open, @host_open: Who has it open
 * @held:	Output in hand: index in the body's elements; -1: none
 * @iov_idx, @iov_offset: Where in that output to go on
 */
struct console_port_state {
	uint32_t nr, iov_idx;
	uint64_t iov_offset;
	bool guest_open, host_open;
	int held;
};

/**
 * struct console_body - What the section's one field holds
 * @max_ports, @map: Ours, compared
 * @ports:	In the order they were added; element buffers are in @held
 */
struct console_body {
	struct virtio_state v;
	uint32_t max_ports, ports_len, held_len;
	uint32_t map[CONSOLE_MAP_WORDS];
	struct console_port_state ports[CONSOLE_PORTS_MAX];
	struct virtio_element held[HELD_MAX];
};

/**
 * struct virtio_console_state - Section "virtio-console", version 3
 * @body:	All of it
 */
struct virtio_console_state {
	struct console_body body;
};

static unsigned int map_words(const struct console_body *s)
{
	return DIV_ROUND_UP(s->max_ports, 32);
}

static bool packed(const struct console_body *s)
{
	return s->v.host_features >> VIRTIO_F_PACKED_RING & 1;
}

static void port_save(const struct console_body *s, const struct console_port_state *p,
		      struct state_writer *w)
{
	state_put_be32(w, p->nr);
	state_put_u8(w, p->guest_open);
	state_put_u8(w, p->host_open);
	state_put_be32(w, p->held >= 0);
	if (p->held < 0)
		return;
	state_put_be32(w, p->iov_idx);
	state_put_be64(w, p->iov_offset);
	virtio_element_save(&s->held[p->held], packed(s), w);
}

static void body_save(const void *member, struct state_writer *w)
{
	const struct console_body *s = member;

	virtio_state_save_head(&s->v, w);
	state_put_be16(w, 0); /* columns, rows */
	state_put_be16(w, 0);
	state_put_be32(w, s->max_ports);
	for (unsigned int i = 0; i < map_words(s); i++)
		state_put_be32(w, s->map[i]);
	state_put_be32(w, s->ports_len);
	for (unsigned int i = 0; i < s->ports_len; i++)
		port_save(s, &s->ports[i], w);
	virtio_state_save_tail(&s->v, w);
}

static int held_load(struct console_body *s, struct console_port_state *p, struct state_reader *r,
		     struct err *e)
{
	if (s->held_len == HELD_MAX)
		return err_set(e, EINVAL, "ports: more than %d with output in hand", HELD_MAX);
	p->iov_idx = state_get_be32(r);
	p->iov_offset = state_get_be64(r);
	p->held = (int)s->held_len;
	return virtio_element_load(&s->held[s->held_len++], packed(s), r, e);
}

/* @p: One of @s->ports; those before it are loaded. */
static int port_load(struct console_body *s, struct console_port_state *p, struct state_reader *r,
		     struct err *e)
{
	p->nr = state_get_be32(r);
	p->guest_open = state_get_u8(r);
	p->host_open = state_get_u8(r);
	p->held = -1;
	if (p->nr >= CONSOLE_PORTS_MAX || !(s->map[p->nr / 32] >> p->nr % 32 & 1))
		return err_set(e, EINVAL, "ports: there is no port %u here", p->nr);
	for (const struct console_port_state *other = s->ports; other < p; other++)
		if (other->nr == p->nr)
			return err_set(e, EINVAL, "ports: port %u is there twice", p->nr);
	return state_get_be32(r) ? held_load(s, p, r, e) : 0;
}

static int ports_load(struct console_body *s, struct state_reader *r, struct err *e)
{
	uint32_t n;
	int rc = 0;

	state_get_be32(r); /* columns, rows, ports: nobody reads them */
	state_get_be32(r);
	for (unsigned int i = 0; i < map_words(s); i++) {
		uint32_t map = state_get_be32(r);

		if (map != s->map[i])
			return err_set(e, EINVAL, "ports_map: %#x offered, %#x configured here",
				       map, s->map[i]);
	}
	n = state_get_be32(r);
	if (n > s->ports_len)
		return err_set(e, EINVAL, "ports: %u offered, %u configured here", n, s->ports_len);
	s->held_len = 0;
	s->ports_len = n;
	for (uint32_t i = 0; i < n && !rc; i++)
		rc = port_load(s, &s->ports[i], r, e);
	return rc;
}

static int body_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	struct console_body *s = member;
	int rc = virtio_state_load_head(&s->v, r, e);

	if (!rc)
		rc = ports_load(s, r, e);
	return rc ? rc : virtio_state_load_tail(&s->v, r, e);
}

static const struct state_codec body_codec = {"virtio", body_save, body_load, 0};

static const struct state_field fields[] = {
	FIELD_CODEC("virtio", struct virtio_console_state, body, &body_codec),
	FIELDS_END,
};

const struct state_table virtio_console_state_table = {
	.name = "virtio-console",
	.version = 3,
	.min_version = 3,
	.size = sizeof(struct virtio_console_state),
	.fields = fields,
};

static void held_capture(const struct console_port *p, struct console_port_state *to,
			 struct console_body *s)
{
	uint64_t left = p->chain_at;
	unsigned int i = 0;

	/* More than fit: the rest of that output is lost, as it is on a back end that drops. */
	if (s->held_len == HELD_MAX)
		return;
	while (i < p->chain->out_len && left >= p->chain->iov[i].iov_len)
		left -= p->chain->iov[i++].iov_len;
	to->iov_idx = i;
	to->iov_offset = left;
	to->held = (int)s->held_len;
	virtio_element_capture(&s->held[s->held_len++], p->chain);
}

/**
 * console_capture() - Class op
 * @dev:	Guest stopped
 * @state:	Zeroed
 */
void console_capture(const struct device *dev, void *state)
{
	const struct virtio_console *c = CONTAINER_OF(virtio_of_const(dev),
						      const struct virtio_console, v);
	struct console_body *s = &((struct virtio_console_state *)state)->body;

	virtio_capture(&c->v, &s->v);
	s->max_ports = c->max_ports;
	memcpy(s->map, c->map, sizeof(s->map));
	s->ports_len = c->ports_len;
	for (unsigned int i = 0; i < c->ports_len; i++) {
		const struct console_port *p = c->ports[c->order[i]];

		s->ports[i] = (struct console_port_state){.nr = p->nr,
							  .guest_open = p->guest_open,
							  .host_open = p->host_open,
							  .held = -1};
		if (p->chain)
			held_capture(p, &s->ports[i], s);
	}
}

/**
 * console_validate() - Class op
 * @dev:	The controller
 * @state:	Loaded
 * @e:		Set on failure only
 *
 * Return: 0, or as virtio_check()
 */
int console_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct virtio_console_state *s = state;

	return virtio_check(virtio_of_const(dev), &s->body.v, e);
}

static void held_apply(struct console_port *p, const struct console_port_state *from,
		       const struct virtio_element *el)
{
	struct virtq_chain shape = {.id = el->id,
				    .slots = el->slots,
				    .out_len = el->out_len,
				    .in_len = el->in_len,
				    .gpas = (gpa_t *)el->gpas};

	p->chain = virtqueue_adopt(console_out(p), sizeof(*p->chain), &shape, el->lens);
	p->chain_at = from->iov_offset;
	for (uint32_t i = 0; i < from->iov_idx && i < el->out_len; i++)
		p->chain_at += el->lens[i];
}

/**
 * console_apply() - Class op
 * @dev:	The controller, guest stopped
 * @state:	Judged
 */
void console_apply(struct device *dev, const void *state)
{
	struct virtio_console *c = console_of(virtio_of(dev));
	const struct console_body *s = &((const struct virtio_console_state *)state)->body;

	virtio_apply(&c->v, &s->v);
	for (uint32_t i = 0; i < s->ports_len; i++) {
		const struct console_port_state *from = &s->ports[i];
		struct console_port *p = c->ports[from->nr];

		if (!p)
			continue;
		console_port_set_open(p, from->guest_open);
		if (from->held >= 0)
			held_apply(p, from, &s->held[from->held]);
		if (from->host_open != p->host_open)
			console_send(c, p->nr, VIRTIO_CONSOLE_PORT_OPEN, p->host_open);
	}
}
