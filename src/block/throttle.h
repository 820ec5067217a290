/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCK_THROTTLE_H
#define BLOCK_THROTTLE_H

#include "block/block.h"

/**
 * struct block_limits_io - Limits a second, 0: none
 * @bps_total, @bps_read, @bps_write: Bytes
 * @iops_total, @iops_read, @iops_write: Requests
 */
struct block_limits_io {
	uint64_t bps_total, bps_read, bps_write;
	uint64_t iops_total, iops_read, iops_write;
};

MUST_CHECK int block_throttle_set(struct block_node *n, const struct block_limits_io *l,
				  struct err *e);

/* False: there is no throttle node in the stack. */
bool block_throttle_get(const struct block_node *n, struct block_limits_io *ret);

#endif
