/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see io_error.h. The machine is told of each failed request, whatever becomes
 * of it; only the main thread can stop the guest, a moment later. */
#include "device/virtio/io_error.h"

/**
 * io_error() - Decide what becomes of a failed request, and tell the machine
 * @dev:	The disk
 * @n:		Its node
 * @p:		Its properties
 * @op:		Of the request
 * @ret:	Negative errno
 *
 * Return: the action
 */
enum block_error_action io_error(const struct device *dev, struct block_node *n,
				 const struct block_policy *p, enum block_op op, int ret)
{
	const struct device_io_error what = {
		.node = block_name(n),
		.read = op == BLOCK_READ,
		.action = (int)block_error_action(n, p, op, ret),
		.error = -ret,
	};

	if (dev->env->io_error)
		dev->env->io_error(dev->env->io_error_opaque, &what);
	return (enum block_error_action)what.action;
}
