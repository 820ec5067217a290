/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see q35.h. The machine is made in an order in which each step needs only
 * what is before it; destroying goes backwards and copes with a machine that is half made. The
 * chipset is a table: class, and what it needs to know before it appears (parts.c).
 */
#include "machine/q35/q35.h"

#include "base/log.h"
#include "base/owned.h"
#include "kvm/x86/x86.h"
#include "machine/wires.h"

#include <errno.h>
#include <string.h>

static int smm_choose(struct q35 *q, enum q35_smm wanted, struct err *e)
{
	if (wanted == Q35_SMM_ON && !q->host.caps.smm) {
		err_set(e, ENOTSUP,
			"KVM on this host has no system management mode (KVM_CAP_X86_SMM)");
		return err_hint(e, "give -machine smm=off and firmware that doesn't need it "
				   "(OVMF_CODE_4M.fd)");
	}
	q->smm = wanted != Q35_SMM_OFF && q->host.caps.smm;
	if (q->smm)
		memory_use_smm(&q->memory);
	return 0;
}

static int kvm_make(struct q35 *q, const struct q35_config *c, struct err *e)
{
	const struct kvm_vm_options options = {.dirty_ring_entries = c->dirty_ring_entries};
	int r = kvm_host_open(&q->host, e);

	if (r >= 0)
		r = smm_choose(q, c->smm, e);
	return r < 0 ? r : kvm_vm_create(&q->kvm, &q->host, &options, e);
}

static int memory_make(struct q35 *q, const struct q35_config *c, struct err *e)
{
	int r = q35_ram_create(&q->ram, &q->memory, &c->ram, e);

	return r < 0 ? r : slots_attach(&q->slots, &q->memory, q->kvm, e);
}

static int io_make(struct q35 *q, struct err *e)
{
	struct io_doorbell_ops doorbells = wires_doorbells(q->kvm);
	int r = io_space_create(&q->io, &doorbells, e);

	return r < 0 ? r : guest_clock_create(&q->clock, q->loop, e);
}

static bool in_smm(void *opaque)
{
	return vm_in_smm();
}

static void env_fill(struct q35 *q, const struct q35_config *c)
{
	q->env = (struct device_env){
		.memory = &q->memory,
		.io = q->io,
		.clock = q->clock,
		.loop = q->loop,
		.chipset_lock = &q->chipset_lock,
		.vcpus = q->cpus,
		.msi = &wires_msi,
		.msi_opaque = q->kvm,
		.gsi = {.set = wires_gsi, .opaque = q->kvm},
		.io_error = c->io_error,
		.io_error_opaque = c->io_error_opaque,
		.globals = c->globals,
		.globals_opaque = c->opaque,
		.request = vm_request,
		.in_smm = q->smm ? in_smm : NULL,
		.opaque = &q->vm,
	};
}

/* All vCPUs are parked. The first one is last to know: it enters the kernel if there is no
 * firmware. */
static void vcpu_reset(struct vm_vcpu *v, void *opaque)
{
	struct q35 *q = opaque;
	struct err e = {0};
	int r = x86_cpu_reset(q->vcpus, v->index, &e);

	if (r >= 0 && v->index == 0 && q->direct)
		r = q35_boot_direct(q, &e);
	if (r < 0) {
		log_error("reset: %s", e.msg);
		x86_cpus_failed(q->vcpus, &e);
		vm_request(v->vm, MACHINE_EXIT, 1);
	}
}

/* On a vCPU's thread, which can't write before there is room again. */
static void dirty_full(void *opaque)
{
	struct q35 *q = opaque;
	struct err e;

	if (slots_dirty_collect(q->slots, &e) < 0)
		log_error("dirty ring: %s", e.msg);
}

static bool may_wake(void *opaque, int reason)
{
	const struct q35 *q = opaque;

	return lpc_may_wake(q->lpc, (enum wakeup_reason)reason);
}

static int vm_make(struct q35 *q, const struct q35_config *c, struct err *e)
{
	const struct vm_config config = {
		.kvm = q->kvm,
		.memory = &q->memory,
		.io = q->io,
		.clock = q->clock,
		.loop = q->loop,
		.devices = &q->devices,
		.policy = c->policy,
		.reset_vcpu = vcpu_reset,
		.may_wake = may_wake,
		.dirty_full = dirty_full,
		.opaque = q,
	};

	return vm_init(&q->vm, &config, e);
}

