/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARRIVALS_H
#define VMM_ARRIVALS_H

#include "base/err.h"
#include "base/loop.h"
#include "migrate/tls/tls.h"

/*
 * The connections of one source: the stream, and channels beside it (multifd). Main thread.
 *
 * Theory of operation: they may come in any order, and are told apart by their first bytes. Where
 * the operator has said how many channels there are, all are waited for. Where nothing was said,
 * the channels are those that are there when the stream begins; a source of ours sees to that
 * (multifd_source_begin()).
 *
 * With TLS each connection begins with its handshake, in steps between other events; its first
 * bytes are those behind it.
 *
 * Whoever knows the port can connect: a connection whose handshake fails, that goes without a word
 * or begins as no migration does is closed and forgotten, since it wasn't the source that is waited
 * for. One that says nothing takes a place until there are others to take it.
 */

struct arrivals;

/**
 * arrivals_fn - They are there; called once
 * @opaque:	Of arrivals_create()
 * @stream:	The stream; the callee's
 * @channels:	Those beside it, @n of them; the callee's, but not the array
 */
typedef void arrivals_fn(void *opaque, struct channel *stream, struct channel *const *channels,
			 unsigned int n);

/**
 * struct arrivals_rules - Whom to wait for
 * @channels:	How many come beside the stream; 0: whatever is there when the stream begins
 * @tls:	Of a server, stays until the arrivals' end; NULL: no TLS
 * @done:	Called when they are there
 * @opaque:	For @done
 */
struct arrivals_rules {
	unsigned int channels;
	const struct tls_credentials *tls;
	arrivals_fn *done;
	void *opaque;
};

MUST_CHECK int arrivals_create(struct arrivals **ret, struct loop *loop, int listen_fd,
			       const struct arrivals_rules *rules, struct err *e);
void arrivals_destroy(struct arrivals *a); /* may be NULL; also as the last thing of @done */

#endif
