/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: three sources: KVM_GET_SUPPORTED_CPUID, the MSRs that KVM offers as
 * features, and the host's own CPUID for who it is. Then what KVM can do though it doesn't list it
 * is added, and what has state that a guest of ours couldn't take along is taken away: Intel PT,
 * SGX, last branch records of the architecture, AMX.
 *
 * The VMX control MSRs say in their upper half which bits may be one and in their lower which must
 * be: a feature is what may and need not.
 *
 * Source: Documentation/virt/kvm/api.rst; Intel SDM volume 3, appendix A; QEMU 7.2 for the policy
 */
#include "kvm/x86/supported.h"
#include "base/owned.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define ENTRIES      256
#define MSRS         512
#define AMD_ALIASES  0x0183f3ffU /* bits that leaf 0x80000001 repeats on AMD */
#define ALWAYS_1_EDX 0x15080U    /* MTRR, MCE, MCA, PAT: there whether KVM says so or not */
#define MSR_UCODE    0x8b
#define MCG_LMCE     (1ULL << 27)

/**
 * struct bits - Bits of a feature word
 */
struct bits {
	enum x86_feature_id word;
	uint64_t mask;
};

static const struct bits added[] = {
	{X86_FEAT_1_EDX, ALWAYS_1_EDX},     {X86_FEAT_1_ECX, 1U << 31}, /* hypervisor */
	{X86_FEAT_6_EAX, 1U << 2},                                      /* arat */
	{X86_FEAT_8000_0001_ECX, 1U << 22},                             /* topoext */
	{X86_FEAT_KVM_HINTS, 1U},
};

static const struct bits removed[] = {
	{X86_FEAT_7_0_EBX, 1U << 25 | 1U << 2},                        /* intel-pt, sgx */
	{X86_FEAT_7_0_ECX, 1U << 30},                                  /* sgxlc */
	{X86_FEAT_7_0_EDX, 1U << 19 | 1U << 22 | 1U << 24 | 1U << 25}, /* arch-lbr, amx-* */
	{X86_FEAT_XSAVE, 1U << 4},                                     /* xfd */
	{X86_FEAT_XSAVE_XCR0_LO, 3U << 17},
	{X86_FEAT_XSAVE_XSS_LO, 1U << 15},
	{X86_FEAT_14_0_ECX, ~0ULL},
	{X86_FEAT_SGX_12_0_EAX, ~0ULL},
	{X86_FEAT_SGX_12_0_EBX, ~0ULL},
	{X86_FEAT_SGX_12_1_EAX, ~0ULL},
};

/**
 * x86_supported_leaf() - What KVM supports of a leaf
 * @s:		Read
 * @leaf, @subleaf: Which
 *
 * Return: its entry, or NULL
 */
const struct kvm_cpuid_entry2 *x86_supported_leaf(const struct x86_supported *s, uint32_t leaf,
						  uint32_t subleaf)
{
	for (uint32_t i = 0; i < s->kvm->nent; i++) {
		const struct kvm_cpuid_entry2 *l = &s->kvm->entries[i];
		bool indexed = l->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (l->function == leaf && (!indexed || l->index == subleaf))
			return l;
	}
	return NULL;
}

/**
 * x86_supported_reg() - A register of what KVM supports
 * @s:		Read
 * @leaf, @subleaf, @reg: Which
 *
 * Return: its value; 0 if KVM has no such leaf
 */
uint32_t x86_supported_reg(const struct x86_supported *s, uint32_t leaf, uint32_t subleaf,
			   enum x86_reg reg)
{
	const struct kvm_cpuid_entry2 *l = x86_supported_leaf(s, leaf, subleaf);

	return !l               ? 0
	       : reg == X86_EAX ? l->eax
	       : reg == X86_EBX ? l->ebx
	       : reg == X86_ECX ? l->ecx
				: l->edx;
}

/**
 * x86_supported_msr() - An MSR that KVM offers as a feature
 * @h:		The host
 * @index:	Which
 *
 * Return: its value; 0: KVM doesn't offer it
 */
uint64_t x86_supported_msr(const struct kvm_host *h, uint32_t index)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = {.head.nmsrs = 1, .entry.index = index};

	return ioctl(h->fd, KVM_GET_MSRS, &one) == 1 ? one.entry.data : 0;
}

static bool has_controls(uint32_t msr)
{
	return msr == 0x48b || (msr >= 0x48d && msr <= 0x490);
}

