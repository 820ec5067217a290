/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see beacon.h. */
#include "migrate/beacon.h"

#include "base/option.h"
#include "base/owned.h"

#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define QUESTION "OUTLIVE?"
#define ANSWER   "OUTLIVE?I wait.\n"

enum { WAIT_MS = 250, TRIES = 4 };

/**
 * struct beacon - Answers datagrams
 * @fd:		Owned
 * @source:	Waits for them
 */
struct beacon {
	int fd;
	sd_event_source *source;
};

/**
 * union address - Of a datagram socket
 */
union address {
	struct sockaddr any;
	struct sockaddr_storage room;
	struct sockaddr_un local;
};

/* The abstract name that goes with a path; one too long for it has none. */
static socklen_t local_name(const char *path, union address *ret)
{
	int n;

	memset(ret, 0, sizeof(*ret));
	ret->local.sun_family = AF_UNIX;
	n = snprintf(ret->local.sun_path + 1, sizeof(ret->local.sun_path) - 1,
		     "outlive-incoming:%s", path);
	if (n < 0 || (size_t)n >= sizeof(ret->local.sun_path) - 1)
		return 0;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int on_question(sd_event_source *source, int fd, uint32_t events, void *opaque)
{
	union address from;
	socklen_t len = sizeof(from);
	char text[64];
	ssize_t n = recvfrom(fd, text, sizeof(text), MSG_DONTWAIT, &from.any, &len);

	if (n == sizeof(QUESTION) - 1 && !memcmp(text, QUESTION, sizeof(QUESTION) - 1) &&
	    sendto(fd, ANSWER, sizeof(ANSWER) - 1, MSG_DONTWAIT, &from.any, len) < 0)
		return 0; /* it asks again, or has gone */
	return 0;
}

static int datagram_socket(int listen_fd)
{
	union address at;
	socklen_t len = sizeof(at);
	OWNED_FD fd = -1;

	memset(&at, 0, sizeof(at));
	if (getsockname(listen_fd, &at.any, &len) < 0)
		return -1;
	if (at.any.sa_family == AF_UNIX) {
		char path[sizeof(at.local.sun_path) + 1] = "";

		memcpy(path, at.local.sun_path, sizeof(at.local.sun_path));
		len = local_name(path, &at);
	}
	fd = socket(at.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !len || bind(fd, &at.any, len) < 0)
		return -1;
	return fd_take(&fd);
}

/**
 * beacon_create() - Answer whoever asks whether an Outlive waits
 * @loop:	Main loop
 * @listen_fd:	Where it waits
 *
 * Return: NULL if that can't be
 */
struct beacon *beacon_create(struct loop *loop, int listen_fd)
{
	struct beacon *b = mem_zalloc(sizeof(*b));

	b->fd = datagram_socket(listen_fd);
	if (b->fd >= 0 &&
	    sd_event_add_io(loop_event(loop), &b->source, b->fd, EPOLLIN, on_question, b) >= 0)
		return b;
	beacon_destroy(b);
	return NULL;
}

/**
 * beacon_destroy() - Answer no more
 * @b:	May be NULL
 */
void beacon_destroy(struct beacon *b)
{
	if (!b)
		return;
	sd_event_source_disable_unref(b->source);
	fd_close(&b->fd);
	free(b);
}

static bool ask(int fd, const union address *to, socklen_t len)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char text[64];

	if (connect(fd, &to->any, len) < 0)
		return false;
	for (int i = 0; i < TRIES; i++) {
		if (send(fd, QUESTION, sizeof(QUESTION) - 1, 0) < 0)
			return false; /* nobody is there: a QEMU, perhaps */
		if (poll(&wait, 1, WAIT_MS) > 0)
			return recv(fd, text, sizeof(text), MSG_DONTWAIT) == sizeof(ANSWER) - 1 &&
			       !memcmp(text, ANSWER, sizeof(ANSWER) - 1);
	}
	return false;
}

static bool ask_local(const char *path)
{
	const sa_family_t any_name = AF_UNIX; /* the kernel gives one, to be answered at */
	OWNED_FD fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union address to;
	socklen_t len = local_name(path, &to);
	struct sockaddr_un me = {.sun_family = any_name};

	return fd >= 0 && len && bind(fd, (struct sockaddr *)&me, sizeof(any_name)) == 0 &&
	       ask(fd, &to, len);
}

static bool ask_host(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
	bool yes = false;

	if (getaddrinfo(*host ? host : NULL, port, &hints, &found))
		return false;
	for (const struct addrinfo *a = found; a && !yes; a = a->ai_next) {
		OWNED_FD fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		union address to;

		memcpy(&to, a->ai_addr, MIN((size_t)a->ai_addrlen, sizeof(to)));
		yes = fd >= 0 && ask(fd, &to, a->ai_addrlen);
	}
	freeaddrinfo(found);
	return yes;
}

/**
 * beacon_answers() - Does an Outlive wait there?
 * @u:	Of a target
 *
 * Return: false also if it can't be reached by a datagram
 */
bool beacon_answers(const struct uri *u)
{
	if (u->kind == URI_UNIX)
		return ask_local(u->rest);
	if (u->kind == URI_TCP)
		return ask_host(option_str(u->address, "host", ""),
				option_str(u->address, "port", ""));
	return false;
}
