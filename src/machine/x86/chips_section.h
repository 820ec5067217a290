/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_CHIPS_SECTION_H
#define MACHINE_X86_CHIPS_SECTION_H

#include "kvm/x86/irqchip.h"
#include "state/state.h"

/* The in-kernel interrupt controllers, timer and clocks as they stand in a stream. */

/**
 * struct apic_section - A local APIC; names as in Intel's manual
 */
struct apic_section {
	int64_t initial_count_load_time, next_time,
		timer_expiry; /* guest clock, ns; -1: not armed */
	uint32_t apicbase, spurious_vec, isr[8], tmr[8], irr[8], lvt[6], esr, icr[2], divide_conf;
	uint32_t initial_count;
	int32_t count_shift;
	uint8_t id, arb_id, tpr, log_dest, dest_mode, reserved[3];
	int32_t sipi_vector, wait_for_sipi; /* of QEMU's own emulation */
};

/**
 * struct pic_section - One i8259
 */
struct pic_section {
	uint8_t last_irr, irr, imr, isr, priority_add, irq_base, read_reg_select, poll,
		special_mask;
	uint8_t init_state, auto_eoi, rotate_on_auto_eoi, special_fully_nested_mode, init4,
		single_mode, elcr;
};

/**
 * struct ioapic_section - The IOAPIC
 */
struct ioapic_section {
	uint64_t ioredtbl[24];
	uint32_t irr;
	uint8_t id, ioregsel, reserved[2];
};

/**
 * struct pit_channel_section - A counter of the i8254
 */
struct pit_channel_section {
	int64_t count_load_time, next_transition_time; /* guest clock, ns */
	int32_t count;
	uint16_t latched_count;
	uint8_t count_latched, status_latched, status, read_state, write_state, write_latch;
	uint8_t rw_mode, mode, bcd, gate;
};

/**
 * struct pit_section - The i8254
 * @irq_disabled: The HPET has taken the timer's interrupt
 */
struct pit_section {
	struct pit_channel_section channels[3];
	int64_t next_transition_time;
	uint32_t irq_disabled, reserved;
};

/**
 * struct kvmclock_section - The paravirtual clock
 * @reliable:	@clock is what guests saw, not an estimate
 */
struct kvmclock_section {
	uint64_t clock; /* ns */
	bool reliable;
	uint8_t reserved[7];
};

/**
 * struct tpr_handlers_section - Addresses of patched code, see struct tpr_opt_section
 */
struct tpr_handlers_section {
	uint32_t set_tpr, set_tpr_eax, get_tpr[8], get_tpr_stack;
};

/**
 * struct tpr_opt_section - QEMU's help for 32-bit Windows on CPUs of 2008: carried, not used
 */
struct tpr_opt_section {
	uint32_t vaddr, fixup_start, fixup_end, vapic_vaddr, vapic_size, vcpu_shift,
		rom_real_tpr_addr;
	struct tpr_handlers_section up, mp;
	uint32_t state, real_tpr_addr, rom_state_vaddr, vapic_paddr, rom_state_paddr;
};

/**
 * struct timer_section - The guest clock itself, ns
 */
struct timer_section {
	int64_t cpu_ticks_offset, cpu_clock_offset;
};

extern const struct state_table apic_section_table, pic_section_table, ioapic_section_table,
	pit_section_table;
extern const struct state_table kvmclock_section_table, tpr_opt_section_table, timer_section_table;

/* chips_convert.c. @now_ns: guest clock. */
void apic_section_from(struct apic_section *to, const struct kvm_lapic_state *k, uint64_t apic_base,
		       int64_t now_ns);
void apic_section_to(const struct apic_section *from, struct kvm_lapic_state *k,
		     uint32_t x2apic_id);
void apic_timer_pass(struct kvm_lapic_state *k, int64_t ns); /* a count goes on */
void pic_section_from(struct pic_section *to, const struct kvm_pic_state *k);
void pic_section_to(const struct pic_section *from, struct kvm_pic_state *k);
void ioapic_section_from(struct ioapic_section *to, const struct kvm_ioapic_state *k);
void ioapic_section_to(const struct ioapic_section *from, struct kvm_ioapic_state *k);
/* @offset_ns: guest clock minus the host's monotonic clock, in which KVM counts. */
void pit_section_from(struct pit_section *to, const struct kvm_pit_state2 *k, int64_t offset_ns);
void pit_section_to(const struct pit_section *from, struct kvm_pit_state2 *k, int64_t offset_ns);

#endif
