/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a counter of 10 ns ticks in guest time, and comparators that raise an
 * interrupt once or periodically. In legacy mode comparators 0 and 1 take the place of the PIT
 * (input 0) and the RTC (input 8), whose own interrupts are then held back.
 *
 * A guest may ask for a period of one tick: what it missed is made up by arithmetic, not by
 * counting, and a periodic comparator fires at most every MIN_PERIOD_NS, so it can't keep the main
 * thread busy.
 *
 * Source: IA-PC HPET specification 1.0a, 2.3. State as QEMU's "hpet" version 2.
 */
#include "device/hpet.h"

#include "device/classes.h"
#include "device/wire.h"

#include <errno.h>

enum hpet_register {
	REG_CAPABILITY = 0x000,
	REG_CONFIG = 0x010,
	REG_STATUS = 0x020,
	REG_COUNTER = 0x0f0,
	REG_TIMERS = 0x100,
};
enum timer_register { TIMER_CONFIG = 0x00, TIMER_CMP = 0x08, TIMER_FSB = 0x10 };

#define TICK_NS       10ull
#define MIN_PERIOD_NS 50000ll
#define CONFIG_ENABLE 1u
#define CONFIG_LEGACY 2u
#define T_LEVEL       0x0002u
#define T_ENABLE      0x0004u
#define T_PERIODIC    0x0008u
#define T_CAP         0x0030u /* periodic and 64 bits wide */
#define T_SETVAL      0x0040u
#define T_32BIT       0x0100u
#define T_ROUTE_SHIFT 9
#define T_FSB         0x4000u
#define T_FSB_CAP     0x8000u
#define T_WRITABLE    0x7f4eu

static bool enabled(const struct hpet_state *s)
{
	return s->config & CONFIG_ENABLE;
}

static uint64_t now_ns(const struct hpet *h)
{
	return (uint64_t)guest_clock_now_ns(h->dev.env->clock);
}

static uint64_t counter(const struct hpet *h)
{
	return enabled(&h->s) ? (now_ns(h) + h->s.offset_ns) / TICK_NS : h->s.counter;
}

static int route(const struct hpet *h, const struct hpet_timer_state *t)
{
	if (t->tn <= 1 && h->s.config & CONFIG_LEGACY)
		return t->tn ? 8 : 0;
	return (int)(t->config >> T_ROUTE_SHIFT & 31);
}

static void line_set(struct hpet *h, int line, bool level)
{
	struct irq irq = device_gsi(&h->dev, line);

	if (line < 24)
		irq_set(&irq, level);
}

static void message_send(struct hpet *h, const struct hpet_timer_state *t)
{
	const struct msi_message m = {.addr = t->fsb >> 32, .data = (uint32_t)t->fsb};

	if (h->dev.env->msi)
		h->dev.env->msi->send(h->dev.env->msi_opaque, &m);
}

static void irq_lower(struct hpet *h, struct hpet_timer_state *t)
{
	h->s.isr &= ~(1ull << t->tn);
	if (!(t->config & T_FSB))
		line_set(h, route(h, t), false);
}

static void irq_fire(struct hpet *h, struct hpet_timer_state *t)
{
	if (!(t->config & T_ENABLE) || !enabled(&h->s)) {
		irq_lower(h, t);
	} else if (t->config & T_FSB) {
		message_send(h, t);
	} else {
		line_set(h, route(h, t), true);
		if (t->config & T_LEVEL)
			h->s.isr |= 1ull << t->tn;
		else
			irq_lower(h, t);
	}
}

/* Ticks until the comparator matches; what lies behind counts as the next tick. */
static uint64_t ticks_to(const struct hpet_timer_state *t, uint64_t now)
{
	if (t->config & T_32BIT) {
		int32_t left = (int32_t)((uint32_t)t->cmp - (uint32_t)now);

		return left > 0 ? (uint64_t)left : 1;
	}
	return (int64_t)(t->cmp - now) > 0 ? t->cmp - now : 1;
}

static void arm(struct hpet *h, struct hpet_timer_state *t, uint64_t ticks, int64_t least_ns)
{
	int64_t now = (int64_t)now_ns(h), wait;

	if (ticks > INT64_MAX / 4 / TICK_NS)
		ticks = INT64_MAX / 4 / TICK_NS;
	wait = (int64_t)(ticks * TICK_NS);
	timer_arm_ns(h->timers[t->tn].timer, now + MAX(wait, least_ns));
}

static void timer_start(struct hpet *h, struct hpet_timer_state *t)
{
	uint64_t now = counter(h), ticks = ticks_to(t, now);

	t->wrap = 0;
	if (t->config & T_32BIT && !(t->config & T_PERIODIC) &&
	    UINT32_MAX - (uint32_t)now < (uint32_t)ticks) {
		ticks = UINT32_MAX - (uint32_t)now;
		t->wrap = 1;
	}
	arm(h, t, ticks, 0);
}

