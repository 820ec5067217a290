/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: bytes from standard input to a VMM's socket and back to standard output,
 * each way with one buffer. The end of standard input is passed on; it is over when the VMM closes
 * its side and all of it is written. Standard output may be gone: what is meant for it is then
 * dropped, and the source asks again in another way (see remote.h).
 */
#include "cli/remote/remote.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#define BUFFER_BYTES (256u << 10)

/**
 * struct way - One direction
 * @from, @to:	Descriptors; non-blocking
 * @buf:	Bytes on their way: @begin to @end of them wait
 * @ended:	Nothing more comes
 * @dropped:	@to takes nothing more
 */
struct way {
	int from, to;
	char *buf;
	size_t begin, end;
	bool ended, dropped;
};

static bool is_empty(const struct way *w)
{
	return w->begin == w->end;
}

static void way_read(struct way *w)
{
	ssize_t n = read(w->from, w->buf, BUFFER_BYTES);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	w->begin = 0;
	w->end = n > 0 ? (size_t)n : 0;
	w->ended = n <= 0;
}

static void way_write(struct way *w)
{
	ssize_t n = w->dropped ? (ssize_t)(w->end - w->begin)
			       : write(w->to, w->buf + w->begin, w->end - w->begin);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	w->dropped |= n < 0;
	w->begin = n < 0 ? w->end : w->begin + (size_t)n;
}

/* What there is to wait for: to write before to read. */
static struct pollfd way_wait(const struct way *w)
{
	if (!is_empty(w))
		return (struct pollfd){.fd = w->to, .events = POLLOUT};
	return (struct pollfd){.fd = w->ended ? -1 : w->from, .events = POLLIN};
}

static void way_step(struct way *w, const struct pollfd *ready)
{
	if (!ready->revents)
		return;
	if (is_empty(w))
		way_read(w);
	if (!is_empty(w))
		way_write(w);
}

static void no_wait(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

static void run(struct way *in, struct way *out)
{
	bool told = false;

	while (!out->ended || !is_empty(out)) {
		struct pollfd fds[] = {way_wait(in), way_wait(out)};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return;
		way_step(in, &fds[0]);
		way_step(out, &fds[1]);
		if (in->ended && is_empty(in) && !told)
			told = shutdown(in->to, SHUT_WR) == 0 || errno != EINTR;
	}
}

/**
 * forward() - Carry a stream until the VMM has closed its side
 * @vmm_fd:	Socket; closed
 */
void forward(int vmm_fd)
{
	OWNED(char) *there = mem_zalloc(BUFFER_BYTES), *back = mem_zalloc(BUFFER_BYTES);
	struct way in = {.from = STDIN_FILENO, .to = vmm_fd, .buf = there};
	struct way out = {.from = vmm_fd, .to = STDOUT_FILENO, .buf = back};
	const int fds[] = {STDIN_FILENO, STDOUT_FILENO, vmm_fd};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		no_wait(fds[i], true);
	run(&in, &out);
	no_wait(STDOUT_FILENO, false);
	close(vmm_fd);
}
