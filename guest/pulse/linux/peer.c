/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One thread with one socket. Over UDP each numbered packet (core/numbered.c) is a datagram; over
 * TCP they are records of one open connection, which must live as long as the witness does: nothing
 * is lost there but the connection itself, which makes the device's state 3.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/numbered.h"
#include "peer.h"

#define IDLE_MS     1
#define STATE_WORKS 1
#define STATE_GONE  3

static struct {
	int fd;
	bool stream;
	struct numbered_window numbered;
	struct numbered_sent sent[NUMBERED_WINDOW];
	struct numbered come;
	size_t have; /* bytes of @come */
} net;

/* A record, or the rest of it; false: nothing is there now. */
static bool receive(void)
{
	char *at = (char *)&net.come + net.have;
	ssize_t n = recv(net.fd, at, sizeof(net.come) - net.have, MSG_DONTWAIT);

	if (n == 0 && net.stream)
		net.numbered.out->state = STATE_GONE;
	if (n <= 0)
		return false;
	net.have += (size_t)n;
	if (net.have == sizeof(net.come))
		numbered_take(&net.numbered, &net.come);
	if (net.have == sizeof(net.come) || !net.stream)
		net.have = 0;
	return true;
}

static bool transmit(void)
{
	struct numbered p;

	if (!numbered_due(&net.numbered))
		return false;
	numbered_make(&net.numbered, &p);
	if (send(net.fd, &p, sizeof(p), MSG_NOSIGNAL) < 0 && net.stream)
		net.numbered.out->state = STATE_GONE;
	return true;
}

static void *run(void *arg)
{
	struct pollfd wait = {.fd = net.fd, .events = POLLIN};

	while (net.numbered.out->state == STATE_WORKS) {
		bool done = receive();

		done |= transmit();
		while (numbered_give_up(&net.numbered))
			;
		if (!done)
			poll(&wait, 1, IDLE_MS);
	}
	return NULL;
}

static int parse(const char *peer, int *type, struct sockaddr_in *to)
{
	char host[INET_ADDRSTRLEN], extra;
	unsigned int port;

	*type = !strncmp(peer, "tcp:", 4) ? SOCK_STREAM : SOCK_DGRAM;
	if (*type == SOCK_DGRAM && strncmp(peer, "udp:", 4) != 0)
		return -EINVAL;
	if (sscanf(peer + 4, "%15[0-9.]:%5u%c", host, &port, &extra) != 2 || !port || port > 65535)
		return -EINVAL;
	*to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	return inet_pton(AF_INET, host, &to->sin_addr) == 1 ? 0 : -EINVAL;
}

static int connected(int type, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1, code;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) {
		code = -errno;
		close(fd);
		return code;
	}
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int peer_start(struct witness *w, struct pulse_device *out, const char *peer)
{
	struct sockaddr_in to;
	pthread_t thread;
	int type, code = parse(peer, &type, &to);

	if (code)
		return code;
	net.fd = connected(type, &to);
	if (net.fd < 0)
		return net.fd;
	net.stream = type == SOCK_STREAM;
	numbered_start(&net.numbered, w, out, net.sent);
	out->id = ntohl(to.sin_addr.s_addr);
	out->state = STATE_WORKS;
	return -pthread_create(&thread, NULL, run, NULL);
}
