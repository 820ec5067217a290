/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_CPU_SECTION_H
#define MACHINE_X86_CPU_SECTION_H

#include "kvm/x86/state.h"
#include "state/state.h"

/*
 * A vCPU as it stands in a stream: section "cpu", version 12, and "cpu_common". The numbers are the
 * CPU's own; hflags and hflags2 repeat some of them in the form of QEMU's emulator, which loaders
 * expect.
 */

/**
 * struct cpu_segment - A segment or descriptor table; @flags as in a descriptor's upper half
 */
struct cpu_segment {
	uint64_t base;
	uint32_t selector, limit, flags, reserved;
};

/**
 * struct cpu_fpreg - An x87 register
 */
struct cpu_fpreg {
	uint64_t mantissa;
	uint16_t exponent, reserved[3];
};

/**
 * struct cpu_vector - A vector register of 512 bits
 */
struct cpu_vector {
	uint64_t q[8];
};

/**
 * struct cpu_pair - Base and mask, or lower and upper bound
 */
struct cpu_pair {
	uint64_t a, b;
};

/**
 * struct cpu_nested - A guest hypervisor's state in KVM's form
 * @size:	Bytes as KVM counts them, header of 128 included; 0: none
 */
struct cpu_nested {
	uint16_t flags, format;
	uint32_t size;
	uint64_t vmxon_pa, vmcs12_pa, vmcb_pa;
	uint16_t smm_flags, reserved[3];
	uint8_t vmcs12[4096], shadow_vmcs12[4096], vmcb12[4096];
};

/**
 * struct cpu_section - Guest-visible state of a vCPU
 * @offers_tsx_ctrl, @offers_tsc_scale, @offers_xfd, @offers_amx: Whether the subsection of that
 * name is written: it follows what
 *		the CPU model has, not a value
 * @error_code:	Of a pending exception; no stream carries it
 */
struct cpu_section {
	uint64_t regs[16], eip, eflags;
	uint32_t hflags, hflags2;
	uint16_t fpuc, fpus, fptag, fpregs_format;
	struct cpu_fpreg fpregs[8];
	struct cpu_segment segs[6], ldt, tr, gdt, idt;
	uint64_t sysenter_esp, sysenter_eip, cr0, cr2, cr3, cr4, dr[8];
	uint32_t sysenter_cs, mxcsr;
	int32_t a20_mask;
	uint32_t smbase;
	struct cpu_vector zmm[32];
	uint64_t efer, star, lstar, cstar, fmask, kernelgsbase, pat;
	uint64_t vm_hsave, vm_vmcb, tsc_offset, intercept;
	uint16_t intercept_cr_read, intercept_cr_write, intercept_dr_read, intercept_dr_write;
	uint32_t intercept_exceptions;
	uint8_t v_tpr, soft_interrupt, nmi_injected, nmi_pending;
	uint64_t mtrr_fixed[11], mtrr_deftype;
	struct cpu_pair mtrr_var[8];
	int32_t interrupt_injected, exception_nr;
	uint32_t mp_state, sipi_vector;
	uint64_t tsc, mcg_cap, mcg_status, mcg_ctl, mce_banks[40];
	uint64_t tsc_aux, system_time_msr, wall_clock_msr, xcr0, xstate_bv;
	uint8_t has_error_code, exception_pending, exception_injected, exception_has_payload;
	uint32_t error_code;
	/* Subsections. */
	uint64_t exception_payload, async_pf_en_msr, async_pf_int_msr, pv_eoi_en_msr,
		steal_time_msr;
	uint64_t poll_control_msr, fpip, fpdp, tsc_adjust, tsc_deadline, misc_enable,
		feature_control;
	uint16_t fpop, reserved0;
	uint32_t umwait;
	uint64_t fixed_ctr_ctrl, global_ctrl, global_status, global_ovf_ctrl;
	uint64_t fixed_counters[3], gp_counters[18], gp_evtsel[18];
	struct cpu_pair bnd_regs[4];
	uint64_t bnd_cfgu, bnd_sts, bndcfgs, opmask[8], xss;
	int64_t tsc_khz;
	uint64_t smi_count;
	uint32_t pkru, pkrs;
	uint64_t spec_ctrl, amd_tsc_scale, mcg_ext_ctl, virt_ssbd, pdptrs[4], xfd, xfd_err;
	uint32_t tsx_ctrl;
	uint8_t triple_fault, pdptrs_valid, offers_tsx_ctrl, offers_tsc_scale;
	uint8_t offers_xfd, offers_amx, reserved1[6];
	struct cpu_nested nested;
	uint8_t xtilecfg[64], xtiledata[8192];
};

/**
 * struct cpu_common_section - Section "cpu_common"
 * @halted:	KVM keeps this in mp_state; 0
 * @interrupt_request: QEMU's bits; an SMI or INIT that is pending in KVM
 */
struct cpu_common_section {
	uint32_t halted, interrupt_request;
};

extern const struct state_table cpu_section_table;
extern const struct state_table cpu_common_section_table;
extern const struct state_table *const cpu_subsections[];

/* From what KVM gave. @phys_bits: of the guest's CPUID 0x80000008. Can't fail. */
/* Whether the vCPU is in system management mode, about to be, or prepared for it. */
bool cpu_section_uses_smm(const struct cpu_section *s);
void cpu_section_from(struct cpu_section *to, const struct x86_vcpu_state *s,
		      const struct kvm_host *h, unsigned int phys_bits);
/* Over the state of a fresh vCPU; the local APIC, its base and TPR are the section "apic"'s. */
void cpu_section_to(const struct cpu_section *from, struct x86_vcpu_state *s,
		    const struct kvm_host *h, unsigned int phys_bits);

#endif
