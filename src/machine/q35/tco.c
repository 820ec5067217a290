/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the TCO timer counts down in ticks of 0.6 s once its halt bit is clear. The
 * first time-out raises an SMI (where there is SMM) and starts over; the second, without a reload
 * in between, asks the machine for the watchdog's action, unless NO_REBOOT is set by strap or by
 * software.
 *
 * Source: Intel ICH9 data sheet 13.9.
 */
#include "base/bytes.h"
#include "machine/q35/lpc.h"

#define TICK_NS       600000000LL
#define CNT1_LOCK     0x1000
#define CNT1_HALT     0x0800
#define STS1_TIMEOUT  0x0008
#define STS1_SMI      0x0002
#define STS1_INT      0x0004
#define STS2_SECOND   0x0002
#define STS2_BOOT     0x0004
#define SMI_TCO       0x2000
#define GCS           0x3410 /* in the RCRB */
#define GCS_NO_REBOOT 0x20

enum tco_offset {
	TCO_RLD = 0x00,
	TCO_DAT_IN = 0x02,
	TCO_DAT_OUT = 0x03,
	TCO1_STS = 0x04,
	TCO2_STS = 0x06,
	TCO1_CNT = 0x08,
	TCO2_CNT = 0x0a,
	TCO_MESSAGE1 = 0x0c,
	TCO_MESSAGE2 = 0x0d,
	TCO_WDCNT = 0x0e,
	TCO_SW_IRQ = 0x10,
	TCO_TMR = 0x12,
};

static int64_t now_ns(const struct lpc *l)
{
	return guest_clock_now_ns(l->pci.dev.env->clock);
}

static void start(struct lpc *l)
{
	struct tco_state *t = &l->s.pm.tco;

	t->rld = t->tmr;
	t->expire = now_ns(l) + (t->tmr & 0x3ff) * TICK_NS;
	timer_arm_ns(l->tco_timer, t->expire);
}

static void halt(struct lpc *l)
{
	l->s.pm.tco.expire = -1;
	timer_cancel(l->tco_timer);
}

/* A count of 0 or 1 is ignored. */
static bool can_start(const struct tco_state *t)
{
	return !(t->cnt1 & CNT1_HALT) && (t->tmr & 0x3ff) > 1;
}

/**
 * tco_expired() - The timer ran out
 * @opaque:	The LPC bridge; chipset lock held
 */
void tco_expired(void *opaque)
{
	struct lpc *l = opaque;
	struct tco_state *t = &l->s.pm.tco;
	bool reboot = !l->noreboot && !(load_le32(l->s.rcrb + GCS) & GCS_NO_REBOOT);

	t->rld = 0;
	t->sts1 |= STS1_TIMEOUT;
	if (++t->timeouts == 2) {
		t->sts2 |= STS2_SECOND | STS2_BOOT;
		t->timeouts = 0;
		if (reboot) {
			device_request(&l->pci.dev, MACHINE_WATCHDOG, 0);
			halt(l);
			return;
		}
	}
	if (l->s.pm.smi_en & SMI_TCO)
		smi_raise(l, VM_SMI_FIRST);
	if (can_start(t))
		start(l);
	else
		halt(l);
}

/* Ticks left, as the guest reads the reload register. */
static uint16_t left(const struct lpc *l)
{
	const struct tco_state *t = &l->s.pm.tco;

	if (t->expire < 0)
		return t->rld;
	return (uint16_t)(((t->expire - now_ns(l)) / TICK_NS & 0x3ff) | (t->rld & 0xfc00));
}

/**
 * tco_read() - The guest reads
 * @l:		The LPC bridge; chipset lock held
 * @offset:	Multiple of 4 in the block
 *
 * Return: four bytes, little-endian
 */
uint32_t tco_read(struct lpc *l, unsigned int offset)
{
	const struct tco_state *t = &l->s.pm.tco;

	switch (offset) {
	case TCO_RLD: return left(l) | (uint32_t)t->din << 16 | (uint32_t)t->dout << 24;
	case TCO1_STS: return t->sts1 | (uint32_t)t->sts2 << 16;
	case TCO1_CNT: return t->cnt1 | (uint32_t)t->cnt2 << 16;
	case TCO_MESSAGE1: return t->msg1 | (uint32_t)t->msg2 << 8 | (uint32_t)t->wdcnt << 16;
	case TCO_SW_IRQ: return t->sw_irq_gen | (uint32_t)t->tmr << 16;
	default: return 0;
	}
}

static void reload_write(struct lpc *l, uint16_t value)
{
	struct tco_state *t = &l->s.pm.tco;

	t->timeouts = 0;
	if (can_start(t))
		start(l);
	else
		t->rld = value;
}

static void control_write(struct lpc *l, uint16_t value)
{
	struct tco_state *t = &l->s.pm.tco;

	t->cnt1 = (uint16_t)((value & 0xfeff) | (t->cnt1 & CNT1_LOCK));
	if (can_start(t))
		start(l);
	else
		halt(l);
}

/**
 * tco_write() - The guest writes
 * @l:		The LPC bridge; chipset lock held
 * @offset:	In the block
 * @value:	A register's new value; a byte comes zero-extended
 */
void tco_write(struct lpc *l, unsigned int offset, uint16_t value)
{
	struct tco_state *t = &l->s.pm.tco;
	uint8_t byte = (uint8_t)value;

	switch (offset) {
	case TCO_RLD: reload_write(l, value); break;
	case TCO_DAT_IN:
		t->din = byte;
		t->sts1 |= STS1_SMI;
		smi_raise(l, VM_SMI_FIRST);
		break;
	case TCO_DAT_OUT:
		t->dout = byte;
		t->sts1 |= STS1_INT;
		break;
	case TCO1_STS: t->sts1 = value & 0xe870; break;
	case TCO2_STS: t->sts2 = value & 0xfff8; break;
	case TCO1_CNT: control_write(l, value); break;
	case TCO2_CNT: t->cnt2 = value; break;
	case TCO_MESSAGE1: t->msg1 = byte; break;
	case TCO_MESSAGE2: t->msg2 = byte; break;
	case TCO_WDCNT: t->wdcnt = byte; break;
	case TCO_SW_IRQ: t->sw_irq_gen = byte; break;
	case TCO_TMR: t->tmr = value; break;
	default: break;
	}
}

/**
 * tco_reset() - To power-on values, halted
 * @l:		The LPC bridge
 */
void tco_reset(struct lpc *l)
{
	halt(l);
	l->s.pm.tco = (struct tco_state){
		.cnt2 = 0x0008, .tmr = 4, .sw_irq_gen = 3, .timer = -1, .expire = -1};
}
