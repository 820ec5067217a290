/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the two 8237-style ISA DMA controllers. No device here asks for ISA DMA (no
 * floppy, no sound), so only their registers are left: firmware and kernels program and read them.
 *
 * Each register pair is read and written low byte first, by a flip-flop. The second controller
 * counts words: its ports are two apart and its addresses shifted.
 *
 * Source: Intel 8237A data sheet; ICH9 data sheet 13.2. State as QEMU's "dma" version 1.
 */
#include "device/classes.h"
#include "device/wire.h"

#include <errno.h>

enum { ADDRESS, COUNT };

/**
 * struct dma_channel - Registers of a channel
 * @now:	Current address and how far the count is
 * @base:	As programmed
 * @dack, @eop:	In the stream only
 */
struct dma_channel {
	int32_t now[2];
	uint16_t base[2];
	uint8_t mode, page, pageh, dack, eop;
	uint8_t reserved[3];
};

/**
 * struct dma_state - What the guest can see of a controller
 * @shift:	0, or 1 for the one of 16-bit channels
 * @status:	Requests made by software
 */
struct dma_state {
	int32_t shift;
	uint8_t command, mask, flip_flop, status;
	struct dma_channel channel[4];
};

/**
 * struct dma - A controller
 * @second:	Property: the one at 0xc0
 */
struct dma {
	struct device dev;
	struct dma_state s;
	bool second;
	struct io_region channel_io, control_io, page_io, pageh_io;
};

/* Channel of a page register, by the low bits of its port. */
static struct dma_channel *page_channel(struct dma *d, uint64_t offset)
{
	static const int8_t channels[8] = {-1, 2, 3, 1, -1, -1, -1, 0};

	return channels[offset & 7] < 0 ? NULL : &d->s.channel[channels[offset & 7]];
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct dma_channel *c = page_channel(opaque, offset);

	return c ? c->page : 0xff;
}

static void page_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct dma_channel *c = page_channel(opaque, offset);

	if (c)
		c->page = (uint8_t)value;
}

static uint64_t pageh_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct dma_channel *c = page_channel(opaque, offset);

	return c ? c->pageh : 0xff;
}

static void pageh_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct dma_channel *c = page_channel(opaque, offset);

	if (c)
		c->pageh = (uint8_t)value;
}

static bool flip(struct dma_state *s)
{
	bool high = s->flip_flop;

	s->flip_flop = !high;
	return high;
}

static uint64_t channel_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct dma *d = opaque;
	unsigned int reg = (unsigned int)(offset >> d->s.shift);
	struct dma_channel *c = &d->s.channel[reg >> 1 & 3];
	uint32_t value, moved = (uint32_t)c->now[COUNT];

	if (reg & 1)
		value = ((uint32_t)c->base[COUNT] << d->s.shift) - moved;
	else
		value = (uint32_t)c->now[ADDRESS] + (c->mode & 0x20 ? -moved : moved);
	return value >> d->s.shift >> (flip(&d->s) ? 8 : 0) & 0xff;
}

static void channel_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct dma *d = opaque;
	unsigned int reg = (unsigned int)(offset >> d->s.shift);
	struct dma_channel *c = &d->s.channel[reg >> 1 & 3];
	uint16_t *base = &c->base[reg & 1];

	if (!flip(&d->s)) {
		*base = (uint16_t)((*base & 0xff00) | (value & 0xff));
		return;
	}
	*base = (uint16_t)((*base & 0x00ff) | (value & 0xff) << 8);
	c->now[ADDRESS] = (int32_t)((uint32_t)c->base[ADDRESS] << d->s.shift);
	c->now[COUNT] = 0;
}

static void clear(struct dma_state *s)
{
	s->flip_flop = 0;
	s->mask = 0xff;
	s->status = 0;
	s->command = 0;
}

static void request_write(struct dma_state *s, uint8_t value)
{
	uint8_t bit = (uint8_t)(1u << (value & 3));

	s->status &= (uint8_t) ~(bit | bit << 4);
	if (value & 4)
		s->status |= (uint8_t)(bit << 4);
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct dma *d = opaque;
	struct dma_state *s = &d->s;
	uint8_t v = (uint8_t)value, bit = (uint8_t)(1u << (v & 3));

	switch (offset >> s->shift & 7) {
	case 0:
		if (!(v &
		      0xfb)) /* modes that nobody here has: memory to memory, fixed priority, ... */
			s->command = v;
		break;
	case 1: request_write(s, v); break;
	case 2: s->mask = (uint8_t)(v & 4 ? s->mask | bit : s->mask & ~bit); break;
	case 3: s->channel[v & 3].mode = v; break;
	case 4: s->flip_flop = 0; break;
	case 5: clear(s); break;
	case 6: s->mask = 0; break;
	default: s->mask = v; break;
	}
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct dma *d = opaque;
	uint8_t value = 0;

	if ((offset >> d->s.shift & 7) == 0) {
		value = d->s.status;
		d->s.status &= 0xf0;
	} else if ((offset >> d->s.shift & 7) == 1) {
		value = d->s.mask;
	}
	return value;
}

