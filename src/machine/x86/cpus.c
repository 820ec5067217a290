/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see cpus.h.
 */
#include "machine/x86/cpus.h"

#include "base/log.h"
#include "base/owned.h"
#include "kvm/x86/x86.h"
#include "machine/gap.h"
#include "machine/x86/chips_section.h"

#include <errno.h>
#include <stdlib.h>

static int cpu_init(struct x86_cpus *c, struct vm_vcpu *v, struct err *e)
{
	struct x86_cpu *cpu = &c->cpu[v->index];
	struct kvm_vcpu *kvm = v->kvm;
	int r = x86_vcpu_setup(kvm, c->lmce, e);

	if (r == 0 && v->index == 0)
		r = x86_msr_list_probe(kvm, &c->msrs, e);
	if (r == 0)
		r = x86_vcpu_reset(kvm, v->index == 0, c->signature, e);
	if (r == 0)
		r = x86_vcpu_capture(kvm, &c->msrs, &cpu->fresh, e);
	x86_msr_put(&cpu->fresh, MSR_TSC, NULL, 0);
	cpu->made = r == 0;
	cpu->v = v;
	return r;
}

/**
 * x86_cpu_add() - Take note of a vCPU as it is before it runs
 * @c:		The vCPUs
 * @v:		The new one, with its CPUID, in a place that is free; hasn't begun
 * @e:		Set on failure
 *
 * It is given the state after reset as a whole: KVM may have kept the vCPU from when the place was
 * last in use, and a local APIC is found by others only once it has been written.
 *
 * Errors: as the ioctls
 * Return: 0, or a negative errno
 */
int x86_cpu_add(struct x86_cpus *c, struct vm_vcpu *v, struct err *e)
{
	struct x86_cpu *cpu = &c->cpu[v->index];
	int r = cpu->made ? 0 : cpu_init(c, v, e);

	if (r == 0)
		r = x86_vcpu_apply(v->kvm, &cpu->fresh, NULL, e);
	if (r < 0)
		return r;
	cpu->v = v;
	cpu->now = cpu->fresh;
	return 0;
}

/**
 * x86_cpu_remove() - Forget a vCPU that leaves the machine
 * @c:		The vCPUs
 * @index:	Its place
 */
void x86_cpu_remove(struct x86_cpus *c, unsigned int index)
{
	c->cpu[index].v = NULL;
}

/**
 * x86_cpu_known() - Has the vCPU in a place been one before?
 * @c:		The vCPUs
 * @index:	The place
 *
 * Return: true: KVM has it with its CPUID, which can't be set again
 */
bool x86_cpu_known(const struct x86_cpus *c, unsigned int index)
{
	return c->cpu[index].made;
}

static unsigned int phys_bits(const struct x86_cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *l = x86_cpuid_find(cpuid, 0x80000008, 0);

	return l ? l->eax & 0xff : 36;
}

/* Family, model and stepping. */
static unsigned int signature(const struct x86_cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *l = x86_cpuid_find(cpuid, 1, 0);

	return l ? l->eax : 0;
}

static struct x86_cpu_model model_of(const struct x86_processor *p)
{
	return (struct x86_cpu_model){
		.tsx_ctrl = x86_feature_get(&p->f, "tsx-ctrl"),
		.tsc_scale = x86_feature_get(&p->f, "tsc-scale"),
		.xfd = x86_feature_get(&p->f, "xfd"),
		.amx = x86_feature_get(&p->f, "amx-tile"),
	};
}

/**
 * x86_cpus_create() - Take note of the vCPUs as they are before they ever run
 * @ret:	Set on success; release with x86_cpus_destroy()
 * @vm:		With the vCPUs of the start, which have their CPUID
 * @max:	Places
 * @cpuid:	That one
 * @e:		Set on failure
 *
 * Errors: ENOMEM; as the ioctls
 * Return: 0, or a negative errno
 */
int x86_cpus_create(struct x86_cpus **ret, struct vm *vm, unsigned int max,
		    const struct x86_cpuid *cpuid, struct err *e)
{
	struct x86_cpus *c = mem_zalloc(sizeof(*c));
	int r = 0;

	c->cpu = mem_calloc(max, sizeof(*c->cpu));
	c->vm = vm;
	c->host = kvm_vm_host(vm->c.kvm);
	c->phys_bits = phys_bits(cpuid);
	c->signature = signature(cpuid);
	c->model = model_of(&cpuid->cpu);
	c->lmce = cpuid->cpu.lmce;
	c->len = max;
	c->pristine = true;
	for (unsigned int i = 0; i < vm->vcpus_len && r == 0; i++)
		r = cpu_init(c, vm->vcpus[i], e);
	if (r < 0) {
		x86_cpus_destroy(c);
		return r;
	}
	*ret = c;
	return 0;
}

