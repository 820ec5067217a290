/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Every owned page belongs to one worker (one vCPU), which alone writes and checks it: no page
 * needs a lock, and a page is never checked while it is being written. A worker does one page at a
 * time and returns, so that a vCPU that also beats reads its clock between any two pages.
 *
 * What was last written to a page is told by the shadow table. It lies elsewhere in guest memory:
 * when a page goes back to an older content its entry does not, and the other way round (then pages
 * are found "ahead").
 */
#include "worker.h"

#define HOT_TENTHS 9  /* of the writes go to ... */
#define HOT_SHARE  10 /* ... this fraction (1/n) of the pages */

static uint64_t next_random(struct worker *w)
{
	w->random += 0x9e3779b97f4a7c15ull;
	return mix64(w->random, w->random >> 31);
}

/* A random number below @n, which is not 0. */
static uint64_t below(struct worker *w, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)next_random(w) * n) >> 64);
}

static struct share part_of(uint64_t first, uint64_t count, unsigned int number, unsigned int parts)
{
	uint64_t from = count * number / parts, to = count * (number + 1) / parts;

	return (struct share){.first = first + from, .count = to - from};
}

static void record_fault(struct worker *w, uint64_t gpa, struct pulse_fault *fault)
{
	uint64_t at = __atomic_fetch_add(&w->report->faults, 1, __ATOMIC_RELAXED);

	w->out->faults++;
	fault->gpa = gpa;
	fault->cpu = w->out->index;
	fault->tsc = tsc();
	if (at < PULSE_FAULTS)
		w->report->fault[at] = *fault;
}

static void write_page(struct worker *w, uint64_t page, enum page_content content)
{
	struct page_name name = {.seq = w->mem->shadow[page] + 1, .life = w->mem->life};
	uint64_t gpa, *at = memory_page(w->mem, page, &gpa);

	if (name.seq >= SHADOW_ZERO)
		name.seq = 1;
	name.page = gpa / PAGE_BYTES;
	page_write(at, &name, content);
	w->mem->shadow[page] = (uint32_t)name.seq;
	w->out->dirtied++;
}

static void zero_page(struct worker *w, uint64_t page)
{
	uint64_t gpa, *at = memory_page(w->mem, page, &gpa);

	__builtin_memset(at, 0, PAGE_BYTES);
	w->mem->shadow[page] = SHADOW_ZERO;
	w->out->dirtied++;
}

/* What all pages of fill=same hold: a page of a number that none of them has. */
static struct page_name same_name(const struct worker *w)
{
	return (struct page_name){.seq = 1, .life = w->mem->life};
}

static void same_page(struct worker *w, uint64_t page)
{
	const struct page_name name = same_name(w);
	uint64_t gpa;

	page_write(memory_page(w->mem, page, &gpa), &name, PAGE_RANDOM);
	w->mem->shadow[page] = SHADOW_SAME;
	w->out->dirtied++;
}

/* A page found wrong is written anew, so that one fault is reported once. */
static void verify_page(struct worker *w, uint64_t page)
{
	struct page_name name = {.seq = w->mem->shadow[page], .life = w->mem->life};
	struct pulse_fault fault = {0};
	uint64_t gpa, *at = memory_page(w->mem, page, &gpa);
	bool good;

	if (!name.seq)
		return;
	name.page = gpa / PAGE_BYTES;
	if (w->mem->shadow[page] == SHADOW_SAME)
		name = same_name(w);
	good = name.seq == SHADOW_ZERO ? page_verify_zero(at, &name, &fault)
				       : page_verify(at, &name, &fault);
	w->out->verified++;
	if (good)
		return;
	record_fault(w, gpa, &fault);
	if (w->mem->shadow[page] == SHADOW_SAME)
		same_page(w, page);
	else if (name.seq == SHADOW_ZERO)
		zero_page(w, page);
	else
		write_page(w, page, (enum page_content)w->args->content);
}

static uint64_t pick(struct worker *w)
{
	uint64_t hot = w->work.count / HOT_SHARE + 1;

	switch (w->args->pattern) {
	case PATTERN_RANDOM: return w->work.first + below(w, w->work.count);
	case PATTERN_HOTCOLD:
		return w->work.first + below(w, below(w, 10) < HOT_TENTHS ? hot : w->work.count);
	default:
		if (w->next >= w->work.count)
			w->next = 0;
		return w->work.first + w->next++;
	}
}