static const struct io_ops page_ops = {page_read, page_write, 1, 1};
static const struct io_ops pageh_ops = {pageh_read, pageh_write, 1, 1};
static const struct io_ops channel_ops = {channel_read, channel_write, 1, 1};
static const struct io_ops control_ops = {control_read, control_write, 1, 1};

static void port_init(struct dma *d, struct io_region *r, const char *name, uint64_t base,
		      uint64_t size, const struct io_ops *ops)
{
	*r = (struct io_region){.name = name,
				.kind = IO_PORT,
				.base = base,
				.size = size,
				.ops = ops,
				.opaque = d,
				.lock = d->dev.lock,
				.enabled = true};
	io_region_add(d->dev.env->io, r);
}

static void dma_reset(struct device *dev)
{
	clear(&((struct dma *)dev)->s);
}

static int dma_realize(struct device *dev, struct err *e)
{
	struct dma *d = (struct dma *)dev;

	d->s.shift = d->second;
	port_init(d, &d->channel_io, "dma-chan", d->second ? 0xc0 : 0x00, 8u << d->s.shift,
		  &channel_ops);
	port_init(d, &d->control_io, "dma-cont", d->second ? 0xd0 : 0x08, 8u << d->s.shift,
		  &control_ops);
	port_init(d, &d->page_io, "dma-page", d->second ? 0x88 : 0x80, 8, &page_ops);
	port_init(d, &d->pageh_io, "dma-pageh", d->second ? 0x488 : 0x480, 8, &pageh_ops);
	dma_reset(dev);
	return 0;
}

static void dma_unrealize(struct device *dev)
{
	struct dma *d = (struct dma *)dev;

	io_region_del(&d->channel_io);
	io_region_del(&d->control_io);
	io_region_del(&d->page_io);
	io_region_del(&d->pageh_io);
}

static void dma_capture(const struct device *dev, void *state)
{
	*(struct dma_state *)state = ((const struct dma *)dev)->s;
}

static int dma_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct dma_state *s = state;

	if (s->shift != ((const struct dma *)dev)->s.shift)
		return err_set(e, EINVAL, "dshift: %d offered, %d here", s->shift,
			       ((const struct dma *)dev)->s.shift);
	return 0;
}

static void dma_apply(struct device *dev, const void *state)
{
	((struct dma *)dev)->s = *(const struct dma_state *)state;
}

static const struct state_field channel_fields[] = {
	FIELD("now", struct dma_channel, now),
	FIELD("base", struct dma_channel, base),
	FIELD("mode", struct dma_channel, mode),
	FIELD("page", struct dma_channel, page),
	FIELD("pageh", struct dma_channel, pageh),
	FIELD("dack", struct dma_channel, dack),
	FIELD("eop", struct dma_channel, eop),
	NOT_SENT(struct dma_channel, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table channel_table = {
	.name = "dma_regs",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct dma_channel),
	.fields = channel_fields,
};

static const struct state_field dma_fields[] = {
	FIELD("command", struct dma_state, command),
	FIELD("mask", struct dma_state, mask),
	FIELD("flip_flop", struct dma_state, flip_flop),
	FIELD("dshift", struct dma_state, shift),
	FIELD_STRUCTS("regs", struct dma_state, channel, &channel_table),
	NOT_SENT(struct dma_state, status,
		 "QEMU's stream has no place for it; software requests only"),
	FIELDS_END,
};

static const struct state_table dma_table = {
	.name = "dma",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct dma_state),
	.fields = dma_fields,
};

static const struct prop dma_props[] = {
	{.name = "second",
	 .kind = PROP_BOOL,
	 .offset = offsetof(struct dma, second),
	 .def = "off",
	 .help = "The controller of 16-bit channels"},
	PROPS_END,
};

const struct device_class dma_class = {
	.name = "i8257",
	.help = "ISA DMA controller",
	.bus = "ISA",
	.size = sizeof(struct dma),
	.continuity = CONTINUITY_STATE,
	.state = &dma_table,
	.section = "dma",
	.props = dma_props,
	.realize = dma_realize,
	.unrealize = dma_unrealize,
	.reset = dma_reset,
	.capture = dma_capture,
	.validate = dma_validate,
	.apply = dma_apply,
};
