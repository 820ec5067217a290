/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: between KVM's structs and the section "cpu". Four parts each way: registers
 * and segments, the floating-point and vector state (XSAVE standard format; where each component
 * lies is the host CPU's choice), MSRs by one table, pending events. hflags and hflags2 are
 * computed as QEMU computes them. One bit of hflags is read back that QEMU with KVM neither sets
 * nor reads, its emulator's for the same: the instruction after STI isn't interrupted. Else a guest
 * caught between STI and HLT gets its last interrupt before it sleeps.
 */
#include "base/bytes.h"
#include "machine/x86/cpu_section.h"

#include <string.h>

#define S                 struct cpu_section

#define HF_CPL            3U
#define HF_CS32           (1U << 4)
#define HF_SS32           (1U << 5)
#define HF_ADDSEG         (1U << 6)
#define HF_PE             (1U << 7)
#define HF_LMA            (1U << 14)
#define HF_CS64           (1U << 15)
#define SMBASE_RESET      0x30000U
#define HF_INHIBIT_IRQ    (1U << 3)
#define HF_SMM            (1U << 19)
#define HF_GUEST          (1U << 21)
#define HF_OSFXSR         (1U << 22)
#define HF2_GIF           (1U << 0)
#define HF2_NMI           (1U << 2)
#define HF2_SMM_NMI       (1U << 4)
#define HF2_VGIF          (1U << 8)

#define RFLAGS_TF_IOPL_VM ((1U << 8) | (3U << 12) | (1U << 17))
#define RFLAGS_VM         (1U << 17)

#define SEG_DPL(flags)    ((flags) >> 13 & 3)
#define SEG_P             (1U << 15)
#define SEG_L             (1U << 21)
#define SEG_B             (1U << 22)

/* Order of the general registers and segments in the section. */
enum { ES, CS, SS, DS, FS, GS };

static void regs_from(S *to, const struct kvm_regs *r)
{
	const uint64_t order[16] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
				    r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};

	memcpy(to->regs, order, sizeof(order));
	to->eip = r->rip;
	to->eflags = r->rflags;
}

static void regs_to(const S *s, struct kvm_regs *r)
{
	const uint64_t *g = s->regs;

	*r = (struct kvm_regs){.rax = g[0],
			       .rcx = g[1],
			       .rdx = g[2],
			       .rbx = g[3],
			       .rsp = g[4],
			       .rbp = g[5],
			       .rsi = g[6],
			       .rdi = g[7],
			       .r8 = g[8],
			       .r9 = g[9],
			       .r10 = g[10],
			       .r11 = g[11],
			       .r12 = g[12],
			       .r13 = g[13],
			       .r14 = g[14],
			       .r15 = g[15],
			       .rip = s->eip,
			       .rflags = s->eflags};
}

static void segment_from(struct cpu_segment *to, const struct kvm_segment *k)
{
	*to = (struct cpu_segment){.base = k->base, .selector = k->selector, .limit = k->limit};
	if (!k->unusable)
		to->flags = (uint32_t)k->type << 8 | (uint32_t)k->s << 12 | (uint32_t)k->dpl << 13 |
			    (uint32_t)k->present << 15 | (uint32_t)k->avl << 20 |
			    (uint32_t)k->l << 21 | (uint32_t)k->db << 22 | (uint32_t)k->g << 23;
}

static struct kvm_segment segment_to(const struct cpu_segment *s)
{
	uint32_t f = s->flags;

	return (struct kvm_segment){.base = s->base,
				    .selector = (uint16_t)s->selector,
				    .limit = s->limit,
				    .type = f >> 8 & 15,
				    .s = f >> 12 & 1,
				    .dpl = SEG_DPL(f),
				    .present = f >> 15 & 1,
				    .avl = f >> 20 & 1,
				    .l = f >> 21 & 1,
				    .db = f >> 22 & 1,
				    .g = f >> 23 & 1,
				    .unusable = !(f & SEG_P)};
}

/* Virtual-8086 mode fixes everything but selector, base and limit. */
static struct kvm_segment segment_v86(const struct cpu_segment *s)
{
	return (struct kvm_segment){.base = s->base,
				    .selector = (uint16_t)s->selector,
				    .limit = s->limit,
				    .type = 3,
				    .present = 1,
				    .dpl = 3,
				    .s = 1};
}

