/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see vm.h. Order matters here. Stopping: vCPUs out of guest mode, then the
 * clock, then the devices in the order they were made; so a device that is stopped sees no vCPU and
 * no timer any more. Running: the other way round.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "machine/gap.h"
#include "machine/private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/**
 * vm_init() - Make a machine without vCPUs, in run state prelaunch
 * @vm:		Filled in; release with vm_destroy()
 * @config:	Copied
 * @e:		Set on failure
 *
 * Return: 0
 */
int vm_init(struct vm *vm, const struct vm_config *config, struct err *e)
{
	*vm = (struct vm){.c = *config, .state = RUN_PRELAUNCH};
	list_init(&vm->listeners);
	return 0;
}

/**
 * vm_destroy() - End the vCPU threads and release the vCPUs
 * @vm:		Initialised
 */
void vm_destroy(struct vm *vm)
{
	if (vm_active(vm))
		vm_stop(vm, RUN_SHUTDOWN);
	vcpus_command(vm, VCPU_QUIT);
	for (unsigned int i = 0; i < vm->vcpus_len; i++) {
		pthread_join(vm->vcpus[i]->thread, NULL);
		kvm_vcpu_destroy(vm->vcpus[i]->kvm);
		free(vm->vcpus[i]);
	}
	free(vm->vcpus);
	vm->vcpus = NULL;
	vm->vcpus_len = 0;
}

/**
 * vm_vcpu_create() - Make a vCPU that doesn't belong to the machine yet
 * @vm:		The machine
 * @kvm_id:	APIC id on x86
 * @index:	Its place; free
 * @ret:	Set on success; for vm_vcpu_begin() or vm_vcpu_discard()
 * @e:		Set on failure
 *
 * Errors: as kvm_vcpu_create()
 * Return: 0, or a negative errno
 */
int vm_vcpu_create(struct vm *vm, unsigned int kvm_id, unsigned int index, struct vm_vcpu **ret,
		   struct err *e)
{
	struct vm_vcpu *v = mem_zalloc(sizeof(*v));
	int r = kvm_vcpu_create(&v->kvm, vm->c.kvm, kvm_id, e);

	v->vm = vm;
	v->index = index;
	if (r < 0) {
		free(v);
		return r;
	}
	*ret = v;
	return 0;
}

/**
 * vm_vcpu_discard() - Release a vCPU that hasn't begun
 * @v:		Created; KVM keeps what can't be deleted
 */
void vm_vcpu_discard(struct vm_vcpu *v)
{
	kvm_vcpu_park(v->kvm);
	free(v);
}

/**
 * vm_vcpu_begin() - Make a vCPU one of the machine's: parked, or running as the others do
 * @v:		Created, with the registers it begins with; the machine's on success
 * @e:		Set on failure
 *
 * Errors: as pthread_create(3)
 * Return: 0, or a negative errno
 */
int vm_vcpu_begin(struct vm_vcpu *v, struct err *e)
{
	struct vm *vm = v->vm;
	int r = vcpu_thread_start(v, e); /* which waits for the next command */

	if (r < 0)
		return r;
	vcpus_park(vm);
	vm->vcpus = mem_realloc(vm->vcpus, (vm->vcpus_len + 1) * sizeof(*vm->vcpus));
	vm->vcpus[vm->vcpus_len++] = v;
	vcpus_unpark(vm);
	return 0;
}

/**
 * vm_vcpu_remove() - Take a vCPU out of the machine and end its thread
 * @v:		Of the machine; released. KVM keeps what can't be deleted
 */
void vm_vcpu_remove(struct vm_vcpu *v)
{
	struct vm *vm = v->vm;
	unsigned int i = 0;

	vcpus_park(vm);
	v->leaves = true;
	vcpus_command(vm, VCPU_LEAVE);
	(void)!vcpus_wait(vm, TIME_NEVER);
	pthread_join(v->thread, NULL);
	while (vm->vcpus[i] != v)
		i++;
	vm->vcpus_len--;
	memmove(vm->vcpus + i, vm->vcpus + i + 1, (vm->vcpus_len - i) * sizeof(*vm->vcpus));
	vcpus_unpark(vm);
	vm_vcpu_discard(v);
}

