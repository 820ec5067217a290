/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a state is a row of parts, each with a getter and a setter; two tables give
 * the orders.
 *
 * Capture: MP state first, since KVM takes a pending INIT or start-up IPI while it is read, which
 * changes the rest; then a one-shot timer that has run out becomes the request it means, and is
 * captured as one that isn't armed. One that has run out without a request is either served or
 * late: nobody can tell, and it fires (again), since a guest that sleeps until it fires must not
 * wait for ever. Apply: special registers first (EFER and the APIC base decide
 * what the others may be), then the local APIC, so that the TSC deadline among the MSRs meets the
 * timer in its mode; nested state after the special registers it builds on; the TSC's frequency
 * before the TSC; events and debug registers after everything that may raise or clear one; MP state
 * near the end, so that nothing counts as a wake-up.
 */
#include "kvm/x86/state.h"
#include "base/clock.h"
#include "base/log.h"
#include "kvm/x86/state_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define LAPIC_ISR           0x100
#define LAPIC_IRR           0x200
#define LAPIC_LVT_TIMER     0x320
#define LAPIC_TIMER_MODE    (3U << 17) /* 0: one-shot */
#define LAPIC_INITIAL_COUNT 0x380
#define LAPIC_CURRENT_COUNT 0x390
#define MCG_LMCE_P          (1ULL << 27)

static int call(struct kvm_vcpu *c, unsigned long request, void *arg, const char *name,
		struct err *e)
{
	if (ioctl(kvm_vcpu_fd(c), request, arg) < 0)
		return err_sys(e, "%s of vCPU %u", name, kvm_vcpu_id(c));
	return 0;
}

#define CALL(c, request, arg, e) call(c, request, arg, #request, e)

static int xsave_capture(struct kvm_vcpu *c, const struct kvm_host *h, struct x86_vcpu_state *s,
			 struct err *e)
{
	s->xsave_size = (uint32_t)h->xsave_size;
	if (h->xsave_size > sizeof(s->xsave))
		return err_set(e, ENOTSUP,
			       "vCPU %u has %zu bytes of extended state, more than is known",
			       kvm_vcpu_id(c), h->xsave_size);
	if (h->caps.xsave2)
		return CALL(c, KVM_GET_XSAVE2, s->xsave, e);
	return CALL(c, KVM_GET_XSAVE, s->xsave, e);
}

static int nested_capture(struct kvm_vcpu *c, const struct x86_msr_list *l,
			  struct x86_vcpu_state *s, struct err *e)
{
	struct kvm_nested_state *n = (void *)s->nested;

	s->nested_size = 0;
	if (!l->nests)
		return 0;
	*n = (struct kvm_nested_state){.size = sizeof(s->nested)};
	if (ioctl(kvm_vcpu_fd(c), KVM_GET_NESTED_STATE, n) < 0)
		return errno == EINVAL
			       ? 0
			       : err_sys(e, "KVM_GET_NESTED_STATE of vCPU %u", kvm_vcpu_id(c));
	s->nested_size = n->size;
	return 0;
}

/* It changes only when it is set, so what was captured or applied last still holds. */
static void tsc_khz_capture(struct kvm_vcpu *c, struct x86_vcpu_state *s)
{
	int khz = s->tsc_khz ? (int)s->tsc_khz : ioctl(kvm_vcpu_fd(c), KVM_GET_TSC_KHZ, 0);

	s->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
}

static uint32_t *lapic_reg(struct kvm_lapic_state *l, unsigned int offset)
{
	return (void *)(l->regs + offset);
}

/* A one-shot timer that has run out. KVM shows the same whether its interrupt was requested or not
 * yet, and starting from the same again would request it (again). */
static bool one_shot_over(struct kvm_lapic_state *l)
{
	return (*lapic_reg(l, LAPIC_LVT_TIMER) & LAPIC_TIMER_MODE) == 0 &&
	       *lapic_reg(l, LAPIC_INITIAL_COUNT) && !*lapic_reg(l, LAPIC_CURRENT_COUNT);
}

