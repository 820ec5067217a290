/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_VIRTQUEUE_H
#define DEVICE_VIRTIO_VIRTQUEUE_H

#include "base/log.h"
#include "memory/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Theory of operation: a virtqueue is a ring in guest memory by which the driver hands chains of
 *buffers to the device and gets them back used. Split and packed rings (VIRTIO 1.2, 2.7 and 2.8)
 *have one interface here:
 *
 *	while ((c = virtqueue_pop(q, sizeof(*request))))	copied in once, bounds checked,
 *mapped
 *		... use c->iov ...
 *		virtqueue_push(q, c, bytes_written);		back to the driver, not yet seen by
 *it virtqueue_flush(q);					seen by it if
 *(virtqueue_should_notify(q))
 *... and it asked for an interrupt
 *
 * One thread owns a queue and makes all these calls. Everything in the rings is the guest's and can
 *change at any time: a descriptor is copied before it is looked at, each address goes through
 *memory_ptr() each time (mappings come and go), loops and lengths are bounded. A ring that makes no
 *sense breaks the queue: it gives no more chains, and the device asks for a reset.
 */

#define VIRTQUEUE_SIZE_MAX    1024 /* entries of a ring, and buffers of a chain */
#define VIRTQUEUE_NO_VECTOR   0xffff

#define VIRTQ_F_NOTIFY_EMPTY  (1ULL << 24) /* feature bits that change how a ring works */
#define VIRTQ_F_EVENT_IDX     (1ULL << 29)
#define VIRTQ_F_VERSION_1     (1ULL << 32)
#define VIRTQ_F_PACKED        (1ULL << 34)

#define VIRTQ_DESC_SIZE       16
#define VIRTQ_DESC_F_NEXT     1
#define VIRTQ_DESC_F_WRITE    2
#define VIRTQ_DESC_F_INDIRECT 4

/**
 * struct virtq_desc - A descriptor copied in from either kind of ring, in host byte order
 * @gpa:	Buffer or indirect table
 * @len:	Bytes
 * @flags:	VIRTQ_DESC_F_*, packed: availability bits too
 * @next:	Split: index of the next; packed: buffer id
 */
struct virtq_desc {
	gpa_t gpa;
	uint32_t len;
	uint16_t flags, next;
};

/**
 * struct virtq_chain - Buffers the driver made available together; the head of a device's request
 * struct
 * @id:		Split: index of the head descriptor; packed: buffer id
 * @slots:	Ring entries it takes (split: 1)
 * @out_len:	Entries of @iov that the device reads; they come first
 * @in_len:	Entries of @iov that the device writes
 * @out_bytes, @in_bytes: Their sums
 * @iov:	Mapped buffers; in the same allocation
 * @gpas:	Guest addresses of all of @iov
 */
struct virtq_chain {
	uint16_t id, slots;
	uint16_t out_len, in_len;
	uint64_t out_bytes, in_bytes;
	struct iovec *iov;
	gpa_t *gpas;
};

/**
 * struct virtq_scratch - Where a chain is put together before its size is known; one per owner
 * thread or device
 * @len:	Buffers so far
 * @in_len:	How many of them the device writes
 */
struct virtq_scratch {
	unsigned int len, in_len;
	uint64_t out_bytes, in_bytes;
	struct iovec iov[VIRTQUEUE_SIZE_MAX];
	gpa_t gpas[VIRTQUEUE_SIZE_MAX];
};

/**
 * struct virtqueue_state - What of a queue goes with the guest
 * @desc, @avail, @used: Guest addresses of the ring's parts (packed: ring, driver and device event
 * areas)
 * @num:	Entries as the driver chose; 0: the queue doesn't exist
 * @num_max:	Entries offered
 * @last_avail:	Next entry to take
 * @used_idx:	Next entry to give back (split: kept in guest memory too)
 * @avail_wrap, @used_wrap: Packed: wrap counters
 * @inuse:	Ring entries taken and not given back
 * @vector:	MSI-X vector or VIRTQUEUE_NO_VECTOR
 */
struct virtqueue_state {
	gpa_t desc, avail, used;
	uint32_t num, num_max;
	uint16_t last_avail, used_idx;
	bool avail_wrap, used_wrap;
	uint32_t inuse;
	uint16_t vector;
};