/**
 * vm_vcpu_add() - Add the next vCPU with its thread
 * @vm:		The machine; no place is free between its vCPUs
 * @kvm_id:	APIC id on x86
 * @ret:	Set on success; the machine's. May be NULL
 * @e:		Set on failure
 *
 * Errors: as kvm_vcpu_create() and pthread_create(3)
 * Return: 0, or a negative errno
 */
int vm_vcpu_add(struct vm *vm, unsigned int kvm_id, struct vm_vcpu **ret, struct err *e)
{
	struct vm_vcpu *v;
	int r = vm_vcpu_create(vm, kvm_id, vm->vcpus_len, &v, e);

	if (r < 0)
		return r;
	r = vm_vcpu_begin(v, e);
	if (r < 0)
		vm_vcpu_discard(v);
	else if (ret)
		*ret = v;
	return r;
}

/**
 * vm_tell() - Tell the listeners
 * @vm:		The machine
 * @event:	What happened
 * @arg:	See enum vm_event
 */
void vm_tell(struct vm *vm, enum vm_event event, int arg)
{
	struct vm_listener *l, *next;

	list_for_each_safe (l, next, &vm->listeners, link)
		l->event(l, event, arg);
}

/**
 * vm_listen() - Be told of what happens to the machine
 * @vm:		The machine
 * @l:		With @event set; leave by list_del()
 */
void vm_listen(struct vm *vm, struct vm_listener *l)
{
	list_add_tail(&vm->listeners, &l->link);
}

/**
 * vm_running() - Does the guest run?
 * @vm:		The machine
 *
 * Return: true between vm_start() and vm_stop()
 */
bool vm_running(const struct vm *vm)
{
	return vm->state == RUN_RUNNING;
}

/**
 * vm_active() - Do clock and devices run?
 * @vm:		The machine
 *
 * Return: true if the guest runs, and while it sleeps (RUN_SUSPENDED)
 */
bool vm_active(const struct vm *vm)
{
	return vm->state == RUN_RUNNING || vm->state == RUN_SUSPENDED;
}

static void devices_run(struct vm *vm)
{
	struct device *dev;

	list_for_each (dev, vm->c.devices, link)
		if (dev->class->run)
			dev->class->run(dev);
}

static void devices_stop(struct vm *vm)
{
	struct device *dev;

	list_for_each (dev, vm->c.devices, link)
		if (dev->class->stop)
			dev->class->stop(dev);
}

/**
 * vm_refuse() - Keep the guest from running, as the host has refused its state
 * @vm:		The machine, in vm_start(); called by a device's run(), which has said why
 */
void vm_refuse(struct vm *vm)
{
	vm->refused = true;
}

static bool refused(struct vm *vm)
{
	if (!vm->refused)
		return false;
	vm->refused = false;
	devices_stop(vm);
	vm->state = RUN_INTERNAL_ERROR;
	vm_tell(vm, VM_STOPPED, RUN_INTERNAL_ERROR);
	return true;
}

/* Moves the guest clock; devices move theirs when they run. */
static void clocks_run(struct vm *vm)
{
	vm->gap_ns = vm_gap_ns(vm);
	if (vm->catch_up && !vm->gap_ns)
		log_info("the guest's clocks stand still over a pause of %jd s, more than %jd s",
			 (intmax_t)((time_ns() - vm->stopped_ns) / NS_PER_SEC),
			 (intmax_t)(GAP_MAX_NS / NS_PER_SEC));
	vm->catch_up = false;
	if (vm->gap_ns)
		guest_clock_set_ns(vm->c.clock, guest_clock_now_ns(vm->c.clock) + vm->gap_ns);
}

