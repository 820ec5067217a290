/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_IRQCHIP_H
#define KVM_X86_IRQCHIP_H

#include "kvm/kvm.h"

/* The in-kernel interrupt controllers, timer and clock: whole states, in KVM's own structs. */

enum x86_chip { X86_PIC_MASTER, X86_PIC_SLAVE, X86_IOAPIC };

MUST_CHECK int x86_chip_get(struct kvm_vm *vm, enum x86_chip chip, struct kvm_irqchip *ret,
			    struct err *e);
MUST_CHECK int x86_chip_set(struct kvm_vm *vm, enum x86_chip chip, const struct kvm_irqchip *state,
			    struct err *e);
MUST_CHECK int x86_pit_get(struct kvm_vm *vm, struct kvm_pit_state2 *ret, struct err *e);
MUST_CHECK int x86_pit_set(struct kvm_vm *vm, const struct kvm_pit_state2 *state, struct err *e);
/* Ticks that the guest missed come later (the default), or not at all. */
MUST_CHECK int x86_pit_reinject(struct kvm_vm *vm, bool on, struct err *e);
/* kvmclock of the VM, ns; @ret->flags say whether the host can tell its real time as well. */
MUST_CHECK int x86_clock_get(struct kvm_vm *vm, struct kvm_clock_data *ret, struct err *e);
MUST_CHECK int x86_clock_set(struct kvm_vm *vm, uint64_t clock_ns, struct err *e);
/* It had that value at a moment of the host's wall clock, and goes on as if it had run since. */
MUST_CHECK int x86_clock_set_since(struct kvm_vm *vm, uint64_t clock_ns, int64_t wall_ns,
				   struct err *e);
/* Tells the guest's soft-lockup detection that it stood still; after x86_clock_set(). Guests
 * without kvmclock: nothing. */
void x86_clock_paused(struct kvm_vcpu *c);

#endif
