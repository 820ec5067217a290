/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_CPUID_CACHE_H
#define KVM_X86_CPUID_CACHE_H

#include "kvm/kvm.h"

/* Inside the kvm room: the caches that QEMU's machines show whatever the host has, so that a guest
 * can move. */

void x86_cache_leaf2(struct kvm_cpuid_entry2 *l);
void x86_cache_leaf4(struct kvm_cpuid_entry2 *l, unsigned int threads, unsigned int cores,
		     unsigned int die_ids);
void x86_cache_leaf_l1_amd(struct kvm_cpuid_entry2 *l);
void x86_cache_leaf_l2_amd(struct kvm_cpuid_entry2 *l);
void x86_cache_leaf_8000001d(struct kvm_cpuid_entry2 *l, unsigned int threads,
			     unsigned int per_package);

#endif
