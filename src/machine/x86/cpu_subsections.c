/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: subsections of "cpu" in QEMU's order. Most are written when a register has
 * left its value after reset; a few follow the CPU model. Not here, because no guest of ours is
 * offered them: Hyper-V, processor trace, SGX, last branch records. A stream that has them is
 * refused by name.
 */
#include "machine/x86/cpu_section.h"

#define S           struct cpu_section
#define HF_GUEST    (1U << 21)
#define NESTED_HEAD 128

static bool any(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i])
			return true;
	return false;
}

static bool pmu_in_use(const S *s)
{
	return s->fixed_ctr_ctrl || s->global_ctrl || s->global_status || s->global_ovf_ctrl ||
	       any(s->fixed_counters, sizeof(s->fixed_counters)) ||
	       any(s->gp_counters, sizeof(s->gp_counters)) ||
	       any(s->gp_evtsel, sizeof(s->gp_evtsel));
}

static bool avx512_in_use(const S *s)
{
	if (any(s->opmask, sizeof(s->opmask)) || any(&s->zmm[16], 16 * sizeof(s->zmm[0])))
		return true;
	for (unsigned int i = 0; i < 16; i++)
		if (any(&s->zmm[i].q[4], 4 * sizeof(uint64_t)))
			return true;
	return false;
}

/* What a guest hypervisor left in KVM: first the part that Intel's or AMD's CPUs have. */

static bool vmx_needed(const void *state)
{
	const struct cpu_nested *n = state;

	return n->size && n->format == KVM_STATE_NESTED_FORMAT_VMX && n->vmxon_pa != ~0ULL;
}

static bool svm_needed(const void *state)
{
	const struct cpu_nested *n = state;

	return n->format == KVM_STATE_NESTED_FORMAT_SVM && n->size > NESTED_HEAD;
}

static bool vmcs12_needed(const void *state)
{
	return ((const struct cpu_nested *)state)->size > NESTED_HEAD;
}

static bool shadow_needed(const void *state)
{
	return ((const struct cpu_nested *)state)->size > NESTED_HEAD + 4096;
}

static bool nested_in_use(const S *s)
{
	return vmx_needed(&s->nested) || svm_needed(&s->nested);
}

#define N struct cpu_nested
#define NESTED_TABLE(id, wire, test, ...)                                          \
	static const struct state_field id##_fields[] = {__VA_ARGS__, FIELDS_END}; \
	static const struct state_table id##_table = {.name = wire,                \
						      .version = 1,                \
						      .min_version = 1,            \
						      .size = sizeof(N),           \
						      .fields = id##_fields,       \
						      .needed = test,              \
						      .subsections = id##_more}

static const struct state_table *const vmcs12_more[] = {NULL};
NESTED_TABLE(vmcs12, "cpu/kvm_nested_state/vmx/vmcs12", vmcs12_needed,
	     FIELD_U8S("data.vmx[0].vmcs12", N, vmcs12));
static const struct state_table *const shadow_more[] = {NULL};
NESTED_TABLE(shadow, "cpu/kvm_nested_state/vmx/shadow_vmcs12", shadow_needed,
	     FIELD_U8S("data.vmx[0].shadow_vmcs12", N, shadow_vmcs12));
static const struct state_table *const vmx_more[] = {&vmcs12_table, &shadow_table, NULL};
NESTED_TABLE(vmx, "cpu/kvm_nested_state/vmx", vmx_needed, FIELD("hdr.vmx.vmxon_pa", N, vmxon_pa),
	     FIELD("hdr.vmx.vmcs12_pa", N, vmcs12_pa), FIELD("hdr.vmx.smm.flags", N, smm_flags));
static const struct state_table *const svm_more[] = {NULL};
NESTED_TABLE(svm, "cpu/kvm_nested_state/svm", svm_needed, FIELD("hdr.svm.vmcb_pa", N, vmcb_pa),
	     FIELD_U8S("data.svm[0].vmcb12", N, vmcb12));
static const struct state_table *const kvm_nested_more[] = {&vmx_table, &svm_table, NULL};
NESTED_TABLE(kvm_nested, "cpu/kvm_nested_state", NULL, FIELD("flags", N, flags),
	     FIELD("format", N, format), FIELD("size", N, size),
	     NOT_SENT(N, reserved, "alignment"));

static const struct state_field bnd_fields[] = {
	FIELD("lb", struct cpu_pair, a),
	FIELD("ub", struct cpu_pair, b),
	FIELDS_END,
};

static const struct state_table bnd_table = {.name = "bnd_regs",
					     .version = 1,
					     .min_version = 1,
					     .size = sizeof(struct cpu_pair),
					     .fields = bnd_fields};

