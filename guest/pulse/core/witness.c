/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * All forms of the witness come here once they have vCPUs (or threads) and memory. The boot vCPU
 * beats and controls (control.c); it writes memory only when it is alone. The others write and
 * check memory, and beat too with beat=all; the last drives devices. A vCPU that needn't beat rests
 * when nothing is due, since spinning ones would starve the beating one wherever there are fewer
 * host CPUs. Requests that concern each vCPU are counters, which each follows by itself.
 */
#include "witness.h"

#define BEATS_PER_STEP 16      /* readings between two looks at what else is to do */
#define SLEEP_MIN_NS   50000   /* not worth a rest */
#define SLEEP_IO_NS    100000  /* devices are polled */
#define SLEEP_MAX_NS   5000000 /* requests must be seen */

#define ROLE_BEAT      1u
#define ROLE_WORK      2u

void witness_report_start(struct witness *w, void *at)
{
	w->report = at;
	w->cpu = (struct pulse_cpu *)(w->report + 1);
	__builtin_memset(w->report, 0, sizeof(*w->report));
	w->report->version = PULSE_VERSION;
	w->report->header_size = sizeof(*w->report);
	w->report->cpu_size = sizeof(*w->cpu);
	w->report->state = PULSE_BOOTING;
	w->report->tsc_start = tsc();
	w->report->magic = PULSE_MAGIC;
}

void witness_memory_add(struct witness *w, uint64_t gpa, uint64_t bytes, void *at)
{
	struct memory *mem = &w->memory;
	uint64_t skip = -gpa % PAGE_BYTES, pages = bytes > skip ? (bytes - skip) / PAGE_BYTES : 0;

	if (!pages || mem->ranges == MEMORY_RANGES)
		return;
	mem->range[mem->ranges++] = (struct memory_range){
		.gpa = gpa + skip,
		.pages = pages,
		.at = (uint64_t *)((uint8_t *)at + skip),
	};
	mem->owned += pages;
}

void witness_memory_divide(struct witness *w, uint32_t *shadow)
{
	struct memory *mem = &w->memory;
	uint64_t working = w->args.working / PAGE_BYTES;

	mem->working = working < mem->owned ? working : mem->owned;
	mem->shadow = shadow;
	mem->life = w->report->life;
	w->report->pages_owned = w->args.fill == FILL_NONE ? mem->working : mem->owned;
	w->report->pages_working = mem->working;
	w->report->pattern = (uint32_t)w->args.pattern;
	w->report->content = (uint32_t)w->args.content;
	w->report->first_gpa = mem->range[0].gpa;
	w->report->shadow_gpa = (uintptr_t)shadow;
}

static void vcpu_start(struct witness *w, unsigned int n)
{
	unsigned int first = w->report->cpus > 1, workers = w->report->cpus - first;
	struct worker *worker = &w->worker[n];

	w->beat[n] = (struct beat){
		.out = &w->cpu[n],
		.clock = &w->clock,
		.mono_read = w->report->has_mono ? w->hooks->mono : NULL,
	};
	if (n == 0 || w->args.beat == BEAT_ALL)
		w->cpu[n].roles |= ROLE_BEAT;
	if (n < first)
		return;
	w->cpu[n].roles |= ROLE_WORK;
	worker->out = &w->cpu[n];
	worker->report = w->report;
	worker->mem = &w->memory;
	worker->args = &w->args;
	worker->clock = &w->clock;
	worker_start(worker, n - first, workers);
}

void witness_start(struct witness *w)
{
	uint32_t cpus = w->report->cpus;

	w->report->size = (uint32_t)(sizeof(*w->report) + cpus * sizeof(*w->cpu));
	w->report->gap_threshold_ns = w->args.gap_ns;
	w->rate = w->args.rate;
	w->io_cpu = w->hooks->io ? cpus - 1 : PULSE_MAX_CPUS;
	for (unsigned int n = 0; n < cpus; n++)
		vcpu_start(w, n);
	control_start(w);
	__atomic_store_n(&w->go, 1, __ATOMIC_RELEASE);
}

/* Follows requests that concern each vCPU; the counters seen so far are the caller's. */
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
		if (w->cpu[n].roles & ROLE_WORK)
			worker_rate(&w->worker[n], w->rate);
	}
}

/* Nothing is due: rest when that will last, unless this vCPU must beat. */
static void idle(const struct witness *w, unsigned int n)
{
	uint64_t limit = clock_ticks(&w->clock, n == w->io_cpu ? SLEEP_IO_NS : SLEEP_MAX_NS);
	uint64_t ns = 0;

	if (!(w->cpu[n].roles & ROLE_BEAT) && w->args.idle == IDLE_HALT)
		ns = clock_ns(&w->clock, worker_idle(&w->worker[n], limit));
	if (ns > SLEEP_MIN_NS)
		w->hooks->sleep(ns);
	else
		clock_relax();
}

static uint32_t work_step(struct witness *w, unsigned int n)
{
	uint32_t did = worker_step(&w->worker[n]);

	if (n == w->io_cpu && w->hooks->io())
		did |= PULSE_DID_IO;
	return did;
}

void witness_work(struct witness *w, unsigned int n)
{
	uint32_t roles = w->cpu[n].roles, reset_seen = 0, rate_seen = 0, did = 0;
	struct beat *b = &w->beat[n];

	beat_start(b, w->args.gap_ns);
	for (;;) {
		for (int i = 0; roles & ROLE_BEAT && i < BEATS_PER_STEP; i++) {
			beat(b, did);
			did = 0;
		}
		follow(w, n, &reset_seen, &rate_seen);
		did = roles & ROLE_WORK ? work_step(w, n) : 0;
		if (n == 0) {
			if (did)
				beat(b, did);
			did = control_step(w);
		} else if (!did) {
			idle(w, n);
		}
	}
}
