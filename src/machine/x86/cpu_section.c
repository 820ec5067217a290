/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the table of the section "cpu" in QEMU's order, names and widths. What of
 * the CPU came later is in subsections (cpu_subsections.c), each written only where it says
 * something.
 *
 * Source: QEMU 7.2's stream (vmdesc of pc-q35-7.2), target/i386/machine.c for the conditions
 */
#include "machine/x86/cpu_section.h"

#include <errno.h>
#include <inttypes.h>

#define S struct cpu_section

static const struct state_field segment_fields[] = {
	FIELD("selector", struct cpu_segment, selector),
	FIELD("base", struct cpu_segment, base),
	FIELD("limit", struct cpu_segment, limit),
	FIELD("flags", struct cpu_segment, flags),
	NOT_SENT(struct cpu_segment, reserved, "alignment"),
	FIELDS_END,
};

static const struct state_table segment_table = {.name = "segment",
						 .version = 1,
						 .min_version = 1,
						 .size = sizeof(struct cpu_segment),
						 .fields = segment_fields};

static const struct state_field fpreg_fields[] = {
	FIELD("tmp_mant", struct cpu_fpreg, mantissa),
	FIELD("tmp_exp", struct cpu_fpreg, exponent),
	NOT_SENT(struct cpu_fpreg, reserved, "alignment"),
	FIELDS_END,
};

static const struct state_table fpreg_table = {
	.name = "fpreg", .size = sizeof(struct cpu_fpreg), .fields = fpreg_fields};

static const struct state_field mtrr_fields[] = {
	FIELD("base", struct cpu_pair, a),
	FIELD("mask", struct cpu_pair, b),
	FIELDS_END,
};

static const struct state_table mtrr_table = {.name = "mtrr_var",
					      .version = 1,
					      .min_version = 1,
					      .size = sizeof(struct cpu_pair),
					      .fields = mtrr_fields};

/* The low halves of vector registers 0-15 came first, then YMM's upper halves; the rest is a
 * subsection. */
static const struct state_field xmm_fields[] = {
	FIELD("_q_ZMMReg[0]", struct cpu_vector, q[0]),
	FIELD("_q_ZMMReg[1]", struct cpu_vector, q[1]),
	FIELDS_END,
};

static const struct state_table xmm_table = {.name = "xmm_reg",
					     .version = 1,
					     .min_version = 1,
					     .size = sizeof(struct cpu_vector),
					     .fields = xmm_fields};

static const struct state_field ymmh_fields[] = {
	FIELD("_q_ZMMReg[2]", struct cpu_vector, q[2]),
	FIELD("_q_ZMMReg[3]", struct cpu_vector, q[3]),
	FIELDS_END,
};

static const struct state_table ymmh_table = {.name = "ymmh_reg",
					      .version = 1,
					      .min_version = 1,
					      .size = sizeof(struct cpu_vector),
					      .fields = ymmh_fields};

/* The first 16 of the 32 vector registers. */
#define VECTORS_LOW(wire, tbl, v)                                                      \
	{                                                                              \
		.name = (wire), .kind = STATE_STRUCT, .offset = offsetof(S, zmm),      \
		.size = sizeof(struct cpu_vector), .count = 16,                        \
		.stride = sizeof(struct cpu_vector), .count_offset = -1, .since = (v), \
		.table = (tbl)                                                         \
	}

