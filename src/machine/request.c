/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a device asks, from whatever thread it is on; the request is noted as a bit
 * and the main loop is woken once. The main thread serves the requests in the order of struct
 * request_row below. A request made by a vCPU that is to end what it does (reset, power-off) takes
 * the vCPU out of its loop right after the instruction.
 */
#include "machine/private.h"

#include "base/log.h"

/* What the guest asked for when -no-reboot or -no-shutdown is in force, see struct vm_policy. */
static void end_machine(struct vm *vm, bool by_guest, int code)
{
	vm_stop(vm, RUN_SHUTDOWN);
	vm_tell(vm, VM_SHUTDOWN, by_guest);
	if (vm->c.policy.shutdown == SHUTDOWN_POWEROFF)
		vm_tell(vm, VM_EXIT, code);
}

static void serve_reset(struct vm *vm, int arg)
{
	bool by_guest = arg != 1;

	if (by_guest && vm->c.policy.reboot == REBOOT_SHUTDOWN)
		end_machine(vm, true, 0);
	else
		vm_reset(vm, by_guest);
}

static void serve_poweroff(struct vm *vm, int arg)
{
	end_machine(vm, arg == 0, 0);
}

static void serve_suspend(struct vm *vm, int arg)
{
	vm_suspend(vm);
}

static void serve_hibernate(struct vm *vm, int arg)
{
	vm_tell(vm, VM_HIBERNATED, 0);
	end_machine(vm, true, 0);
}

static void serve_wakeup(struct vm *vm, int arg)
{
	struct err e;

	if (vm->state == RUN_SUSPENDED && (!vm->c.may_wake || vm->c.may_wake(vm->c.opaque, arg)) &&
	    vm_wakeup(vm, (enum wakeup_reason)arg, &e) < 0)
		log_error("wake-up: %s", e.msg);
}

static void serve_panicked(struct vm *vm, int arg)
{
	enum panic_action action = vm->c.policy.panic;

	vm_tell(vm, VM_PANICKED, arg);
	if (action == PANIC_NONE)
		return;
	vm_stop(vm, RUN_GUEST_PANICKED);
	if (action == PANIC_EXIT_FAILURE)
		end_machine(vm, true, 1);
	else if (action == PANIC_SHUTDOWN && vm->c.policy.shutdown == SHUTDOWN_POWEROFF)
		end_machine(vm, true, 0);
}

static void serve_crashloaded(struct vm *vm, int arg)
{
	vm_tell(vm, VM_CRASHLOADED, arg);
}

static void serve_exit(struct vm *vm, int arg)
{
	vm_stop(vm, RUN_SHUTDOWN);
	vm_tell(vm, VM_EXIT, arg);
}

static void serve_watchdog(struct vm *vm, int arg)
{
	enum watchdog_action action = vm->c.policy.watchdog;

	vm_tell(vm, VM_WATCHDOG, (int)action);
	switch (action) {
	case WATCHDOG_RESET: serve_reset(vm, 2); break;
	case WATCHDOG_SHUTDOWN: vm_powerdown(vm); break;
	case WATCHDOG_POWEROFF: end_machine(vm, false, 0); break;
	case WATCHDOG_PAUSE: vm_stop(vm, RUN_WATCHDOG); break;
	case WATCHDOG_INJECT_NMI: vm_nmi(vm); break;
	case WATCHDOG_DEBUG: log_warn("the guest's watchdog expired"); break;
	case WATCHDOG_NONE: break;
	}
}

static void serve_rtc_set(struct vm *vm, int arg)
{
	vm_tell(vm, VM_RTC_SET, 0);
}

static void serve_internal_error(struct vm *vm, int arg)
{
	vm_stop(vm, RUN_INTERNAL_ERROR);
}

/**
 * struct request_row - How a request is served
 * @what:	enum machine_request
 * @hold:	The asking vCPU stops at once
 * @serve:	On the main thread
 */
struct request_row {
	int what;
	bool hold;
	void (*serve)(struct vm *vm, int arg);
};

static const struct request_row rows[] = {
	{MACHINE_EXIT, true, serve_exit},
	{VM_REQUEST_INTERNAL_ERROR, true, serve_internal_error},
	{MACHINE_POWEROFF, true, serve_poweroff},
	{MACHINE_PANICKED, false, serve_panicked},
	{MACHINE_CRASHLOADED, false, serve_crashloaded},
	{MACHINE_WATCHDOG, false, serve_watchdog},
	{MACHINE_RTC_SET, false, serve_rtc_set},
	{MACHINE_HIBERNATE, true, serve_hibernate},
	{MACHINE_SUSPEND, true, serve_suspend},
	{MACHINE_WAKEUP, false, serve_wakeup},
	{MACHINE_RESET, true, serve_reset},
};

static void serve_requests(void *opaque)
{
	struct vm *vm = opaque;
	uint32_t asked = __atomic_exchange_n(&vm->requests, 0, __ATOMIC_SEQ_CST);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (asked >> rows[i].what & 1)
			rows[i].serve(vm, __atomic_load_n(&vm->request_arg[rows[i].what],
							  __ATOMIC_RELAXED));
}

static bool holds(int what)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].what == what)
			return rows[i].hold;
	return false;
}

/**
 * vm_request() - Ask the machine to do what it alone may do
 * @opaque:	struct vm
 * @what:	enum machine_request
 * @arg:	See there
 *
 * Any thread; struct device_env.request. A vCPU that asks for an end or a reset runs no further
 * instruction.
 */
void vm_request(void *opaque, int what, int arg)
{
	struct vm *vm = opaque;
	struct vm_vcpu *v = vcpu_current();

	if (v && holds(what))
		v->hold |= 1U << what;
	__atomic_store_n(&vm->request_arg[what], arg, __ATOMIC_RELAXED);
	if (!__atomic_fetch_or(&vm->requests, 1U << what, __ATOMIC_SEQ_CST))
		loop_post(vm->c.loop, serve_requests, vm);
}
