/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a 16550A. Bytes go out as fast as the back end takes them, not at the baud
 * rate (which only sets the receive time-out). A byte the back end has no room for waits in the
 * transmit shift register (TEMT stays clear) until the back end is writable, four times at most;
 * then it is lost, as on a line without flow control. A receive interrupt comes at the FIFO's
 * trigger level, or when bytes have lain there for four character times.
 *
 * Source: National Semiconductor PC16550D data sheet; thr_ipending follows Windows' expectations as
 * QEMU's does.
 */
#include "device/serial.h"

#include "device/classes.h"

#include <errno.h>
#include <linux/serial_reg.h>

#define RETRIES   4
#define LSR_INT   (UART_LSR_OE | UART_LSR_PE | UART_LSR_FE | UART_LSR_BI)
#define ID_MASK   0x0f
#define MSR_INPUT (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

static bool fifos_on(const struct serial_state *s)
{
	return s->fcr & UART_FCR_ENABLE_FIFO;
}

static void fifo_put(struct serial_fifo *f, uint8_t byte)
{
	f->data[(f->head + f->num++) % SERIAL_FIFO] = byte;
}

static uint8_t fifo_take(struct serial_fifo *f)
{
	uint8_t byte = f->data[f->head];

	f->head = (f->head + 1) % SERIAL_FIFO;
	f->num--;
	return byte;
}

static void fifo_clear(struct serial_fifo *f)
{
	f->head = f->num = 0;
}

static unsigned int trigger(const struct serial_state *s)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return levels[s->fcr >> 6];
}