static const struct state_field cpu_fields[] = {
	FIELD("env.regs", S, regs),
	FIELD("env.eip", S, eip),
	FIELD("env.eflags", S, eflags),
	FIELD("env.hflags", S, hflags),
	FIELD("env.fpuc", S, fpuc),
	FIELD("env.fpus_vmstate", S, fpus),
	FIELD("env.fptag_vmstate", S, fptag),
	FIELD("env.fpregs_format_vmstate", S, fpregs_format),
	FIELD_STRUCTS("env.fpregs", S, fpregs, &fpreg_table),
	FIELD_STRUCTS("env.segs", S, segs, &segment_table),
	FIELD_STRUCT("env.ldt", S, ldt, &segment_table),
	FIELD_STRUCT("env.tr", S, tr, &segment_table),
	FIELD_STRUCT("env.gdt", S, gdt, &segment_table),
	FIELD_STRUCT("env.idt", S, idt, &segment_table),
	FIELD("env.sysenter_cs", S, sysenter_cs),
	FIELD("env.sysenter_esp", S, sysenter_esp),
	FIELD("env.sysenter_eip", S, sysenter_eip),
	FIELD("env.cr[0]", S, cr0),
	FIELD("env.cr[2]", S, cr2),
	FIELD("env.cr[3]", S, cr3),
	FIELD("env.cr[4]", S, cr4),
	FIELD("env.dr", S, dr),
	FIELD("env.a20_mask", S, a20_mask),
	FIELD("env.mxcsr", S, mxcsr),
	VECTORS_LOW("env.xmm_regs[0]", &xmm_table, 0),
	FIELD("env.efer", S, efer),
	FIELD("env.star", S, star),
	FIELD("env.lstar", S, lstar),
	FIELD("env.cstar", S, cstar),
	FIELD("env.fmask", S, fmask),
	FIELD("env.kernelgsbase", S, kernelgsbase),
	FIELD("env.smbase", S, smbase),
	FIELD("env.pat", S, pat),
	FIELD("env.hflags2", S, hflags2),
	FIELD("env.vm_hsave", S, vm_hsave),
	FIELD("env.vm_vmcb", S, vm_vmcb),
	FIELD("env.tsc_offset", S, tsc_offset),
	FIELD("env.intercept", S, intercept),
	FIELD("env.intercept_cr_read", S, intercept_cr_read),
	FIELD("env.intercept_cr_write", S, intercept_cr_write),
	FIELD("env.intercept_dr_read", S, intercept_dr_read),
	FIELD("env.intercept_dr_write", S, intercept_dr_write),
	FIELD("env.intercept_exceptions", S, intercept_exceptions),
	FIELD("env.v_tpr", S, v_tpr),
	FIELD("env.mtrr_fixed", S, mtrr_fixed),
	FIELD("env.mtrr_deftype", S, mtrr_deftype),
	FIELD_STRUCTS("env.mtrr_var", S, mtrr_var, &mtrr_table),
	FIELD("env.interrupt_injected", S, interrupt_injected),
	FIELD("env.mp_state", S, mp_state),
	FIELD("env.tsc", S, tsc),
	FIELD("env.exception_nr", S, exception_nr),
	FIELD("env.soft_interrupt", S, soft_interrupt),
	FIELD("env.nmi_injected", S, nmi_injected),
	FIELD("env.nmi_pending", S, nmi_pending),
	FIELD("env.has_error_code", S, has_error_code),
	FIELD("env.sipi_vector", S, sipi_vector),
	FIELD("env.mcg_cap", S, mcg_cap),
	FIELD("env.mcg_status", S, mcg_status),
	FIELD("env.mcg_ctl", S, mcg_ctl),
	FIELD("env.mce_banks", S, mce_banks),
	FIELD("env.tsc_aux", S, tsc_aux),
	FIELD("env.system_time_msr", S, system_time_msr),
	FIELD("env.wall_clock_msr", S, wall_clock_msr),
	FIELD_V("env.xcr0", S, xcr0, 12),
	FIELD_V("env.xstate_bv", S, xstate_bv, 12),
	VECTORS_LOW("env.xmm_regs[1]", &ymmh_table, 12),
	NOT_SENT(S, error_code, "QEMU's stream has no place for it; a fault with one isn't sent"),
	NOT_SENT(S, pdptrs_valid, "follows from the subsection's presence"),
	NOT_SENT(S, offers_tsx_ctrl, "of the CPU model, not of the state"),
	NOT_SENT(S, offers_tsc_scale, "of the CPU model, not of the state"),
	NOT_SENT(S, offers_xfd, "of the CPU model, not of the state"),
	NOT_SENT(S, offers_amx, "of the CPU model, not of the state"),
	NOT_SENT(S, reserved0, "alignment"),
	NOT_SENT(S, reserved1, "alignment"),
	FIELDS_END,
};

static int cpu_check(const void *state, unsigned int version, struct err *e)
{
	const S *s = state;

	if (s->fpregs_format)
		return err_set(e, EINVAL,
			       "env.fpregs_format_vmstate: %u is the form of very old emulators",
			       s->fpregs_format);
	if (s->mp_state > KVM_MP_STATE_SIPI_RECEIVED && s->mp_state != KVM_MP_STATE_STOPPED)
		return err_set(e, EINVAL, "env.mp_state: %" PRIu32 " isn't known", s->mp_state);
	if (s->nested.size > 128 + 2 * 4096)
		return err_set(e, EINVAL, "env.nested_state: %" PRIu32 " bytes, at most 8320",
			       s->nested.size);
	return 0;
}

static const S cpu_fresh = {
	.poll_control_msr = 1,
	.misc_enable = 1,
	.exception_nr = -1,
	.interrupt_injected = -1,
	.nested = {.vmxon_pa = ~0ULL, .vmcs12_pa = ~0ULL},
};

const struct state_table cpu_section_table = {
	.name = "cpu",
	.version = 12,
	.min_version = 11,
	.size = sizeof(S),
	.fields = cpu_fields,
	.subsections = cpu_subsections,
	.fresh = &cpu_fresh,
	.check = cpu_check,
};

static const struct state_field common_fields[] = {
	FIELD("halted", struct cpu_common_section, halted),
	FIELD("interrupt_request", struct cpu_common_section, interrupt_request),
	FIELDS_END,
};

const struct state_table cpu_common_section_table = {
	.name = "cpu_common",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct cpu_common_section),
	.fields = common_fields,
};