/**
 * struct virtqueue - A queue; its owner thread alone touches it while it is active
 * @s:		State that goes with the guest
 * @memory:	Guest memory
 * @scratch:	Borrowed
 * @features:	Negotiated, VIRTQ_F_* of it matter here
 * @active:	The driver has set it up; rings may be read
 * @broken:	The driver broke its ring; only a reset helps
 * @on_broken:	Told once, with the reason; may be NULL
 * @shadow_avail: Split: the driver's index as last read
 * @filled:	Entries given back but not yet flushed
 * @head_flags, @head_at: Packed: flags that publish the first of them, and where
 * @signalled, @signalled_valid: used_idx at the last interrupt
 * @limit:	For messages a driver can cause
 */
struct virtqueue {
	struct virtqueue_state s;
	struct memory *memory;
	struct virtq_scratch *scratch;
	uint64_t features;
	unsigned int index;
	bool active, broken;
	void (*on_broken)(struct virtqueue *q, const char *why);
	void *opaque;
	uint16_t shadow_avail;
	uint16_t filled;
	uint16_t head_flags, head_at;
	uint16_t signalled;
	bool signalled_valid;
	uint64_t pops, breaks;
};

void virtqueue_init(struct virtqueue *q, struct memory *m, struct virtq_scratch *scratch,
		    unsigned int index, uint16_t num_max);
void virtqueue_reset(struct virtqueue *q);
bool virtqueue_start(struct virtqueue *q, uint64_t features);
bool virtqueue_resume(struct virtqueue *q, uint64_t features);
void virtqueue_legacy_layout(struct virtqueue_state *s, gpa_t desc, uint64_t align);

void *virtqueue_pop(struct virtqueue *q, size_t size);
void *virtqueue_pop_or_ask(struct virtqueue *q, size_t size);
void *virtqueue_adopt(struct virtqueue *q, size_t size, const struct virtq_chain *from,
		      const uint32_t *lens);
void virtqueue_push(struct virtqueue *q, struct virtq_chain *c, uint32_t written);
void virtqueue_flush(struct virtqueue *q);
void virtqueue_unpop(struct virtqueue *q, struct virtq_chain *c);
bool virtqueue_rewind(struct virtqueue *q, unsigned int slots);
void virtqueue_detach(struct virtqueue *q, struct virtq_chain *c);
void virtqueue_shelve(struct virtqueue *q, struct virtq_chain *c);
bool virtqueue_empty(struct virtqueue *q);
void virtqueue_want_kicks(struct virtqueue *q, bool on);
bool virtqueue_should_notify(struct virtqueue *q);
void virtqueue_break(struct virtqueue *q, const char *why);

size_t virtq_read(const struct virtq_chain *c, size_t offset, void *buf, size_t len);
size_t virtq_write(const struct virtq_chain *c, size_t offset, const void *buf, size_t len);

/* Shared by the two ring formats. */
void *virtq_ring_ptr(struct virtqueue *q, gpa_t base, uint64_t offset, uint64_t len,
		     enum memory_access access);
bool virtq_add_buffer(struct virtqueue *q, const struct virtq_desc *d);
bool virtq_desc_fetch(struct virtqueue *q, gpa_t table, uint32_t index, struct virtq_desc *ret);
bool virtq_indirect_check(struct virtqueue *q, const struct virtq_desc *d);
struct virtq_chain *virtq_chain_make(struct virtqueue *q, size_t size, uint16_t id, uint16_t slots);

/* The driver's "interrupt me when you pass @event" (VIRTIO 1.2, 2.7.10). */
static inline bool virtq_passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

/* Ring formats (virtqueue_split.c, virtqueue_packed.c). */
struct virtq_chain *split_pop(struct virtqueue *q, size_t size);
void split_push(struct virtqueue *q, const struct virtq_chain *c, uint32_t written);
void split_flush(struct virtqueue *q);
bool split_empty(struct virtqueue *q);
void split_want_kicks(struct virtqueue *q, bool on);
bool split_should_notify(struct virtqueue *q);
bool split_resume(struct virtqueue *q);

struct virtq_chain *packed_pop(struct virtqueue *q, size_t size);
void packed_push(struct virtqueue *q, const struct virtq_chain *c, uint32_t written);
void packed_flush(struct virtqueue *q);
bool packed_empty(struct virtqueue *q);
void packed_want_kicks(struct virtqueue *q, bool on);
bool packed_should_notify(struct virtqueue *q);

#endif