static uint8_t interrupt_id(const struct serial_state *s)
{
	if (s->ier & UART_IER_RLSI && s->lsr & LSR_INT)
		return UART_IIR_RLSI;
	if (s->ier & UART_IER_RDI && s->timeout_ipending)
		return UART_IIR_RX_TIMEOUT;
	if (s->ier & UART_IER_RDI && s->lsr & UART_LSR_DR &&
	    (!fifos_on(s) || s->recv.num >= trigger(s)))
		return UART_IIR_RDI;
	if (s->ier & UART_IER_THRI && s->thr_ipending)
		return UART_IIR_THRI;
	if (s->ier & UART_IER_MSI && s->msr & UART_MSR_ANY_DELTA)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static void irq_update(struct serial *d)
{
	uint8_t id = interrupt_id(&d->s);

	d->s.iir = (uint8_t)(id | (d->s.iir & 0xf0));
	irq_set(&d->irq, id != UART_IIR_NO_INT);
}

/* Time of one character on the line, ns; a zero divisor counts as about 3500 baud. */
static int64_t character_ns(const struct serial *d)
{
	const struct serial_state *s = &d->s;
	unsigned int bits = 1 + (s->lcr & 3) + 5 + (s->lcr & UART_LCR_STOP ? 2 : 1) +
			    (s->lcr & UART_LCR_PARITY ? 1 : 0);
	uint32_t baud = s->divider ? d->baudbase / s->divider : 3500;

	return NS_PER_SEC / MAX(baud, 1u) * bits;
}

static void timeout_arm(struct serial *d)
{
	timer_arm_ns(d->timeout, guest_clock_now_ns(d->dev.env->clock) + 4 * character_ns(d));
}

static void receive(struct serial *d, const uint8_t *buf, size_t len)
{
	struct serial_state *s = &d->s;

	for (size_t i = 0; i < len; i++) {
		if (!fifos_on(s)) {
			s->lsr |= s->lsr & UART_LSR_DR ? UART_LSR_OE : 0;
			s->rbr = buf[i];
		} else if (s->recv.num < SERIAL_FIFO) {
			fifo_put(&s->recv, buf[i]);
		} else {
			s->lsr |= UART_LSR_OE;
		}
		s->lsr |= UART_LSR_DR;
	}
	if (fifos_on(s))
		timeout_arm(d);
	irq_update(d);
}

/* The next byte into the shift register. */
static void shift_in(struct serial *d)
{
	struct serial_state *s = &d->s;

	s->tsr = fifos_on(s) && s->xmit.num ? fifo_take(&s->xmit) : s->thr;
	if (!fifos_on(s) || !s->xmit.num)
		s->lsr |= UART_LSR_THRE;
	if (s->lsr & UART_LSR_THRE && !s->thr_ipending) {
		s->thr_ipending = 1;
		irq_update(d);
	}
}

/* True if the byte in the shift register is gone, false if it waits for the back end. */
static bool shift_out(struct serial *d)
{
	struct serial_state *s = &d->s;

	if (s->mcr & UART_MCR_LOOP)
		receive(d, &s->tsr, 1);
	else if (d->chr && !char_write(d->chr, &s->tsr, 1) && s->tsr_retry < RETRIES) {
		s->tsr_retry++;
		return false;
	}
	s->tsr_retry = 0;
	return true;
}

static void transmit(struct serial *d)
{
	struct serial_state *s = &d->s;

	do {
		if (!s->tsr_retry)
			shift_in(d);
		if (!shift_out(d))
			return;
	} while (!(s->lsr & UART_LSR_THRE));
	s->lsr |= UART_LSR_TEMT;
}

static void thr_write(struct serial *d, uint8_t value)
{
	struct serial_state *s = &d->s;

	s->thr = value;
	if (fifos_on(s)) {
		if (s->xmit.num == SERIAL_FIFO)
			fifo_take(&s->xmit);
		fifo_put(&s->xmit, value);
	}
	s->thr_ipending = 0;
	s->lsr &= (uint8_t) ~(UART_LSR_THRE | UART_LSR_TEMT);
	irq_update(d);
	if (!s->tsr_retry)
		transmit(d);
}

static void ier_write(struct serial *d, uint8_t value)
{
	struct serial_state *s = &d->s;
	uint8_t changed = (s->ier ^ value) & 0x0f;

	s->ier = value & 0x0f;
	if (changed & UART_IER_THRI)
		s->thr_ipending = s->ier & UART_IER_THRI && s->lsr & UART_LSR_THRE;
	if (changed)
		irq_update(d);
}

static void fcr_write(struct serial *d, uint8_t value)
{
	struct serial_state *s = &d->s;

	if ((value ^ s->fcr) & UART_FCR_ENABLE_FIFO)
		value |= UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT;
	if (value & UART_FCR_CLEAR_RCVR) {
		s->lsr &= (uint8_t) ~(UART_LSR_DR | UART_LSR_BI);
		timer_cancel(d->timeout);
		s->timeout_ipending = 0;
		fifo_clear(&s->recv);
	}
	if (value & UART_FCR_CLEAR_XMIT) {
		s->lsr |= UART_LSR_THRE;
		s->thr_ipending = 1;
		fifo_clear(&s->xmit);
	}
	s->fcr = value & 0xc9;
	s->iir = (uint8_t)((s->iir & ~0xc0) | (fifos_on(s) ? 0xc0 : 0));
	irq_update(d);
}

static void divider_write(struct serial_state *s, unsigned int shift, uint8_t value)
{
	s->divider = (uint16_t)((s->divider & ~(0xff << shift)) | value << shift);
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct serial *d = opaque;
	struct serial_state *s = &d->s;
	uint8_t v = (uint8_t)value;

	switch (offset) {
	case UART_TX:
		if (s->lcr & UART_LCR_DLAB)
			divider_write(s, 0, v);
		else
			thr_write(d, v);
		break;
	case UART_IER:
		if (s->lcr & UART_LCR_DLAB)
			divider_write(s, 8, v);
		else
			ier_write(d, v);
		break;
	case UART_FCR: fcr_write(d, v); break;
	case UART_LCR: s->lcr = v; break;
	case UART_MCR: s->mcr = v & 0x1f; break;
	case UART_SCR: s->scr = v; break;
	default: break;
	}
}

static uint8_t rbr_read(struct serial *d)
{
	struct serial_state *s = &d->s;
	uint8_t value = s->rbr;

	if (fifos_on(s)) {
		value = s->recv.num ? fifo_take(&s->recv) : 0;
		s->timeout_ipending = 0;
	}
	if (fifos_on(s) && s->recv.num)
		timeout_arm(d);
	else
		s->lsr &= (uint8_t) ~(UART_LSR_DR | UART_LSR_BI);
	irq_update(d);
	if (d->chr && !(s->mcr & UART_MCR_LOOP))
		char_accept_input(d->chr);
	return value;
}

static uint8_t iir_read(struct serial *d)
{
	uint8_t value = d->s.iir;

	if ((value & ID_MASK) == UART_IIR_THRI) {
		d->s.thr_ipending = 0;
		irq_update(d);
	}
	return value;
}

static uint8_t lsr_read(struct serial *d)
{
	uint8_t value = d->s.lsr;

	if (value & (UART_LSR_BI | UART_LSR_OE)) {
		d->s.lsr &= (uint8_t) ~(UART_LSR_BI | UART_LSR_OE);
		irq_update(d);
	}
	return value;
}

static uint8_t msr_read(struct serial *d)
{
	struct serial_state *s = &d->s;
	uint8_t value = s->msr;

	if (s->mcr & UART_MCR_LOOP)
		return (uint8_t)((s->mcr & 0x0c) << 4 | (s->mcr & 0x02) << 3 |
				 (s->mcr & 0x01) << 5);
	if (value & UART_MSR_ANY_DELTA) {
		s->msr &= 0xf0;
		irq_update(d);
	}
	return value;
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct serial *d = opaque;
	struct serial_state *s = &d->s;

	switch (offset) {
	case UART_RX: return s->lcr & UART_LCR_DLAB ? s->divider & 0xff : rbr_read(d);
	case UART_IER: return s->lcr & UART_LCR_DLAB ? s->divider >> 8 : s->ier;
	case UART_IIR: return iir_read(d);
	case UART_LCR: return s->lcr;
	case UART_MCR: return s->mcr;
	case UART_LSR: return lsr_read(d);
	case UART_MSR: return msr_read(d);
	default: return s->scr;
	}
}

static const struct io_ops serial_ops = {serial_read, serial_write, 1, 1};

static void on_timeout(void *opaque)
{
	struct serial *d = opaque;

	if (d->s.recv.num) {
		d->s.timeout_ipending = 1;
		irq_update(d);
	}
}

/* Up to the trigger level, then one at a time: a guest that asked for few interrupts gets them at
 * the level it set. */
static size_t front_can_receive(void *opaque)
{
	struct serial *d = opaque;
	struct serial_state *s = &d->s;
	size_t room;

	pthread_mutex_lock(d->dev.lock);
	if (!fifos_on(s))
		room = !(s->lsr & UART_LSR_DR);
	else if (s->recv.num == SERIAL_FIFO)
		room = 0;
	else
		room = s->recv.num < trigger(s) ? trigger(s) - s->recv.num : 1;
	pthread_mutex_unlock(d->dev.lock);
	return room;
}

static void front_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct serial *d = opaque;

	pthread_mutex_lock(d->dev.lock);
	if (d->wakeup)
		device_request(&d->dev, MACHINE_WAKEUP, WAKEUP_OTHER);
	receive(d, buf, len);
	pthread_mutex_unlock(d->dev.lock);
}

