/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each vCPU has a ring of (slot, page) entries that the kernel fills. An entry
 * is taken by reading its flag with acquire order and marked for reset with release order; one
 * KVM_RESET_DIRTY_RINGS for all rings then catches later writes again. A full ring makes the vCPU
 * exit (KVM_EXIT_DIRTY_RING_FULL), whose thread reaps too.
 *
 * Source: Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING
 */
#include "kvm/private.h"

#include <sys/ioctl.h>

/**
 * kvm_vcpu_dirtied() - How many pages the dirty ring of a vCPU has given so far
 * @c:		A vCPU; any thread
 *
 * A page counts if it was not known to be dirty. Without a ring this is 0.
 */
uint64_t kvm_vcpu_dirtied(const struct kvm_vcpu *c)
{
	return __atomic_load_n(&c->dirtied, __ATOMIC_RELAXED);
}

static bool reap_vcpu(struct kvm_vcpu *c, uint32_t entries, kvm_dirty_fn *fn, void *opaque)
{
	uint32_t n, new = 0;

	for (n = 0; n < entries; n++) {
		struct kvm_dirty_gfn *g = &c->ring[c->ring_next % entries];

		if (__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			break;
		new += fn(opaque, g->slot, g->offset);
		__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		c->ring_next++;
	}
	__atomic_fetch_add(&c->dirtied, new, __ATOMIC_RELAXED);
	return n > 0;
}

/**
 * kvm_ring_reap() - Take what the dirty rings hold
 * @vm:		A VM with rings
 * @fn:		Called for each page, before later writes to it are caught again
 * @opaque:	For @fn
 * @e:		Set on failure
 *
 * Errors: as KVM_RESET_DIRTY_RINGS
 * Return: 0, or a negative errno
 */
int kvm_ring_reap(struct kvm_vm *vm, kvm_dirty_fn *fn, void *opaque, struct err *e)
{
	uint32_t entries = (uint32_t)(vm->ring_bytes / sizeof(struct kvm_dirty_gfn));
	struct kvm_vcpu *c;
	bool any = false;

	pthread_mutex_lock(&vm->vcpus_lock);
	list_for_each (c, &vm->vcpus, link)
		if (c->ring)
			any |= reap_vcpu(c, entries, fn, opaque);
	pthread_mutex_unlock(&vm->vcpus_lock);
	if (any && ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0) < 0)
		return err_sys(e, "KVM_RESET_DIRTY_RINGS");
	return 0;
}
