/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the sections of a vCPU as devices. All of them read and write the one state
 * in struct x86_cpus. Resetting vCPUs is the machine's business, not these devices'.
 */
#include "machine/x86/chips.h"

#include "base/log.h"

#include <errno.h>

static struct chip *chip_of(const struct device *dev)
{
	return CONTAINER_OF(dev, struct chip, dev);
}

static int nothing_to_realize(struct device *dev, struct err *e)
{
	return 0;
}

static int instance_check(const struct device *dev, const void *state, struct err *e)
{
	const struct chip *chip = chip_of(dev);

	if (chip->vcpu >= chip->cpus->len || !chip->cpus->cpu[chip->vcpu].v)
		return err_set(e, EINVAL, "there is no vCPU %u", chip->vcpu);
	return 0;
}

/* Without SMM the next SMI would be nobody's, and the handler's memory is what all may write. */
static int cpu_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct cpu_section *s = state;
	int r = instance_check(dev, state, e);

	if (r == 0 && !chip_of(dev)->cpus->smm && cpu_section_uses_smm(s))
		return err_set(e, ENOTSUP,
			       "the guest uses system management mode, which this machine doesn't "
			       "have: start it with -machine smm=on, on a host whose KVM has it");
	return r;
}

static void cpu_capture(const struct device *dev, void *state)
{
	struct x86_cpus *c = chip_of(dev)->cpus;
	struct cpu_section *s = state;

	cpu_section_from(s, x86_cpus_state(c, chip_of(dev)->vcpu), c->host, c->phys_bits);
	s->offers_tsx_ctrl &= c->model.tsx_ctrl;
	s->offers_tsc_scale &= c->model.tsc_scale;
	s->offers_xfd &= c->model.xfd;
	s->offers_amx &= c->model.amx;
}

static void cpu_apply(struct device *dev, const void *state)
{
	struct x86_cpus *c = chip_of(dev)->cpus;

	cpu_section_to(state, x86_cpus_load(c, chip_of(dev)->vcpu), c->host, c->phys_bits);
}

static void cpu_run(struct device *dev)
{
	if (chip_of(dev)->vcpu == 0)
		x86_cpus_run(chip_of(dev)->cpus);
}

const struct device_class chip_cpu_class = {
	.name = "x86-cpu",
	.help = "registers of a vCPU",
	.bus = "System",
	.size = sizeof(struct chip),
	.continuity = CONTINUITY_STATE,
	.state = &cpu_section_table,
	.section = "cpu",
	.realize = nothing_to_realize,
	.capture = cpu_capture,
	.validate = cpu_validate,
	.apply = cpu_apply,
	.run = cpu_run,
};

#define REQUEST_SMI  0x0040U
#define REQUEST_INIT 0x0400U

static void common_capture(const struct device *dev, void *state)
{
	struct cpu_common_section *s = state;
	const struct kvm_vcpu_events *v =
		&x86_cpus_state(chip_of(dev)->cpus, chip_of(dev)->vcpu)->events;

	s->interrupt_request = (v->smi.pending ? REQUEST_SMI : 0) |
			       (v->smi.latched_init ? REQUEST_INIT : 0);
}

static void common_apply(struct device *dev, const void *state)
{
	const struct cpu_common_section *s = state;
	struct kvm_vcpu_events *v = &x86_cpus_load(chip_of(dev)->cpus, chip_of(dev)->vcpu)->events;

	v->smi.pending = !!(s->interrupt_request & REQUEST_SMI);
	v->smi.latched_init = !!(s->interrupt_request & REQUEST_INIT);
}

const struct device_class chip_cpu_common_class = {
	.name = "x86-cpu-common",
	.help = "requests pending at a vCPU",
	.bus = "System",
	.size = sizeof(struct chip),
	.continuity = CONTINUITY_STATE,
	.state = &cpu_common_section_table,
	.section = "cpu_common",
	.realize = nothing_to_realize,
	.capture = common_capture,
	.validate = instance_check,
	.apply = common_apply,
};

