/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_WITNESS_H
#define PULSE_CORE_WITNESS_H

#include <stddef.h>

#include "args.h"
#include "beat.h"
#include "worker.h"

struct witness;

/**
 * struct witness_hooks - What a form of the witness does its own way
 * @mono:	Read the monotonic clock (ns) of vCPU @cpu; NULL without one
 * @mono_changes: How often the host changed that clock's parameters; may be NULL
 * @wall:	Read the wall clock (ns since 1970), given the monotonic clock; 0: there is none
 * @print:	Queue a line for the console
 * @console:	Send a bit of what is queued; false when nothing was
 * @letter:	Read one letter from the console, -1 without one
 * @io:		Drive devices, a bit; false when nothing was due; may be NULL
 * @exits:	Measure accesses that leave the guest; NULL: there are none
 * @sleep:	Let this vCPU rest for about so many ns
 * @end:	End the guest or the process; doesn't return
 */
struct witness_hooks {
	uint64_t (*mono)(unsigned int cpu);
	uint32_t (*mono_changes)(unsigned int cpu);
	uint64_t (*wall)(uint64_t mono_ns);
	void (*print)(const char *line, size_t length);
	bool (*console)(void);
	int (*letter)(void);
	bool (*io)(void);
	void (*exits)(const struct witness *w, struct pulse_exit *out);
	void (*sleep)(uint64_t ns);
	void (*end)(const struct witness *w, uint32_t code);
};

/**
 * struct witness - Everything the vCPUs share
 * @hooks:	What depends on the form
 * @report:	Header of the report
 * @cpu:	vCPU blocks of the report
 * @args:	Parameters
 * @clock:	TSC frequency
 * @memory:	Owned pages
 * @beat:	Per vCPU
 * @worker:	Per vCPU
 * @go:		Set when the other vCPUs may start to work
 * @io_cpu:	Who drives devices, PULSE_MAX_CPUS: nobody
 * @reset:	Counts requests to forget the gaps; each vCPU follows by itself
 * @rate:	Newest rate asked for
 * @rate_count:	Counts changes of @rate
 */
struct witness {
	const struct witness_hooks *hooks;
	struct pulse_report *report;
	struct pulse_cpu *cpu;
	struct args args;
	struct clock clock;
	struct memory memory;
	struct beat beat[PULSE_MAX_CPUS];
	struct worker worker[PULSE_MAX_CPUS];
	uint32_t go;
	unsigned int io_cpu;
	uint32_t reset;
	uint64_t rate;
	uint32_t rate_count;
};

/**
 * witness_report_start() - Make an empty report
 * @w:		Witness
 * @at:		Where it is: header and vCPU blocks, in one piece
 */
void witness_report_start(struct witness *w, void *at);

/**
 * witness_memory_add() - Own a piece of memory
 * @w:		Witness
 * @gpa:	Its address
 * @bytes:	Its size; what isn't a whole page is left out
 * @at:		Where it is mapped
 */
void witness_memory_add(struct witness *w, uint64_t gpa, uint64_t bytes, void *at);

/**
 * witness_memory_divide() - Fix the working set, once all memory was added
 * @w:		Witness
 * @shadow:	Zeroed, 4 bytes for each page
 */
void witness_memory_divide(struct witness *w, uint32_t *shadow);

/**
 * witness_start() - Share the work out, and let all vCPUs go
 * @w:		Witness; @report->cpus is set
 */
void witness_start(struct witness *w);

/**
 * witness_work() - What a vCPU does until the end
 * @w:	Witness
 * @n:	Number of this vCPU
 */
__attribute__((noreturn)) void witness_work(struct witness *w, unsigned int n);

/**
 * control_start() - Begin to serve requests
 * @w:	Witness
 */
void control_start(struct witness *w);

/**
 * control_step() - Do what is due now, on the boot vCPU
 * @w:	Witness
 * Return: PULSE_DID_*
 */
uint32_t control_step(struct witness *w);

#endif
