/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the controller has one output buffer. Keyboard, mouse and the controller's
 * own replies wait with a pending bit; when the buffer is free, the one of highest rank fills it
 * and its interrupt rises. After a byte from the keyboard the next one is held back for a
 * millisecond, so that slow guests aren't overrun.
 *
 * Source: Intel 8042 as IBM's AT has it; the commands of the PS/2 controller. State as QEMU's pckbd
 * version 3 with its extended state.
 */
#include "device/i8042.h"

#include "device/classes.h"

#define STATUS_FULL       0x01
#define STATUS_SELFTEST   0x04
#define STATUS_COMMAND    0x08
#define STATUS_UNLOCKED   0x10
#define STATUS_MOUSE      0x20
#define MODE_KEYBOARD_INT 0x01
#define MODE_MOUSE_INT    0x02
#define MODE_KEYBOARD_OFF 0x10
#define MODE_MOUSE_OFF    0x20
#define MODE_TRANSLATE    0x40
#define PENDING_REPLY     0x04 /* the controller's, as from the keyboard */
#define PENDING_AUX_REPLY 0x08 /* the controller's, as from the mouse */
#define PENDING_KEYBOARD  MODE_KEYBOARD_OFF
#define PENDING_MOUSE     MODE_MOUSE_OFF
#define SOURCE_KEYBOARD   1
#define SOURCE_MOUSE      2
#define SOURCE_SELF       4
#define OUT_NO_RESET      0x01
#define OUT_A20           0x02
#define OUT_FULL          0x10
#define OUT_MOUSE         0x20
#define OUT_ONES          0xcc
#define FLAG_THROTTLED    1

static void lines_update(struct i8042 *d)
{
	const struct i8042_state *s = &d->s;
	bool full = s->status & STATUS_FULL, mouse = s->status & STATUS_MOUSE;

	irq_set(&d->keyboard_irq,
		full && !mouse && s->mode & MODE_KEYBOARD_INT && !(s->mode & MODE_KEYBOARD_OFF));
	irq_set(&d->mouse_irq, full && mouse && s->mode & MODE_MOUSE_INT);
}

static void buffer_clear(struct i8042_state *s)
{
	s->status &= (uint8_t) ~(STATUS_FULL | STATUS_MOUSE);
	s->outport &= (uint8_t) ~(OUT_FULL | OUT_MOUSE);
}

/* Bytes of a device whose interface is switched off stay where they are. */
static uint8_t pending(const struct i8042_state *s)
{
	return (uint8_t)(s->pending & ~(s->mode & (PENDING_KEYBOARD | PENDING_MOUSE)));
}

static void buffer_fill(struct i8042 *d)
{
	struct i8042_state *s = &d->s;
	uint8_t who = pending(s);
	bool mouse = false;

	buffer_clear(s);
	if (who & PENDING_REPLY) {
		s->source = SOURCE_SELF;
	} else if (who & PENDING_AUX_REPLY) {
		s->source = SOURCE_SELF;
		mouse = true;
	} else if (who & PENDING_KEYBOARD) {
		s->source = SOURCE_KEYBOARD;
	} else if (who) {
		s->source = SOURCE_MOUSE;
		mouse = true;
	}
	if (who) {
		s->status |= (uint8_t)(STATUS_FULL | (mouse ? STATUS_MOUSE : 0));
		s->outport |= (uint8_t)(OUT_FULL | (mouse ? OUT_MOUSE : 0));
	}
	lines_update(d);
}

static void buffer_fill_if_free(struct i8042 *d)
{
	if (!(d->s.status & STATUS_FULL) && !timer_pending(d->throttle) && pending(&d->s))
		buffer_fill(d);
}

static void on_throttle(void *opaque)
{
	struct i8042 *d = opaque;

	if (pending(&d->s))
		buffer_fill(d);
}

static void device_line(void *opaque, int line, bool level)
{
	struct i8042 *d = opaque;

	d->s.pending = (uint8_t)(level ? d->s.pending | line : d->s.pending & ~line);
	buffer_fill_if_free(d);
}

static void self_reply(struct i8042 *d, uint8_t value, bool aux)
{
	d->s.cbdata = value;
	d->s.pending &= (uint8_t) ~(PENDING_REPLY | PENDING_AUX_REPLY);
	d->s.pending |= aux ? PENDING_AUX_REPLY : PENDING_REPLY;
	buffer_fill_if_free(d);
}

static void outport_write(struct i8042 *d, uint8_t value)
{
	d->s.outport = value;
	if (!(value & OUT_NO_RESET))
		device_request(&d->dev, MACHINE_RESET, 0);
}

static void interface_on(struct i8042 *d, uint8_t off_bit)
{
	d->s.mode &= (uint8_t)~off_bit;
	buffer_fill_if_free(d);
}

