/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: port 0x61 gates channel 2 of the PIT, by which kernels calibrate their
 * clocks, and the speaker, which is silent. KVM's PIT answers this port in the kernel; then nothing
 * arrives here and the state stays as after reset, as on QEMU.
 */
#include "device/pcspk.h"

#include "device/classes.h"

static uint64_t pcspk_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pcspk *d = opaque;
	unsigned int pit = d->pit_read ? d->pit_read(d->pit_opaque) : 0;

	d->s.refresh ^= 0x10;
	return (pit & 1) | (uint64_t)d->s.data_on << 1 | d->s.refresh | (pit & 2) << 4;
}

static void pcspk_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pcspk *d = opaque;

	d->s.data_on = value >> 1 & 1;
	if (d->pit_gate)
		d->pit_gate(d->pit_opaque, value & 1);
}

static const struct io_ops pcspk_ops = {pcspk_read, pcspk_write, 1, 1};

static int pcspk_realize(struct device *dev, struct err *e)
{
	struct pcspk *d = (struct pcspk *)dev;

	d->io = (struct io_region){.name = "pcspk",
				   .kind = IO_PORT,
				   .base = 0x61,
				   .size = 1,
				   .ops = &pcspk_ops,
				   .opaque = d,
				   .lock = dev->lock,
				   .enabled = true};
	io_region_add(dev->env->io, &d->io);
	return 0;
}

static void pcspk_unrealize(struct device *dev)
{
	io_region_del(&((struct pcspk *)dev)->io);
}

static void pcspk_capture(const struct device *dev, void *state)
{
	*(struct pcspk_state *)state = ((const struct pcspk *)dev)->s;
}

static void pcspk_apply(struct device *dev, const void *state)
{
	const struct pcspk_state *s = state;

	((struct pcspk *)dev)->s.data_on = s->data_on & 1;
	((struct pcspk *)dev)->s.refresh = s->refresh & 0x10;
}

static const struct state_field pcspk_fields[] = {
	FIELD("data_on", struct pcspk_state, data_on),
	FIELD("dummy_refresh_clock", struct pcspk_state, refresh),
	FIELDS_END,
};

static const struct state_table pcspk_table = {
	.name = "pcspk",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct pcspk_state),
	.fields = pcspk_fields,
};

const struct device_class pcspk_class = {
	.name = "isa-pcspk",
	.help = "PC speaker",
	.bus = "ISA",
	.size = sizeof(struct pcspk),
	.continuity = CONTINUITY_STATE,
	.state = &pcspk_table,
	.section = "pcspk",
	.realize = pcspk_realize,
	.unrealize = pcspk_unrealize,
	.capture = pcspk_capture,
	.apply = pcspk_apply,
};
