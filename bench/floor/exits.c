/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest of three instructions in real mode that stores to an address or a
 * port again and again; each KVM_RUN is one exit and its return. With an eventfd on the port the
 * kernel answers, so a run of them ends with a store to another port. On hosts that emulate real
 * mode (pulse.md says which) these figures are the emulator's.
 */
#include "floor/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define GROUP     "Exits"
#define EXITS     200
#define DOORBELLS 200
#define CODE      0x1000
#define PORT      0x10
#define BELL      0x20
#define MMIO_DS   0x8000 /* segment; its base 0x80000 has no memory */

static const uint8_t code_port[] = {0xe6, PORT, 0xeb, 0xfc};                 /* out; again */
static const uint8_t code_mmio[] = {0xa2, 0x00, 0x00, 0xeb, 0xfb};           /* mov %al,0; again */
static const uint8_t code_bell[] = {0xe6, BELL,      0xe2, 0xfc, 0xe6, PORT, /* out, loop; out */
				    0xb9, DOORBELLS, 0x00, 0xeb, 0xf5};      /* cx anew; again */

/**
 * struct tiny - A VM for this
 */
struct tiny {
	int kvm, vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
	size_t run_size;
};

static void tiny_close(struct tiny *g)
{
	if (g->run)
		munmap(g->run, g->run_size);
	if (g->ram)
		munmap(g->ram, 0x10000);
	if (g->vcpu >= 0)
		close(g->vcpu);
	if (g->vm >= 0)
		close(g->vm);
	if (g->kvm >= 0)
		close(g->kvm);
}

static int tiny_memory(struct tiny *g)
{
	struct kvm_userspace_memory_region slot = {.memory_size = 0x10000};
	void *ram = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (ram == MAP_FAILED)
		return -1;
	g->ram = ram;
	slot.userspace_addr = (uintptr_t)ram;
	return ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static int tiny_open(struct tiny *g)
{
	void *run;

	g->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	g->vm = g->kvm < 0 ? -1 : ioctl(g->kvm, KVM_CREATE_VM, 0);
	if (g->vm < 0 || tiny_memory(g) < 0)
		return -1;
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	g->run_size = (size_t)ioctl(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (g->vcpu < 0)
		return -1;
	run = mmap(NULL, g->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (run == MAP_FAILED)
		return -1;
	g->run = run;
	return 0;
}

static int tiny_load(struct tiny *g, const uint8_t *code, size_t len)
{
	struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rcx = DOORBELLS};
	struct kvm_sregs sregs;

	memcpy(g->ram + CODE, code, len);
	if (ioctl(g->vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = sregs.cs.selector = 0;
	sregs.ds.selector = MMIO_DS;
	sregs.ds.base = MMIO_DS << 4;
	if (ioctl(g->vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(g->vcpu, KVM_SET_REGS, &regs);
}

/* Runs until an exit of kind @reason, @times times; microseconds each, negative when it failed. */
static double run_exits(struct tiny *g, uint32_t reason, unsigned int times)
{
	uint64_t start = floor_now();

	for (unsigned int i = 0; i < times; i++) {
		if (ioctl(g->vcpu, KVM_RUN, 0) < 0 || g->run->exit_reason != reason)
			return -1;
	}
	return (double)(floor_now() - start) / 1e3 / times;
}

static void note(struct floor_table *t, const char *name, double us)
{
	if (us < 0)
		floor_missing(t, GROUP, name);
	else
		floor_add(t, GROUP, name, us);
}

static void doorbells(struct floor_table *t, struct tiny *g)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct kvm_ioeventfd bell = {
		.addr = BELL, .len = 1, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_PIO};
	uint64_t rung = 0;
	double us = -1;

	if (fd < 0 || ioctl(g->vm, KVM_IOEVENTFD, &bell) < 0 ||
	    tiny_load(g, code_bell, sizeof(code_bell)) < 0) {
		note(t, "doorbell by eventfd", -1);
	} else {
		us = run_exits(g, KVM_EXIT_IO, 4);
		if (read(fd, &rung, sizeof(rung)) != sizeof(rung) || rung < 3 * DOORBELLS)
			us = -1;
		note(t, "doorbell by eventfd", us < 0 ? us : us / DOORBELLS);
	}
	if (fd >= 0)
		close(fd);
}

/**
 * floor_exits() - One round of what leaving and entering a guest costs
 * @t:		Receives the figures
 */
void floor_exits(struct floor_table *t)
{
	struct tiny g = {.kvm = -1, .vm = -1, .vcpu = -1};

	if (tiny_open(&g) < 0 || tiny_load(&g, code_port, sizeof(code_port)) < 0) {
		floor_missing(t, GROUP, "a VM");
	} else {
		note(t, "first run, to its first exit", run_exits(&g, KVM_EXIT_IO, 1));
		note(t, "port write", run_exits(&g, KVM_EXIT_IO, EXITS));
		if (!tiny_load(&g, code_mmio, sizeof(code_mmio))) {
			run_exits(&g, KVM_EXIT_MMIO, 1);
			note(t, "MMIO write", run_exits(&g, KVM_EXIT_MMIO, EXITS));
		}
		doorbells(t, &g);
	}
	tiny_close(&g);
}
