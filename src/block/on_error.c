/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: who decides what becomes of a failed request: the device's property, else
 * what -drive said, else QEMU's default. A disk that stops its guest says so until it goes on. */
#include "block/on_error.h"

#include "block/driver.h"

#include <errno.h>

const char *const block_on_error_names[] = {
	[BLOCK_ON_ERROR_AUTO] = "auto",     [BLOCK_ON_ERROR_REPORT] = "report",
	[BLOCK_ON_ERROR_IGNORE] = "ignore", [BLOCK_ON_ERROR_ENOSPC] = "enospc",
	[BLOCK_ON_ERROR_STOP] = "stop",     NULL};

/**
 * block_policy_set() - What devices do that leave it to the node
 * @n:		The node
 * @p:		Copied
 */
void block_policy_set(struct block_node *n, const struct block_policy *p)
{
	n->on_read = p->on_read;
	n->on_write = p->on_write;
	n->write_through = p->write_through;
}

/**
 * block_write_through() - Does -drive say that a write is on the medium when it is done?
 * @n:		The node
 *
 * Return: whether a device that leaves it to the node has no volatile cache
 */
bool block_write_through(const struct block_node *n)
{
	return n->write_through;
}

/**
 * block_error_action() - What to do about a failed request
 * @n:		The device's node; any thread
 * @p:		The device's properties
 * @op:		Of the request
 * @ret:	Negative errno
 *
 * Return: the action; if it is to stop, the node's status says so from now on
 */
enum block_error_action block_error_action(struct block_node *n, const struct block_policy *p,
					   enum block_op op, int ret)
{
	bool read = op == BLOCK_READ, full = ret == -ENOSPC;
	int what = read ? p->on_read : p->on_write;

	if (what == BLOCK_ON_ERROR_AUTO)
		what = read ? n->on_read : n->on_write;
	if (what == BLOCK_ON_ERROR_AUTO)
		what = read ? BLOCK_ON_ERROR_REPORT : BLOCK_ON_ERROR_ENOSPC;
	if (what == BLOCK_ON_ERROR_IGNORE)
		return BLOCK_ERROR_IGNORE;
	if (what == BLOCK_ON_ERROR_REPORT || (what == BLOCK_ON_ERROR_ENOSPC && !full))
		return BLOCK_ERROR_REPORT;
	__atomic_store_n(&n->io_status, full ? BLOCK_IO_NOSPACE : BLOCK_IO_FAILED,
			 __ATOMIC_RELAXED);
	return BLOCK_ERROR_STOP;
}

/**
 * block_io_status() - Has a failed request stopped the guest?
 * @n:		The node
 *
 * Return: BLOCK_IO_OK if not
 */
enum block_io_status block_io_status(const struct block_node *n)
{
	return (enum block_io_status)__atomic_load_n(&n->io_status, __ATOMIC_RELAXED);
}

/**
 * block_io_status_reset() - The guest goes on
 * @n:	The node
 */
void block_io_status_reset(struct block_node *n)
{
	__atomic_store_n(&n->io_status, BLOCK_IO_OK, __ATOMIC_RELAXED);
}