static void command(struct i8042 *d, uint8_t value)
{
	struct i8042_state *s = &d->s;

	switch (value) {
	case 0x20: self_reply(d, s->mode, false); break;
	case 0x60: /* write mode */
	case 0xd1: /* write output port */
	case 0xd2: /* write output buffer */
	case 0xd3: /* write output buffer as if from the mouse */
	case 0xd4: /* write to the mouse */ s->write_cmd = value; break;
	case 0xa7: s->mode |= MODE_MOUSE_OFF; break;
	case 0xa8: interface_on(d, MODE_MOUSE_OFF); break;
	case 0xa9: /* test the mouse's interface, 0xab the keyboard's */
	case 0xab: self_reply(d, 0x00, false); break;
	case 0xaa:
		s->status |= STATUS_SELFTEST;
		self_reply(d, 0x55, false);
		break;
	case 0xad: s->mode |= MODE_KEYBOARD_OFF; break;
	case 0xae: interface_on(d, MODE_KEYBOARD_OFF); break;
	case 0xc0: self_reply(d, 0x80, false); break;
	case 0xd0: self_reply(d, s->outport, false); break;
	case 0xdd: s->outport &= (uint8_t)~OUT_A20; break;
	case 0xdf: s->outport |= OUT_A20; break;
	default: break;
	}
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *d = opaque;
	uint8_t v = (uint8_t)value;

	if ((v & 0xf0) !=
	    0xf0) /* 0xf0-0xff pulse output bits that are 0; bit 0 is the reset line */
		command(d, v);
	else if (!(v & 1))
		device_request(&d->dev, MACHINE_RESET, 0);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned int size)
{
	return ((struct i8042 *)opaque)->s.status;
}

static uint8_t self_take(struct i8042 *d)
{
	uint8_t value = d->s.cbdata;

	d->s.pending &= (uint8_t) ~(PENDING_REPLY | PENDING_AUX_REPLY);
	if (pending(&d->s))
		buffer_fill(d);
	return value;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *d = opaque;
	struct i8042_state *s = &d->s;

	if (!(s->status & STATUS_FULL))
		return s->obdata;
	buffer_clear(s);
	lines_update(d);
	if (s->source & SOURCE_KEYBOARD) {
		timer_arm_ns(d->throttle, guest_clock_now_ns(d->dev.env->clock) + NS_PER_MS);
		s->obdata = ps2_keyboard_read(d->keyboard);
	} else if (s->source & SOURCE_MOUSE) {
		s->obdata = ps2_mouse_read(d->mouse);
	} else {
		s->obdata = self_take(d);
	}
	return s->obdata;
}

static void mode_write(struct i8042 *d, uint8_t value)
{
	d->s.mode = value;
	d->keyboard->s.translate = !!(value & MODE_TRANSLATE);
	lines_update(d);
	buffer_fill_if_free(d);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *d = opaque;
	uint8_t v = (uint8_t)value, was = d->s.write_cmd;

	d->s.write_cmd = 0;
	switch (was) {
	case 0:
		ps2_keyboard_write(d->keyboard, v);
		interface_on(d, MODE_KEYBOARD_OFF);
		break;
	case 0x60: mode_write(d, v); break;
	case 0xd1: outport_write(d, v); break;
	case 0xd2: self_reply(d, v, false); break;
	case 0xd3: self_reply(d, v, true); break;
	case 0xd4:
		ps2_mouse_write(d->mouse, v);
		interface_on(d, MODE_MOUSE_OFF);
		break;
	default: break;
	}
}

static const struct io_ops data_ops = {data_read, data_write, 1, 1};
static const struct io_ops command_ops = {status_read, command_write, 1, 1};

static void i8042_reset(struct device *dev)
{
	struct i8042 *d = (struct i8042 *)dev;

	d->s.mode = MODE_KEYBOARD_INT | MODE_MOUSE_INT;
	d->s.status = STATUS_COMMAND | STATUS_UNLOCKED;
	d->s.outport = OUT_NO_RESET | OUT_A20 | OUT_ONES;
	d->s.pending = 0;
	d->s.write_cmd = 0;
	timer_cancel(d->throttle);
	lines_update(d);
}

static void port_init(struct i8042 *d, struct io_region *r, const char *name, uint64_t base,
		      const struct io_ops *ops)
{
	*r = (struct io_region){.name = name,
				.kind = IO_PORT,
				.base = base,
				.size = 1,
				.ops = ops,
				.opaque = d,
				.lock = d->dev.lock,
				.enabled = true};
	io_region_add(d->dev.env->io, r);
}

