/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_THROTTLE_H
#define MACHINE_THROTTLE_H

#include "machine/vm.h"

/*
 * Slowing a running guest down, see throttle.c. Any thread; the machine may be stopped and started
 * meanwhile: stopping never waits for a vCPU that rests.
 */

struct throttle;

/* All vCPUs: so many percent of the time outside of guest mode. */
MUST_CHECK int throttle_start(struct throttle **ret, struct vm *vm, unsigned int percent,
			      struct err *e);
void throttle_set(struct throttle *t, unsigned int percent);
void throttle_stop(struct throttle *t);

/* Those that write: bytes a second that each vCPU may dirty, counted by the dirty ring; 0: any. */
void vm_dirty_limit(struct vm *vm, uint64_t bytes);
/* The rings have just been emptied: whoever has written too much rests. */
void vm_dirty_pace(struct vm *vm);
uint64_t vm_vcpu_rested_ns(const struct vm_vcpu *v);
uint64_t vm_dirty_limit_bytes(const struct vm *vm);   /* a second; 0: none */
uint64_t vm_vcpu_dirty_rate(const struct vm_vcpu *v); /* bytes a second since the limit holds */
int64_t vm_vcpu_paced_ns(const struct vm_vcpu *v);

#endif
