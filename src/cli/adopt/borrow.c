/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what the running VMM has open and the next one must have too. A descriptor
 * of another process is duplicated by pidfd_getfd(2), which asks for the rights of a debugger: the
 * same user, or root. Both then share one open file. Of a tap the kernel keeps settings for all who
 * have it open (length of the header, offloads, which queues are on), and a VMM that starts sets
 * them as it likes; while the old one still runs the guest they are put back as it wants them.
 * Sources: pidfd_getfd(2), Documentation/networking/tuntap.rst, proc(5) on fdinfo
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define OFFLOADS_TSO (TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

static int fd_get(const struct move *m, int fd)
{
	OWNED_FD pidfd = (int)syscall(SYS_pidfd_open, m->source_pid, 0);

	return pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

/**
 * borrow_possible() - May descriptors of the source be taken? A blocker if not
 * @m:	The move
 *
 * Return: whether they may
 */
bool borrow_possible(struct move *m)
{
	OWNED_FD fd = fd_get(m, 0);

	if (fd >= 0 || errno == EBADF)
		return true;
	move_block(m,
		   "taps and listening sockets are taken from process %d, which isn't allowed: %s; "
		   "run this as root",
		   m->source_pid, strerror(errno));
	return false;
}

/* Calls @fn for each descriptor of the source until it returns true. */
static void each_fd(const struct move *m, bool (*fn)(int fd, const char *link, void *opaque),
		    void *opaque)
{
	OWNED(char *) dir = str_printf("/proc/%d/fd", m->source_pid);
	DIR *d = opendir(dir);
	struct dirent *entry;
	bool stop = false;

	while (d && !stop && (entry = readdir(d))) {
		char link[256];
		ssize_t n = readlinkat(dirfd(d), entry->d_name, link, sizeof(link) - 1);

		if (n > 0) {
			link[n] = '\0';
			stop = fn(atoi(entry->d_name), link, opaque);
		}
	}
	if (d)
		closedir(d);
}

/* The name of the tap behind a descriptor, or "". */
static void tap_name(const struct move *m, int fd, char name[64])
{
	OWNED(char *) path = str_printf("/proc/%d/fdinfo/%d", m->source_pid, fd);
	FILE *f = fopen(path, "re");
	char line[200];

	*name = '\0';
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "iff: %63s", name) == 1)
			break;
	if (f)
		fclose(f);
}

/**
 * struct tap_search - Looking for taps
 * @m:		Where they go
 * @ifname:	Name, or NULL: one that isn't in @named
 * @named:	Names that belong to somebody
 * @found:	How many queues
 * @name:	Of the unnamed one that was found first
 */
struct tap_search {
	struct move *m;
	const char *ifname;
	const json_t *named;
	size_t found;
	char name[64];
};

static bool is_wanted(struct tap_search *s, const char *name)
{
	if (!*name)
		return false;
	if (s->ifname)
		return !strcmp(name, s->ifname);
	if (json_object_get(s->named, name) || (*s->name && strcmp(s->name, name)))
		return false;
	snprintf(s->name, sizeof(s->name), "%s", name);
	return true;
}

static bool take_tap(int fd, const char *link, void *opaque)
{
	struct tap_search *s = opaque;
	struct move *m = s->m;
	char name[64];
	int copy;

	if (!strstr(link, "/net/tun"))
		return false;
	tap_name(m, fd, name);
	if (!is_wanted(s, name) || m->taps_len == TAPS_MAX)
		return false;
	copy = fd_get(m, fd);
	if (copy < 0)
		return false;
	m->taps[m->taps_len++] = (struct tap){.fd = copy};
	s->found++;
	return false;
}

/**
 * borrow_tap_name() - The tap behind a descriptor of the source
 * @m:		The move
 * @fd:		Its number there
 *
 * Return: the interface's name, or NULL; the caller frees it
 */
char *borrow_tap_name(const struct move *m, int fd)
{
	char name[64];

	tap_name(m, fd, name);
	return *name ? str_dup(name) : NULL;
}

/**
 * borrow_taps() - Take the queues of a tap
 * @m:		@taps grows
 * @ifname:	Its name; NULL: the one that @named doesn't have
 * @named:	Object whose keys are names
 *
 * Return: how many queues
 */
size_t borrow_taps(struct move *m, const char *ifname, const json_t *named)
{
	struct tap_search s = {.m = m, .ifname = ifname, .named = named};

	each_fd(m, take_tap, &s);
	return s.found;
}

/**
 * struct listener_search - Looking for a listening socket
 * @m:		The move
 * @path, @port: One of them
 * @fd:		Found, or -1
 */
struct listener_search {
	struct move *m;
	const char *path;
	int port, fd;
};

