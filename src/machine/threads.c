/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the main thread gives one command at a time to all vCPU threads: it writes
 * the command, counts
 * @busy up to the number of vCPUs, increments @command and wakes them (one futex call for all).
 * Each takes it, does it, and counts @busy down; the last one wakes the main thread. VCPU_RUN ends
 * by @stop and a kick.
 *
 * A thread that leaves the run loop completes the I/O exit it was in, so that its registers can be
 * captured.
 *
 * A stop that takes too long is called off by one more VCPU_RUN: those that had parked run again,
 * and those that hadn't have one run more to do, which the next stop ends as well. So each thread
 * takes each command, one by one, and @busy counts them all.
 *
 * Which vCPUs there are changes only while all are parked, since they look at each other (dirty
 * rings): of a running guest they are parked for that long, and nothing else stands still.
 */
#include "base/clock.h"
#include "base/log.h"
#include "machine/private.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local struct vm_vcpu *current;

static void futex_wait(uint32_t *word, uint32_t while_it_is)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_it_is, NULL, NULL, 0);
}

static void futex_wait_until(uint32_t *word, uint32_t while_it_is, int64_t until_ns)
{
	struct timespec at = {until_ns / NS_PER_SEC, until_ns % NS_PER_SEC};

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, while_it_is, &at, NULL,
		FUTEX_BITSET_MATCH_ANY);
}

static void futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/**
 * vcpu_current() - The vCPU of the calling thread
 *
 * Return: it, or NULL on other threads
 */
struct vm_vcpu *vcpu_current(void)
{
	return current;
}

/**
 * vm_vcpu_tid() - The id of a vCPU's thread
 * @v:		The vCPU; its thread may be just starting
 *
 * Return: the id, never 0
 */
pid_t vm_vcpu_tid(struct vm_vcpu *v)
{
	pid_t tid;

	while (!(tid = __atomic_load_n(&v->tid, __ATOMIC_ACQUIRE)))
		futex_wait((uint32_t *)&v->tid, 0);
	return tid;
}

/**
 * vcpu_must_leave() - Has this vCPU to leave the run loop?
 * @v:		The vCPU; own thread
 */
bool vcpu_must_leave(const struct vm_vcpu *v)
{
	return v->hold || __atomic_load_n(&v->vm->stop, __ATOMIC_SEQ_CST);
}

/**
 * vcpu_signals_take() - Give a vCPU what was sent to it while it ran
 * @v:		The vCPU; own thread, or it is parked
 */
void vcpu_signals_take(struct vm_vcpu *v)
{
	uint32_t signals;

	if (!__atomic_load_n(&v->signals, __ATOMIC_SEQ_CST))
		return;
	signals = __atomic_exchange_n(&v->signals, 0, __ATOMIC_SEQ_CST);
	if (signals & VCPU_NMI)
		kvm_vcpu_nmi(v->kvm);
	if (signals & VCPU_SMI)
		kvm_vcpu_smi(v->kvm);
}

/* Serves the rest of a wide access too, until the registers are complete. */
static void complete_io(struct vm_vcpu *v)
{
	int r;

	while ((r = kvm_vcpu_complete_io(v->kvm)) == 0)
		if (!vcpu_exit_serve(v))
			return;
	if (r != -EINTR)
		vcpu_fault(v, "KVM_RUN to complete I/O: %s", strerror(-r));
}

static void run_loop(struct vm_vcpu *v)
{
	bool served = false;

	if (!v->began_ns)
		__atomic_store_n(&v->began_ns, time_ns(), __ATOMIC_RELEASE);
	while (!vcpu_must_leave(v)) {
		int r;

		vcpu_signals_take(v);
		if (vcpu_rests(v)) {
			vcpu_rest(v);
			continue;
		}
		r = kvm_vcpu_run(v->kvm);
		served = r == 0;
		if (r < 0 && r != -EINTR)
			vcpu_fault(v, "KVM_RUN: %s", strerror(-r));
		else if (r == 0)
			(void)!vcpu_exit_serve(
				v); /* what it can't go on before, it has asked for */
		v->exits++;
	}
	if (served)
		complete_io(v);
	vcpu_signals_take(v);
}

static int command_take(struct vm_vcpu *v)
{
	struct vm *vm = v->vm;

	while (__atomic_load_n(&vm->command, __ATOMIC_ACQUIRE) == v->seen)
		futex_wait(&vm->command, v->seen);
	v->seen++;
	return vm->command_kind;
}

static void command_done(struct vm_vcpu *v)
{
	struct vm *vm = v->vm;

	__atomic_store_n(&v->done, v->seen, __ATOMIC_RELEASE);
	if (__atomic_sub_fetch(&vm->busy, 1, __ATOMIC_ACQ_REL) == 0)
		futex_wake(&vm->busy);
}

