/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a small read at start-up (boot sector, partition table), on a loop of its
 * own that runs until it is done. */
#include "block/driver.h"

#include <errno.h>

static void on_complete(struct block_request *r, int ret)
{
	*(int *)(uintptr_t)r->driver[5] = ret;
}

/**
 * block_pread() - Read now
 * @n:		The node
 * @offset:	Bytes
 * @buf:	Filled in
 * @bytes:	How many
 * @e:		Set on failure only
 *
 * Errors: as of the node's driver
 * Return: 0, or a negative errno
 */
int block_pread(struct block_node *n, uint64_t offset, void *buf, uint64_t bytes, struct err *e)
{
	int ret = -EIO;
	struct iovec iov = {.iov_base = buf, .iov_len = bytes};
	struct block_request r = {
		.op = BLOCK_READ,
		.offset = offset,
		.bytes = bytes,
		.iov = &iov,
		.iov_len = 1,
		.complete = on_complete,
		.driver[5] = (uintptr_t)&ret,
	};
	struct block_queue *q;
	struct loop *loop;
	int result = loop_create(&loop, e);

	if (result < 0)
		return result;
	result = block_queue_open(n, loop, &q, e);
	if (result >= 0) {
		block_submit(q, &r);
		block_drain(q);
		block_queue_close(q);
		result = ret < 0 ? err_ret(e, ret, "read %s", block_name(n)) : 0;
	}
	loop_destroy(loop);
	return result;
}
