/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_CPUID_H
#define KVM_X86_CPUID_H

#include "kvm/kvm.h"
#include "kvm/x86/processor.h"

#define X86_CPUID_ENTRIES 128

/**
 * struct x86_cpuid - What CPUID answers, but for the vCPU's own numbers, and the MSRs like it
 * @topology:	For the vCPU's own numbers
 * @cpu:	What it was made from
 * @len:	Entries
 * @entries:	In order of leaf and subleaf
 */
struct x86_cpuid {
	struct x86_topology topology;
	struct x86_processor cpu;
	unsigned int len;
	struct kvm_cpuid_entry2 entries[X86_CPUID_ENTRIES];
};

/* As QEMU 7.2 answers for "-cpu @cpu". */
MUST_CHECK int x86_cpuid_make(struct x86_cpuid *ret, const struct kvm_host *h, const char *cpu,
			      const struct x86_topology *t, struct err *e);
/* With the APIC id filled in; and the MSRs that describe the CPU. */
MUST_CHECK int x86_cpuid_set(struct kvm_vcpu *c, const struct x86_cpuid *cpuid, struct err *e);
const struct kvm_cpuid_entry2 *x86_cpuid_find(const struct x86_cpuid *cpuid, uint32_t leaf,
					      uint32_t subleaf);
/* Where vCPU @index is: threads count fastest, then cores, dies, sockets. */
struct x86_place x86_place_of(const struct x86_topology *t, unsigned int index);
/* APIC id of vCPU @index: ids are packed by powers of two, as hardware does. */
unsigned int x86_apic_id(const struct x86_topology *t, unsigned int index);
/* feature_msrs.c */
void x86_feature_msrs_set(struct kvm_vcpu *c, const struct x86_processor *p);

#endif
