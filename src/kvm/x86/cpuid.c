/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the answer to each leaf is computed from the CPU (processor.h), the
 * topology, what KVM supports where a leaf isn't made of features, and the caches
 * (cpuid_cache.c), as QEMU 7.2 does for pc-q35-7.2: a guest that moves from there or to there sees
 * the same CPU. Leaves are rows in a table; a leaf without a row answers zeros and isn't listed.
 *
 * Source: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; QEMU 7.2 for the policy
 */
#include "kvm/x86/cpuid.h"
#include "base/log.h"
#include "kvm/x86/cpuid_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define ECX1_XSAVE      (1U << 26)
#define ECX1_OSXSAVE    (1U << 27)
#define ECX1_PDCM       (1U << 15)
#define EDX1_HT         (1U << 28)
#define EDX_LM          (1U << 29)
#define KVM_SIGNATURE   0x40000000U
#define KVM_FEATURES    0x40000001U
#define KVM_FREQUENCIES 0x40000010U
#define APIC_BUS_KHZ    1000000U

/**
 * struct cpu - What answers are computed from
 * @p:		The CPU
 * @s:		The host
 * @t:		Topology
 * @xcr0:	State components by XSAVE
 */
struct cpu {
	const struct x86_processor *p;
	const struct x86_supported *s;
	const struct x86_topology *t;
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
 * x86_place_of() - Where a vCPU is
 * @t:		Topology
 * @i:		vCPU number, counted by threads, cores, dies, sockets
 *
 * Return: its place
 */
struct x86_place x86_place_of(const struct x86_topology *t, unsigned int i)
{
	return (struct x86_place){.thread = i % t->threads,
				  .core = i / t->threads % t->cores,
				  .die = i / t->threads / t->cores % t->dies,
				  .socket = i / t->threads / t->cores / t->dies};
}

/**
 * x86_apic_id() - APIC id of a vCPU
 * @t:		Topology
 * @i:		vCPU number
 *
 * Return: the id: each level has a power of two of ids
 */
unsigned int x86_apic_id(const struct x86_topology *t, unsigned int i)
{
	struct x86_place p = x86_place_of(t, i);

	return p.thread | p.core << core_shift(t) | p.die << die_shift(t) |
	       p.socket << package_shift(t);
}

static uint32_t word(const struct cpu *c, enum x86_feature_id w)
{
	return (uint32_t)c->p->f.word[w];
}

static unsigned int vcpus_per_package(const struct cpu *c)
{
	return c->t->cores * c->t->threads;
}

static void leaf_vendor(const struct cpu *c, leaf_t *l)
{
	l->eax = l->function ? c->p->xlevel : c->p->level;
	memcpy(&l->ebx, c->p->vendor, 4);
	memcpy(&l->edx, c->p->vendor + 4, 4);
	memcpy(&l->ecx, c->p->vendor + 8, 4);
}

/* Family and model as CPUID packs them. */
static uint32_t signature(const struct x86_processor *p)
{
	uint32_t family = p->family > 15 ? (p->family - 15) << 20 | 15 << 8 : p->family << 8;

	return family | (p->model >> 4) << 16 | (p->model & 15) << 4 | p->stepping;
}

static void leaf_1(const struct cpu *c, leaf_t *l)
{
	unsigned int n = vcpus_per_package(c);

	l->eax = signature(c->p);
	l->ebx = 8 << 8 | (n > 1 ? n << 16 : 0);
	l->ecx = word(c, X86_FEAT_1_ECX) & ~ECX1_OSXSAVE & (c->p->pmu ? ~0U : ~ECX1_PDCM);
	l->edx = word(c, X86_FEAT_1_EDX) | (n > 1 ? EDX1_HT : 0);
}

/* AMD's CPUs haven't Intel's leaves about caches. */
static bool has_intel_caches(const struct cpu *c)
{
	return c->p->host_cache || !c->p->vendor_leaves || !x86_processor_is(c->p, "AuthenticAMD");
}

static void leaf_cache_intel(const struct cpu *c, leaf_t *l)
{
	if (has_intel_caches(c))
		x86_cache_leaf(l, c->p, c->t);
}

static void leaf_cache(const struct cpu *c, leaf_t *l)
{
	x86_cache_leaf(l, c->p, c->t);
}

/* MWAIT's hints are described even where the guest has no MWAIT. */
static void leaf_5(const struct cpu *c, leaf_t *l)
{
	l->ecx = 3;
}

static void leaf_6(const struct cpu *c, leaf_t *l)
{
	l->eax = word(c, X86_FEAT_6_EAX);
}

static void leaf_7(const struct cpu *c, leaf_t *l)
{
	if (l->index == 0) {
		l->eax = c->p->level_func7;
		l->ebx = word(c, X86_FEAT_7_0_EBX);
		l->ecx = word(c, X86_FEAT_7_0_ECX);
		l->edx = word(c, X86_FEAT_7_0_EDX);
	} else if (l->index == 1) {
		l->eax = word(c, X86_FEAT_7_1_EAX);
	}
}

static void leaf_pmu(const struct cpu *c, leaf_t *l)
{
	if (!c->p->pmu)
		return;
	l->eax = x86_supported_reg(c->s, 0xa, 0, X86_EAX);
	l->ebx = x86_supported_reg(c->s, 0xa, 0, X86_EBX);
	l->ecx = x86_supported_reg(c->s, 0xa, 0, X86_ECX);
	l->edx = x86_supported_reg(c->s, 0xa, 0, X86_EDX);
}

/* The vCPU's own id in EDX is filled in by x86_cpuid_set(). */
static void leaf_b(const struct cpu *c, leaf_t *l)
{
	const struct x86_topology *t = c->t;

	if (!c->p->leaf_0xb)
		return;
	l->ecx = l->index | (l->index < 2 ? (l->index + 1) << 8 : 0);
	l->eax = l->index == 0 ? core_shift(t) : l->index == 1 ? package_shift(t) : 0;
	l->ebx = l->index == 0 ? t->threads : l->index == 1 ? vcpus_per_package(c) : 0;
}

static void leaf_1f(const struct cpu *c, leaf_t *l)
{
	const struct x86_topology *t = c->t;
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
		const leaf_t *k = x86_supported_leaf(c->s, 0xd, i);

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
		const leaf_t *k = x86_supported_leaf(c->s, 0xd, i);

		if (c->xcr0 >> i & 1 && k)
			size = (k->ecx & 2 ? ALIGN_UP(size, 64U) : size) + k->eax;
	}
	return size;
}

