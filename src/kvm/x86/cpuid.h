/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_CPUID_H
#define KVM_X86_CPUID_H

#include "kvm/kvm.h"

#define X86_CPUID_ENTRIES 128

/**
 * struct x86_topology - -smp
 */
struct x86_topology {
	unsigned int sockets, dies, cores, threads;
};

/**
 * struct x86_cpu_options - What -cpu says besides the model
 * @topology:	-smp
 * @migratable:	Leave out what can't follow the guest (invariant TSC)
 * @pmu:	The guest has a PMU (off: leaf 0xA is empty); QEMU's "host" has it
 * @toggles:	"+avx512f,-pcid,x2apic=off", or NULL
 */
struct x86_cpu_options {
	struct x86_topology topology;
	bool migratable, pmu;
	const char *toggles;
};

/**
 * struct x86_cpuid - What CPUID answers, but for the vCPU's own numbers
 * @topology:	For the vCPU's own numbers
 * @len:	Entries
 * @entries:	In order of leaf and subleaf
 */
struct x86_cpuid {
	struct x86_topology topology;
	unsigned int len;
	struct kvm_cpuid_entry2 entries[X86_CPUID_ENTRIES];
};

/* The host's CPU as far as KVM supports it, as QEMU 7.2's "-cpu host". */
MUST_CHECK int x86_cpuid_host(struct x86_cpuid *ret, const struct kvm_host *h,
			      const struct x86_cpu_options *o, struct err *e);
/* With the APIC id filled in. */
MUST_CHECK int x86_cpuid_set(struct kvm_vcpu *c, const struct x86_cpuid *cpuid, struct err *e);
const struct kvm_cpuid_entry2 *x86_cpuid_find(const struct x86_cpuid *cpuid, uint32_t leaf,
					      uint32_t subleaf);
/* APIC id of vCPU @index: ids are packed by powers of two, as hardware does. */
unsigned int x86_apic_id(const struct x86_topology *t, unsigned int index);

#endif
