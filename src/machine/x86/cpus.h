/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_CPUS_H
#define MACHINE_X86_CPUS_H

#include "kvm/x86/cpuid.h"
#include "kvm/x86/state.h"
#include "machine/vm.h"

/*
 * Theory of operation: the vCPUs' state between KVM and the devices that stand for their sections.
 * Captured once after each stop, by all vCPU threads at once, when the first section asks;
 * forgotten when the guest runs. Loaded sections are put together here and given to KVM as a whole:
 * by x86_cpus_commit(), which can fail, or at the latest when the guest is started.
 */

/**
 * struct x86_cpu - One vCPU's states
 * @v:		The vCPU; NULL: the place is free
 * @made:	@fresh holds: there is a vCPU here, or was one, which KVM has kept
 * @fresh:	As it was made; what a reset goes back to
 * @now:	Captured, or put together from loaded sections
 * @e:		Why the last capture or commit failed
 */
struct x86_cpu {
	struct vm_vcpu *v;
	bool made;
	struct x86_vcpu_state fresh, now;
	struct err e;
};

/**
 * struct x86_cpu_model - What of the CPU model decides which sections have more than others
 * @tsx_ctrl, @tsc_scale, @xfd, @amx: By the CPU's features, as QEMU asks
 * it: not by what the host could do
 */
struct x86_cpu_model {
	bool tsx_ctrl, tsc_scale, xfd, amx;
};

/**
 * struct x86_cpus - All vCPUs. Main thread
 * @len:	Places for them; @cpu has as many
 * @lmce, @signature: Of the CPU model, for those that come
 * @model:	The same for all of them
 * @smm:	The machine has system management mode; set after x86_cpus_create()
 * @captured:	@now holds the state as of the last stop
 * @loading:	@now holds loaded sections that KVM hasn't got yet
 * @pristine:	What stands alone beside the registers (MSRs, MP state, ...) is in KVM as in @fresh:
 *		no vCPU has run, nothing was committed
 * @faulted:	Atomic: @fault is taken
 * @fault:	First thing since the guest ran that KVM wouldn't tell or take, of vCPUs or chips
 */
struct x86_cpus {
	struct vm *vm;
	const struct kvm_host *host;
	struct x86_msr_list msrs;
	struct x86_cpu_model model;
	unsigned int phys_bits, signature, len;
	bool smm, lmce, captured, loading, pristine, faulted;
	struct x86_cpu *cpu;
	struct err fault;
};

/* The vCPUs of @vm have their CPUID; @max: places for those that come later. */
MUST_CHECK int x86_cpus_create(struct x86_cpus **ret, struct vm *vm, unsigned int max,
			       const struct x86_cpuid *cpuid, struct err *e);
void x86_cpus_destroy(struct x86_cpus *c);
/* One that comes, before it begins; and goes. */
MUST_CHECK int x86_cpu_add(struct x86_cpus *c, struct vm_vcpu *v, struct err *e);
void x86_cpu_remove(struct x86_cpus *c, unsigned int index);
bool x86_cpu_known(const struct x86_cpus *c, unsigned int index);
/* Registers, MSRs and local APIC to their values after reset. */
MUST_CHECK int x86_cpu_reset(struct x86_cpus *c, unsigned int index, struct err *e);
MUST_CHECK int x86_cpus_capture(struct x86_cpus *c, struct err *e);
/* Gives KVM what was loaded; guest stopped. On failure the guest must not run here. */
MUST_CHECK int x86_cpus_commit(struct x86_cpus *c, struct err *e);

/* Has KVM told and taken everything, resets included, since the guest ran? Else what was captured
 * isn't the guest's, and what was loaded isn't there. */
MUST_CHECK int x86_cpus_captured(const struct x86_cpus *c, struct err *e);

/* For the sections' devices and for resets. Any thread: */
void x86_cpus_failed(struct x86_cpus *c, const struct err *e);
const struct x86_vcpu_state *x86_cpus_state(struct x86_cpus *c, unsigned int index);
void x86_cpus_load_begin(struct x86_cpus *c);
/* Before a guest that runs elsewhere comes: what its first run here would pay for. */
void x86_cpus_warm(struct x86_cpus *c);
struct x86_vcpu_state *x86_cpus_load(struct x86_cpus *c, unsigned int index);
void x86_cpus_run(struct x86_cpus *c);

#endif
