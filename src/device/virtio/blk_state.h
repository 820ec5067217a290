/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_BLK_STATE_H
#define DEVICE_VIRTIO_BLK_STATE_H

#include "device/virtio/blk.h"
#include "device/virtio/virtio_state.h"

/**
 * struct blk_carried_state - A request in a loaded state
 * @first:	Index of its first buffer in the body's arrays
 */
struct blk_carried_state {
	uint32_t queue, first;
	uint16_t id, slots, out_len, in_len;
};

/**
 * struct blk_body - What the section's one field holds
 * @v:		The common part
 * @num_queues:	Ours, not sent
 * @carried, @carried_len: Requests in flight
 * @gpas, @lens, @buffers: Their buffers
 */
struct blk_body {
	struct virtio_state v;
	uint32_t num_queues, carried_len, buffers;
	struct blk_carried_state carried[512];
	gpa_t gpas[8192];
	uint32_t lens[8192];
};

/**
 * struct virtio_blk_state - Section "virtio-blk", version 2
 * @body:	All of it
 */
struct virtio_blk_state {
	struct blk_body body;
};

extern const struct state_table virtio_blk_state_table;

void blk_capture(const struct device *dev, void *state);
int blk_validate(const struct device *dev, const void *state, struct err *e);
void blk_apply(struct device *dev, const void *state);

#endif
