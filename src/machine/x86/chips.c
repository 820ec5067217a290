/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the interrupt controllers are read and written in KVM at capture and apply.
 * The PIT and kvmclock run on inside KVM while the guest is stopped, so their state is taken at the
 * stop and given back when the guest runs; gap.h says where they go on from.
 */
#include "machine/x86/chips.h"

#include "base/clock.h"
#include "base/log.h"
#include "machine/gap.h"

static struct chip *chip_of(const struct device *dev)
{
	return CONTAINER_OF(dev, struct chip, dev);
}

static int nothing_to_realize(struct device *dev, struct err *e)
{
	return 0;
}

/* None of these can be refused for what a guest did; a host that does is broken. Whoever moves the
 * guest asks x86_cpus_capture() or x86_cpus_commit() afterwards. */
static bool failed(const struct device *dev, int r, const struct err *e)
{
	if (r < 0) {
		log_error("%s", e->msg);
		x86_cpus_failed(chip_of(dev)->cpus, e);
	}
	return r < 0;
}

static enum x86_chip pic_chip(const struct device *dev)
{
	return dev->instance ? X86_PIC_SLAVE : X86_PIC_MASTER;
}

static void pic_capture(const struct device *dev, void *state)
{
	struct kvm_irqchip k;
	struct err e;

	if (!failed(dev, x86_chip_get(chip_of(dev)->kvm, pic_chip(dev), &k, &e), &e))
		pic_section_from(state, &k.chip.pic);
}

static void pic_apply(struct device *dev, const void *state)
{
	struct kvm_vm *kvm = chip_of(dev)->kvm;
	struct kvm_irqchip k;
	struct err e;

	if (failed(dev, x86_chip_get(kvm, pic_chip(dev), &k, &e), &e))
		return;
	pic_section_to(state, &k.chip.pic);
	failed(dev, x86_chip_set(kvm, pic_chip(dev), &k, &e), &e);
}

static void pic_reset(struct device *dev)
{
	pic_apply(dev, &(struct pic_section){0});
}

const struct device_class chip_pic_class = {
	.name = "kvm-i8259",
	.help = "interrupt controller i8259 in the kernel",
	.bus = "System",
	.size = sizeof(struct chip),
	.continuity = CONTINUITY_STATE,
	.state = &pic_section_table,
	.section = "i8259",
	.realize = nothing_to_realize,
	.reset = pic_reset,
	.capture = pic_capture,
	.apply = pic_apply,
};

static void ioapic_capture(const struct device *dev, void *state)
{
	struct kvm_irqchip k;
	struct err e;

	if (!failed(dev, x86_chip_get(chip_of(dev)->kvm, X86_IOAPIC, &k, &e), &e))
		ioapic_section_from(state, &k.chip.ioapic);
}

static void ioapic_apply(struct device *dev, const void *state)
{
	struct kvm_vm *kvm = chip_of(dev)->kvm;
	struct kvm_irqchip k;
	struct err e;

	if (failed(dev, x86_chip_get(kvm, X86_IOAPIC, &k, &e), &e))
		return;
	ioapic_section_to(state, &k.chip.ioapic);
	failed(dev, x86_chip_set(kvm, X86_IOAPIC, &k, &e), &e);
}

static void ioapic_reset(struct device *dev)
{
	struct ioapic_section s = {0};

	for (unsigned int i = 0; i < 24; i++)
		s.ioredtbl[i] = 1U << 16; /* masked */
	ioapic_apply(dev, &s);
}

const struct device_class chip_ioapic_class = {
	.name = "kvm-ioapic",
	.help = "IOAPIC in the kernel",
	.bus = "System",
	.size = sizeof(struct chip),
	.continuity = CONTINUITY_STATE,
	.state = &ioapic_section_table,
	.section = "ioapic",
	.realize = nothing_to_realize,
	.reset = ioapic_reset,
	.capture = ioapic_capture,
	.apply = ioapic_apply,
};

static struct chip_pit *pit_of(const struct device *dev)
{
	return CONTAINER_OF(dev, struct chip_pit, chip.dev);
}

/* Guest clock minus the host's monotonic clock, in which KVM counts. */
static int64_t clock_offset(const struct device *dev)
{
	return guest_clock_now_ns(dev->env->clock) - time_ns();
}

static void pit_read(const struct device *dev, struct pit_section *s)
{
	struct kvm_pit_state2 k;
	struct err e;

	if (!failed(dev, x86_pit_get(chip_of(dev)->kvm, &k, &e), &e))
		pit_section_from(s, &k, clock_offset(dev));
}

static void pit_stop(struct device *dev)
{
	struct chip_pit *p = pit_of(dev);

	pit_read(dev, &p->s);
	p->stopped = true;
}

