/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: everything that reaches into guest memory by guest address comes through
 * here: one lookup in the current view, one comparison of the length, then a pointer. Dirty pages
 * are counted in the block, 4 KiB each.
 */
#include "memory/view.h"

#include <string.h>

#define DIRTY_SHIFT 12

/**
 * memory_mark_block() - Note that this process has written to a block
 * @m:		Guest memory
 * @b:		The block, mapped or not
 * @offset:	In the block
 * @len:	Bytes, > 0
 */
void memory_mark_block(struct memory *m, struct ram_block *b, uint64_t offset, uint64_t len)
{
	uint64_t first = offset >> DIRTY_SHIFT, last = (offset + len - 1) >> DIRTY_SHIFT;

	if (__atomic_load_n(&m->tracking, __ATOMIC_RELAXED) && b->dirty.words)
		bitmap_set_range(&b->dirty, first, last - first + 1);
}

/**
 * memory_ptr() - The one gate: guest physical range to pointer
 * @m:		Guest memory
 * @gpa:	First address
 * @len:	Bytes, > 0; the range may not cross from one block to another
 * @access:	MEMORY_WRITE marks the pages dirty while tracking, and refuses read-only ranges
 *
 * Return: pointer valid while the guest has this mapping, or NULL if any byte isn't RAM
 */
void *memory_ptr(struct memory *m, gpa_t gpa, uint64_t len, enum memory_access access)
{
	struct memory_range r;
	uint64_t at;

	if (!len || !view_find(&m->views[MEMORY_NORMAL], gpa, &r))
		return NULL;
	at = gpa - r.gpa;
	if (len > r.size - at || (access == MEMORY_WRITE && r.readonly))
		return NULL;
	if (access == MEMORY_WRITE)
		memory_mark_block(m, r.block, r.offset + at, len);
	return r.block->hva + r.offset + at;
}

/* Bytes from @gpa to the end of its range, at most @len; 0 if @gpa is no memory for @access. */
static uint64_t piece(const struct memory_views *views, gpa_t gpa, uint64_t len,
		      enum memory_access access, struct memory_range *r)
{
	if (!view_find(views, gpa, r) || (access == MEMORY_WRITE && r->readonly))
		return 0;
	return MIN(len, r->size - (gpa - r->gpa));
}

/**
 * memory_read_in() - Copy from guest memory, across blocks
 * @m:		Guest memory
 * @space:	Who looks
 * @gpa:	First address
 * @buf:	Filled in
 * @len:	Bytes
 *
 * Return: false (and nothing promised about @buf) if any byte isn't RAM or ROM
 */
bool memory_read_in(struct memory *m, enum memory_space space, gpa_t gpa, void *buf, uint64_t len)
{
	struct memory_range r;
	uint8_t *to = buf;

	while (len) {
		uint64_t n = piece(&m->views[space], gpa, len, MEMORY_READ, &r);

		if (!n)
			return false;
		memcpy(to, r.block->hva + r.offset + (gpa - r.gpa), n);
		to += n;
		gpa += n;
		len -= n;
	}
	return true;
}

/**
 * memory_read() - Copy from guest memory as devices see it
 * @m:		Guest memory
 * @gpa:	First address
 * @buf:	Filled in
 * @len:	Bytes
 *
 * Return: as memory_read_in()
 */
bool memory_read(struct memory *m, gpa_t gpa, void *buf, uint64_t len)
{
	return memory_read_in(m, MEMORY_NORMAL, gpa, buf, len);
}

/**
 * memory_write_in() - Copy to guest memory, across blocks
 * @m:		Guest memory
 * @space:	Who looks
 * @gpa:	First address
 * @buf:	What
 * @len:	Bytes
 *
 * Return: false if any byte isn't RAM the guest can write; what lies before it has been written
 */
bool memory_write_in(struct memory *m, enum memory_space space, gpa_t gpa, const void *buf,
		     uint64_t len)
{
	struct memory_range r;
	const uint8_t *from = buf;

	while (len) {
		uint64_t n = piece(&m->views[space], gpa, len, MEMORY_WRITE, &r);
		uint64_t offset;

		if (!n)
			return false;
		offset = r.offset + (gpa - r.gpa);
		memcpy(r.block->hva + offset, from, n);
		memory_mark_block(m, r.block, offset, n);
		from += n;
		gpa += n;
		len -= n;
	}
	return true;
}

/**
 * memory_write() - Copy to guest memory as devices see it
 * @m:		Guest memory
 * @gpa:	First address
 * @buf:	What
 * @len:	Bytes
 *
 * Return: as memory_write_in()
 */
bool memory_write(struct memory *m, gpa_t gpa, const void *buf, uint64_t len)
{
	return memory_write_in(m, MEMORY_NORMAL, gpa, buf, len);
}

/**
 * memory_mark_dirty() - Mark what was written through a pointer
 * @m:		Guest memory
 * @gpa:	First address
 * @len:	Bytes; parts that aren't RAM are passed over
 */
void memory_mark_dirty(struct memory *m, gpa_t gpa, uint64_t len)
{
	struct memory_range r;

	if (!__atomic_load_n(&m->tracking, __ATOMIC_RELAXED))
		return;
	while (len) {
		uint64_t n = piece(&m->views[MEMORY_NORMAL], gpa, len, MEMORY_READ, &r);

		if (!n)
			return;
		memory_mark_block(m, r.block, r.offset + (gpa - r.gpa), n);
		gpa += n;
		len -= n;
	}
}

/**
 * memory_block_of() - Block and offset of a pointer that memory_ptr() gave
 * @m:		Guest memory
 * @hva:	The pointer
 * @ret_offset:	Set if found: bytes from the block's beginning
 *
 * Return: the block, or NULL if it is in none
 */
struct ram_block *memory_block_of(struct memory *m, const void *hva, uint64_t *ret_offset)
{
	const uint8_t *p = hva;
	struct ram_block *b, *found = NULL;

	pthread_mutex_lock(&m->lock);
	list_for_each (b, &m->blocks, link)
		if (p >= b->hva && (uint64_t)(p - b->hva) < b->resizable_max)
			found = b;
	if (found)
		*ret_offset = (uint64_t)(p - found->hva);
	pthread_mutex_unlock(&m->lock);
	return found;
}
