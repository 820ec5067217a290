/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NATIVE_PULSE_GUEST_H
#define TESTS_NATIVE_PULSE_GUEST_H

/* The witness guest over kvm, memory and machine alone, with a serial port of the test's. */

#include "base/clock.h"
#include "device/io.h"
#include "device/timer.h"
#include "kvm/x86/cpuid.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/state.h"
#include "machine/vm.h"
#include "machine/x86/boot.h"
#include "machine/x86/chips.h"
#include "machine/x86/cpus.h"
#include "memory/slots.h"
#include "net/net.h"

#include "../../guest/pulse/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* This guest has no network; the device room only asks by name. */
struct net_backend *net_find(const char *id)
{
	return NULL;
}

#define RAM_BYTES (64 * MiB)
#define WAIT_NS   (60 * NS_PER_SEC)

struct bench {
	struct kvm_host host;
	struct kvm_vm *kvm;
	struct memory memory;
	struct slots *slots;
	struct io_space *io;
	struct loop *loop;
	struct guest_clock *clock;
	struct list devices;
	struct vm vm;
	struct io_region serial;
	char console[65536];
	size_t console_len;
	struct device_env env;
	struct x86_cpus *cpus;
	struct err e;
};

static const char *pulse_path(void)
{
	const char *path = getenv("PULSE_ELF");

	return path ? path : "guest/pulse/pulse.elf";
}

static inline uint64_t serial_read(void *opaque, uint64_t offset, unsigned int size)
{
	return offset == 5 ? 0x60 : 0;
}

static inline void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct bench *b = opaque;

	if (offset == 0 && b->console_len < sizeof(b->console) - 1)
		b->console[b->console_len++] = (char)value;
}

static const struct io_ops serial_ops = {serial_read, serial_write, 1, 1};

static inline void ok(struct bench *b, int r)
{
	if (r < 0)
		fail_msg("%s", b->e.msg);
}

/* @from: shares the memory of another guest, as a live upgrade does; NULL: new memory. */
static inline void memory_make(struct bench *b, struct bench *from)
{
	struct ram_block *ram;
	struct memory_map low = {.size = 0xa0000, .enabled = true};
	struct memory_map high = {
		.gpa = 0x100000, .offset = 0x100000, .size = RAM_BYTES - 0x100000, .enabled = true};

	memory_init(&b->memory);
	if (from)
		ok(b, ram_adopt(&b->memory, "pc.ram", RAM_BYTES, NULL,
				dup(ram_find(&from->memory, "pc.ram")->fd), 0, &ram, &b->e));
	else
		ok(b, ram_create(&b->memory, "pc.ram", RAM_BYTES, NULL, &ram, &b->e));
	low.block = high.block = ram;
	ok(b, memory_map_add(&b->memory, &low, NULL, &b->e));
	ok(b, memory_map_add(&b->memory, &high, NULL, &b->e));
	ok(b, slots_attach(&b->slots, &b->memory, b->kvm, &b->e));
}

static inline void vcpus_make(struct bench *b, unsigned int n)
{
	const struct x86_topology topology = {1, 1, n, 1};
	struct x86_cpuid cpuid;
	struct vm_vcpu *v;

	ok(b, x86_cpuid_make(&cpuid, &b->host, "host", &topology, &b->e));
	for (unsigned int i = 0; i < n; i++) {
		ok(b, vm_vcpu_add(&b->vm, x86_apic_id(&topology, i), &v, &b->e));
		ok(b, x86_cpuid_set(v->kvm, &cpuid, &b->e));
	}
	ok(b, x86_cpus_create(&b->cpus, &b->vm, n, &cpuid, &b->e));
	b->env = (struct device_env){
		.memory = &b->memory, .io = b->io, .clock = b->clock, .loop = b->loop};
	ok(b, x86_chips_add(&(struct x86_chips){&b->env, b->kvm, b->cpus, &b->devices}, &b->e));
}

static inline void kernel_load(struct bench *b, const char *cmdline)
{
	struct boot_options boot = {
		.kernel = pulse_path(), .cmdline = cmdline, .layout = x86_layout_q35(RAM_BYTES)};
	struct x86_entry entry;

	ok(b, boot_load(&b->memory, &boot, &entry, &b->e));
	ok(b, x86_vcpu_enter(b->vm.vcpus[0]->kvm, &entry, &b->e));
}

