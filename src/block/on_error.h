/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCK_ON_ERROR_H
#define BLOCK_ON_ERROR_H

#include "block/block.h"

/* What a disk does when a request failed: properties rerror and werror, in QEMU's words. */
enum block_on_error {
	BLOCK_ON_ERROR_AUTO, /* as -drive said; else reads report, writes stop at ENOSPC */
	BLOCK_ON_ERROR_REPORT,
	BLOCK_ON_ERROR_IGNORE,
	BLOCK_ON_ERROR_ENOSPC, /* stop if there is no space, else report */
	BLOCK_ON_ERROR_STOP,
};

enum block_error_action { BLOCK_ERROR_REPORT, BLOCK_ERROR_IGNORE, BLOCK_ERROR_STOP };

enum block_io_status { BLOCK_IO_OK, BLOCK_IO_FAILED, BLOCK_IO_NOSPACE };

extern const char *const block_on_error_names[]; /* NULL-terminated */

/**
 * struct block_policy - What a disk does about errors, and its cache
 * @on_read, @on_write: enum block_on_error
 * @write_through: Of a node: a write is on the medium when it is done, unless the device says
 *		otherwise
 */
struct block_policy {
	int on_read, on_write;
	bool write_through;
};

/* -drive's, for devices that leave it to the node. */
void block_policy_set(struct block_node *n, const struct block_policy *p);
bool block_write_through(const struct block_node *n);
enum block_error_action block_error_action(struct block_node *n, const struct block_policy *p,
					   enum block_op op, int ret);
/* As query-block tells it; "ok" again when the guest goes on. */
enum block_io_status block_io_status(const struct block_node *n);
void block_io_status_reset(struct block_node *n);

#endif
