/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_VM_H
#define MACHINE_VM_H

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "device/device.h"
#include "kvm/kvm.h"
#include "memory/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Theory of operation: struct vm is a machine that can run and stop. Each vCPU has a thread, which
 * is parked until the main thread gives a command to all of them: run until stopped, do a piece of
 * work (capture state), quit. vm_stop() is a barrier: when it returns, every vCPU is out of KVM and
 * out of every I/O handler with its registers complete, the guest clock stands still and no device
 * has a request in flight. vm_stop_within() is the same with a bound: a host that gives a vCPU
 * thread no CPU, or a disk that doesn't answer, lets the guest go on instead. Everything but
 * vm_request() is for the main thread.
 *
 * A guest that sleeps (ACPI S3) is a machine that runs without vCPUs: clock and devices go on, so
 * that they can wake it. It can be stopped and started like any other, and sleeps on afterwards;
 * waking it is a reset that firmware knows from a cold start by what the guest left in CMOS.
 *
 * The thread that leaves guest mode last wakes the main thread; nobody polls. This time is part of
 * the pause of a live upgrade.
 */

/**
 * enum run_state - Why the guest runs or doesn't; QEMU's names
 */
enum run_state {
	RUN_PRELAUNCH = 1, /* never ran (-S, or still being made) */
	RUN_RUNNING,
	RUN_PAUSED, /* by the operator */
	RUN_SHUTDOWN,
	RUN_SUSPENDED, /* ACPI S3 */
	RUN_INMIGRATE, /* waits for its state */
	RUN_POSTMIGRATE,
	RUN_FINISH_MIGRATE,
	RUN_SAVE_VM,
	RUN_RESTORE_VM,
	RUN_GUEST_PANICKED,
	RUN_WATCHDOG,
	RUN_IO_ERROR,
	RUN_INTERNAL_ERROR,
	RUN_DEBUG,
	RUN_STATES
};

const char *run_state_name(enum run_state s);
bool run_state_parse(const char *name, enum run_state *ret);

enum reboot_action { REBOOT_RESET, REBOOT_SHUTDOWN };
enum shutdown_action { SHUTDOWN_POWEROFF, SHUTDOWN_PAUSE };
enum panic_action { PANIC_SHUTDOWN, PANIC_PAUSE, PANIC_EXIT_FAILURE, PANIC_NONE };
enum watchdog_action {
	WATCHDOG_RESET,
	WATCHDOG_SHUTDOWN,
	WATCHDOG_POWEROFF,
	WATCHDOG_PAUSE,
	WATCHDOG_DEBUG,
	WATCHDOG_NONE,
	WATCHDOG_INJECT_NMI
};

/**
 * struct vm_policy - What the machine does when the guest asks for something (-no-reboot,
 * -no-shutdown, -action)
 */
struct vm_policy {
	enum reboot_action reboot;
	enum shutdown_action shutdown;
	enum panic_action panic;
	enum watchdog_action watchdog;
};

enum vm_event {
	VM_STOPPED = 1, /* arg: run state */
	VM_RESUMED,
	VM_RESET,     /* arg: 1 if by the guest */
	VM_SHUTDOWN,  /* arg: 1 if by the guest */
	VM_POWERDOWN, /* the power button was pressed */
	VM_SUSPENDED,
	VM_HIBERNATED,  /* VM_SHUTDOWN follows */
	VM_WAKEUP,      /* arg: enum wakeup_reason; the reset is done, nothing runs yet */
	VM_PANICKED,    /* arg: the byte written to pvpanic */
	VM_CRASHLOADED, /* likewise */
	VM_WATCHDOG,    /* arg: enum watchdog_action */
	VM_RTC_SET,     /* the guest set its real-time clock */
	VM_EXIT,        /* the process should end; arg: exit code */
};

/**
 * struct vm_listener - Told of what happens to the machine, on the main thread
 */
