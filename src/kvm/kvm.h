/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_KVM_H
#define KVM_KVM_H

#include "base/err.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Theory of operation: the only room with KVM ioctls. struct kvm_host is /dev/kvm and what it can
 * do; struct kvm_vm a virtual machine with its in-kernel interrupt controllers, clock and memory
 * slots; struct kvm_vcpu one vCPU whose thread belongs to the caller. Missing capabilities are
 * found when the host is opened, each named with what needs it.
 *
 * What is x86 (CPUID, MSRs, LAPIC, the state of a vCPU) is in kvm/x86/.
 */

struct kvm_vm;
struct kvm_vcpu;

/**
 * struct kvm_caps - What this host's KVM offers beyond the required minimum
 */
struct kvm_caps {
	unsigned int max_vcpus, max_slots;
	bool dirty_log_manual, dirty_log_initially_set;
	uint32_t dirty_ring_entries; /* 0: no ring */
	bool readonly_memory, pre_fault, tsc_control, tsc_offset, xsave2, nested_state;
	bool ioeventfd_any_length, exception_payload, msr_filter, kvmclock_realtime, x2apic_api,
		triple_fault_event, smm, stats;
};

/**
 * struct kvm_host - /dev/kvm, opened and checked
 */
struct kvm_host {
	int fd;
	size_t run_size;
	struct kvm_caps caps;
	size_t xsave_size;         /* x86: bytes of a vCPU's extended state */
	uint32_t xsave_offset[20]; /* and where its components lie; 0: not on this CPU */
};

MUST_CHECK int kvm_host_open(struct kvm_host *h,
			     struct err *e); /* EACCES and ENOENT come with the remedy */
void kvm_host_close(struct kvm_host *h);

/**
 * struct kvm_vm_options - Choices that hold for the life of a VM
 * @dirty_ring_entries: Collect dirty pages by a ring of this many entries a vCPU (power of two); 0:
 * by the log
 */
struct kvm_vm_options {
	uint32_t dirty_ring_entries;
};

/* With irqchip and PIT on x86. @options NULL: defaults. */
MUST_CHECK int kvm_vm_create(struct kvm_vm **ret, const struct kvm_host *h,
			     const struct kvm_vm_options *options, struct err *e);
void kvm_vm_destroy(struct kvm_vm *vm);
const struct kvm_host *kvm_vm_host(const struct kvm_vm *vm);
bool kvm_vm_has_ring(const struct kvm_vm *vm);
uint32_t kvm_vm_ring_entries(const struct kvm_vm *vm); /* of each vCPU; 0: no ring */

/* Number of a slot: @n below caps.max_slots; @space 0, or with caps.smm 1: what SMM sees. */
#define KVM_SLOT_ID(space, n) ((uint32_t)(space) << 16 | (uint32_t)(n))

/**
 * struct kvm_slot - A memory slot. memory/slots.c decides which there are
 * @id:		KVM_SLOT_ID()
 * @gpa:	First guest address
 * @size:	Bytes; 0 deletes the slot
 * @hva:	What is seen there
 * @readonly:	Guest writes exit
 * @log_dirty:	Note what vCPUs write
 */
struct kvm_slot {
	uint32_t id;
	uint64_t gpa, size;
	void *hva;
	bool readonly, log_dirty;
};

MUST_CHECK int kvm_slot_set(struct kvm_vm *vm, const struct kvm_slot *slot, struct err *e);
/* @words gets one bit a page of the slot; without manual protect this also begins the next
 * interval. */
MUST_CHECK int kvm_slot_dirty_get(struct kvm_vm *vm, uint32_t id, uint64_t *words, struct err *e);
/* Manual protect: catches later writes to pages whose bit is set in @words (bit 0 is @first, a
 * multiple of 64). */
MUST_CHECK int kvm_slot_dirty_clear(struct kvm_vm *vm, uint32_t id, uint64_t first, uint32_t pages,
				    const uint64_t *words, struct err *e);
/* Returns false if this page was known to be dirty: it doesn't count. KVM notes what it writes by
 * itself (clocks) each time anew. */
typedef bool kvm_dirty_fn(void *opaque, uint32_t slot, uint64_t page);
/* Dirty ring: gives each page noted by any vCPU to @fn and catches later writes to it. One caller
 * at a time. */
MUST_CHECK int kvm_ring_reap(struct kvm_vm *vm, kvm_dirty_fn *fn, void *opaque, struct err *e);

