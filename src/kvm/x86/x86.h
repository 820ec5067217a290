/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_X86_H
#define KVM_X86_X86_H

#include "kvm/kvm.h"

#define X86_CR0_PE   (1U << 0)
#define X86_CR0_ET   (1U << 4)
#define X86_CR0_NW   (1U << 29)
#define X86_CR0_CD   (1U << 30)
#define X86_CR0_PG   (1U << 31)
#define X86_CR4_PAE  (1U << 5)
#define X86_EFER_LME (1U << 8)
#define X86_EFER_LMA (1U << 10)
#define X86_RFLAGS_1 2U

/**
 * struct x86_entry - Where the boot vCPU begins when there is no firmware
 * @long_mode:	64-bit with paging by @cr3; else 32-bit flat protected mode
 * @rip:	First instruction
 * @rsp:	Stack, or 0
 * @rbx, @rsi:	What the boot protocol hands over
 * @cr3:	Page tables of @long_mode
 * @gdt:	Table with the flat segments 0x10 and 0x18, 32 bytes; 0: none
 */
struct x86_entry {
	bool long_mode;
	uint64_t rip, rsp, rbx, rsi, cr3, gdt;
};

/* Registers after reset; @boot: the boot vCPU, which runs from 0xfffffff0, the others wait for
 * their start-up IPI. @signature: CPUID's, which firmware finds in EDX. */
MUST_CHECK int x86_vcpu_reset(struct kvm_vcpu *c, bool boot, uint32_t signature, struct err *e);
/* Over x86_vcpu_reset(): enters a kernel directly. */
MUST_CHECK int x86_vcpu_enter(struct kvm_vcpu *c, const struct x86_entry *entry, struct err *e);

#endif