static void table_from(struct cpu_segment *to, const struct kvm_dtable *t)
{
	*to = (struct cpu_segment){.base = t->base, .limit = t->limit};
}

/* KVM gives real mode's segments a DPL of 3 on some hosts; other hosts refuse that. */
static void real_mode_dpl(S *s)
{
	if (!(s->cr0 & 1) && SEG_DPL(s->segs[CS].flags))
		for (unsigned int i = ES; i <= GS; i++)
			s->segs[i].flags &= ~(3U << 13);
}

static void sregs_from(S *to, const struct kvm_sregs *k)
{
	segment_from(&to->segs[ES], &k->es);
	segment_from(&to->segs[CS], &k->cs);
	segment_from(&to->segs[SS], &k->ss);
	segment_from(&to->segs[DS], &k->ds);
	segment_from(&to->segs[FS], &k->fs);
	segment_from(&to->segs[GS], &k->gs);
	segment_from(&to->ldt, &k->ldt);
	segment_from(&to->tr, &k->tr);
	table_from(&to->gdt, &k->gdt);
	table_from(&to->idt, &k->idt);
	to->cr0 = k->cr0;
	to->cr2 = k->cr2;
	to->cr3 = k->cr3;
	to->cr4 = k->cr4;
	to->efer = k->efer;
	real_mode_dpl(to);
}

static void sregs_to(const S *s, struct kvm_sregs *k)
{
	struct kvm_segment (*make)(const struct cpu_segment *) = s->eflags & RFLAGS_VM ? segment_v86
										       : segment_to;

	k->es = make(&s->segs[ES]);
	k->cs = make(&s->segs[CS]);
	k->ss = make(&s->segs[SS]);
	k->ds = make(&s->segs[DS]);
	k->fs = make(&s->segs[FS]);
	k->gs = make(&s->segs[GS]);
	k->ldt = segment_to(&s->ldt);
	k->tr = segment_to(&s->tr);
	k->gdt = (struct kvm_dtable){.base = s->gdt.base, .limit = (uint16_t)s->gdt.limit};
	k->idt = (struct kvm_dtable){.base = s->idt.base, .limit = (uint16_t)s->idt.limit};
	k->cr0 = s->cr0;
	k->cr2 = s->cr2;
	k->cr3 = s->cr3;
	k->cr4 = s->cr4;
	k->efer = s->efer;
}

static uint32_t hflags_code_size(const S *s)
{
	uint32_t f = 0;

	if (s->efer & 1U << 10 && s->segs[CS].flags & SEG_L)
		return HF_CS32 | HF_SS32 | HF_CS64;
	f |= s->segs[CS].flags & SEG_B ? HF_CS32 : 0;
	f |= s->segs[SS].flags & SEG_B ? HF_SS32 : 0;
	if (!(s->cr0 & 1) || s->eflags & RFLAGS_VM || !(f & HF_CS32) || s->segs[DS].base ||
	    s->segs[ES].base || s->segs[SS].base)
		f |= HF_ADDSEG;
	return f;
}

static uint32_t hflags_of(const S *s, const struct kvm_vcpu_events *v, bool guest_mode)
{
	uint32_t f = SEG_DPL(s->segs[SS].flags) & HF_CPL;

	f |= s->cr0 & 1 ? HF_PE : 0;
	f |= (uint32_t)(s->cr0 << 8) & (7U << 9); /* MP, EM, TS */
	f |= (uint32_t)s->eflags & RFLAGS_TF_IOPL_VM;
	f |= s->cr4 & 1U << 9 ? HF_OSFXSR : 0;
	f |= s->efer & 1U << 10 ? HF_LMA : 0;
	f |= hflags_code_size(s);
	f |= v->flags & KVM_VCPUEVENT_VALID_SMM && v->smi.smm ? HF_SMM : 0;
	f |= v->flags & KVM_VCPUEVENT_VALID_SHADOW && v->interrupt.shadow ? HF_INHIBIT_IRQ : 0;
	return f | (guest_mode ? HF_GUEST : 0);
}

static uint32_t hflags2_of(const struct kvm_vcpu_events *v)
{
	return HF2_GIF | HF2_VGIF | (v->nmi.masked ? HF2_NMI : 0) |
	       (v->smi.smm_inside_nmi ? HF2_SMM_NMI : 0);
}

