/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCK_DRIVER_H
#define BLOCK_DRIVER_H

#include "block/block.h"

/* What the drivers of this room implement, and what the room gives them. Not for other rooms. */

/**
 * struct block_node - A driver's instance
 * @link:	In the list of all nodes
 * @name:	Node name; generated ("#block0") when the user gave none
 * @driver:	Its kind
 * @options:	As given; owned
 * @child:	Node below, or NULL; a reference
 * @refs:	Users: the name table (1), parents, devices
 * @priv:	The driver's
 * @size:	Bytes
 * @read_only:	Writes are refused with EROFS
 * @nested:	Made from an object inside the options of the node above
 * @user:	Device that has it exclusively, or NULL; owned
 * @writable:	That device writes
 * @resized, @resized_opaque: Told of a new size
 * @on_read, @on_write: enum block_on_error, for devices that leave it to the node
 * @io_status:	enum block_io_status; atomic
 * @stats:	Each member is atomic
 */
struct block_node {
	struct list link;
	char name[64];
	const struct block_driver *driver;
	json_t *options;
	struct block_node *child;
	unsigned int refs;
	void *priv;
	uint64_t size;
	bool read_only, nested, write_through;
	char *user;
	bool writable;
	void (*resized)(void *opaque);
	void *resized_opaque;
	int on_read, on_write, io_status;
	struct block_stats stats;
};

/**
 * struct block_queue - A thread's way into a node
 * @node:	The node; a reference
 * @loop:	Where requests complete
 * @child:	Queue of the node below, or NULL
 * @in_flight:	Requests submitted here and not yet completed (top queue only)
 * @done, @done_source: Requests to complete from the loop, not from within block_submit()
 * @priv:	The driver's
 */
struct block_queue {
	struct block_node *node;
	struct loop *loop;
	struct block_queue *child;
	unsigned int in_flight;
	struct list done;
	sd_event_source *done_source;
	void *priv;
};

/**
 * struct block_option - One option of a driver: the source of checks and help
 */
struct block_option {
	const char *name;
	enum {
		BLOCK_OPTION_STRING = 1,
		BLOCK_OPTION_BOOL,
		BLOCK_OPTION_SIZE,
		BLOCK_OPTION_NODE,
		BLOCK_OPTION_OBJECT,
		BLOCK_OPTION_LIST /* of strings */
	} kind;
	bool required;
	const char *help;
};

/**
 * struct block_driver - A kind of node
 * @open:	Options are checked against the table and the child is open. Sets size and read_only
 * @queue_open:	May be NULL
 * @submit:	Ends in block_complete() or block_complete_later(), or forwards to @q->child
 * @kick:	Sends what was held back; NULL: forwards
 * @poll:	Waits for at least one completion and runs it, until time_ns() is @until_ns
 *		(block_drain_until()); NULL: forwards
 */
struct block_driver {
	const char *name, *help;
	const struct block_option *options;
	int (*open)(struct block_node *n, struct err *e);
	void (*close)(struct block_node *n);
	int (*queue_open)(struct block_queue *q, struct err *e);
	void (*queue_close)(struct block_queue *q);
	void (*limits)(const struct block_queue *q, struct block_limits *l);
	void (*submit)(struct block_queue *q, struct block_request *r);
	void (*kick)(struct block_queue *q);
	void (*poll)(struct block_queue *q, int64_t until_ns);
	int (*resize)(struct block_node *n, uint64_t bytes, struct err *e);
	int (*attach)(struct block_node *n, bool writable, struct err *e);
	void (*detach)(struct block_node *n);
	int (*fd)(const struct block_node *n);
};

extern const struct block_driver block_file, block_host_device, block_raw, block_null,
	block_null_aio, block_throttle;

/* From the loop. */
void block_complete(struct block_request *r, int ret);
/* From anywhere on the queue's thread, also within submit(). */
void block_complete_later(struct block_request *r, int ret);
void block_forward(struct block_queue *q, struct block_request *r);

/* Options, checked against the driver's table before. */
const char *block_option_string(const struct block_node *n, const char *name, const char *def);
bool block_option_bool(const struct block_node *n, const char *name, bool def);
MUST_CHECK int block_option_size(const struct block_node *n, const char *name, uint64_t *value,
				 struct err *e);
MUST_CHECK int block_options_check(const struct block_driver *d, const json_t *options,
				   struct err *e);

/* Image locks as QEMU's, on an open file description (lock.c). */
MUST_CHECK int block_lock(int fd, const char *filename, bool writable, struct err *e);
void block_unlock(int fd);

/* activate.c */
bool block_is_inactive(void);
MUST_CHECK int block_locks_take(struct block_node *n, bool writable, struct err *e);
void block_locks_drop(struct block_node *n);

#endif
