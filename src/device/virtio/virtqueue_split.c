/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the split ring (VIRTIO 1.2, 2.7): a descriptor table; the available ring,
 * written by the driver (flags, idx, ring[num], used_event); the used ring, written by the device
 * (flags, idx, ring[num] of id and len, avail_event). Indices run freely modulo 2^16. The driver's
 * index is read with acquire order before the entries it covers, ours is written with release order
 * after them. Between writing our index (or event) and reading the driver's event (or index) stands
 * a full barrier, else both sides could miss each other.
 */
#include "device/virtio/virtqueue.h"

#include "base/bytes.h"

#define AVAIL_RING           4
#define USED_RING            4
#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY     1

static uint16_t avail_idx_load(struct virtqueue *q)
{
	uint16_t *p = virtq_ring_ptr(q, q->s.avail, 2, 2, MEMORY_READ);

	if (p)
		q->shadow_avail = le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
	return q->shadow_avail;
}

/* The driver can't have made more available than the ring holds. */
static bool avail_refresh(struct virtqueue *q)
{
	uint16_t ahead = (uint16_t)(avail_idx_load(q) - q->s.last_avail);

	if (ahead > q->s.num)
		virtqueue_break(q, "available index runs too far ahead");
	return !q->broken && ahead;
}

/**
 * split_empty() - virtqueue_empty() of a split ring
 * @q:		The queue
 *
 * Return: whether nothing is available
 */
bool split_empty(struct virtqueue *q)
{
	return q->shadow_avail == q->s.last_avail && !avail_refresh(q);
}

static bool head_load(struct virtqueue *q, uint16_t *ret)
{
	uint64_t slot = AVAIL_RING + 2ULL * (q->s.last_avail & (q->s.num - 1));
	uint16_t *p = virtq_ring_ptr(q, q->s.avail, slot, 2, MEMORY_READ);

	if (!p)
		return false;
	*ret = le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
	if (*ret >= q->s.num)
		virtqueue_break(q, "head is outside the descriptor table");
	return !q->broken;
}

/* Walks a table from @at. An indirect descriptor may end a direct chain; an indirect table holds
 * none. */
static bool table_walk(struct virtqueue *q, gpa_t table, uint32_t entries, uint32_t at,
		       struct virtq_desc *ret_indirect)
{
	struct virtq_desc d;

	for (uint32_t steps = 0; steps < entries; steps++) {
		if (!virtq_desc_fetch(q, table, at, &d))
			return false;
		if (d.flags & VIRTQ_DESC_F_INDIRECT) {
			if (!ret_indirect)
				virtqueue_break(q, "indirect table in an indirect table");
			else
				*ret_indirect = d;
			return !q->broken && virtq_indirect_check(q, &d);
		}
		if (!virtq_add_buffer(q, &d))
			return false;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			return true;
		at = d.next;
		if (at >= entries)
			break;
	}
	virtqueue_break(q, at >= entries ? "chain leaves its table" : "chain loops");
	return false;
}

static bool chain_walk(struct virtqueue *q, uint16_t head)
{
	struct virtq_desc indirect = {.len = 0};

	if (!table_walk(q, q->s.desc, q->s.num, head, &indirect))
		return false;
	if (!indirect.len)
		return true;
	return table_walk(q, indirect.gpa, indirect.len / VIRTQ_DESC_SIZE, 0, NULL);
}

/**
 * split_pop() - virtqueue_pop() of a split ring
 * @q:		The queue, its scratch cleared
 * @size:	Of the request
 *
 * Return: the chain, or NULL
 */
struct virtq_chain *split_pop(struct virtqueue *q, size_t size)
{
	uint16_t head;

	if (split_empty(q))
		return NULL;
	if (q->s.inuse >= q->s.num) {
		virtqueue_break(q, "more chains in flight than the ring holds");
		return NULL;
	}
	if (!head_load(q, &head) || !chain_walk(q, head))
		return NULL;
	q->s.last_avail++;
	return virtq_chain_make(q, size, head, 1);
}

