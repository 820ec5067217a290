/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the MC146818 as every PC has it. Two timers in host wall-clock time: the
 * periodic interrupt, and the update at each full second, which also raises the alarm. The update
 * timer runs only when somebody could notice: while UF (and AF) are set already, nothing changes
 * until the guest reads register C.
 *
 * A periodic interrupt that comes while the one before is unread is lost on real hardware. Guests
 * that tell the time by counting them can have it later (RTC_SLEW): right after they read the one
 * before, up to 20 times in a row, and in between those that are due.
 *
 * The clock follows the host's wall clock, so a guest that was stopped or moved reads the right
 * time afterwards.
 */
#include "device/rtc_time.h"

#include "base/clock.h"
#include "device/classes.h"
#include "device/wire.h"

#include <errno.h>

#define TICKS_PER_SEC 32768
#define REINJECT_MAX  20 /* in a row; some guests' handlers don't end by themselves */
#define UIP_NS        (8 * NS_PER_SEC / TICKS_PER_SEC) /* UIP is set this long before an update */

static int64_t ticks_ns(int64_t ticks)
{
	return ticks / TICKS_PER_SEC * NS_PER_SEC +
	       ticks % TICKS_PER_SEC * NS_PER_SEC / TICKS_PER_SEC;
}

static int64_t ns_ticks(int64_t ns)
{
	return ns / NS_PER_SEC * TICKS_PER_SEC + ns % NS_PER_SEC * TICKS_PER_SEC / NS_PER_SEC;
}

