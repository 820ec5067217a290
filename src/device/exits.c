/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: four ports by which software in the guest tells the host something:
 * isa-debug-exit (ends the VMM with a code), pvpanic (the guest's kernel has crashed), port 92
 * (fast A20 and reset), and debugcon (firmware's debug output).
 */
#include "base/log.h"
#include "char/char.h"
#include "device/classes.h"

#include <errno.h>

static void port_init(struct device *dev, struct io_region *r, const char *name, uint64_t base,
		      uint64_t size, const struct io_ops *ops)
{
	*r = (struct io_region){.name = name,
				.kind = IO_PORT,
				.base = base,
				.size = size,
				.ops = ops,
				.opaque = dev,
				.lock = dev->lock,
				.enabled = true};
	io_region_add(dev->env->io, r);
}

/**
 * struct debug_exit - isa-debug-exit
 * @iobase, @iosize: Properties
 */
struct debug_exit {
	struct device dev;
	uint32_t iobase, iosize;
	struct io_region io;
};

static uint64_t zero_read(void *opaque, uint64_t offset, unsigned int size)
{
	return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	device_request(opaque, MACHINE_EXIT, (int)(value << 1 | 1));
}

static const struct io_ops debug_exit_ops = {zero_read, debug_exit_write, 1, 4};

static int debug_exit_realize(struct device *dev, struct err *e)
{
	struct debug_exit *d = (struct debug_exit *)dev;

	port_init(dev, &d->io, "isa-debug-exit", d->iobase, d->iosize, &debug_exit_ops);
	return 0;
}

static void debug_exit_unrealize(struct device *dev)
{
	io_region_del(&((struct debug_exit *)dev)->io);
}

static const struct prop debug_exit_props[] = {
	{.name = "iobase",
	 .kind = PROP_U32,
	 .offset = offsetof(struct debug_exit, iobase),
	 .def = "0x501",
	 .help = "I/O port",
	 .max = 0xffff},
	{.name = "iosize",
	 .kind = PROP_U32,
	 .offset = offsetof(struct debug_exit, iosize),
	 .def = "2",
	 .help = "How many ports",
	 .min = 1,
	 .max = 8},
	PROPS_END,
};

const struct device_class debug_exit_class = {
	.name = "isa-debug-exit",
	.help = "Ends the VMM with the exit code the guest writes",
	.bus = "ISA",
	.size = sizeof(struct debug_exit),
	.user = true,
	.continuity = CONTINUITY_STATELESS,
	.why = "a write ends the VMM, so nothing is ever kept",
	.props = debug_exit_props,
	.realize = debug_exit_realize,
	.unrealize = debug_exit_unrealize,
};

#define PVPANIC_PANICKED    1
#define PVPANIC_CRASHLOADED 2

/**
 * struct pvpanic - The panic port
 * @iobase, @events: Properties
 */
struct pvpanic {
	struct device dev;
	uint16_t iobase;
	uint8_t events;
	struct io_region io;
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned int size)
{
	return ((struct pvpanic *)opaque)->events;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	if (value & PVPANIC_PANICKED)
		device_request(opaque, MACHINE_PANICKED, (int)value);
	else if (value & PVPANIC_CRASHLOADED)
		device_request(opaque, MACHINE_CRASHLOADED, (int)value);
}

static const struct io_ops pvpanic_ops = {pvpanic_read, pvpanic_write, 1, 1};

static int pvpanic_realize(struct device *dev, struct err *e)
{
	struct pvpanic *d = (struct pvpanic *)dev;

	port_init(dev, &d->io, "pvpanic", d->iobase, 1, &pvpanic_ops);
	return 0;
}

static void pvpanic_unrealize(struct device *dev)
{
	io_region_del(&((struct pvpanic *)dev)->io);
}

static const struct prop pvpanic_props[] = {
	{.name = "ioport",
	 .kind = PROP_U16,
	 .offset = offsetof(struct pvpanic, iobase),
	 .def = "0x505",
	 .help = "I/O port"},
	{.name = "events",
	 .kind = PROP_U8,
	 .offset = offsetof(struct pvpanic, events),
	 .def = "3",
	 .help = "Events offered: 1 panicked, 2 crash kernel loaded"},
	PROPS_END,
};

const struct device_class pvpanic_class = {
	.name = "pvpanic",
	.help = "The guest's kernel says here that it has crashed",
	.bus = "ISA",
	.size = sizeof(struct pvpanic),
	.user = true,
	.continuity = CONTINUITY_STATELESS,
	.why = "the port reads as the configured events",
	.props = pvpanic_props,
	.realize = pvpanic_realize,
	.unrealize = pvpanic_unrealize,
};

/**
 * struct port92_state - What the guest can see
 * @outport:	As it was written; bit 1: A20 (always open here), bit 0: reset
 */
struct port92_state {
	uint8_t outport;
};

/**
 * struct port92 - System control port A
 */
struct port92 {
	struct device dev;
	struct port92_state s;
	struct io_region io;
};

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned int size)
{
	return ((struct port92 *)opaque)->s.outport;
}

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct port92 *d = opaque;
	uint8_t was = d->s.outport;

	d->s.outport = (uint8_t)value;
	if (value & 1 && !(was & 1))
		device_request(&d->dev, MACHINE_RESET, 0);
}