struct vm_listener {
	struct list link;
	void (*event)(struct vm_listener *l, enum vm_event event, int arg);
};

/* What can be sent to a vCPU that runs. */
enum vcpu_signal { VCPU_NMI = 1, VCPU_SMI = 2 };

struct vm;
struct vm_vcpu;
typedef void vm_vcpu_fn(struct vm_vcpu *v, void *opaque);

/**
 * struct vm_vcpu - A vCPU and its thread
 * @vm:		Its machine
 * @kvm:	The vCPU in KVM
 * @index:	Its place, 0, 1, ...; of QEMU's section instances
 * @thread:	Named "vcpu N"
 * @tid:	Of the thread, for query-cpus-fast and pinning
 * @seen:	Last command this thread has taken
 * @done:	Last command it has done; own thread writes, atomic
 * @signals:	Bits of enum vcpu_signal that it gets before it runs on; atomic
 * @hold:	Stay out of the run loop until these requests of its own are served (bits by
 *		number): it asked for a reset, or can't go on. Own thread while it runs
 * @leaves:	Its thread ends by the next VCPU_LEAVE
 * @exits:	How often it left guest mode for us; own thread writes
 * @began_ns:	When it began to run after the last vm_start() (time_ns()); 0: not yet. Own thread
 *		writes, atomic
 * @rest_ns:	Stays out of guest mode until then (time_ns()); 0: doesn't. Atomic, see throttle.c
 * @rested_ns:	How long it has rested in all; own thread writes, atomic
 * @paced_ns:	How long it was last told to rest for what it wrote; 0: not. Atomic
 * @limit_pages, @limit_ns: Pages dirtied, and the time, at which its dirty limit began to count
 * @shutdowns:	How often a triple fault may be said; own thread
 */
struct vm_vcpu {
	struct vm *vm;
	struct kvm_vcpu *kvm;
	unsigned int index;
	pthread_t thread;
	pid_t tid;
	uint32_t seen, done;
	uint32_t signals;
	uint32_t hold;
	bool leaves;
	uint64_t exits;
	int64_t began_ns;
	int64_t rest_ns;
	uint64_t rested_ns;
	int64_t paced_ns;
	uint64_t limit_pages;
	int64_t limit_ns;
	struct log_limit shutdowns;
};

/**
 * struct vm_config - What a machine is made of; all borrowed but the vCPUs
 * @reset_vcpu:	Puts a vCPU into its state after reset; all vCPUs parked
 * @may_wake:	Whether the guest wants to be woken for this enum wakeup_reason; NULL: for all
 * @dirty_full:	A dirty ring is full; any vCPU thread. May be NULL
 */
struct vm_config {
	struct kvm_vm *kvm;
	struct memory *memory;
	struct io_space *io;
	struct guest_clock *clock;
	struct loop *loop;
	struct list *devices; /* struct device, in realize order */
	struct vm_policy policy;
	void (*reset_vcpu)(struct vm_vcpu *v, void *opaque);
	bool (*may_wake)(void *opaque, int reason);
	void (*dirty_full)(void *opaque);
	void *opaque;
};

/**
 * struct vm - The machine. Main thread, but for what is marked atomic
 * @c:		What it is made of
 * @vcpus:	By index
 * @state:	Run state
 * @command:	Counts commands; vCPU threads wait for it to change (futex, atomic)
 * @command_kind, @work, @work_opaque: The command, written before @command
 * @busy:	Commands that vCPU threads haven't done yet, counted over all (futex, atomic)
 * @stop:	vCPU threads in the run loop leave it (atomic)
 * @requests:	Bits of enum machine_request waiting for the main thread (atomic)
 * @request_arg: Their arguments (atomic)
 * @listeners:	struct vm_listener
 * @stop_ns:	How long the last vm_stop() took until the last vCPU was out
 * @stopped_ns:	When the guest's clocks came to stand still (time_ns()); 0: not known. See gap.h
 * @gap_ns:	By how much the start that is under way moves them
 * @catch_up:	The next start does
 * @asleep:	The guest is in S3: vCPUs stay parked, whatever the run state
 * @refused:	A device can't let the guest run; see vm_refuse()
 * @rest_count:	Changes when vCPUs that rest should look again (futex, atomic)
 * @dirty_limit: Pages a second that each vCPU may write; 0: any (atomic)
 */
