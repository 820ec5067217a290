/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include "base/err.h"
#include "base/list.h"
#include "base/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Theory of operation: a disk is a stack of nodes (throttle over raw over file), each a driver with
 * one small interface and a name. A user (a virtqueue's I/O thread) opens a queue on the top node:
 * requests are submitted and completed on that queue's loop, on one thread, without locks. Offsets
 * and lengths are bytes; what a driver can't align it refuses with EINVAL, and block_queue_limits()
 * says what it wants.
 */

enum block_op { BLOCK_READ = 1, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

#define BLOCK_FUA   1u /* on stable storage before completion */
#define BLOCK_UNMAP 2u /* BLOCK_WRITE_ZEROES may deallocate */

/**
 * struct block_request - One request; memory owned by the submitter until @complete was called
 * @op:		What to do
 * @offset:	Bytes from the start of the disk
 * @bytes:	Length; for reads and writes the sum of @iov
 * @iov:	Buffers, stay valid until completion
 * @flags:	BLOCK_FUA, BLOCK_UNMAP
 * @complete:	Called once, on the queue's thread, never from within block_submit(). @ret: 0 or a
 *		negative errno
 * @link, @top:	The queue's while in flight
 * @driver:	Room for the drivers of the stack
 */
struct block_request {
	enum block_op op;
	uint64_t offset, bytes;
	const struct iovec *iov;
	int iov_len;
	unsigned int flags;
	void (*complete)(struct block_request *r, int ret);
	struct list link;
	struct block_queue *top;
	uint64_t driver[6];
};

/**
 * struct block_limits - What requests should look like
 * @request_alignment: Of offset and length, bytes (512 or 4096)
 * @memory_alignment: Of each buffer, bytes
 * @max_transfer: Bytes, 0: no limit
 * @discard, @write_zeroes: Supported
 */
struct block_limits {
	uint32_t request_alignment, memory_alignment;
	uint64_t max_transfer;
	bool discard, write_zeroes;
};

/**
 * struct block_counter - Requests of one kind
 * @done, @bytes: Completed ones
 * @failed:	Failed ones
 */
struct block_counter {
	uint64_t done, bytes, failed;
};

/**
 * struct block_stats - What went through a node
 * @ops:	By enum block_op
 * @written_to:	End of the write that went furthest, bytes
 */
struct block_stats {
	struct block_counter ops[BLOCK_WRITE_ZEROES + 1];
	uint64_t written_to;
};

struct block_node;
struct block_queue;

/*
 * Nodes: made by -blockdev, -drive or blockdev-add, from a JSON object in the spelling of QEMU's
 * BlockdevOptions ({"driver":"raw","node-name":"d0","file":{"driver":"file","filename":"x.img"}});
 * a nested object makes a node that belongs to the outer one, a string refers to a node by name.
 * Main thread.
 *
 * Errors: EINVAL an unknown driver or option, a missing or wrong value (named); EEXIST the node
 * name is taken; else of the file
 */
MUST_CHECK int block_open(const json_t *options, struct block_node **ret, struct err *e);
/* Removes a named node made by block_open(). EBUSY: a device or another node uses it. */
MUST_CHECK int block_remove(const char *name, struct err *e);
/* Calls @fn for each node, in the order made. */
void block_each(void (*fn)(struct block_node *n, void *opaque), void *opaque);
const char *block_driver_name(const struct block_node *n);
const char *block_filename(const struct block_node *n);     /* of the file at the bottom, or "" */
struct block_node *block_child(const struct block_node *n); /* NULL at the bottom */
const json_t *block_options(const struct block_node *n);    /* as given; borrowed */
/* For a live hand-over: what block_open() makes the same stack from, run-time changes of every node
 * in it and generated names included; new reference. NULL: it comes with the node above. */
json_t *block_describe(const struct block_node *n);
/* Changes the size (block_resize): the file first, then whoever asked by block_on_resize(). */
MUST_CHECK int block_resize(struct block_node *n, uint64_t bytes, struct err *e);
/* For a live hand-over: the bottom file's descriptor, -1 if there is none. Its locks go with it. */
int block_fd(const struct block_node *n);
/* Makes the next "file" nodes with this filename use @fd (owned) instead of opening: the other
 * end of a hand-over. */
void block_adopt_fd(const char *filename, int fd);
struct block_node *block_find(const char *name);
struct block_node *block_ref(struct block_node *n);
void block_unref(struct block_node *n);
const char *block_name(const struct block_node *n);
uint64_t block_size(const struct block_node *n);                       /* bytes, now */
void block_stats(const struct block_node *n, struct block_stats *ret); /* any thread */
bool block_read_only(const struct block_node *n);
/* Exclusive use by a device, with image locks as QEMU's. EBUSY says who has it. */
MUST_CHECK int block_attach(struct block_node *n, const char *user, bool writable, struct err *e);
void block_detach(struct block_node *n);
/* While a guest moves only one process has its images; see activate.c. */
void block_begin_inactive(void);
MUST_CHECK int block_activate_all(struct err *e);
void block_inactivate_all(void);
/* What was written leaves this host's memory; see store.c. */
struct block_store;
MUST_CHECK int block_store_open(struct block_store **ret, struct err *e);
MUST_CHECK int block_store_run(const struct block_store *s, struct err *e); /* any thread */
void block_store_close(struct block_store *s);
/* Points: what a disk is at a moment, kept in a file; see point.c. Main thread, no request in
 * flight. */
MUST_CHECK int block_point_make(struct block_node *n, const char *prefix, char **ret,
				struct err *e);
MUST_CHECK int block_point_drop(struct block_node *n, const char *path, const char *older,
				struct err *e);
struct undo;
struct undo *block_point_keep(struct block_node *n, const char *path);
void block_point_close(struct block_node *n, struct undo *u);
MUST_CHECK int block_point_restore(struct block_node *n, const char *path, bool force,
				   struct err *e);
MUST_CHECK int block_point_check(struct block_node *n, const char *path, struct err *e);
/* Clones: the node's image is a copy of another one, made while that was perhaps written. */
MUST_CHECK int block_point_check_copy(const char *path, const char *image, struct err *e);
MUST_CHECK int block_point_copy(struct block_node *n, const char *path, struct err *e);
const char *block_point_of(const struct block_node *n); /* NULL: it keeps none */
bool block_written(const struct block_node *n);         /* by a device */
/* The size changed (block_resize): called on the main thread. */
void block_on_resize(struct block_node *n, void (*fn)(void *opaque), void *opaque);

/* Queues: one per thread that submits. */
MUST_CHECK int block_queue_open(struct block_node *n, struct loop *loop, struct block_queue **ret,
				struct err *e);
void block_queue_close(struct block_queue *q); /* no request in flight */
void block_queue_limits(const struct block_queue *q, struct block_limits *ret);
void block_submit(struct block_queue *q, struct block_request *r);
/* Requests may be held back until this call, to go to the kernel together. */
void block_kick(struct block_queue *q);
/* Runs the queue's completions until none is in flight (on its thread; guest stopped). */
void block_drain(struct block_queue *q);
unsigned int block_drain_until(struct block_queue *q, int64_t until_ns);

/* Requests that are waited for, small and rare; see sync.c. */
struct block_sync;
MUST_CHECK int block_sync_open(struct block_node *n, struct block_sync **ret, struct err *e);
void block_sync_close(struct block_sync *s);
MUST_CHECK int block_sync_do(struct block_sync *s, enum block_op op, uint64_t offset, void *buf,
			     uint64_t bytes);
/* Likewise, for the main thread at start-up and for tools. */
MUST_CHECK int block_pread(struct block_node *n, uint64_t offset, void *buf, uint64_t bytes,
			   struct err *e);

#endif
