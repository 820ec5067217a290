/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: at each change of the view the wanted slots are computed and compared with
 * those that exist; only those that differ are touched, deletions first. The view is cut at 1 MiB,
 * so that firmware that shadows itself below never makes KVM drop the large slot above and all its
 * page tables. What SMM sees is a second set of slots, in KVM's second address space.
 *
 * Dirty logging: KVM notes writes by vCPUs per slot; slots_dirty_collect() merges them into the
 * blocks' bitmaps. With manual protect pages are caught again only by slots_dirty_clear(), shortly
 * before they are sent, so that a page written ten times in a round is sent once and
 * write-protected once. A slot that goes away is collected first.
 */
#include "memory/slots.h"
#include "base/owned.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SHIFT  12
#define FIXED_CUT   (1 * MiB)
#define SLOTS_ROOM  512
#define CLEAR_BATCH 65536U /* pages in one KVM_CLEAR_DIRTY_LOG: it holds KVM's lock */

/**
 * struct slot - A KVM slot and what it shows
 * @used:	It exists
 * @kvm:	As the kernel has it
 * @block:	What it shows
 * @offset:	From where in the block, bytes
 * @stale:	Found by nobody in the new view
 */
struct slot {
	bool used, stale;
	struct kvm_slot kvm;
	struct ram_block *block;
	uint64_t offset;
};

/**
 * struct slots - All slots of a VM. Changed under the memory lock
 * @listener:	At @m
 * @slot:	By address space and slot number
 * @limit:	How many KVM has in each space
 * @logging:	Dirty pages are being noted
 */
struct slots {
	struct memory_listener listener;
	struct memory *m;
	struct kvm_vm *vm;
	struct slot slot[MEMORY_SPACES][SLOTS_ROOM];
	uint32_t limit;
	bool logging;
};

/* One after the other: NULL begins, and ends. */
static struct slot *slot_next(struct slots *s, struct slot *slot)
{
	struct slot *all = &s->slot[0][0];

	for (slot = slot ? slot + 1 : all; slot < all + MEMORY_SPACES * SLOTS_ROOM; slot++)
		if (slot->used)
			return slot;
	return NULL;
}

#define for_each_slot(slot, s) \
	for (struct slot *slot = slot_next(s, NULL); slot; slot = slot_next(s, slot))

static uint64_t pages_of(const struct slot *s)
{
	return s->kvm.size >> PAGE_SHIFT;
}

static bool slot_logs(const struct slots *s, const struct slot *slot)
{
	return s->logging && !slot->kvm.readonly;
}

/* KVM's bits of one slot into its block's bitmap. */
static int slot_collect(struct slots *s, struct slot *slot, struct err *e)
{
	uint64_t words = DIV_ROUND_UP(pages_of(slot), 64);
	OWNED(uint64_t) *log = mem_calloc(words, sizeof(*log));
	int r;

	if (!log)
		return err_set(e, ENOMEM, "no memory for a dirty log of %" PRIu64 " pages",
			       pages_of(slot));
	r = kvm_slot_dirty_get(s->vm, slot->kvm.id, log, e);
	if (r == 0)
		bitmap_or(&slot->block->dirty, slot->offset >> PAGE_SHIFT, log, pages_of(slot));
	return r;
}

static bool ring_page(void *opaque, uint32_t id, uint64_t page)
{
	struct slots *s = opaque;
	struct slot *slot = &s->slot[id >> 16 & 1][(uint16_t)id % SLOTS_ROOM]; /* KVM_SLOT_ID() */

	if (!slot->used || page >= pages_of(slot) || !slot->block->dirty.words)
		return false;
	page += slot->offset >> PAGE_SHIFT;
	if (bitmap_test(&slot->block->dirty, page))
		return false;
	bitmap_set(&slot->block->dirty, page);
	return true;
}

static int slot_delete(struct slots *s, struct slot *slot, struct err *e)
{
	int r = 0;

	if (slot->kvm.log_dirty)
		r = kvm_vm_has_ring(s->vm) ? kvm_ring_reap(s->vm, ring_page, s, e)
					   : slot_collect(s, slot, e);
	if (r < 0)
		return r;
	slot->kvm.size = 0;
	slot->used = false;
	return kvm_slot_set(s->vm, &slot->kvm, e);
}

static int slot_create(struct slots *s, enum memory_space space, const struct slot *want,
		       struct err *e)
{
	struct slot *slot = s->slot[space];
	uint32_t id = 0;
	int r;

	while (id < s->limit && slot[id].used)
		id++;
	if (id == s->limit)
		return err_set(e, ENOSPC, "no free memory slot: KVM has %" PRIu32, s->limit);
	slot[id] = *want;
	slot[id].kvm.id = KVM_SLOT_ID(space, id);
	slot[id].kvm.log_dirty = slot_logs(s, want);
	r = kvm_slot_set(s->vm, &slot[id].kvm, e);
	slot[id].used = r == 0;
	return r;
}