static void *vcpu_main(void *arg)
{
	struct vm_vcpu *v = arg;
	struct vm *vm = v->vm;
	struct err e;
	int kind;

	current = v;
	__atomic_store_n(&v->tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	futex_wake((uint32_t *)&v->tid);
	if (kvm_vcpu_thread_init(&e) < 0)
		log_error("vCPU %u: %s", v->index, e.msg);
	do {
		kind = command_take(v);
		if (kind == VCPU_RUN)
			run_loop(v);
		else if (kind == VCPU_WORK)
			vm->work(v, vm->work_opaque);
		command_done(v);
	} while (kind != VCPU_QUIT && !(kind == VCPU_LEAVE && v->leaves));
	return NULL;
}

/**
 * vcpu_thread_start() - Start the thread of a vCPU; it parks at once
 * @v:		The vCPU, with everything but @thread set
 * @e:		Set on failure
 *
 * Signals are blocked in it but the kick.
 *
 * Errors: as pthread_create(3)
 * Return: 0, or a negative errno
 */
int vcpu_thread_start(struct vm_vcpu *v, struct err *e)
{
	sigset_t all, before;
	char name[16];
	int r;

	sigfillset(&all);
	v->seen = v->done = v->vm->command;
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&v->thread, NULL, vcpu_main, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return err_ret(e, -r, "start the thread of vCPU %u", v->index);
	snprintf(name, sizeof(name), "vcpu %u", v->index);
	pthread_setname_np(v->thread, name);
	return 0;
}

/**
 * vcpus_command() - Give all vCPU threads a command
 * @vm:		The machine; the last command is done
 * @kind:	The command
 */
void vcpus_command(struct vm *vm, enum vcpu_command kind)
{
	vm->command_kind = kind;
	__atomic_store_n(&vm->busy, vm->vcpus_len, __ATOMIC_RELAXED);
	__atomic_add_fetch(&vm->command, 1, __ATOMIC_RELEASE);
	futex_wake(&vm->command);
}

/**
 * vcpus_wait() - Wait until all vCPU threads are parked again
 * @vm:		The machine
 * @until_ns:	time_ns() at which to give up; TIME_NEVER: don't
 *
 * Return: false: some aren't, see vcpus_late()
 */
bool vcpus_wait(struct vm *vm, int64_t until_ns)
{
	uint32_t left;

	while ((left = __atomic_load_n(&vm->busy, __ATOMIC_ACQUIRE)) != 0) {
		if (until_ns == TIME_NEVER)
			futex_wait(&vm->busy, left);
		else if (time_ns() >= until_ns)
			return false;
		else
			futex_wait_until(&vm->busy, left, until_ns);
	}
	return true;
}

/**
 * vcpus_leave() - Have all vCPU threads leave guest mode and park
 * @vm:		The machine; its last command was VCPU_RUN
 * @until_ns:	As vcpus_wait()
 *
 * Return: false: some aren't parked in time
 */
bool vcpus_leave(struct vm *vm, int64_t until_ns)
{
	__atomic_store_n(&vm->stop, true, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < vm->vcpus_len; i++)
		kvm_vcpu_kick(vm->vcpus[i]->kvm, vm->vcpus[i]->thread);
	vcpus_awake(vm);
	return vcpus_wait(vm, until_ns);
}

/**
 * vcpus_park() - Have all vCPU threads parked, whether the guest runs or not
 * @vm:		The machine; vcpus_unpark() it soon
 */
void vcpus_park(struct vm *vm)
{
	if (vm_running(vm))
		(void)!vcpus_leave(vm, TIME_NEVER);
}

/**
 * vcpus_unpark() - Undo vcpus_park()
 * @vm:		The machine; all vCPUs are parked
 */
void vcpus_unpark(struct vm *vm)
{
	if (!vm_running(vm))
		return;
	__atomic_store_n(&vm->stop, false, __ATOMIC_SEQ_CST);
	vcpus_command(vm, VCPU_RUN);
}

/**
 * vcpus_go_on() - Let all vCPUs run on, whether they had parked already or not
 * @vm:		The machine; its last command was VCPU_RUN
 */
void vcpus_go_on(struct vm *vm)
{
	__atomic_store_n(&vm->stop, false, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&vm->busy, vm->vcpus_len, __ATOMIC_ACQ_REL);
	__atomic_add_fetch(&vm->command, 1, __ATOMIC_RELEASE);
	futex_wake(&vm->command);
}

/* What a thread of this process does, as the kernel says. */
static const char *doing(pid_t tid)
{
	char path[64], text[256] = "";
	const char *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "re");
	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
	}
	end = strrchr(text, ')'); /* of the name, which may hold anything */
	switch (end && end[1] ? end[2] : 0) {
	case 'R': return "waits for a CPU of the host";
	case 'D': return "waits inside the kernel, for a disk or for memory";
	case 't':
	case 'T': return "is held by a debugger or a signal";
	default: return "waits inside the VMM";
	}
}

/**
 * vcpus_late() - Say who hasn't parked yet
 * @vm:		The machine, being stopped
 * @begin_ns:	When that began
 * @e:		Set
 *
 * Return: -ETIMEDOUT
 */
int vcpus_late(struct vm *vm, int64_t begin_ns, struct err *e)
{
	struct vm_vcpu *first = NULL;
	unsigned int late = 0;

	for (unsigned int i = 0; i < vm->vcpus_len; i++) {
		struct vm_vcpu *v = vm->vcpus[i];

		if (__atomic_load_n(&v->done, __ATOMIC_ACQUIRE) == vm->command)
			continue;
		late++;
		first = first ? first : v;
	}
	if (!first) /* it has parked in this moment */
		return err_set(e, ETIMEDOUT, "the vCPUs took longer than %jd ms to stop",
			       (intmax_t)((time_ns() - begin_ns) / NS_PER_MS));
	return err_set(e, ETIMEDOUT,
		       "vCPU %u didn't stop within %jd ms: its thread %d %s (late: %u of %u)",
		       first->index, (intmax_t)((time_ns() - begin_ns) / NS_PER_MS),
		       (int)first->tid, doing(first->tid), late, vm->vcpus_len);
}
