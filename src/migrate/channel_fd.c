/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the descriptor is non-blocking and waited for together with an eventfd, so
 * that a shutdown from another thread wakes whatever kind it is; shutdown(2) would do for sockets
 * only.
 */
#include "base/owned.h"
#include "migrate/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/**
 * struct fd_carrier - A descriptor that carries a channel
 * @fd:		Owned
 * @wake:	Eventfd, readable after a shutdown; owned
 */
struct fd_carrier {
	int fd, wake;
};

/* Waits until the descriptor is ready. -ECANCELED after a shutdown. */
static int wait_ready(struct fd_carrier *f, short events)
{
	struct pollfd fds[] = {{.fd = f->fd, .events = events}, {.fd = f->wake, .events = POLLIN}};

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[1].revents ? -ECANCELED : 0;
}

static ssize_t fd_transfer(struct fd_carrier *f, const struct iovec *iov, int n, short events)
{
	ssize_t done;
	int ret;

	do {
		ret = wait_ready(f, events);
		if (ret < 0)
			return ret;
		done = events == POLLIN ? readv(f->fd, iov, n) : writev(f->fd, iov, n);
	} while (done < 0 && (errno == EINTR || errno == EAGAIN));
	return done < 0 ? -errno : done;
}

static ssize_t fd_readv(void *carrier, const struct iovec *iov, int n)
{
	return fd_transfer(carrier, iov, n, POLLIN);
}

static ssize_t fd_writev(void *carrier, const struct iovec *iov, int n)
{
	return fd_transfer(carrier, iov, n, POLLOUT);
}

static void fd_shutdown(void *carrier)
{
	struct fd_carrier *f = carrier;
	uint64_t one = 1;

	if (write(f->wake, &one, sizeof(one)) < 0)
		shutdown(f->fd, SHUT_RDWR); /* can't happen: the counter is at 0 or 1 */
}

static void fd_carrier_close(void *carrier)
{
	struct fd_carrier *f = carrier;

	fd_close(&f->fd);
	fd_close(&f->wake);
	free(f);
}

static const struct channel_ops fd_ops = {
	.readv = fd_readv, .writev = fd_writev, .shutdown = fd_shutdown, .close = fd_carrier_close};

/**
 * channel_open_fd() - A channel on a descriptor
 * @ret:	Set on success only
 * @fd:		Pipe, socket, character device or file; owned by the channel on success. Becomes
 *non-blocking, which whoever shares its description sees
 * @e:		Set on failure only
 *
 * Errors: as fcntl(2), eventfd(2)
 * Return: 0, or a negative errno
 */
int channel_open_fd(struct channel **ret, int fd, struct err *e)
{
	OWNED_FD wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int flags = fcntl(fd, F_GETFL);
	struct fd_carrier *f;

	if (wake < 0)
		return err_sys(e, "eventfd");
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "stream descriptor %d", fd);
	f = mem_zalloc(sizeof(*f));
	f->fd = fd;
	f->wake = fd_take(&wake);
	*ret = channel_create(&fd_ops, f);
	return 0;
}
