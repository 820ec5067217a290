/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * entry.S brings the boot vCPU to ring 3 and calls pulse_main(): learn about the machine, build
 * page tables, start the other vCPUs, divide memory among the workers, then loop: beat, work, beat,
 * control. The boot vCPU beats and controls; it writes memory only when it is alone. The others
 * work, and beat too with beat=all.
 */
#include "insn.h"
#include "platform.h"
#include "virtio.h"

#define KEY_CPUS       0x05
#define BEATS_PER_STEP 16      /* readings between two looks at what else is to do */
#define SLEEP_MIN_NS   50000   /* not worth a halt */
#define SLEEP_IO_NS    100000  /* devices are polled */
#define SLEEP_MAX_NS   5000000 /* requests must be seen */

struct witness witness;
uint8_t io_bitmap[8193]; /* all zero: every port is ours; one byte past the limit is read too */

static void report_start(struct witness *w)
{
	w->report = (struct pulse_report *)PULSE_REPORT_GPA;
	w->cpu = (struct pulse_cpu *)(w->report + 1);
	memset(w->report, 0, sizeof(*w->report));
	w->report->version = PULSE_VERSION;
	w->report->header_size = sizeof(*w->report);
	w->report->cpu_size = sizeof(*w->cpu);
	w->report->state = PULSE_BOOTING;
	w->report->tsc_start = tsc();
	w->report->magic = PULSE_MAGIC;
}

/* A number no other start has: by RDRAND where the CPU has it, and the clock. */
static uint64_t random_life(void)
{
	uint64_t r = 0;

	if (cpuid(1, 0).ecx & 1u << 30)
		__asm__ volatile("rdrand %0" : "=r"(r) : : "cc");
	return mix64(r, tsc()) | 1;
}

