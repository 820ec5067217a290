/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: between KVM's structs and the sections. Times are the guest's clock on the
 * wire; KVM's are the host's monotonic clock (PIT) or a number of ticks left (local APIC).
 *
 * The local APIC's timer: QEMU restarts the whole count after a load. Here next_time says when the
 * count that was running ends, and the rest is given back to KVM as the current count, so that a
 * timer neither fires late nor once more.
 */
#include "base/bytes.h"
#include "machine/x86/chips_section.h"

#include <string.h>

#define PIT_HZ     1193182
#define NS         1000000000LL
#define LVT_MASKED (1U << 16)
#define X2APIC     (1U << 10)

enum {
	REG_ID = 0x2,
	REG_TPR = 0x8,
	REG_ARB = 0x9,
	REG_LDR = 0xd,
	REG_DFR = 0xe,
	REG_SPURIOUS = 0xf,
	REG_ISR = 0x10,
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_ICR = 0x30,
	REG_LVT = 0x32,
	REG_INITIAL = 0x38,
	REG_CURRENT = 0x39,
	REG_DIVIDE = 0x3e,
};

static uint32_t reg(const struct kvm_lapic_state *k, unsigned int n)
{
	return load_le32(k->regs + n * 16);
}

static void reg_set(struct kvm_lapic_state *k, unsigned int n, uint32_t v)
{
	store_le32(k->regs + n * 16, v);
}

/* LVT mode: 0 counts once, 1 periodic, 2 TSC deadline. */
static unsigned int timer_mode(uint32_t lvt)
{
	return lvt >> 17 & 3;
}

static void apic_timer_from(struct apic_section *to, uint32_t current, int64_t now_ns)
{
	unsigned int v = (to->divide_conf & 3) | (to->divide_conf >> 1 & 4);

	to->count_shift = (int32_t)((v + 1) & 7);
	to->initial_count_load_time = now_ns;
	to->timer_expiry = -1;
	if (to->lvt[0] & LVT_MASKED || !to->initial_count || timer_mode(to->lvt[0]) == 2 ||
	    !current)
		return;
	to->next_time = now_ns + (((int64_t)current + 1) << to->count_shift);
	to->timer_expiry = to->next_time;
}

/**
 * apic_section_from() - A local APIC for a stream
 * @to:		Filled in
 * @k:		From KVM
 * @base:	MSR IA32_APIC_BASE
 * @now_ns:	Guest clock
 */
void apic_section_from(struct apic_section *to, const struct kvm_lapic_state *k, uint64_t base,
		       int64_t now_ns)
{
	*to = (struct apic_section){
		.apicbase = (uint32_t)base,
		.id = (uint8_t)(base & X2APIC ? reg(k, REG_ID) : reg(k, REG_ID) >> 24),
		.tpr = (uint8_t)reg(k, REG_TPR),
		.arb_id = (uint8_t)reg(k, REG_ARB),
		.log_dest = (uint8_t)(reg(k, REG_LDR) >> 24),
		.dest_mode = (uint8_t)(reg(k, REG_DFR) >> 28),
		.spurious_vec = reg(k, REG_SPURIOUS),
		.esr = reg(k, REG_ESR),
		.icr = {reg(k, REG_ICR), reg(k, REG_ICR + 1)},
		.initial_count = reg(k, REG_INITIAL),
		.divide_conf = reg(k, REG_DIVIDE),
	};
	for (unsigned int i = 0; i < 8; i++) {
		to->isr[i] = reg(k, REG_ISR + i);
		to->tmr[i] = reg(k, REG_TMR + i);
		to->irr[i] = reg(k, REG_IRR + i);
	}
	for (unsigned int i = 0; i < 6; i++)
		to->lvt[i] = reg(k, REG_LVT + i);
	apic_timer_from(to, reg(k, REG_CURRENT), now_ns);
}

static bool timer_interrupt_shown(const struct apic_section *s)
{
	uint32_t vector = s->lvt[0] & 0xff;

	return (s->irr[vector / 32] | s->isr[vector / 32]) >> vector % 32 & 1;
}

/*
 * KVM takes a current count of 0 for one that ends now. That is right for a count that ran out
 * while the vCPU was outside of the guest: KVM only notes that, shows it nowhere, and raises the
 * interrupt when the vCPU enters again, so a halted guest would wait for it forever. A count that
 * ran out long ago looks the same; its interrupt comes a second time, which guests take. Only where
 * the interrupt is seen to be raised already the count must not end again.
 */