/* Is its interrupt requested or being served? */
static bool timer_told(struct kvm_lapic_state *l)
{
	uint32_t vector = *lapic_reg(l, LAPIC_LVT_TIMER) & 0xff;
	unsigned int word = vector / 32 * 0x10;

	return (*lapic_reg(l, LAPIC_IRR + word) | *lapic_reg(l, LAPIC_ISR + word)) >> vector % 32 &
	       1;
}

/* Has the request made if it isn't yet. The kernel's timer may lag a little behind its count; on a
 * busy host by any time. */
static int timer_settle(struct kvm_vcpu *c, bool *ret_over, struct err *e)
{
	const struct timespec lag = {.tv_nsec = 50 * NS_PER_US};
	struct kvm_lapic_state l;
	int r = CALL(c, KVM_GET_LAPIC, &l, e);

	*ret_over = r == 0 && one_shot_over(&l);
	if (!*ret_over)
		return r;
	nanosleep(&lag, NULL);
	return kvm_vcpu_settle(c, e);
}

/**
 * x86_vcpu_capture() - Read the whole state of a vCPU
 * @c:		The vCPU, out of guest mode, its last I/O complete
 * @msrs:	Which MSRs
 * @s:		Filled in; holds what was captured or applied last, or zeros
 * @e:		Set on failure
 *
 * Errors: as the ioctls
 * Return: 0, or a negative errno
 */
int x86_vcpu_capture(struct kvm_vcpu *c, const struct x86_msr_list *msrs, struct x86_vcpu_state *s,
		     struct err *e)
{
	const struct kvm_host *h = kvm_vcpu_host(c);
	bool over = false;
	int r = CALL(c, KVM_GET_MP_STATE, &s->mp_state, e);

	r = r ? r : timer_settle(c, &over, e);
	r = r ? r : CALL(c, KVM_GET_VCPU_EVENTS, &s->events, e);
	r = r ? r : CALL(c, KVM_GET_REGS, &s->regs, e);
	r = r ? r : CALL(c, KVM_GET_SREGS, &s->sregs, e);
	r = r ? r : xsave_capture(c, h, s, e);
	r = r ? r : CALL(c, KVM_GET_XCRS, &s->xcrs, e);
	r = r ? r : CALL(c, KVM_GET_DEBUGREGS, &s->debugregs, e);
	r = r ? r : CALL(c, KVM_GET_LAPIC, &s->lapic, e);
	r = r ? r : x86_msrs_capture(c, msrs, s, e);
	r = r ? r : nested_capture(c, msrs, s, e);
	if (r == 0)
		tsc_khz_capture(c, s);
	if (r == 0 && over && one_shot_over(&s->lapic) && timer_told(&s->lapic))
		*lapic_reg(&s->lapic, LAPIC_INITIAL_COUNT) = 0; /* it has fired: not again */
	return r;
}

/* 250 ppm, as KVM itself tolerates: then the difference is below what anybody can tell. */
static bool khz_close(uint32_t a, uint32_t b)
{
	uint64_t diff = a > b ? a - b : b - a;

	return diff * 1000000 <= (uint64_t)b * 250;
}

static int tsc_khz_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s,
			 const struct x86_vcpu_state *known, struct err *e)
{
	int now = known && known->tsc_khz ? (int)known->tsc_khz
					  : ioctl(kvm_vcpu_fd(c), KVM_GET_TSC_KHZ, 0);

	if (!s->tsc_khz || (now > 0 && (uint32_t)now == s->tsc_khz))
		return 0;
	if (ioctl(kvm_vcpu_fd(c), KVM_SET_TSC_KHZ, (unsigned long)s->tsc_khz) == 0)
		return 0;
	if (now > 0 && khz_close((uint32_t)now, s->tsc_khz))
		return 0;
	return err_set(e, ENOTSUP,
		       "vCPU %u: the guest's TSC runs at %" PRIu32
		       " kHz, this host's at %d kHz and can't be scaled",
		       kvm_vcpu_id(c), s->tsc_khz, now);
}

static int xsave_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s, struct err *e)
{
	/* The kernel reads as much as this host's state has: the rest of the buffer is zeros. */
	return CALL(c, KVM_SET_XSAVE, (void *)(uintptr_t)s->xsave, e);
}

