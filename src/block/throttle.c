/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a filter that delays. Each limit is a leaky bucket: a request adds its cost,
 * the bucket leaks at the configured rate, and a request may go when the bucket's level is below
 * the burst (a tenth of a second's worth unless set). Requests wait in order; one timer wakes the
 * first. Limits can change at run time (block_throttle_set(), QMP block_set_io_throttle). All
 * queues of a node share the buckets under a leaf lock.
 */
#include "block/throttle.h"

#include "base/clock.h"
#include "base/owned.h"
#include "block/waiting.h"

#include <errno.h>
#include <string.h>

/**
 * struct bucket - One limit
 * @rate:	Units a second, 0: no limit
 * @level:	Units above what has leaked
 * @at_ns:	When @level was computed
 */
struct bucket {
	uint64_t rate;
	double level;
	int64_t at_ns;
};

enum { BPS_TOTAL, BPS_READ, BPS_WRITE, IOPS_TOTAL, IOPS_READ, IOPS_WRITE, BUCKETS };

static const char *const bucket_name[BUCKETS] = {"bps-total",  "bps-read",  "bps-write",
						 "iops-total", "iops-read", "iops-write"};

struct throttle {
	pthread_mutex_t lock;
	struct bucket buckets[BUCKETS];
};

static const struct block_option options[] = {
	{"file", BLOCK_OPTION_NODE, true, "node below"},
	{"bps-total", BLOCK_OPTION_SIZE, false, "bytes a second, reads and writes together"},
	{"bps-read", BLOCK_OPTION_SIZE, false, "bytes a second, reads"},
	{"bps-write", BLOCK_OPTION_SIZE, false, "bytes a second, writes"},
	{"iops-total", BLOCK_OPTION_SIZE, false, "requests a second, reads and writes together"},
	{"iops-read", BLOCK_OPTION_SIZE, false, "requests a second, reads"},
	{"iops-write", BLOCK_OPTION_SIZE, false, "requests a second, writes"},
	{NULL, 0, false, NULL},
};

static bool counts(int bucket, const struct block_request *r)
{
	bool write = r->op != BLOCK_READ;

	if (r->op == BLOCK_FLUSH)
		return false;
	switch (bucket % 3) {
	case 0: return true;
	case 1: return !write;
	default: return write;
	}
}

/* When this bucket lets a request through, ns from now; 0: now. */
static int64_t bucket_wait_ns(struct bucket *b, int64_t now_ns)
{
	double burst = (double)b->rate / 10;

	b->level -= (double)(now_ns - b->at_ns) * (double)b->rate / NS_PER_SEC;
	b->level = MAX(b->level, 0.0);
	b->at_ns = now_ns;
	return b->level <= burst ? 0
				 : (int64_t)((b->level - burst) * NS_PER_SEC / (double)b->rate) + 1;
}

/* Charges the request if it may go now. Returns 0, or how long to wait. */
static int64_t admit(struct throttle *t, const struct block_request *r)
{
	int64_t now_ns = time_ns(), wait_ns = 0;

	pthread_mutex_lock(&t->lock);
	for (int i = 0; i < BUCKETS; i++)
		if (t->buckets[i].rate && counts(i, r))
			wait_ns = MAX(wait_ns, bucket_wait_ns(&t->buckets[i], now_ns));
	for (int i = 0; i < BUCKETS && !wait_ns; i++)
		if (t->buckets[i].rate && counts(i, r))
			t->buckets[i].level += i < IOPS_TOTAL ? (double)r->bytes : 1.0;
	pthread_mutex_unlock(&t->lock);
	return wait_ns;
}

static void go_on(struct block_queue *q)
{
	struct waiting *w = q->priv;
	struct block_request *r;

	while ((r = waiting_first(w))) {
		int64_t wait_ns = admit(q->node->priv, r);

		if (wait_ns) {
			sd_event_source_set_time_relative(w->timer, (uint64_t)wait_ns / 1000 + 1);
			sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
			return;
		}
		list_del(&r->link);
		block_forward(q, r);
	}
}

static int on_timer(sd_event_source *source, uint64_t usec, void *opaque)
{
	struct block_queue *q = opaque;

	go_on(q);
	block_kick(q->child);
	return 0;
}

static int throttle_queue_open(struct block_queue *q, struct err *e)
{
	return waiting_open(q, on_timer, e);
}

static void throttle_submit(struct block_queue *q, struct block_request *r)
{
	struct waiting *w = q->priv;

	list_add_tail(&w->requests, &r->link);
	if (w->requests.next == &r->link)
		go_on(q);
}

/* Draining doesn't wait for the limits: the guest is stopped, and what it asked for is already
 * accepted. */
static void throttle_poll(struct block_queue *q, int64_t until_ns)
{
	struct block_request *r;

	while ((r = waiting_first(q->priv))) {
		list_del(&r->link);
		block_forward(q, r);
	}
	block_kick(q->child);
}

static int throttle_open(struct block_node *n, struct err *e)
{
	struct throttle *t = mem_zalloc(sizeof(*t));
	int r = 0;

	pthread_mutex_init(&t->lock, NULL);
	for (int i = 0; i < BUCKETS && r >= 0; i++)
		r = block_option_size(n, bucket_name[i], &t->buckets[i].rate, e);
	if (r < 0) {
		free(t);
		return r;
	}
	n->priv = t;
	n->size = block_size(n->child);
	n->read_only = block_read_only(n->child);
	return 0;
}

static void throttle_close(struct block_node *n)
{
	struct throttle *t = n->priv;

	pthread_mutex_destroy(&t->lock);
	free(t);
}

static int throttle_resize(struct block_node *n, uint64_t bytes, struct err *e)
{
	n->size = block_size(n->child);
	return 0;
}

const struct block_driver block_throttle = {
	.name = "throttle",
	.help = "limits of bandwidth and requests a second",
	.options = options,
	.open = throttle_open,
	.close = throttle_close,
	.queue_open = throttle_queue_open,
	.queue_close = waiting_close,
	.submit = throttle_submit,
	.poll = throttle_poll,
	.resize = throttle_resize,
};

static const struct block_node *throttle_below(const struct block_node *n)
{
	while (n && n->driver != &block_throttle)
		n = n->child;
	return n;
}

/**
 * block_throttle_get() - The limits of a disk
 * @n:		Top of a stack; the first throttle node from there down is meant
 * @ret:	Set if there is one
 *
 * Return: whether there is one
 */
bool block_throttle_get(const struct block_node *n, struct block_limits_io *ret)
{
	const struct throttle *t;

	n = throttle_below(n);
	if (!n)
		return false;
	t = n->priv;
	*ret = (struct block_limits_io){
		t->buckets[BPS_TOTAL].rate, t->buckets[BPS_READ].rate,
		t->buckets[BPS_WRITE].rate, t->buckets[IOPS_TOTAL].rate,
		t->buckets[IOPS_READ].rate, t->buckets[IOPS_WRITE].rate,
	};
	return true;
}

/**
 * block_throttle_set() - Change the limits of a throttle node
 * @n:		Top of a stack; the first throttle node from there down is meant
 * @l:		New limits
 * @e:		Set on failure only
 *
 * The node's options follow, so that a hand-over carries the new limits.
 *
 * Errors: ENOTSUP there is no throttle node
 * Return: 0, or a negative errno
 */
int block_throttle_set(struct block_node *n, const struct block_limits_io *l, struct err *e)
{
	const uint64_t rates[BUCKETS] = {l->bps_total,  l->bps_read,  l->bps_write,
					 l->iops_total, l->iops_read, l->iops_write};
	struct throttle *t;

	n = (struct block_node *)(uintptr_t)throttle_below(n);
	if (!n)
		return err_set(e, ENOTSUP, "the disk has no throttle node");
	t = n->priv;
	pthread_mutex_lock(&t->lock);
	for (int i = 0; i < BUCKETS; i++)
		t->buckets[i] = (struct bucket){.rate = rates[i], .at_ns = time_ns()};
	pthread_mutex_unlock(&t->lock);
	for (int i = 0; i < BUCKETS; i++)
		json_object_set_new(n->options, bucket_name[i], json_integer((json_int_t)rates[i]));
	return 0;
}