/* A vCPU whose request hasn't been served yet runs no further: the stop came between. */
static void vcpus_run(struct vm *vm)
{
	uint32_t unserved = __atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST);

	for (unsigned int i = 0; i < vm->vcpus_len; i++) {
		vm->vcpus[i]->hold &= unserved;
		vm->vcpus[i]->began_ns = 0;
	}
	__atomic_store_n(&vm->stop, false, __ATOMIC_SEQ_CST);
	vcpus_command(vm, VCPU_RUN);
}

static bool activate(struct vm *vm)
{
	TRACE(vm_start, "from %s", run_state_name(vm->state));
	vm->state = vm->asleep ? RUN_SUSPENDED : RUN_RUNNING;
	clocks_run(vm);
	devices_run(vm);
	if (refused(vm))
		return false;
	guest_clock_run(vm->c.clock);
	if (!vm->asleep)
		vcpus_run(vm);
	return true;
}

/**
 * vm_start() - Let the guest run, or sleep on if it sleeps
 * @vm:		The machine; active already: nothing happens
 *
 * If a device refuses, the machine is in RUN_INTERNAL_ERROR afterwards.
 */
void vm_start(struct vm *vm)
{
	if (!vm_active(vm) && activate(vm))
		vm_tell(vm, VM_RESUMED, 0);
}

/**
 * vm_began_ns() - When the boot vCPU began to run after the last vm_start()
 * @vm:		The machine
 *
 * Its thread notes it. That of the caller may get no CPU for a while once the vCPUs are told.
 *
 * Return: time_ns() of that moment, or 0 if it hasn't yet
 */
int64_t vm_began_ns(const struct vm *vm)
{
	return __atomic_load_n(&vm->vcpus[0]->began_ns, __ATOMIC_ACQUIRE);
}

static int vcpus_stop(struct vm *vm, int64_t until_ns, struct err *e)
{
	int64_t begin = time_ns();

	if (!vcpus_leave(vm, until_ns))
		return vcpus_late(vm, begin, e);
	for (unsigned int i = 0; i < vm->vcpus_len; i++) /* sent by one that parked later */
		vcpu_signals_take(vm->vcpus[i]);
	vm->stop_ns = time_ns() - begin;
	return 0;
}

/* Those that were settled before @late run again. */
static void unsettle(struct vm *vm, const struct device *late)
{
	struct device *dev;

	list_for_each (dev, vm->c.devices, link) {
		if (dev == late)
			return;
		if (dev->class->settle)
			dev->class->run(dev);
	}
}

static int devices_settle(struct vm *vm, int64_t until_ns, struct err *e)
{
	int64_t begin = time_ns();
	struct device *dev;

	list_for_each (dev, vm->c.devices, link) {
		if (!dev->class->settle || dev->class->settle(dev, until_ns, e) == 0)
			continue;
		unsettle(vm, dev);
		return err_in(e, "%s %s didn't stop within %jd ms", dev->class->name,
			      dev->id ? dev->id : dev->path,
			      (intmax_t)((time_ns() - begin) / NS_PER_MS));
	}
	return 0;
}

/* All at rest, or all as before. */
static int halt(struct vm *vm, int64_t until_ns, struct err *e)
{
	int r = vcpus_stop(vm, until_ns, e);

	if (r == 0) {
		vm->stopped_ns = time_ns();
		guest_clock_stop(vm->c.clock);
		r = devices_settle(vm, until_ns, e);
		if (r < 0)
			guest_clock_run(vm->c.clock);
	}
	if (r < 0) {
		if (!vm->asleep)
			vcpus_go_on(vm);
		return r;
	}
	devices_stop(vm);
	return 0;
}

