/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: register values that a vCPU begins with: after reset (Intel SDM volume 3,
 * table 10-1), at the entry of a PVH kernel (32-bit, flat segments, paging off) and of a 64-bit
 * bzImage (long mode, identity-mapped).
 */
#include "kvm/x86/x86.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

static struct kvm_segment segment(uint16_t selector, uint64_t base, uint32_t limit, uint8_t type,
				  bool code_data)
{
	return (struct kvm_segment){
		.selector = selector,
		.base = base,
		.limit = limit,
		.type = type,
		.present = 1,
		.s = code_data,
	};
}

/* Real mode: 64 KiB segments at their selector's address; CS begins at the top of 4 GiB. */
static void sregs_reset(struct kvm_sregs *s)
{
	struct kvm_segment data = segment(0, 0, 0xffff, 3, true);

	s->cs = segment(0xf000, 0xffff0000, 0xffff, 11, true);
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = segment(0, 0, 0xffff, 11, false);
	s->ldt = segment(0, 0, 0xffff, 2, false);
	s->gdt = s->idt = (struct kvm_dtable){.base = 0, .limit = 0xffff};
	s->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
	s->cr2 = s->cr3 = s->cr4 = s->cr8 = s->efer = 0;
	memset(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap));
}

static int set_sregs(struct kvm_vcpu *c, const struct kvm_sregs *s, struct err *e)
{
	if (ioctl(kvm_vcpu_fd(c), KVM_SET_SREGS, s) < 0)
		return err_sys(e, "KVM_SET_SREGS of vCPU %u", kvm_vcpu_id(c));
	return 0;
}

static int set_regs(struct kvm_vcpu *c, const struct kvm_regs *r, struct err *e)
{
	if (ioctl(kvm_vcpu_fd(c), KVM_SET_REGS, r) < 0)
		return err_sys(e, "KVM_SET_REGS of vCPU %u", kvm_vcpu_id(c));
	return 0;
}

static int set_fpu_reset(struct kvm_vcpu *c, struct err *e)
{
	struct kvm_fpu fpu = {.fcw = 0x37f, .mxcsr = 0x1f80};

	if (ioctl(kvm_vcpu_fd(c), KVM_SET_FPU, &fpu) < 0)
		return err_sys(e, "KVM_SET_FPU of vCPU %u", kvm_vcpu_id(c));
	return 0;
}

static int set_mp_state(struct kvm_vcpu *c, bool boot, struct err *e)
{
	struct kvm_mp_state s = {
		.mp_state = boot ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED,
	};

	if (ioctl(kvm_vcpu_fd(c), KVM_SET_MP_STATE, &s) < 0)
		return err_sys(e, "KVM_SET_MP_STATE of vCPU %u", kvm_vcpu_id(c));
	return 0;
}

static int set_events_none(struct kvm_vcpu *c, struct err *e)
{
	struct kvm_vcpu_events none = {.flags = KVM_VCPUEVENT_VALID_NMI_PENDING};
	struct kvm_debugregs debug = {.dr6 = 0xffff0ff0, .dr7 = 0x400};

	if (ioctl(kvm_vcpu_fd(c), KVM_SET_VCPU_EVENTS, &none) < 0)
		return err_sys(e, "KVM_SET_VCPU_EVENTS of vCPU %u", kvm_vcpu_id(c));
	if (ioctl(kvm_vcpu_fd(c), KVM_SET_DEBUGREGS, &debug) < 0)
		return err_sys(e, "KVM_SET_DEBUGREGS of vCPU %u", kvm_vcpu_id(c));
	return 0;
}

/**
 * x86_vcpu_reset() - Put a vCPU into its state after reset
 * @c:		The vCPU, parked; its CPUID is set
 * @boot:	It is the one that runs firmware
 * @signature:	Family, model and stepping, as CPUID 1 has them in EAX
 * @e:		Set on failure
 *
 * MSRs and the local APIC are not touched here.
 *
 * Errors: as the ioctls
 * Source: Intel SDM volume 3, 10.1.1 and 10.1.4
 * Return: 0, or a negative errno
 */
int x86_vcpu_reset(struct kvm_vcpu *c, bool boot, uint32_t signature, struct err *e)
{
	struct kvm_regs regs = {.rip = 0xfff0, .rflags = X86_RFLAGS_1, .rdx = signature};
	struct kvm_sregs sregs;
	int r;

	if (ioctl(kvm_vcpu_fd(c), KVM_GET_SREGS, &sregs) < 0)
		return err_sys(e, "KVM_GET_SREGS of vCPU %u", kvm_vcpu_id(c));
	sregs_reset(&sregs);
	sregs.apic_base = 0xfee00800 | (boot ? 0x100 : 0);
	r = set_events_none(c, e);
	if (r == 0)
		r = set_sregs(c, &sregs, e);
	if (r == 0)
		r = set_regs(c, &regs, e);
	if (r == 0)
		r = set_fpu_reset(c, e);
	return r == 0 ? set_mp_state(c, boot, e) : r;
}