static struct slot *slot_find_same(struct slots *s, enum memory_space space,
				   const struct slot *want)
{
	for (uint32_t i = 0; i < s->limit; i++) {
		struct slot *have = &s->slot[space][i];

		if (have->used && have->kvm.gpa == want->kvm.gpa &&
		    have->kvm.size == want->kvm.size && have->kvm.hva == want->kvm.hva &&
		    have->kvm.readonly == want->kvm.readonly)
			return have;
	}
	return NULL;
}

static struct slot slot_of(const struct memory_range *r, uint64_t at, uint64_t size)
{
	return (struct slot){
		.used = true,
		.block = r->block,
		.offset = r->offset + at,
		.kvm = {.gpa = r->gpa + at,
			.size = size,
			.hva = r->block->hva + r->offset + at,
			.readonly = r->readonly},
	};
}

/* The slots a view wants, cut at 1 MiB. @want has room for one more than ranges. */
static size_t slots_wanted(const struct memory_view *v, struct slot *want)
{
	size_t n = 0;

	for (size_t i = 0; i < v->len; i++) {
		const struct memory_range *r = &v->ranges[i];
		uint64_t head = r->gpa < FIXED_CUT && r->gpa + r->size > FIXED_CUT
					? FIXED_CUT - r->gpa
					: 0;

		if (head)
			want[n++] = slot_of(r, 0, head);
		want[n++] = slot_of(r, head, r->size - head);
	}
	return n;
}

static int slots_sync(struct slots *s, enum memory_space space, const struct slot *want, size_t n,
		      struct err *e)
{
	struct slot *slot = s->slot[space];
	int r = 0;

	for (uint32_t i = 0; i < s->limit; i++)
		slot[i].stale = true;
	for (size_t i = 0; i < n; i++) {
		struct slot *have = slot_find_same(s, space, &want[i]);

		if (have)
			have->stale = false;
	}
	for (uint32_t i = 0; i < s->limit && r == 0; i++)
		if (slot[i].used && slot[i].stale)
			r = slot_delete(s, &slot[i], e);
	for (size_t i = 0; i < n && r == 0; i++)
		if (!slot_find_same(s, space, &want[i]))
			r = slot_create(s, space, &want[i], e);
	return r;
}

static int view_changed(struct memory_listener *l, enum memory_space space,
			const struct memory_view *v, struct err *e)
{
	struct slots *s = CONTAINER_OF(l, struct slots, listener);
	OWNED(struct slot) *want = mem_calloc(v->len + 1, sizeof(*want));

	if (!want)
		return err_set(e, ENOMEM, "no memory for %zu memory slots", v->len);
	return slots_sync(s, space, want, slots_wanted(v, want), e);
}

/**
 * slots_attach() - Make the memory visible to a VM, now and after each change
 * @ret:	Set on success; release with slots_detach()
 * @m:		Guest memory
 * @vm:		Without slots
 * @e:		Set on failure
 *
 * Errors: ENOSPC too few slots; ENOMEM; as KVM_SET_USER_MEMORY_REGION
 * Return: 0, or a negative errno
 */
int slots_attach(struct slots **ret, struct memory *m, struct kvm_vm *vm, struct err *e)
{
	struct slots *s = mem_zalloc(sizeof(*s));
	int r = 0;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->m = m;
	s->vm = vm;
	s->limit = MIN(kvm_vm_host(vm)->caps.max_slots, (unsigned int)SLOTS_ROOM);
	s->listener.changed = view_changed;
	pthread_mutex_lock(&m->lock);
	for (unsigned int space = 0; space < m->spaces && r == 0; space++)
		if (m->views[space].now)
			r = view_changed(&s->listener, (enum memory_space)space,
					 m->views[space].now, e);
	memory_listen(m, &s->listener);
	pthread_mutex_unlock(&m->lock);
	if (r < 0) {
		slots_detach(s);
		return r;
	}
	*ret = s;
	return 0;
}

/**
 * slots_detach() - Stop following the memory; the VM keeps its slots until it is destroyed
 * @s:		Attached; or NULL
 */
void slots_detach(struct slots *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->m->lock);
	list_del(&s->listener.link);
	pthread_mutex_unlock(&s->m->lock);
	free(s);
}

static int slots_set_logging(struct slots *s, bool on, struct err *e)
{
	int r = 0;

	s->logging = on;
	for_each_slot(slot, s)
	{
		if (r < 0 || slot->kvm.log_dirty == slot_logs(s, slot))
			continue;
		slot->kvm.log_dirty = slot_logs(s, slot);
		r = kvm_slot_set(s->vm, &slot->kvm, e);
	}
	return r;
}

