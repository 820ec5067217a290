/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The witness guest boots over kvm, memory and machine alone, with a serial port of this test's: 1,
 * 2 and 8 vCPUs. It is stopped and run again, and its own report says that it beats, and that none
 * of its memory changed.
 */
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
#define WAIT_NS   (20 * NS_PER_SEC)

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

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned int size)
{
	return offset == 5 ? 0x60 : 0;
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct bench *b = opaque;

	if (offset == 0 && b->console_len < sizeof(b->console) - 1)
		b->console[b->console_len++] = (char)value;
}

static const struct io_ops serial_ops = {serial_read, serial_write, 1, 1};

static void ok(struct bench *b, int r)
{
	if (r < 0)
		fail_msg("%s", b->e.msg);
}

/* @from: shares the memory of another guest, as a live upgrade does; NULL: new memory. */
static void memory_make(struct bench *b, struct bench *from)
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

static void vcpus_make(struct bench *b, unsigned int n)
{
	struct x86_cpu_options options = {
		.topology = {1, 1, n, 1}, .migratable = true, .pmu = true};
	struct x86_cpuid cpuid;
	struct vm_vcpu *v;

	ok(b, x86_cpuid_host(&cpuid, &b->host, &options, &b->e));
	for (unsigned int i = 0; i < n; i++) {
		ok(b, vm_vcpu_add(&b->vm, x86_apic_id(&options.topology, i), &v, &b->e));
		ok(b, x86_cpuid_set(v->kvm, &cpuid, &b->e));
	}
	ok(b, x86_cpus_create(&b->cpus, &b->vm, &cpuid, &b->e));
	b->env = (struct device_env){
		.memory = &b->memory, .io = b->io, .clock = b->clock, .loop = b->loop};
	ok(b, x86_chips_add(&(struct x86_chips){&b->env, b->kvm, b->cpus, &b->devices}, &b->e));
}

static void kernel_load(struct bench *b, const char *cmdline)
{
	struct boot_options boot = {
		.kernel = pulse_path(), .cmdline = cmdline, .layout = x86_layout_q35(RAM_BYTES)};
	struct x86_entry entry;

	ok(b, boot_load(&b->memory, &boot, &entry, &b->e));
	ok(b, x86_vcpu_enter(b->vm.vcpus[0]->kvm, &entry, &b->e));
}

static void reset_vcpu(struct vm_vcpu *v, void *opaque)
{
	struct bench *b = opaque;

	ok(b, x86_cpu_reset(b->cpus, v->index, &b->e));
}

static struct bench *bench_make(unsigned int vcpus, struct bench *from)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	list_init(&b->devices);
	ok(b, kvm_host_open(&b->host, &b->e));
	ok(b, kvm_vm_create(&b->kvm, &b->host, NULL, &b->e));
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
					  .opaque = b},
		      &b->e));
	vcpus_make(b, vcpus);
	return b;
}

static void bench_destroy(struct bench *b)
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

static struct pulse_report *report(struct bench *b)
{
	return memory_ptr(&b->memory, PULSE_REPORT_GPA, sizeof(struct pulse_report), MEMORY_READ);
}

static struct pulse_cpu *cpu_report(struct bench *b, unsigned int i)
{
	return memory_ptr(&b->memory, PULSE_REPORT_GPA + 4096 * (1 + i), sizeof(struct pulse_cpu),
			  MEMORY_READ);
}

/* Waits for a word of the guest's to reach a value; the guest writes it at any time. */
static bool reaches(const volatile void *word, size_t size, uint64_t value)
{
	for (int64_t end = time_ns() + WAIT_NS; time_ns() < end; usleep(1000)) {
		uint64_t v = size == 4 ? *(const volatile uint32_t *)word
				       : *(const volatile uint64_t *)word;

		if (v >= value)
			return true;
	}
	return false;
}

static void pulse_boots(struct bench *b)
{
	struct pulse_report *r = report(b);

	kernel_load(b, "rate=4M beat=all");
	vm_start(&b->vm);
	if (!reaches(&r->state, 4, PULSE_RUNNING)) {
		b->console[b->console_len] = 0;
		fail_msg("state %u, %u vCPUs up; console: %s", r->state, r->cpus, b->console);
	}
	assert_int_equal(r->state, PULSE_RUNNING);
	assert_int_equal(r->cpus, b->vm.vcpus_len);
}

