/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: "null-co" and "null-aio" are disks that hold nothing: reads give zeros when
 * asked to, writes vanish. With latency-ns each request takes that long: it waits in its queue, in
 * order, since all take the same, and a timer ends those that are due.
 */
#include "block/driver.h"

#include "base/clock.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>

/**
 * struct null - A disk that holds nothing
 * @latency_ns:	How long each request takes
 */
struct null {
	uint64_t latency_ns;
};

/**
 * struct waiting - Requests of a queue that aren't due
 * @requests:	struct block_request, the first due first; driver[1] is when (time_ns())
 * @timer:	For the first of them
 */
struct waiting {
	struct list requests;
	sd_event_source *timer;
};

static const struct block_option null_options[] = {
	{"size", BLOCK_OPTION_SIZE, false, "size of the disk, bytes (1 GiB)"},
	{"read-zeroes", BLOCK_OPTION_BOOL, false,
	 "reads give zeros (else the buffers stay as they are)"},
	{"latency-ns", BLOCK_OPTION_SIZE, false, "how long each request takes"},
	{NULL, 0, false, NULL},
};

static int null_open(struct block_node *n, struct err *e)
{
	struct null *null = mem_zalloc(sizeof(*null));
	int r = block_option_size(n, "latency-ns", &null->latency_ns, e);

	n->size = GiB;
	n->priv = null;
	n->read_only = block_option_bool(n, "read-only", false);
	if (r >= 0 && null->latency_ns > INT64_MAX / 2)
		r = err_set(e, EINVAL, "latency-ns: is too long");
	if (r >= 0)
		r = block_option_size(n, "size", &n->size, e);
	if (r < 0)
		free(null);
	return r;
}

static void null_close(struct block_node *n)
{
	free(n->priv);
}

static struct block_request *first(const struct waiting *w)
{
	return list_empty(&w->requests) ? NULL
					: list_entry(w->requests.next, struct block_request, link);
}

static void end_due(struct waiting *w)
{
	struct block_request *r;

	while ((r = first(w)) && (int64_t)r->driver[1] <= time_ns()) {
		list_del(&r->link);
		block_complete(r, 0);
	}
}

static void timer_set(struct waiting *w)
{
	const struct block_request *r = first(w);

	if (!r)
		return;
	sd_event_source_set_time(w->timer, r->driver[1] / NS_PER_US + 1);
	sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *opaque)
{
	struct waiting *w = opaque;

	end_due(w);
	timer_set(w);
	return 0;
}

static int null_queue_open(struct block_queue *q, struct err *e)
{
	struct waiting *w = mem_zalloc(sizeof(*w));
	int r = sd_event_add_time(loop_event(q->loop), &w->timer, CLOCK_MONOTONIC, 0, 1, on_timer,
				  w);

	if (r < 0) {
		free(w);
		return err_ret(e, r, "event loop");
	}
	sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	list_init(&w->requests);
	q->priv = w;
	return 0;
}

static void null_queue_close(struct block_queue *q)
{
	struct waiting *w = q->priv;

	sd_event_source_disable_unref(w->timer);
	free(w);
}

static void null_submit(struct block_queue *q, struct block_request *r)
{
	const struct null *null = q->node->priv;
	struct waiting *w = q->priv;

	if (r->op == BLOCK_READ && block_option_bool(q->node, "read-zeroes", false))
		for (int i = 0; i < r->iov_len; i++)
			memset(r->iov[i].iov_base, 0, r->iov[i].iov_len);
	if (!null->latency_ns) {
		block_complete_later(r, 0);
		return;
	}
	r->driver[1] = (uint64_t)time_ns() + null->latency_ns;
	list_add_tail(&w->requests, &r->link);
	if (first(w) == r)
		timer_set(w);
}

static void null_poll(struct block_queue *q, int64_t until_ns)
{
	struct waiting *w = q->priv;
	const struct block_request *r = first(w);
	int64_t at = r ? MIN((int64_t)r->driver[1], until_ns) : 0;
	struct timespec t = {at / NS_PER_SEC, at % NS_PER_SEC};

	if (!r)
		return;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	end_due(w);
}

#define NULL_DRIVER(wire, words)                                                             \
	{                                                                                    \
		.name = (wire), .help = (words), .options = null_options, .open = null_open, \
		.close = null_close, .queue_open = null_queue_open,                          \
		.queue_close = null_queue_close, .submit = null_submit, .poll = null_poll,   \
	}

const struct block_driver block_null = NULL_DRIVER("null-co", "a disk that holds nothing");
const struct block_driver block_null_aio = NULL_DRIVER("null-aio", "the same");
