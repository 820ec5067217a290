/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the caches a guest sees are those of its model, or fixed ones that stand for
 * any CPU: 32 KiB + 32 KiB first level, 4 MiB second (2 MiB by leaf 2), 16 MiB third level by
 * Intel's leaves, and an older description by AMD's, as in pc-q35-7.2. Only who shares them follows
 * the topology. With host-cache-info it is the host's.
 *
 * Source: Intel SDM volume 2A, CPUID leaves 2 and 4; AMD APM volume 3, leaves 0x80000005, 6, 1D
 */
#include "kvm/x86/cpuid_cache.h"

#include <cpuid.h>

enum { CACHE_DATA = 1, CACHE_CODE, CACHE_UNIFIED };

#define LINE 64U

static const struct x86_caches any_intel = {
	{CACHE_DATA, 1, 8, 64, true, 1},
	{CACHE_CODE, 1, 8, 64, true, 1},
	{CACHE_UNIFIED, 2, 16, 4096, true, 1},
	{CACHE_UNIFIED, 3, 16, 16384, true, 6},
};

/* Leaf 2 has its own second level. */
static const struct x86_caches any_leaf2 = {
	{CACHE_DATA, 1, 8, 64, true, 1},
	{CACHE_CODE, 1, 8, 64, true, 1},
	{CACHE_UNIFIED, 2, 8, 4096, false, 0},
	{CACHE_UNIFIED, 3, 16, 16384, true, 6},
};

static const struct x86_caches any_amd = {
	{CACHE_DATA, 1, 2, 512, true, 1},
	{CACHE_CODE, 1, 2, 512, true, 1},
	{CACHE_UNIFIED, 2, 16, 512, false, 0},
	{CACHE_UNIFIED, 3, 16, 16384, true, 6},
};

const struct x86_caches x86_caches_epyc = {
	{CACHE_DATA, 1, 8, 64, true, 1},
	{CACHE_CODE, 1, 4, 256, true, 1},
	{CACHE_UNIFIED, 2, 8, 1024, false, 0},
	{CACHE_UNIFIED, 3, 16, 8192, true, 6},
};

const struct x86_caches x86_caches_epyc_rome = {
	{CACHE_DATA, 1, 8, 64, true, 1},
	{CACHE_CODE, 1, 8, 64, true, 1},
	{CACHE_UNIFIED, 2, 8, 1024, false, 0},
	{CACHE_UNIFIED, 3, 16, 16384, true, 6},
};

const struct x86_caches x86_caches_epyc_milan = {
	{CACHE_DATA, 1, 8, 64, true, 1},
	{CACHE_CODE, 1, 8, 64, true, 1},
	{CACHE_UNIFIED, 2, 8, 1024, false, 0},
	{CACHE_UNIFIED, 3, 16, 32768, true, 6},
};

static uint32_t bytes_of(const struct x86_cache *c)
{
	return LINE * c->ways * c->sets;
}

/* Descriptors of leaf 2 for the caches that our models have; 0xff: see leaf 4. */
static uint32_t descriptor(const struct x86_cache *c)
{
	static const struct {
		uint32_t type, level, ways, bytes, byte;
	} known[] = {
		{CACHE_DATA, 1, 8, 32 << 10, 0x2c},    {CACHE_CODE, 1, 8, 32 << 10, 0x30},
		{CACHE_UNIFIED, 2, 8, 2 << 20, 0x7d},  {CACHE_UNIFIED, 3, 16, 16 << 20, 0x4d},
		{CACHE_UNIFIED, 3, 16, 8 << 20, 0x4b}, {CACHE_UNIFIED, 2, 8, 512 << 10, 0x80},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].type == c->type && known[i].level == c->level &&
		    known[i].ways == c->ways && known[i].bytes == bytes_of(c))
			return known[i].byte;
	return 0xff;
}

static void leaf_2(struct kvm_cpuid_entry2 *l, const struct x86_processor *p,
		   const struct x86_topology *t, const struct x86_caches *c)
{
	c = p->legacy_cache ? &any_leaf2 : c;
	l->eax = 1;
	l->ecx = p->l3 ? descriptor(&c->l3) : 0;
	l->edx = descriptor(&c->l1d) << 16 | descriptor(&c->l1i) << 8 | descriptor(&c->l2);
}

static const struct x86_cache *cache_nth(const struct x86_caches *c, uint32_t index)
{
	const struct x86_cache *const all[] = {&c->l1d, &c->l1i, &c->l2, &c->l3};

	return index < ARRAY_SIZE(all) ? all[index] : NULL;
}

