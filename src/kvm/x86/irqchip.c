/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: KVM keeps these whole and gives and takes them whole, while no vCPU runs.
 */
#include "kvm/x86/irqchip.h"
#include "base/clock.h"
#include "kvm/private.h"

#include <inttypes.h>
#include <sys/ioctl.h>

static const char *const names[] = {"i8259 (master)", "i8259 (slave)", "IOAPIC"};

/**
 * x86_chip_get() - Read an interrupt controller
 * @vm:		A VM, stopped
 * @chip:	Which
 * @ret:	Filled in
 * @e:		Set on failure
 *
 * Errors: as KVM_GET_IRQCHIP
 * Return: 0, or a negative errno
 */
int x86_chip_get(struct kvm_vm *vm, enum x86_chip chip, struct kvm_irqchip *ret, struct err *e)
{
	*ret = (struct kvm_irqchip){.chip_id = (uint32_t)chip};
	if (ioctl(vm->fd, KVM_GET_IRQCHIP, ret) < 0)
		return err_sys(e, "KVM_GET_IRQCHIP of the %s", names[chip]);
	return 0;
}

/**
 * x86_chip_set() - Write an interrupt controller
 * @vm:		A VM, stopped
 * @chip:	Which
 * @state:	As x86_chip_get() gave it
 * @e:		Set on failure
 *
 * Errors: as KVM_SET_IRQCHIP
 * Return: 0, or a negative errno
 */
int x86_chip_set(struct kvm_vm *vm, enum x86_chip chip, const struct kvm_irqchip *state,
		 struct err *e)
{
	struct kvm_irqchip arg = *state;

	arg.chip_id = (uint32_t)chip;
	if (ioctl(vm->fd, KVM_SET_IRQCHIP, &arg) < 0)
		return err_sys(e, "KVM_SET_IRQCHIP of the %s", names[chip]);
	return 0;
}

/**
 * x86_pit_get() - Read the timer i8254
 * @vm:		A VM, stopped
 * @ret:	Filled in; load times are in the host's monotonic ns
 * @e:		Set on failure
 *
 * Errors: as KVM_GET_PIT2
 * Return: 0, or a negative errno
 */
int x86_pit_get(struct kvm_vm *vm, struct kvm_pit_state2 *ret, struct err *e)
{
	if (ioctl(vm->fd, KVM_GET_PIT2, ret) < 0)
		return err_sys(e, "KVM_GET_PIT2");
	return 0;
}

/**
 * x86_pit_set() - Write the timer i8254
 * @vm:		A VM, stopped
 * @state:	As x86_pit_get() gave it
 * @e:		Set on failure
 *
 * Errors: as KVM_SET_PIT2
 * Return: 0, or a negative errno
 */
int x86_pit_set(struct kvm_vm *vm, const struct kvm_pit_state2 *state, struct err *e)
{
	struct kvm_pit_state2 arg = *state;

	if (ioctl(vm->fd, KVM_SET_PIT2, &arg) < 0)
		return err_sys(e, "KVM_SET_PIT2");
	return 0;
}

/**
 * x86_pit_reinject() - Decide what becomes of ticks that the guest missed
 * @vm:		A VM
 * @on:		They come later
 * @e:		Set on failure
 *
 * Errors: as KVM_REINJECT_CONTROL
 * Return: 0, or a negative errno
 */
int x86_pit_reinject(struct kvm_vm *vm, bool on, struct err *e)
{
	struct kvm_reinject_control control = {.pit_reinject = on};

	if (ioctl(vm->fd, KVM_REINJECT_CONTROL, &control) < 0)
		return err_sys(e, "KVM_REINJECT_CONTROL");
	return 0;
}

/**
 * x86_clock_get() - Read the VM's kvmclock
 * @vm:		A VM
 * @ret:	Filled in
 * @e:		Set on failure
 *
 * Errors: as KVM_GET_CLOCK
 * Return: 0, or a negative errno
 */
int x86_clock_get(struct kvm_vm *vm, struct kvm_clock_data *ret, struct err *e)
{
	*ret = (struct kvm_clock_data){0};
	if (ioctl(vm->fd, KVM_GET_CLOCK, ret) < 0)
		return err_sys(e, "KVM_GET_CLOCK");
	return 0;
}

/**
 * x86_clock_set() - Let the VM's kvmclock go on from a value
 * @vm:		A VM, stopped
 * @clock_ns:	The value
 * @e:		Set on failure
 *
 * Errors: as KVM_SET_CLOCK
 * Return: 0, or a negative errno
 */
int x86_clock_set(struct kvm_vm *vm, uint64_t clock_ns, struct err *e)
{
	struct kvm_clock_data arg = {.clock = clock_ns};

	if (ioctl(vm->fd, KVM_SET_CLOCK, &arg) < 0)
		return err_sys(e, "KVM_SET_CLOCK to %" PRIu64 " ns", clock_ns);
	return 0;
}

/**
 * x86_clock_set_since() - Let the VM's kvmclock go on as if it had run since a moment
 * @vm:		A VM, stopped
 * @clock_ns:	Its value at that moment
 * @wall_ns:	The moment, by the host's wall clock as it goes now
 * @e:		Set on failure
 *
 * The kernel adds what has passed, so that it costs no accuracy to be kept from the CPU meanwhile;
 * Linux before 5.16 can't.
 *
 * Errors: as KVM_SET_CLOCK
 * Source: Documentation/virt/kvm/api.rst, KVM_SET_CLOCK
 * Return: 0, or a negative errno
 */
int x86_clock_set_since(struct kvm_vm *vm, uint64_t clock_ns, int64_t wall_ns, struct err *e)
{
	struct kvm_clock_data arg = {
		.clock = clock_ns, .realtime = (uint64_t)wall_ns, .flags = KVM_CLOCK_REALTIME};

	if (!vm->host->caps.kvmclock_realtime)
		return x86_clock_set(vm, clock_ns + (uint64_t)(time_wall_ns() - wall_ns), e);
	if (ioctl(vm->fd, KVM_SET_CLOCK, &arg) < 0)
		return err_sys(e, "KVM_SET_CLOCK to %" PRIu64 " ns at a time", clock_ns);
	return 0;
}

/**
 * x86_clock_paused() - Tell a guest with kvmclock that it stood still
 * @c:		The vCPU
 */
void x86_clock_paused(struct kvm_vcpu *c)
{
	ioctl(kvm_vcpu_fd(c), KVM_KVMCLOCK_CTRL, 0); /* EINVAL: the guest doesn't use it */
}
