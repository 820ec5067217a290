/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an access costs that the VMM, or KVM for it, has to answer: made COUNT times in a row, each
 * between two readings of the clock. All of them are harmless while the devices work: a status is
 * read, a scratch register written, a doorbell rung with nothing new in the queue.
 */
#include "insn.h"
#include "virtio.h"

#define COUNT          255
#define SERIAL_STATUS  0x3fd
#define SERIAL_SCRATCH 0x3ff
#define QUEUE_SELECT   22 /* in virtio's common configuration */

static uint64_t ticks[COUNT];

static void port_read(void)
{
	inb(SERIAL_STATUS);
}

static void port_write(void)
{
	outb(SERIAL_SCRATCH, 0x55);
}

static void mmio_read(void)
{
	io_device->transport->status(io_device);
}

static void mmio_write(void)
{
	*(volatile uint16_t *)(io_device->regs + QUEUE_SELECT) = 0;
}

static void doorbell(void)
{
	virtio_doorbell(io_queue);
}

static void sort(void)
{
	for (int i = 1; i < COUNT; i++) {
		uint64_t value = ticks[i];
		int at = i;

		for (; at && ticks[at - 1] > value; at--)
			ticks[at] = ticks[at - 1];
		ticks[at] = value;
	}
}

static struct pulse_exit measure(const struct clock *clock, enum pulse_exit_kind kind,
				 void (*access)(void))
{
	for (int i = 0; i < COUNT; i++) {
		uint64_t before = tsc();

		access();
		ticks[i] = tsc() - before;
	}
	sort();
	return (struct pulse_exit){.kind = kind,
				   .count = COUNT,
				   .median_ns = clock_ns(clock, ticks[COUNT / 2]),
				   .min_ns = clock_ns(clock, ticks[0]),
				   .max_ns = clock_ns(clock, ticks[COUNT - 1])};
}

void exits_measure(const struct witness *w, struct pulse_exit *out)
{
	*out++ = measure(&w->clock, PULSE_EXIT_PORT_READ, port_read);
	*out++ = measure(&w->clock, PULSE_EXIT_PORT_WRITE, port_write);
	if (!io_device || io_device->transport != &virtio_pci || !io_queue)
		return;
	*out++ = measure(&w->clock, PULSE_EXIT_MMIO_READ, mmio_read);
	*out++ = measure(&w->clock, PULSE_EXIT_MMIO_WRITE, mmio_write);
	*out++ = measure(&w->clock, PULSE_EXIT_DOORBELL, doorbell);
}