/**
 * split_push() - virtqueue_push() of a split ring
 * @q:		The queue
 * @c:		The chain
 * @written:	Bytes
 */
void split_push(struct virtqueue *q, const struct virtq_chain *c, uint32_t written)
{
	uint16_t at = (uint16_t)(q->s.used_idx + q->filled) & (uint16_t)(q->s.num - 1);
	uint64_t offset = USED_RING + 8ULL * at;
	uint8_t *p = virtq_ring_ptr(q, q->s.used, offset, 8, MEMORY_WRITE);

	if (!p)
		return;
	store_le32(p, c->id);
	store_le32(p + 4, written);
	memory_mark_dirty(q->memory, q->s.used + offset, 8);
	q->filled++;
}

/* Writes 16 bits where the driver looks without a lock. */
static void used_store(struct virtqueue *q, uint64_t offset, uint16_t value)
{
	uint16_t *p = virtq_ring_ptr(q, q->s.used, offset, 2, MEMORY_WRITE);

	if (!p)
		return;
	__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
	memory_mark_dirty(q->memory, q->s.used + offset, 2);
}

/**
 * split_flush() - virtqueue_flush() of a split ring
 * @q:		The queue
 */
void split_flush(struct virtqueue *q)
{
	uint16_t now = (uint16_t)(q->s.used_idx + q->filled);

	/* An interrupt for an index 2^16 ago says nothing about this one. */
	if ((uint16_t)(now - q->signalled) < q->filled)
		q->signalled_valid = false;
	used_store(q, 2, now);
	q->s.used_idx = now;
}

/**
 * split_want_kicks() - virtqueue_want_kicks() of a split ring
 * @q:		The queue
 * @on:		Whether to be signalled
 */
void split_want_kicks(struct virtqueue *q, bool on)
{
	if (q->features & VIRTQ_F_EVENT_IDX) {
		/* Off needs no write: the event stays behind and isn't passed again. */
		if (on)
			used_store(q, USED_RING + 8ULL * q->s.num, q->s.last_avail);
	} else {
		used_store(q, 0, on ? 0 : USED_F_NO_NOTIFY);
	}
	if (on)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static bool avail_load(struct virtqueue *q, uint64_t offset, uint16_t *ret)
{
	uint16_t *p = virtq_ring_ptr(q, q->s.avail, offset, 2, MEMORY_READ);

	if (p)
		*ret = le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
	return p;
}

/**
 * split_should_notify() - virtqueue_should_notify() of a split ring
 * @q:		The queue
 *
 * Return: whether to interrupt
 */
bool split_should_notify(struct virtqueue *q)
{
	uint16_t word, before = q->signalled;
	bool valid = q->signalled_valid;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->features & VIRTQ_F_NOTIFY_EMPTY && !q->s.inuse && split_empty(q))
		return true;
	if (!(q->features & VIRTQ_F_EVENT_IDX))
		return avail_load(q, 0, &word) && !(word & AVAIL_F_NO_INTERRUPT);
	if (!avail_load(q, AVAIL_RING + 2ULL * q->s.num, &word))
		return false;
	q->signalled = q->s.used_idx;
	q->signalled_valid = true;
	return !valid || virtq_passed(word, q->s.used_idx, before);
}

/**
 * split_resume() - Take up the indices that are in guest memory
 * @q:		With last_avail from the stream
 *
 * Return: false: they contradict each other and the queue is broken
 */
bool split_resume(struct virtqueue *q)
{
	uint16_t *p = virtq_ring_ptr(q, q->s.used, 2, 2, MEMORY_READ);

	if (!p)
		return false;
	q->s.used_idx = le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
	q->s.inuse = (uint16_t)(q->s.last_avail - q->s.used_idx);
	if (q->s.inuse > q->s.num) {
		q->s.inuse = 0;
		virtqueue_break(q, "used index contradicts the loaded state");
		return false;
	}
	avail_refresh(q);
	return !q->broken;
}
