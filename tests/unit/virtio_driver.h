/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "device/virtio/virtqueue.h"
#include "unit/virtio_ram.h"

#define DRIVER_BUFS_MAX 32

/**
 * struct driver_buf - A buffer as the driver describes it
 */
struct driver_buf {
	gpa_t gpa;
	uint32_t len;
	bool write;
};

/**
 * struct driver - The guest's side of a ring, written from the specification and sharing no code
 * with the device's
 * @packed, @event, @indirect: Features in use
 * @num:	Entries
 * @desc, @avail, @used: Ring parts
 * @tables:	Room for indirect tables, one of 16 * 32 bytes an id
 * @avail_idx, @used_idx: Split: free running; packed: positions
 * @avail_wrap, @used_wrap: Packed
 * @free:	Ids not in use; packed: also how many ring entries each took
 */
struct driver {
	bool packed, event, indirect;
	uint16_t num;
	gpa_t desc, avail, used, tables;
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
	uint16_t free[VIRTQUEUE_SIZE_MAX], free_len;
	uint16_t slots[VIRTQUEUE_SIZE_MAX], slots_free;
	uint16_t kicked_idx;
};

void driver_init(struct driver *d, struct virtqueue *q, uint16_t num, uint64_t features, gpa_t base,
		 bool indirect);
int driver_add(struct driver *d, const struct driver_buf *bufs, unsigned int len);
bool driver_take(struct driver *d, uint16_t *id, uint32_t *written);
bool driver_must_kick(struct driver *d);
void driver_interrupts(struct driver *d, bool on);

/* Raw writes, for what a good driver never does. */
void driver_desc(gpa_t table, unsigned int i, gpa_t gpa, uint32_t len, uint16_t c, uint16_t d);
void driver_split_publish(struct driver *d, uint16_t head);

#endif
