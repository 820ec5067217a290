/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_CHIPS_H
#define MACHINE_X86_CHIPS_H

#include "device/device.h"
#include "machine/x86/chips_section.h"
#include "machine/x86/cpu_section.h"
#include "machine/x86/cpus.h"

/*
 * The devices that stand for what KVM keeps: guest clock, vCPUs, local APICs, i8259, IOAPIC, i8254,
 * kvmclock. x86_chips_add() makes all of them; they are in "chips_classes".
 */

/**
 * struct chip - What they begin with
 * @kvm:	The VM
 * @cpus:	Its vCPUs
 * @vcpu:	Index of the vCPU whose section it is; other chips: 0
 */
struct chip {
	struct device dev;
	struct kvm_vm *kvm;
	struct x86_cpus *cpus;
	unsigned int vcpu;
};

enum pit_lost_ticks { PIT_DELAY, PIT_DISCARD };

/**
 * struct chip_pit - i8254
 * @lost_ticks:	Property: enum pit_lost_ticks
 * @stopped:	@s is the state as of the last stop, or loaded; KVM gets it when the guest runs
 */
struct chip_pit {
	struct chip chip;
	struct pit_section s;
	int lost_ticks;
	bool stopped;
};

/**
 * struct chip_kvmclock - The paravirtual clock
 * @clock_ns:	As of the last stop, or loaded
 * @stopped:	KVM gets it when the guest runs
 */
struct chip_kvmclock {
	struct chip chip;
	uint64_t clock_ns;
	bool stopped;
};

/**
 * struct chip_tpr_opt - kvmvapic
 * @s:	What a stream brought, for the next one
 */
struct chip_tpr_opt {
	struct chip chip;
	struct tpr_opt_section s;
};

/**
 * struct chip_timer - The guest clock
 * @ticks_offset: What a stream brought, for the next one
 */
struct chip_timer {
	struct chip chip;
	int64_t ticks_offset;
};

/**
 * struct x86_chips - What they are made for; all borrowed
 * @devices:	The machine's list; they are added at its end, a further vCPU's behind the others'
 */
struct x86_chips {
	const struct device_env *env;
	struct kvm_vm *kvm;
	struct x86_cpus *cpus;
	struct list *devices;
};

extern const struct device_class
	*const chips_classes[]; /* NULL-terminated, for device_classes_add() */
MUST_CHECK int x86_chips_add(const struct x86_chips *c, struct err *e);
/* Those of one vCPU, beside the others'. */
MUST_CHECK int x86_chips_vcpu_add(const struct x86_chips *c, unsigned int index, struct err *e);
void x86_chips_vcpu_remove(const struct x86_chips *c, unsigned int index);

extern const struct device_class chip_timer_class, chip_cpu_common_class, chip_cpu_class,
	chip_apic_class;
extern const struct device_class chip_tpr_opt_class, chip_kvmclock_class;
extern const struct device_class chip_pic_class, chip_ioapic_class, chip_pit_class;

#endif
