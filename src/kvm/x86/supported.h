/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_SUPPORTED_H
#define KVM_X86_SUPPORTED_H

#include "kvm/kvm.h"
#include "kvm/x86/features.h"

/**
 * struct x86_supported - What a guest's CPU can have on this host
 * @kvm:	KVM_GET_SUPPORTED_CPUID, owned
 * @f:		Feature words: what KVM lists, what it can do beyond that, less what no guest of
 *		ours can take along
 * @vendor, @id: Of the host's CPU
 * @family, @model, @stepping: Likewise
 * @phys_bits:	Width of its physical addresses
 * @ucode:	Microcode revision that KVM gives; 0: none
 * @lmce:	KVM can deliver machine checks to one vCPU
 */
struct x86_supported {
	struct kvm_cpuid2 *kvm;
	struct x86_features f;
	char vendor[13], id[49];
	uint32_t family, model, stepping, phys_bits;
	uint64_t ucode;
	bool lmce;
};

MUST_CHECK int x86_supported_read(struct x86_supported *ret, const struct kvm_host *h,
				  struct err *e);
void x86_supported_release(struct x86_supported *s);
/* KVM's entry for a leaf, or NULL. */
const struct kvm_cpuid_entry2 *x86_supported_leaf(const struct x86_supported *s, uint32_t leaf,
						  uint32_t subleaf);
/* A register of it; 0 if there is no entry. */
uint32_t x86_supported_reg(const struct x86_supported *s, uint32_t leaf, uint32_t subleaf,
			   enum x86_reg reg);
/* Value of an MSR that describes the CPU, as KVM offers it; 0: it doesn't. */
uint64_t x86_supported_msr(const struct kvm_host *h, uint32_t index);

#endif
