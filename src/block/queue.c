/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a queue is one thread's way into a stack; each node on the way has a queue
 * of its own. The request remembers the top queue, which counts it and runs its completion. Bounds
 * and read-only are checked once, at the top, so drivers see only requests that lie inside the
 * disk.
 */
#include "block/driver.h"

#include "base/clock.h"
#include "base/owned.h"

#include <errno.h>
#include <sys/stat.h>

static int on_done(sd_event_source *source, void *opaque)
{
	struct block_queue *q = opaque;

	while (!list_empty(&q->done)) {
		struct block_request *r = list_entry(q->done.next, struct block_request, link);

		list_del(&r->link);
		block_complete(r, (int)(int64_t)r->driver[0]);
	}
	return 0;
}

static int stack_open(struct block_queue *q, struct err *e)
{
	int r = 0;

	if (q->node->child)
		r = block_queue_open(q->node->child, q->loop, &q->child, e);
	if (r >= 0 && q->node->driver->queue_open)
		r = q->node->driver->queue_open(q, e);
	return r;
}

/**
 * block_queue_open() - A thread's way into a node
 * @n:		Top node; a reference is kept
 * @loop:	Where requests are submitted and completed
 * @ret:	Set on success only
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int block_queue_open(struct block_node *n, struct loop *loop, struct block_queue **ret,
		     struct err *e)
{
	struct block_queue *q = mem_zalloc(sizeof(*q));
	int r;

	q->node = block_ref(n);
	q->loop = loop;
	list_init(&q->done);
	r = sd_event_add_defer(loop_event(loop), &q->done_source, on_done, q);
	if (r >= 0)
		r = sd_event_source_set_enabled(q->done_source, SD_EVENT_OFF);
	r = r < 0 ? err_ret(e, r, "event loop") : stack_open(q, e);
	if (r < 0) {
		if (q->child)
			block_queue_close(q->child);
		sd_event_source_disable_unref(q->done_source);
		block_unref(n);
		free(q);
		return r;
	}
	*ret = q;
	return 0;
}

/**
 * block_queue_close() - Undo block_queue_open()
 * @q:		No request in flight
 */
void block_queue_close(struct block_queue *q)
{
	if (q->node->driver->queue_close)
		q->node->driver->queue_close(q);
	if (q->child)
		block_queue_close(q->child);
	sd_event_source_disable_unref(q->done_source);
	block_unref(q->node);
	free(q);
}

/**
 * block_queue_limits() - What requests should look like
 * @q:		The queue
 * @ret:	Filled in
 */
void block_queue_limits(const struct block_queue *q, struct block_limits *ret)
{
	*ret = (struct block_limits){.request_alignment = 1,
				     .memory_alignment = 1,
				     .discard = true,
				     .write_zeroes = true};
	for (; q; q = q->child)
		if (q->node->driver->limits)
			q->node->driver->limits(q, ret);
}

static int check(const struct block_queue *q, const struct block_request *r)
{
	uint64_t size = block_size(q->node);

	if (r->op == BLOCK_FLUSH)
		return 0;
	if (r->op != BLOCK_READ && q->node->read_only)
		return -EROFS;
	return r->offset > size || r->bytes > size - r->offset ? -EIO : 0;
}

/**
 * block_submit() - Start a request
 * @q:		The queue, on its thread
 * @r:		Stays valid until its completion was called: -EIO outside the disk, -EROFS, else of
 *		the driver
 */
void block_submit(struct block_queue *q, struct block_request *r)
{
	int ret = check(q, r);

	r->top = q;
	list_init(&r->link);
	q->in_flight++;
	if (ret < 0)
		block_complete_later(r, ret);
	else
		q->node->driver->submit(q, r);
}

/**
 * block_forward() - A filter passes a request down
 * @q:		The filter's queue
 * @r:		The request
 */
void block_forward(struct block_queue *q, struct block_request *r)
{
	q->child->node->driver->submit(q->child, r);
}

static void highest(uint64_t *at, uint64_t value)
{
	uint64_t was = __atomic_load_n(at, __ATOMIC_RELAXED);

	while (was < value && !__atomic_compare_exchange_n(at, &was, value, true, __ATOMIC_RELAXED,
							   __ATOMIC_RELAXED))
		;
}

/* The request counts for each node that it came through. */
static void account(const struct block_request *r, int ret)
{
	for (struct block_queue *q = r->top; q; q = q->child) {
		struct block_counter *c = &q->node->stats.ops[r->op];

		if (ret < 0) {
			__atomic_add_fetch(&c->failed, 1, __ATOMIC_RELAXED);
			continue;
		}
		__atomic_add_fetch(&c->done, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&c->bytes, r->bytes, __ATOMIC_RELAXED);
		if (r->op == BLOCK_WRITE)
			highest(&q->node->stats.written_to, r->offset + r->bytes);
	}
}

/**
 * block_stats() - What went through a node
 * @n:		The node; any thread
 * @ret:	Filled in
 */
void block_stats(const struct block_node *n, struct block_stats *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(ret->ops); i++) {
		const struct block_counter *c = &n->stats.ops[i];

		ret->ops[i].done = __atomic_load_n(&c->done, __ATOMIC_RELAXED);
		ret->ops[i].bytes = __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
		ret->ops[i].failed = __atomic_load_n(&c->failed, __ATOMIC_RELAXED);
	}
	ret->written_to = __atomic_load_n(&n->stats.written_to, __ATOMIC_RELAXED);
}

/**
 * block_complete() - End a request, from the loop
 * @r:		The request; gone after this
 * @ret:	0 or a negative errno
 */
void block_complete(struct block_request *r, int ret)
{
	r->top->in_flight--;
	account(r, ret);
	r->complete(r, ret);
}

/**
 * block_complete_later() - End a request from within submit()
 * @r:		The request
 * @ret:	0 or a negative errno
 */
void block_complete_later(struct block_request *r, int ret)
{
	struct block_queue *top = r->top;

	r->driver[0] = (uint64_t)(int64_t)ret;
	list_add_tail(&top->done, &r->link);
	sd_event_source_set_enabled(top->done_source, SD_EVENT_ONESHOT);
}

/**
 * block_kick() - Send what was held back
 * @q:		The queue
 */
void block_kick(struct block_queue *q)
{
	for (; q; q = q->child)
		if (q->node->driver->kick)
			q->node->driver->kick(q);
}

/**
 * block_drain_until() - Complete everything in flight, unless that takes too long
 * @q:		The queue, on its thread; nobody submits meanwhile but completions themselves
 * @until_ns:	time_ns() at which to give up; TIME_NEVER: don't
 *
 * Return: how many requests are still in flight
 */
unsigned int block_drain_until(struct block_queue *q, int64_t until_ns)
{
	while (q->in_flight) {
		on_done(NULL, q);
		block_kick(q);
		if (q->in_flight && until_ns != TIME_NEVER && time_ns() >= until_ns)
			break;
		for (struct block_queue *at = q; at && q->in_flight; at = at->child)
			if (at->node->driver->poll)
				at->node->driver->poll(at, until_ns);
	}
	return q->in_flight;
}

/**
 * block_drain() - Complete everything in flight
 * @q:		As for block_drain_until()
 */
void block_drain(struct block_queue *q)
{
	block_drain_until(q, TIME_NEVER);
}
