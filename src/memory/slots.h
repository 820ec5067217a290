/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_SLOTS_H
#define MEMORY_SLOTS_H

#include "kvm/kvm.h"
#include "memory/memory.h"

/*
 * KVM memory slots of the flattened view, and the dirty pages of all writers as one: what vCPUs
 * write (KVM's log or ring) is merged into the same bitmaps that memory_ptr() marks.
 */

struct slots;

MUST_CHECK int slots_attach(struct slots **ret, struct memory *m, struct kvm_vm *vm, struct err *e);
void slots_detach(struct slots *s);

/* The first slots_dirty_collect() afterwards may report every page as dirty: begin with a full
 * copy. */
MUST_CHECK int slots_dirty_start(struct slots *s, struct err *e);
MUST_CHECK int slots_dirty_collect(struct slots *s, struct err *e);
/* Catches later writes to the pages of a block that are about to be sent; call after their bits
 * were taken. */
MUST_CHECK int slots_dirty_clear(struct slots *s, struct ram_block *b, const struct bitmap *which,
				 uint64_t first_page, uint64_t pages, struct err *e);
void slots_dirty_stop(struct slots *s);

#endif
