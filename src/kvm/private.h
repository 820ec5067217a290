/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_PRIVATE_H
#define KVM_PRIVATE_H

#include "base/list.h"
#include "kvm/kvm.h"

/* Inside the kvm room only. */

#define KVM_ROUTES_MAX 4096

/**
 * struct kvm_msi_entry - One GSI above the IOAPIC's
 * @used:	Handed out
 * @fd:		Eventfd bound to it, or -1; borrowed
 * @addr, @data, @devid: The message
 */
struct kvm_msi_entry {
	bool used;
	int fd;
	uint64_t addr;
	uint32_t data, devid;
};

/**
 * struct kvm_routing - The GSI routing table as the kernel has it or will have it
 * @lock:	Protects all of it
 * @fixed:	Entries of the interrupt controllers' pins, made once
 * @fixed_len:	How many
 * @msi:	Message entries; GSI is KVM_MSI_GSI0 + index
 * @msi_len:	One past the last used
 * @depth:	Of kvm_routes_begin()
 * @changed:	The kernel's copy is old
 */
struct kvm_routing {
	pthread_mutex_t lock;
	struct kvm_irq_routing_entry fixed[64];
	unsigned int fixed_len;
	struct kvm_msi_entry *msi;
	unsigned int msi_len, msi_room;
	unsigned int depth;
	bool changed;
};

/**
 * struct kvm_vm - A virtual machine. Created and destroyed by the main thread
 * @fd:		Of KVM_CREATE_VM
 * @host:	Borrowed; outlives it
 * @vcpus_lock:	A leaf lock: protects @vcpus
 * @vcpus:	struct kvm_vcpu, in creation order, parked ones included
 * @ring_bytes:	Size of each vCPU's dirty ring; 0: log
 * @routing:	Interrupt routes
 */
struct kvm_vm {
	int fd;
	const struct kvm_host *host;
	pthread_mutex_t vcpus_lock;
	struct list vcpus;
	size_t ring_bytes;
	struct kvm_routing routing;
	int stats_fd;
};

/**
 * struct kvm_vcpu - A virtual CPU
 * @link:	In struct kvm_vm
 * @fd:		Of KVM_CREATE_VCPU
 * @id:		APIC id on x86
 * @vm:		Its machine
 * @run:	Shared with the kernel
 * @ring:	Dirty ring, or NULL
 * @ring_next:	Next entry to look at
 * @dirtied:	Pages of the ring that counted so far; written by whoever reaps, atomic
 * @in_run:	Atomic: the thread is in KVM_RUN or about to be
 * @parked:	Nobody's, until one with this id is created
 * @stats_fd:	The kernel's counters; -1: nobody has asked, or there are none
 */
struct kvm_vcpu {
	struct list link;
	int fd;
	unsigned int id;
	struct kvm_vm *vm;
	struct kvm_run *run;
	struct kvm_dirty_gfn *ring;
	uint32_t ring_next;
	uint64_t dirtied;
	bool in_run, parked;
	int stats_fd;
};

#define KVM_MSI_GSI0 24

MUST_CHECK int kvm_routing_init(struct kvm_vm *vm, struct err *e);
void kvm_routing_destroy(struct kvm_vm *vm);

/* Per architecture. */
MUST_CHECK int kvm_arch_host_check(struct kvm_host *h, struct err *e);
MUST_CHECK int kvm_arch_vm_init(struct kvm_vm *vm, struct err *e);
unsigned int kvm_arch_fixed_routes(struct kvm_irq_routing_entry *entries);

#endif