/* XSAVE area: 512 bytes of FXSAVE, the header, then components. */
#define XSAVE_FCW    0
#define XSAVE_FSW    2
#define XSAVE_FTW    4
#define XSAVE_FOP    6
#define XSAVE_FIP    8
#define XSAVE_FDP    16
#define XSAVE_MXCSR  24
#define XSAVE_ST0    32
#define XSAVE_XMM0   160
#define XSAVE_HEADER 512

enum {
	X_YMM = 2,
	X_BNDREGS,
	X_BNDCSR,
	X_OPMASK,
	X_ZMMH,
	X_HI16,
	X_PKRU = 9,
	X_TILECFG = 17,
	X_TILEDATA
};

/* Copies between a component and members; nothing if this host's CPU hasn't got it. */
static void component(uint8_t *xsave, const struct kvm_host *h, unsigned int i, size_t at,
		      void *member, size_t n, bool load)
{
	uint32_t offset = h->xsave_offset[i];

	if (!offset || offset + at + n > h->xsave_size)
		return;
	if (load)
		memcpy(member, xsave + offset + at, n);
	else
		memcpy(xsave + offset + at, member, n);
}

/* One list for both ways. */
static void components(S *s, uint8_t *x, const struct kvm_host *h, bool load)
{
	for (unsigned int i = 0; i < 16; i++) {
		component(x, h, X_YMM, i * 16, &s->zmm[i].q[2], 16, load);
		component(x, h, X_ZMMH, i * 32, &s->zmm[i].q[4], 32, load);
		component(x, h, X_HI16, i * 64, &s->zmm[16 + i], 64, load);
	}
	component(x, h, X_BNDREGS, 0, s->bnd_regs, sizeof(s->bnd_regs), load);
	component(x, h, X_BNDCSR, 0, &s->bnd_cfgu, 8, load);
	component(x, h, X_BNDCSR, 8, &s->bnd_sts, 8, load);
	component(x, h, X_OPMASK, 0, s->opmask, sizeof(s->opmask), load);
	component(x, h, X_PKRU, 0, &s->pkru, 4, load);
	component(x, h, X_TILECFG, 0, s->xtilecfg, sizeof(s->xtilecfg), load);
	component(x, h, X_TILEDATA, 0, s->xtiledata, sizeof(s->xtiledata), load);
}

static void fpu_from(S *to, const struct x86_vcpu_state *s, const struct kvm_host *h)
{
	const uint8_t *x = s->xsave;

	to->fpuc = load_le16(x + XSAVE_FCW);
	to->fpus = load_le16(x + XSAVE_FSW);
	to->fptag = x[XSAVE_FTW];
	to->fpop = load_le16(x + XSAVE_FOP);
	to->fpip = load_le64(x + XSAVE_FIP);
	to->fpdp = load_le64(x + XSAVE_FDP);
	to->mxcsr = load_le32(x + XSAVE_MXCSR);
	to->xstate_bv = load_le64(x + XSAVE_HEADER);
	for (unsigned int i = 0; i < 8; i++) {
		to->fpregs[i].mantissa = load_le64(x + XSAVE_ST0 + i * 16);
		to->fpregs[i].exponent = load_le16(x + XSAVE_ST0 + i * 16 + 8);
	}
	for (unsigned int i = 0; i < 16; i++)
		memcpy(to->zmm[i].q, x + XSAVE_XMM0 + i * 16, 16);
	components(to, (uint8_t *)(uintptr_t)x, h, true);
	to->xcr0 = s->xcrs.nr_xcrs ? s->xcrs.xcrs[0].value : 0;
}