static void timer_stop(struct hpet *h, struct hpet_timer_state *t)
{
	timer_cancel(h->timers[t->tn].timer);
	irq_lower(h, t);
}

/* Moves a periodic comparator to its next match behind @now. */
static void cmp_advance(struct hpet_timer_state *t, uint64_t now)
{
	uint64_t behind;

	if (t->config & T_32BIT) {
		behind = (uint32_t)((uint32_t)now - (uint32_t)t->cmp);
		if ((int32_t)behind > 0)
			t->cmp = (uint32_t)(t->cmp + DIV_ROUND_UP(behind, t->period) * t->period);
	} else {
		behind = now - t->cmp;
		if ((int64_t)behind > 0)
			t->cmp += DIV_ROUND_UP(behind, t->period) * t->period;
	}
}

static void on_timer(void *opaque)
{
	struct hpet_timer *host = opaque;
	struct hpet *h = host->hpet;
	struct hpet_timer_state *t = &h->s.timer[host->n];
	uint64_t now = counter(h);

	if (t->config & T_PERIODIC && t->period) {
		cmp_advance(t, now);
		arm(h, t, ticks_to(t, now), MIN_PERIOD_NS);
	} else if (t->wrap) {
		t->wrap = 0;
		arm(h, t, ticks_to(t, now), 0);
	}
	irq_fire(h, t);
}

static void timer_config_write(struct hpet *h, struct hpet_timer_state *t, uint32_t value)
{
	uint32_t was = (uint32_t)t->config;

	if (value & T_FSB && !(was & T_FSB))
		irq_lower(h, t);
	t->config = (t->config & ~(uint64_t)T_WRITABLE) | (value & T_WRITABLE);
	if (value & T_32BIT) {
		t->cmp = (uint32_t)t->cmp;
		t->period = (uint32_t)t->period;
	}
	if (value & T_ENABLE && !(was & T_ENABLE) && enabled(&h->s))
		timer_start(h, t);
	else if (!(value & T_ENABLE) && was & T_ENABLE)
		timer_stop(h, t);
}

/* One half of a 64-bit register. */
static uint64_t with_half(uint64_t reg, unsigned int high, uint32_t value)
{
	return high ? (reg & UINT32_MAX) | (uint64_t)value << 32
		    : (reg & ~(uint64_t)UINT32_MAX) | value;
}

static void cmp_write(struct hpet *h, struct hpet_timer_state *t, unsigned int high, uint32_t value)
{
	bool periodic = t->config & T_PERIODIC;

	if (high && t->config & T_32BIT)
		return;
	if (!periodic || t->config & T_SETVAL)
		t->cmp = with_half(t->cmp, high, value);
	if (periodic) { /* a period of more than half the range would never be seen to pass */
		t->period = with_half(t->period, high, value);
		t->period &= (t->config & T_32BIT ? UINT32_MAX : UINT64_MAX) >> 1;
	}
	t->config &= ~(uint64_t)T_SETVAL;
	if (enabled(&h->s))
		timer_start(h, t);
}

static void timer_write(struct hpet *h, unsigned int offset, uint32_t value)
{
	struct hpet_timer_state *t = &h->s.timer[offset / 0x20];

	if (offset / 0x20 >= h->s.num_timers)
		return;
	switch (offset % 0x20) {
	case TIMER_CONFIG: timer_config_write(h, t, value); break;
	case TIMER_CMP: cmp_write(h, t, 0, value); break;
	case TIMER_CMP + 4: cmp_write(h, t, 1, value); break;
	case TIMER_FSB: t->fsb = with_half(t->fsb, 0, value); break;
	case TIMER_FSB + 4: t->fsb = with_half(t->fsb, 1, value); break;
	default: break;
	}
}

static void counter_run(struct hpet *h)
{
	h->s.offset_ns = h->s.counter * TICK_NS - now_ns(h);
	for (unsigned int i = 0; i < h->s.num_timers; i++)
		if (h->s.timer[i].cmp != UINT64_MAX)
			timer_start(h, &h->s.timer[i]);
}

static void counter_halt(struct hpet *h)
{
	for (unsigned int i = 0; i < h->s.num_timers; i++)
		timer_stop(h, &h->s.timer[i]);
}

static void legacy_set(struct hpet *h, bool on)
{
	line_set(h, 0, false);
	line_set(h, 8, on ? false : h->s.rtc_level);
	irq_set(&h->pit_enabled, !on);
}