static void sregs_enter(struct kvm_sregs *s, const struct x86_entry *entry)
{
	struct kvm_segment code = segment(0x10, 0, 0xffffffff, 11, true);
	struct kvm_segment data = segment(0x18, 0, 0xffffffff, 3, true);

	code.g = data.g = data.db = 1;
	code.db = !entry->long_mode;
	code.l = entry->long_mode;
	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = segment(0, 0, 0x67, 11, false);
	s->cr0 = X86_CR0_PE | X86_CR0_ET;
	s->gdt = (struct kvm_dtable){.base = entry->gdt, .limit = entry->gdt ? 31 : 0};
	s->idt.limit = 0;
	if (entry->long_mode) {
		s->cr0 |= X86_CR0_PG;
		s->cr3 = entry->cr3;
		s->cr4 = X86_CR4_PAE;
		s->efer = X86_EFER_LME | X86_EFER_LMA;
	}
}

/**
 * x86_vcpu_enter() - Let a vCPU enter a kernel directly
 * @c:		The boot vCPU after x86_vcpu_reset()
 * @entry:	Where and how
 * @e:		Set on failure
 *
 * Errors: as the ioctls
 * Source: the PVH boot ABI (xen docs/misc/pvh.pandoc); Linux Documentation/arch/x86/boot.rst,
 * 64-bit boot protocol Return: 0, or a negative errno
 */
int x86_vcpu_enter(struct kvm_vcpu *c, const struct x86_entry *entry, struct err *e)
{
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rsp = entry->rsp,
		.rbx = entry->rbx,
		.rsi = entry->rsi,
		.rflags = X86_RFLAGS_1,
	};
	struct kvm_sregs sregs;
	int r;

	if (ioctl(kvm_vcpu_fd(c), KVM_GET_SREGS, &sregs) < 0)
		return err_sys(e, "KVM_GET_SREGS of vCPU %u", kvm_vcpu_id(c));
	sregs_enter(&sregs, entry);
	r = set_sregs(c, &sregs, e);
	return r == 0 ? set_regs(c, &regs, e) : r;
}

static size_t put_segment(char *buf, size_t size, const char *name, const struct kvm_segment *s)
{
	int n = snprintf(buf, size, "%s %04x %016llx %08x type %u dpl %u %s%s\n", name, s->selector,
			 s->base, s->limit, s->type, s->dpl,
			 s->l    ? "64-bit"
			 : s->db ? "32-bit"
				 : "16-bit",
			 s->unusable ? " unusable" : "");

	return n < 0 || (size_t)n >= size ? 0 : (size_t)n;
}

/**
 * kvm_vcpu_describe() - A vCPU's registers as text
 * @c:		The vCPU, not in guest mode
 * @buf:	Filled in, always terminated
 * @size:	Its size, at least 1
 */
void kvm_vcpu_describe(struct kvm_vcpu *c, char *buf, size_t size)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	int n;

	buf[0] = '\0';
	if (ioctl(kvm_vcpu_fd(c), KVM_GET_REGS, &r) < 0 ||
	    ioctl(kvm_vcpu_fd(c), KVM_GET_SREGS, &s) < 0)
		return;
	n = snprintf(
		buf, size,
		"RAX=%016llx RBX=%016llx RCX=%016llx RDX=%016llx\n"
		"RSI=%016llx RDI=%016llx RBP=%016llx RSP=%016llx\n"
		"R8 =%016llx R9 =%016llx R10=%016llx R11=%016llx\n"
		"R12=%016llx R13=%016llx R14=%016llx R15=%016llx\n"
		"RIP=%016llx RFL=%08llx CR0=%08llx CR2=%016llx CR3=%016llx CR4=%08llx EFER=%llx\n",
		r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11,
		r.r12, r.r13, r.r14, r.r15, r.rip, r.rflags, s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
	if (n < 0 || (size_t)n >= size)
		return;
	n += (int)put_segment(buf + n, size - (size_t)n, "CS", &s.cs);
	n += (int)put_segment(buf + n, size - (size_t)n, "SS", &s.ss);
	put_segment(buf + n, size - (size_t)n, "TR", &s.tr);
}