/* Of the periodic interrupt, in ticks; 0: off. Rates 1 and 2 are those of 8 and 9. */
static uint32_t period_of(const struct rtc_state *s)
{
	unsigned int rate = s->cmos[RTC_A] & 0x0f;

	if (!(s->cmos[RTC_B] & B_PIE) || !rate)
		return 0;
	return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static void catch_up_arm(struct rtc *d)
{
	uint32_t parts = MIN(d->s.irq_coalesced, 7u) + 1;

	if (!d->s.irq_coalesced || !d->s.period)
		timer_cancel(d->catch_up);
	else
		timer_arm_ns(d->catch_up, time_wall_ns() + ticks_ns(d->s.period / parts));
}

static void owe_nothing(struct rtc *d)
{
	d->s.irq_coalesced = 0;
	timer_cancel(d->catch_up);
}

static void owe(struct rtc *d, int64_t ticks)
{
	d->s.irq_coalesced = (uint32_t)MIN((int64_t)d->s.irq_coalesced + ticks, (int64_t)INT32_MAX);
	catch_up_arm(d);
}

/* The line is low: the guest has read what was before. */
static void tick_owed(struct rtc *d)
{
	d->s.irq_coalesced--;
	d->s.cmos[RTC_C] |= C_PF | C_IRQF;
	irq_set(&d->irq, true);
}

static void on_catch_up(void *opaque)
{
	struct rtc *d = opaque;

	if (d->s.irq_coalesced && !(d->s.cmos[RTC_C] & C_IRQF))
		tick_owed(d);
	catch_up_arm(d);
}

/* What is owed in ticks of one period, in those of another one; returns what is left over. */
static int64_t owed_rescale(struct rtc *d, uint32_t was, int64_t passed)
{
	passed += (int64_t)d->s.irq_coalesced * was;
	d->s.irq_coalesced = 0;
	owe(d, passed / d->s.period);
	return passed % d->s.period;
}

/* @was: the period that ran so far; what has passed of it counts towards the new one. */
static void periodic_update(struct rtc *d, int64_t now, uint32_t was)
{
	struct rtc_state *s = &d->s;
	int64_t ticks = ns_ticks(now), passed = 0;

	s->period = period_of(s);
	if (!s->period) {
		owe_nothing(d);
		timer_cancel(d->periodic);
		return;
	}
	if (was)
		passed = ticks - (ns_ticks(s->next_periodic) - was);
	passed = MAX(passed, 0);
	if (was && d->lost_ticks == RTC_SLEW)
		passed = owed_rescale(d, was, passed);
	passed = MIN(passed, (int64_t)s->period);
	s->next_periodic = ticks_ns(ticks + s->period - passed) + 1;
	timer_arm_ns(d->periodic, s->next_periodic);
}

static void flags_raise(struct rtc *d, uint8_t flags)
{
	uint8_t new = (uint8_t)(flags & ~d->s.cmos[RTC_C]);

	d->s.cmos[RTC_C] |= flags;
	if (new & d->s.cmos[RTC_B]) {
		d->s.cmos[RTC_C] |= C_IRQF;
		irq_set(&d->irq, true);
	}
}

static void on_periodic(void *opaque)
{
	struct rtc *d = opaque;
	int64_t now = time_wall_ns();

	int64_t late_ns = now - d->s.next_periodic;
	bool unread = d->s.cmos[RTC_C] & C_IRQF;

	/* A wall clock that jumped ahead doesn't owe the guest a storm of interrupts. */
	periodic_update(d, late_ns < NS_PER_SEC ? d->s.next_periodic : now, 0);
	d->s.cmos[RTC_C] |= C_PF;
	if (!(d->s.cmos[RTC_B] & B_PIE))
		return;
	d->s.cmos[RTC_C] |= C_IRQF;
	irq_set(&d->irq, true);
	if (d->lost_ticks != RTC_SLEW)
		return;
	if (d->s.reinjected >= REINJECT_MAX)
		d->s.reinjected = 0;
	if (late_ns >= NS_PER_SEC)
		owe(d, ns_ticks(late_ns) / d->s.period);
	if (unread)
		owe(d, 1);
}

/* Arms the update timer for what can next change. */
static void update_arm(struct rtc *d)
{
	struct rtc_state *s = &d->s;
	int64_t now = time_wall_ns(), next;

	if ((s->cmos[RTC_A] & 0x60) == 0x60) { /* divider in reset */
		timer_cancel(d->update);
		return;
	}
	rtc_to_registers(d, now);
	next = now + NS_PER_SEC - rtc_second_ns(s, now);
	s->next_alarm = (uint64_t)(next + (rtc_alarm_seconds(s) - 1) * NS_PER_SEC);
	if (!(s->cmos[RTC_A] & A_UIP) && s->cmos[RTC_C] & C_UF) {
		if (s->cmos[RTC_B] & B_SET || s->cmos[RTC_C] & C_AF) {
			timer_cancel(d->update);
			return;
		}
		next = (int64_t)s->next_alarm;
	}
	timer_arm_ns(d->update, next);
}

static void on_update(void *opaque)
{
	struct rtc *d = opaque;
	int64_t now = time_wall_ns();
	bool alarm = (uint64_t)now >= d->s.next_alarm;

	rtc_to_registers(d, now);
	d->s.cmos[RTC_A] &= (uint8_t)~A_UIP;
	if (alarm && d->s.cmos[RTC_B] & B_AIE)
		device_request(&d->dev, MACHINE_WAKEUP, WAKEUP_RTC);
	flags_raise(d, (uint8_t)(C_UF | (alarm ? C_AF : 0)));
	update_arm(d);
}

static bool updating(struct rtc *d)
{
	struct rtc_state *s = &d->s;
	int64_t now = time_wall_ns(), at = timer_expires_ns(d->update);

	if (!rtc_running(s))
		return false;
	if (at >= 0 && now >= at - UIP_NS) {
		s->cmos[RTC_A] |= A_UIP; /* until the timer has run */
		return true;
	}
	return rtc_second_ns(s, now) >= NS_PER_SEC - UIP_NS;
}

/* Whoever starts the guest next time may want to know. */
static void time_set(struct rtc *d, int64_t now)
{
	rtc_from_registers(d, now);
	device_request(&d->dev, MACHINE_RTC_SET, 0);
}

static void a_write(struct rtc *d, uint8_t value)
{
	struct rtc_state *s = &d->s;
	uint8_t was = s->cmos[RTC_A];
	uint32_t period = period_of(s);
	int64_t now = time_wall_ns();

	if ((value & 0x60) == 0x60) {
		if (rtc_running(s))
			rtc_to_registers(d, now);
		was &= (uint8_t)~A_UIP;
	} else if ((was & 0x60) == 0x60 && (value & 0x70) <= 0x20) {
		if (!(s->cmos[RTC_B] & B_SET)) { /* out of reset: first update in half a second */
			s->offset = NS_PER_SEC / 2;
			time_set(d, now);
		}
		was &= (uint8_t)~A_UIP;
	}
	s->cmos[RTC_A] = (uint8_t)((value & ~A_UIP) | (was & A_UIP));
	if ((was ^ value) & 0x0f)
		periodic_update(d, now, period);
	update_arm(d);
}

static void b_write(struct rtc *d, uint8_t value)
{
	struct rtc_state *s = &d->s;
	uint8_t was = s->cmos[RTC_B];
	uint32_t period = period_of(s);
	int64_t now = time_wall_ns();

	if (value & B_SET) {
		if (rtc_running(s))
			rtc_to_registers(d, now);
		s->cmos[RTC_A] &= (uint8_t)~A_UIP;
		value &= (uint8_t)~B_UIE;
	} else if (was & B_SET && (s->cmos[RTC_A] & 0x70) <= 0x20) {
		s->offset = rtc_second_ns(s, now);
		time_set(d, now);
	}
	if (value & s->cmos[RTC_C] & (C_PF | C_AF | C_UF))
		s->cmos[RTC_C] |= C_IRQF;
	else
		s->cmos[RTC_C] &= (uint8_t)~C_IRQF;
	irq_set(&d->irq, s->cmos[RTC_C] & C_IRQF);
	s->cmos[RTC_B] = value;
	if ((was ^ value) & B_PIE)
		periodic_update(d, now, period);
	update_arm(d);
}

static void time_write(struct rtc *d, uint8_t value)
{
	d->s.cmos[d->s.index] = value;
	if (rtc_running(&d->s)) {
		time_set(d, time_wall_ns());
		update_arm(d);
	}
}

static bool is_time(uint8_t index)
{
	return index == RTC_CENTURY || (index <= RTC_YEAR && index != RTC_SECONDS_ALARM &&
					index != RTC_MINUTES_ALARM && index != RTC_HOURS_ALARM);
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct rtc *d = opaque;
	struct rtc_state *s = &d->s;
	uint8_t v = (uint8_t)value;

	if (!(offset & 1)) {
		s->index = v & 0x7f;
		return;
	}
	if (s->index == RTC_IBM_CENTURY)
		s->index = RTC_CENTURY;
	if (is_time(s->index)) {
		time_write(d, v);
	} else if (s->index == RTC_A) {
		a_write(d, v);
	} else if (s->index == RTC_B) {
		b_write(d, v);
	} else if (s->index != RTC_C && s->index != RTC_D) {
		s->cmos[s->index] = v;
		if (s->index < RTC_A)
			update_arm(d);
	}
}

static uint8_t c_read(struct rtc *d)
{
	uint8_t value = d->s.cmos[RTC_C];

	irq_set(&d->irq, false);
	d->s.cmos[RTC_C] = 0;
	if (value & (C_UF | C_AF))
		update_arm(d);
	if (d->s.irq_coalesced && d->s.cmos[RTC_B] & B_PIE && d->s.reinjected < REINJECT_MAX) {
		d->s.reinjected++;
		tick_owed(d);
	}
	return value;
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct rtc *d = opaque;
	struct rtc_state *s = &d->s;

	if (!(offset & 1))
		return 0xff;
	if (s->index == RTC_IBM_CENTURY)
		s->index = RTC_CENTURY;
	if (is_time(s->index) && rtc_running(s))
		rtc_to_registers(d, time_wall_ns());
	if (s->index == RTC_A)
		return s->cmos[RTC_A] | (updating(d) ? A_UIP : 0);
	return s->index == RTC_C ? c_read(d) : s->cmos[s->index];
}

static const struct io_ops rtc_ops = {rtc_read, rtc_write, 1, 1};

/**
 * rtc_set_time() - Let the guest's clock show a time
 * @d:		The clock; before the guest runs
 * @seconds:	Since the epoch
 */
void rtc_set_time(struct rtc *d, int64_t seconds)
{
	int64_t now = time_wall_ns();

	d->base_s = seconds - now / NS_PER_SEC;
	d->s.base_rtc = (uint64_t)seconds;
	d->s.last_update = (uint64_t)now;
	d->s.offset = 0;
	rtc_to_registers(d, now);
	update_arm(d);
}

/**
 * rtc_set_cmos() - Set a byte of the battery RAM
 * @d:		The clock; before the guest runs
 * @index:	0-127
 * @value:	The byte
 */
void rtc_set_cmos(struct rtc *d, unsigned int index, uint8_t value)
{
	if (index < sizeof(d->s.cmos))
		d->s.cmos[index] = value;
}

/**
 * rtc_forget_ticks() - Give the guest no periodic interrupts that it missed so far
 * @d:		The clock; main thread
 */
void rtc_forget_ticks(struct rtc *d)
{
	pthread_mutex_lock(d->dev.lock);
	owe_nothing(d);
	pthread_mutex_unlock(d->dev.lock);
}

static int64_t seconds_of(int64_t ns)
{
	return ns / NS_PER_SEC - (ns % NS_PER_SEC < 0);
}

/**
 * rtc_change_s() - How far the guest has set its clock from what -rtc base= says
 * @d:		The clock
 *
 * Return: seconds; above 0: ahead
 */
int64_t rtc_change_s(struct rtc *d)
{
	int64_t now = time_wall_ns(), r;

	pthread_mutex_lock(d->dev.lock);
	r = seconds_of(rtc_guest_ns(&d->s, now)) - seconds_of(now) - d->base_s;
	pthread_mutex_unlock(d->dev.lock);
	return r;
}

/* Battery RAM and time survive a reset. */
static void rtc_reset(struct device *dev)
{
	struct rtc *d = (struct rtc *)dev;

	d->s.cmos[RTC_B] &= (uint8_t) ~(B_PIE | B_AIE | B_SQWE);
	d->s.cmos[RTC_C] &= (uint8_t) ~(C_UF | C_IRQF | C_PF | C_AF);
	d->s.reinjected = 0;
	update_arm(d);
	periodic_update(d, time_wall_ns(), 0);
	irq_set(&d->irq, false);
}

static int rtc_realize(struct device *dev, struct err *e)
{
	struct rtc *d = (struct rtc *)dev;

	if (!d->irq.set)
		d->irq = device_gsi(dev, 8);
	d->periodic = timer_create_wall(dev->env->clock, on_periodic, d, dev->lock);
	d->update = timer_create_wall(dev->env->clock, on_update, d, dev->lock);
	d->catch_up = timer_create_wall(dev->env->clock, on_catch_up, d, dev->lock);
	d->s.cmos[RTC_A] = 0x26;
	d->s.cmos[RTC_B] = B_24H;
	d->s.cmos[RTC_D] = 0x80;
	rtc_set_time(d, time_wall_ns() / NS_PER_SEC);
	d->io = (struct io_region){.name = "rtc",
				   .kind = IO_PORT,
				   .base = 0x70,
				   .size = 2,
				   .ops = &rtc_ops,
				   .opaque = d,
				   .lock = dev->lock,
				   .enabled = true};
	io_region_add(dev->env->io, &d->io);
	return 0;
}

static void rtc_unrealize(struct device *dev)
{
	struct rtc *d = (struct rtc *)dev;

	io_region_del(&d->io);
	timer_destroy(d->periodic);
	timer_destroy(d->update);
	timer_destroy(d->catch_up);
}

static void rtc_capture(const struct device *dev, void *state)
{
	const struct rtc *d = (const struct rtc *)dev;
	struct rtc copy = {.s = d->s, .base_year = d->base_year};

	rtc_to_registers(&copy, time_wall_ns());
	copy.s.periodic = timer_expires_ns(d->periodic);
	copy.s.update = timer_expires_ns(d->update);
	*(struct rtc_state *)state = copy.s;
}

static void rtc_apply(struct device *dev, const void *state)
{
	struct rtc *d = (struct rtc *)dev;
	int64_t now = time_wall_ns();

	d->s = *(const struct rtc_state *)state;
	if (d->lost_ticks != RTC_SLEW)
		d->s.irq_coalesced = d->s.reinjected = 0;
	timer_restore_ns(d->periodic, d->s.periodic);
	timer_restore_ns(d->update, d->s.update);
	/* Another host's clock may be anywhere: the periodic interrupt starts afresh if it is far
	 * off. */
	if (now < d->s.next_periodic - NS_PER_SEC || now > d->s.next_periodic + NS_PER_SEC)
		periodic_update(d, now, 0);
	catch_up_arm(d);
	irq_set(&d->irq, d->s.cmos[RTC_C] & C_IRQF);
}

static bool reinjected_needed(const void *state)
{
	return ((const struct rtc_state *)state)->reinjected != 0;
}

static const struct state_field reinjected_fields[] = {
	FIELD("irq_reinject_on_ack_count", struct rtc_state, reinjected),
	FIELDS_END,
};

static const struct state_table reinjected_sub = {
	.name = "mc146818rtc/irq_reinject_on_ack_count",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct rtc_state),
	.fields = reinjected_fields,
	.needed = reinjected_needed,
};