static bool is_listener(int fd, const struct listener_search *s)
{
	struct sockaddr_storage a = {0};
	socklen_t len = sizeof(a), int_len = sizeof(int);
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a;
	const struct sockaddr_in *in =
		(const struct sockaddr_in *)&a; /* the port is at one place */
	int listens = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_len) < 0 || !listens ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return false;
	if (s->path) {
		OWNED(char *)
		bound = move_path(s->m, un->sun_path[0] ? un->sun_path : un->sun_path + 1);

		return a.ss_family == AF_UNIX &&
		       (!strcmp(bound, s->path) ||
			!strncmp(un->sun_path + 1, s->path, sizeof(un->sun_path) - 1));
	}
	return a.ss_family != AF_UNIX && ntohs(in->sin_port) == s->port;
}

/**
 * borrow_descriptor() - Take a listening socket that the source was given
 * @m:		The move
 * @number:	Of the descriptor there
 * @where:	Gets "path", or "host" and "port"
 *
 * Return: descriptor, or -1
 */
int borrow_descriptor(struct move *m, int number, json_t *where)
{
	OWNED_FD fd = fd_get(m, number);
	struct sockaddr_storage a = {0};
	socklen_t len = sizeof(a), int_len = sizeof(int);
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a;
	char host[64], port[16];
	int listens = 0;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_len) < 0 ||
	    !listens || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	if (a.ss_family == AF_UNIX) {
		json_object_set_new(where, "path",
				    json_string(un->sun_path[0] ? un->sun_path : un->sun_path + 1));
		if (!un->sun_path[0])
			json_object_set_new(where, "abstract", json_true());
	} else if (getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
			       NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
		json_object_set_new(where, "host", json_string(host));
		json_object_set_new(where, "port", json_string(port));
	}
	return fd_take(&fd);
}

static bool take_listener(int fd, const char *link, void *opaque)
{
	struct listener_search *s = opaque;
	OWNED_FD copy = strncmp(link, "socket:", 7) ? -1 : fd_get(s->m, fd);

	if (copy < 0 || !is_listener(copy, s))
		return false;
	s->fd = fd_take(&copy);
	return true;
}

/**
 * borrow_listener() - Take a listening socket
 * @m:		The move
 * @path:	Of a unix socket (absolute, or abstract), or NULL
 * @port:	TCP port
 *
 * Return: descriptor, or -1
 */
int borrow_listener(struct move *m, const char *path, const char *port)
{
	struct listener_search s = {.m = m, .path = path, .port = port ? atoi(port) : 0, .fd = -1};

	each_fd(m, take_listener, &s);
	return s.fd;
}

static bool ethtool_get(const char *name, uint32_t command)
{
	struct ethtool_value value = {.cmd = command};
	OWNED_FD fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_data = (char *)&value};

	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	return fd >= 0 && ioctl(fd, SIOCETHTOOL, &ifr) == 0 && value.data;
}

static unsigned int offloads_of(const char *name)
{
	unsigned int flags = 0;

	if (!ethtool_get(name, ETHTOOL_GTXCSUM))
		return 0;
	flags |= TUN_F_CSUM;
	if (ethtool_get(name, ETHTOOL_GTSO))
		flags |= OFFLOADS_TSO;
	return flags;
}

/**
 * taps_remember() - What the running VMM has set
 * @taps:	Open ones
 * @len:	How many
 */
void taps_remember(struct tap *taps, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		struct ifreq ifr = {0};

		ioctl(taps[i].fd, TUNGETVNETHDRSZ, &taps[i].header);
		if (ioctl(taps[i].fd, TUNGETIFF, &ifr) < 0)
			continue;
		taps[i].detached = ifr.ifr_flags & IFF_DETACH_QUEUE;
		taps[i].offloads = offloads_of(ifr.ifr_name);
	}
}

static void restore(const struct tap *t)
{
	struct ifreq now = {0}, queue = {.ifr_flags = IFF_ATTACH_QUEUE};
	int header = 0;

	if (ioctl(t->fd, TUNGETVNETHDRSZ, &header) == 0 && header != t->header)
		ioctl(t->fd, TUNSETVNETHDRSZ, &t->header);
	if (ioctl(t->fd, TUNGETIFF, &now) < 0)
		return;
	if (t->detached != !!(now.ifr_flags & IFF_DETACH_QUEUE)) {
		if (t->detached)
			queue.ifr_flags = IFF_DETACH_QUEUE;
		ioctl(t->fd, TUNSETQUEUE, &queue);
	}
	if (offloads_of(now.ifr_name) != t->offloads)
		ioctl(t->fd, TUNSETOFFLOAD, t->offloads);
}

/**
 * taps_restore() - Put back what another process has changed
 * @taps:	As taps_remember() left them
 * @len:	How many
 */
void taps_restore(const struct tap *taps, size_t len)
{
	for (size_t i = 0; i < len; i++)
		restore(&taps[i]);
}
