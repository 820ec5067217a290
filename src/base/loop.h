/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/**
 * struct loop - An sd-event loop that other threads can send work to
 *
 * One thread runs it and owns it (role "main" or "io N"); sources are added with sd_event_add_*()
 * on loop_event() by that thread. Other threads use loop_post() and loop_call() only.
 */
struct loop;

typedef void loop_fn(void *opaque);

MUST_CHECK int loop_create(struct loop **ret, struct err *e);
void loop_destroy(struct loop *l);
sd_event *loop_event(struct loop *l);
MUST_CHECK int loop_run(struct loop *l, struct err *e);
bool loop_pending(struct loop *l);
bool loop_exiting(struct loop *l);
void loop_exit(struct loop *l);
void loop_post(struct loop *l, loop_fn *fn, void *opaque);
void loop_call(struct loop *l, loop_fn *fn, void *opaque);

#endif
