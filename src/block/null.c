/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: "null-co" and "null-aio" are disks that hold nothing: reads give zeros when
 * asked to, writes vanish. With latency-ns each request takes that long: it waits in its queue, in
 * order, since all take the same, and a timer ends those that are due; driver[1] of a request is
 * when (time_ns()).
 */
#include "block/waiting.h"

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

static void end_due(struct waiting *w)
{
	struct block_request *r;

	while ((r = waiting_first(w)) && (int64_t)r->driver[1] <= time_ns()) {
		list_del(&r->link);
		block_complete(r, 0);
	}
}

static void timer_set(struct waiting *w)
{
	const struct block_request *r = waiting_first(w);

	if (!r)
		return;
	sd_event_source_set_time(w->timer, r->driver[1] / NS_PER_US + 1);
	sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *opaque)
{
	struct block_queue *q = opaque;

	end_due(q->priv);
	timer_set(q->priv);
	return 0;
}

static int null_queue_open(struct block_queue *q, struct err *e)
{
	return waiting_open(q, on_timer, e);
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
	if (waiting_first(w) == r)
		timer_set(w);
}

static void null_poll(struct block_queue *q, int64_t until_ns)
{
	struct waiting *w = q->priv;
	const struct block_request *r = waiting_first(w);
	int64_t at = r ? MIN((int64_t)r->driver[1], until_ns) : 0;
	struct timespec t = {at / NS_PER_SEC, at % NS_PER_SEC};

	if (!r)
		return;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	end_due(w);
}

#define NULL_DRIVER(wire, words)                                                                  \
	{                                                                                         \
		.name = (wire), .help = (words), .options = null_options, .open = null_open,      \
		.close = null_close, .queue_open = null_queue_open, .queue_close = waiting_close, \
		.submit = null_submit, .poll = null_poll,                                         \
	}

const struct block_driver block_null = NULL_DRIVER("null-co", "a disk that holds nothing");
const struct block_driver block_null_aio = NULL_DRIVER("null-aio", "the same");
