/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: requests that are done when the call returns, for what is small and rare:
 * boot sectors, firmware flash. A queue on a loop that nobody runs; each request is drained at
 * once.
 */
#include "base/owned.h"
#include "block/driver.h"

#include <errno.h>

/**
 * struct block_sync - A way into a node for one caller at a time, from whatever thread
 * @loop:	Only @q's home
 * @q:		The queue
 */
struct block_sync {
	struct loop *loop;
	struct block_queue *q;
};

static void on_complete(struct block_request *r, int ret)
{
	*(int *)(uintptr_t)r->driver[5] = ret;
}

/**
 * block_sync_open() - Get ready for requests that are waited for
 * @n:		The node; a reference is kept. Main thread
 * @ret:	Set on success only
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int block_sync_open(struct block_node *n, struct block_sync **ret, struct err *e)
{
	struct block_sync *s = mem_zalloc(sizeof(*s));
	int r = loop_create(&s->loop, e);

	if (r >= 0)
		r = block_queue_open(n, s->loop, &s->q, e);
	if (r < 0) {
		if (s->loop)
			loop_destroy(s->loop);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/**
 * block_sync_close() - Undo block_sync_open()
 * @s:		NULL is fine. Main thread
 */
void block_sync_close(struct block_sync *s)
{
	if (!s)
		return;
	block_queue_close(s->q);
	loop_destroy(s->loop);
	free(s);
}

/**
 * block_sync_do() - Read, write or flush now
 * @s:		One caller at a time
 * @op:		BLOCK_READ, BLOCK_WRITE or BLOCK_FLUSH
 * @offset:	Bytes
 * @buf:	Read into, or written
 * @bytes:	How many
 *
 * Return: 0, or a negative errno of the node's driver
 */
int block_sync_do(struct block_sync *s, enum block_op op, uint64_t offset, void *buf,
		  uint64_t bytes)
{
	int ret = -EIO;
	struct iovec iov = {.iov_base = buf, .iov_len = bytes};
	struct block_request r = {
		.op = op,
		.offset = offset,
		.bytes = bytes,
		.iov = &iov,
		.iov_len = bytes ? 1 : 0,
		.complete = on_complete,
		.driver[5] = (uintptr_t)&ret,
	};

	block_submit(s->q, &r);
	block_drain(s->q);
	return ret;
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
	struct block_sync *s;
	int r = block_sync_open(n, &s, e);

	if (r < 0)
		return r;
	r = block_sync_do(s, BLOCK_READ, offset, buf, bytes);
	block_sync_close(s);
	return r < 0 ? err_ret(e, r, "read %s", block_name(n)) : 0;
}
