/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_GAP_H
#define MACHINE_GAP_H

#include "machine/vm.h"

/*
 * Theory of operation: a guest's clocks over a pause. All of them - the guest clock, from which
 * HPET, PM timer and PIT count, kvmclock, the vCPUs' TSCs - are captured as of one moment,
 * vm->stopped_ns. What KVM lets run on is read a little later and wound back by
 * vm_overrun_ns().
 *
 * When the guest is started they go on from there, as with QEMU: it has missed the pause. For a
 * pause that nobody but the VMM wanted (a move, a snapshot, an upgrade) whoever starts it calls
 * vm_catch_up() first, and vm_start() moves all of them by the same vm_gap_ns(), as if it had been
 * running: a guest that compares two clocks (Linux' clocksource watchdog does) sees no difference.
 * The TSC goes on by itself from when KVM gets it, so x86_cpus_commit() adds what has passed until
 * then.
 *
 * A jump is felt, too: timers that ran out meanwhile fire all at once. Above GAP_MAX_NS it would do
 * harm: systemd ends services that it hasn't heard of for 90 s, Linux complains of tasks that hang
 * for 120 s. Then the clocks stand still.
 */

#define GAP_MAX_NS (60 * NS_PER_SEC)

/* Pure. By how much clocks are moved over a pause, ns; 0: not. */
int64_t gap_of(int64_t pause_ns);
/* Pure. How much a clock that ran on since the stop is wound back, ns; never too much. */
int64_t gap_overrun_of(int64_t since_ns);

/* The guest is stopped, since then: here, or where it comes from. 0: its clocks stand still. */
void vm_catch_up(struct vm *vm, int64_t stopped_ns);
void vm_go_on(struct vm *vm);           /* after a pause that only the VMM wanted: vm_start() */
int64_t vm_gap_ns(const struct vm *vm); /* if it were started now */
/* Of what was read at a moment of time_ns(). */
int64_t vm_overrun_ns(const struct vm *vm, int64_t read_ns);
int64_t vm_stopped_wall_ns(const struct vm *vm); /* as the wall clock goes now */

#endif
