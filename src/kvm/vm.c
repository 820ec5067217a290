/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a VM is created with everything that takes long (interrupt controllers,
 * PIT), since all of this happens before a guest is paused for a hand-over. Memory comes as slots
 * from memory/slots.c.
 */
#include "base/owned.h"
#include "kvm/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int enable_cap(int fd, uint32_t number, uint64_t arg)
{
	struct kvm_enable_cap c = {.cap = number, .args = {arg}};

	return ioctl(fd, KVM_ENABLE_CAP, &c);
}

/* The ring must be chosen before the first vCPU; the log's manual mode excludes it. */
static int dirty_init(struct kvm_vm *vm, uint32_t ring_entries, struct err *e)
{
	const struct kvm_caps *caps = &vm->host->caps;
	uint64_t mode = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	if (ring_entries) {
		if (ring_entries > caps->dirty_ring_entries || !IS_POWER_OF_2(ring_entries))
			return err_set(e, EINVAL,
				       "dirty ring of %" PRIu32
				       " entries: this host offers powers of two up to %" PRIu32,
				       ring_entries, caps->dirty_ring_entries);
		vm->ring_bytes = ring_entries * sizeof(struct kvm_dirty_gfn);
		if (enable_cap(vm->fd, KVM_CAP_DIRTY_LOG_RING, vm->ring_bytes) < 0)
			return err_sys(e, "KVM_CAP_DIRTY_LOG_RING");
		return 0;
	}
	if (caps->dirty_log_initially_set)
		mode |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (caps->dirty_log_manual &&
	    enable_cap(vm->fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, mode) < 0)
		return err_sys(e, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	return 0;
}

static int create_fd(const struct kvm_host *h, int *ret_fd, struct err *e)
{
	int fd;

	do
		fd = ioctl(h->fd, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_sys(e, "KVM_CREATE_VM");
	*ret_fd = fd;
	return 0;
}

static int vm_init(struct kvm_vm *vm, const struct kvm_vm_options *o, struct err *e)
{
	int r = create_fd(vm->host, &vm->fd, e);

	if (r == 0)
		r = dirty_init(vm, o ? o->dirty_ring_entries : 0, e);
	if (r == 0)
		r = kvm_arch_vm_init(vm, e);
	if (r == 0)
		r = kvm_routing_init(vm, e);
	return r;
}

/**
 * kvm_vm_create() - Create a virtual machine without memory and vCPUs
 * @ret:	Set on success; release with kvm_vm_destroy()
 * @h:		The host; must outlive the VM
 * @options:	NULL: defaults
 * @e:		Set on failure
 *
 * Errors: EINVAL the dirty ring's size; else as the ioctls
 * Return: 0, or a negative errno
 */
int kvm_vm_create(struct kvm_vm **ret, const struct kvm_host *h,
		  const struct kvm_vm_options *options, struct err *e)
{
	struct kvm_vm *vm = mem_zalloc(sizeof(*vm));
	int r;

	if (!vm)
		return err_set(e, ENOMEM, "out of memory");
	vm->fd = vm->stats_fd = -1;
	vm->host = h;
	list_init(&vm->vcpus);
	pthread_mutex_init(&vm->vcpus_lock, NULL);
	pthread_mutex_init(&vm->routing.lock, NULL);
	r = vm_init(vm, options, e);
	if (r < 0) {
		kvm_vm_destroy(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

/**
 * kvm_vm_destroy() - Release a VM
 * @vm:		Without vCPUs but parked ones; or NULL
 */
void kvm_vm_destroy(struct kvm_vm *vm)
{
	if (!vm)
		return;
	while (!list_empty(&vm->vcpus))
		kvm_vcpu_destroy(list_entry(vm->vcpus.next, struct kvm_vcpu, link));
	pthread_mutex_destroy(&vm->vcpus_lock);
	kvm_routing_destroy(vm);
	fd_close(&vm->stats_fd);
	fd_close(&vm->fd);
	free(vm);
}

/**
 * kvm_vm_host() - The host a VM was created on
 * @vm:		A VM
 *
 * Return: as given to kvm_vm_create()
 */
const struct kvm_host *kvm_vm_host(const struct kvm_vm *vm)
{
	return vm->host;
}

/**
 * kvm_vm_has_ring() - Are dirty pages collected by ring?
 * @vm:		A VM
 *
 * Return: true: by ring, false: by log
 */
bool kvm_vm_has_ring(const struct kvm_vm *vm)
{
	return vm->ring_bytes != 0;
}

/**
 * kvm_vm_ring_entries() - How many pages a vCPU can write before its dirty ring is full
 * @vm:		A VM
 *
 * Return: entries, 0 without a ring
 */
uint32_t kvm_vm_ring_entries(const struct kvm_vm *vm)
{
	return (uint32_t)(vm->ring_bytes / sizeof(struct kvm_dirty_gfn));
}

/**
 * kvm_slot_set() - Create, change or delete a memory slot
 * @vm:		A VM
 * @slot:	What it shall be; of an existing slot only @log_dirty can change, or its size to 0
 * @e:		Set on failure
 *
 * Errors: as KVM_SET_USER_MEMORY_REGION
 * Return: 0, or a negative errno
 */
int kvm_slot_set(struct kvm_vm *vm, const struct kvm_slot *slot, struct err *e)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot->id,
		.flags = (slot->readonly ? KVM_MEM_READONLY : 0) |
			 (slot->log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->size,
		.userspace_addr = (uintptr_t)slot->hva,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return err_sys(e, "memory slot %" PRIu32 " at %#" PRIx64 ", %#" PRIx64 " bytes",
			       slot->id, slot->gpa, slot->size);
	return 0;
}

/**
 * kvm_slot_dirty_get() - Read a slot's dirty log
 * @vm:		A VM
 * @id:		Slot with @log_dirty
 * @words:	Filled in: a bit a page, whole words
 * @e:		Set on failure
 *
 * With manual protect pages stay as they are until kvm_slot_dirty_clear(); else this write-protects
 * again.
 *
 * Errors: as KVM_GET_DIRTY_LOG
 * Return: 0, or a negative errno
 */
int kvm_slot_dirty_get(struct kvm_vm *vm, uint32_t id, uint64_t *words, struct err *e)
{
	struct kvm_dirty_log log = {.slot = id, .dirty_bitmap = words};

	if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return err_sys(e, "dirty log of slot %" PRIu32, id);
	return 0;
}

/**
 * kvm_slot_dirty_clear() - Catch later writes to pages again (manual protect)
 * @vm:		A VM
 * @id:		Slot
 * @first:	First page, a multiple of 64
 * @pages:	How many; a multiple of 64, or up to the slot's end
 * @words:	Which of them, bit 0 is @first
 * @e:		Set on failure
 *
 * Errors: as KVM_CLEAR_DIRTY_LOG
 * Return: 0, or a negative errno
 */
int kvm_slot_dirty_clear(struct kvm_vm *vm, uint32_t id, uint64_t first, uint32_t pages,
			 const uint64_t *words, struct err *e)
{
	struct kvm_clear_dirty_log log = {
		.slot = id,
		.first_page = first,
		.num_pages = pages,
		.dirty_bitmap = (void *)(uintptr_t)words,
	};

	if (!vm->host->caps.dirty_log_manual)
		return 0;
	if (ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log) < 0)
		return err_sys(e, "clear the dirty log of slot %" PRIu32 ", page %" PRIu64, id,
			       first);
	return 0;
}