static void pit_run(struct device *dev)
{
	struct chip_pit *p = pit_of(dev);
	struct kvm_pit_state2 k;
	struct err e;

	if (p->stopped) {
		pit_section_to(&p->s, &k, clock_offset(dev));
		failed(dev, x86_pit_set(p->chip.kvm, &k, &e), &e);
	}
	p->stopped = false;
}

static void pit_capture(const struct device *dev, void *state)
{
	const struct chip_pit *p = pit_of(dev);

	if (p->stopped)
		*(struct pit_section *)state = p->s;
	else
		pit_read(dev, state);
}

static void pit_apply(struct device *dev, const void *state)
{
	struct chip_pit *p = pit_of(dev);

	p->s = *(const struct pit_section *)state;
	p->stopped = true;
}

static void pit_reset(struct device *dev)
{
	int64_t now = guest_clock_now_ns(dev->env->clock);
	struct pit_section s = {.next_transition_time = now};

	for (unsigned int i = 0; i < 3; i++)
		s.channels[i] = (struct pit_channel_section){
			.count = 0x10000, .mode = 3, .gate = i != 2, .count_load_time = now};
	pit_apply(dev, &s);
}

/* KVM's own values after creation aren't those of a PC. */
static int pit_realize(struct device *dev, struct err *e)
{
	struct chip_pit *p = pit_of(dev);

	pit_reset(dev);
	return p->lost_ticks == PIT_DELAY ? 0 : x86_pit_reinject(p->chip.kvm, false, e);
}

/* KVM can give a tick that the guest missed later, or not at all. */
static const char *const lost_ticks_names[] = {
	[PIT_DELAY] = "delay", [PIT_DISCARD] = "discard", NULL};

static const struct prop pit_props[] = {
	{.name = "lost_tick_policy",
	 .kind = PROP_ENUM,
	 .offset = offsetof(struct chip_pit, lost_ticks),
	 .def = "delay",
	 .help = "What becomes of ticks that the guest missed",
	 .names = lost_ticks_names},
	PROPS_END,
};

const struct device_class chip_pit_class = {
	.name = "kvm-pit",
	.help = "timer i8254 in the kernel",
	.bus = "System",
	.size = sizeof(struct chip_pit),
	.continuity = CONTINUITY_STATE,
	.state = &pit_section_table,
	.section = "i8254",
	.props = pit_props,
	.realize = pit_realize,
	.reset = pit_reset,
	.capture = pit_capture,
	.apply = pit_apply,
	.stop = pit_stop,
	.run = pit_run,
};

static struct chip_kvmclock *kvmclock_of(const struct device *dev)
{
	return CONTAINER_OF(dev, struct chip_kvmclock, chip.dev);
}

static void kvmclock_stop(struct device *dev)
{
	struct chip_kvmclock *c = kvmclock_of(dev);
	int64_t read_ns = time_ns();
	struct kvm_clock_data k;
	struct err e;

	if (!failed(dev, x86_clock_get(c->chip.kvm, &k, &e), &e))
		c->clock_ns = k.clock - (uint64_t)vm_overrun_ns(c->chip.cpus->vm, read_ns);
	c->stopped = true;
}

/* A guest that stood still is told, so that its watchdogs don't take that for a hang; one whose
 * clocks go on over a short pause wouldn't notice. */
static bool to_be_told(const struct chip_kvmclock *c)
{
	int64_t gap_ns = c->chip.cpus->vm->gap_ns;

	return c->stopped && (!gap_ns || gap_ns >= NS_PER_SEC);
}

static void kvmclock_set(struct chip_kvmclock *c)
{
	const struct vm *vm = c->chip.cpus->vm;
	struct err e;
	int r;

	if (vm->gap_ns)
		r = x86_clock_set_since(c->chip.kvm, c->clock_ns, vm_stopped_wall_ns(vm), &e);
	else
		r = x86_clock_set(c->chip.kvm, c->clock_ns, &e);
	failed(&c->chip.dev, r, &e);
}

static void kvmclock_run(struct device *dev)
{
	struct chip_kvmclock *c = kvmclock_of(dev);
	const struct vm *vm = c->chip.cpus->vm;

	if (c->stopped)
		kvmclock_set(c);
	for (unsigned int i = 0; to_be_told(c) && i < vm->vcpus_len; i++)
		x86_clock_paused(vm->vcpus[i]->kvm);
	c->stopped = false;
}

static void kvmclock_capture(const struct device *dev, void *state)
{
	*(struct kvmclock_section *)state =
		(struct kvmclock_section){.clock = kvmclock_of(dev)->clock_ns, .reliable = true};
}

