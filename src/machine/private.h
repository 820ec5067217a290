/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_PRIVATE_H
#define MACHINE_PRIVATE_H

#include "machine/vm.h"

/* Inside the machine room. */

/* Beside enum machine_request: a vCPU can't go on. */
#define VM_REQUEST_INTERNAL_ERROR 31

/* VCPU_LEAVE: those end that are told to (@leaves), the others do nothing. */
enum vcpu_command { VCPU_RUN = 1, VCPU_WORK, VCPU_LEAVE, VCPU_QUIT };

/* threads.c */
MUST_CHECK int vcpu_thread_start(struct vm_vcpu *v, struct err *e);
void vcpus_command(struct vm *vm, enum vcpu_command kind);
MUST_CHECK bool vcpus_wait(struct vm *vm, int64_t until_ns);
MUST_CHECK bool vcpus_leave(struct vm *vm, int64_t until_ns);
void vcpus_go_on(struct vm *vm);
void vcpus_park(struct vm *vm);
void vcpus_unpark(struct vm *vm);
int vcpus_late(struct vm *vm, int64_t begin_ns, struct err *e);
void vcpu_signals_take(struct vm_vcpu *v);
struct vm_vcpu *vcpu_current(void);
bool vcpu_must_leave(const struct vm_vcpu *v);

/* exit.c: serves the exit on the run page. false: the vCPU can't go on. Own thread. */
bool vcpu_exit_serve(struct vm_vcpu *v);
void vcpu_fault(struct vm_vcpu *v, const char *fmt, ...) PRINTF(2, 3);

/* throttle.c */
bool vcpu_rests(const struct vm_vcpu *v);
void vcpu_rest(struct vm_vcpu *v);
void vcpus_awake(struct vm *vm);
void vcpu_pace(struct vm_vcpu *v);

/* vm.c */
void vm_tell(struct vm *vm, enum vm_event event, int arg);

#endif
