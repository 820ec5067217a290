/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see peer.h. */
#include "migrate/peer.h"

#include "base/boot.h"
#include "base/option.h"
#include "base/owned.h"
#include "char/address.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENDS_MS = 2000 }; /* its sockets are closed a little before it is gone */

/**
 * struct peer - Who the target is
 * @pidfd:	Its process, if that is on this host; -1: it isn't. Owned
 * @direct:	Both sides see the same connection
 * @local:	Which is a unix socket: nobody on the way can reset it
 */
struct peer {
	int pidfd;
	bool direct, local;
};

/* The kernel and the process ids that it counts in; "": nobody knows. The caller frees it. */
static char *host_name(void)
{
	char boot[BOOT_ID_BYTES];
	struct stat ids;

	boot_id(boot);
	if (!*boot || stat("/proc/self/ns/pid", &ids) < 0)
		return str_dup("");
	return str_printf("%s/%ju", boot, (uintmax_t)ids.st_ino);
}

/* An IPv4 address that came in through an IPv6 socket is the same. The caller frees it. */
static char *end_name(int fd, bool other)
{
	static const char mapped[] = "tcp:[::ffff:";
	OWNED(char) *name = address_name(fd, other);
	const char *from = name + strlen(mapped), *to = strchr(name, ']');

	if (strncmp(name, mapped, strlen(mapped)) != 0 || !to)
		return str_dup(name);
	return str_printf("tcp:%.*s%s", (int)(to - from), from, to + 1);
}

/**
 * peer_describe() - Who this process is, for the other side
 * @c:	The channel to it
 *
 * Return: new reference
 */
json_t *peer_describe(struct channel *c)
{
	OWNED(char) *host = host_name();
	json_t *all = json_pack("{s:s, s:i}", "host", host, "pid", (int)getpid());
	int fd = channel_socket(c);

	if (fd >= 0 && !address_is_unix(fd)) {
		OWNED(char) *here = end_name(fd, false), *there = end_name(fd, true);

		json_object_set_new(all, "from", json_string(there));
		json_object_set_new(all, "to", json_string(here));
	}
	return all;
}

static bool same_connection(const json_t *told, int fd)
{
	OWNED(char) *here = end_name(fd, false), *there = end_name(fd, true);

	return !strcmp(option_str(told, "from", ""), here) &&
	       !strcmp(option_str(told, "to", ""), there);
}

static bool is_process(int fd, pid_t pid)
{
	struct ucred other = {0};
	socklen_t len = sizeof(other);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &len) == 0 && other.pid == pid;
}

/**
 * peer_meet() - Note who the target is
 * @told:	What peer_describe() gave there; NULL: it doesn't say
 * @c:		The channel to it
 *
 * Return: new, peer_forget() it; NULL: nobody knows
 */
struct peer *peer_meet(const json_t *told, struct channel *c)
{
	OWNED(char) *host = host_name();
	bool here = *host && !strcmp(option_str(told, "host", ""), host);
	pid_t pid = (pid_t)option_int(told, "pid", 0);
	int fd = channel_socket(c);
	struct peer *p;

	if (!told || fd < 0)
		return NULL;
	p = mem_zalloc(sizeof(*p));
	p->pidfd = here ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	p->local = address_is_unix(fd);
	p->direct = p->local ? here && is_process(fd, pid) : same_connection(told, fd);
	return p;
}

/**
 * peer_is_direct() - Is there nobody in between?
 * @p:	May be NULL
 *
 * Return: whether that is sure
 */
bool peer_is_direct(const struct peer *p)
{
	return p && p->direct;
}

/**
 * peer_has_ended() - The channel has ended: has the target?
 * @p:		May be NULL
 * @ret:	How the channel failed
 *
 * Waits for a moment for a process that is about to be gone.
 *
 * Return: whether that is sure
 */
bool peer_has_ended(const struct peer *p, int ret)
{
	struct pollfd process = {.fd = p ? p->pidfd : -1, .events = POLLIN};

	if (!p || (ret != -EPIPE && ret != -ECONNRESET))
		return false;
	if (p->direct && (p->local || ret == -EPIPE))
		return true;
	return p->pidfd >= 0 && poll(&process, 1, ENDS_MS) == 1;
}

/**
 * peer_forget() - Take leave
 * @p:	May be NULL
 */
void peer_forget(struct peer *p)
{
	if (!p)
		return;
	fd_close(&p->pidfd);
	free(p);
}
