/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the steps of making a VM, by bare ioctls in the order in which a VMM needs
 * them; then each part of a vCPU's state read and written, and the whole of it as the kvm room
 * does both in a hand-over.
 */
#include "floor/floor.h"

#include "base/compiler.h"
#include "kvm/kvm.h"
#include "kvm/x86/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define GROUP    "KVM"
#define RAM_SIZE (1ULL << 30)

/* What is read, and written back as it was. */
static union {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	struct kvm_debugregs debug;
	struct kvm_clock_data clock;
	struct kvm_irqchip irqchip;
	struct kvm_pit_state2 pit;
	uint8_t xsave[4096];
} part;

/**
 * struct part - A part of the state
 * @name:	For the table, read and write
 * @get, @set:	ioctls; @set 0: not written
 * @vm:		Of the VM, not of the vCPU
 */
static const struct part {
	const char *get_name, *set_name;
	unsigned long get, set;
	bool vm;
} parts[] = {
	{"get registers", "set registers", KVM_GET_REGS, KVM_SET_REGS, false},
	{"get system registers", "set system registers", KVM_GET_SREGS, KVM_SET_SREGS, false},
	{"get XSAVE", "set XSAVE", KVM_GET_XSAVE, KVM_SET_XSAVE, false},
	{"get XCRs", "set XCRs", KVM_GET_XCRS, KVM_SET_XCRS, false},
	{"get local APIC", "set local APIC", KVM_GET_LAPIC, KVM_SET_LAPIC, false},
	{"get events", "set events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, false},
	{"get MP state", "set MP state", KVM_GET_MP_STATE, KVM_SET_MP_STATE, false},
	{"get debug registers", "set debug registers", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, false},
	{"get IOAPIC", "set IOAPIC", KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, true},
	{"get PIT", "set PIT", KVM_GET_PIT2, KVM_SET_PIT2, true},
	{"get clock", "set clock", KVM_GET_CLOCK, KVM_SET_CLOCK, true},
};

static int step(struct floor_table *t, const char *name, int fd, unsigned long request, void *arg)
{
	uint64_t start = floor_now();
	int r = ioctl(fd, request, arg);

	if (r < 0)
		floor_missing(t, GROUP, name);
	else
		floor_since(t, GROUP, name, start);
	return r;
}

static void parts_once(struct floor_table *t, int vm, int vcpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const struct part *p = &parts[i];

		memset(&part, 0, sizeof(part));
		if (p->get == KVM_GET_IRQCHIP)
			part.irqchip.chip_id = KVM_IRQCHIP_IOAPIC;
		if (step(t, p->get_name, p->vm ? vm : vcpu, p->get, &part) < 0)
			continue;
		if (p->get == KVM_GET_CLOCK) /* read flags are not all accepted back */
			part.clock.flags = 0;
		step(t, p->set_name, p->vm ? vm : vcpu, p->set, &part);
	}
}

static void slot_once(struct floor_table *t, int vm)
{
	struct kvm_userspace_memory_region slot = {.memory_size = RAM_SIZE};
	int fd = memfd_create("floor", MFD_CLOEXEC);
	void *hva = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, (off_t)RAM_SIZE))
		hva = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (hva == MAP_FAILED) {
		floor_missing(t, GROUP, "1 GiB of memory");
	} else {
		slot.userspace_addr = (uintptr_t)hva;
		step(t, "slot of 1 GiB", vm, KVM_SET_USER_MEMORY_REGION, &slot);
		slot.memory_size = 0;
		step(t, "delete the slot", vm, KVM_SET_USER_MEMORY_REGION, &slot);
		munmap(hva, RAM_SIZE);
	}
	if (fd >= 0)
		close(fd);
}

/* A VM step by step. */
static void steps_once(struct floor_table *t, int kvm)
{
	struct kvm_pit_config pit = {0};
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = {.head.nent = 256};
	int vm = step(t, "create VM", kvm, KVM_CREATE_VM, NULL), vcpu;
	uint64_t start;

	if (vm < 0)
		return;
	step(t, "create interrupt controllers", vm, KVM_CREATE_IRQCHIP, NULL);
	step(t, "create PIT", vm, KVM_CREATE_PIT2, &pit);
	slot_once(t, vm);
	vcpu = step(t, "create vCPU", vm, KVM_CREATE_VCPU, NULL);
	if (vcpu >= 0) {
		if (!step(t, "ask for CPUID", kvm, KVM_GET_SUPPORTED_CPUID, &cpuid))
			step(t, "set CPUID", vcpu, KVM_SET_CPUID2, &cpuid);
		parts_once(t, vm, vcpu);
		close(vcpu);
	}
	start = floor_now();
	close(vm);
	floor_since(t, GROUP, "close VM", start);
}

static int capture_apply(struct floor_table *t, struct kvm_vcpu *c, struct err *e)
{
	static struct x86_msr_list msrs;
	static struct x86_vcpu_state state;
	uint64_t start;

	if (x86_vcpu_setup(c, false, e) < 0 || x86_msr_list_probe(c, &msrs, e) < 0)
		return -1;
	start = floor_now();
	if (x86_vcpu_capture(c, &msrs, &state, e) < 0)
		return -1;
	floor_since(t, GROUP, "capture a vCPU", start);
	start = floor_now();
	if (x86_vcpu_apply(c, &state, NULL, e) < 0)
		return -1;
	floor_since(t, GROUP, "apply a vCPU", start);
	return 0;
}

/* The whole state of a vCPU, by the kvm room. */
static void state_once(struct floor_table *t)
{
	struct kvm_host host;
	struct kvm_vm *vm = NULL;
	struct kvm_vcpu *c = NULL;
	struct err e = {0};

	if (kvm_host_open(&host, &e) < 0) {
		floor_missing(t, GROUP, e.msg);
		return;
	}
	if (kvm_vm_create(&vm, &host, NULL, &e) < 0 || kvm_vcpu_create(&c, vm, 0, &e) < 0 ||
	    capture_apply(t, c, &e) < 0)
		floor_missing(t, GROUP, e.msg);
	if (c)
		kvm_vcpu_destroy(c);
	if (vm)
		kvm_vm_destroy(vm);
	kvm_host_close(&host);
}

/**
 * floor_kvm() - One round of what making a VM and its state cost
 * @t:		Receives the figures
 */
void floor_kvm(struct floor_table *t)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		floor_missing(t, GROUP, "/dev/kvm");
		return;
	}
	steps_once(t, kvm);
	close(kvm);
	state_once(t);
}
