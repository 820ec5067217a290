/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_BLK_STATE_H
#define DEVICE_VIRTIO_BLK_STATE_H

#include "device/virtio/blk.h"
#include "device/virtio/carried.h"

/**
 * struct blk_body - What the section's one field holds
 * @v:		The common part
 * @num_queues:	Ours, not sent
 * @carried:	Requests in flight
 */
struct blk_body {
	struct virtio_state v;
	uint32_t num_queues;
	struct carried_state carried;
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
