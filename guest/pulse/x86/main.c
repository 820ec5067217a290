/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * entry.S brings the boot vCPU to ring 3 and calls pulse_main(): learn about the machine, build
 * page tables, start the other vCPUs and devices, add up memory; the rest is common to all forms
 * of the witness (core/witness.c).
 */
#include "insn.h"
#include "platform.h"
#include "virtio.h"

#define KEY_CPUS 0x05

struct witness witness;
struct platform platform;
/* Zero: every port is ours. One byte past the limit is read too. First in memory, near the TSS. */
uint8_t io_bitmap[8193] __attribute__((section(".bss.io_bitmap")));

static bool io_step(void)
{
	bool done = blk_step();

	done = balloon_step() || done;
	return net_step() || done;
}

static struct witness_hooks hooks = {
	.mono = kvmclock_read,
	.mono_changes = kvmclock_changes,
	.wall = wall_read,
	.print = serial_send,
	.console = serial_step,
	.letter = serial_poll,
	.exits = exits_measure,
	.sleep = cpu_sleep,
	.end = machine_exit,
};

/* A number no other start has: by RDRAND where the CPU has it, and the clock. */
static uint64_t random_life(void)
{
	uint64_t r = 0;

	if (cpuid(1, 0).ecx & 1u << 30)
		__asm__ volatile("rdrand %0" : "=r"(r) : : "cc");
	return mix64(r, tsc()) | 1;
}

/* The shadow table comes first, so that it lies in memory that no later range begins in. */
static void memory_start(struct witness *w)
{
	uint64_t pages = platform.ram_bytes / PAGE_BYTES;
	uint32_t *shadow;

	if (w->args.fill == FILL_NONE && w->args.working / PAGE_BYTES < pages)
		pages = w->args.working / PAGE_BYTES;
	shadow = early_pages((pages * sizeof(*shadow) + PAGE_BYTES - 1) / PAGE_BYTES);
	for (unsigned int i = 0; i < platform.ram_ranges; i++) {
		uint64_t from = platform.ram[i].base, to = from + platform.ram[i].bytes;

		if (from < early_end())
			from = early_end();
		if (from < to)
			witness_memory_add(w, from, to - from, (void *)from);
	}
	witness_memory_divide(w, shadow);
	w->report->ram_bytes = platform.ram_bytes;
}

static void clocks_start(struct witness *w)
{
	clock_set(&w->clock, timer_frequency(&w->args, &w->report->tsc_source));
	w->report->tsc_hz = w->clock.hz;
	w->report->has_mono = kvmclock_enable(0);
	if (w->report->has_mono)
		w->report->mono_start_ns = kvmclock_read(0) -
					   clock_ns(&w->clock, tsc() - w->report->tsc_start);
}

static void vcpus_start(struct witness *w)
{
	uint16_t told = (uint16_t)w->args.cpus;

	if (!told && platform.fw_cfg)
		fwcfg_read(KEY_CPUS, &told, sizeof(told));
	if (told > PULSE_MAX_CPUS)
		told = PULSE_MAX_CPUS;
	memset(w->cpu, 0, (told ? told : PULSE_MAX_CPUS) * sizeof(*w->cpu));
	w->cpu[0].apic_id = cpu_apic_id();
	w->cpu[0].online = 1;
	w->report->cpus = cpus_start(told);
}

void user_fault(uint64_t vector, uint64_t error, uint64_t rip, uint64_t address)
{
	struct pulse_report *r = (struct pulse_report *)PULSE_REPORT_GPA;

	r->fail_vector = (uint32_t)vector;
	r->fail_error = error;
	r->fail_rip = rip;
	r->fail_address = address;
	r->state = PULSE_FAILED;
	for (;;)
		pause();
}

void pulse_main(uint64_t start_info)
{
	struct witness *w = &witness;

	w->hooks = &hooks;
	args_default(&w->args);
	machine_find(&platform, start_info);
	args_parse(&w->args, platform.cmdline);
	witness_report_start(w, (void *)PULSE_REPORT_GPA);
	memcpy(w->report->cmdline, platform.cmdline, PULSE_CMDLINE - 1);
	w->report->form = platform.form;
	paging_full(&platform);
	clocks_start(w);
	vcpus_start(w);
	w->report->life = random_life();
	if (io_start(w))
		hooks.io = io_step;
	memory_start(w);
	if (w->args.serial)
		serial_start();
	witness_start(w);
	witness_work(w, 0);
}