static void boots(unsigned int vcpus)
{
	struct bench *b = bench_make(vcpus, NULL);
	struct pulse_report *r = report(b);
	uint64_t beats;

	pulse_boots(b);
	for (int i = 0; i < 20; i++) {
		vm_stop(&b->vm, RUN_PAUSED);
		beats = cpu_report(b, vcpus - 1)->beats;
		usleep(1000);
		assert_int_equal(cpu_report(b, vcpus - 1)->beats, beats);
		vm_start(&b->vm);
		assert_true(reaches(&cpu_report(b, vcpus - 1)->beats, 8, beats + 1));
	}
	vm_stop(&b->vm, RUN_PAUSED);
	print_message("%u vCPUs: stopped in %lld us\n", vcpus, (long long)b->vm.stop_ns / 1000);
	assert_int_equal(r->faults, 0);
	assert_int_equal(r->state, PULSE_RUNNING);
	bench_destroy(b);
}

/* A device's section goes through its wire form, as from one host to another. */
static void section_move(struct bench *to, const struct device *dev, struct device *peer)
{
	const struct device_class *c = dev->class;
	void *state = calloc(1, c->state->size), *scratch = calloc(1, c->state->size);
	struct state_writer w = {0};
	struct state_reader r;

	assert_ptr_equal(c, peer->class);
	c->capture(dev, state);
	state_save(c->state, state, &w);
	c->capture(peer, scratch);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	ok(to, state_load(c->state, scratch, c->state->version, &r, &to->e));
	assert_int_equal(r.at, w.len);
	if (c->validate)
		ok(to, c->validate(peer, scratch, &to->e));
	c->apply(peer, scratch);
	state_writer_destroy(&w);
	free(state);
	free(scratch);
}

static void sections_move(struct bench *from, struct bench *to)
{
	struct list *peer = to->devices.next;
	struct device *dev;

	list_for_each (dev, &from->devices, link) {
		section_move(to, dev, list_entry(peer, struct device, link));
		peer = peer->next;
	}
}

/* The guest goes on in a VM of its own that shares nothing with the old one but the file behind its RAM. */
static void moves_to_another_vm(unsigned int vcpus)
{
	struct bench *from = bench_make(vcpus, NULL), *to = bench_make(vcpus, from);
	struct pulse_report *r = report(to);
	int64_t t[4];
	uint64_t beats;

	pulse_boots(from);
	vm_stop(&from->vm, RUN_POSTMIGRATE);
	t[0] = time_ns();
	ok(from, x86_cpus_capture(from->cpus, &from->e));
	t[1] = time_ns();
	sections_move(from, to);
	t[2] = time_ns();
	ok(to, x86_cpus_commit(to->cpus, &to->e));
	t[3] = time_ns();
	beats = cpu_report(to, vcpus - 1)->beats;
	vm_start(&to->vm);
	assert_true(reaches(&cpu_report(to, vcpus - 1)->beats, 8, beats + 100000));
	vm_stop(&to->vm, RUN_PAUSED);
	print_message(
		"%u vCPUs, us: stop %lld, capture %lld, sections out and in %lld, commit %lld\n",
		vcpus, (long long)from->vm.stop_ns / 1000, (long long)(t[1] - t[0]) / 1000,
		(long long)(t[2] - t[1]) / 1000, (long long)(t[3] - t[2]) / 1000);
	assert_int_equal(r->state, PULSE_RUNNING);
	assert_int_equal(r->faults, 0);
	for (unsigned int i = 0; i < vcpus; i++)
		assert_int_equal(cpu_report(to, i)->tsc_back, 0);
	assert_int_equal(r->wall_back, 0);
	bench_destroy(to);
	bench_destroy(from);
}

/* After a reset nothing of the old life is left: not the local APIC's mode, not kvmclock's page. */
static void boots_again_after_a_reset(void **state)
{
	struct bench *b = bench_make(2, NULL);
	struct pulse_report *r = report(b);
	uint64_t life;

	pulse_boots(b);
	life = r->life;
	vm_stop(&b->vm, RUN_PAUSED);
	vm_reset(&b->vm, false);
	memset(r, 0, sizeof(*r));
	pulse_boots(b);
	assert_int_not_equal(r->life, life);
	vm_stop(&b->vm, RUN_PAUSED);
	bench_destroy(b);
}

static void moves_with_1_vcpu(void **state)
{
	moves_to_another_vm(1);
}

static void moves_with_8_vcpus(void **state)
{
	moves_to_another_vm(8);
}

static void boots_with_1_vcpu(void **state)
{
	boots(1);
}

static void boots_with_2_vcpus(void **state)
{
	boots(2);
}

static void boots_with_8_vcpus(void **state)
{
	boots(8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boots_with_1_vcpu),  cmocka_unit_test(boots_with_2_vcpus),
		cmocka_unit_test(boots_with_8_vcpus), cmocka_unit_test(boots_again_after_a_reset),
		cmocka_unit_test(moves_with_1_vcpu),  cmocka_unit_test(moves_with_8_vcpus),
	};

	if (access("/dev/kvm", R_OK | W_OK) < 0 || access(pulse_path(), R_OK) < 0) {
		fprintf(stderr, "no /dev/kvm or no %s\n", pulse_path());
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