static void front_event(void *opaque, enum char_event event)
{
	struct serial *d = opaque;

	if (event != CHAR_BREAK)
		return;
	pthread_mutex_lock(d->dev.lock);
	d->s.rbr = 0;
	if (d->s.recv.num < SERIAL_FIFO)
		fifo_put(&d->s.recv, 0);
	d->s.lsr |= UART_LSR_BI | UART_LSR_DR;
	irq_update(d);
	pthread_mutex_unlock(d->dev.lock);
}

static void front_writable(void *opaque)
{
	struct serial *d = opaque;

	pthread_mutex_lock(d->dev.lock);
	if (d->s.tsr_retry)
		transmit(d);
	pthread_mutex_unlock(d->dev.lock);
}

static void serial_reset(struct device *dev)
{
	struct serial *d = (struct serial *)dev;

	d->s = (struct serial_state){
		.divider = 12, /* 9600 baud */
		.iir = UART_IIR_NO_INT,
		.lsr = UART_LSR_TEMT | UART_LSR_THRE,
		.msr = MSR_INPUT,
		.mcr = UART_MCR_OUT2,
		.timeout = -1,
		.poll_msl = -1,
		.poll_timer = -1,
		.recv.capacity = SERIAL_FIFO,
		.xmit.capacity = SERIAL_FIFO,
	};
	timer_cancel(d->timeout);
	irq_set(&d->irq, false);
}

static int attach(struct serial *d, struct err *e)
{
	const struct char_front front = {
		.can_receive = front_can_receive,
		.guest_paced = true,
		.receive = front_receive,
		.event = front_event,
		.writable = front_writable,
		.opaque = d,
	};

	return d->chr ? char_attach(d->chr, d->dev.id ? d->dev.id : "isa-serial", &front, e) : 0;
}

