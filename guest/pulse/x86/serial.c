/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console, polled: lines go through a queue, one character at a time, so that no beat waits for
 * a whole line. The device is asked once per FIFO's worth whether it is empty.
 */
#include "insn.h"
#include "platform.h"

#define PORT         0x3f8
#define REG_FIFO     2
#define REG_LINE     3
#define REG_MODEM    4
#define REG_STATUS   5
#define STATUS_DATA  1
#define STATUS_EMPTY 0x20
#define FIFO_BYTES   16
#define FLUSH_NS     2000000000ull

static char queue[16384] __attribute__((section(".noinit")));
static size_t head, tail; /* written and sent so far; tail <= head */
static unsigned int room; /* what the FIFO surely takes */
static bool present;

void serial_start(void)
{
	present = inb(PORT + REG_STATUS) != 0xff;
	if (!present)
		return;
	outb(PORT + REG_LINE, 0x03); /* 8 bits, no parity */
	outb(PORT + REG_FIFO, 0x07);
	outb(PORT + REG_MODEM, 0x03);
}

void serial_send(const char *s, size_t length)
{
	if (!present)
		return;
	if (head == tail)
		head = tail = 0;
	if (length > sizeof(queue) - head)
		return;
	memcpy(queue + head, s, length);
	head += length;
}

bool serial_step(void)
{
	if (head == tail)
		return false;
	if (room) {
		outb(PORT, (uint8_t)queue[tail++]);
		room--;
	} else if (inb(PORT + REG_STATUS) & STATUS_EMPTY) {
		room = FIFO_BYTES;
	}
	return true;
}

int serial_poll(void)
{
	if (!present || !(inb(PORT + REG_STATUS) & STATUS_DATA))
		return -1;
	return inb(PORT);
}

/* A reader that went away must not keep the guest: given up when nothing moves for a while. */
void serial_flush(void)
{
	uint64_t limit = clock_ticks(&witness.clock, FLUSH_NS), moved = tsc();
	size_t before = tail;

	while (serial_step() && tsc() - moved < limit) {
		if (tail != before)
			moved = tsc();
		before = tail;
	}
}