static int i8042_realize(struct device *dev, struct err *e)
{
	struct i8042 *d = (struct i8042 *)dev;

	d->keyboard_irq = device_gsi(dev, 1);
	d->mouse_irq = device_gsi(dev, 12);
	d->keyboard->irq = (struct irq){device_line, d, PENDING_KEYBOARD};
	d->mouse->irq = (struct irq){device_line, d, PENDING_MOUSE};
	d->throttle = timer_create_guest(dev->env->clock, on_throttle, d, dev->lock);
	port_init(d, &d->data_io, "i8042-data", 0x60, &data_ops);
	port_init(d, &d->command_io, "i8042-cmd", 0x64, &command_ops);
	i8042_reset(dev);
	return 0;
}

static void i8042_unrealize(struct device *dev)
{
	struct i8042 *d = (struct i8042 *)dev;

	io_region_del(&d->data_io);
	io_region_del(&d->command_io);
	d->keyboard->irq = d->mouse->irq = (struct irq){0};
	timer_destroy(d->throttle);
}

static uint8_t outport_default(const struct i8042_state *s)
{
	return (uint8_t)(OUT_NO_RESET | OUT_A20 | OUT_ONES |
			 (s->status & STATUS_FULL ? OUT_FULL : 0) |
			 (s->status & STATUS_MOUSE ? OUT_MOUSE : 0));
}

static void i8042_capture(const struct device *dev, void *state)
{
	const struct i8042 *d = (const struct i8042 *)dev;
	struct i8042_state *s = state;

	*s = d->s;
	s->flags = timer_pending(d->throttle) ? FLAG_THROTTLED : 0;
	if (s->outport == outport_default(s))
		s->outport = 0;
}

static void i8042_apply(struct device *dev, const void *state)
{
	struct i8042 *d = (struct i8042 *)dev;

	d->s = *(const struct i8042_state *)state;
	if (!d->s.outport)
		d->s.outport = outport_default(&d->s);
	timer_cancel(d->throttle);
	if (d->s.flags & FLAG_THROTTLED && pending(&d->s))
		buffer_fill(d);
	else
		lines_update(d);
}

/* 0 stands for the value that follows from the status. */
static bool outport_needed(const void *state)
{
	const struct i8042_state *s = state;

	return s->outport && s->outport != outport_default(s);
}

static bool always(const void *state)
{
	return true;
}

static const struct state_field outport_fields[] = {
	FIELD("outport", struct i8042_state, outport),
	FIELDS_END,
};

static const struct state_table outport_sub = {
	.name = "pckbd_outport",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct i8042_state),
	.fields = outport_fields,
	.needed = outport_needed,
};

static const struct state_field extended_fields[] = {
	FIELD("migration_flags", struct i8042_state, flags),
	FIELD("obsrc", struct i8042_state, source),
	FIELD("obdata", struct i8042_state, obdata),
	FIELD("cbdata", struct i8042_state, cbdata),
	FIELDS_END,
};

static const struct state_table extended_sub = {
	.name = "pckbd/extended_state",
	.version = 0,
	.min_version = 0,
	.size = sizeof(struct i8042_state),
	.fields = extended_fields,
	.needed = always,
};

static const struct state_table *const kbd_subs[] = {&outport_sub, &extended_sub, NULL};

static const struct state_field kbd_fields[] = {
	FIELD("write_cmd", struct i8042_state, write_cmd),
	FIELD("status", struct i8042_state, status),
	FIELD("mode", struct i8042_state, mode),
	FIELD("pending_tmp", struct i8042_state, pending),
	NOT_SENT(struct i8042_state, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table kbd_table = {
	.name = "pckbd",
	.version = 3,
	.min_version = 3,
	.size = sizeof(struct i8042_state),
	.fields = kbd_fields,
	.subsections = kbd_subs,
};

static const struct state_field i8042_fields[] = {
	{.name = "kbd",
	 .kind = STATE_STRUCT,
	 .size = sizeof(struct i8042_state),
	 .count = 1,
	 .stride = sizeof(struct i8042_state),
	 .count_offset = -1,
	 .table = &kbd_table},
	FIELDS_END,
};

static const struct state_table i8042_table = {
	.name = "pckbd",
	.version = 3,
	.min_version = 3,
	.size = sizeof(struct i8042_state),
	.fields = i8042_fields,
};

const struct device_class i8042_class = {
	.name = "i8042",
	.help = "Keyboard controller",
	.bus = "ISA",
	.size = sizeof(struct i8042),
	.continuity = CONTINUITY_STATE,
	.state = &i8042_table,
	.section = "pckbd",
	.realize = i8042_realize,
	.unrealize = i8042_unrealize,
	.reset = i8042_reset,
	.capture = i8042_capture,
	.apply = i8042_apply,
};
