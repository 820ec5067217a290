/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs, interrupt controllers, timer and clocks: QEMU's sections come out as they went in, every
 * byte of a state has its row, and what a section says survives the way through KVM's structs and
 * back.
 */
#include "machine/x86/chips_section.h"
#include "machine/x86/cpu_section.h"

#include "section.h"

static const struct state_table *const tables[] = {
	&cpu_section_table,      &cpu_common_section_table, &apic_section_table,
	&pic_section_table,      &ioapic_section_table,     &pit_section_table,
	&kvmclock_section_table, &tpr_opt_section_table,    &timer_section_table,
};

static void every_byte_has_its_row(void **unused)
{
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (state_cover_check(tables[i], &e) < 0)
			fail_msg("%s: %s", tables[i]->name, e.msg);
}

static void qemus_sections_come_out_as_they_went_in(void **unused)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (!section_round_trip(tables[i], tables[i]->name, NULL))
			fail_msg("no section of %s in the data", tables[i]->name);
}

/* A host whose XSAVE has the layout of Intel's CPUs up to AVX-512 and PKU. */
static const struct kvm_host host = {
	.xsave_size = 2696,
	.xsave_offset = {
		[2] = 576, [3] = 960, [4] = 1024, [5] = 1088, [6] = 1152, [7] = 1664, [9] = 2688}};

static void cpu_survives_kvms_structs(const struct section *s, void *opaque)
{
	struct cpu_section *in = calloc(1, sizeof(*in)), *out = calloc(1, sizeof(*out));
	struct x86_vcpu_state *k = calloc(1, sizeof(*k));

	memcpy(in, cpu_section_table.fresh, sizeof(*in));
	section_load(s->file, &cpu_section_table, in, s->version);
	cpu_section_to(in, k, &host, 48);
	cpu_section_from(out, k, &host, 48);
	out->offers_tsx_ctrl = in->offers_tsx_ctrl;
	in->dr[4] = in->dr[6]; /* QEMU has the same number twice */
	in->dr[5] = in->dr[7];
	in->exception_injected = out->exception_injected;
	for (size_t i = 0; i < sizeof(*in); i++)
		if (((uint8_t *)in)[i] != ((uint8_t *)out)[i])
			fail_msg("%s: byte %zu of struct cpu_section: %#x became %#x", s->file, i,
				 ((uint8_t *)in)[i], ((uint8_t *)out)[i]);
	free(in);
	free(out);
	free(k);
}

/* A guest between STI and HLT: what wakes it must not come before it sleeps. */
static void an_instruction_after_sti_stays_uninterrupted(void **unused)
{
	struct cpu_section *s = calloc(1, sizeof(*s));
	struct x86_vcpu_state *k = calloc(1, sizeof(*k)), *there = calloc(1, sizeof(*there));

	for (int shadow = 0; shadow <= KVM_X86_SHADOW_INT_STI; shadow += KVM_X86_SHADOW_INT_STI) {
		memcpy(s, cpu_section_table.fresh, sizeof(*s));
		cpu_section_to(s, k, &host, 48);
		k->events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
		k->events.interrupt.shadow = (uint8_t)shadow;
		cpu_section_from(s, k, &host, 48);
		cpu_section_to(s, there, &host, 48);
		assert_true(there->events.flags & KVM_VCPUEVENT_VALID_SHADOW);
		assert_int_equal(there->events.interrupt.shadow, shadow);
	}
	free(there);
	free(k);
	free(s);
}

/* The guest was stopped while a fault was being delivered. */
static void fault(struct x86_vcpu_state *k, uint8_t nr, uint32_t error_code)
{
	k->events.exception.injected = true;
	k->events.exception.nr = nr;
	k->events.exception.has_error_code = true;
	k->events.exception.error_code = error_code;
}

