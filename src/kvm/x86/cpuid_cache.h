/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_CPUID_CACHE_H
#define KVM_X86_CPUID_CACHE_H

#include "kvm/x86/processor.h"

/* Inside the kvm room: the caches that QEMU's machines show whatever the host has, so that a guest
 * can move. */

/**
 * struct x86_cache - A cache as CPUID describes it; lines of 64 bytes
 * @type, @level, @ways, @sets: As in leaf 4; @ways 0: there is none
 * @self_init:	Works without being set up
 * @edx:	Flags: 1 not invalidated for lower levels, 2 inclusive, 4 complex indexing
 */
struct x86_cache {
	uint32_t type, level, ways, sets;
	bool self_init;
	uint32_t edx;
};

/**
 * struct x86_caches - Those of a CPU model
 */
struct x86_caches {
	struct x86_cache l1d, l1i, l2, l3;
};

extern const struct x86_caches x86_caches_epyc, x86_caches_epyc_rome, x86_caches_epyc_milan;

/* Fills in leaf 2, 4, 0x80000005, 0x80000006 or 0x8000001D, which @l->function (and index) says. */
void x86_cache_leaf(struct kvm_cpuid_entry2 *l, const struct x86_processor *p,
		    const struct x86_topology *t);

#endif
