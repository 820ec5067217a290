/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: while a guest moves, two processes have its images open, and one of them may
 * write. A process that waits for a guest starts inactive: devices have their nodes, but no image
 * locks. The one that sends stores what was written and lets the locks go before the other one has
 * everything; whoever runs the guest takes them, and finds out here if somebody else has them.
 */
#include "block/driver.h"

static bool inactive;

/**
 * block_begin_inactive() - Nodes attached from now on get no image locks until block_activate_all()
 */
void block_begin_inactive(void)
{
	inactive = true;
}

/**
 * block_is_inactive() - Do other processes have the images?
 */
bool block_is_inactive(void)
{
	return inactive;
}

/**
 * block_locks_take() - Take the image locks of a node in use
 * @n:		The top node
 * @writable:	Writes are meant
 * @e:		Set on failure only
 *
 * Errors: EBUSY another process has it
 * Return: 0, or a negative errno
 */
int block_locks_take(struct block_node *n, bool writable, struct err *e)
{
	int r = 0;

	for (struct block_node *at = n; at && r >= 0; at = at->child)
		if (at->driver->attach)
			r = at->driver->attach(at, writable, e);
	return r;
}

/**
 * block_locks_drop() - Let the image locks of a node go
 * @n:	The top node
 */
void block_locks_drop(struct block_node *n)
{
	for (struct block_node *at = n; at; at = at->child)
		if (at->driver->detach)
			at->driver->detach(at);
}

/**
 * struct turn - A walk over all nodes
 * @e, @ret:	First failure
 */
struct turn {
	struct err *e;
	int ret;
};

static void activate_one(struct block_node *n, void *opaque)
{
	struct turn *t = opaque;

	if (n->user && t->ret >= 0)
		t->ret = block_locks_take(n, n->writable, t->e);
}

static void drop_one(struct block_node *n, void *opaque)
{
	if (n->user)
		block_locks_drop(n);
}

/**
 * block_activate_all() - The guest is ours: take all image locks
 * @e:	Set on failure only: names the image
 *
 * Errors: EBUSY another process has an image; then none is taken
 * Return: 0, also if they are ours already, or a negative errno
 */
int block_activate_all(struct err *e)
{
	struct turn t = {.e = e};

	if (!inactive)
		return 0;
	block_each(activate_one, &t);
	if (t.ret < 0) {
		block_each(drop_one, NULL);
		return t.ret;
	}
	inactive = false;
	return 0;
}

/**
 * block_inactivate_all() - The guest leaves: let all image locks go
 *
 * No request is in flight, and what was written is stored (store.c) before another process has the
 * guest.
 */
void block_inactivate_all(void)
{
	if (inactive)
		return;
	block_each(drop_one, NULL);
	inactive = true;
}
