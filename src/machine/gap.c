/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see gap.h. */
#include "machine/gap.h"

#include "base/clock.h"

#define DRIFT_PART 8192 /* 122 ppm: more than two clocks of a host differ in rate */

/**
 * gap_of() - By how much clocks are moved over a pause
 * @pause_ns:	How long it was; below 0: clocks of two hosts that differ
 *
 * Return: ns; 0 for a pause that is too long, or none
 */
int64_t gap_of(int64_t pause_ns)
{
	return pause_ns > 0 && pause_ns <= GAP_MAX_NS ? pause_ns : 0;
}

/**
 * gap_overrun_of() - How much a clock that ran on since the stop is wound back
 * @since_ns:	Time since the stop, by the host's monotonic clock
 *
 * Return: ns, less than the clock can have gone on by itself, so that it never goes backward
 */
int64_t gap_overrun_of(int64_t since_ns)
{
	return gap_of(since_ns - DIV_ROUND_UP(MAX(since_ns, (int64_t)0), DRIFT_PART));
}

/**
 * vm_catch_up() - The pause is none that the guest's clocks stand still for
 * @vm:		The machine, stopped
 * @stopped_ns:	When they came to, host monotonic clock; here, or where the state comes from. 0:
 *		not known, they stand still
 *
 * Holds for the next start.
 */
void vm_catch_up(struct vm *vm, int64_t stopped_ns)
{
	vm->stopped_ns = stopped_ns;
	vm->catch_up = stopped_ns != 0;
}

/**
 * vm_go_on() - Let the guest run on after a pause that only the VMM wanted
 * @vm:		The machine, stopped here while it ran
 */
void vm_go_on(struct vm *vm)
{
	vm_catch_up(vm, vm->stopped_ns);
	vm_start(vm);
}

/**
 * vm_gap_ns() - By how much the guest's clocks would be moved if it were started now
 * @vm:		The machine, stopped
 *
 * Return: ns; 0: they stand still
 */
int64_t vm_gap_ns(const struct vm *vm)
{
	return vm->catch_up ? gap_of(time_ns() - vm->stopped_ns) : 0;
}

/**
 * vm_overrun_ns() - How much a clock that ran on since the stop is wound back
 * @vm:		The machine, stopped
 * @read_ns:	When it was read, or a little earlier; host monotonic clock
 *
 * Return: ns; 0: nobody knows when it was stopped, or too long ago
 */
int64_t vm_overrun_ns(const struct vm *vm, int64_t read_ns)
{
	return vm->stopped_ns ? gap_overrun_of(read_ns - vm->stopped_ns) : 0;
}

/**
 * vm_stopped_wall_ns() - When the guest's clocks came to stand still
 * @vm:		The machine, whose stop is known
 *
 * Return: host wall clock, as if it had gone since then as it goes now
 */
int64_t vm_stopped_wall_ns(const struct vm *vm)
{
	return time_wall_ns() - (time_ns() - vm->stopped_ns);
}