static void encode(struct kvm_cpuid_entry2 *l, const struct x86_cache *c)
{
	l->eax = c->type | c->level << 5 | (c->self_init ? 1U << 8 : 0);
	l->ebx = (LINE - 1) | (c->ways - 1) << 22;
	l->ecx = c->sets - 1;
	l->edx = c->edx;
}

static unsigned int bits_for(unsigned int n)
{
	return n <= 1 ? 0 : 32 - (unsigned int)__builtin_clz(n - 1);
}

static void leaf_4(struct kvm_cpuid_entry2 *l, const struct x86_processor *p,
		   const struct x86_topology *t, const struct x86_caches *c)
{
	const struct x86_cache *one = cache_nth(c, l->index);
	uint32_t die_ids = 1U << (bits_for(t->threads) + bits_for(t->cores));
	uint32_t ids = l->index == 3 ? die_ids : l->index == 2 ? t->threads : 1;

	if (!one || (l->index == 3 && !p->l3))
		return;
	encode(l, one);
	l->eax |= (t->cores - 1) << 26 | (ids - 1) << 14;
}

/* AMD's first level, with TLBs of 255 entries and 1 way. */
static void leaf_80000005(struct kvm_cpuid_entry2 *l, const struct x86_processor *p,
			  const struct x86_topology *t, const struct x86_caches *c)
{
	l->eax = 0x01ff01ff;
	l->ebx = 0x01ff01ff;
	l->ecx = bytes_of(&c->l1d) >> 10 << 24 | c->l1d.ways << 16 | 1 << 8 | LINE;
	l->edx = bytes_of(&c->l1i) >> 10 << 24 | c->l1i.ways << 16 | 1 << 8 | LINE;
}

static uint32_t ways_code(uint32_t ways)
{
	return ways <= 2 ? ways : ways == 4 ? 4 : ways == 8 ? 6 : ways == 16 ? 8 : 0;
}

static void leaf_80000006(struct kvm_cpuid_entry2 *l, const struct x86_processor *p,
			  const struct x86_topology *t, const struct x86_caches *c)
{
	l->ebx = 0x42004200;
	l->ecx = bytes_of(&c->l2) >> 10 << 16 | ways_code(c->l2.ways) << 12 | 1 << 8 | LINE;
	if (p->l3)
		l->edx = bytes_of(&c->l3) >> 19 << 18 | ways_code(c->l3.ways) << 12 | 1 << 8 | LINE;
}

static void leaf_8000001d(struct kvm_cpuid_entry2 *l, const struct x86_processor *p,
			  const struct x86_topology *t, const struct x86_caches *c)
{
	const struct x86_cache *one = cache_nth(c, l->index);

	if (!one)
		return;
	encode(l, one);
	l->eax |= ((l->index == 3 ? t->cores * t->threads : t->threads) - 1) << 14;
}

/* Not more vCPUs share a cache, and not more cores are in the package, than the guest has. */
static void leaf_4_shared(struct kvm_cpuid_entry2 *l, const struct x86_topology *t)
{
	uint32_t all = t->dies * t->cores * t->threads;

	if (!(l->eax & 31))
		return;
	if (t->cores > 1)
		l->eax = (l->eax & 0x03ffffff) | ((1U << bits_for(t->cores)) - 1) << 26;
	if ((l->eax >> 14 & 0xfff) + 1 > all)
		l->eax = (l->eax & ~0x03ffc000U) | ((1U << bits_for(all)) - 1) << 14;
}

static void leaf_of_host(struct kvm_cpuid_entry2 *l, const struct x86_topology *t)
{
	uint32_t max, unused;

	__cpuid(l->function & 0x80000000, max, unused, unused, unused);
	if (l->function > max)
		return;
	__cpuid_count(l->function, l->index, l->eax, l->ebx, l->ecx, l->edx);
	if (l->function == 4)
		leaf_4_shared(l, t);
}

/**
 * x86_cache_leaf() - A leaf that describes caches
 * @l:		Its function and index are set, the registers 0
 * @p:		Made
 * @t:		Topology
 */
void x86_cache_leaf(struct kvm_cpuid_entry2 *l, const struct x86_processor *p,
		    const struct x86_topology *t)
{
	const struct x86_caches *own = p->legacy_cache ? NULL : p->of.model->caches;
	const struct x86_caches *intel = own ? own : &any_intel, *amd = own ? own : &any_amd;

	if (p->host_cache) {
		leaf_of_host(l, t);
		return;
	}
	switch (l->function) {
	case 2: leaf_2(l, p, t, intel); break;
	case 4: leaf_4(l, p, t, intel); break;
	case 0x80000005: leaf_80000005(l, p, t, amd); break;
	case 0x80000006: leaf_80000006(l, p, t, amd); break;
	case 0x8000001d: leaf_8000001d(l, p, t, amd); break;
	}
}
