/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCK_FILE_H
#define BLOCK_FILE_H

#include "block/driver.h"
#include "block/undo.h"

/**
 * struct file - An open image (block_node.priv of drivers "file" and "host_device")
 * @fd:		Owned
 * @direct:	O_DIRECT: buffers and offsets must be aligned
 * @no_flush:	Flushes are ignored (cache.no-flush)
 * @unmap:	Discards go to the file system
 * @zero_range:	FALLOC_FL_ZERO_RANGE works here; cleared when it turns out not to
 * @punch_hole:	Likewise
 * @alignment:	Of offsets and lengths, bytes
 * @memory_alignment: Of buffers, bytes
 * @undo:	Gets what is overwritten (a point); NULL: nobody wants it. Changes only while no
 *		request is in flight
 */
struct file {
	int fd;
	bool direct, no_flush, unmap, zero_range, punch_hole;
	uint32_t alignment, memory_alignment;
	struct undo *undo;
};

/* file_queue.c */
int file_queue_open(struct block_queue *q, struct err *e);
void file_queue_close(struct block_queue *q);
void file_submit(struct block_queue *q, struct block_request *r);
void file_kick(struct block_queue *q);
void file_poll(struct block_queue *q, int64_t until_ns);

#endif
