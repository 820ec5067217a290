/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CARRIER_H
#define MIGRATE_CARRIER_H

#include "migrate/channel.h"

/**
 * struct fd_carrier - A descriptor that carries a channel. Inside this room only
 * @fd:		Owned; non-blocking
 * @wake:	Eventfd, readable after a shutdown; owned
 */
struct fd_carrier {
	int fd, wake;
};

MUST_CHECK int fd_carrier_init(struct fd_carrier *f, int fd, struct err *e);
void fd_carrier_release(struct fd_carrier *f);
void fd_carrier_shutdown(struct fd_carrier *f);
ssize_t fd_carrier_transfer(struct fd_carrier *f, const struct iovec *iov, int n, short events);

#endif
