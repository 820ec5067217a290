/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the caches a guest sees are fixed: 32 KiB + 32 KiB first level, 4 MiB
 * second, 16 MiB third level by Intel's leaf 4, and an older description by AMD's leaves, as in
 * pc-q35-7.2. Only who shares them follows the topology.
 *
 * Source: Intel SDM volume 2A, CPUID leaves 2 and 4; AMD APM volume 3, leaves 0x80000005, 6, 1D
 */
#include "kvm/x86/cpuid_cache.h"

enum { CACHE_DATA = 1, CACHE_CODE, CACHE_UNIFIED };

/**
 * struct cache - A cache as CPUID describes it
 * @type, @level, @ways, @sets: As in leaf 4
 * @edx:	Its flags: 1 not invalidated for lower levels, 2 inclusive, 4 complex indexing
 */
struct cache {
	uint32_t type, level, ways, sets, edx;
};

#define LINE 64U

static const struct cache intel[] = {
	{CACHE_DATA, 1, 8, 64, 1},
	{CACHE_CODE, 1, 8, 64, 1},
	{CACHE_UNIFIED, 2, 16, 4096, 1},
	{CACHE_UNIFIED, 3, 16, 16384, 6},
};

static const struct cache amd[] = {
	{CACHE_DATA, 1, 2, 512, 1},
	{CACHE_CODE, 1, 2, 512, 1},
	{CACHE_UNIFIED, 2, 16, 512, 0},
	{CACHE_UNIFIED, 3, 16, 16384, 6},
};

static void encode(struct kvm_cpuid_entry2 *l, const struct cache *c, bool self_init)
{
	l->eax = c->type | c->level << 5 | (self_init ? 1U << 8 : 0);
	l->ebx = (LINE - 1) | (c->ways - 1) << 22;
	l->ecx = c->sets - 1;
	l->edx = c->edx;
}

/**
 * x86_cache_leaf2() - Leaf 2: cache descriptors
 * @l:		Filled in: 32 KiB, 32 KiB, 2 MiB second and 16 MiB third level
 */
void x86_cache_leaf2(struct kvm_cpuid_entry2 *l)
{
	l->eax = 1;
	l->ecx = 0x4d;
	l->edx = 0x2c << 16 | 0x30 << 8 | 0x7d;
}

/**
 * x86_cache_leaf4() - Leaf 4: one cache a subleaf
 * @l:		Filled in
 * @threads, @cores: Topology
 * @die_ids:	APIC ids that share the third level
 */
void x86_cache_leaf4(struct kvm_cpuid_entry2 *l, unsigned int threads, unsigned int cores,
		     unsigned int die_ids)
{
	uint32_t ids = l->index == 3 ? die_ids : l->index == 2 ? threads : 1;

	if (l->index > 3)
		return;
	encode(l, &intel[l->index], true);
	l->eax |= (cores - 1) << 26 | (ids - 1) << 14;
}

/**
 * x86_cache_leaf_l1_amd() - Leaf 0x80000005: first level and its TLBs
 * @l:		Filled in
 */
void x86_cache_leaf_l1_amd(struct kvm_cpuid_entry2 *l)
{
	l->eax = 0x01ff01ff;
	l->ebx = 0x01ff01ff;
	l->ecx = 64U << 24 | 2 << 16 | 1 << 8 | LINE;
	l->edx = l->ecx;
}

/**
 * x86_cache_leaf_l2_amd() - Leaf 0x80000006: second and third level and TLBs
 * @l:		Filled in
 */
void x86_cache_leaf_l2_amd(struct kvm_cpuid_entry2 *l)
{
	l->ebx = 0x42004200;
	l->ecx = 512U << 16 | 8 << 12 | 1 << 8 | LINE;
	l->edx = 32U << 18 | 8 << 12 | 1 << 8 | LINE;
}

/**
 * x86_cache_leaf_8000001d() - Leaf 0x8000001D: one cache a subleaf
 * @l:		Filled in
 * @threads:	Of a core
 * @per_package: vCPUs that share the third level
 */
void x86_cache_leaf_8000001d(struct kvm_cpuid_entry2 *l, unsigned int threads,
			     unsigned int per_package)
{
	if (l->index > 3)
		return;
	encode(l, &amd[l->index], l->index != 2);
	l->eax |= (l->index == 3 ? per_package - 1 : threads - 1) << 14;
}