static void config_write(struct hpet *h, uint32_t value)
{
	uint64_t was = h->s.config, at = counter(h);

	h->s.config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
	if (h->s.config & ~was & CONFIG_ENABLE) {
		counter_run(h);
	} else if (was & ~h->s.config & CONFIG_ENABLE) {
		h->s.counter = at;
		counter_halt(h);
	}
	if ((was ^ h->s.config) & CONFIG_LEGACY)
		legacy_set(h, h->s.config & CONFIG_LEGACY);
}

static void status_write(struct hpet *h, uint32_t value)
{
	for (unsigned int i = 0; i < h->s.num_timers; i++)
		if (h->s.isr & value & 1ull << i)
			irq_lower(h, &h->s.timer[i]);
}

static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct hpet *h = opaque;
	uint32_t v = (uint32_t)value;

	if (offset >= REG_TIMERS)
		timer_write(h, (unsigned int)offset - REG_TIMERS, v);
	else if (offset == REG_CONFIG)
		config_write(h, v);
	else if (offset == REG_STATUS)
		status_write(h, v);
	else if (offset == REG_COUNTER || offset == REG_COUNTER + 4)
		h->s.counter = with_half(h->s.counter, offset & 4, v);
}

static uint64_t timer_read(const struct hpet *h, unsigned int offset)
{
	const struct hpet_timer_state *t = &h->s.timer[offset / 0x20];

	if (offset / 0x20 >= h->s.num_timers)
		return 0;
	switch (offset % 0x20) {
	case TIMER_CONFIG: return t->config;
	case TIMER_CMP: return t->cmp;
	case TIMER_FSB: return t->fsb;
	default: return 0;
	}
}

/* 64-bit main counter, legacy routing, vendor 0x8086, period in fs. */
static uint64_t capability(const struct hpet *h)
{
	return 0x8086a001u | (uint64_t)(h->s.num_timers - 1u) << 8 | TICK_NS * 1000000 << 32;
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct hpet *h = opaque;
	unsigned int at = (unsigned int)offset & ~7u;
	uint64_t value = 0;

	if (at >= REG_TIMERS)
		value = timer_read(h, at - REG_TIMERS);
	else if (at == REG_CAPABILITY)
		value = capability(h);
	else if (at == REG_CONFIG)
		value = h->s.config;
	else if (at == REG_STATUS)
		value = h->s.isr;
	else if (at == REG_COUNTER)
		value = counter(h);
	return offset & 4 ? value >> 32 : value;
}

static const struct io_ops hpet_ops = {hpet_read, hpet_write, 4, 4};

static void rtc_line(void *opaque, int line, bool level)
{
	struct hpet *h = opaque;

	h->s.rtc_level = level;
	if (!(h->s.config & CONFIG_LEGACY))
		line_set(h, 8, level);
}

/**
 * hpet_rtc_input() - The wire that the RTC's interrupt goes through
 * @h:		Lives as long as the RTC; both under the chipset's lock
 *
 * Return: an input
 */
struct irq hpet_rtc_input(struct hpet *h)
{
	return (struct irq){.set = rtc_line, .opaque = h};
}

static void hpet_reset(struct device *dev)
{
	struct hpet *h = (struct hpet *)dev;

	h->s.config = 0;
	for (unsigned int i = 0; i < h->s.num_timers; i++) {
		struct hpet_timer_state *t = &h->s.timer[i];

		timer_stop(h, t);
		*t = (struct hpet_timer_state){
			.tn = (uint8_t)i,
			.cmp = UINT64_MAX,
			.config = T_CAP | (h->msi ? T_FSB_CAP : 0) | (uint64_t)h->intcap << 32,
			.expires = -1,
		};
	}
	irq_set(&h->pit_enabled, true);
	h->s.isr = h->s.counter = h->s.offset_ns = 0;
	h->s.rtc_level = 0;
}

static int hpet_realize(struct device *dev, struct err *e)
{
	struct hpet *h = (struct hpet *)dev;

	h->s.num_timers = h->num_timers;
	for (unsigned int i = 0; i < h->num_timers; i++) {
		h->timers[i] = (struct hpet_timer){.hpet = h, .n = i};
		h->timers[i].timer = timer_create_guest(dev->env->clock, on_timer, &h->timers[i],
							dev->lock);
		h->s.timer[i].tn = (uint8_t)i;
	}
	hpet_reset(dev);
	h->io = (struct io_region){.name = "hpet",
				   .kind = IO_MEMORY,
				   .base = 0xfed00000,
				   .size = 0x400,
				   .ops = &hpet_ops,
				   .opaque = h,
				   .lock = dev->lock,
				   .enabled = true};
	io_region_add(dev->env->io, &h->io);
	return 0;
}

static void hpet_unrealize(struct device *dev)
{
	struct hpet *h = (struct hpet *)dev;

	io_region_del(&h->io);
	for (unsigned int i = 0; i < h->num_timers; i++)
		timer_destroy(h->timers[i].timer);
}

