/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: ICH9's power management block of 128 ports at PMBASE: PM1a event and
 * control, the PM timer (3.579545 MHz, 24 bits, counted in guest time), GPE0, SMI control and the
 * watchdog (tco.c). The system control interrupt is high while an enabled event is set. Sleeping,
 * power-off and the watchdog's action are asked of the machine.
 *
 * Source: Intel ICH9 data sheet 13.8.3; ACPI 6.4, 4.8. Registers are composed and cut in units of 4
 * bytes, so every width and alignment reads what is there.
 */
#include "base/bytes.h"
#include "machine/q35/lpc.h"

#define PM_HZ 3579545

enum pm_offset {
	PM1_STS = 0x00,
	PM1_EN = 0x02,
	PM1_CNT = 0x04,
	PM_TMR = 0x08,
	GPE0_STS = 0x20,
	GPE0_EN = 0x28,
	GPE0_END = 0x30,
	SMI_EN = 0x30,
	SMI_STS = 0x34,
	TCO_BASE = 0x60,
	TCO_END = 0x80,
};

#define PM1_TIMER        0x0001
#define PM1_GLOBAL       0x0020
#define PM1_POWER_BUTTON 0x0100
#define PM1_RTC          0x0400
#define PM1_WAKE         0x8000
#define PM1_EVENTS       (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC)
#define CNT_SCI_EN       0x0001
#define CNT_SLEEP        0x2000
#define SMI_GLOBAL       0x00000001
#define SMI_APMC         0x00000020
#define SMI_TCO          0x00002000
#define TCO_LOCK         0x1000 /* in TCO1_CNT */
#define APM_ACPI_ENABLE  2
#define APM_ACPI_DISABLE 3

static int64_t now_ns(const struct lpc *l)
{
	return guest_clock_now_ns(l->pci.dev.env->clock);
}

static int64_t scale(int64_t value, int64_t by, int64_t over)
{
	return (int64_t)((__int128)value * by / over);
}

static int64_t ticks(const struct lpc *l)
{
	return scale(now_ns(l), PM_HZ, NS_PER_SEC);
}

static int64_t overflow_ns(const struct lpc *l)
{
	return scale(l->s.pm.overflow, NS_PER_SEC, PM_HZ);
}

static uint16_t sts_read(struct lpc *l)
{
	if (now_ns(l) >= overflow_ns(l))
		l->s.pm.sts |= PM1_TIMER;
	return l->s.pm.sts;
}

/**
 * sci_update() - Drive the SCI as status and enable bits say, and arm the PM timer's interrupt if
 * it is wanted
 * @l:		The LPC bridge; chipset lock held
 */
void sci_update(struct lpc *l)
{
	struct pm_state *p = &l->s.pm;
	uint16_t sts = sts_read(l);

	sci_set(l, (sts & p->en & PM1_EVENTS) || (p->gpe_sts[0] & p->gpe_en[0]));
	if (p->en & PM1_TIMER && !(sts & PM1_TIMER))
		timer_arm_ns(l->pm_timer, overflow_ns(l) + 1);
	else
		timer_cancel(l->pm_timer);
}

static void on_overflow(void *opaque)
{
	struct lpc *l = opaque;

	device_request(&l->pci.dev, MACHINE_WAKEUP, WAKEUP_PM_TIMER);
	sci_update(l);
}

static void sts_write(struct lpc *l, uint16_t value)
{
	if (sts_read(l) & value & PM1_TIMER)
		l->s.pm.overflow = (ticks(l) + 0x800000) & ~0x7fffffLL;
	l->s.pm.sts &= (uint16_t)~value;
	sci_update(l);
}

static void sleep_request(struct lpc *l, unsigned int type)
{
	if (type == 0)
		device_request(&l->pci.dev, MACHINE_POWEROFF, 0);
	else if (type == 1)
		device_request(&l->pci.dev, MACHINE_SUSPEND, 0);
	else if (type == l->s4_type)
		device_request(&l->pci.dev, MACHINE_HIBERNATE, 0);
}

static void cnt_write(struct lpc *l, uint16_t value)
{
	l->s.pm.cnt = (uint16_t)(value & ~CNT_SLEEP);
	if (value & CNT_SLEEP)
		sleep_request(l, value >> 10 & 7);
}

static void smi_en_write(struct lpc *l, uint32_t value)
{
	uint32_t wmask = l->smi_wmask;

	if (l->s.pm.tco.cnt1 & TCO_LOCK)
		wmask &= ~(uint32_t)SMI_TCO;
	l->s.pm.smi_en = (l->s.pm.smi_en & ~wmask) | (value & wmask);
}

static void gpe_write(struct lpc *l, unsigned int offset, uint8_t value)
{
	if (offset < GPE0_EN)
		l->s.pm.gpe_sts[offset - GPE0_STS] &= (uint8_t)~value;
	else
		l->s.pm.gpe_en[offset - GPE0_EN] = value;
	sci_update(l);
}