/**
 * slots_dirty_start() - Begin to note what vCPUs and this process write
 * @s:		Slots
 * @e:		Set on failure
 *
 * Errors: ENOMEM; as the ioctls
 * Return: 0, or a negative errno, and nothing is noted
 */
int slots_dirty_start(struct slots *s, struct err *e)
{
	int r = memory_track(s->m, true, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->m->lock);
	r = slots_set_logging(s, true, e);
	pthread_mutex_unlock(&s->m->lock);
	if (r < 0)
		slots_dirty_stop(s);
	return r;
}

/**
 * slots_dirty_collect() - Merge what vCPUs wrote into the blocks' bitmaps
 * @s:		Slots, between slots_dirty_start() and slots_dirty_stop()
 * @e:		Set on failure
 *
 * Errors: ENOMEM; as the ioctls
 * Return: 0, or a negative errno
 */
int slots_dirty_collect(struct slots *s, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&s->m->lock);
	if (kvm_vm_has_ring(s->vm))
		r = kvm_ring_reap(s->vm, ring_page, s, e);
	else
		for_each_slot(slot, s) if (r == 0 && slot->kvm.log_dirty)
			r = slot_collect(s, slot, e);
	pthread_mutex_unlock(&s->m->lock);
	return r;
}

/**
 * struct clearing - Pages of a block whose dirty bits are cleared
 * @which:	Of the whole block: only these, since the others' bits aren't collected yet
 * @base:	First page of the slot in the block
 * @first, @end: Range in the slot
 */
struct clearing {
	const struct bitmap *which;
	uint64_t base, first, end;
};

static uint32_t clear_batch(const struct slot *slot, const struct clearing *c, uint64_t at,
			    uint64_t *words)
{
	uint32_t pages = (uint32_t)MIN(pages_of(slot) - at, (uint64_t)CLEAR_BATCH);
	struct bitmap batch = {.words = words, .bits = pages};
	uint64_t hi = MIN(c->end, at + pages), page;

	memset(words, 0, CLEAR_BATCH / 8);
	page = bitmap_next(c->which, c->base + MAX(c->first, at));
	for (; page < c->base + hi; page = bitmap_next(c->which, page + 1))
		bitmap_set(&batch, page - c->base - at);
	return (uint32_t)MIN(ALIGN_UP(hi - at, 64), (uint64_t)pages);
}

static int slot_clear(struct slots *s, const struct slot *slot, const struct clearing *c,
		      struct err *e)
{
	uint64_t words[CLEAR_BATCH / 64];
	int r = 0;

	for (uint64_t at = ALIGN_DOWN(c->first, 64); at < c->end && r == 0; at += CLEAR_BATCH) {
		uint32_t pages = clear_batch(slot, c, at, words);

		r = kvm_slot_dirty_clear(s->vm, slot->kvm.id, at, pages, words, e);
	}
	return r;
}

/**
 * slots_dirty_clear() - Catch later writes to pages of a block again (manual protect; nothing to do
 * otherwise)
 * @s:		Slots
 * @b:		Block
 * @which:	Pages of the block that must be sent (read) after this: what vCPUs wrote to them so
 *		far is forgotten. The others stay as they are
 * @first_page:	Of the range that is looked at, in units of 4 KiB
 * @pages:	How many
 * @e:		Set on failure
 *
 * Errors: as KVM_CLEAR_DIRTY_LOG
 * Return: 0, or a negative errno
 */
int slots_dirty_clear(struct slots *s, struct ram_block *b, const struct bitmap *which,
		      uint64_t first_page, uint64_t pages, struct err *e)
{
	int r = 0;

	if (kvm_vm_has_ring(s->vm) || !kvm_vm_host(s->vm)->caps.dirty_log_manual)
		return 0;
	pthread_mutex_lock(&s->m->lock);
	for_each_slot(slot, s)
	{
		uint64_t base = slot->offset >> PAGE_SHIFT;
		struct clearing c = {which, base, MAX(first_page, base) - base,
				     MIN(first_page + pages, base + pages_of(slot))};

		if (r < 0 || !slot->kvm.log_dirty || slot->block != b || c.end <= base)
			continue;
		c.end -= base;
		if (c.first < c.end)
			r = slot_clear(s, slot, &c, e);
	}
	pthread_mutex_unlock(&s->m->lock);
	return r;
}

/**
 * slots_dirty_stop() - End what slots_dirty_start() began
 * @s:		Slots
 */
void slots_dirty_stop(struct slots *s)
{
	/* Only a flag of existing slots changes; if that fails the guest is slower, no more. */
	struct err e;

	pthread_mutex_lock(&s->m->lock);
	if (slots_set_logging(s, false, &e) < 0)
		s->logging = false;
	pthread_mutex_unlock(&s->m->lock);
	if (memory_track(s->m, false, &e) < 0)
		return;
}