static void apic_timer_to(const struct apic_section *s, struct kvm_lapic_state *k)
{
	int64_t left = (s->timer_expiry - s->initial_count_load_time) >> s->count_shift;
	bool one_shot = !(s->lvt[0] & LVT_MASKED) && timer_mode(s->lvt[0]) == 0;
	bool ended = s->timer_expiry < 0 && one_shot;
	bool over = ended && timer_interrupt_shown(s);

	reg_set(k, REG_INITIAL, over ? 0 : s->initial_count);
	if (s->timer_expiry >= 0 && left > 0)
		reg_set(k, REG_CURRENT,
			left > s->initial_count ? s->initial_count : (uint32_t)left);
	else
		reg_set(k, REG_CURRENT, ended ? 0 : s->initial_count);
}

/**
 * apic_section_to() - A local APIC from a stream
 * @s:		Loaded and checked
 * @k:		Filled in
 * @x2apic_id:	Its id, for one in x2APIC mode
 */
void apic_section_to(const struct apic_section *s, struct kvm_lapic_state *k, uint32_t x2apic_id)
{
	memset(k, 0, sizeof(*k));
	reg_set(k, REG_ID, s->apicbase & X2APIC ? x2apic_id : (uint32_t)s->id << 24);
	reg_set(k, REG_TPR, s->tpr);
	reg_set(k, REG_LDR, (uint32_t)s->log_dest << 24);
	reg_set(k, REG_DFR, (uint32_t)s->dest_mode << 28 | 0x0fffffff);
	reg_set(k, REG_SPURIOUS, s->spurious_vec);
	reg_set(k, REG_ESR, s->esr);
	reg_set(k, REG_ICR, s->icr[0]);
	reg_set(k, REG_ICR + 1, s->icr[1]);
	reg_set(k, REG_DIVIDE, s->divide_conf);
	for (unsigned int i = 0; i < 8; i++) {
		reg_set(k, REG_ISR + i, s->isr[i]);
		reg_set(k, REG_TMR + i, s->tmr[i]);
		reg_set(k, REG_IRR + i, s->irr[i]);
	}
	for (unsigned int i = 0; i < 6; i++)
		reg_set(k, REG_LVT + i, s->lvt[i]);
	apic_timer_to(s, k);
}

/**
 * apic_timer_pass() - Let time go by for a local APIC's timer that counts down
 * @k:		For KVM, or from it
 * @ns:		How much; 0 or more
 *
 * A count that ends once ends now, if it should have ended meanwhile; a periodic one goes on with
 * what is left of its period, and what it missed isn't made up for.
 */
void apic_timer_pass(struct kvm_lapic_state *k, int64_t ns)
{
	uint32_t lvt = reg(k, REG_LVT), initial = reg(k, REG_INITIAL), divide = reg(k, REG_DIVIDE);
	int64_t left = reg(k, REG_CURRENT);
	unsigned int shift = (((divide & 3) | (divide >> 1 & 4)) + 1) & 7;

	if (lvt & LVT_MASKED || timer_mode(lvt) > 1 || !initial || !left)
		return;
	ns >>= shift;
	if (timer_mode(lvt) == 1)
		ns %= initial;
	left -= ns;
	if (left <= 0)
		left = timer_mode(lvt) == 1 ? left + initial : 0;
	reg_set(k, REG_CURRENT, (uint32_t)left);
}

/**
 * pic_section_from() - An i8259 for a stream
 * @to:		Filled in
 * @k:		From KVM
 */
void pic_section_from(struct pic_section *to, const struct kvm_pic_state *k)
{
	*to = (struct pic_section){
		.last_irr = k->last_irr,
		.irr = k->irr,
		.imr = k->imr,
		.isr = k->isr,
		.priority_add = k->priority_add,
		.irq_base = k->irq_base,
		.read_reg_select = k->read_reg_select,
		.poll = k->poll,
		.special_mask = k->special_mask,
		.init_state = k->init_state,
		.auto_eoi = k->auto_eoi,
		.rotate_on_auto_eoi = k->rotate_on_auto_eoi,
		.special_fully_nested_mode = k->special_fully_nested_mode,
		.init4 = k->init4,
		.elcr = k->elcr,
	};
}

/**
 * pic_section_to() - An i8259 from a stream
 * @s:		Loaded and checked
 * @k:		In: as KVM has it (its ELCR mask stays); out: for KVM
 */