/**
 * vm_stop_within() - Stop the guest, unless that takes too long
 * @vm:		The machine; stopped already: only the run state changes
 * @why:	Run state afterwards, not RUN_RUNNING
 * @until_ns:	time_ns() at which to give up; TIME_NEVER: don't
 * @e:		Set on failure: who was waited for, and what its thread does
 *
 * Errors: ETIMEDOUT; the guest runs on, and no listener has heard of anything
 * Return: 0, or a negative errno
 */
int vm_stop_within(struct vm *vm, enum run_state why, int64_t until_ns, struct err *e)
{
	int r;

	assert(why != RUN_RUNNING && why != RUN_SUSPENDED);
	if (!vm_active(vm)) {
		vm->state = why;
		return 0;
	}
	r = halt(vm, until_ns, e);
	if (r < 0)
		return r;
	vm->state = why;
	TRACE(vm_stop, "%s, vCPUs out after %lld us", run_state_name(why),
	      (long long)(vm->stop_ns / NS_PER_US));
	vm_tell(vm, VM_STOPPED, (int)why);
	return 0;
}

/**
 * vm_stop() - Stop the guest: a barrier, see the head of vm.h
 * @vm:		The machine; stopped already: only the run state changes
 * @why:	Run state afterwards, not RUN_RUNNING
 */
void vm_stop(struct vm *vm, enum run_state why)
{
	struct err never;

	(void)!vm_stop_within(vm, why, TIME_NEVER, &never);
}

/**
 * vm_set_state() - Change the run state of a stopped machine
 * @vm:		The machine
 * @s:		Not RUN_RUNNING or RUN_SUSPENDED
 */
void vm_set_state(struct vm *vm, enum run_state s)
{
	assert(!vm_active(vm) && s != RUN_RUNNING && s != RUN_SUSPENDED);
	vm->state = s;
}

/* All vCPUs are parked. */
static void vcpus_work(struct vm *vm, vm_vcpu_fn *fn, void *opaque)
{
	vm->work = fn;
	vm->work_opaque = opaque;
	vcpus_command(vm, VCPU_WORK);
	(void)!vcpus_wait(vm, TIME_NEVER);
}

/**
 * vm_each_vcpu() - Do a piece of work on every vCPU's own thread at once
 * @vm:		The machine, stopped
 * @fn:		The work
 * @opaque:	For @fn
 */
void vm_each_vcpu(struct vm *vm, vm_vcpu_fn *fn, void *opaque)
{
	assert(!vm_running(vm));
	vcpus_work(vm, fn, opaque);
}

/**
 * vm_visit_vcpus() - The same, of a guest that may run: its vCPUs leave guest mode for that long
 * @vm:		The machine
 * @fn:		The work, a short one; clock and devices go on
 * @opaque:	For @fn
 */
void vm_visit_vcpus(struct vm *vm, vm_vcpu_fn *fn, void *opaque)
{
	vcpus_park(vm);
	vcpus_work(vm, fn, opaque);
	vcpus_unpark(vm);
}

static void devices_reset(struct vm *vm)
{
	struct device *dev;

	list_for_each (dev, vm->c.devices, link)
		device_reset(dev);
}

static void all_reset(struct vm *vm)
{
	vm->asleep = false;
	devices_reset(vm);
	for (unsigned int i = 0; i < vm->vcpus_len; i++)
		if (vm->c.reset_vcpu)
			vm->c.reset_vcpu(vm->vcpus[i], vm->c.opaque);
}

/* States that only a reset ends. */
static bool needs_reset(enum run_state s)
{
	return s == RUN_INTERNAL_ERROR || s == RUN_SHUTDOWN || s == RUN_GUEST_PANICKED;
}

/**
 * vm_reset() - Bring vCPUs and devices to power-on values; a running guest starts anew
 * @vm:		The machine
 * @by_guest:	Who wanted it, for the event
 */
