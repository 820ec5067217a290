/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_IO_ERROR_H
#define DEVICE_VIRTIO_IO_ERROR_H

#include "block/on_error.h"
#include "device/device.h"

/* Decides what becomes of a failed request of a disk, and lets the machine know: it stops the guest
 * if that is the action, when this has returned. Owner of the disk. */
enum block_error_action io_error(const struct device *dev, struct block_node *n,
				 const struct block_policy *p, enum block_op op, int ret);

#endif
