/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a vCPU beside those of the start is a device of the user's,
 * MODEL-x86_64-cpu, in one of the places that -smp maxcpus= keeps free. Making it makes the vCPU,
 * with the sections that hold its state, and shows it in the registers of ACPI; destroying it takes
 * all that away again. The device itself has no state: what the guest can see is in those sections
 * and in the LPC bridge's.
 *
 * A place is named by socket, die, core and thread, or by the APIC id, as on QEMU.
 */
#include "machine/q35/q35.h"

#include "base/owned.h"

#include <errno.h>

#define FW_CFG_LOCK(q) ((q)->fw_cfg->dev.lock)

/**
 * struct vcpu - A vCPU of the user's
 * @socket, @die, @core, @thread, @apic: Properties: its place; -1: not given
 * @node:	Property: NUMA node, which the machine has given to the place; -1: not given
 * @place:	Its place
 */
struct vcpu {
	struct device dev;
	int32_t socket, die, core, thread, apic, node;
	unsigned int place;
};

#define ID(n, member, h)                                            \
	{                                                           \
		n, PROP_I32, offsetof(struct vcpu, member), "-1", h \
	}

static const struct prop vcpu_props[] = {
	ID("socket-id", socket, "socket"),
	ID("die-id", die, "die in the socket"),
	ID("core-id", core, "core in the die"),
	ID("thread-id", thread, "thread in the core"),
	ID("apic-id", apic, "the same as one number"),
	ID("node-id", node, "NUMA node that the place has"),
	PROPS_END,
};

static struct vcpu *vcpu_of(const struct device *dev)
{
	return CONTAINER_OF((struct device *)(uintptr_t)dev, struct vcpu, dev);
}

static struct q35 *machine_of(const struct device *dev)
{
	return CONTAINER_OF((struct device_env *)(uintptr_t)dev->env, struct q35, env);
}

/**
 * q35_vcpus_count() - Tell firmware how many vCPUs there are
 * @q:		The machine; main thread
 */
void q35_vcpus_count(struct q35 *q)
{
	unsigned int n = q->vm.vcpus_len;

	pthread_mutex_lock(FW_CFG_LOCK(q));
	fw_cfg_add_u16(q->fw_cfg, FW_CFG_NB_CPUS, (uint16_t)n);
	pthread_mutex_unlock(FW_CFG_LOCK(q));
	pthread_mutex_lock(q->rtc->dev.lock);
	rtc_set_cmos(q->rtc, 0x5f, (uint8_t)(n - 1));
	pthread_mutex_unlock(q->rtc->dev.lock);
}

static int id_check(const char *name, int32_t *id, unsigned int len, struct err *e)
{
	if (*id < 0 && len == 1)
		*id = 0;
	if (*id < 0)
		return err_set(e, EINVAL,
			       "%s is not set (query-hotpluggable-cpus lists the places)", name);
	if ((unsigned int)*id >= len)
		return err_set(e, EINVAL, "%s: %d must be in range 0:%u", name, *id, len - 1);
	return 0;
}

static int place_by_ids(const struct q35 *q, struct vcpu *v, struct err *e)
{
	const struct x86_topology *t = &q->cpuid.topology;
	unsigned int sockets = DIV_ROUND_UP(q->max_cpus, t->dies * t->cores * t->threads);

	if (id_check("socket-id", &v->socket, sockets, e) < 0 ||
	    id_check("die-id", &v->die, t->dies, e) < 0 ||
	    id_check("core-id", &v->core, t->cores, e) < 0 ||
	    id_check("thread-id", &v->thread, t->threads, e) < 0)
		return -e->code;
	v->place = (((unsigned int)v->socket * t->dies + (unsigned int)v->die) * t->cores +
		    (unsigned int)v->core) *
			   t->threads +
		   (unsigned int)v->thread;
	return 0;
}

static int place_by_apic(const struct q35 *q, struct vcpu *v, struct err *e)
{
	for (unsigned int i = 0; i < q->max_cpus; i++) {
		if (x86_apic_id(&q->cpuid.topology, i) != (unsigned int)v->apic)
			continue;
		v->place = i;
		return 0;
	}
	return err_set(e, EINVAL, "apic-id: no place of this machine has %d", v->apic);
}

static int id_fill(const char *name, int32_t *id, unsigned int value, struct err *e)
{
	if (*id >= 0 && (unsigned int)*id != value)
		return err_set(e, EINVAL, "%s: %d isn't where apic-id says, which is %u", name, *id,
			       value);
	*id = (int32_t)value;
	return 0;
}