static void fpu_to(const S *from, struct x86_vcpu_state *s, const struct kvm_host *h)
{
	uint8_t *x = s->xsave;

	memset(x, 0, sizeof(s->xsave));
	store_le16(x + XSAVE_FCW, from->fpuc);
	store_le16(x + XSAVE_FSW, from->fpus);
	x[XSAVE_FTW] = (uint8_t)from->fptag;
	store_le16(x + XSAVE_FOP, from->fpop);
	store_le64(x + XSAVE_FIP, from->fpip);
	store_le64(x + XSAVE_FDP, from->fpdp);
	store_le32(x + XSAVE_MXCSR, from->mxcsr);
	store_le64(x + XSAVE_HEADER, from->xstate_bv);
	for (unsigned int i = 0; i < 8; i++) {
		store_le64(x + XSAVE_ST0 + i * 16, from->fpregs[i].mantissa);
		store_le16(x + XSAVE_ST0 + i * 16 + 8, from->fpregs[i].exponent);
	}
	for (unsigned int i = 0; i < 16; i++)
		memcpy(x + XSAVE_XMM0 + i * 16, from->zmm[i].q, 16);
	components((S *)(uintptr_t)from, x, h, false);
	s->xsave_size = (uint32_t)h->xsave_size;
	s->xcrs = (struct kvm_xcrs){.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = from->xcr0}};
}

/**
 * struct msr_member - MSRs [@msr, @msr + @count) are elements of a member @size bytes wide
 */
struct msr_member {
	uint32_t msr, count;
	size_t offset, size;
};

#define MSR(index, m)                                         \
	{                                                     \
		index, 1, offsetof(S, m), SIZEOF_MEMBER(S, m) \
	}
#define MSRS(index, m)                                            \
	{                                                         \
		index, SIZEOF_MEMBER(S, m) / 8, offsetof(S, m), 8 \
	}

static const struct msr_member msr_members[] = {
	MSR(MSR_SYSENTER_CS, sysenter_cs),
	MSR(MSR_SYSENTER_ESP, sysenter_esp),
	MSR(MSR_SYSENTER_EIP, sysenter_eip),
	MSR(MSR_STAR, star),
	MSR(MSR_LSTAR, lstar),
	MSR(MSR_CSTAR, cstar),
	MSR(MSR_FMASK, fmask),
	MSR(MSR_KERNEL_GS_BASE, kernelgsbase),
	MSR(MSR_SMBASE, smbase),
	MSR(MSR_PAT, pat),
	MSR(MSR_VM_HSAVE_PA, vm_hsave),
	MSR(MSR_MTRR_DEF_TYPE, mtrr_deftype),
	MSR(MSR_MTRR_FIX64K, mtrr_fixed[0]),
	MSR(MSR_MTRR_FIX16K_0, mtrr_fixed[1]),
	MSR(MSR_MTRR_FIX16K_1, mtrr_fixed[2]),
	{MSR_MTRR_FIX4K_0, 8, offsetof(S, mtrr_fixed[3]), 8},
	{MSR_MTRR_PHYS_BASE0, 16, offsetof(S, mtrr_var), 8},
	MSR(MSR_TSC, tsc),
	MSR(MSR_MCG_CAP, mcg_cap),
	MSR(MSR_MCG_STATUS, mcg_status),
	MSR(MSR_MCG_CTL, mcg_ctl),
	MSRS(MSR_MC0_CTL, mce_banks),
	MSR(MSR_MCG_EXT_CTL, mcg_ext_ctl),
	MSR(MSR_TSC_AUX, tsc_aux),
	MSR(MSR_KVM_SYSTEM_TIME, system_time_msr),
	MSR(MSR_KVM_WALL_CLOCK, wall_clock_msr),
	MSR(MSR_KVM_ASYNC_PF, async_pf_en_msr),
	MSR(MSR_KVM_ASYNC_PF_INT, async_pf_int_msr),
	MSR(MSR_KVM_PV_EOI, pv_eoi_en_msr),
	MSR(MSR_KVM_STEAL_TIME, steal_time_msr),
	MSR(MSR_KVM_POLL, poll_control_msr),
	MSR(MSR_TSC_ADJUST, tsc_adjust),
	MSR(MSR_TSC_DEADLINE, tsc_deadline),
	MSR(MSR_MISC_ENABLE, misc_enable),
	MSR(MSR_FEATURE_CONTROL, feature_control),
	MSR(MSR_FIXED_CTR_CTRL, fixed_ctr_ctrl),
	MSR(MSR_GLOBAL_CTRL, global_ctrl),
	MSR(MSR_GLOBAL_STATUS, global_status),
	MSRS(MSR_FIXED_CTR0, fixed_counters),
	{MSR_PERFCTR0, 8, offsetof(S, gp_counters), 8},
	{MSR_EVNTSEL0, 8, offsetof(S, gp_evtsel), 8},
	MSR(MSR_BNDCFGS, bndcfgs),
	MSR(MSR_XSS, xss),
	MSR(MSR_UMWAIT_CONTROL, umwait),
	MSR(MSR_SMI_COUNT, smi_count),
	MSR(MSR_PKRS, pkrs),
	MSR(MSR_SPEC_CTRL, spec_ctrl),
	MSR(MSR_AMD_TSC_RATIO, amd_tsc_scale),
	MSR(MSR_VIRT_SSBD, virt_ssbd),
	MSR(MSR_TSX_CTRL, tsx_ctrl),
	MSR(MSR_XFD, xfd),
	MSR(MSR_XFD_ERR, xfd_err),
};

