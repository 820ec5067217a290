/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the answer to each leaf is computed from four things: what KVM supports
 * (KVM_GET_SUPPORTED_CPUID and the bits it doesn't list but can do), the feature words after
 * toggles, the topology, and a fixed cache description (cpuid_cache.c), as QEMU 7.2 does for
 * pc-q35-7.2 with "-cpu host": a guest that moves from there or to there sees the same CPU. Leaves
 * are rows in a table; a leaf without a row answers zeros and isn't listed.
 *
 * Source: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; QEMU 7.2 for the policy
 */
#include "kvm/x86/cpuid.h"
#include "base/owned.h"
#include "kvm/x86/cpuid_cache.h"
#include "kvm/x86/features.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define EDX_AMD_ALIASES   0x0183f3ffU /* bits that leaf 0x80000001 repeats on AMD */
#define ECX1_XSAVE        (1U << 26)
#define ECX1_OSXSAVE      (1U << 27)
#define ECX1_HYPERVISOR   (1U << 31)
#define ECX1_TSC_DEADLINE (1U << 24)
#define ECX1_PDCM         (1U << 15)
#define EDX1_HT           (1U << 28)
#define EDX1_ALWAYS       0x15080U /* MTRR, MCE, MCA, PAT: given by KVM whether it says so or not */
#define INVTSC            (1U << 8)
#define KVM_SIGNATURE     0x40000000U
#define KVM_FEATURES      0x40000001U

/**
 * struct cpu - What answers are computed from
 * @kvm:	KVM_GET_SUPPORTED_CPUID
 * @f:		Feature words as the guest sees them
 * @o:		Options
 * @amd:	The vendor is AMD (or Hygon)
 * @level, @xlevel: Highest standard and extended leaf
 * @xcr0:	State components by XSAVE
 */
struct cpu {
	struct kvm_cpuid2 *kvm;
	struct x86_features f;
	const struct x86_cpu_options *o;
	bool amd;
	uint32_t level, xlevel;
	uint64_t xcr0;
};

typedef struct kvm_cpuid_entry2 leaf_t;

static unsigned int bits_for(unsigned int n)
{
	return n <= 1 ? 0 : 32 - (unsigned int)__builtin_clz(n - 1);
}

static unsigned int core_shift(const struct x86_topology *t)
{
	return bits_for(t->threads);
}

static unsigned int die_shift(const struct x86_topology *t)
{
	return core_shift(t) + bits_for(t->cores);
}

static unsigned int package_shift(const struct x86_topology *t)
{
	return die_shift(t) + bits_for(t->dies);
}

/**
 * x86_apic_id() - APIC id of a vCPU
 * @t:		Topology
 * @i:		vCPU number, counted by threads, cores, dies, sockets
 *
 * Return: the id: each level has a power of two of ids
 */
unsigned int x86_apic_id(const struct x86_topology *t, unsigned int i)
{
	unsigned int thread = i % t->threads, core = i / t->threads % t->cores;
	unsigned int die = i / t->threads / t->cores % t->dies;
	unsigned int socket = i / t->threads / t->cores / t->dies;

	return thread | core << core_shift(t) | die << die_shift(t) | socket << package_shift(t);
}

static leaf_t *kvm_leaf(const struct cpu *c, uint32_t leaf, uint32_t sub)
{
	for (uint32_t i = 0; i < c->kvm->nent; i++) {
		leaf_t *l = &c->kvm->entries[i];
		bool indexed = l->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (l->function == leaf && (!indexed || l->index == sub))
			return l;
	}
	return NULL;
}

static uint32_t reg_of(const leaf_t *l, enum x86_reg reg)
{
	return !l               ? 0
	       : reg == X86_EAX ? l->eax
	       : reg == X86_EBX ? l->ebx
	       : reg == X86_ECX ? l->ecx
				: l->edx;
}

/* What KVM can do beyond what it lists. */
static void supported_fix(const struct kvm_host *h, struct x86_features *s)
{
	s->word[X86_FEAT_1_EDX] |= EDX1_ALWAYS | EDX1_HT;
	s->word[X86_FEAT_1_ECX] |= ECX1_HYPERVISOR | ECX1_TSC_DEADLINE;
	s->word[X86_FEAT_6_EAX] |= 1U << 2;          /* arat */
	s->word[X86_FEAT_8000_0001_ECX] |= 1U << 22; /* topoext */
	s->word[X86_FEAT_KVM_HINTS] |= 1U;
	s->word[X86_FEAT_8000_0001_EDX] |= s->word[X86_FEAT_1_EDX] & EDX_AMD_ALIASES;
}

static void supported_read(const struct cpu *c, const struct kvm_host *h, struct x86_features *s)
{
	for (int w = 0; w < X86_FEATURE_WORDS; w++) {
		const struct x86_feature_word *f = &x86_feature_words[w];

		s->word[w] = reg_of(kvm_leaf(c, f->leaf, f->subleaf), f->reg);
	}
	supported_fix(h, s);
}

/* Named bits only when the guest may move; never those that need consistent hints from the
 * operator. */
static void features_choose(struct cpu *c, const struct x86_features *s)
{
	for (int w = 0; w < X86_FEATURE_WORDS; w++) {
		c->f.word[w] = s->word[w];
		if (c->o->migratable)
			c->f.word[w] &= x86_feature_named((enum x86_feature_id)w);
	}
	if (c->o->migratable)
		c->f.word[X86_FEAT_8000_0007_EDX] &= ~INVTSC;
	c->f.word[X86_FEAT_8000_0001_ECX] &= ~(1U << 22);
	c->f.word[X86_FEAT_KVM_HINTS] = 0;
	c->f.word[X86_FEAT_1_EDX] &= ~EDX1_HT; /* comes with the topology */
}

/* XSAVE components follow the features that use them. */
static uint64_t xcr0_of(const struct cpu *c, uint64_t supported)
{
	const uint32_t *f = c->f.word;
	uint64_t x = 3;

	if (!(f[X86_FEAT_1_ECX] & ECX1_XSAVE))
		return 0;
	x |= f[X86_FEAT_1_ECX] & 1U << 28 ? 1U << 2 : 0;    /* AVX */
	x |= f[X86_FEAT_7_0_EBX] & 1U << 14 ? 3U << 3 : 0;  /* MPX */
	x |= f[X86_FEAT_7_0_EBX] & 1U << 16 ? 7U << 5 : 0;  /* AVX-512 */
	x |= f[X86_FEAT_7_0_ECX] & 1U << 3 ? 1U << 9 : 0;   /* PKU */
	x |= f[X86_FEAT_7_0_EDX] & 1U << 24 ? 3U << 17 : 0; /* AMX */
	return x & supported;
}

static unsigned int vcpus_per_package(const struct cpu *c)
{
	return c->o->topology.cores * c->o->topology.threads;
}

static void leaf_vendor(const struct cpu *c, leaf_t *l)
{
	const leaf_t *host = kvm_leaf(c, 0, 0);

	l->eax = l->function ? c->xlevel : c->level;
	l->ebx = host->ebx;
	l->ecx = host->ecx;
	l->edx = host->edx;
}

static void leaf_1(const struct cpu *c, leaf_t *l)
{
	unsigned int n = vcpus_per_package(c);

	l->eax = reg_of(kvm_leaf(c, 1, 0), X86_EAX);
	l->ebx = 8 << 8 | (n > 1 ? n << 16 : 0);
	l->ecx = c->f.word[X86_FEAT_1_ECX] & ~ECX1_OSXSAVE & (c->o->pmu ? ~0U : ~ECX1_PDCM);
	l->edx = c->f.word[X86_FEAT_1_EDX] | (n > 1 ? EDX1_HT : 0);
}

static void leaf_2(const struct cpu *c, leaf_t *l)
{
	if (!c->amd)
		x86_cache_leaf2(l);
}

static void leaf_4(const struct cpu *c, leaf_t *l)
{
	if (!c->amd)
		x86_cache_leaf4(l, c->o->topology.threads, c->o->topology.cores,
				1U << die_shift(&c->o->topology));
}

/* MWAIT's hints are described even where the guest has no MWAIT. */
static void leaf_5(const struct cpu *c, leaf_t *l)
{
	l->ecx = 3;
}

static void leaf_6(const struct cpu *c, leaf_t *l)
{
	l->eax = c->f.word[X86_FEAT_6_EAX];
}

static void leaf_7(const struct cpu *c, leaf_t *l)
{
	if (l->index == 0) {
		l->eax = c->f.word[X86_FEAT_7_1_EAX] ? 1 : 0;
		l->ebx = c->f.word[X86_FEAT_7_0_EBX];
		l->ecx = c->f.word[X86_FEAT_7_0_ECX];
		l->edx = c->f.word[X86_FEAT_7_0_EDX];
	} else if (l->index == 1) {
		l->eax = c->f.word[X86_FEAT_7_1_EAX];
	}
}

static void leaf_from_kvm(const struct cpu *c, leaf_t *l)
{
	const leaf_t *k = kvm_leaf(c, l->function, l->index);

	l->eax = reg_of(k, X86_EAX);
	l->ebx = reg_of(k, X86_EBX);
	l->ecx = reg_of(k, X86_ECX);
	l->edx = reg_of(k, X86_EDX);
}

static void leaf_pmu(const struct cpu *c, leaf_t *l)
{
	if (c->o->pmu)
		leaf_from_kvm(c, l);
}

static void leaf_amx(const struct cpu *c, leaf_t *l)
{
	if (c->f.word[X86_FEAT_7_0_EDX] & 1U << 24)
		leaf_from_kvm(c, l);
}

/* The vCPU's own id in EDX is filled in by x86_cpuid_set(). */
static void leaf_b(const struct cpu *c, leaf_t *l)
{
	const struct x86_topology *t = &c->o->topology;

	l->ecx = l->index | (l->index < 2 ? (l->index + 1) << 8 : 0);
	l->eax = l->index == 0 ? core_shift(t) : l->index == 1 ? package_shift(t) : 0;
	l->ebx = l->index == 0 ? t->threads : l->index == 1 ? vcpus_per_package(c) : 0;
}

static void leaf_1f(const struct cpu *c, leaf_t *l)
{
	const struct x86_topology *t = &c->o->topology;
	static const uint32_t type[] = {1, 2, 5};

	if (t->dies < 2)
		return;
	l->ecx = l->index | (l->index < 3 ? type[l->index] << 8 : 0);
	l->eax = l->index == 0   ? core_shift(t)
		 : l->index == 1 ? die_shift(t)
		 : l->index == 2 ? package_shift(t)
				 : 0;
	l->ebx = l->index == 0   ? t->threads
		 : l->index == 1 ? vcpus_per_package(c)
		 : l->index == 2 ? vcpus_per_package(c) * t->dies
				 : 0;
}

/* End of the highest component: size of the standard format. */
static uint32_t xsave_size(const struct cpu *c)
{
	uint32_t size = 576;

	for (uint32_t i = 2; i < 63; i++) {
		const leaf_t *k = kvm_leaf(c, 0xd, i);

		if (c->xcr0 >> i & 1 && k)
			size = MAX(size, k->eax + k->ebx);
	}
	return size;
}

/* Of the compacted format: components one after another, some aligned to 64. */
static uint32_t xsavec_size(const struct cpu *c)
{
	uint32_t size = 576;

	for (uint32_t i = 2; i < 63; i++) {
		const leaf_t *k = kvm_leaf(c, 0xd, i);

		if (c->xcr0 >> i & 1 && k)
			size = (k->ecx & 2 ? ALIGN_UP(size, 64U) : size) + k->eax;
	}
	return size;
}

static void leaf_d(const struct cpu *c, leaf_t *l)
{
	const leaf_t *k = kvm_leaf(c, 0xd, l->index);

	if (!c->xcr0)
		return;
	if (l->index == 0) {
		l->eax = (uint32_t)c->xcr0;
		l->edx = (uint32_t)(c->xcr0 >> 32);
		l->ebx = l->ecx = xsave_size(c);
	} else if (l->index == 1) {
		l->eax = c->f.word[X86_FEAT_XSAVE];
		l->ebx = xsavec_size(c);
	} else if (c->xcr0 >> l->index & 1 && k) {
		l->eax = k->eax;
		l->ebx = k->ebx;
		l->ecx = k->ecx & 6;
	}
}

static void leaf_80000001(const struct cpu *c, leaf_t *l)
{
	l->eax = reg_of(kvm_leaf(c, 1, 0), X86_EAX);
	l->ecx = c->f.word[X86_FEAT_8000_0001_ECX];
	l->edx = c->f.word[X86_FEAT_8000_0001_EDX];
	if (c->amd)
		l->edx |= c->f.word[X86_FEAT_1_EDX] & EDX_AMD_ALIASES;
	if (c->amd && vcpus_per_package(c) > 1)
		l->ecx |= 2; /* CmpLegacy: Linux believes it on AMD only */
}

static void leaf_brand(const struct cpu *c, leaf_t *l)
{
	__cpuid(l->function, l->eax, l->ebx, l->ecx, l->edx);
}

static void leaf_cache_amd(const struct cpu *c, leaf_t *l)
{
	if (l->function == 0x80000005)
		x86_cache_leaf_l1_amd(l);
	else
		x86_cache_leaf_l2_amd(l);
}

static void leaf_80000007(const struct cpu *c, leaf_t *l)
{
	l->edx = c->f.word[X86_FEAT_8000_0007_EDX];
}

static void leaf_80000008(const struct cpu *c, leaf_t *l)
{
	unsigned int n = vcpus_per_package(c);
	bool la57 = c->f.word[X86_FEAT_7_0_ECX] & 1U << 16;

	l->eax = (reg_of(kvm_leaf(c, 0x80000008, 0), X86_EAX) & 0xff) | (la57 ? 57 : 48) << 8;
	l->ebx = c->f.word[X86_FEAT_8000_0008_EBX];
	l->ecx = n > 1 ? package_shift(&c->o->topology) << 12 | (n - 1) : 0;
}

static void leaf_svm(const struct cpu *c, leaf_t *l)
{
	if (!(c->f.word[X86_FEAT_8000_0001_ECX] & 4))
		return;
	l->eax = 1;
	l->ebx = 16;
	l->edx = c->f.word[X86_FEAT_SVM];
}

static void leaf_8000001d(const struct cpu *c, leaf_t *l)
{
	x86_cache_leaf_8000001d(l, c->o->topology.threads, vcpus_per_package(c));
}

static void leaf_8000001e(const struct cpu *c, leaf_t *l)
{
	l->ebx = (c->o->topology.threads - 1) << 8;
	l->ecx = (c->o->topology.dies - 1) << 8;
}

static void leaf_kvm(const struct cpu *c, leaf_t *l)
{
	if (l->function == KVM_SIGNATURE) {
		memcpy(&l->ebx, "KVMKVMKVM\0\0\0", 12);
		l->eax = KVM_FEATURES;
	} else {
		l->eax = c->f.word[X86_FEAT_KVM];
		l->edx = c->f.word[X86_FEAT_KVM_HINTS];
	}
}

/**
 * struct leaf_row - How a leaf is answered
 * @first, @last: Leaves
 * @subleaves:	0: the leaf has none; else how many at most
 * @answer:	Fills in the registers
 */
struct leaf_row {
	uint32_t first, last, subleaves;
	void (*answer)(const struct cpu *c, leaf_t *l);
};

static const struct leaf_row leaf_rows[] = {
	{KVM_SIGNATURE, KVM_FEATURES, 0, leaf_kvm},
	{0, 0, 0, leaf_vendor},
	{1, 1, 0, leaf_1},
	{2, 2, 0, leaf_2},
	{4, 4, 4, leaf_4},
	{5, 5, 0, leaf_5},
	{6, 6, 0, leaf_6},
	{7, 7, 2, leaf_7},
	{0xa, 0xa, 0, leaf_pmu},
	{0xb, 0xb, 3, leaf_b},
	{0xd, 0xd, 19, leaf_d},
	{0x1d, 0x1d, 2, leaf_amx},
	{0x1e, 0x1e, 1, leaf_amx},
	{0x1f, 0x1f, 4, leaf_1f},
	{0x80000000, 0x80000000, 0, leaf_vendor},
	{0x80000001, 0x80000001, 0, leaf_80000001},
	{0x80000002, 0x80000004, 0, leaf_brand},
	{0x80000005, 0x80000006, 0, leaf_cache_amd},
	{0x80000007, 0x80000007, 0, leaf_80000007},
	{0x80000008, 0x80000008, 0, leaf_80000008},
	{0x8000000a, 0x8000000a, 0, leaf_svm},
	{0x8000001d, 0x8000001d, 4, leaf_8000001d},
	{0x8000001e, 0x8000001e, 0, leaf_8000001e},
};

static bool leaf_in_range(const struct cpu *c, uint32_t leaf)
{
	if (leaf >= 0x80000000)
		return leaf <= c->xlevel;
	return leaf >= KVM_SIGNATURE || leaf <= c->level;
}

static void leaf_add(struct x86_cpuid *ret, const struct cpu *c, const struct leaf_row *row,
		     uint32_t leaf, uint32_t sub)
{
	leaf_t *l = &ret->entries[ret->len];

	*l = (leaf_t){
		.function = leaf,
		.index = sub,
		.flags = row->subleaves ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
	};
	row->answer(c, l);
	if (sub == 0 || l->eax || l->ebx || l->ecx || l->edx)
		ret->len++;
}

static void leaves_fill(struct x86_cpuid *ret, const struct cpu *c)
{
	ret->len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(leaf_rows); i++) {
		const struct leaf_row *row = &leaf_rows[i];

		for (uint32_t leaf = row->first; leaf <= row->last && leaf_in_range(c, leaf);
		     leaf++)
			for (uint32_t sub = 0; sub < MAX(row->subleaves, 1U); sub++)
				leaf_add(ret, c, row, leaf, sub);
	}
}

