/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_WORKER_H
#define PULSE_CORE_WORKER_H

#include "../report.h"
#include "args.h"
#include "clock.h"
#include "pace.h"
#include "page.h"

#define MEMORY_RANGES 8

/**
 * struct memory_range - Guest memory that the witness owns
 * @gpa:	Address of its first page
 * @pages:	How many
 * @at:		Where it is mapped
 */
struct memory_range {
	uint64_t gpa;
	uint64_t pages;
	uint64_t *at;
};

/**
 * struct memory - All pages that the witness owns, numbered from 0 through the ranges
 * @range:	In rising order of @gpa
 * @ranges:	How many
 * @owned:	Pages in all of them
 * @working:	The first so many are written again and again; the others at most once (fill)
 * @shadow:	Per page: 0 never written, SHADOW_ZERO filled with zero,
 *		SHADOW_SAME filled with what all such pages hold, else sequence last written;
 * zero at the start
 * @life:	Random number of this start
 */
struct memory {
	struct memory_range range[MEMORY_RANGES];
	unsigned int ranges;
	uint64_t owned;
	uint64_t working;
	uint32_t *shadow;
	uint64_t life;
};

#define SHADOW_ZERO 0x80000000u
#define SHADOW_SAME 0x80000001u

/**
 * struct share - Pages one worker is responsible for
 * @first:	Number of the first
 * @count:	How many
 */
struct share {
	uint64_t first;
	uint64_t count;
};

/**
 * struct worker - Writes and checks its own share of memory; touched by its vCPU only
 * @out:	Figures
 * @report:	Header, for faults found and requests seen
 * @mem:	Memory, shared; each worker touches its share only
 * @args:	Parameters
 * @clock:	TSC frequency
 * @work:	Its share of the working set
 * @rest:	Its share of the other pages, empty without fill=
 * @dirty, @check: Paces of writing and of background checking
 * @next, @check_next, @fill_next: Where each goes on
 * @all_next:	Check of everything: where it goes on
 * @all_seen:	Number of the request it works on
 * @all_active:	Whether it does
 * @random:	State of the page picker
 * @reads_only:	Never writes its pages (writers=)
 */
struct worker {
	struct pulse_cpu *out;
	struct pulse_report *report;
	struct memory *mem;
	const struct args *args;
	const struct clock *clock;
	struct share work, rest;
	struct pace dirty, check;
	uint64_t next, check_next, fill_next;
	uint64_t all_next, all_seen;
	bool all_active;
	uint64_t random;
	bool reads_only;
};

/**
 * memory_page() - Where a page is
 * @mem:	Memory
 * @page:	Number below @mem->owned
 * @gpa:	Set to its guest physical address
 * Return: its mapping
 */
uint64_t *memory_page(const struct memory *mem, uint64_t page, uint64_t *gpa);

/**
 * worker_start() - Give a worker its share
 * @w:		@out, @report, @mem, @args, @clock are set by the caller; all else here
 * @number:	Which of the workers it is
 * @workers:	How many there are
 */
void worker_start(struct worker *w, unsigned int number, unsigned int workers);

/**
 * worker_rate() - Change how fast pages are written
 * @w:		Owner's
 * @rate:	RATE_OFF, RATE_MAX, or pages per second
 */
void worker_rate(struct worker *w, uint64_t rate);

/**
 * worker_forget() - A page of its share isn't used any more: it may hold anything
 * @w:		Owner's
 * @page:	Its number
 */
void worker_forget(struct worker *w, uint64_t page);

/**
 * worker_write() - Use a page of its share again
 * @w:		Owner's
 * @page:	Its number
 */
void worker_write(struct worker *w, uint64_t page);

/**
 * worker_filled() - Whether the first fill of its share is complete
 * @w:	Owner's
 * Return: true when it is
 */
bool worker_filled(const struct worker *w);

/**
 * worker_step() - Do the next small thing that is due: at most one page of each kind
 * @w:	Owner's
 * Return: PULSE_DID_*, 0 when nothing was due
 */
uint32_t worker_step(struct worker *w);

/**
 * worker_idle() - How long nothing will be due
 * @w:		Owner's
 * @limit:	Longest answer
 * Return: ticks, 0 when something is due now
 */
uint64_t worker_idle(const struct worker *w, uint64_t limit);

#endif
