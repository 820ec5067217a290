/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCK_WAITING_H
#define BLOCK_WAITING_H

#include "block/driver.h"

/* Inside the block room: the requests of a driver that lets them wait for a time. */

/**
 * struct waiting - Requests of a queue that mustn't go on yet; its block_queue.priv
 * @requests:	struct block_request in the order in which they came
 * @timer:	Wakes the queue's loop for the first of them; off until it is set
 */
struct waiting {
	struct list requests;
	sd_event_source *timer;
};

MUST_CHECK int waiting_open(struct block_queue *q, sd_event_time_handler_t on_timer, struct err *e);
void waiting_close(struct block_queue *q);
struct block_request *waiting_first(const struct waiting *w); /* NULL: there is none */

#endif