/**
 * x86_cpus_destroy() - Release the states
 * @c:		Created; or NULL
 */
void x86_cpus_destroy(struct x86_cpus *c)
{
	if (!c)
		return;
	free(c->cpu);
	free(c);
}

/**
 * x86_cpu_reset() - Put a vCPU into its state after reset, all of it
 * @c:		The vCPUs, parked
 * @index:	Which
 * @e:		Set on failure
 *
 * Errors: as the ioctls
 * Return: 0, or a negative errno
 */
int x86_cpu_reset(struct x86_cpus *c, unsigned int index, struct err *e)
{
	c->captured = c->loading = false;
	c->cpu[index].now.tsc_khz = 0;
	return x86_vcpu_apply(c->cpu[index].v->kvm, &c->cpu[index].fresh, NULL, e);
}

/* @ns below 0: back. QEMU's stream may leave the frequency out: then it is this host's. */
static void tsc_move(struct x86_cpu *cpu, int64_t ns)
{
	uint32_t khz = cpu->now.tsc_khz ? cpu->now.tsc_khz : cpu->fresh.tsc_khz;
	uint64_t tsc;

	if (ns && x86_msr_find(&cpu->now, MSR_TSC, NULL, &tsc))
		x86_msr_put(&cpu->now, MSR_TSC, NULL,
			    tsc + (uint64_t)((__int128)ns * khz / NS_PER_MS));
}

static void time_pass(struct x86_cpu *cpu, int64_t ns)
{
	tsc_move(cpu, ns);
	apic_timer_pass(&cpu->now.lapic, ns);
}

static void capture_one(struct vm_vcpu *v, void *opaque)
{
	struct x86_cpus *c = opaque;
	struct x86_cpu *cpu = &c->cpu[v->index];

	cpu->e.code = 0;
	if (x86_vcpu_capture(v->kvm, &c->msrs, &cpu->now, &cpu->e) < 0)
		cpu->e.code = cpu->e.code ? cpu->e.code : EIO;
	tsc_move(cpu, -vm_overrun_ns(c->vm, cpu->now.read_ns));
}

static void commit_one(struct vm_vcpu *v, void *opaque)
{
	struct x86_cpus *c = opaque;
	struct x86_cpu *cpu = &c->cpu[v->index];

	cpu->e.code = 0;
	time_pass(cpu, vm_gap_ns(c->vm));
	if (x86_vcpu_apply(v->kvm, &cpu->now, c->pristine ? &cpu->fresh : NULL, &cpu->e) < 0)
		cpu->e.code = cpu->e.code ? cpu->e.code : EIO;
}

/* On the vCPUs' own threads while they are parked; one alone isn't worth waking a thread. */
static int on_each(struct x86_cpus *c, vm_vcpu_fn *fn, struct err *e)
{
	const struct vm *vm = c->vm;

	if (vm->vcpus_len > 1 && !vm_running(vm))
		vm_each_vcpu(c->vm, fn, c);
	else
		for (unsigned int i = 0; i < vm->vcpus_len; i++)
			fn(vm->vcpus[i], c);
	for (unsigned int i = 0; i < vm->vcpus_len; i++) {
		const struct err *why = &c->cpu[vm->vcpus[i]->index].e;

		if (why->code)
			return err_set(e, why->code, "%s", why->msg);
	}
	return 0;
}

/**
 * x86_cpus_capture() - Read the state of all vCPUs
 * @c:		The vCPUs, stopped
 * @e:		Set on failure
 *
 * Once after each stop; later calls find it done.
 *
 * Errors: as x86_vcpu_capture()
 * Return: 0, or a negative errno
 */
int x86_cpus_capture(struct x86_cpus *c, struct err *e)
{
	int r = 0;

	if (!c->captured && !c->loading)
		r = on_each(c, capture_one, e);
	c->captured = r == 0;
	return r;
}

/**
 * x86_cpus_commit() - Give KVM the loaded state of all vCPUs
 * @c:		The vCPUs, stopped
 * @e:		Set on failure
 *
 * Errors: as x86_vcpu_apply(); the guest must not run here then
 * Return: 0, or a negative errno
 */
