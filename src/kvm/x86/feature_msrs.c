/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: some features are bits of MSRs, which a vCPU gets with its CPUID: what the
 * guest may know of the host's vulnerabilities, its microcode, and what a guest hypervisor can do
 * with VMX. Of VMX's control MSRs the lower half tells what must be one, the upper what may be; the
 * features are the difference, and what isn't a feature stays as KVM has it.
 *
 * A host that offers an MSR and then refuses it keeps its own value.
 *
 * Source: Intel SDM volume 3, appendix A; volume 4, table 2-2; QEMU 7.2 for the policy
 */
#include "kvm/x86/cpuid.h"

#include "base/log.h"

#include <inttypes.h>
#include <sys/ioctl.h>

#define MSR_UCODE         0x8b
#define VMX_BASIC         0x480
#define VMX_MISC          0x485
#define VMX_CR0_FIXED0    0x486
#define VMX_CR4_FIXED0    0x488
#define VMX_VMCS_ENUM     0x48a
#define VMX_EPT_VPID      0x48c
#define VMX_VMFUNC        0x491
#define BASIC_KEPT        0x003c1fff7fffffffULL /* revision, sizes, memory type */
#define MISC_KEPT         0x0e00001fULL         /* timer's rate, longest MSR list */
#define EPT_KEPT          0x00004100ULL         /* memory types */
#define EXIT_TO_LONG_MODE (0x200ULL << 32)

static void msr_set(struct kvm_vcpu *c, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = {.head.nmsrs = 1, .entry = {.index = index, .data = value}};

	if (ioctl(kvm_vcpu_fd(c), KVM_SET_MSRS, &one) != 1)
		log_debug("vCPU %u: KVM refuses MSR %#" PRIx32 " = %#" PRIx64, kvm_vcpu_id(c),
			  index, value);
}

/**
 * struct control - A VMX control MSR
 * @default1:	Bits that are one unless the CPU says that they may be zero
 */
struct control {
	enum x86_feature_id word;
	uint32_t default1;
};

static const struct control controls[] = {
	{X86_FEAT_VMX_PINBASED_CTLS, 0x00000016},  {X86_FEAT_VMX_PROCBASED_CTLS, 0x0401e172},
	{X86_FEAT_VMX_EXIT_CTLS, 0x00036dff},      {X86_FEAT_VMX_ENTRY_CTLS, 0x000011ff},
	{X86_FEAT_VMX_SECONDARY_CTLS, 0x00000000},
};

static void controls_set(struct kvm_vcpu *c, const struct x86_features *f)
{
	bool long_mode = f->word[X86_FEAT_8000_0001_EDX] & 1U << 29;

	for (size_t i = 0; i < ARRAY_SIZE(controls); i++) {
		enum x86_feature_id w = controls[i].word;
		uint32_t may = (uint32_t)f->word[w] | controls[i].default1;
		uint32_t must = ~(uint32_t)f->word[w] & controls[i].default1;
		uint64_t value = (uint64_t)may << 32 | must;

		if (w == X86_FEAT_VMX_EXIT_CTLS && long_mode)
			value |= EXIT_TO_LONG_MODE;
		msr_set(c, x86_feature_words[w].msr, value);
	}
}

static void vmx_set(struct kvm_vcpu *c, const struct x86_features *f)
{
	const struct kvm_host *h = kvm_vcpu_host(c);
	uint64_t basic = x86_supported_msr(h, VMX_BASIC);
	bool ept = f->word[X86_FEAT_VMX_SECONDARY_CTLS] & 2;
	bool scaling = f->word[X86_FEAT_VMX_SECONDARY_CTLS] & 1U << 25;

	if (!basic)
		return;
	controls_set(c, f);
	msr_set(c, VMX_BASIC, f->word[X86_FEAT_VMX_BASIC] | (basic & BASIC_KEPT));
	msr_set(c, VMX_MISC,
		f->word[X86_FEAT_VMX_MISC] | (x86_supported_msr(h, VMX_MISC) & MISC_KEPT));
	msr_set(c, VMX_EPT_VPID,
		f->word[X86_FEAT_VMX_EPT_VPID_CAPS] |
			(ept ? x86_supported_msr(h, VMX_EPT_VPID) & EPT_KEPT : 0));
	msr_set(c, VMX_VMFUNC, f->word[X86_FEAT_VMX_VMFUNC]);
	msr_set(c, VMX_CR0_FIXED0, 0x80000021); /* PG, NE, PE */
	msr_set(c, VMX_CR4_FIXED0, 0x2000);     /* VMXE */
	msr_set(c, VMX_VMCS_ENUM, scaling ? 0x32 : 0x2e);
}

/**
 * x86_feature_msrs_set() - Give a vCPU the MSRs that describe its CPU
 * @c:		The vCPU, which has its CPUID and never ran
 * @p:		Made
 */
void x86_feature_msrs_set(struct kvm_vcpu *c, const struct x86_processor *p)
{
	static const enum x86_feature_id words[] = {
		X86_FEAT_ARCH_CAPABILITIES, X86_FEAT_CORE_CAPABILITY, X86_FEAT_PERF_CAPABILITIES};
	const struct kvm_host *h = kvm_vcpu_host(c);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (x86_supported_msr(h, x86_feature_words[words[i]].msr) &&
		    (words[i] != X86_FEAT_PERF_CAPABILITIES || p->pmu))
			msr_set(c, x86_feature_words[words[i]].msr, p->f.word[words[i]]);
	if (x86_supported_msr(h, MSR_UCODE))
		msr_set(c, MSR_UCODE, p->ucode);
	if (p->f.word[X86_FEAT_1_ECX] & 1U << 5)
		vmx_set(c, &p->f);
}
