/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CARRIER_H
#define MIGRATE_CARRIER_H

#include "migrate/channel/channel.h"

/**
 * struct fd_carrier - A descriptor that carries a channel. Inside this room only
 * @fd:		Owned; non-blocking
 * @wake:	Eventfd, readable after a shutdown; owned
 * @patience_ms: How long a transfer waits while nothing moves; -1: without end
 */
struct fd_carrier {
	int fd, wake, patience_ms;
};

MUST_CHECK int fd_carrier_init(struct fd_carrier *f, int fd, struct err *e);
void fd_carrier_release(struct fd_carrier *f);
void fd_carrier_shutdown(struct fd_carrier *f);
/* 0: ready. -ECANCELED after a shutdown, -ETIMEDOUT; @timeout_ms -1: without end. */
MUST_CHECK int fd_carrier_wait(struct fd_carrier *f, short events, int timeout_ms);
ssize_t fd_carrier_transfer(struct fd_carrier *f, const struct iovec *iov, int n, short events);

/* channel/tls.c: what is below; NULL: it is no TLS. */
struct fd_carrier *channel_tls_socket(struct channel *c);

#endif
