/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a list and a timer for its first. When that is due the driver knows. */
#include "block/waiting.h"

#include "base/owned.h"

/**
 * waiting_open() - Make the list and timer of a queue
 * @q:		Being opened; gets @q->priv
 * @on_timer:	Called on the queue's loop with @q
 * @e:		Set on failure
 *
 * Errors: as sd_event_add_time(3)
 * Return: 0, or a negative errno
 */
int waiting_open(struct block_queue *q, sd_event_time_handler_t on_timer, struct err *e)
{
	struct waiting *w = mem_zalloc(sizeof(*w));
	int r = sd_event_add_time(loop_event(q->loop), &w->timer, CLOCK_MONOTONIC, 0, 1, on_timer,
				  q);

	if (r < 0) {
		free(w);
		return err_ret(e, r, "event loop");
	}
	sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	list_init(&w->requests);
	q->priv = w;
	return 0;
}

/**
 * waiting_close() - Undo waiting_open(); nothing waits any more
 * @q:	Being closed
 */
void waiting_close(struct block_queue *q)
{
	struct waiting *w = q->priv;

	sd_event_source_disable_unref(w->timer);
	free(w);
}

/**
 * waiting_first() - The request that came first
 * @w:	Of a queue
 *
 * Return: it, still in the list; NULL if there is none
 */
struct block_request *waiting_first(const struct waiting *w)
{
	return list_empty(&w->requests) ? NULL
					: list_entry(w->requests.next, struct block_request, link);
}
