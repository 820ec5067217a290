/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the packed ring (VIRTIO 1.2, 2.8): one ring of descriptors that the driver
 * makes available and the device overwrites with used ones. Whose an entry is say its AVAIL and
 * USED bits compared with a wrap counter on each side that flips each time round. A chain takes
 * consecutive entries, its buffer id is in the last one. The flags of the first entry of a batch
 * are written last, with release order, so the driver sees a batch whole. Two small areas hold each
 * side's wish for signals: the driver's at s.avail, the device's at s.used (off_wrap, flags).
 */
#include "device/virtio/virtqueue.h"

#include "base/bytes.h"

#define DESC_F_AVAIL  (1u << 7)
#define DESC_F_USED   (1u << 15)
#define DESC_FLAGS    14

#define EVENT_ENABLE  0
#define EVENT_DISABLE 1
#define EVENT_DESC    2
#define EVENT_WRAP    (1u << 15)

static bool flags_available(uint16_t flags, bool wrap)
{
	bool avail = flags & DESC_F_AVAIL, used = flags & DESC_F_USED;

	return avail == wrap && used != wrap;
}

/* Moves a ring position on by @n entries. */
static void advance(const struct virtqueue *q, uint16_t *at, bool *wrap, unsigned int n)
{
	unsigned int to = *at + n;

	if (to >= q->s.num) {
		to -= q->s.num;
		*wrap = !*wrap;
	}
	*at = (uint16_t)to;
}

/**
 * packed_empty() - virtqueue_empty() of a packed ring
 * @q:		The queue
 *
 * Return: whether nothing is available
 */
bool packed_empty(struct virtqueue *q)
{
	uint64_t offset = (uint64_t)q->s.last_avail * VIRTQ_DESC_SIZE + DESC_FLAGS;
	uint16_t *p = virtq_ring_ptr(q, q->s.desc, offset, 2, MEMORY_READ);

	return !p ||
	       !flags_available(le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE)), q->s.avail_wrap);
}

static bool desc_fetch(struct virtqueue *q, gpa_t table, uint32_t at, struct virtq_desc *ret)
{
	uint16_t id;

	if (!virtq_desc_fetch(q, table, at, ret))
		return false;
	id = ret->flags; /* a packed descriptor ends with id, flags; a split one with flags, next */
	ret->flags = ret->next;
	ret->next = id;
	return true;
}

static bool indirect_walk(struct virtqueue *q, const struct virtq_desc *table)
{
	struct virtq_desc d;

	if (!virtq_indirect_check(q, table))
		return false;
	for (uint32_t i = 0; i < table->len / VIRTQ_DESC_SIZE; i++) {
		if (!desc_fetch(q, table->gpa, i, &d) || !virtq_add_buffer(q, &d))
			return false;
	}
	return true;
}

/* Reads the chain at last_avail: how many entries it takes and its id. 0: broken. */
static unsigned int chain_walk(struct virtqueue *q, uint16_t *ret_id)
{
	uint16_t at = q->s.last_avail;
	bool wrap = q->s.avail_wrap;
	struct virtq_desc d;

	for (unsigned int n = 1; n + q->s.inuse <= q->s.num; n++) {
		if (!desc_fetch(q, q->s.desc, at, &d))
			return 0;
		*ret_id = d.next;
		if (d.flags & VIRTQ_DESC_F_INDIRECT) {
			if (n > 1)
				virtqueue_break(q, "indirect descriptor inside a chain");
			return !q->broken && indirect_walk(q, &d) ? 1 : 0;
		}
		if (!virtq_add_buffer(q, &d))
			return 0;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			return n;
		advance(q, &at, &wrap, 1);
	}
	virtqueue_break(q, "chain is longer than the ring");
	return 0;
}

/**
 * packed_pop() - virtqueue_pop() of a packed ring
 * @q:		The queue, its scratch cleared
 * @size:	Of the request
 *
 * Return: the chain, or NULL
 */
struct virtq_chain *packed_pop(struct virtqueue *q, size_t size)
{
	unsigned int slots;
	uint16_t id;