/* All names of the place, for who asks for them. */
static int ids_fill(const struct x86_topology *t, struct vcpu *v, struct err *e)
{
	struct x86_place p = x86_place_of(t, v->place);
	int r = id_fill("socket-id", &v->socket, p.socket, e);

	r = r ? r : id_fill("die-id", &v->die, p.die, e);
	r = r ? r : id_fill("core-id", &v->core, p.core, e);
	r = r ? r : id_fill("thread-id", &v->thread, p.thread, e);
	v->apic = (int32_t)x86_apic_id(t, v->place);
	return r;
}

static int place_find(const struct q35 *q, struct vcpu *v, struct err *e)
{
	int r = v->apic >= 0 ? place_by_apic(q, v, e) : place_by_ids(q, v, e);

	r = r ? r : ids_fill(&q->cpuid.topology, v, e);
	if (r < 0)
		return r;
	if (v->node >= 0 && v->node != (q->numa ? q->numa->vcpus[v->place] : 0))
		return err_set(e, EINVAL, "node-id: the vCPU's NUMA node isn't %d%s", v->node,
			       q->numa ? ", query-hotpluggable-cpus says which" : "");
	if (q->vcpus->cpu[v->place].v)
		return err_set(e, EEXIST, "there is a vCPU %u already, with APIC id %u", v->place,
			       (unsigned int)v->apic);
	return 0;
}

/* One that was here before has its CPUID, which KVM doesn't let change. */
static int registers_fill(struct q35 *q, struct vm_vcpu *vcpu, struct err *e)
{
	int r = x86_cpu_known(q->vcpus, vcpu->index) ? 0 : x86_cpuid_set(vcpu->kvm, &q->cpuid, e);

	return r < 0 ? r : x86_cpu_add(q->vcpus, vcpu, e);
}

static int sections_make(struct q35 *q, struct vm_vcpu *vcpu, struct err *e)
{
	int r = x86_chips_vcpu_add(&q->chips, vcpu->index, e);

	return r < 0 ? r : vm_vcpu_begin(vcpu, e);
}

static int vcpu_make(struct q35 *q, unsigned int place, struct err *e)
{
	struct vm_vcpu *vcpu;
	int r = vm_vcpu_create(&q->vm, x86_apic_id(&q->cpuid.topology, place), place, &vcpu, e);

	if (r < 0)
		return r;
	r = registers_fill(q, vcpu, e);
	if (r >= 0)
		r = sections_make(q, vcpu, e);
	if (r < 0) {
		x86_chips_vcpu_remove(&q->chips, place);
		x86_cpu_remove(q->vcpus, place);
		vm_vcpu_discard(vcpu);
	}
	return r;
}

static int vcpu_realize(struct device *dev, struct err *e)
{
	struct q35 *q = machine_of(dev);
	struct vcpu *v = vcpu_of(dev);
	int r = place_find(q, v, e);

	if (r >= 0)
		r = vcpu_make(q, v->place, e);
	if (r < 0)
		return r;
	lpc_cpu_plugged(q->lpc, v->place, dev);
	q35_vcpus_count(q);
	return 0;
}

static void vcpu_unrealize(struct device *dev)
{
	struct q35 *q = machine_of(dev);
	unsigned int place = vcpu_of(dev)->place;
	struct vm_vcpu *vcpu = q->vcpus->cpu[place].v;

	if (!q->vm.vcpus_len)
		return; /* the machine ends, and all vCPUs have gone */
	lpc_cpu_unplugged(q->lpc, place);
	x86_chips_vcpu_remove(&q->chips, place);
	x86_cpu_remove(q->vcpus, place);
	vm_vcpu_remove(vcpu);
	q35_vcpus_count(q);
}

/**
 * q35_vcpu_place() - Where a vCPU is
 * @dev:	Of vcpu_class, realized
 *
 * Return: 0, 1, ... of query-hotpluggable-cpus
 */
unsigned int q35_vcpu_place(const struct device *dev)
{
	return vcpu_of(dev)->place;
}

/**
 * q35_vcpu_device() - The device that stands for a vCPU
 * @q:		The machine; main thread
 * @place:	Of the vCPU
 *
 * Return: borrowed; NULL: the vCPU has been there from the start, or isn't there
 */
struct device *q35_vcpu_device(const struct q35 *q, unsigned int place)
{
	struct device *dev;

	list_for_each (dev, &q->devices, link)
		if (dev->class == &vcpu_class && q35_vcpu_place(dev) == place)
			return dev;
	return NULL;
}

const struct device_class vcpu_class = {
	.name = "x86_64-cpu",
	.help = "a vCPU in a place that maxcpus= keeps free; as MODEL-x86_64-cpu",
	.bus = "System",
	.size = sizeof(struct vcpu),
	.user = true,
	.hotplug = true,
	.family = true,
	.continuity = CONTINUITY_STATELESS,
	.why = "registers and local APIC are sections of their own",
	.props = vcpu_props,
	.realize = vcpu_realize,
	.unrealize = vcpu_unrealize,
};