static int kvm_read(struct cpu *c, const struct kvm_host *h, struct err *e)
{
	uint32_t room = 256;

	c->kvm = mem_zalloc(sizeof(*c->kvm) + room * sizeof(c->kvm->entries[0]));
	if (!c->kvm)
		return err_set(e, ENOMEM, "out of memory");
	c->kvm->nent = room;
	if (ioctl(h->fd, KVM_GET_SUPPORTED_CPUID, c->kvm) < 0)
		return err_sys(e, "KVM_GET_SUPPORTED_CPUID");
	if (!kvm_leaf(c, 0, 0) || !kvm_leaf(c, 1, 0))
		return err_set(e, ENOTSUP, "KVM lists no CPUID leaves 0 and 1");
	return 0;
}

static bool is_amd(const struct cpu *c)
{
	uint32_t ebx = kvm_leaf(c, 0, 0)->ebx;

	return !memcmp(&ebx, "Auth", 4) || !memcmp(&ebx, "Hygo", 4);
}

static int topology_check(const struct x86_topology *t, struct err *e)
{
	if (!t->sockets || !t->dies || !t->cores || !t->threads)
		return err_set(e, EINVAL,
			       "-smp: sockets, dies, cores and threads must be at least 1");
	return 0;
}

static void levels_set(struct cpu *c)
{
	c->level = kvm_leaf(c, 0, 0)->eax;
	if (c->o->topology.dies > 1)
		c->level = MAX(c->level, 0x1fU);
	c->xlevel = reg_of(kvm_leaf(c, 0x80000000, 0), X86_EAX);
	c->xlevel = MAX(c->xlevel, c->amd ? 0x8000001eU : 0x80000008U);
}