static inline void dirty_full(void *opaque)
{
	struct bench *b = opaque;
	struct err e = {0};

	if (slots_dirty_collect(b->slots, &e) < 0)
		fprintf(stderr, "dirty ring: %s\n", e.msg);
}

static inline void reset_vcpu(struct vm_vcpu *v, void *opaque)
{
	struct bench *b = opaque;

	ok(b, x86_cpu_reset(b->cpus, v->index, &b->e));
}

/* @from: goes on with the memory of another guest; @ring: dirty pages by a ring of so many
 * entries. */
static inline struct bench *bench_make_with(unsigned int vcpus, struct bench *from, uint32_t ring)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	list_init(&b->devices);
	ok(b, kvm_host_open(&b->host, &b->e));
	ok(b, kvm_vm_create(&b->kvm, &b->host, &(struct kvm_vm_options){ring}, &b->e));
	memory_make(b, from);
	ok(b, loop_create(&b->loop, &b->e));
	ok(b, guest_clock_create(&b->clock, b->loop, &b->e));
	ok(b, io_space_create(&b->io, NULL, &b->e));
	b->serial = (struct io_region){.name = "serial",
				       .kind = IO_PORT,
				       .base = 0x3f8,
				       .size = 8,
				       .ops = &serial_ops,
				       .opaque = b,
				       .enabled = true};
	io_region_add(b->io, &b->serial);
	ok(b, vm_init(&b->vm,
		      &(struct vm_config){.kvm = b->kvm,
					  .memory = &b->memory,
					  .io = b->io,
					  .clock = b->clock,
					  .loop = b->loop,
					  .devices = &b->devices,
					  .reset_vcpu = reset_vcpu,
					  .dirty_full = dirty_full,
					  .opaque = b},
		      &b->e));
	vcpus_make(b, vcpus);
	return b;
}

static inline struct bench *bench_make(unsigned int vcpus, struct bench *from)
{
	return bench_make_with(vcpus, from, 0);
}

static inline void bench_destroy(struct bench *b)
{
	vm_destroy(&b->vm);
	x86_cpus_destroy(b->cpus);
	while (!list_empty(&b->devices)) {
		struct device *dev = list_entry(b->devices.next, struct device, link);

		list_del(&dev->link);
		device_destroy(dev);
	}
	io_region_del(&b->serial);
	io_space_destroy(b->io);
	guest_clock_destroy(b->clock);
	loop_destroy(b->loop);
	slots_detach(b->slots);
	kvm_vm_destroy(b->kvm);
	memory_destroy(&b->memory);
	kvm_host_close(&b->host);
	free(b);
}

static inline struct pulse_report *report(struct bench *b)
{
	return memory_ptr(&b->memory, PULSE_REPORT_GPA, sizeof(struct pulse_report), MEMORY_READ);
}

static inline struct pulse_cpu *cpu_report(struct bench *b, unsigned int i)
{
	return memory_ptr(&b->memory, PULSE_REPORT_GPA + 4096 * (1 + i), sizeof(struct pulse_cpu),
			  MEMORY_READ);
}

/* Waits for a word of the guest's to reach a value; the guest writes it at any time. */
static inline bool reaches(const volatile void *word, size_t size, uint64_t value)
{
	for (int64_t end = time_ns() + WAIT_NS; time_ns() < end; usleep(1000)) {
		uint64_t v = size == 4 ? *(const volatile uint32_t *)word
				       : *(const volatile uint64_t *)word;

		if (v >= value)
			return true;
	}
	return false;
}

static inline void pulse_boots(struct bench *b)
{
	struct pulse_report *r = report(b);
	char cmdline[64];

	snprintf(cmdline, sizeof(cmdline), "rate=4M beat=all cpus=%u", b->vm.vcpus_len);
	kernel_load(b, cmdline);
	vm_start(&b->vm);
	if (!reaches(&r->state, 4, PULSE_RUNNING)) {
		b->console[b->console_len] = 0;
		fail_msg("state %u, %u vCPUs up; console: %s", r->state, r->cpus, b->console);
	}
	assert_int_equal(r->state, PULSE_RUNNING);
	assert_int_equal(r->cpus, b->vm.vcpus_len);
}

#endif