	if (packed_empty(q))
		return NULL;
	slots = chain_walk(q, &id);
	if (!slots)
		return NULL;
	advance(q, &q->s.last_avail, &q->s.avail_wrap, slots);
	return virtq_chain_make(q, size, id, (uint16_t)slots);
}

static void flags_store(struct virtqueue *q, uint16_t at, uint16_t flags)
{
	uint64_t offset = (uint64_t)at * VIRTQ_DESC_SIZE + DESC_FLAGS;
	uint16_t *p = virtq_ring_ptr(q, q->s.desc, offset, 2, MEMORY_WRITE);

	if (!p)
		return;
	__atomic_store_n(p, htole16(flags), __ATOMIC_RELEASE);
	memory_mark_dirty(q->memory, q->s.desc + offset, 2);
}

/**
 * packed_push() - virtqueue_push() of a packed ring
 * @q:		The queue
 * @c:		The chain
 * @written:	Bytes
 */
void packed_push(struct virtqueue *q, const struct virtq_chain *c, uint32_t written)
{
	uint16_t at = q->s.used_idx;
	uint64_t offset = (uint64_t)at * VIRTQ_DESC_SIZE + 8;
	uint8_t *p = virtq_ring_ptr(q, q->s.desc, offset, 6, MEMORY_WRITE);
	uint16_t flags = q->s.used_wrap ? DESC_F_AVAIL | DESC_F_USED : 0;

	if (!p)
		return;
	if (written)
		flags |= VIRTQ_DESC_F_WRITE;
	store_le32(p, written);
	store_le16(p + 4, c->id);
	memory_mark_dirty(q->memory, q->s.desc + offset, 6);
	if (q->filled) {
		flags_store(q, at, flags);
	} else {
		q->head_at = at;
		q->head_flags = flags;
	}
	q->filled = (uint16_t)(q->filled + c->slots);
	advance(q, &q->s.used_idx, &q->s.used_wrap, c->slots);
	if (q->s.used_idx < c->slots)
		q->signalled_valid =
			false; /* went round: the last interrupt's place means nothing now */
}

/**
 * packed_flush() - virtqueue_flush() of a packed ring
 * @q:		The queue
 */
void packed_flush(struct virtqueue *q)
{
	flags_store(q, q->head_at, q->head_flags);
}

static void event_store(struct virtqueue *q, uint64_t offset, uint16_t value)
{
	uint16_t *p = virtq_ring_ptr(q, q->s.used, offset, 2, MEMORY_WRITE);

	if (!p)
		return;
	__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
	memory_mark_dirty(q->memory, q->s.used + offset, 2);
}

/**
 * packed_want_kicks() - virtqueue_want_kicks() of a packed ring
 * @q:		The queue
 * @on:		Whether to be signalled
 */
void packed_want_kicks(struct virtqueue *q, bool on)
{
	bool event = q->features & VIRTQ_F_EVENT_IDX;

	if (!on) {
		event_store(q, 2, EVENT_DISABLE);
		return;
	}
	if (event)
		event_store(q, 0, (uint16_t)(q->s.last_avail | (q->s.avail_wrap ? EVENT_WRAP : 0)));
	event_store(q, 2, event ? EVENT_DESC : EVENT_ENABLE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/**
 * packed_should_notify() - virtqueue_should_notify() of a packed ring
 * @q:		The queue
 *
 * Return: whether to interrupt
 */
bool packed_should_notify(struct virtqueue *q)
{
	const uint8_t *p;
	uint16_t off_wrap, flags, event, before = q->signalled;
	bool valid = q->signalled_valid;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	p = virtq_ring_ptr(q, q->s.avail, 0, 4, MEMORY_READ);
	if (!p)
		return false;
	off_wrap = load_le16(p);
	flags = load_le16(p + 2);
	q->signalled = q->s.used_idx;
	q->signalled_valid = true;
	if (flags != EVENT_DESC)
		return flags == EVENT_ENABLE;
	event = off_wrap & (EVENT_WRAP - 1);
	if (!!(off_wrap & EVENT_WRAP) != q->s.used_wrap)
		event = (uint16_t)(event - q->s.num);
	return !valid || virtq_passed(event, q->s.used_idx, before);
}