/**
 * x86_cpuid_host() - What CPUID answers with "-cpu host"
 * @ret:	Filled in on success
 * @h:		The host
 * @o:		Options
 * @e:		Set on failure
 *
 * Errors: EINVAL topology, unknown feature; ENOTSUP a feature the host can't give; as
 * KVM_GET_SUPPORTED_CPUID Return: 0, or a negative errno
 */
int x86_cpuid_host(struct x86_cpuid *ret, const struct kvm_host *h, const struct x86_cpu_options *o,
		   struct err *e)
{
	struct cpu c = {.o = o};
	struct x86_features supported;
	int r = topology_check(&o->topology, e);

	if (r == 0)
		r = kvm_read(&c, h, e);
	if (r == 0) {
		c.amd = is_amd(&c);
		supported_read(&c, h, &supported);
		features_choose(&c, &supported);
		r = x86_features_toggle(&c.f, &supported, o->toggles, e);
	}
	if (r == 0) {
		c.xcr0 = xcr0_of(&c, supported.word[X86_FEAT_XSAVE_XCR0_LO]);
		levels_set(&c);
		ret->topology = o->topology;
		leaves_fill(ret, &c);
	}
	free(c.kvm);
	return r;
}

/**
 * x86_cpuid_find() - An entry
 * @cpuid:	Where
 * @leaf:	EAX
 * @subleaf:	ECX, where the leaf has subleaves
 *
 * Return: the entry, or NULL
 */