static void kvmclock_apply(struct device *dev, const void *state)
{
	struct chip_kvmclock *c = kvmclock_of(dev);

	c->clock_ns = ((const struct kvmclock_section *)state)->clock;
	c->stopped = true;
}

const struct device_class chip_kvmclock_class = {
	.name = "kvmclock",
	.help = "paravirtual clock in the kernel",
	.bus = "System",
	.size = sizeof(struct chip_kvmclock),
	.continuity = CONTINUITY_STATE,
	.state = &kvmclock_section_table,
	.section = "kvmclock",
	.realize = nothing_to_realize,
	.capture = kvmclock_capture,
	.apply = kvmclock_apply,
	.stop = kvmclock_stop,
	.run = kvmclock_run,
};

const struct device_class *const chips_classes[] = {
	&chip_timer_class, &chip_cpu_common_class,
	&chip_cpu_class,   &chip_tpr_opt_class,
	&chip_apic_class,  &chip_kvmclock_class,
	&chip_pic_class,   &chip_ioapic_class,
	&chip_pit_class,   NULL,
};

static int chip_add(const struct x86_chips *c, const struct device_class *class, int instance,
		    unsigned int vcpu, struct list *before, struct err *e)
{
	struct device *dev = device_create(class, c->env);
	struct chip *chip = chip_of(dev);
	int r;

	chip->kvm = c->kvm;
	chip->cpus = c->cpus;
	chip->vcpu = vcpu;
	dev->instance = instance;
	r = device_set_globals(dev, e);
	if (r >= 0)
		r = device_realize(dev, e);
	if (r < 0) {
		device_destroy(dev);
		return err_in(e, "%s", class->name);
	}
	list_add_tail(before, &dev->link);
	return 0;
}

static bool is_vcpu_section(const struct device *dev)
{
	return dev->class == &chip_cpu_common_class || dev->class == &chip_cpu_class ||
	       dev->class == &chip_apic_class;
}

/* Those of all vCPUs stand together. */
static struct list *behind_vcpus(const struct x86_chips *c)
{
	struct list *last = c->devices->prev;
	struct device *dev;

	list_for_each (dev, c->devices, link)
		if (is_vcpu_section(dev))
			last = &dev->link;
	return last->next;
}

/**
 * x86_chips_vcpu_add() - Make the devices of a vCPU's sections
 *
 * The registers' instance is the vCPU's index, the local APIC's its APIC id, which leaves numbers
 * out where a core's or socket's count isn't a power of two.
 *
 * @c:		For whom
 * @index:	The vCPU's place
 * @e:		Set on failure; what was added is in the list
 *
 * Return: 0, or a negative errno
 */
int x86_chips_vcpu_add(const struct x86_chips *c, unsigned int index, struct err *e)
{
	static const struct device_class *const classes[] = {&chip_cpu_common_class,
							     &chip_cpu_class, &chip_apic_class};
	int apic_id = (int)kvm_vcpu_id(c->cpus->cpu[index].v->kvm), r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(classes) && r == 0; i++)
		r = chip_add(c, classes[i], classes[i] == &chip_apic_class ? apic_id : (int)index,
			     index, behind_vcpus(c), e);
	return r;
}

/**
 * x86_chips_vcpu_remove() - Take them away
 * @c:		For whom
 * @index:	The vCPU's place
 */
void x86_chips_vcpu_remove(const struct x86_chips *c, unsigned int index)
{
	struct device *dev, *next;

	list_for_each_safe (dev, next, c->devices, link)
		if (is_vcpu_section(dev) && chip_of(dev)->vcpu == index)
			device_destroy(dev);
}

/**
 * x86_chips_add() - Make the devices that stand for what KVM keeps
 * @c:		For whom; the guest clock's comes first, before every device with timers
 * @e:		Set on failure
 *
 * Errors: as device_realize()
 * Return: 0, or a negative errno; what was added is in the list
 */
int x86_chips_add(const struct x86_chips *c, struct err *e)
{
	static const struct {
		const struct device_class *class;
		int instance;
	} behind[] = {{&chip_tpr_opt_class, 0}, {&chip_kvmclock_class, 0}, {&chip_pic_class, 0},
		      {&chip_pic_class, 1},     {&chip_ioapic_class, 0},   {&chip_pit_class, 0}};
	const struct vm *vm = c->cpus->vm;
	int r = chip_add(c, &chip_timer_class, 0, 0, c->devices, e);

	for (unsigned int i = 0; i < vm->vcpus_len && r == 0; i++)
		r = x86_chips_vcpu_add(c, vm->vcpus[i]->index, e);
	for (size_t i = 0; i < ARRAY_SIZE(behind) && r == 0; i++)
		r = chip_add(c, behind[i].class, behind[i].instance, 0, c->devices, e);
	return r;
}
