/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what split and packed rings share: life of a queue, chains (one allocation
 * that begins with the device's request struct and ends with its buffers), the accounting of what
 * is in flight, and breaking. See virtqueue.h for the interface and virtqueue_split.c,
 * virtqueue_packed.c for the rings.
 *
 * Dirty pages: memory_ptr() marks when it maps for writing, but a request may live across a
 * collection of dirty pages, so what was written is marked again when it is given back, after the
 * write and before the driver can know.
 */
#include "device/virtio/virtqueue.h"

#include "base/bytes.h"
#include "base/owned.h"

#include <assert.h>

static bool is_packed(const struct virtqueue *q)
{
	return q->features & VIRTQ_F_PACKED;
}

/**
 * virtqueue_init() - Make a queue that the driver hasn't set up yet
 * @q:		The queue
 * @m:		Guest memory
 * @scratch:	Shared by the queues of one owner thread; borrowed
 * @index:	Its number in the device
 * @num_max:	Entries offered, a power of two up to VIRTQUEUE_SIZE_MAX; 0: doesn't exist
 */
void virtqueue_init(struct virtqueue *q, struct memory *m, struct virtq_scratch *scratch,
		    unsigned int index, uint16_t num_max)
{
	*q = (struct virtqueue){.memory = m, .scratch = scratch, .index = index};
	q->s.num_max = num_max;
	virtqueue_reset(q);
}

/**
 * virtqueue_reset() - To the state before the driver set it up
 * @q:		Without chains in flight, or with chains that were detached
 */
void virtqueue_reset(struct virtqueue *q)
{
	q->s = (struct virtqueue_state){
		.num = q->s.num_max,
		.num_max = q->s.num_max,
		.avail_wrap = true,
		.used_wrap = true,
		.vector = VIRTQUEUE_NO_VECTOR,
	};
	q->active = q->broken = q->signalled_valid = false;
	q->shadow_avail = q->filled = q->signalled = 0;
}

/**
 * virtqueue_break() - The ring makes no sense: stop looking at it
 * @q:		Gives no more chains until it is reset
 * @why:	For the log, what the driver did
 */
void virtqueue_break(struct virtqueue *q, const char *why)
{
	if (q->broken)
		return;
	q->broken = true;
	q->breaks++;
	if (q->on_broken)
		q->on_broken(q, why);
}

static bool ring_aligned(const struct virtqueue *q)
{
	if (is_packed(q))
		return !(q->s.desc % 16) && !(q->s.avail % 4) && !(q->s.used % 4);
	return !(q->s.desc % 16) && !(q->s.avail % 2) && !(q->s.used % 4);
}

/**
 * virtqueue_start() - The driver has set the queue up
 * @q:		With addresses and size
 * @features:	Negotiated
 *
 * Source: VIRTIO 1.2, 2.7 (alignment, power of two) and 2.8
 * Return: false: the driver's set-up makes no sense and the queue is broken
 */
bool virtqueue_start(struct virtqueue *q, uint64_t features)
{
	q->features = features;
	q->active = true;
	q->signalled_valid = false;
	if (!ring_aligned(q))
		virtqueue_break(q, "ring addresses aren't aligned");
	else if (!q->s.num || (!is_packed(q) && !IS_POWER_OF_2(q->s.num)))
		virtqueue_break(q, "ring size is invalid");
	return !q->broken;
}

/**
 * virtqueue_resume() - Go on with a queue whose state was loaded
 * @q:		With its state; guest memory is loaded too
 * @features:	Negotiated
 *
 * The split ring's used index is in guest memory, not in the state.
 *
 * Return: false: the ring in memory contradicts the state and the queue is broken
 */
bool virtqueue_resume(struct virtqueue *q, uint64_t features)
{
	if (!virtqueue_start(q, features))
		return false;
	if (is_packed(q)) {
		if (q->s.last_avail >= q->s.num || q->s.used_idx >= q->s.num ||
		    q->s.inuse > q->s.num)
			virtqueue_break(q, "loaded ring indices are out of range");
		return !q->broken;
	}
	return split_resume(q);
}

/**
 * virtqueue_legacy_layout() - Addresses of a ring in the legacy layout, where one address says all
 * @s:		@s->num is set
 * @desc:	First byte, 0: not set up
 * @align:	Of the used part, bytes (4096 on PCI)
 *
 * Source: VIRTIO 1.2, 2.7.2
 */
void virtqueue_legacy_layout(struct virtqueue_state *s, gpa_t desc, uint64_t align)
{
	s->desc = desc;
	s->avail = desc ? desc + (uint64_t)VIRTQ_DESC_SIZE * s->num : 0;
	s->used = desc ? ALIGN_UP(s->avail + 4 + 2ULL * s->num, align) : 0;
}

/**
 * virtq_ring_ptr() - Pointer to a part of a ring, or a broken queue
 * @q:		The queue
 * @base:	Guest address of the ring part
 * @offset:	In it
 * @len:	Bytes
 * @access:	As for memory_ptr()
 *
 * Return: valid until the caller returns to its loop; NULL: not RAM
 */
void *virtq_ring_ptr(struct virtqueue *q, gpa_t base, uint64_t offset, uint64_t len,
		     enum memory_access access)
{
	void *p = memory_ptr(q->memory, base + offset, len, access);

	if (!p)
		virtqueue_break(q, "ring isn't in RAM");
	return p;
}

/**
 * virtq_desc_fetch() - Copy in one descriptor, once
 * @q:		The queue
 * @table:	Guest address of the table
 * @index:	In the table, checked by the caller
 * @ret:	Set on success
 *
 * Return: false: the queue is broken
 */
bool virtq_desc_fetch(struct virtqueue *q, gpa_t table, uint32_t index, struct virtq_desc *ret)
{
	uint8_t raw[VIRTQ_DESC_SIZE];
	const void *p = virtq_ring_ptr(q, table, (uint64_t)index * VIRTQ_DESC_SIZE, VIRTQ_DESC_SIZE,
				       MEMORY_READ);

	if (!p)
		return false;
	memcpy(raw, p, sizeof(raw));
	ret->gpa = load_le64(raw);
	ret->len = load_le32(raw + 8);
	/* Split: flags, next. Packed: id, flags. Both as they lie; the packed code swaps. */
	ret->flags = load_le16(raw + 12);
	ret->next = load_le16(raw + 14);
	return true;
}

/**
 * virtq_indirect_check() - Is this a usable indirect table?
 * @q:		Broken if not
 * @d:		Descriptor with VIRTQ_DESC_F_INDIRECT
 *
 * Return: whether to go on
 */
bool virtq_indirect_check(struct virtqueue *q, const struct virtq_desc *d)
{
	if (!d->len || d->len % VIRTQ_DESC_SIZE || d->flags & VIRTQ_DESC_F_NEXT)
		virtqueue_break(q, "indirect descriptor is invalid");
	return !q->broken;
}

/**
 * virtq_add_buffer() - Map a buffer and append it to the chain being read
 * @q:		Its scratch takes it; broken if the buffer isn't RAM, comes in the wrong order, or
 * is one too many
 * @d:		Copied in before
 *
 * Return: whether to go on
 */
bool virtq_add_buffer(struct virtqueue *q, const struct virtq_desc *d)
{
	struct virtq_scratch *x = q->scratch;
	bool in = d->flags & VIRTQ_DESC_F_WRITE;
	void *p;

	if (x->len == VIRTQUEUE_SIZE_MAX)
		virtqueue_break(q, "chain is too long");
	else if (!d->len)
		virtqueue_break(q, "buffer is empty");
	else if (!in && x->in_len)
		virtqueue_break(q, "readable buffer after a writable one");
	if (q->broken)
		return false;
	p = memory_ptr(q->memory, d->gpa, d->len, in ? MEMORY_WRITE : MEMORY_READ);
	if (!p) {
		virtqueue_break(q, "buffer isn't in RAM");
		return false;
	}
	x->iov[x->len] = (struct iovec){.iov_base = p, .iov_len = d->len};
	x->gpas[x->len++] = d->gpa;
	x->in_len += in;
	*(in ? &x->in_bytes : &x->out_bytes) += d->len;
	return true;
}

/**
 * virtq_chain_make() - Turn the scratch into a request
 * @q:		Its inuse count grows by @slots
 * @size:	Of the device's request struct, which begins with a struct virtq_chain
 * @id:		Head index or buffer id
 * @slots:	Ring entries taken
 *
 * Return: zeroed but for the chain; goes back by virtqueue_push(), _unpop() or _detach()
 */
struct virtq_chain *virtq_chain_make(struct virtqueue *q, size_t size, uint16_t id, uint16_t slots)
{
	const struct virtq_scratch *x = q->scratch;
	size_t head = ALIGN_UP(size, sizeof(uint64_t));
	size_t iov_bytes = x->len * sizeof(struct iovec);
	char *p = mem_zalloc(head + iov_bytes + x->len * sizeof(gpa_t));
	struct virtq_chain *c = (void *)p;

	assert(size >= sizeof(*c));
	c->id = id;
	c->slots = slots;
	c->in_len = (uint16_t)x->in_len;
	c->out_len = (uint16_t)(x->len - x->in_len);
	c->out_bytes = x->out_bytes;
	c->in_bytes = x->in_bytes;
	c->iov = (void *)(p + head);
	c->gpas = (void *)(p + head + iov_bytes);
	memcpy(c->iov, x->iov, iov_bytes);
	memcpy(c->gpas, x->gpas, x->len * sizeof(gpa_t));
	q->s.inuse += slots;
	q->pops++;
	return c;
}

static void scratch_clear(struct virtq_scratch *x)
{
	x->len = x->in_len = 0;
	x->out_bytes = x->in_bytes = 0;
}

/**
 * virtqueue_pop() - Take the next chain
 * @q:		The queue
 * @size:	Of the request struct that begins with the chain
 *
 * Return: the request, zeroed behind the chain; NULL: none is available, or the queue is stopped or
 * broken
 */
void *virtqueue_pop(struct virtqueue *q, size_t size)
{
	if (!q->active || q->broken)
		return NULL;
	scratch_clear(q->scratch);
	return is_packed(q) ? packed_pop(q, size) : split_pop(q, size);
}

/**
 * virtqueue_pop_or_ask() - Take the next chain, or be told when there is one
 * @q:		The queue; of those where the driver waits for the device, not the other way round
 * @size:	As for virtqueue_pop()
 *
 * A driver with event indices never kicks unless it is asked to, each time anew.
 *
 * Return: as virtqueue_pop(); NULL: the driver kicks with the next chain
 * Source: VIRTIO 1.2, 2.7.10 and 2.8.10
 */
void *virtqueue_pop_or_ask(struct virtqueue *q, size_t size)
{
	void *request = virtqueue_pop(q, size);

	if (request)
		return request;
	virtqueue_want_kicks(q, true);
	return virtqueue_pop(q, size);
}

/**
 * virtqueue_adopt() - Make a request that another VMM had taken from the ring and not finished
 * @q:		Its inuse count already includes it
 * @size:	As for virtqueue_pop()
 * @from:	id, slots, out_len, in_len and gpas are read
 * @lens:	Bytes of each buffer, in the order of @from->gpas
 *
 * Return: the request; NULL: a buffer isn't RAM and the queue is broken
 */
void *virtqueue_adopt(struct virtqueue *q, size_t size, const struct virtq_chain *from,
		      const uint32_t *lens)
{
	struct virtq_desc d;
	struct virtq_chain *c;

	scratch_clear(q->scratch);
	for (unsigned int i = 0; i < (unsigned int)from->out_len + from->in_len; i++) {
		d = (struct virtq_desc){.gpa = from->gpas[i], .len = lens[i]};
		d.flags = i < from->out_len ? 0 : VIRTQ_DESC_F_WRITE;
		if (!virtq_add_buffer(q, &d))
			return NULL;
	}
	c = virtq_chain_make(q, size, from->id, from->slots);
	q->s.inuse -= from->slots;
	return c;
}

static void mark_written(struct virtqueue *q, const struct virtq_chain *c, uint64_t written)
{
	for (unsigned int i = c->out_len; written && i < (unsigned int)c->out_len + c->in_len;
	     i++) {
		uint64_t n = MIN(written, (uint64_t)c->iov[i].iov_len);

		memory_mark_dirty(q->memory, c->gpas[i], n);
		written -= n;
	}
}

/**
 * virtqueue_push() - Give a chain back; the driver sees it at the next flush
 * @q:		The queue it came from
 * @c:		Freed with the request around it
 * @written:	Bytes written to its buffers, from the first one on
 */
void virtqueue_push(struct virtqueue *q, struct virtq_chain *c, uint32_t written)
{
	mark_written(q, c, written);
	if (q->active && !q->broken) {
		if (is_packed(q))
			packed_push(q, c, written);
		else
			split_push(q, c, written);
	}
	virtqueue_detach(q, c);
}

/**
 * virtqueue_flush() - Let the driver see what was pushed
 * @q:		The queue
 */
void virtqueue_flush(struct virtqueue *q)
{
	if (!q->filled)
		return;
	if (is_packed(q))
		packed_flush(q);
	else
		split_flush(q);
	q->filled = 0;
}

/**
 * virtqueue_rewind() - Make the last entries taken available again
 * @q:		The queue
 * @slots:	How many
 *
 * Return: false: fewer are in flight, nothing was done
 */
bool virtqueue_rewind(struct virtqueue *q, unsigned int slots)
{
	if (slots > q->s.inuse)
		return false;
	q->s.inuse -= slots;
	if (!is_packed(q)) {
		q->s.last_avail = (uint16_t)(q->s.last_avail - slots);
		return true;
	}
	if (q->s.last_avail < slots) {
		q->s.last_avail = (uint16_t)(q->s.last_avail + q->s.num);
		q->s.avail_wrap = !q->s.avail_wrap;
	}
	q->s.last_avail = (uint16_t)(q->s.last_avail - slots);
	return true;
}

/**
 * virtqueue_unpop() - Put back the chain that was taken last, as if it had never been
 * @q:		The queue
 * @c:		Freed
 */
void virtqueue_unpop(struct virtqueue *q, struct virtq_chain *c)
{
	virtqueue_rewind(q, c->slots);
	free(c);
}

/**
 * virtqueue_detach() - Drop a chain without giving it back (the queue is being reset)
 * @q:		The queue
 * @c:		Freed
 */
void virtqueue_detach(struct virtqueue *q, struct virtq_chain *c)
{
	q->s.inuse -= MIN(q->s.inuse, (uint32_t)c->slots);
	free(c);
}

/**
 * virtqueue_shelve() - Forget a chain that stays in flight; virtqueue_adopt() makes it again
 * @q:		The queue
 * @c:		Freed
 */
void virtqueue_shelve(struct virtqueue *q, struct virtq_chain *c)
{
	free(c);
}

/**
 * virtqueue_empty() - Has the driver made nothing available?
 * @q:		The queue
 *
 * Return: true also for a stopped or broken queue
 */
bool virtqueue_empty(struct virtqueue *q)
{
	if (!q->active || q->broken)
		return true;
	return is_packed(q) ? packed_empty(q) : split_empty(q);
}

/**
 * virtqueue_want_kicks() - Ask the driver to signal new chains, or to spare it
 * @q:		The queue
 * @on:		When switched on, look at virtqueue_empty() once more afterwards: a kick may just
 * have been spared
 */
void virtqueue_want_kicks(struct virtqueue *q, bool on)
{
	if (!q->active || q->broken)
		return;
	if (is_packed(q))
		packed_want_kicks(q, on);
	else
		split_want_kicks(q, on);
}

/**
 * virtqueue_should_notify() - Does the driver want an interrupt for what was flushed since the last
 * one?
 * @q:		The queue
 *
 * Return: whether to send it; counts as sent
 */
bool virtqueue_should_notify(struct virtqueue *q)
{
	if (!q->active || q->broken)
		return false;
	return is_packed(q) ? packed_should_notify(q) : split_should_notify(q);
}

/**
 * virtq_read() - Copy out of a chain's readable buffers
 * @c:		The chain
 * @offset:	From the first readable byte
 * @buf:	Destination
 * @len:	Bytes wanted
 *
 * Return: bytes copied, fewer if the chain ends
 */
size_t virtq_read(const struct virtq_chain *c, size_t offset, void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < c->out_len && done < len; i++) {
		size_t have = c->iov[i].iov_len, n;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		n = MIN(have - offset, len - done);
		memcpy((char *)buf + done, (char *)c->iov[i].iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

/**
 * virtq_write() - Copy into a chain's writable buffers
 * @c:		The chain
 * @offset:	From the first writable byte
 * @buf:	Source
 * @len:	Bytes
 *
 * Return: bytes copied, fewer if the chain ends
 */
size_t virtq_write(const struct virtq_chain *c, size_t offset, const void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned int i = c->out_len; i < (unsigned int)c->out_len + c->in_len && done < len;
	     i++) {
		size_t have = c->iov[i].iov_len, n;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		n = MIN(have - offset, len - done);
		memcpy((char *)c->iov[i].iov_base + offset, (const char *)buf + done, n);
		done += n;
		offset = 0;
	}
	return done;
}