static void words_read(struct x86_supported *s, const struct kvm_host *h)
{
	for (size_t w = 0; w < X86_FEATURE_WORDS; w++) {
		const struct x86_feature_word *f = &x86_feature_words[w];
		uint64_t v = f->msr ? x86_supported_msr(h, f->msr)
				    : x86_supported_reg(s, f->leaf, f->subleaf, f->reg);

		s->f.word[w] = has_controls(f->msr) ? v >> 32 & ~v : v;
	}
}

/* Haswell's first steppings, whose TSX doesn't work. */
static bool tsx_is_broken(const struct x86_supported *s)
{
	if (strcmp(s->vendor, "GenuineIntel") || s->family != 6)
		return false;
	return (s->model == 63 && s->stepping < 4) || s->model == 60 || s->model == 69 ||
	       s->model == 70;
}

static void words_fix(struct x86_supported *s, const struct kvm_host *h)
{
	uint64_t *w = s->f.word;

	for (size_t i = 0; i < ARRAY_SIZE(added); i++)
		w[added[i].word] |= added[i].mask;
	for (size_t i = 0; i < ARRAY_SIZE(removed); i++)
		w[removed[i].word] &= ~removed[i].mask;
	if (ioctl(h->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		w[X86_FEAT_1_ECX] |= 1U << 24;
	if (!w[X86_FEAT_ARCH_CAPABILITIES])
		w[X86_FEAT_7_0_EDX] &= ~(1ULL << 29);
	if (tsx_is_broken(s))
		w[X86_FEAT_7_0_EBX] &= ~(1ULL << 4 | 1ULL << 11); /* hle, rtm */
	w[X86_FEAT_8000_0001_EDX] |= w[X86_FEAT_1_EDX] & AMD_ALIASES;
}

static void host_read(struct x86_supported *s, const struct kvm_host *h)
{
	uint32_t r[12], a, b, c, d;
	uint64_t mce = 0;

	__cpuid(0, a, b, c, d);
	memcpy(s->vendor, (uint32_t[]){b, d, c}, 12);
	__cpuid(1, a, b, c, d);
	s->family = (a >> 8 & 15) + (a >> 20 & 255);
	s->model = (a >> 4 & 15) | (a >> 12 & 0xf0);
	s->stepping = a & 15;
	for (uint32_t i = 0; i < 3; i++)
		__cpuid(0x80000002 + i, r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]);
	memcpy(s->id, r, 48);
	__cpuid(0x80000000, a, b, c, d);
	s->phys_bits = 36;
	if (a >= 0x80000008) {
		__cpuid(0x80000008, a, b, c, d);
		s->phys_bits = a & 0xff;
	}
	s->ucode = x86_supported_msr(h, MSR_UCODE);
	if (ioctl(h->fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &mce) == 0)
		s->lmce = mce & MCG_LMCE;
}

/**
 * x86_supported_read() - See what a guest's CPU can have here
 * @ret:	Filled in on success; release with x86_supported_release()
 * @h:		The host
 * @e:		Set on failure
 *
 * Errors: ENOMEM; ENOTSUP KVM lists nothing; as KVM_GET_SUPPORTED_CPUID
 * Return: 0, or a negative errno
 */
int x86_supported_read(struct x86_supported *ret, const struct kvm_host *h, struct err *e)
{
	struct x86_supported s = {0};
	int r = 0;

	s.kvm = mem_zalloc(sizeof(*s.kvm) + ENTRIES * sizeof(s.kvm->entries[0]));
	if (!s.kvm)
		return err_set(e, ENOMEM, "out of memory");
	s.kvm->nent = ENTRIES;
	if (ioctl(h->fd, KVM_GET_SUPPORTED_CPUID, s.kvm) < 0)
		r = err_sys(e, "KVM_GET_SUPPORTED_CPUID");
	else if (!x86_supported_leaf(&s, 0, 0) || !x86_supported_leaf(&s, 1, 0))
		r = err_set(e, ENOTSUP, "KVM lists no CPUID leaves 0 and 1");
	if (r < 0) {
		x86_supported_release(&s);
		return r;
	}
	host_read(&s, h);
	words_read(&s, h);
	words_fix(&s, h);
	*ret = s;
	return 0;
}

/**
 * x86_supported_release() - Release what was read
 * @s:		Read, or zeros
 */
void x86_supported_release(struct x86_supported *s)
{
	free(s->kvm);
	s->kvm = NULL;
}