static const struct io_ops port92_ops = {port92_read, port92_write, 1, 1};

static void port92_reset(struct device *dev)
{
	((struct port92 *)dev)->s.outport &= (uint8_t)~1;
}

static int port92_realize(struct device *dev, struct err *e)
{
	port_init(dev, &((struct port92 *)dev)->io, "port92", 0x92, 1, &port92_ops);
	return 0;
}

static void port92_unrealize(struct device *dev)
{
	io_region_del(&((struct port92 *)dev)->io);
}

static void port92_capture(const struct device *dev, void *state)
{
	*(struct port92_state *)state = ((const struct port92 *)dev)->s;
}

static void port92_apply(struct device *dev, const void *state)
{
	((struct port92 *)dev)->s = *(const struct port92_state *)state;
}

static const struct state_field port92_fields[] = {
	FIELD("outport", struct port92_state, outport),
	FIELDS_END,
};

static const struct state_table port92_table = {
	.name = "port92",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct port92_state),
	.fields = port92_fields,
};

const struct device_class port92_class = {
	.name = "port92",
	.help = "System control port A: fast A20 and reset",
	.bus = "ISA",
	.size = sizeof(struct port92),
	.continuity = CONTINUITY_STATE,
	.state = &port92_table,
	.section = "port92",
	.realize = port92_realize,
	.unrealize = port92_unrealize,
	.reset = port92_reset,
	.capture = port92_capture,
	.apply = port92_apply,
};

/**
 * struct debugcon - Debug output of firmware
 * @chr:	Where it goes, or NULL
 * @iobase, @readback: Properties
 */
struct debugcon {
	struct device dev;
	struct char_backend *chr;
	uint32_t iobase, readback;
	struct io_region io;
};

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned int size)
{
	return ((struct debugcon *)opaque)->readback;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct debugcon *d = opaque;
	uint8_t byte = (uint8_t)value;

	if (d->chr)
		char_write(d->chr, &byte, 1); /* a full back end loses it: nobody can wait here */
}

static const struct io_ops debugcon_ops = {debugcon_read, debugcon_write, 1, 1};

static size_t takes_nothing(void *opaque)
{
	return 0;
}

static void ignores(void *opaque, const uint8_t *buf, size_t len)
{
}

static int debugcon_realize(struct device *dev, struct err *e)
{
	const struct char_front front = {
		.can_receive = takes_nothing, .receive = ignores, .guest_paced = true};
	struct debugcon *d = (struct debugcon *)dev;
	int r = d->chr ? char_attach(d->chr, "isa-debugcon", &front, e) : 0;

	if (r)
		return r;
	port_init(dev, &d->io, "isa-debugcon", d->iobase, 1, &debugcon_ops);
	return 0;
}

static void debugcon_unrealize(struct device *dev)
{
	struct debugcon *d = (struct debugcon *)dev;

	io_region_del(&d->io);
	if (d->chr)
		char_detach(d->chr);
}

static const struct prop debugcon_props[] = {
	{.name = "iobase",
	 .kind = PROP_U32,
	 .offset = offsetof(struct debugcon, iobase),
	 .def = "0xe9",
	 .help = "I/O port",
	 .max = 0xffff},
	{.name = "chardev",
	 .kind = PROP_CHARDEV,
	 .offset = offsetof(struct debugcon, chr),
	 .help = "Character device it is connected to"},
	{.name = "readback",
	 .kind = PROP_U32,
	 .offset = offsetof(struct debugcon, readback),
	 .def = "0xe9",
	 .help = "What the port reads as"},
	PROPS_END,
};

const struct device_class debugcon_class = {
	.name = "isa-debugcon",
	.help = "Debug output port",
	.bus = "ISA",
	.size = sizeof(struct debugcon),
	.user = true,
	.continuity = CONTINUITY_STATELESS,
	.why = "output only; what was written is gone",
	.props = debugcon_props,
	.realize = debugcon_realize,
	.unrealize = debugcon_unrealize,
};
