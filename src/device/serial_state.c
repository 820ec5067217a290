/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the serial port on the wire: QEMU's "serial" version 3, nested once because
 * its ISA port is a struct of its own.
 */
#include "device/serial.h"
#include "device/wire.h"

#include <errno.h>
#include <linux/serial_reg.h>

#define S struct serial_state

static const struct state_field fifo_fields[] = {
	FIELD("data", struct serial_fifo, data),
	FIELD("head", struct serial_fifo, head),
	FIELD("num", struct serial_fifo, num),
	NOT_SENT(struct serial_fifo, capacity, "always 16"),
	FIELDS_END,
};

static int fifo_check(const void *state, unsigned int version, struct err *e)
{
	const struct serial_fifo *f = state;

	if (f->head >= SERIAL_FIFO || f->num > SERIAL_FIFO)
		return err_set(e, EINVAL, "head %u, num %u: the FIFO has 16 bytes", f->head,
			       f->num);
	return 0;
}

static const struct state_table fifo_table = {
	.name = "Fifo8",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct serial_fifo),
	.fields = fifo_fields,
	.check = fifo_check,
};

static bool thr_needed(const void *state)
{
	const S *s = state;

	return s->thr_ipending >= 0 && s->ier & UART_IER_THRI &&
	       s->thr_ipending != ((s->iir & 0x0f) == UART_IIR_THRI);
}

static bool tsr_needed(const void *state)
{
	return ((const S *)state)->tsr_retry != 0;
}

static bool recv_needed(const void *state)
{
	return ((const S *)state)->recv.num != 0;
}

static bool xmit_needed(const void *state)
{
	return ((const S *)state)->xmit.num != 0;
}

static bool timeout_needed(const void *state)
{
	return ((const S *)state)->timeout >= 0;
}

static bool timeout_ipending_needed(const void *state)
{
	return ((const S *)state)->timeout_ipending != 0;
}

static bool poll_needed(const void *state)
{
	return ((const S *)state)->poll_msl >= 0;
}

#define SUBSECTION(var, wire, test, ...)                                            \
	static const struct state_field var##_fields[] = {__VA_ARGS__, FIELDS_END}; \
	static const struct state_table var = {                                     \
		.name = wire,                                                       \
		.version = 1,                                                       \
		.min_version = 1,                                                   \
		.size = sizeof(S),                                                  \
		.fields = var##_fields,                                             \
		.needed = test,                                                     \
	}

SUBSECTION(thr_sub, "serial/thr_ipending", thr_needed, FIELD("thr_ipending", S, thr_ipending));
SUBSECTION(tsr_sub, "serial/tsr", tsr_needed, FIELD("tsr_retry", S, tsr_retry),
	   FIELD("thr", S, thr), FIELD("tsr", S, tsr));
SUBSECTION(recv_sub, "serial/recv_fifo", recv_needed,
	   FIELD_STRUCT("recv_fifo", S, recv, &fifo_table));
SUBSECTION(xmit_sub, "serial/xmit_fifo", xmit_needed,
	   FIELD_STRUCT("xmit_fifo", S, xmit, &fifo_table));
SUBSECTION(timeout_sub, "serial/fifo_timeout_timer", timeout_needed,
	   FIELD_TIMER("fifo_timeout_timer", S, timeout));
SUBSECTION(ipending_sub, "serial/timeout_ipending", timeout_ipending_needed,
	   FIELD("timeout_ipending", S, timeout_ipending));
SUBSECTION(poll_sub, "serial/poll", poll_needed, FIELD("poll_msl", S, poll_msl),
	   FIELD_TIMER("modem_status_poll", S, poll_timer));

static const struct state_field uart_fields[] = {
	FIELD_V("divider", S, divider, 2),
	FIELD("rbr", S, rbr),
	FIELD("ier", S, ier),
	FIELD("iir", S, iir),
	FIELD("lcr", S, lcr),
	FIELD("mcr", S, mcr),
	FIELD("lsr", S, lsr),
	FIELD("msr", S, msr),
	FIELD("scr", S, scr),
	FIELD_V("fcr_vmstate", S, fcr, 3),
	NOT_SENT(S, reserved, "padding"),
	FIELDS_END,
};

/* TEMT is clear exactly while a byte waits in the shift register. */
static int uart_check(const void *state, unsigned int version, struct err *e)
{
	const S *s = state;

	if (!(s->lsr & UART_LSR_TEMT) != (s->tsr_retry > 0))
		return err_set(e, EINVAL, "lsr: %#x, but tsr_retry is %u", s->lsr, s->tsr_retry);
	if (s->tsr_retry > 4)
		return err_set(e, EINVAL, "tsr_retry: %u, at most 4", s->tsr_retry);
	return 0;
}

static const struct state_table *const uart_subs[] = {
	&thr_sub, &tsr_sub, &recv_sub, &xmit_sub, &timeout_sub, &ipending_sub, &poll_sub, NULL,
};

static const struct state_table uart_table = {
	.name = "serial",
	.version = 3,
	.min_version = 2,
	.size = sizeof(S),
	.fields = uart_fields,
	.subsections = uart_subs,
	.check = uart_check,
};

static const struct state_field serial_fields[] = {
	{.name = "state",
	 .kind = STATE_STRUCT,
	 .size = sizeof(S),
	 .count = 1,
	 .stride = sizeof(S),
	 .count_offset = -1,
	 .table = &uart_table},
	FIELDS_END,
};

static const S serial_fresh = {
	.thr_ipending = -1,
	.timeout = -1,
	.poll_msl = -1,
	.poll_timer = -1,
};

const struct state_table serial_table = {
	.name = "serial",
	.version = 3,
	.min_version = 2,
	.size = sizeof(S),
	.fields = serial_fields,
	.fresh = &serial_fresh,
};
