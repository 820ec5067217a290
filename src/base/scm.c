/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: file descriptors as ancillary data on unix sockets, unix(7) SCM_RIGHTS. */
#include "base/scm.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * SCM_FDS_MAX)];
};

/**
 * scm_send() - Send bytes and file descriptors
 * @sock:	Connected unix socket
 * @buf:	At least one byte
 * @len:	Bytes
 * @fds:	Sent with the first byte; stay open here
 * @fds_len:	0 to SCM_FDS_MAX
 *
 * Errors: EINVAL too many fds; else as sendmsg(2)
 * Return: bytes sent (the fds are with them), or a negative errno
 */
ssize_t scm_send(int sock, const void *buf, size_t len, const int *fds, size_t fds_len)
{
	union control control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fds_len > SCM_FDS_MAX)
		return -EINVAL;
	if (fds_len) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds_len);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fds_len);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fds_len);
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Takes the fds out of one control message; those beyond @room are closed. */
static size_t take_fds(const struct cmsghdr *cmsg, int *fds, size_t room)
{
	size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	size_t taken = 0;

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
		if (taken < room)
			fds[taken++] = fd;
		else
			close(fd);
	}
	return taken;
}

/**
 * scm_recv() - Receive bytes and file descriptors
 * @sock:	Connected unix socket
 * @buf:	Filled in
 * @len:	Bytes it holds
 * @fds:	Filled in, close-on-exec; the caller owns them
 * @fds_len:	In: places in @fds; out: fds received. More than fit are closed
 *
 * Errors: as recvmsg(2)
 * Return: bytes received, 0 at the end of the stream, or a negative errno
 */
ssize_t scm_recv(int sock, void *buf, size_t len, int *fds, size_t *fds_len)
{
	union control control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	size_t room = *fds_len;
	ssize_t n;

	*fds_len = 0;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			*fds_len += take_fds(c, fds + *fds_len, room - *fds_len);
	return n;
}
