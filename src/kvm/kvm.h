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
 * Theory of operation: the only room with KVM ioctls. struct kvm_host is /dev/kvm and what it can do; struct kvm_vm a virtual
 * machine with its in-kernel interrupt controllers, clock and memory slots; struct kvm_vcpu one vCPU whose
 * thread belongs to the caller. Missing capabilities are found when the host is opened, each named with what needs it.
 *
 * What is x86 (CPUID, MSRs, LAPIC, the state of a vCPU) is in kvm/x86/.
 */

struct kvm_vm;
struct kvm_vcpu;
struct memory;
struct bitmap;

/**
 * struct kvm_caps - What this host's KVM offers beyond the required minimum
 */
struct kvm_caps {
	unsigned int max_vcpus, max_slots;
	bool dirty_log_manual, dirty_log_initially_set;
	uint32_t dirty_ring_entries; /* 0: no ring */
	bool readonly_memory, pre_fault, immediate_exit, tsc_control, tsc_offset, xsave2,
		nested_state;
	bool msi_irqfd, ioeventfd_any_length, exception_payload, msr_filter, kvmclock_realtime,
		x2apic_api, triple_fault_event;
};

/**
 * struct kvm_host - /dev/kvm, opened and checked
 */
struct kvm_host {
	int fd;
	size_t run_size;
	struct kvm_caps caps;
};

MUST_CHECK int kvm_host_open(struct kvm_host *h,
			     struct err *e); /* EACCES and ENOENT come with the remedy */
void kvm_host_close(struct kvm_host *h);

MUST_CHECK int kvm_vm_create(struct kvm_vm **ret, struct kvm_host *h,
			     struct err *e); /* with irqchip and PIT on x86 */
void kvm_vm_destroy(struct kvm_vm *vm);
int kvm_vm_fd(const struct kvm_vm *vm);
/* Turns the flattened memory view into slots and keeps them so; dirty logging per slot follows kvm_dirty_start(). */
MUST_CHECK int kvm_slots_attach(struct kvm_vm *vm, struct memory *m, struct err *e);

/* Dirty pages: log (with manual protect where offered) or ring, one interface. */
MUST_CHECK int kvm_dirty_start(struct kvm_vm *vm, struct err *e);
MUST_CHECK int kvm_dirty_collect(struct kvm_vm *vm,
				 struct err *e); /* ORs into each ram_block's dirty bitmap */
/* Write-protects again the pages of a block that are about to be sent (manual protect). Units: 4 KiB pages. */
MUST_CHECK int kvm_dirty_clear(struct kvm_vm *vm, void *ram_block, uint64_t first_page,
			       uint64_t pages, struct err *e);
void kvm_dirty_stop(struct kvm_vm *vm);

/* Interrupts and doorbells. Lines 0-23 are the IOAPIC's inputs (0-15 the PICs' as well). */
void kvm_irq_line(struct kvm_vm *vm, unsigned int gsi, bool level);
MUST_CHECK int kvm_msi_route(struct kvm_vm *vm, int *route, uint64_t addr, uint32_t data,
			     uint32_t devid, int fd);
void kvm_msi_unroute(struct kvm_vm *vm, int route, int fd);
void kvm_msi_send(struct kvm_vm *vm, uint64_t addr, uint32_t data, uint32_t devid);
MUST_CHECK int kvm_ioeventfd(struct kvm_vm *vm, bool port, uint64_t addr, unsigned int size,
			     bool datamatch, uint64_t match, int fd, bool on);

/* vCPUs. */
MUST_CHECK int kvm_vcpu_create(struct kvm_vcpu **ret, struct kvm_vm *vm, unsigned int id,
			       struct err *e);
void kvm_vcpu_destroy(struct kvm_vcpu *c);
struct kvm_run *kvm_vcpu_run_page(struct kvm_vcpu *c);
int kvm_vcpu_fd(const struct kvm_vcpu *c);
/* Runs until an exit. 0: look at the run page; -EINTR: kicked; else a negative errno. Own thread only. */
MUST_CHECK int kvm_vcpu_run(struct kvm_vcpu *c);
/* Makes the running or next kvm_vcpu_run() return -EINTR; any thread, no signal lost. */
void kvm_vcpu_kick(struct kvm_vcpu *c, pthread_t thread);
/* Completes a pending I/O exit so that the registers are consistent for capture. Own thread, stopped. */
MUST_CHECK int kvm_vcpu_complete_io(struct kvm_vcpu *c);

#endif
