/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: tables only, in QEMU's order and widths.
 *
 * Source: QEMU 7.2's stream (vmdesc of pc-q35-7.2)
 */
#include "machine/x86/chips_section.h"

#include <errno.h>
#include <inttypes.h>

#define A struct apic_section

static const struct state_field apic_fields[] = {
	FIELD("apicbase", A, apicbase),
	FIELD("id", A, id),
	FIELD("arb_id", A, arb_id),
	FIELD("tpr", A, tpr),
	FIELD("spurious_vec", A, spurious_vec),
	FIELD("log_dest", A, log_dest),
	FIELD("dest_mode", A, dest_mode),
	FIELD("isr", A, isr),
	FIELD("tmr", A, tmr),
	FIELD("irr", A, irr),
	FIELD("lvt", A, lvt),
	FIELD("esr", A, esr),
	FIELD("icr", A, icr),
	FIELD("divide_conf", A, divide_conf),
	FIELD("count_shift", A, count_shift),
	FIELD("initial_count", A, initial_count),
	FIELD("initial_count_load_time", A, initial_count_load_time),
	FIELD("next_time", A, next_time),
	FIELD("timer_expiry", A, timer_expiry),
	NOT_SENT(A, reserved, "alignment"),
	FIELDS_END,
};

static const struct state_field apic_sipi_fields[] = {
	FIELD("sipi_vector", A, sipi_vector),
	FIELD("wait_for_sipi", A, wait_for_sipi),
	FIELDS_END,
};

static bool apic_sipi_needed(const void *state)
{
	return ((const A *)state)->wait_for_sipi != 0;
}

static const struct state_table apic_sipi_table = {
	.name = "apic_sipi",
	.version = 1,
	.min_version = 1,
	.size = sizeof(A),
	.fields = apic_sipi_fields,
	.needed = apic_sipi_needed,
};

static const struct state_table *const apic_subsections[] = {&apic_sipi_table, NULL};

static int apic_check(const void *state, unsigned int version, struct err *e)
{
	const A *s = state;

	if (s->count_shift < 0 || s->count_shift > 7)
		return err_set(e, EINVAL, "count_shift: %" PRId32 " isn't 0 to 7", s->count_shift);
	return 0;
}

const struct state_table apic_section_table = {
	.name = "apic",
	.version = 3,
	.min_version = 3,
	.size = sizeof(A),
	.fields = apic_fields,
	.subsections = apic_subsections,
	.check = apic_check,
};

#define P struct pic_section

static const struct state_field pic_fields[] = {
	FIELD("last_irr", P, last_irr),
	FIELD("irr", P, irr),
	FIELD("imr", P, imr),
	FIELD("isr", P, isr),
	FIELD("priority_add", P, priority_add),
	FIELD("irq_base", P, irq_base),
	FIELD("read_reg_select", P, read_reg_select),
	FIELD("poll", P, poll),
	FIELD("special_mask", P, special_mask),
	FIELD("init_state", P, init_state),
	FIELD("auto_eoi", P, auto_eoi),
	FIELD("rotate_on_auto_eoi", P, rotate_on_auto_eoi),
	FIELD("special_fully_nested_mode", P, special_fully_nested_mode),
	FIELD("init4", P, init4),
	FIELD("single_mode", P, single_mode),
	FIELD("elcr", P, elcr),
	FIELDS_END,
};

static int pic_check(const void *state, unsigned int version, struct err *e)
{
	const P *s = state;

	if (s->init_state > 3 || s->priority_add > 7)
		return err_set(e, EINVAL, "%s: out of range",
			       s->init_state > 3 ? "init_state" : "priority_add");
	return 0;
}

const struct state_table pic_section_table = {
	.name = "i8259",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = pic_fields,
	.check = pic_check,
};

#define I struct ioapic_section

static const struct state_field ioapic_fields[] = {
	FIELD("id", I, id),
	FIELD("ioregsel", I, ioregsel),
	{.name = "unused",
	 .kind = STATE_PAD,
	 .size = 8,
	 .count = 1,
	 .count_offset = -1,
	 .since = 2},
	FIELD_V("irr", I, irr, 2),
	FIELD("ioredtbl", I, ioredtbl),
	NOT_SENT(I, reserved, "alignment"),
	FIELDS_END,
};

const struct state_table ioapic_section_table = {.name = "ioapic",
						 .version = 3,
						 .min_version = 1,
						 .size = sizeof(I),
						 .fields = ioapic_fields};

#define C struct pit_channel_section

