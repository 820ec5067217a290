/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_STATE_H
#define KVM_X86_STATE_H

#include "kvm/kvm.h"

/*
 * The whole state of a vCPU as KVM has it. Captured and applied while the vCPU is out of guest mode
 * and its last I/O is complete; what of it stands in a stream, and how, is
 * machine/x86/cpu_section.h.
 */

#define X86_MSRS_MAX          160
#define X86_XSAVE_MAX         16384
#define X86_NESTED_MAX        8320

#define MSR_TSC               0x00000010
#define MSR_APIC_BASE         0x0000001b
#define MSR_SMI_COUNT         0x00000034
#define MSR_FEATURE_CONTROL   0x0000003a
#define MSR_TSC_ADJUST        0x0000003b
#define MSR_SPEC_CTRL         0x00000048
#define MSR_UCODE_REVISION    0x0000008b
#define MSR_SMBASE            0x0000009e
#define MSR_PERFCTR0          0x000000c1
#define MSR_UMWAIT_CONTROL    0x000000e1
#define MSR_ARCH_CAPABILITIES 0x0000010a
#define MSR_TSX_CTRL          0x00000122
#define MSR_SYSENTER_CS       0x00000174
#define MSR_SYSENTER_ESP      0x00000175
#define MSR_SYSENTER_EIP      0x00000176
#define MSR_MCG_CAP           0x00000179
#define MSR_MCG_STATUS        0x0000017a
#define MSR_MCG_CTL           0x0000017b
#define MSR_EVNTSEL0          0x00000186
#define MSR_MISC_ENABLE       0x000001a0
#define MSR_XFD               0x000001c4
#define MSR_XFD_ERR           0x000001c5
#define MSR_MTRR_PHYS_BASE0   0x00000200
#define MSR_MTRR_FIX64K       0x00000250
#define MSR_MTRR_FIX16K_0     0x00000258
#define MSR_MTRR_FIX16K_1     0x00000259
#define MSR_MTRR_FIX4K_0      0x00000268
#define MSR_PAT               0x00000277
#define MSR_MTRR_DEF_TYPE     0x000002ff
#define MSR_FIXED_CTR0        0x00000309
#define MSR_FIXED_CTR_CTRL    0x0000038d
#define MSR_GLOBAL_STATUS     0x0000038e
#define MSR_GLOBAL_CTRL       0x0000038f
#define MSR_GLOBAL_OVF_CTRL   0x00000390
#define MSR_MC0_CTL           0x00000400
#define MSR_MCG_EXT_CTL       0x000004d0
#define MSR_TSC_DEADLINE      0x000006e0
#define MSR_PKRS              0x000006e1
#define MSR_BNDCFGS           0x00000d90
#define MSR_XSS               0x00000da0
#define MSR_KVM_WALL_CLOCK    0x4b564d00
#define MSR_KVM_SYSTEM_TIME   0x4b564d01
#define MSR_KVM_ASYNC_PF      0x4b564d02
#define MSR_KVM_STEAL_TIME    0x4b564d03
#define MSR_KVM_PV_EOI        0x4b564d04
#define MSR_KVM_POLL          0x4b564d05
#define MSR_KVM_ASYNC_PF_INT  0x4b564d06
#define MSR_STAR              0xc0000081
#define MSR_LSTAR             0xc0000082
#define MSR_CSTAR             0xc0000083
#define MSR_FMASK             0xc0000084
#define MSR_KERNEL_GS_BASE    0xc0000102
#define MSR_TSC_AUX           0xc0000103
#define MSR_AMD_TSC_RATIO     0xc0000104
#define MSR_VM_HSAVE_PA       0xc0010117
#define MSR_VIRT_SSBD         0xc001011f

#define X86_MCE_BANKS         10
#define X86_GP_COUNTERS       18
#define X86_FIXED_COUNTERS    3

/**
 * struct x86_vcpu_state - A vCPU as KVM has it
 * @read_ns:	time_ns() when the MSRs were read, the TSC among them; 0: they weren't
 * @msrs_len:	Entries of @msrs
 * @tsc_khz:	Frequency of the guest's TSC, 0: unknown, and asked for by the next capture
 * @xsave_size:	Bytes of @xsave, as the host's KVM has it
 * @nested_size: Bytes of @nested, 0: none
 * @msrs:	In the order in which they are to be written
 * @xsave:	Standard format
 * @nested:	struct kvm_nested_state
 */
struct x86_vcpu_state {
	int64_t read_ns;
	uint32_t msrs_len, tsc_khz, xsave_size, nested_size;
	struct kvm_mp_state mp_state;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_msr_entry msrs[X86_MSRS_MAX];
	uint8_t xsave[X86_XSAVE_MAX];
	uint8_t nested[X86_NESTED_MAX];
};

/**
 * struct x86_msr_list - What a guest takes along on this host beside what each vCPU has
 * @nests:	The guest can be a hypervisor, so that there is nested state
 * @len:	Entries of @index
 * @index:	MSRs that KVM has, in writing order
 */
struct x86_msr_list {
	bool nests;
	uint32_t len;
	uint32_t index[X86_MSRS_MAX];
};

/* What a new vCPU needs beside its CPUID: machine check banks. Before x86_msr_list_probe(). */
MUST_CHECK int x86_vcpu_setup(struct kvm_vcpu *c, bool lmce, struct err *e);
MUST_CHECK int x86_msr_list_probe(struct kvm_vcpu *c, struct x86_msr_list *ret, struct err *e);
MUST_CHECK int x86_vcpu_capture(struct kvm_vcpu *c, const struct x86_msr_list *msrs,
				struct x86_vcpu_state *ret, struct err *e);
/* @known: what the vCPU is sure to have, since it has never run; such parts aren't written
 * again. */
MUST_CHECK int x86_vcpu_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s,
			      const struct x86_vcpu_state *known, struct err *e);
bool x86_msr_find(const struct x86_vcpu_state *s, uint32_t index, uint32_t *hint, uint64_t *ret);
void x86_msr_put(struct x86_vcpu_state *s, uint32_t index, uint32_t *hint, uint64_t value);

#endif