static void hpet_capture(const struct device *dev, void *state)
{
	const struct hpet *h = (const struct hpet *)dev;
	struct hpet_state *s = state;

	*s = h->s;
	s->counter = counter(h);
	for (unsigned int i = 0; i < h->num_timers; i++)
		s->timer[i].expires = timer_expires_ns(h->timers[i].timer);
}

static int hpet_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct hpet *h = (const struct hpet *)dev;
	const struct hpet_state *s = state;

	if (s->num_timers != h->num_timers)
		return err_set(e, EINVAL, "num_timers: %u offered, %u configured here",
			       s->num_timers, h->num_timers);
	return 0;
}

static void hpet_apply(struct device *dev, const void *state)
{
	struct hpet *h = (struct hpet *)dev;

	h->s = *(const struct hpet_state *)state;
	for (unsigned int i = 0; i < h->num_timers; i++) {
		struct hpet_timer_state *t = &h->s.timer[i];

		t->tn = (uint8_t)i;
		timer_restore_ns(h->timers[i].timer, t->expires);
		if (h->s.isr >> i & 1)
			line_set(h, route(h, t), true);
	}
	irq_set(&h->pit_enabled, !(h->s.config & CONFIG_LEGACY));
}

static bool rtc_needed(const void *state)
{
	return ((const struct hpet_state *)state)->rtc_level != 0;
}

static bool offset_needed(const void *state)
{
	return enabled(state);
}

static const struct state_field rtc_fields[] = {
	FIELD("rtc_irq_level", struct hpet_state, rtc_level),
	FIELDS_END,
};

static const struct state_table rtc_sub = {
	.name = "hpet/rtc_irq_level",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct hpet_state),
	.fields = rtc_fields,
	.needed = rtc_needed,
};

static const struct state_field offset_fields[] = {
	FIELD("hpet_offset", struct hpet_state, offset_ns),
	FIELDS_END,
};

static const struct state_table offset_sub = {
	.name = "hpet/offset",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct hpet_state),
	.fields = offset_fields,
	.needed = offset_needed,
};

static const struct state_table *const hpet_subs[] = {&rtc_sub, &offset_sub, NULL};

static const struct state_field timer_fields[] = {
	FIELD("tn", struct hpet_timer_state, tn),
	FIELD("config", struct hpet_timer_state, config),
	FIELD("cmp", struct hpet_timer_state, cmp),
	FIELD("fsb", struct hpet_timer_state, fsb),
	FIELD("period", struct hpet_timer_state, period),
	FIELD("wrap_flag", struct hpet_timer_state, wrap),
	FIELD_TIMER("qemu_timer", struct hpet_timer_state, expires),
	NOT_SENT(struct hpet_timer_state, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table timer_table = {
	.name = "hpet_timer",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct hpet_timer_state),
	.fields = timer_fields,
};

static const struct state_field hpet_fields[] = {
	FIELD("config", struct hpet_state, config),
	FIELD("isr", struct hpet_state, isr),
	FIELD("hpet_counter", struct hpet_state, counter),
	FIELD_V("num_timers", struct hpet_state, num_timers, 2),
	FIELD_STRUCTS_N("timer", struct hpet_state, timer, num_timers, &timer_table),
	NOT_SENT(struct hpet_state, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table hpet_table = {
	.name = "hpet",
	.version = 2,
	.min_version = 2,
	.size = sizeof(struct hpet_state),
	.fields = hpet_fields,
	.subsections = hpet_subs,
};

static const struct prop hpet_props[] = {
	{.name = "timers",
	 .kind = PROP_U8,
	 .offset = offsetof(struct hpet, num_timers),
	 .def = "3",
	 .help = "Comparators",
	 .min = 3,
	 .max = HPET_TIMERS_MAX},
	{.name = "msi",
	 .kind = PROP_BOOL,
	 .offset = offsetof(struct hpet, msi),
	 .def = "off",
	 .help = "Comparators can send messages"},
	{.name = "hpet-intcap",
	 .kind = PROP_U32,
	 .offset = offsetof(struct hpet, intcap),
	 .def = "0xff0104",
	 .help = "Inputs that comparators can be routed to"},
	PROPS_END,
};

const struct device_class hpet_class = {
	.name = "hpet",
	.help = "High precision event timer",
	.bus = "System",
	.size = sizeof(struct hpet),
	.continuity = CONTINUITY_STATE,
	.state = &hpet_table,
	.section = "hpet",
	.props = hpet_props,
	.realize = hpet_realize,
	.unrealize = hpet_unrealize,
	.reset = hpet_reset,
	.capture = hpet_capture,
	.validate = hpet_validate,
	.apply = hpet_apply,
};