static const struct state_table *const rtc_subs[] = {&reinjected_sub, NULL};

static const struct state_field rtc_fields[] = {
	FIELD("cmos_data", struct rtc_state, cmos),
	FIELD("cmos_index", struct rtc_state, index),
	PAD(28),
	FIELD_TIMER("periodic_timer", struct rtc_state, periodic),
	FIELD("next_periodic_time", struct rtc_state, next_periodic),
	PAD(24),
	FIELD_V("irq_coalesced", struct rtc_state, irq_coalesced, 2),
	FIELD_V("period", struct rtc_state, period, 2),
	FIELD_V("base_rtc", struct rtc_state, base_rtc, 3),
	FIELD_V("last_update", struct rtc_state, last_update, 3),
	FIELD_V("offset", struct rtc_state, offset, 3),
	FIELD_TIMER("update_timer", struct rtc_state, update),
	FIELD_V("next_alarm_time", struct rtc_state, next_alarm, 3),
	NOT_SENT(struct rtc_state, reserved, "padding"),
	FIELDS_END,
};

static int rtc_check(const void *state, unsigned int version, struct err *e)
{
	const struct rtc_state *s = state;

	if (s->index > 127)
		return err_set(e, EINVAL, "cmos_index: %u, at most 127", s->index);
	return 0;
}