static void leaf_d(const struct cpu *c, leaf_t *l)
{
	const leaf_t *k = x86_supported_leaf(c->s, 0xd, l->index);

	if (!(word(c, X86_FEAT_1_ECX) & ECX1_XSAVE))
		return;
	if (l->index == 0) {
		l->eax = (uint32_t)c->xcr0;
		l->edx = (uint32_t)(c->xcr0 >> 32);
		l->ebx = l->ecx = xsave_size(c);
	} else if (l->index == 1) {
		l->eax = word(c, X86_FEAT_XSAVE);
		l->ebx = xsavec_size(c);
		l->ecx = word(c, X86_FEAT_XSAVE_XSS_LO);
		l->edx = word(c, X86_FEAT_XSAVE_XSS_HI);
	} else if (c->xcr0 >> l->index & 1 && k) {
		l->eax = k->eax;
		l->ebx = k->ebx;
		l->ecx = k->ecx & 6;
	}
}

static void leaf_80000001(const struct cpu *c, leaf_t *l)
{
	l->eax = signature(c->p);
	l->ecx = word(c, X86_FEAT_8000_0001_ECX);
	l->edx = word(c, X86_FEAT_8000_0001_EDX);
	if (!x86_processor_is(c->p, "GenuineIntel") && vcpus_per_package(c) > 1)
		l->ecx |= 2; /* CmpLegacy: Linux would believe it on Intel and forget threads */
}