static void msrs_from(S *to, const struct x86_vcpu_state *s)
{
	uint32_t hint = 0;

	for (size_t i = 0; i < ARRAY_SIZE(msr_members); i++) {
		const struct msr_member *m = &msr_members[i];

		for (uint32_t n = 0; n < m->count; n++) {
			uint64_t v = 0;

			if (x86_msr_find(s, m->msr + n, &hint, &v))
				memcpy((uint8_t *)to + m->offset + n * 8, &v,
				       m->size); /* little-endian */
		}
	}
}

/* A host without the MSR and a guest that never changed it: SMM's base, idle polling,
 * miscellaneous switches. */
static bool without_loss(const struct x86_vcpu_state *s, uint32_t msr, uint64_t v)
{
	uint64_t have;

	return ((msr == MSR_SMBASE && v == SMBASE_RESET) ||
		((msr == MSR_KVM_POLL || msr == MSR_MISC_ENABLE) && v == 1)) &&
	       !x86_msr_find(s, msr, NULL, &have);
}

static void msrs_to(const S *from, struct x86_vcpu_state *s)
{
	uint32_t hint = 0;

	for (size_t i = 0; i < ARRAY_SIZE(msr_members); i++) {
		const struct msr_member *m = &msr_members[i];

		for (uint32_t n = 0; n < m->count; n++) {
			uint64_t v = 0;

			memcpy(&v, (const uint8_t *)from + m->offset + n * 8, m->size);
			if (!without_loss(s, m->msr + n, v))
				x86_msr_put(s, m->msr + n, &hint, v);
		}
	}
}

static uint64_t phys_mask(unsigned int bits)
{
	return bits >= 64 ? ~0ULL : (1ULL << bits) - 1;
}

/* A stream's MTRR masks reach up to bit 51, whatever the guest's address width, so that they fit
 * any host. */
static void mtrr_masks(S *s, unsigned int phys_bits)
{
	for (unsigned int i = 0; i < 8; i++)
		s->mtrr_var[i].b |= phys_mask(52) & ~phys_mask(phys_bits);
}

static void exception_from(S *to, const struct kvm_vcpu_events *v)
{
	if (v->flags & KVM_VCPUEVENT_VALID_PAYLOAD) {
		to->exception_pending = v->exception.pending;
		to->exception_has_payload = v->exception_has_payload;
		to->exception_payload = v->exception_payload;
	}
	to->exception_injected = v->exception.injected;
	to->exception_nr = to->exception_pending || to->exception_injected ? v->exception.nr : -1;
	to->has_error_code = v->exception.has_error_code;
	to->error_code = v->exception.error_code;
}

/* Outside a guest hypervisor's guest a pending exception is as good as an injected one, once its
 * payload is delivered. */
static void exception_settle(S *s)
{
	if (!s->exception_pending || s->hflags & HF_GUEST)
		return;
	s->exception_pending = 0;
	s->exception_injected = 1;
	if (s->exception_has_payload && s->exception_nr == 1)
		s->dr[6] = s->exception_payload;
	if (s->exception_has_payload && s->exception_nr == 14)
		s->cr2 = s->exception_payload;
}

/*
 * QEMU's stream has no place for an error code, and without its own a fault is another one: Linux
 * takes a program's page fault for one of its own. Who faults has done nothing yet and will do so
 * again, so such a fault needn't go along. One of a guest hypervisor's guest may come from that
 * hypervisor, and only once.
 */