int x86_cpus_commit(struct x86_cpus *c, struct err *e)
{
	int r;

	if (!c->loading)
		return 0;
	r = on_each(c, commit_one, e);
	c->pristine = false;
	if (r == 0)
		c->loading = false;
	return r < 0 ? r : x86_cpus_captured(c, e);
}

/**
 * x86_cpus_captured() - Did KVM tell and take everything since the guest ran?
 * @c:		The vCPUs, stopped
 * @e:		Set on failure: the first thing that it didn't
 *
 * Return: 0, or a negative errno: sections captured meanwhile aren't the guest's
 */
int x86_cpus_captured(const struct x86_cpus *c, struct err *e)
{
	return c->faulted ? err_set(e, c->fault.code, "%s", c->fault.msg) : 0;
}

/**
 * x86_cpus_failed() - KVM wouldn't tell or take something
 * @c:		The vCPUs
 * @e:		What; kept if it is the first. Any thread
 */
void x86_cpus_failed(struct x86_cpus *c, const struct err *e)
{
	if (!__atomic_exchange_n(&c->faulted, true, __ATOMIC_ACQ_REL))
		c->fault = *e;
}

/**
 * x86_cpus_state() - A vCPU's state as of the last stop
 * @c:		The vCPUs, stopped
 * @index:	Which
 *
 * Return: the state; that of a fresh vCPU if KVM won't tell, which is logged
 */
const struct x86_vcpu_state *x86_cpus_state(struct x86_cpus *c, unsigned int index)
{
	struct err e;

	if (x86_cpus_capture(c, &e) == 0)
		return &c->cpu[index].now;
	log_error("state of the vCPUs: %s", e.msg);
	x86_cpus_failed(c, &e);
	return &c->cpu[index].fresh;
}

/**
 * x86_cpus_load_begin() - Sections will be loaded: all vCPUs begin with their fresh state
 * @c:		The vCPUs, stopped
 *
 * x86_cpus_load() does it if need be; who knows beforehand saves that time later.
 */
void x86_cpus_load_begin(struct x86_cpus *c)
{
	if (!c->loading)
		for (unsigned int i = 0; i < c->vm->vcpus_len; i++) {
			struct x86_cpu *cpu = &c->cpu[c->vm->vcpus[i]->index];

			cpu->now = cpu->fresh;
		}
	c->loading = true;
	c->captured = false;
}

/* An allocation gives the thread its arena, which its first exit would make otherwise; a KVM_RUN
 * that doesn't enter the guest has KVM do once what it does before the VM's first. */
static void warm_one(struct vm_vcpu *v, void *opaque)
{
	free(mem_zalloc(1));
	(void)!kvm_vcpu_complete_io(v->kvm);
}

/**
 * x86_cpus_warm() - What a vCPU's thread and a VM pay once for their first run
 * @c:		The vCPUs, as they were made
 *
 * On the vCPUs' own threads: Linux 6.1 waits for RCU when another thread runs a vCPU than the last
 * time. The kernel's thread that takes huge pages apart is begun here, which takes a tenth of a
 * millisecond.
 *
 * Source: Linux 6.18 arch/x86/kvm/x86.c kvm_arch_vcpu_ioctl_run(), virt/kvm/kvm_main.c
 * kvm_vcpu_ioctl()
 */
void x86_cpus_warm(struct x86_cpus *c)
{
	vm_each_vcpu(c->vm, warm_one, c);
}

/**
 * x86_cpus_load() - A vCPU's state to be filled from loaded sections
 * @c:		The vCPUs, stopped
 * @index:	Which
 *
 * Return: at first the fresh state; KVM gets it by x86_cpus_commit()
 */
struct x86_vcpu_state *x86_cpus_load(struct x86_cpus *c, unsigned int index)
{
	x86_cpus_load_begin(c);
	return &c->cpu[index].now;
}

/**
 * x86_cpus_run() - The guest is about to run
 * @c:		The vCPUs, still parked
 */
void x86_cpus_run(struct x86_cpus *c)
{
	struct err e;
	int r;

	c->captured = false;
	c->faulted = false;
	r = x86_cpus_commit(c, &e);
	c->pristine = false;
	if (r < 0) {
		log_error("state of the vCPUs: %s", e.msg);
		vm_refuse(c->vm);
	}
}