static const struct state_table rtc_table = {
	.name = "mc146818rtc",
	.version = 3,
	.min_version = 3,
	.size = sizeof(struct rtc_state),
	.fields = rtc_fields,
	.subsections = rtc_subs,
	.check = rtc_check,
};

static const char *const lost_ticks_names[] = {
	[RTC_DISCARD] = "discard", [RTC_SLEW] = "slew", NULL};

static const struct prop rtc_props[] = {
	{.name = "lost_tick_policy",
	 .kind = PROP_ENUM,
	 .offset = offsetof(struct rtc, lost_ticks),
	 .def = "discard",
	 .help = "What becomes of periodic interrupts that the guest was too slow for",
	 .names = lost_ticks_names},
	{.name = "base_year",
	 .kind = PROP_I32,
	 .offset = offsetof(struct rtc, base_year),
	 .def = "0",
	 .help = "Year that year 0 of the clock stands for"},
	PROPS_END,
};

const struct device_class rtc_class = {
	.name = "mc146818rtc",
	.help = "Real-time clock and CMOS RAM",
	.bus = "ISA",
	.size = sizeof(struct rtc),
	.continuity = CONTINUITY_STATE,
	.state = &rtc_table,
	.section = "mc146818rtc",
	.props = rtc_props,
	.realize = rtc_realize,
	.unrealize = rtc_unrealize,
	.reset = rtc_reset,
	.capture = rtc_capture,
	.apply = rtc_apply,
};