static void leaf_brand(const struct cpu *c, leaf_t *l)
{
	const char *at = c->p->id + (l->function - 0x80000002) * 16;

	memcpy(&l->eax, at, 4);
	memcpy(&l->ebx, at + 4, 4);
	memcpy(&l->ecx, at + 8, 4);
	memcpy(&l->edx, at + 12, 4);
}

static void leaf_80000007(const struct cpu *c, leaf_t *l)
{
	l->edx = word(c, X86_FEAT_8000_0007_EDX);
}

static void leaf_80000008(const struct cpu *c, leaf_t *l)
{
	unsigned int n = vcpus_per_package(c);
	bool la57 = word(c, X86_FEAT_7_0_ECX) & 1U << 16;

	l->eax = c->p->phys_bits;
	if (word(c, X86_FEAT_8000_0001_EDX) & EDX_LM)
		l->eax |= (la57 ? 57U : 48U) << 8;
	l->ebx = word(c, X86_FEAT_8000_0008_EBX);
	l->ecx = n > 1 ? package_shift(c->t) << 12 | (n - 1) : 0;
}

static void leaf_svm(const struct cpu *c, leaf_t *l)
{
	if (!(word(c, X86_FEAT_8000_0001_ECX) & 4))
		return;
	l->eax = 1;
	l->ebx = 16;
	l->edx = word(c, X86_FEAT_SVM);
}

static void leaf_8000001e(const struct cpu *c, leaf_t *l)
{
	l->ebx = (c->t->threads - 1) << 8;
	l->ecx = (c->t->dies - 1) << 8;
}

static void leaf_via(const struct cpu *c, leaf_t *l)
{
	if (l->function == 0xc0000000) {
		l->eax = c->p->xlevel2;
		return;
	}
	l->eax = signature(c->p);
	l->edx = word(c, X86_FEAT_C000_0001_EDX);
}

static bool tells_frequencies(const struct cpu *c)
{
	return c->p->vmware_freq && word(c, X86_FEAT_8000_0007_EDX) & 1U << 8;
}

static void leaf_kvm(const struct cpu *c, leaf_t *l)
{
	if (l->function == KVM_SIGNATURE) {
		memcpy(&l->ebx, "KVMKVMKVM\0\0\0", 12);
		l->eax = tells_frequencies(c) ? KVM_FREQUENCIES : KVM_FEATURES;
	} else {
		l->eax = word(c, X86_FEAT_KVM);
		l->edx = word(c, X86_FEAT_KVM_HINTS);
	}
}

/* The TSC's is the vCPU's own, see personalise(). */
static void leaf_frequencies(const struct cpu *c, leaf_t *l)
{
	l->ebx = APIC_BUS_KHZ;
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
	{KVM_FREQUENCIES, KVM_FREQUENCIES, 0, leaf_frequencies},
	{0, 0, 0, leaf_vendor},
	{1, 1, 0, leaf_1},
	{2, 2, 0, leaf_cache_intel},
	{4, 4, 4, leaf_cache_intel},
	{5, 5, 0, leaf_5},
	{6, 6, 0, leaf_6},
	{7, 7, 2, leaf_7},
	{0xa, 0xa, 0, leaf_pmu},
	{0xb, 0xb, 3, leaf_b},
	{0xd, 0xd, 19, leaf_d},
	{0x1f, 0x1f, 4, leaf_1f},
	{0x80000000, 0x80000000, 0, leaf_vendor},
	{0x80000001, 0x80000001, 0, leaf_80000001},
	{0x80000002, 0x80000004, 0, leaf_brand},
	{0x80000005, 0x80000006, 0, leaf_cache},
	{0x80000007, 0x80000007, 0, leaf_80000007},
	{0x80000008, 0x80000008, 0, leaf_80000008},
	{0x8000000a, 0x8000000a, 0, leaf_svm},
	{0x8000001d, 0x8000001d, 4, leaf_cache},
	{0x8000001e, 0x8000001e, 0, leaf_8000001e},
	{0xc0000000, 0xc0000001, 0, leaf_via},
};