void vm_reset(struct vm *vm, bool by_guest)
{
	bool was_running = vm_active(vm);
	struct err never;

	if (was_running) {
		(void)!halt(vm, TIME_NEVER, &never);
		vm->state = RUN_PAUSED;
	}
	all_reset(vm);
	vm_tell(vm, VM_RESET, by_guest);
	if (was_running)
		(void)!activate(vm); /* its listeners saw no stop either */
	else if (needs_reset(vm->state))
		vm->state = RUN_PAUSED;
}

/**
 * vm_suspend() - The guest goes to sleep (ACPI S3)
 * @vm:		The machine; not running: nothing happens
 */
void vm_suspend(struct vm *vm)
{
	struct err never;

	if (!vm_running(vm))
		return;
	(void)!vcpus_stop(vm, TIME_NEVER, &never);
	vm->asleep = true;
	vm->state = RUN_SUSPENDED;
	vm_tell(vm, VM_SUSPENDED, 0);
}

/**
 * vm_set_asleep() - The guest whose state was loaded sleeps
 * @vm:		The machine, not active
 */
void vm_set_asleep(struct vm *vm)
{
	assert(!vm_active(vm));
	vm->asleep = true;
}

/**
 * vm_wakeup() - Wake the guest: all but its memory is reset, firmware goes on from there
 * @vm:		The machine
 * @reason:	What the guest is told
 * @e:		Set on failure
 *
 * Errors: EPERM it doesn't sleep, or is stopped
 * Return: 0, or a negative errno
 */
int vm_wakeup(struct vm *vm, enum wakeup_reason reason, struct err *e)
{
	struct err never;

	if (vm->state != RUN_SUSPENDED)
		return err_set(e, EPERM, "Unable to wake up: guest is not in suspended state");
	(void)!halt(vm, TIME_NEVER, &never);
	vm->state = RUN_PAUSED;
	all_reset(vm);
	vm_tell(vm, VM_WAKEUP, (int)reason);
	(void)activate(vm);
	return 0;
}

static void vcpu_signal(struct vm_vcpu *v, enum vcpu_signal what)
{
	__atomic_or_fetch(&v->signals, what, __ATOMIC_SEQ_CST);
	kvm_vcpu_kick(v->kvm, v->thread);
}

/**
 * vm_nmi() - Send a non-maskable interrupt to every vCPU
 * @vm:		The machine; main thread
 *
 * KVM takes it only from outside of KVM_RUN, so running vCPUs are asked to do it themselves: nobody
 * waits for one that doesn't leave the guest.
 */
void vm_nmi(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->vcpus_len; i++) {
		struct vm_vcpu *v = vm->vcpus[i];

		if (!vm_running(vm)) {
			kvm_vcpu_nmi(v->kvm);
			continue;
		}
		vcpu_signal(v, VCPU_NMI);
	}
}

/**
 * vm_smi() - Send a system management interrupt
 * @vm:		The machine, running; its host has SMM
 * @whom:	To which vCPUs. Any thread
 */
void vm_smi(struct vm *vm, enum vm_smi whom)
{
	struct vm_vcpu *v = vcpu_current();

	if (whom == VM_SMI_ALL)
		for (unsigned int i = 0; i < vm->vcpus_len; i++)
			vcpu_signal(vm->vcpus[i], VCPU_SMI);
	else
		vcpu_signal(whom == VM_SMI_CURRENT && v ? v : vm->vcpus[0], VCPU_SMI);
}

/**
 * vm_in_smm() - Is what this thread serves an access of a vCPU in system management mode?
 *
 * Return: false on threads that aren't a vCPU's
 */
bool vm_in_smm(void)
{
	struct vm_vcpu *v = vcpu_current();

	return v && kvm_vcpu_in_smm(v->kvm);
}

/**
 * vm_powerdown() - Press the power button
 * @vm:		The machine
 */
void vm_powerdown(struct vm *vm)
{
	vm_tell(vm, VM_POWERDOWN, 0);
}
