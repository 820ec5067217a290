/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_SERIAL_H
#define DEVICE_SERIAL_H

#include "char/char.h"
#include "device/device.h"

#define SERIAL_FIFO 16

/**
 * struct serial_fifo - A ring of bytes
 * @capacity:	SERIAL_FIFO; on the wire before the data
 * @head:	Oldest byte
 * @num:	How many
 */
struct serial_fifo {
	uint32_t capacity, head, num;
	uint8_t data[SERIAL_FIFO];
};

/**
 * struct serial_state - What the guest can see of the port
 * @timeout, @poll_timer: Expiries; the second is never pending here
 * @thr_ipending: The transmitter became empty since the guest last knew; -1 in a stream that
 * doesn't say
 * @tsr_retry:	The byte in the shift register waits for the back end
 * @timeout_ipending: Bytes have lain in the FIFO for four character times
 * @poll_msl:	-1: the modem lines aren't a real port's
 */
struct serial_state {
	int64_t timeout, poll_timer;
	int32_t thr_ipending, timeout_ipending, poll_msl;
	uint32_t tsr_retry;
	struct serial_fifo recv, xmit;
	uint16_t divider;
	uint8_t rbr, ier, iir, lcr, mcr, lsr, msr, scr, fcr;
	uint8_t thr, tsr;
	uint8_t reserved[3];
};

/**
 * struct serial - A serial port
 * @chr:	Back end, or NULL
 */
struct serial {
	struct device dev;
	struct serial_state s;
	struct char_backend *chr;
	uint32_t index, iobase, line, baudbase;
	bool wakeup;
	struct irq irq;
	struct timer *timeout;
	struct io_region io;
};

extern const struct state_table serial_table;

#endif
