/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one-shot timer of a local APIC over a move: it fires once, neither again because it had fired
 * before, nor not at all because that had not been told yet, however late the kernel's own timer
 * is. No guest code runs: KVM's own timer writes the vector into the IRR.
 */
#include "pulse_guest.h"

#include <sys/ioctl.h>

#define VECTOR   0x51
#define MASKED   (1U << 16)
#define LVT_AT   0x320
#define ICR_AT   0x380
#define CCR_AT   0x390
#define DCR_AT   0x3e0
#define SVR_AT   0x0f0
#define IRR_AT   (0x200 + VECTOR / 32 * 0x10)
#define DIVIDE_1 0xb

static uint32_t *reg(struct kvm_lapic_state *l, unsigned int at)
{
	return (uint32_t *)(l->regs + at);
}

static bool asked(struct kvm_lapic_state *l)
{
	return *reg(l, IRR_AT) & 1U << VECTOR % 32;
}

static void lapic_get(struct bench *b, struct kvm_lapic_state *l)
{
	assert_int_equal(ioctl(kvm_vcpu_fd(b->vm.vcpus[0]->kvm), KVM_GET_LAPIC, l), 0);
}

/* Armed to end after @ns. */
static void arm_with(struct bench *b, uint32_t ns, uint32_t lvt)
{
	struct kvm_lapic_state l;

	lapic_get(b, &l);
	*reg(&l, SVR_AT) = 0x1ff;
	*reg(&l, LVT_AT) = lvt;
	*reg(&l, DCR_AT) = DIVIDE_1;
	*reg(&l, ICR_AT) = ns;
	*reg(&l, CCR_AT) = ns;
	*reg(&l, IRR_AT) = 0;
	assert_int_equal(ioctl(kvm_vcpu_fd(b->vm.vcpus[0]->kvm), KVM_SET_LAPIC, &l), 0);
}

static void arm(struct bench *b, uint32_t ns)
{
	arm_with(b, ns, VECTOR);
}

static void await_end(struct bench *b)
{
	int64_t end_ns = time_ns() + WAIT_NS;
	struct kvm_lapic_state l;

	do
		lapic_get(b, &l);
	while (*reg(&l, CCR_AT) && time_ns() < end_ns);
	assert_int_equal(*reg(&l, CCR_AT), 0);
}

static void taken(struct bench *b, struct x86_vcpu_state *s)
{
	ok(b, x86_vcpu_capture(b->vm.vcpus[0]->kvm, &b->cpus->msrs, s, &b->e));
}

static void given(struct bench *b, const struct x86_vcpu_state *s)
{
	ok(b, x86_vcpu_apply(b->vm.vcpus[0]->kvm, s, NULL, &b->e));
}

static void moves(bool served)
{
	struct bench *from = bench_make(1, NULL), *to = bench_make(1, NULL);
	struct x86_vcpu_state *s = calloc(1, sizeof(*s)), *again = calloc(1, sizeof(*again));

	arm(from, 1000);
	await_end(from);
	taken(from, s);
	assert_true(asked(&s->lapic));
	if (served)
		*reg(&s->lapic, IRR_AT) = 0; /* as the guest does, by taking it and EOI */
	given(to, s);
	taken(to, again);
	assert_int_equal(asked(&again->lapic), !served);
	free(again);
	free(s);
	bench_destroy(to);
	bench_destroy(from);
}

static void what_was_told_is_told_once(void **state)
{
	moves(false);
}

static void what_was_served_does_not_come_again(void **state)
{
	moves(true);
}

/* A late timer of the kernel looks like this: the count has ended and nothing is requested. */
static void what_has_ended_without_a_request_comes(void **state)
{
	struct bench *from = bench_make(1, NULL), *to = bench_make(1, NULL);
	struct x86_vcpu_state *s = calloc(1, sizeof(*s));

	arm_with(from, 1000, VECTOR | MASKED);
	await_end(from);
	taken(from, s);
	assert_false(asked(&s->lapic));
	*reg(&s->lapic, LVT_AT) = VECTOR;
	given(to, s);
	await_end(to);
	taken(to, s);
	assert_true(asked(&s->lapic));
	free(s);
	bench_destroy(to);
	bench_destroy(from);
}

static void what_is_still_to_come_comes(void **state)
{
	struct bench *from = bench_make(1, NULL), *to = bench_make(1, NULL);
	struct x86_vcpu_state *s = calloc(1, sizeof(*s));

	arm(from, 300000000);
	taken(from, s);
	assert_false(asked(&s->lapic));
	assert_int_not_equal(*reg(&s->lapic, CCR_AT), 0);
	given(to, s);
	await_end(to);
	taken(to, s);
	assert_true(asked(&s->lapic));
	free(s);
	bench_destroy(to);
	bench_destroy(from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_told_is_told_once),
		cmocka_unit_test(what_was_served_does_not_come_again),
		cmocka_unit_test(what_has_ended_without_a_request_comes),
		cmocka_unit_test(what_is_still_to_come_comes),
	};

	return cmocka_run_group_tests_name("lapic_timer", tests, NULL, NULL);
}