struct vm {
	struct vm_config c;
	struct vm_vcpu **vcpus;
	unsigned int vcpus_len;
	enum run_state state;
	uint32_t command;
	int command_kind;
	vm_vcpu_fn *work;
	void *work_opaque;
	uint32_t busy;
	bool stop;
	uint32_t requests;
	int request_arg[32];
	struct list listeners;
	int64_t stop_ns, stopped_ns, gap_ns;
	bool asleep, refused, catch_up;
	uint32_t rest_count;
	uint64_t dirty_limit;
};

MUST_CHECK int vm_init(struct vm *vm, const struct vm_config *config, struct err *e);
void vm_destroy(struct vm *vm);
/*
 * vCPUs come and go, also while the guest runs: all leave guest mode for a moment, clock and
 * devices go on. One that was created is given its registers, then it begins; or it is discarded.
 */
MUST_CHECK int vm_vcpu_create(struct vm *vm, unsigned int kvm_id, unsigned int index,
			      struct vm_vcpu **ret, struct err *e);
MUST_CHECK int vm_vcpu_begin(struct vm_vcpu *v, struct err *e);
void vm_vcpu_discard(struct vm_vcpu *v);
void vm_vcpu_remove(struct vm_vcpu *v);
/* Creates the next one and has it begin. */
MUST_CHECK int vm_vcpu_add(struct vm *vm, unsigned int kvm_id, struct vm_vcpu **ret, struct err *e);

pid_t vm_vcpu_tid(struct vm_vcpu *v); /* waits until the thread has one */

void vm_start(struct vm *vm);
int64_t vm_began_ns(const struct vm *vm);
void vm_stop(struct vm *vm, enum run_state why);
MUST_CHECK int vm_stop_within(struct vm *vm, enum run_state why, int64_t until_ns, struct err *e);
bool vm_running(const struct vm *vm);
bool vm_active(const struct vm *vm); /* running, or asleep with devices that run */
/* The guest goes to sleep, or (state that was loaded) does so already. */
void vm_suspend(struct vm *vm);
void vm_set_asleep(struct vm *vm);
MUST_CHECK int vm_wakeup(struct vm *vm, enum wakeup_reason reason, struct err *e);
void vm_refuse(struct vm *vm); /* from a device's run(): the guest must not run */
void vm_set_state(struct vm *vm,
		  enum run_state s); /* without starting or stopping: inmigrate, postmigrate */
void vm_reset(struct vm *vm, bool by_guest);
/* Runs @fn for every vCPU on the vCPU's own thread, all at once, and waits. Stopped only. */
void vm_each_vcpu(struct vm *vm, vm_vcpu_fn *fn, void *opaque);
/* The same, also while the guest runs. */
void vm_visit_vcpus(struct vm *vm, vm_vcpu_fn *fn, void *opaque);

/* From devices (struct device_env.request with the vm as opaque) and exits: any thread. */
void vm_request(void *vm, int what, int arg);
void vm_nmi(struct vm *vm); /* to every vCPU, running or not */
/* A system management interrupt; any thread. Needs the host's caps.smm. */
enum vm_smi { VM_SMI_FIRST, VM_SMI_CURRENT /* on other threads the first */, VM_SMI_ALL };
void vm_smi(struct vm *vm, enum vm_smi whom);
/* Whether what the calling thread serves is an access of a vCPU in SMM. */
bool vm_in_smm(void);
void vm_powerdown(struct vm *vm); /* the ACPI power button; the chipset listens */
void vm_listen(struct vm *vm, struct vm_listener *l);

#endif