static int serial_realize(struct device *dev, struct err *e)
{
	static const uint16_t ports[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
	static const uint8_t lines[] = {4, 3, 4, 3};
	struct serial *d = (struct serial *)dev;
	int r;

	if (d->index == UINT32_MAX)
		d->index = (uint32_t)dev->instance;
	if (d->index >= ARRAY_SIZE(ports))
		return err_set(e, EINVAL, "there can be four serial ports, index 0 to 3");
	if (d->iobase == UINT32_MAX)
		d->iobase = ports[d->index];
	if (d->line == UINT32_MAX)
		d->line = lines[d->index];
	if (d->iobase > 0xfff8 || d->line > 15)
		return err_set(e, ERANGE, "port %#x, irq %u: no such place", d->iobase, d->line);
	r = attach(d, e);
	if (r)
		return r;
	d->irq = device_gsi(dev, (int)d->line);
	d->timeout = timer_create_guest(dev->env->clock, on_timeout, d, dev->lock);
	d->io = (struct io_region){.name = "serial",
				   .kind = IO_PORT,
				   .base = d->iobase,
				   .size = 8,
				   .ops = &serial_ops,
				   .opaque = d,
				   .lock = dev->lock,
				   .enabled = true};
	serial_reset(dev);
	io_region_add(dev->env->io, &d->io);
	return 0;
}

static void serial_unrealize(struct device *dev)
{
	struct serial *d = (struct serial *)dev;

	io_region_del(&d->io);
	if (d->chr)
		char_detach(d->chr);
	timer_destroy(d->timeout);
	irq_set(&d->irq, false);
}

static void serial_capture(const struct device *dev, void *state)
{
	const struct serial *d = (const struct serial *)dev;
	struct serial_state *s = state;

	*s = d->s;
	s->timeout = timer_expires_ns(d->timeout);
	if (!(s->ier & UART_IER_THRI) || s->thr_ipending == ((s->iir & ID_MASK) == UART_IIR_THRI))
		s->thr_ipending = -1; /* as the other registers say */
}

static void serial_apply(struct device *dev, const void *state)
{
	struct serial *d = (struct serial *)dev;

	d->s = *(const struct serial_state *)state;
	if (d->s.thr_ipending < 0)
		d->s.thr_ipending = (d->s.iir & ID_MASK) == UART_IIR_THRI;
	timer_restore_ns(d->timeout, d->s.timeout);
	irq_set(&d->irq, interrupt_id(&d->s) != UART_IIR_NO_INT);
}

static void serial_run(struct device *dev)
{
	struct serial *d = (struct serial *)dev;

	front_writable(d);
	if (d->chr)
		char_accept_input(d->chr);
}

static const struct prop serial_props[] = {
	{.name = "chardev",
	 .kind = PROP_CHARDEV,
	 .offset = offsetof(struct serial, chr),
	 .help = "Character device it is connected to"},
	{.name = "index",
	 .kind = PROP_U32,
	 .offset = offsetof(struct serial, index),
	 .def = "4294967295",
	 .help = "Which of the four ports; by default the next one"},
	{.name = "iobase",
	 .kind = PROP_U32,
	 .offset = offsetof(struct serial, iobase),
	 .def = "4294967295",
	 .help = "First I/O port; by default the index's"},
	{.name = "irq",
	 .kind = PROP_U32,
	 .offset = offsetof(struct serial, line),
	 .def = "4294967295",
	 .help = "ISA interrupt; by default the index's"},
	{.name = "baudbase",
	 .kind = PROP_U32,
	 .offset = offsetof(struct serial, baudbase),
	 .def = "115200",
	 .help = "Baud rate at divisor 1"},
	{.name = "wakeup",
	 .kind = PROP_BOOL,
	 .offset = offsetof(struct serial, wakeup),
	 .def = "off",
	 .help = "Input wakes a suspended guest"},
	PROPS_END,
};

const struct device_class serial_class = {
	.name = "isa-serial",
	.help = "16550A serial port",
	.bus = "ISA",
	.size = sizeof(struct serial),
	.user = true,
	.continuity = CONTINUITY_STATE,
	.state = &serial_table,
	.section = "serial",
	.props = serial_props,
	.realize = serial_realize,
	.unrealize = serial_unrealize,
	.reset = serial_reset,
	.capture = serial_capture,
	.apply = serial_apply,
	.run = serial_run,
};