static void exception_drop(S *s)
{
	if (!s->exception_injected || !s->has_error_code || !s->error_code || s->hflags & HF_GUEST)
		return;
	s->exception_injected = s->has_error_code = 0;
	s->exception_nr = -1;
	s->error_code = 0;
}

static void events_from(S *to, const struct x86_vcpu_state *s)
{
	const struct kvm_vcpu_events *v = &s->events;

	exception_from(to, v);
	to->interrupt_injected = v->interrupt.injected ? v->interrupt.nr : -1;
	to->soft_interrupt = v->interrupt.soft;
	to->nmi_injected = v->nmi.injected;
	to->nmi_pending = v->nmi.pending;
	to->sipi_vector = v->sipi_vector;
	to->triple_fault = v->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT ? v->triple_fault.pending
								       : 0;
	to->mp_state = s->mp_state.mp_state;
}

static void events_to(const S *s, struct x86_vcpu_state *to)
{
	bool injected = s->exception_injected || (s->exception_nr >= 0 && !s->exception_pending);

	to->events = (struct kvm_vcpu_events){
		.exception = {.injected = injected,
			      .nr = (uint8_t)s->exception_nr,
			      .pending = s->exception_pending,
			      .has_error_code = s->has_error_code,
			      .error_code = s->error_code},
		.interrupt = {.injected = s->interrupt_injected >= 0,
			      .nr = (uint8_t)s->interrupt_injected,
			      .soft = s->soft_interrupt,
			      .shadow = s->hflags & HF_INHIBIT_IRQ ? KVM_X86_SHADOW_INT_STI : 0},
		.nmi = {.injected = s->nmi_injected,
			.pending = s->nmi_pending,
			.masked = !!(s->hflags2 & HF2_NMI)},
		.sipi_vector = s->sipi_vector,
		.flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM |
			 KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT,
		.smi = {.smm = !!(s->hflags & HF_SMM),
			.smm_inside_nmi = !!(s->hflags2 & HF2_SMM_NMI)},
		.triple_fault = {.pending = s->triple_fault},
		.exception_has_payload = s->exception_has_payload,
		.exception_payload = s->exception_payload,
	};
	to->mp_state.mp_state = s->mp_state;
}

static void nested_from(struct cpu_nested *to, const struct x86_vcpu_state *s)
{
	const struct kvm_nested_state *n = (const void *)s->nested;

	*to = (struct cpu_nested){.vmxon_pa = ~0ULL, .vmcs12_pa = ~0ULL};
	if (!s->nested_size)
		return;
	to->flags = n->flags;
	to->format = n->format;
	to->size = n->size;
	if (n->format == KVM_STATE_NESTED_FORMAT_SVM) {
		to->vmcb_pa = n->hdr.svm.vmcb_pa;
		memcpy(to->vmcb12, s->nested + 128,
		       MIN(n->size - 128, (uint32_t)sizeof(to->vmcb12)));
		return;
	}
	to->vmxon_pa = n->hdr.vmx.vmxon_pa;
	to->vmcs12_pa = n->hdr.vmx.vmcs12_pa;
	to->smm_flags = n->hdr.vmx.smm.flags;
	memcpy(to->vmcs12, s->nested + 128, MIN(n->size - 128, 4096U));
	if (n->size > 128 + 4096)
		memcpy(to->shadow_vmcs12, s->nested + 128 + 4096, MIN(n->size - 128 - 4096, 4096U));
}

static void nested_to(const S *from, struct x86_vcpu_state *s)
{
	const struct cpu_nested *f = &from->nested;
	struct kvm_nested_state *n = (void *)s->nested;
	bool svm = f->format == KVM_STATE_NESTED_FORMAT_SVM;

	if (!f->size)
		return; /* as a fresh vCPU has it */
	memset(s->nested, 0, sizeof(s->nested));
	n->flags = (uint16_t)(f->flags & ~(KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_GIF_SET));
	n->flags |= from->hflags & HF_GUEST ? KVM_STATE_NESTED_GUEST_MODE : 0;
	n->flags |= svm && from->hflags2 & HF2_GIF ? KVM_STATE_NESTED_GIF_SET : 0;
	n->format = f->format;
	n->size = s->nested_size = f->size;
	if (svm) {
		n->hdr.svm.vmcb_pa = f->vmcb_pa;
		memcpy(s->nested + 128, f->vmcb12, sizeof(f->vmcb12));
		return;
	}
	n->hdr.vmx.vmxon_pa = f->vmxon_pa;
	n->hdr.vmx.vmcs12_pa = f->vmcs12_pa;
	n->hdr.vmx.smm.flags = f->smm_flags;
	memcpy(s->nested + 128, f->vmcs12, 4096);
	memcpy(s->nested + 128 + 4096, f->shadow_vmcs12, 4096);
}