static void apic_capture(const struct device *dev, void *state)
{
	const struct x86_vcpu_state *s = x86_cpus_state(chip_of(dev)->cpus, chip_of(dev)->vcpu);

	apic_section_from(state, &s->lapic, s->sregs.apic_base,
			  guest_clock_now_ns(dev->env->clock));
}

static void apic_apply(struct device *dev, const void *state)
{
	struct x86_cpus *c = chip_of(dev)->cpus;
	struct x86_vcpu_state *s = x86_cpus_load(c, chip_of(dev)->vcpu);
	const struct apic_section *a = state;

	apic_section_to(a, &s->lapic, kvm_vcpu_id(c->cpu[chip_of(dev)->vcpu].v->kvm));
	s->sregs.apic_base = a->apicbase;
	s->sregs.cr8 = a->tpr >> 4;
}

const struct device_class chip_apic_class = {
	.name = "kvm-apic",
	.help = "local APIC in the kernel",
	.bus = "System",
	.size = sizeof(struct chip),
	.continuity = CONTINUITY_STATE,
	.state = &apic_section_table,
	.section = "apic",
	.realize = nothing_to_realize,
	.capture = apic_capture,
	.validate = instance_check,
	.apply = apic_apply,
};

static void tpr_opt_capture(const struct device *dev, void *state)
{
	*(struct tpr_opt_section *)state = CONTAINER_OF(dev, struct chip_tpr_opt, chip.dev)->s;
}

static void tpr_opt_apply(struct device *dev, const void *state)
{
	CONTAINER_OF(dev, struct chip_tpr_opt, chip.dev)->s =
		*(const struct tpr_opt_section *)state;
}

static void tpr_opt_reset(struct device *dev)
{
	CONTAINER_OF(dev, struct chip_tpr_opt, chip.dev)->s = (struct tpr_opt_section){0};
}

const struct device_class chip_tpr_opt_class = {
	.name = "kvmvapic",
	.help = "task priority patching of old guests: carried, never active",
	.bus = "System",
	.size = sizeof(struct chip_tpr_opt),
	.continuity = CONTINUITY_STATE,
	.state = &tpr_opt_section_table,
	.section = "kvm-tpr-opt",
	.realize = nothing_to_realize,
	.reset = tpr_opt_reset,
	.capture = tpr_opt_capture,
	.apply = tpr_opt_apply,
};

static void timer_capture(const struct device *dev, void *state)
{
	*(struct timer_section *)state = (struct timer_section){
		.cpu_ticks_offset = CONTAINER_OF(dev, struct chip_timer, chip.dev)->ticks_offset,
		.cpu_clock_offset = guest_clock_now_ns(dev->env->clock),
	};
}

/* Timers are armed for this and what devices add to it. */
static int timer_validate(const struct device *dev, const void *state, struct err *e)
{
	int64_t now = ((const struct timer_section *)state)->cpu_clock_offset;

	if (now < 0 || now > INT64_MAX / 4)
		return err_set(e, EINVAL, "cpu_clock_offset: %jd ns can't be a guest's time",
			       (intmax_t)now);
	return 0;
}

static void timer_apply(struct device *dev, const void *state)
{
	const struct timer_section *s = state;

	CONTAINER_OF(dev, struct chip_timer, chip.dev)->ticks_offset = s->cpu_ticks_offset;
	guest_clock_set_ns(dev->env->clock, s->cpu_clock_offset);
}

const struct device_class chip_timer_class = {
	.name = "guest-clock",
	.help = "the guest's virtual time",
	.bus = "System",
	.size = sizeof(struct chip_timer),
	.continuity = CONTINUITY_STATE,
	.state = &timer_section_table,
	.section = "timer",
	.realize = nothing_to_realize,
	.capture = timer_capture,
	.validate = timer_validate,
	.apply = timer_apply,
};
