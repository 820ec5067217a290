/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the boot vCPU does beside beating: serves the doorbell and the console's letters, keeps the
 * two clocks compared, prints reports. Each step does at most one of these, all of them together
 * take a few microseconds.
 */
#include "text.h"
#include "witness.h"

#define CLOCKS_US 1000

/** struct control - Owned by the boot vCPU */
struct control {
	uint64_t next_clocks, next_wall, next_poll, next_report, end;
	uint64_t answering; /* number of the verify request to print when complete, 0: none */
	uint64_t faults_before, verified_before;
	char line[4096];
};

static struct control control;

static uint64_t absolute(int64_t n)
{
	return n < 0 ? -(uint64_t)n : (uint64_t)n;
}

static bool due(const struct witness *w, uint64_t *next, uint64_t period_us)
{
	uint64_t now = tsc();

	if (!period_us || now < *next)
		return false;
	*next = now + clock_ticks(&w->clock, period_us * 1000);
	return true;
}

static void print(struct witness *w)
{
	struct text t = {.at = control.line, .size = sizeof(control.line)};

	text_report(&t, w->report, w->cpu);
	if (w->args.serial)
		w->hooks->print(t.at, t.length);
}

static void keep_largest(int64_t now, int64_t *now_at, int64_t *max_at)
{
	*now_at = now;
	if (absolute(now) > absolute(*max_at))
		*max_at = now;
}

static void compare_clocks(struct witness *w)
{
	struct pulse_report *r = w->report;
	uint64_t ticks;

	if (!r->has_mono)
		return;
	r->mono_ns = beat_mono(&w->beat[0]);
	if (w->hooks->mono_changes)
		r->mono_changes = w->hooks->mono_changes(0);
	ticks = w->beat[0].mono_tsc - r->tsc_start;
	keep_largest((int64_t)(clock_ns(&w->clock, ticks) - (r->mono_ns - r->mono_start_ns)),
		     &r->tsc_mono_ns, &r->tsc_mono_max_ns);
}

static void compare_wall(struct witness *w)
{
	struct pulse_report *r = w->report;
	uint64_t mono = beat_mono(&w->beat[0]), wall = w->hooks->wall(mono);

	if (!wall)
		return;
	if (!r->wall_start_ns)
		r->wall_start_ns = wall - (mono - r->mono_start_ns);
	if (wall < r->wall_ns) {
		r->wall_back++;
		if (r->wall_ns - wall > r->wall_back_max_ns)
			r->wall_back_max_ns = r->wall_ns - wall;
	}
	r->wall_ns = wall;
	r->mono_ns = mono;
	keep_largest((int64_t)(wall - r->wall_start_ns - (mono - r->mono_start_ns)),
		     &r->wall_mono_ns, &r->wall_mono_max_ns);
}

static void ask_verify(struct witness *w)
{
	control.faults_before = w->report->faults;
	control.verified_before = 0;
	for (uint32_t i = 0; i < w->report->cpus; i++)
		control.verified_before += w->cpu[i].verified;
	control.answering = __atomic_add_fetch(&w->report->verify_asked, 1, __ATOMIC_RELEASE);
}

static bool found_wrong(const struct pulse_report *r)
{
	bool wrong = r->faults || r->state == PULSE_FAILED;

	for (int i = 0; i < PULSE_DEVICES; i++)
		wrong = wrong || r->device[i].bad;
	return wrong;
}

static void quit(struct witness *w)
{
	uint32_t code = found_wrong(w->report) ? 1 : (uint32_t)w->args.exit_code;

	if (w->report->state != PULSE_FAILED)
		w->report->state = PULSE_ENDED;
	print(w);
	w->hooks->end(w, code);
}

static void set_rate(struct witness *w, uint64_t rate)
{
	w->rate = rate;
	__atomic_fetch_add(&w->rate_count, 1, __ATOMIC_RELEASE);
}

static bool measure_exits(struct witness *w)
{
	if (!w->hooks->exits)
		return false;
	w->hooks->exits(w, w->report->exit);
	print(w);
	return true;
}