static void a_fault_comes_with_its_error_code_or_comes_again(void **unused)
{
	struct cpu_section *s = calloc(1, sizeof(*s));
	struct x86_vcpu_state *k = calloc(1, sizeof(*k)), *there = calloc(1, sizeof(*there));

	for (uint32_t code = 0; code < 8; code++) {
		memcpy(s, cpu_section_table.fresh, sizeof(*s));
		cpu_section_to(s, k, &host, 48);
		fault(k, 14, code);
		cpu_section_from(s, k, &host, 48);
		s->error_code = 0; /* isn't sent */
		cpu_section_to(s, there, &host, 48);
		assert_int_equal(there->events.exception.injected, code == 0);
		if (code)
			assert_int_equal(s->exception_nr, -1);
	}
	fault(k, 14, 6);
	*(struct kvm_nested_state *)(void *)k->nested = (struct kvm_nested_state){
		.flags = KVM_STATE_NESTED_GUEST_MODE, .size = sizeof(struct kvm_nested_state)};
	k->nested_size = sizeof(struct kvm_nested_state);
	cpu_section_from(s, k, &host, 48);
	assert_true(s->exception_injected && s->exception_nr == 14);
	free(there);
	free(k);
	free(s);
}

static void cpus_survive_kvms_structs(void **unused)
{
	assert_true(section_each("cpu", cpu_survives_kvms_structs, NULL) > 0);
}

static void apic_survives_kvms_structs(const struct section *s, void *opaque)
{
	struct apic_section in = {0}, out;
	struct kvm_lapic_state k;

	section_load(s->file, &apic_section_table, &in, s->version);
	apic_section_to(&in, &k, 0);
	apic_section_from(&out, &k, in.apicbase, in.initial_count_load_time);
	assert_memory_equal(in.isr, out.isr, sizeof(in.isr));
	assert_memory_equal(in.irr, out.irr, sizeof(in.irr));
	assert_memory_equal(in.lvt, out.lvt, sizeof(in.lvt));
	assert_int_equal(in.id, out.id);
	assert_int_equal(in.spurious_vec, out.spurious_vec);
	assert_int_equal(in.count_shift, out.count_shift);
	assert_int_equal(in.timer_expiry, out.timer_expiry);
}

static void apics_survive_kvms_structs(void **unused)
{
	assert_true(section_each("apic", apic_survives_kvms_structs, NULL) > 0);
}

static void a_running_apic_timer_keeps_its_rest(void **unused)
{
	struct apic_section s = {.lvt = {0x20},
				 .initial_count = 1000,
				 .count_shift = 1,
				 .divide_conf = 0,
				 .initial_count_load_time = 5000,
				 .next_time = 5800,
				 .timer_expiry = 5800};
	struct kvm_lapic_state k;

	apic_section_to(&s, &k, 0);
	assert_int_equal(*(uint32_t *)(void *)(k.regs + 0x390), 400);
	s.timer_expiry = -1; /* ended, its interrupt nowhere to be seen: it comes at once */
	apic_section_to(&s, &k, 0);
	assert_int_equal(*(uint32_t *)(void *)(k.regs + 0x380), 1000);
	assert_int_equal(*(uint32_t *)(void *)(k.regs + 0x390), 0);
	s.irr[1] = 1; /* raised already: not again */
	apic_section_to(&s, &k, 0);
	assert_int_equal(*(uint32_t *)(void *)(k.regs + 0x380), 0);
}

static void pit_survives_kvms_structs(const struct section *s, void *opaque)
{
	struct pit_section in = {0}, out;
	struct kvm_pit_state2 k;

	section_load(s->file, &pit_section_table, &in, s->version);
	pit_section_to(&in, &k, 12345);
	pit_section_from(&out, &k, 12345);
	assert_int_equal(in.irq_disabled, out.irq_disabled);
	assert_int_equal(in.next_transition_time, out.next_transition_time);
	assert_memory_equal(&in.channels, &out.channels, sizeof(in.channels));
}

static void pits_survive_kvms_structs(void **unused)
{
	assert_true(section_each("i8254", pit_survives_kvms_structs, NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_has_its_row),
		cmocka_unit_test(qemus_sections_come_out_as_they_went_in),
		cmocka_unit_test(cpus_survive_kvms_structs),
		cmocka_unit_test(an_instruction_after_sti_stays_uninterrupted),
		cmocka_unit_test(a_fault_comes_with_its_error_code_or_comes_again),
		cmocka_unit_test(apics_survive_kvms_structs),
		cmocka_unit_test(a_running_apic_timer_keeps_its_rest),
		cmocka_unit_test(pits_survive_kvms_structs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