uint64_t kvm_vcpu_dirtied(const struct kvm_vcpu *c); /* pages that counted */

/* Interrupts and doorbells. Lines 0-23 are the IOAPIC's inputs (0-15 the PICs' as well). */
void kvm_irq_line(struct kvm_vm *vm, unsigned int gsi, bool level);
/* @route in: -1 for a new one; out: its handle. @fd -1: no eventfd (yet). Return: 0 or a negative
 * errno. */
MUST_CHECK int kvm_msi_route(struct kvm_vm *vm, int *route, uint64_t addr, uint32_t data,
			     uint32_t devid, int fd);
void kvm_msi_unroute(struct kvm_vm *vm, int route, int fd);
/* Route changes between begin and commit reach the kernel as one: each costs it a grace period. */
void kvm_routes_begin(struct kvm_vm *vm);
MUST_CHECK int kvm_routes_commit(struct kvm_vm *vm, struct err *e);
void kvm_msi_send(struct kvm_vm *vm, uint64_t addr, uint32_t data, uint32_t devid);
MUST_CHECK int kvm_ioeventfd(struct kvm_vm *vm, bool port, uint64_t addr, unsigned int size,
			     bool datamatch, uint64_t match, int fd, bool on);

/* vCPUs. */
MUST_CHECK int kvm_vcpu_create(struct kvm_vcpu **ret, struct kvm_vm *vm, unsigned int id,
			       struct err *e);
void kvm_vcpu_destroy(struct kvm_vcpu *c);
/* Out of the machine, which KVM can't do; created anew by its id it has the state it had. */
void kvm_vcpu_park(struct kvm_vcpu *c);
struct kvm_run *kvm_vcpu_run_page(struct kvm_vcpu *c);
int kvm_vcpu_fd(const struct kvm_vcpu *c);
unsigned int kvm_vcpu_id(const struct kvm_vcpu *c);
const struct kvm_host *kvm_vcpu_host(const struct kvm_vcpu *c);
/* Call once in the vCPU's thread before it runs: takes the kick signal. */
MUST_CHECK int kvm_vcpu_thread_init(struct err *e);
/*
 * Runs until an exit. 0: look at the run page; -EINTR: kicked (look at what was asked after this
 * returned, not before); else a negative errno. Own thread only.
 */
MUST_CHECK int kvm_vcpu_run(struct kvm_vcpu *c);
/* Makes the running or next kvm_vcpu_run() return -EINTR; any thread, no signal lost. */
void kvm_vcpu_kick(struct kvm_vcpu *c, pthread_t thread);
/*
 * Completes the I/O exit that was just served, so that the registers are consistent for capture.
 * -EINTR: done; 0: there is another exit to serve first (the rest of a wide access), then call
 * again. Own thread only.
 */
/* What the kernel's timers have for the vCPU becomes part of its state; no guest code runs. */
MUST_CHECK int kvm_vcpu_settle(struct kvm_vcpu *c, struct err *e);
MUST_CHECK int kvm_vcpu_complete_io(struct kvm_vcpu *c);

/* The vCPU's registers as text for a log, several lines. */
void kvm_vcpu_describe(struct kvm_vcpu *c, char *buf, size_t size);
/* Where the vCPU's page tables lead now; false: nowhere. Out of guest mode. */
bool kvm_vcpu_translate(struct kvm_vcpu *c, uint64_t gva, uint64_t *ret_gpa);
/* The kernel's counters; @values: as many as @d->size says. */
typedef void kvm_stat_fn(void *opaque, const struct kvm_stats_desc *d, const uint64_t *values);
MUST_CHECK int kvm_vm_stats(struct kvm_vm *vm, kvm_stat_fn *fn, void *opaque, struct err *e);
/* Once, out of guest mode; then a vCPU's can be read while it runs. */
void kvm_vcpu_stats_open(struct kvm_vcpu *c);
bool kvm_vcpu_stats_opened(const struct kvm_vcpu *c);
MUST_CHECK int kvm_vcpu_stats(const struct kvm_vcpu *c, kvm_stat_fn *fn, void *opaque,
			      struct err *e);
/* A non-maskable interrupt to a vCPU (watchdog, "inject-nmi"). */
void kvm_vcpu_nmi(struct kvm_vcpu *c);
/* A system management interrupt; needs caps.smm. */
void kvm_vcpu_smi(struct kvm_vcpu *c);
/* Whether the vCPU left guest mode from within SMM. Own thread. */
bool kvm_vcpu_in_smm(const struct kvm_vcpu *c);

#endif