static uint32_t word_read(struct lpc *l, unsigned int offset)
{
	struct pm_state *p = &l->s.pm;

	if (offset >= TCO_BASE)
		return tco_read(l, offset - TCO_BASE);
	if (offset >= GPE0_STS && offset < GPE0_EN)
		return load_le32(p->gpe_sts + (offset - GPE0_STS));
	if (offset >= GPE0_EN && offset < GPE0_END)
		return load_le32(p->gpe_en + (offset - GPE0_EN));
	switch (offset) {
	case PM1_STS: return sts_read(l) | (uint32_t)p->en << 16;
	case PM1_CNT: return p->cnt;
	case PM_TMR: return ticks(l) & 0xffffff;
	case SMI_EN: return p->smi_en;
	case SMI_STS: return p->smi_sts;
	default: return 0;
	}
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned int size)
{
	uint32_t word = word_read(opaque, (unsigned int)(offset & ~3ull));

	return word >> 8 * (offset & 3);
}

/* A byte written to a register of two: the other one keeps what it has, or, where a 1 clears, stays
 * as it is. */
static uint16_t half(uint16_t now, uint64_t offset, uint8_t value)
{
	return (uint16_t)(offset & 1 ? (now & 0x00ff) | value << 8 : (now & 0xff00) | value);
}

static void byte_write(struct lpc *l, uint64_t offset, uint8_t value)
{
	struct pm_state *p = &l->s.pm;

	switch (offset & ~1ull) {
	case PM1_STS: sts_write(l, half(0, offset, value)); break;
	case PM1_EN:
		p->en = half(p->en, offset, value);
		sci_update(l);
		break;
	case PM1_CNT: cnt_write(l, half(p->cnt, offset, value)); break;
	default: break;
	}
}

static void pm1_write(struct lpc *l, uint64_t offset, uint64_t value, unsigned int size)
{
	for (unsigned int i = 0; i < size; i += 2) {
		uint16_t v = (uint16_t)(value >> 8 * i);

		if (size == 1)
			byte_write(l, offset, (uint8_t)v);
		else if (offset + i == PM1_STS)
			sts_write(l, v);
		else if (offset + i == PM1_CNT)
			cnt_write(l, v);
		else if (offset + i == PM1_EN)
			l->s.pm.en = v;
	}
	sci_update(l);
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct lpc *l = opaque;

	if (offset < PM_TMR)
		pm1_write(l, offset, value, size);
	else if (offset == SMI_EN && size == 4)
		smi_en_write(l, (uint32_t)value);
	else if (offset >= GPE0_STS && offset < GPE0_END)
		for (unsigned int i = 0; i < size; i++)
			gpe_write(l, (unsigned int)offset + i, (uint8_t)(value >> 8 * i));
	else if (offset >= TCO_BASE)
		for (unsigned int i = 0; i < size; i += 2)
			tco_write(l, (unsigned int)offset - TCO_BASE + i,
				  (uint16_t)(size == 1 ? value & 0xff : value >> 8 * i));
}

static const struct io_ops pm_ops = {pm_read, pm_write, 1, 4};

/**
 * pm_place() - The block follows PMBASE, the SCI its selection
 * @l:		The LPC bridge; chipset lock held
 */
void pm_place(struct lpc *l)
{
	static const int8_t lines[] = {9, 10, 11, -1, 20, 21, -1, -1};
	uint8_t control = l->pci.config[0x44];
	uint32_t base = control & 0x80 ? load_le32(l->pci.config + 0x40) & 0xff80 : 0;
	int gsi = lines[control & 7];

	io_region_set(&l->pm_io, base, base != 0);
	if (gsi < 0 || gsi == l->sci_gsi)
		return;
	if (l->s.sci_level) {
		sci_set(l, false);
		l->sci_gsi = gsi;
		sci_set(l, true);
	}
	l->sci_gsi = gsi;
}

/**
 * pm_apm_command() - The guest wrote port 0xb2: ACPI on or off, or an SMI
 * @l:		The LPC bridge; chipset lock held
 * @value:	The command
 */
void pm_apm_command(struct lpc *l, uint8_t value)
{
	if (l->smi && value == APM_ACPI_ENABLE)
		l->s.pm.cnt |= CNT_SCI_EN;
	else if (l->smi && value == APM_ACPI_DISABLE)
		l->s.pm.cnt &= (uint16_t)~CNT_SCI_EN;
	else if (value != APM_ACPI_ENABLE && value != APM_ACPI_DISABLE && l->s.pm.smi_en & SMI_APMC)
		smi_raise(l, l->s.smi_negotiated & SMI_BROADCAST ? VM_SMI_ALL : VM_SMI_CURRENT);
}