static int vcpu_add(struct q35 *q, unsigned int index, struct err *e)
{
	struct vm_vcpu *v;
	int r = vm_vcpu_add(&q->vm, x86_apic_id(&q->cpuid.topology, index), &v, e);

	return r < 0 ? r : x86_cpuid_set(v->kvm, &q->cpuid, e);
}

static int vcpus_make(struct q35 *q, const struct q35_config *c, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; i < c->cpus && r >= 0; i++)
		r = vcpu_add(q, i, e);
	if (r >= 0)
		r = x86_cpus_create(&q->vcpus, &q->vm, q->max_cpus, &q->cpuid, e);
	if (r >= 0)
		q->vcpus->smm = q->smm;
	return r;
}

/* What KVM keeps: vCPUs, interrupt controllers, PIT, clocks. */
static int chips_make(struct q35 *q, struct err *e)
{
	q->chips = (struct x86_chips){&q->env, q->kvm, q->vcpus, &q->devices};
	return x86_chips_add(&q->chips, e);
}

static int make(struct q35 *q, const struct q35_config *c, struct err *e)
{
	int r = kvm_make(q, c, e);

	if (r >= 0)
		r = memory_make(q, c, e);
	if (r >= 0)
		r = io_make(q, e);
	if (r < 0)
		return r;
	env_fill(q, c);
	r = vm_make(q, c, e);
	if (r >= 0)
		r = x86_cpuid_make(&q->cpuid, &q->host, c->cpu, &c->topology, e);
	if (r >= 0)
		r = q35_parts_make(q, c, e);
	if (r >= 0)
		r = vcpus_make(q, c, e);
	if (r >= 0)
		r = chips_make(q, e);
	return r < 0 ? r : q35_boot_prepare(q, c, e);
}

/**
 * q35_create() - Put the machine together
 * @ret:	Set on success only
 * @c:		The configuration
 * @loop:	The main loop; this is its thread
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int q35_create(struct q35 **ret, const struct q35_config *c, struct loop *loop, struct err *e)
{
	struct q35 *q = mem_zalloc(sizeof(*q));
	int r;

	q->loop = loop;
	q->host.fd = -1;
	q->cpus = c->cpus;
	q->max_cpus = c->max_cpus;
	q->hpet = c->hpet;
	q->rtc_slew = c->rtc_slew;
	q->vmport = c->vmport;
	q->serials = c->serials;
	if (c->numa) {
		q->numa = mem_zalloc(sizeof(*q->numa));
		*q->numa = *c->numa;
	}
	memcpy(q->pflash, c->ram.pflash, sizeof(q->pflash));
	q->adopted = c->ram.adopt != NULL;
	list_init(&q->devices);
	pthread_mutex_init(&q->chipset_lock, NULL);
	memory_init(&q->memory);
	r = make(q, c, e);
	if (r < 0) {
		q35_destroy(q);
		return r;
	}
	*ret = q;
	return 0;
}

/**
 * q35_destroy() - Take the machine apart
 * @q:		Stopped; may be half made
 */
void q35_destroy(struct q35 *q)
{
	if (q->vm.c.kvm)
		vm_destroy(&q->vm);
	while (!list_empty(&q->devices)) {
		struct device *dev = list_entry(q->devices.prev, struct device, link);

		list_del(&dev->link);
		device_destroy(dev);
	}
	x86_cpus_destroy(q->vcpus);
	if (q->root)
		pci_bus_destroy(q->root);
	if (q->clock)
		guest_clock_destroy(q->clock);
	if (q->io)
		io_space_destroy(q->io);
	if (q->slots)
		slots_detach(q->slots);
	memory_destroy(&q->memory);
	if (q->kvm)
		kvm_vm_destroy(q->kvm);
	if (q->host.fd >= 0)
		kvm_host_close(&q->host);
	pthread_mutex_destroy(&q->chipset_lock);
	smbios_destroy(&q->smbios);
	free(q->kernel);
	free(q->initrd);
	free(q->append);
	free(q->numa);
	free(q);
}