static const struct state_field zmmh_fields[] = {
	FIELD("_q_ZMMReg[4]", struct cpu_vector, q[4]),
	FIELD("_q_ZMMReg[5]", struct cpu_vector, q[5]),
	FIELD("_q_ZMMReg[6]", struct cpu_vector, q[6]),
	FIELD("_q_ZMMReg[7]", struct cpu_vector, q[7]),
	FIELDS_END,
};

static const struct state_table zmmh_table = {.name = "zmmh_reg",
					      .version = 1,
					      .min_version = 1,
					      .size = sizeof(struct cpu_vector),
					      .fields = zmmh_fields};

static const struct state_field zmm_fields[] = {
	FIELD("_q_ZMMReg[0]", struct cpu_vector, q[0]),
	FIELD("_q_ZMMReg[1]", struct cpu_vector, q[1]),
	FIELD("_q_ZMMReg[2]", struct cpu_vector, q[2]),
	FIELD("_q_ZMMReg[3]", struct cpu_vector, q[3]),
	FIELD("_q_ZMMReg[4]", struct cpu_vector, q[4]),
	FIELD("_q_ZMMReg[5]", struct cpu_vector, q[5]),
	FIELD("_q_ZMMReg[6]", struct cpu_vector, q[6]),
	FIELD("_q_ZMMReg[7]", struct cpu_vector, q[7]),
	FIELDS_END,
};

static const struct state_table zmm_table = {.name = "hi16_zmm_reg",
					     .version = 1,
					     .min_version = 1,
					     .size = sizeof(struct cpu_vector),
					     .fields = zmm_fields};

/* 16 vector registers from @first. */
#define VECTORS(first, tbl)                                                                      \
	{                                                                                        \
		.name = "env.xmm_regs", .kind = STATE_STRUCT, .offset = offsetof(S, zmm[first]), \
		.size = sizeof(struct cpu_vector), .count = 16,                                  \
		.stride = sizeof(struct cpu_vector), .count_offset = -1, .table = (tbl)          \
	}

#define SUBSECTION(id, wire, test, ...)                                            \
	static bool id##_needed(const void *state)                                 \
	{                                                                          \
		const S *s = state;                                                \
                                                                                   \
		return test;                                                       \
	}                                                                          \
	static const struct state_field id##_fields[] = {__VA_ARGS__, FIELDS_END}; \
	static const struct state_table id##_table = {                             \
		.name = "cpu/" wire,                                               \
		.version = 1,                                                      \
		.min_version = 1,                                                  \
		.size = sizeof(S),                                                 \
		.fields = id##_fields,                                             \
		.needed = id##_needed,                                             \
	}

SUBSECTION(exception_info, "exception_info", s->exception_pending && (s->hflags & HF_GUEST),
	   FIELD("env.exception_pending", S, exception_pending),
	   FIELD("env.exception_injected", S, exception_injected),
	   FIELD("env.exception_has_payload", S, exception_has_payload),
	   FIELD("env.exception_payload", S, exception_payload));
SUBSECTION(async_pf, "async_pf_msr", s->async_pf_en_msr != 0,
	   FIELD("env.async_pf_en_msr", S, async_pf_en_msr));
SUBSECTION(async_pf_int, "async_pf_int_msr", s->async_pf_int_msr != 0,
	   FIELD("env.async_pf_int_msr", S, async_pf_int_msr));
SUBSECTION(pv_eoi, "async_pv_eoi_msr", s->pv_eoi_en_msr != 0,
	   FIELD("env.pv_eoi_en_msr", S, pv_eoi_en_msr));
SUBSECTION(steal_time, "steal_time_msr", s->steal_time_msr != 0,
	   FIELD("env.steal_time_msr", S, steal_time_msr));
SUBSECTION(poll_control, "poll_control_msr", s->poll_control_msr != 1,
	   FIELD("env.poll_control_msr", S, poll_control_msr));
SUBSECTION(fpop, "fpop_ip_dp", s->fpop || s->fpip || s->fpdp, FIELD("env.fpop", S, fpop),
	   FIELD("env.fpip", S, fpip), FIELD("env.fpdp", S, fpdp));
SUBSECTION(tsc_adjust, "msr_tsc_adjust", s->tsc_adjust != 0,
	   FIELD("env.tsc_adjust", S, tsc_adjust));
SUBSECTION(tsc_deadline, "msr_tscdeadline", s->tsc_deadline != 0,
	   FIELD("env.tsc_deadline", S, tsc_deadline));
SUBSECTION(misc_enable, "msr_ia32_misc_enable", s->misc_enable != 1,
	   FIELD("env.msr_ia32_misc_enable", S, misc_enable));
SUBSECTION(feature_control, "msr_ia32_feature_control", s->feature_control != 0,
	   FIELD("env.msr_ia32_feature_control", S, feature_control));