void pic_section_to(const struct pic_section *s, struct kvm_pic_state *k)
{
	*k = (struct kvm_pic_state){
		.last_irr = s->last_irr,
		.irr = s->irr,
		.imr = s->imr,
		.isr = s->isr,
		.priority_add = s->priority_add,
		.irq_base = s->irq_base,
		.read_reg_select = s->read_reg_select,
		.poll = s->poll,
		.special_mask = s->special_mask,
		.init_state = s->init_state,
		.auto_eoi = s->auto_eoi,
		.rotate_on_auto_eoi = s->rotate_on_auto_eoi,
		.special_fully_nested_mode = s->special_fully_nested_mode,
		.init4 = s->init4,
		.elcr = s->elcr,
		.elcr_mask = k->elcr_mask,
	};
}

/**
 * ioapic_section_from() - An IOAPIC for a stream
 * @to:		Filled in
 * @k:		From KVM
 */
void ioapic_section_from(struct ioapic_section *to, const struct kvm_ioapic_state *k)
{
	*to = (struct ioapic_section){
		.id = (uint8_t)k->id, .ioregsel = (uint8_t)k->ioregsel, .irr = k->irr};
	for (unsigned int i = 0; i < 24; i++)
		to->ioredtbl[i] = k->redirtbl[i].bits;
}

/**
 * ioapic_section_to() - An IOAPIC from a stream
 * @s:		Loaded
 * @k:		In: as KVM has it (its address stays); out: for KVM
 */
void ioapic_section_to(const struct ioapic_section *s, struct kvm_ioapic_state *k)
{
	k->id = s->id;
	k->ioregsel = s->ioregsel;
	k->irr = s->irr;
	for (unsigned int i = 0; i < 24; i++)
		k->redirtbl[i].bits = s->ioredtbl[i];
}

/* Ticks from the load of a count to the first change of the output, by mode (Intel 8254). */
static int64_t first_transition(const struct pit_channel_section *c)
{
	switch (c->mode) {
	case 2: return (int64_t)c->count + 1;
	case 3: return ((int64_t)c->count + 1) >> 1;
	default: return c->count;
	}
}

/* As QEMU has it, which compares without sign: a time before the guest clock's zero counts as
 * the future. */
static int64_t next_transition(const struct pit_channel_section *c)
{
	uint64_t next = (uint64_t)(c->count_load_time + first_transition(c) * NS / PIT_HZ);

	return next <= (uint64_t)c->count_load_time ? c->count_load_time + 1 : (int64_t)next;
}

/**
 * pit_section_from() - An i8254 for a stream
 * @to:		Filled in
 * @k:		From KVM
 * @offset_ns:	Guest clock minus host monotonic clock
 */
void pit_section_from(struct pit_section *to, const struct kvm_pit_state2 *k, int64_t offset_ns)
{
	*to = (struct pit_section){.irq_disabled = k->flags & KVM_PIT_FLAGS_HPET_LEGACY};
	for (unsigned int i = 0; i < 3; i++) {
		const struct kvm_pit_channel_state *c = &k->channels[i];

		to->channels[i] = (struct pit_channel_section){
			.count = (int32_t)c->count,
			.latched_count = c->latched_count,
			.count_latched = c->count_latched,
			.status_latched = c->status_latched,
			.status = c->status,
			.read_state = c->read_state,
			.write_state = c->write_state,
			.write_latch = c->write_latch,
			.rw_mode = c->rw_mode,
			.mode = c->mode,
			.bcd = c->bcd,
			.gate = c->gate,
			.count_load_time = c->count_load_time + offset_ns,
		};
	}
	to->next_transition_time = next_transition(&to->channels[0]);
	to->channels[0].next_transition_time = to->next_transition_time;
}

/**
 * pit_section_to() - An i8254 from a stream
 * @s:		Loaded and checked
 * @k:		Filled in
 * @offset_ns:	Guest clock minus host monotonic clock
 */
void pit_section_to(const struct pit_section *s, struct kvm_pit_state2 *k, int64_t offset_ns)
{
	*k = (struct kvm_pit_state2){.flags = s->irq_disabled ? KVM_PIT_FLAGS_HPET_LEGACY : 0};
	for (unsigned int i = 0; i < 3; i++) {
		const struct pit_channel_section *c = &s->channels[i];

		k->channels[i] = (struct kvm_pit_channel_state){
			.count = (uint32_t)c->count,
			.latched_count = c->latched_count,
			.count_latched = c->count_latched,
			.status_latched = c->status_latched,
			.status = c->status,
			.read_state = c->read_state,
			.write_state = c->write_state,
			.write_latch = c->write_latch,
			.rw_mode = c->rw_mode,
			.mode = c->mode,
			.bcd = c->bcd,
			.gate = c->gate,
			.count_load_time = c->count_load_time - offset_ns,
		};
	}
}