static int nested_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s, struct err *e)
{
	if (!s->nested_size)
		return 0;
	return CALL(c, KVM_SET_NESTED_STATE, (void *)(uintptr_t)s->nested, e);
}

static int events_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s, struct err *e)
{
	struct kvm_vcpu_events v = s->events;
	const struct kvm_caps *caps = &kvm_vcpu_host(c)->caps;

	v.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	if (s->mp_state.mp_state == KVM_MP_STATE_SIPI_RECEIVED)
		v.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	else
		v.flags &= ~KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	if (!caps->exception_payload)
		v.flags &= ~KVM_VCPUEVENT_VALID_PAYLOAD;
	if (!caps->triple_fault_event)
		v.flags &= ~KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	return CALL(c, KVM_SET_VCPU_EVENTS, &v, e);
}

/* What can be interrupted comes back by KVM_SET_VCPU_EVENTS. */
static int sregs_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s, struct err *e)
{
	struct kvm_sregs v = s->sregs;

	memset(v.interrupt_bitmap, 0, sizeof(v.interrupt_bitmap));
	return CALL(c, KVM_SET_SREGS, &v, e);
}

/* A part that no other setter touches, unless the vCPU has it already. */
#define CALL_UNLESS(known, c, request, part, e)                        \
	((known) && !memcmp(&(known)->part, &v->part, sizeof(v->part)) \
		 ? 0                                                   \
		 : CALL(c, request, &v->part, e))

/**
 * x86_vcpu_apply() - Give a vCPU its whole state
 * @c:		The vCPU, out of guest mode, with its CPUID set
 * @s:		The state
 * @known:	What was captured from it; it never ran and nothing was applied since. Or NULL
 * @e:		Set on failure
 *
 * Each ioctl loads the vCPU onto the CPU, which costs more than what it does there. So MSRs and the
 * parts that stand alone aren't written where @known has the same.
 *
 * Errors: ENOTSUP the TSC's frequency; EINVAL a value the host refuses; as the ioctls
 * Return: 0, or a negative errno, and the vCPU must not run
 */
int x86_vcpu_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s,
		   const struct x86_vcpu_state *known, struct err *e)
{
	struct x86_vcpu_state *v =
		(void *)(uintptr_t)s; /* ioctl(2) takes no const; none of these writes */
	int r = sregs_apply(c, s, e);

	r = r ? r : CALL(c, KVM_SET_LAPIC, &v->lapic, e);
	r = r ? r : nested_apply(c, s, e);
	r = r ? r : tsc_khz_apply(c, s, known, e);
	r = r ? r : CALL(c, KVM_SET_REGS, &v->regs, e);
	r = r ? r : xsave_apply(c, s, e);
	r = r ? r : CALL_UNLESS(known, c, KVM_SET_XCRS, xcrs, e);
	r = r ? r : x86_msrs_apply(c, s, known, e);
	r = r ? r : events_apply(c, s, e);
	r = r ? r : CALL_UNLESS(known, c, KVM_SET_MP_STATE, mp_state, e);
	r = r ? r : CALL_UNLESS(known, c, KVM_SET_DEBUGREGS, debugregs, e);
	return r;
}

/**
 * x86_vcpu_setup() - Prepare a new vCPU
 * @c:		The vCPU
 * @lmce:	Machine checks may go to one vCPU only
 * @e:		Set on failure
 *
 * Gives it ten machine check banks, as QEMU's have.
 *
 * Errors: as KVM_X86_SETUP_MCE
 * Return: 0, or a negative errno
 */
int x86_vcpu_setup(struct kvm_vcpu *c, bool lmce, struct err *e)
{
	uint64_t cap = 0,
		 wanted = (1ULL << 8 | 1ULL << 24) | X86_MCE_BANKS; /* MCG_CTL_P, MCG_SER_P */

	if (ioctl(kvm_vcpu_host(c)->fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap) < 0)
		return err_sys(e, "KVM_X86_GET_MCE_CAP_SUPPORTED");
	wanted |= lmce ? MCG_LMCE_P : 0;
	wanted &= cap | 0xff;
	return CALL(c, KVM_X86_SETUP_MCE, &wanted, e);
}