static bool in_guest_mode(const struct x86_vcpu_state *s)
{
	const struct kvm_nested_state *n = (const void *)s->nested;

	return s->nested_size && n->flags & KVM_STATE_NESTED_GUEST_MODE;
}

static void debug_from(S *to, const struct kvm_debugregs *d)
{
	for (unsigned int i = 0; i < 4; i++)
		to->dr[i] = d->db[i];
	to->dr[4] = to->dr[6] = d->dr6;
	to->dr[5] = to->dr[7] = d->dr7;
}

static void offers(S *to, const struct x86_vcpu_state *s, const struct kvm_host *h)
{
	uint64_t v;

	to->offers_tsx_ctrl = x86_msr_find(s, MSR_TSX_CTRL, NULL, &v);
	to->offers_tsc_scale = x86_msr_find(s, MSR_AMD_TSC_RATIO, NULL, &v);
	to->offers_xfd = x86_msr_find(s, MSR_XFD, NULL, &v);
	to->offers_amx = to->offers_xfd && h->xsave_offset[X_TILEDATA] &&
			 h->xsave_offset[X_TILEDATA] + sizeof(to->xtiledata) <= h->xsave_size;
}

/**
 * cpu_section_uses_smm() - Can't this guest do without system management mode?
 * @s:		Of a stream
 *
 * Return: the vCPU is in it, or firmware has moved its SMBASE and so lives there
 */
bool cpu_section_uses_smm(const S *s)
{
	return s->hflags & HF_SMM || s->smbase != SMBASE_RESET;
}

/**
 * cpu_section_from() - What of a vCPU stands in a stream
 * @to:		Filled in
 * @s:		As x86_vcpu_capture() gave it
 * @h:		The host it is from
 * @phys_bits:	Width of the guest's physical addresses
 */
void cpu_section_from(S *to, const struct x86_vcpu_state *s, const struct kvm_host *h,
		      unsigned int phys_bits)
{
	memset(to, 0, sizeof(*to));
	to->poll_control_msr = to->misc_enable = 1;
	to->a20_mask = -1;
	to->smbase = SMBASE_RESET;
	regs_from(to, &s->regs);
	sregs_from(to, &s->sregs);
	debug_from(to, &s->debugregs);
	fpu_from(to, s, h);
	msrs_from(to, s);
	mtrr_masks(to, phys_bits);
	nested_from(&to->nested, s);
	to->hflags = hflags_of(to, &s->events, in_guest_mode(s));
	to->hflags2 = hflags2_of(&s->events);
	events_from(to, s);
	exception_settle(to);
	exception_drop(to);
	to->tsc_khz = s->tsc_khz;
	offers(to, s, h);
}

/**
 * cpu_section_to() - Turn what a stream says into what KVM takes
 * @from:	Loaded and checked
 * @s:		In: a fresh vCPU of this host; out: for x86_vcpu_apply()
 * @h:		This host
 * @phys_bits:	Width of the guest's physical addresses here
 */
void cpu_section_to(const S *from, struct x86_vcpu_state *s, const struct kvm_host *h,
		    unsigned int phys_bits)
{
	S v = *from;

	for (unsigned int i = 0; i < 8; i++)
		v.mtrr_var[i].b &= phys_mask(phys_bits);
	real_mode_dpl(&v);
	regs_to(&v, &s->regs);
	sregs_to(&v, &s->sregs);
	for (unsigned int i = 0; i < 4; i++)
		s->debugregs.db[i] = v.dr[i];
	s->debugregs.dr6 = v.dr[6];
	s->debugregs.dr7 = v.dr[7];
	fpu_to(&v, s, h);
	msrs_to(&v, s);
	events_to(&v, s);
	nested_to(&v, s);
	s->tsc_khz = (uint32_t)v.tsc_khz;
}