static void fill_page(struct worker *w, uint64_t i)
{
	uint64_t page = w->rest.first + i;

	switch (w->args->fill) {
	case FILL_ZERO: zero_page(w, page); break;
	case FILL_HALF:
		if (i % 2)
			zero_page(w, page);
		else
			write_page(w, page, PAGE_RANDOM);
		break;
	case FILL_TEXT: write_page(w, page, PAGE_TEXT); break;
	case FILL_SAME: same_page(w, page); break;
	default: write_page(w, page, PAGE_RANDOM);
	}
}

/* Number of the @i-th page of both shares. */
static uint64_t own_page(const struct worker *w, uint64_t i)
{
	return i < w->work.count ? w->work.first + i : w->rest.first + i - w->work.count;
}

static uint64_t own_count(const struct worker *w)
{
	return w->work.count + w->rest.count;
}

/* The check of everything, on request: nothing else is done until it is complete. */
static uint32_t step_all(struct worker *w)
{
	uint64_t asked = __atomic_load_n(&w->report->verify_asked, __ATOMIC_ACQUIRE);

	if (!w->all_active) {
		if (asked == w->all_seen)
			return 0;
		w->all_active = true;
		w->all_seen = asked;
		w->all_next = 0;
	}
	if (w->all_next < own_count(w)) {
		verify_page(w, own_page(w, w->all_next++));
		return PULSE_DID_VERIFY;
	}
	w->all_active = false;
	__atomic_store_n(&w->out->verify_all, w->all_seen, __ATOMIC_RELEASE);
	return PULSE_DID_VERIFY;
}

static uint32_t step_check(struct worker *w)
{
	uint64_t ignored = 0;

	if (!own_count(w) || !pace_due(&w->check, w->clock, &ignored))
		return 0;
	verify_page(w, own_page(w, w->check_next));
	if (++w->check_next >= own_count(w)) {
		w->check_next = 0;
		w->out->passes++;
	}
	return PULSE_DID_VERIFY;
}

static uint32_t step_dirty(struct worker *w)
{
	if (!w->work.count || !pace_due(&w->dirty, w->clock, &w->out->behind))
		return 0;
	write_page(w, pick(w), (enum page_content)w->args->content);
	return PULSE_DID_DIRTY;
}

uint64_t *memory_page(const struct memory *mem, uint64_t page, uint64_t *gpa)
{
	const struct memory_range *r = mem->range;

	while (page >= r->pages)
		page -= r++->pages;
	*gpa = r->gpa + page * PAGE_BYTES;
	return r->at + page * PAGE_WORDS;
}

void worker_start(struct worker *w, unsigned int number, unsigned int workers)
{
	const struct memory *mem = w->mem;
	uint64_t rest = w->args->fill == FILL_NONE ? 0 : mem->owned - mem->working;

	w->work = part_of(0, mem->working, number, workers);
	w->rest = part_of(mem->working, rest, number, workers);
	w->random = mix64(mem->life, number + 1);
	w->next = w->check_next = w->fill_next = 0;
	w->all_seen = 0;
	w->all_active = false;
	w->out->first_page = w->work.first;
	w->out->owned = own_count(w);
	w->reads_only = w->args->writers && number >= w->args->writers;
	worker_rate(w, w->args->rate);
	pace_set(&w->check, w->clock, w->args->verify);
}

void worker_rate(struct worker *w, uint64_t rate)
{
	if (w->reads_only)
		rate = RATE_OFF;
	pace_set(&w->dirty, w->clock, rate);
	w->out->rate = rate;
}

void worker_forget(struct worker *w, uint64_t page)
{
	w->mem->shadow[page] = 0;
}

void worker_write(struct worker *w, uint64_t page)
{
	write_page(w, page, (enum page_content)w->args->content);
}

bool worker_filled(const struct worker *w)
{
	return w->fill_next == w->rest.count;
}

uint32_t worker_step(struct worker *w)
{
	uint32_t did;

	if (!worker_filled(w)) {
		fill_page(w, w->fill_next++);
		return PULSE_DID_FILL;
	}
	did = step_all(w);
	if (did)
		return did;
	return step_dirty(w) | step_check(w);
}

uint64_t worker_idle(const struct worker *w, uint64_t limit)
{
	uint64_t now = tsc();

	if (!worker_filled(w) || w->all_active)
		return 0;
	if (w->work.count)
		limit = pace_idle(&w->dirty, now, limit);
	return own_count(w) ? pace_idle(&w->check, now, limit) : limit;
}