/**
 * pm_reset() - To power-on values
 * @l:		The LPC bridge
 *
 * Without SMM the machine starts in ACPI mode, and APMC_EN says to firmware that SMM is set up
 * already.
 */
void pm_reset(struct lpc *l)
{
	struct pm_state *p = &l->s.pm;

	p->sts = p->en = 0;
	p->cnt = l->smi ? 0 : CNT_SCI_EN;
	p->overflow = 0;
	p->timer = -1;
	memset(p->gpe_sts, 0, 8);
	memset(p->gpe_en, 0, 8);
	p->smi_en = l->smi ? 0 : SMI_APMC;
	l->smi_wmask = UINT32_MAX;
	tco_reset(l);
	sci_update(l);
}

/**
 * pm_apply() - Derive timers and the SCI from loaded state
 * @l:		The LPC bridge
 */
void pm_apply(struct lpc *l)
{
	timer_restore_ns(l->pm_timer, l->s.pm.timer);
	timer_restore_ns(l->tco_timer, l->s.pm.tco.timer);
	if (l->pci.config[0xa0] & 0x10) /* SMI_LOCK */
		l->smi_wmask &= ~(uint32_t)SMI_GLOBAL;
}

/**
 * pm_init() - Make the block; pm_place() shows it
 * @l:		The LPC bridge
 */
void pm_init(struct lpc *l)
{
	struct device *dev = &l->pci.dev;
	const uint8_t states[6] = {0x80,
				   0,
				   0,
				   (uint8_t)(l->s3_off ? 1 : 0x81),
				   (uint8_t)(l->s4_type | (l->s4_off ? 0 : 0x80)),
				   0x80};
	struct err e;

	l->sci_gsi = 9;
	l->pm_timer = timer_create_guest(dev->env->clock, on_overflow, l, dev->lock);
	l->tco_timer = timer_create_guest(dev->env->clock, tco_expired, l, dev->lock);
	l->pm_io = (struct io_region){.name = "ich9-pm",
				      .kind = IO_PORT,
				      .size = 128,
				      .ops = &pm_ops,
				      .opaque = l,
				      .lock = dev->lock};
	io_region_add(dev->env->io, &l->pm_io);
	if (l->fw_cfg &&
	    fw_cfg_add_file(l->fw_cfg, "etc/system-states", states, sizeof(states), &e))
		return; /* the directory is full: firmware then assumes every state works */
}

/**
 * pm_release() - Take the block away
 * @l:		The LPC bridge
 */
void pm_release(struct lpc *l)
{
	io_region_del(&l->pm_io);
	timer_destroy(l->pm_timer);
	timer_destroy(l->tco_timer);
}

static void lpc_lock(struct lpc *l)
{
	pthread_mutex_lock(l->pci.dev.lock);
}

static void lpc_unlock(struct lpc *l)
{
	pthread_mutex_unlock(l->pci.dev.lock);
}

/**
 * lpc_power_button() - Press the power button
 * @l:		The LPC bridge; main thread. Nothing happens unless the guest listens
 */
void lpc_power_button(struct lpc *l)
{
	lpc_lock(l);
	if (l->s.pm.en & PM1_POWER_BUTTON) {
		l->s.pm.sts |= PM1_POWER_BUTTON;
		sci_update(l);
	}
	lpc_unlock(l);
}

/**
 * lpc_gpe_event() - Raise a general purpose event
 * @l:		The LPC bridge; main thread
 * @bit:	Which
 */
void lpc_gpe_event(struct lpc *l, enum gpe_bit bit)
{
	lpc_lock(l);
	l->s.pm.gpe_sts[0] |= (uint8_t)(1u << bit);
	sci_update(l);
	lpc_unlock(l);
}

/**
 * lpc_may_wake() - Does the guest want to be woken for this?
 * @l:		The LPC bridge; main thread
 * @reason:	Why
 *
 * Return: whether it left the event enabled when it went to sleep; others always wake it
 */
bool lpc_may_wake(const struct lpc *l, enum wakeup_reason reason)
{
	switch (reason) {
	case WAKEUP_RTC: return l->s.pm.en & PM1_RTC;
	case WAKEUP_PM_TIMER: return l->s.pm.en & PM1_TIMER;
	default: return true;
	}
}

/**
 * lpc_wakeup() - The guest wakes from S3: say so, and what woke it
 * @l:		The LPC bridge; main thread, after the machine's reset
 * @reason:	What did; all that ACPI has no bit for looks like the power button
 */
void lpc_wakeup(struct lpc *l, enum wakeup_reason reason)
{
	lpc_lock(l);
	l->s.pm.sts |= PM1_WAKE | (reason == WAKEUP_RTC        ? PM1_RTC
				   : reason == WAKEUP_PM_TIMER ? PM1_TIMER
							       : PM1_POWER_BUTTON);
	lpc_unlock(l);
}
