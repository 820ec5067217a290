/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARRIVALS_H
#define VMM_ARRIVALS_H

#include "base/err.h"
#include "base/loop.h"

/*
 * The connections of one source: the stream, and channels beside it (multifd). Main thread.
 *
 * Theory of operation: they may come in any order, and are told apart by their first bytes. Where
 * the operator has said how many channels there are, all are waited for. Where nothing was said,
 * the channels are those that are there when the stream begins; a source of ours sees to that
 * (multifd_source_begin()).
 */

struct arrivals;

/**
 * arrivals_fn - They are there; called once
 * @opaque:	Of arrivals_create()
 * @stream:	Descriptor of the stream; the callee's
 * @channels:	Those of the channels, @n of them; the callee's
 */
typedef void arrivals_fn(void *opaque, int stream, const int *channels, unsigned int n);

MUST_CHECK int arrivals_create(struct arrivals **ret, struct loop *loop, int listen_fd,
			       unsigned int channels, arrivals_fn *done, void *opaque,
			       struct err *e);
void arrivals_destroy(struct arrivals *a); /* may be NULL; also as the last thing of @done */

#endif