static void add_range(struct memory *mem, uint64_t from, uint64_t to)
{
	from = (from + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	to &= ~(uint64_t)(PAGE_BYTES - 1);
	if (from >= to || mem->ranges == MEMORY_RANGES)
		return;
	mem->range[mem->ranges++] = (struct memory_range){
		.gpa = from,
		.pages = (to - from) / PAGE_BYTES,
		.at = (uint64_t *)from,
	};
	mem->owned += (to - from) / PAGE_BYTES;
}

static void divide_memory(struct witness *w)
{
	struct memory *mem = &w->memory;
	const struct platform *p = &w->platform;
	uint64_t pages = p->ram_bytes / PAGE_BYTES, shadow_pages;

	if (w->args.fill == FILL_NONE && w->args.working / PAGE_BYTES < pages)
		pages = w->args.working / PAGE_BYTES;
	shadow_pages = (pages * sizeof(*mem->shadow) + PAGE_BYTES - 1) / PAGE_BYTES;
	mem->shadow = early_pages(shadow_pages);
	for (unsigned int i = 0; i < p->ram_ranges; i++) {
		uint64_t from = p->ram[i].base, to = from + p->ram[i].bytes;

		add_range(mem, from < early_end() ? early_end() : from, to);
	}
	if (w->args.working / PAGE_BYTES < mem->owned)
		mem->working = w->args.working / PAGE_BYTES;
	else
		mem->working = mem->owned;
	mem->life = w->report->life;
	w->report->ram_bytes = p->ram_bytes;
	w->report->pages_owned = w->args.fill == FILL_NONE ? mem->working : mem->owned;
	w->report->pages_working = mem->working;
	w->report->pattern = (uint32_t)w->args.pattern;
	w->report->content = (uint32_t)w->args.content;
	w->report->first_gpa = mem->range[0].gpa;
	w->report->shadow_gpa = (uintptr_t)mem->shadow;
}

static void clocks_start(struct witness *w)
{
	clock_set(&w->clock, timer_frequency(&w->args, &w->report->tsc_source));
	w->report->tsc_hz = w->clock.hz;
	w->report->has_mono = kvmclock_enable(0);
	w->report->gap_threshold_ns = w->args.gap_ns;
	if (w->report->has_mono)
		w->report->mono_start_ns = kvmclock_read(0) -
					   clock_ns(&w->clock, tsc() - w->report->tsc_start);
}

static void vcpus_start(struct witness *w)
{
	uint16_t told = 0;

	if (w->args.cpus)
		told = (uint16_t)w->args.cpus;
	else if (w->platform.fw_cfg)
		fwcfg_read(KEY_CPUS, &told, sizeof(told));
	if (told > PULSE_MAX_CPUS)
		told = PULSE_MAX_CPUS;
	for (unsigned int i = 0; i < (told ? told : PULSE_MAX_CPUS); i++)
		memset(&w->cpu[i], 0, sizeof(w->cpu[i]));
	w->cpu[0].apic_id = cpu_apic_id();
	w->cpu[0].online = 1;
	w->report->cpus = cpus_start(told);
	w->report->size = (uint32_t)(sizeof(*w->report) + w->report->cpus * sizeof(*w->cpu));
}

static void workers_start(struct witness *w)
{
	unsigned int workers = w->report->cpus > 1 ? w->report->cpus - 1 : 1,
		     first = w->report->cpus > 1;

	w->rate = w->args.rate;
	w->io_cpu = w->report->device[0].kind ? w->report->cpus - 1 : PULSE_MAX_CPUS;
	for (unsigned int i = 0; i < w->report->cpus; i++) {
		struct worker *worker = &w->worker[i];
		struct beat *b = &w->beat[i];

		*b = (struct beat){.out = &w->cpu[i],
				   .clock = &w->clock,
				   .mono_read = w->report->has_mono ? kvmclock_read : NULL};
		w->cpu[i].roles = (i == 0 || w->args.beat == BEAT_ALL ? 1 : 0) |
				  (i >= first ? 2 : 0);
		if (i < first)
			continue;
		worker->out = &w->cpu[i];
		worker->report = w->report;
		worker->mem = &w->memory;
		worker->args = &w->args;
		worker->clock = &w->clock;
		worker_start(worker, i - first, workers);
	}
}

/* Follows requests that concern each vCPU: @seen is what it has followed so far. */
static void follow(struct witness *w, unsigned int n, uint32_t *reset_seen, uint32_t *rate_seen)
{
	uint32_t reset = __atomic_load_n(&w->reset, __ATOMIC_ACQUIRE);
	uint32_t rate = __atomic_load_n(&w->rate_count, __ATOMIC_ACQUIRE);

	if (reset != *reset_seen) {
		*reset_seen = reset;
		beat_reset(&w->beat[n]);
	}
	if (rate != *rate_seen) {
		*rate_seen = rate;
		if (w->cpu[n].roles & 2)
			worker_rate(&w->worker[n], w->rate);
	}
}

/* Nothing is due: halt when that will last, unless this vCPU must beat. */
static void idle(const struct witness *w, unsigned int n)
{
	uint64_t ns = 0,
		 limit = clock_ticks(&w->clock, n == w->io_cpu ? SLEEP_IO_NS : SLEEP_MAX_NS);

	if (!(w->cpu[n].roles & 1) && w->args.idle == IDLE_HALT)
		ns = clock_ns(&w->clock, worker_idle(&w->worker[n], limit));
	if (ns > SLEEP_MIN_NS)
		cpu_sleep(ns);
	else
		pause();
}

void work(struct witness *w, unsigned int n)
{
	uint32_t roles = w->cpu[n].roles, reset_seen = 0, rate_seen = 0, did = 0;
	struct beat *b = &w->beat[n];

	beat_start(b, w->args.gap_ns);
	for (;;) {
		for (int i = 0; roles & 1 && i < BEATS_PER_STEP; i++) {
			beat(b, did);
			did = 0;
		}
		follow(w, n, &reset_seen, &rate_seen);
		if (roles & 2)
			did = worker_step(&w->worker[n]);
		if (n == w->io_cpu && (blk_step() | net_step()))
			did |= PULSE_DID_IO;
		if (n == 0) {
			if (did)
				beat(b, did);
			did = control_step(w);
		} else if (!did) {
			idle(w, n);
		}
	}
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

	args_default(&w->args);
	machine_find(&w->platform, start_info);
	args_parse(&w->args, w->platform.cmdline);
	report_start(w);
	memcpy(w->report->cmdline, w->platform.cmdline, PULSE_CMDLINE - 1);
	w->report->form = w->platform.form;
	paging_full(&w->platform);
	clocks_start(w);
	vcpus_start(w);
	w->report->life = random_life();
	io_start(w);
	divide_memory(w);
	workers_start(w);
	control_start(w);
	__atomic_store_n(&w->go, 1, __ATOMIC_RELEASE);
	work(w, 0);
}