static const struct state_field channel_fields[] = {
	FIELD("count", C, count),
	FIELD("latched_count", C, latched_count),
	FIELD("count_latched", C, count_latched),
	FIELD("status_latched", C, status_latched),
	FIELD("status", C, status),
	FIELD("read_state", C, read_state),
	FIELD("write_state", C, write_state),
	FIELD("write_latch", C, write_latch),
	FIELD("rw_mode", C, rw_mode),
	FIELD("mode", C, mode),
	FIELD("bcd", C, bcd),
	FIELD("gate", C, gate),
	FIELD("count_load_time", C, count_load_time),
	FIELD("next_transition_time", C, next_transition_time),
	FIELDS_END,
};

static const struct state_table channel_table = {.name = "pit channel",
						 .version = 2,
						 .min_version = 2,
						 .size = sizeof(C),
						 .fields = channel_fields};

static const struct state_field pit_fields[] = {
	FIELD_V("channels[0].irq_disabled", struct pit_section, irq_disabled, 3),
	FIELD_STRUCTS("channels", struct pit_section, channels, &channel_table),
	FIELD("channels[0].next_transition_time", struct pit_section, next_transition_time),
	NOT_SENT(struct pit_section, reserved, "alignment"),
	FIELDS_END,
};

static int pit_check(const void *state, unsigned int version, struct err *e)
{
	const struct pit_section *s = state;

	for (unsigned int i = 0; i < 3; i++) {
		if (s->channels[i].mode > 5)
			return err_set(e, EINVAL, "channels[%u].mode: %u isn't 0 to 5", i,
				       s->channels[i].mode);
		if (s->channels[i].count < 0 || s->channels[i].count > 0x10000)
			return err_set(e, EINVAL,
				       "channels[%u].count: %" PRId32 " isn't 0 to 65536", i,
				       s->channels[i].count);
	}
	return 0;
}

const struct state_table pit_section_table = {
	.name = "i8254",
	.version = 3,
	.min_version = 2,
	.size = sizeof(struct pit_section),
	.fields = pit_fields,
	.check = pit_check,
};

#define K struct kvmclock_section

static const struct state_field reliable_fields[] = {
	FIELD("clock_is_reliable", K, reliable),
	FIELDS_END,
};

static const struct state_table reliable_table = {.name = "kvmclock/clock_is_reliable",
						  .version = 1,
						  .min_version = 1,
						  .size = sizeof(K),
						  .fields = reliable_fields};

static const struct state_table *const kvmclock_subsections[] = {&reliable_table, NULL};

static const struct state_field kvmclock_fields[] = {
	FIELD("clock", K, clock),
	NOT_SENT(K, reserved, "alignment"),
	FIELDS_END,
};

const struct state_table kvmclock_section_table = {
	.name = "kvmclock",
	.version = 1,
	.min_version = 1,
	.size = sizeof(K),
	.fields = kvmclock_fields,
	.subsections = kvmclock_subsections,
};

#define H struct tpr_handlers_section
#define T struct tpr_opt_section

static const struct state_field handlers_fields[] = {
	FIELD("set_tpr", H, set_tpr),
	FIELD("set_tpr_eax", H, set_tpr_eax),
	FIELD("get_tpr", H, get_tpr),
	FIELD("get_tpr_stack", H, get_tpr_stack),
	FIELDS_END,
};

static const struct state_table handlers_table = {.name = "kvmvapic-handlers",
						  .version = 1,
						  .min_version = 1,
						  .size = sizeof(H),
						  .fields = handlers_fields};

static const struct state_field tpr_opt_fields[] = {
	PAD(8), /* a signature */
	FIELD("vaddr", T, vaddr),
	FIELD("fixup_start", T, fixup_start),
	FIELD("fixup_end", T, fixup_end),
	FIELD("vapic_vaddr", T, vapic_vaddr),
	FIELD("vapic_size", T, vapic_size),
	FIELD("vcpu_shift", T, vcpu_shift),
	FIELD("real_tpr_addr", T, rom_real_tpr_addr),
	FIELD_STRUCT("up", T, up, &handlers_table),
	FIELD_STRUCT("mp", T, mp, &handlers_table),
	FIELD("state", T, state),
	FIELD("real_tpr_addr", T, real_tpr_addr),
	FIELD("rom_state_vaddr", T, rom_state_vaddr),
	FIELD("vapic_paddr", T, vapic_paddr),
	FIELD("rom_state_paddr", T, rom_state_paddr),
	FIELDS_END,
};

const struct state_table tpr_opt_section_table = {.name = "kvm-tpr-opt",
						  .version = 1,
						  .min_version = 1,
						  .size = sizeof(T),
						  .fields = tpr_opt_fields};

static const struct state_field timer_fields[] = {
	FIELD("cpu_ticks_offset", struct timer_section, cpu_ticks_offset),
	PAD(8),
	FIELD_V("cpu_clock_offset", struct timer_section, cpu_clock_offset, 2),
	FIELDS_END,
};

const struct state_table timer_section_table = {.name = "timer",
						.version = 2,
						.min_version = 1,
						.size = sizeof(struct timer_section),
						.fields = timer_fields};