static bool leaf_in_range(const struct cpu *c, uint32_t leaf)
{
	if (leaf >= 0xc0000000)
		return leaf <= c->p->xlevel2;
	if (leaf >= 0x80000000)
		return leaf <= c->p->xlevel;
	if (leaf >= KVM_SIGNATURE)
		return c->p->kvm && (leaf != KVM_FREQUENCIES || tells_frequencies(c));
	return leaf <= c->p->level;
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
	if (l->eax || l->ebx || l->ecx || l->edx) /* else KVM answers zeros by itself */
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

static int topology_check(const struct x86_topology *t, struct err *e)
{
	if (!t->sockets || !t->dies || !t->cores || !t->threads)
		return err_set(e, EINVAL,
			       "-smp: sockets, dies, cores and threads must be at least 1");
	return 0;
}

static void warn_threads(const struct x86_processor *p, const struct x86_topology *t)
{
	bool topoext = p->f.word[X86_FEAT_8000_0001_ECX] & 1U << 22;

	if (x86_processor_is(p, "AuthenticAMD") && !topoext && t->threads > 1)
		log_warn("This family of AMD CPU doesn't support hyperthreading(%u): configure "
			 "-smp, or add topoext to -cpu",
			 t->threads);
}

/**
 * x86_cpuid_make() - What CPUID answers
 * @ret:	Filled in on success
 * @h:		The host
 * @cpu:	"MODEL,a=on,+b,-c"
 * @t:		Topology
 * @e:		Set on failure
 *
 * What the host lacks is warned about, unless the CPU says check=off.
 *
 * Errors: EINVAL topology; as x86_supported_read(), x86_processor_make()
 * Return: 0, or a negative errno
 */
int x86_cpuid_make(struct x86_cpuid *ret, const struct kvm_host *h, const char *cpu,
		   const struct x86_topology *t, struct err *e)
{
	struct x86_supported s = {0};
	int r = topology_check(t, e);

	if (r == 0)
		r = x86_supported_read(&s, h, e);
	if (r == 0)
		r = x86_processor_make(&ret->cpu, cpu, &s, t, e);
	if (r == 0) {
		const uint64_t *w = ret->cpu.f.word;
		struct cpu c = {&ret->cpu, &s, t, 0};

		c.xcr0 = w[X86_FEAT_XSAVE_XCR0_LO] | w[X86_FEAT_XSAVE_XCR0_HI] << 32;
		warn_threads(&ret->cpu, t);
		ret->topology = *t;
		leaves_fill(ret, &c);
	}
	x86_supported_release(&s);
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
static void personalise(leaf_t *l, const struct x86_topology *t, struct kvm_vcpu *c)
{
	uint32_t apic_id = kvm_vcpu_id(c);
	int khz;

	if (l->function == 1)
		l->ebx |= apic_id << 24;
	else if (l->function == 0xb || (l->function == 0x1f && l->ecx))
		l->edx = apic_id;
	else if (l->function == KVM_FREQUENCIES) {
		khz = ioctl(kvm_vcpu_fd(c), KVM_GET_TSC_KHZ, 0);
		l->eax = khz > 0 ? (uint32_t)khz : 0;
	} else if (l->function == 0x8000001e) {
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
		personalise(&arg.entries[i], &cpuid->topology, c);
	if (ioctl(kvm_vcpu_fd(c), KVM_SET_CPUID2, &arg) < 0)
		return err_sys(e, "KVM_SET_CPUID2 of vCPU %u", kvm_vcpu_id(c));
	x86_feature_msrs_set(c, &cpuid->cpu);
	return 0;
}