const struct kvm_cpuid_entry2 *x86_cpuid_find(const struct x86_cpuid *cpuid, uint32_t leaf,
					      uint32_t subleaf)
{
	for (unsigned int i = 0; i < cpuid->len; i++) {
		const leaf_t *l = &cpuid->entries[i];

		if (l->function == leaf && (!l->flags || l->index == subleaf))
			return l;
	}
	return NULL;
}

/* The places where a vCPU reads its own number. */
static void personalise(leaf_t *l, const struct x86_topology *t, uint32_t apic_id)
{
	if (l->function == 1)
		l->ebx |= apic_id << 24;
	else if (l->function == 0xb || (l->function == 0x1f && l->ecx))
		l->edx = apic_id;
	else if (l->function == 0x8000001e) {
		l->eax = apic_id;
		l->ebx |= apic_id >> core_shift(t) & ((1U << bits_for(t->cores)) - 1);
		l->ecx |= apic_id >> die_shift(t) & 0xff;
	}
}

/**
 * x86_cpuid_set() - Give a vCPU its CPUID
 * @c:		The vCPU; its id is its APIC id. Before it first runs
 * @cpuid:	The answers
 * @e:		Set on failure
 *
 * Errors: as KVM_SET_CPUID2
 * Return: 0, or a negative errno
 */
int x86_cpuid_set(struct kvm_vcpu *c, const struct x86_cpuid *cpuid, struct err *e)
{
	struct {
		struct kvm_cpuid2 head;
		leaf_t entries[X86_CPUID_ENTRIES];
	} arg = {.head.nent = cpuid->len};

	memcpy(arg.entries, cpuid->entries, cpuid->len * sizeof(arg.entries[0]));
	for (unsigned int i = 0; i < cpuid->len; i++)
		personalise(&arg.entries[i], &cpuid->topology, kvm_vcpu_id(c));
	if (ioctl(kvm_vcpu_fd(c), KVM_SET_CPUID2, &arg) < 0)
		return err_sys(e, "KVM_SET_CPUID2 of vCPU %u", kvm_vcpu_id(c));
	return 0;
}
