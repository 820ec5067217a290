/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_BLK_H
#define DEVICE_VIRTIO_BLK_H

#include "block/on_error.h"
#include "device/virtio/carried.h"
#include "device/virtio/virtio.h"

/**
 * struct virtio_blk - A disk; requests are the owner's
 * @v:		First
 * @drive:	Property; attached while realized
 * @bq:		Requests go here
 * @limits:	Of @bq
 * @serial, @num_queues, @queue_size, @logical, @physical, @min_io, @opt_io, @discard_granularity:
 * Properties
 * @max_discard, @max_zeroes: Properties, sectors
 * @seg_max_adjust, @request_merging, @share_rw, @write_cache: Properties
 * @policy:	Properties: what to do about errors
 * @bootindex:	Property, read by the machine
 * @cyls, @heads, @secs: Geometry
 * @wce:	Writes may stay in the host's cache until a flush; atomic
 * @attached:	The drive is ours
 * @carried:	Submitted when the guest runs
 * @reads, @writes, @flushes, @errors: Counted
 */
struct virtio_blk {
	struct virtio v;
	struct block_node *drive;
	struct block_queue *bq;
	struct block_limits limits;
	char *serial;
	uint16_t num_queues, queue_size;
	uint32_t logical, physical, min_io, opt_io, discard_granularity;
	uint32_t max_discard, max_zeroes;
	bool seg_max_adjust, request_merging, share_rw;
	int write_cache;
	struct block_policy policy;
	int32_t bootindex;
	uint32_t cyls, heads, secs;
	bool wce, attached;
	struct carried_list carried;
	uint64_t reads, writes, flushes, errors;
};

/* blk_request.c */
enum virtio_served blk_serve_one(struct virtio *v, struct virtqueue *q);
void blk_resume_carried(struct virtio_blk *b);

extern const struct device_class virtio_blk_class, virtio_blk_transitional_class,
	virtio_blk_non_transitional_class;

#endif