SUBSECTION(pmu, "msr_architectural_pmu", pmu_in_use(s),
	   FIELD("env.msr_fixed_ctr_ctrl", S, fixed_ctr_ctrl),
	   FIELD("env.msr_global_ctrl", S, global_ctrl),
	   FIELD("env.msr_global_status", S, global_status),
	   FIELD("env.msr_global_ovf_ctrl", S, global_ovf_ctrl),
	   FIELD("env.msr_fixed_counters", S, fixed_counters),
	   FIELD("env.msr_gp_counters", S, gp_counters), FIELD("env.msr_gp_evtsel", S, gp_evtsel));
SUBSECTION(mpx, "mpx",
	   any(s->bnd_regs, sizeof(s->bnd_regs)) || s->bnd_cfgu || s->bnd_sts || s->bndcfgs,
	   FIELD_STRUCTS("env.bnd_regs", S, bnd_regs, &bnd_table),
	   FIELD("env.bndcs_regs.cfgu", S, bnd_cfgu), FIELD("env.bndcs_regs.sts", S, bnd_sts),
	   FIELD("env.msr_bndcfgs", S, bndcfgs));
SUBSECTION(avx512, "avx512", avx512_in_use(s), FIELD("env.opmask_regs", S, opmask),
	   VECTORS(0, &zmmh_table), VECTORS(16, &zmm_table));
SUBSECTION(xss, "xss", s->xss != 0, FIELD("env.xss", S, xss));
SUBSECTION(umwait, "umwait", s->umwait != 0, FIELD("env.umwait", S, umwait));
SUBSECTION(tsc_khz, "tsc_khz", s->tsc_khz != 0, FIELD("env.tsc_khz", S, tsc_khz));
SUBSECTION(smi_count, "msr_smi_count", s->smi_count != 0, FIELD("env.msr_smi_count", S, smi_count));
SUBSECTION(pkru, "pkru", s->pkru != 0, FIELD("env.pkru", S, pkru));
SUBSECTION(pkrs, "pkrs", s->pkrs != 0, FIELD("env.pkrs", S, pkrs));
SUBSECTION(spec_ctrl, "spec_ctrl", s->spec_ctrl != 0, FIELD("env.spec_ctrl", S, spec_ctrl));
SUBSECTION(tsc_scale, "amd_tsc_scale_msr", s->offers_tsc_scale,
	   FIELD("env.amd_tsc_scale_msr", S, amd_tsc_scale));
SUBSECTION(mcg_ext_ctl, "mcg_ext_ctl", s->mcg_ext_ctl != 0,
	   FIELD("env.mcg_ext_ctl", S, mcg_ext_ctl));
SUBSECTION(virt_ssbd, "virt_ssbd", s->virt_ssbd != 0, FIELD("env.virt_ssbd", S, virt_ssbd));
SUBSECTION(nested, "nested_state", nested_in_use(s),
	   FIELD_STRUCT("env.nested_state", S, nested, &kvm_nested_table));
SUBSECTION(tsx_ctrl, "msr_tsx_ctrl", s->offers_tsx_ctrl || s->tsx_ctrl,
	   FIELD("env.tsx_ctrl", S, tsx_ctrl));
SUBSECTION(pdptrs, "pdptrs", s->pdptrs_valid, FIELD("env.pdptrs", S, pdptrs));
SUBSECTION(xfd, "msr_xfd", s->offers_xfd, FIELD("env.msr_xfd", S, xfd),
	   FIELD("env.msr_xfd_err", S, xfd_err));
SUBSECTION(amx, "intel_amx_xtile", s->offers_amx, FIELD_U8S("env.xtilecfg", S, xtilecfg),
	   FIELD_U8S("env.xtiledata", S, xtiledata));
SUBSECTION(triple_fault, "triple_fault", s->triple_fault,
	   FIELD("env.triple_fault_pending", S, triple_fault));

const struct state_table *const cpu_subsections[] = {
	&exception_info_table,
	&async_pf_table,
	&async_pf_int_table,
	&pv_eoi_table,
	&steal_time_table,
	&poll_control_table,
	&fpop_table,
	&tsc_adjust_table,
	&tsc_deadline_table,
	&misc_enable_table,
	&feature_control_table,
	&pmu_table,
	&mpx_table,
	&avx512_table,
	&xss_table,
	&umwait_table,
	&tsc_khz_table,
	&smi_count_table,
	&pkru_table,
	&pkrs_table,
	&spec_ctrl_table,
	&tsc_scale_table,
	&mcg_ext_ctl_table,
	&virt_ssbd_table,
	&nested_table,
	&tsx_ctrl_table,
	&pdptrs_table,
	&xfd_table,
	&amx_table,
	&triple_fault_table,
	NULL,
};