/* Serves one letter; false: unknown. */
static bool serve(struct witness *w, int letter, uint64_t arg)
{
	switch (letter) {
	case 'v': ask_verify(w); return true;
	case 'p': print(w); return true;
	case 'q': quit(w); return true;
	case 'z': __atomic_fetch_add(&w->reset, 1, __ATOMIC_RELEASE); return true;
	case 'r': set_rate(w, arg); return true;
	case 's': set_rate(w, RATE_OFF); return true;
	case 'g': set_rate(w, w->args.rate); return true;
	case 'x': __builtin_trap();
	case 'e': return measure_exits(w);
	case 'm': set_rate(w, RATE_MAX); return true;
	default: return false;
	}
}

static uint32_t doorbell(struct witness *w)
{
	struct pulse_report *r = w->report;
	uint64_t count = __atomic_load_n(&r->req_count, __ATOMIC_ACQUIRE);

	if (count == r->ack_count)
		return 0;
	if (r->req == 'q') { /* won't come back */
		r->ack_result = 0;
		__atomic_store_n(&r->ack_count, count, __ATOMIC_RELEASE);
	}
	r->ack_result = serve(w, (int)r->req, r->req_arg) ? 0 : 1;
	__atomic_store_n(&r->ack_count, count, __ATOMIC_RELEASE);
	return PULSE_DID_REQUEST;
}

/* The check of everything is complete when every worker has said so. */
static void verify_progress(struct witness *w)
{
	struct pulse_report *r = w->report;
	uint64_t verified = 0;

	for (uint32_t i = 0; i < r->cpus; i++) {
		verified += w->cpu[i].verified;
		if (w->cpu[i].owned &&
		    __atomic_load_n(&w->cpu[i].verify_all, __ATOMIC_ACQUIRE) < control.answering)
			return;
	}
	r->verify_faults = r->faults - control.faults_before;
	r->verify_pages = verified - control.verified_before;
	__atomic_store_n(&r->verify_done, control.answering, __ATOMIC_RELEASE);
	control.answering = 0;
	print(w);
}

static void fill_progress(struct witness *w)
{
	uint64_t filled = 0;
	bool all = true;

	for (uint32_t i = 0; i < w->report->cpus; i++) {
		filled += w->worker[i].fill_next;
		all = all && worker_filled(&w->worker[i]);
	}
	w->report->pages_filled = filled;
	if (!all)
		return;
	w->report->tsc_ready = tsc();
	w->report->state = PULSE_RUNNING;
	print(w);
}

static uint32_t console(struct witness *w)
{
	int letter;

	if (w->hooks->console())
		return PULSE_DID_CONSOLE;
	if (!due(w, &control.next_poll, w->args.serial ? w->args.poll_us : 0))
		return 0;
	letter = w->hooks->letter();
	if (letter >= 0)
		serve(w, letter, 0);
	return PULSE_DID_CONSOLE;
}

void control_start(struct witness *w)
{
	w->report->state = PULSE_FILLING;
	control.end = w->args.seconds ? tsc() + w->args.seconds * w->clock.hz : 0;
	control.next_report = tsc() + clock_ticks(&w->clock, w->args.report_ms * 1000000);
	if (w->report->has_mono)
		compare_wall(w);
}

uint32_t control_step(struct witness *w)
{
	uint32_t did = 0;

	if (w->report->state == PULSE_FILLING)
		fill_progress(w);
	else
		did = doorbell(w);
	if (control.answering)
		verify_progress(w);
	if (due(w, &control.next_clocks, CLOCKS_US))
		compare_clocks(w);
	if (w->report->has_mono && due(w, &control.next_wall, w->args.wall_ms * 1000)) {
		compare_wall(w);
		did |= PULSE_DID_CLOCK;
	}
	if (due(w, &control.next_report, w->args.report_ms * 1000))
		print(w);
	if (control.end && tsc() > control.end)
		quit(w);
	return did | console(w);
}
