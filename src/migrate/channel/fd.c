/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the descriptor is non-blocking and waited for together with an eventfd, so
 * that a shutdown from another thread wakes whatever kind it is; shutdown(2) would do for sockets
 * only.
 */
#include "base/owned.h"
#include "migrate/channel/carrier.h"
#include "migrate/channel/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SETTLE_MS = 10000 };

/**
 * fd_carrier_wait() - Wait until the descriptor is ready
 * @f:		Carrier
 * @events:	POLLIN, POLLOUT
 * @timeout_ms:	-1: without end
 *
 * Errors: ECANCELED after a shutdown; ETIMEDOUT
 * Return: 0, or a negative errno
 */
int fd_carrier_wait(struct fd_carrier *f, short events, int timeout_ms)
{
	struct pollfd fds[] = {{.fd = f->fd, .events = events}, {.fd = f->wake, .events = POLLIN}};
	int n;

	while ((n = poll(fds, 2, timeout_ms)) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[1].revents ? -ECANCELED : n ? 0 : -ETIMEDOUT;
}

/**
 * fd_carrier_transfer() - Read or write, waiting until something can be
 * @f:		Carrier
 * @iov:	Pieces
 * @n:		How many
 * @events:	POLLIN to read, POLLOUT to write
 *
 * Errors: ECANCELED after a shutdown; ETIMEDOUT nothing moved; as readv(2), writev(2)
 * Return: bytes, 0 at the end, or a negative errno
 */
ssize_t fd_carrier_transfer(struct fd_carrier *f, const struct iovec *iov, int n, short events)
{
	ssize_t done;
	int ret;

	do {
		ret = fd_carrier_wait(f, events, f->patience_ms);
		if (ret < 0)
			return ret;
		done = events == POLLIN ? readv(f->fd, iov, n) : writev(f->fd, iov, n);
	} while (done < 0 && (errno == EINTR || errno == EAGAIN));
	return done < 0 ? -errno : done;
}

/**
 * fd_carrier_shutdown() - Make a waiting or later transfer fail
 * @f:	Carrier; any thread
 */
void fd_carrier_shutdown(struct fd_carrier *f)
{
	uint64_t one = 1;

	if (write(f->wake, &one, sizeof(one)) < 0)
		shutdown(f->fd, SHUT_RDWR); /* can't happen: the counter is far from full */
}

/**
 * fd_carrier_release() - Close both descriptors
 * @f:	Initialized, or with both -1
 */
void fd_carrier_release(struct fd_carrier *f)
{
	fd_close(&f->fd);
	fd_close(&f->wake);
}

/**
 * fd_carrier_init() - Make a carrier of a descriptor
 * @f:		Filled in; both descriptors -1 on failure
 * @fd:		Owned by @f on success. Becomes non-blocking, which whoever shares it sees
 * @e:		Set on failure only
 *
 * Errors: as fcntl(2), eventfd(2)
 * Return: 0, or a negative errno
 */
int fd_carrier_init(struct fd_carrier *f, int fd, struct err *e)
{
	OWNED_FD wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int flags = fcntl(fd, F_GETFL);

	*f = (struct fd_carrier){-1, -1, -1};
	if (wake < 0)
		return err_sys(e, "eventfd");
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "stream descriptor %d", fd);
	*f = (struct fd_carrier){fd, fd_take(&wake), -1};
	return 0;
}

static ssize_t fd_readv(void *carrier, const struct iovec *iov, int n)
{
	return fd_carrier_transfer(carrier, iov, n, POLLIN);
}

static ssize_t fd_writev(void *carrier, const struct iovec *iov, int n)
{
	return fd_carrier_transfer(carrier, iov, n, POLLOUT);
}

static int fd_seek(void *carrier, off_t bytes)
{
	const struct fd_carrier *f = carrier;

	return lseek(f->fd, bytes, SEEK_CUR) < 0 ? -errno : 0;
}

static void fd_shutdown(void *carrier)
{
	fd_carrier_shutdown(carrier);
}

static void fd_revive(void *carrier)
{
	const struct fd_carrier *f = carrier;
	uint64_t times;

	while (read(f->wake, &times, sizeof(times)) > 0)
		;
}

static void fd_patience(void *carrier, int ms)
{
	((struct fd_carrier *)carrier)->patience_ms = ms;
}

static void fd_carrier_close(void *carrier)
{
	fd_carrier_release(carrier);
	free(carrier);
}

static const struct channel_ops fd_ops = {.readv = fd_readv,
					  .writev = fd_writev,
					  .seek = fd_seek,
					  .shutdown = fd_shutdown,
					  .revive = fd_revive,
					  .patience = fd_patience,
					  .close = fd_carrier_close};

/**
 * channel_open_fd() - A channel on a descriptor
 * @ret:	Set on success only
 * @fd:		Pipe, socket, character device or file; owned by the channel on success. Becomes
 *		non-blocking, which whoever shares its description sees
 * @e:		Set on failure only
 *
 * Errors: as fcntl(2), eventfd(2)
 * Return: 0, or a negative errno
 */
int channel_open_fd(struct channel **ret, int fd, struct err *e)
{
	struct fd_carrier *f = mem_zalloc(sizeof(*f));
	int r = fd_carrier_init(f, fd, e);

	if (r < 0) {
		free(f);
		return r;
	}
	*ret = channel_create(&fd_ops, f);
	return 0;
}

static const struct fd_carrier *socket_of(struct channel *c, int *ret_domain)
{
	const struct fd_carrier *plain = channel_carrier(c, &fd_ops);
	const struct fd_carrier *f = plain ? plain : channel_tls_socket(c);
	socklen_t len = sizeof(*ret_domain);

	return f && getsockopt(f->fd, SOL_SOCKET, SO_DOMAIN, ret_domain, &len) == 0 ? f : NULL;
}

/**
 * channel_socket() - The socket that carries a channel
 * @c:	Channel
 *
 * Return: to look at, borrowed; -1: something else does
 */
int channel_socket(struct channel *c)
{
	int domain;
	const struct fd_carrier *f = socket_of(c, &domain);

	return f ? f->fd : -1;
}

/* Bytes that the other side's kernel hasn't taken; 0 for what isn't a socket. */
static int unsent(const struct fd_carrier *f)
{
	int n = 0;

	return ioctl(f->fd, SIOCOUTQ, &n) < 0 ? 0 : n;
}

/**
 * channel_settle() - Wait until the other side's kernel has all that was written
 * @c:	Channel on a descriptor, flushed; with another there is nothing to wait for
 * @e:	Set on failure only
 *
 * A unix socket's bytes are at the other side at once, but count until they are read.
 *
 * Errors: ETIMEDOUT; as the channel
 * Return: 0, or a negative errno
 */
int channel_settle(struct channel *c, struct err *e)
{
	int i, domain = AF_UNIX;
	const struct fd_carrier *f = socket_of(c, &domain);

	if (!f || domain == AF_UNIX)
		return channel_check(c, e);
	for (i = 0; unsent(f) > 0; i++) {
		if (i == SETTLE_MS)
			return err_set(e, ETIMEDOUT, "the other side doesn't answer");
		poll(&(struct pollfd){.fd = f->wake, .events = POLLIN}, 1, 1);
	}
	return channel_check(c, e);
}
