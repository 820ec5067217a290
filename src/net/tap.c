/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a tap device of the host, one descriptor a queue pair, frames with a
 * virtio-net header in front (IFF_VNET_HDR), so that checksum and segmentation offloads pass
 * between guest and host kernel untouched. The descriptors are opened here by name, or inherited
 * ("fd", "fds") from whoever had the right to make the tap. Scripts are not run: the interface is
 * expected to be in its bridge (script=no is accepted, anything else refused).
 * Sources: Documentation/networking/tuntap.rst; linux/if_tun.h
 */
#include "net/backend.h"

#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static const struct net_option options[] = {
	{"ifname", "name of the tap interface (default: the kernel chooses)"},
	{"fd", "one inherited descriptor"},
	{"fds", "inherited descriptors, a:b:c, one a queue pair"},
	{"queues", "queue pairs to open"},
	{"script", "'no' only"},
	{"downscript", "'no' only"},
	{"vhost", "let the kernel's vhost-net move the frames"},
	{"vhostfd", "one inherited vhost-net descriptor"},
	{"vhostfds", "inherited vhost-net descriptors, a:b:c"},
	{"vhostforce", "the same, and a host without it is an error"},
	{"vnet_hdr", "virtio-net headers (default on)"},
	{"sndbuf", "bytes the host may queue for sending, 0: no limit"},
	{NULL, NULL},
};

static int tap_new(const char *ifname, unsigned int queues, char *ret_name, struct err *e)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	OWNED_FD fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		err_sys(e, "open /dev/net/tun");
		return err_hint(e, "modprobe tun; or pass an open tap by fd=");
	}
	if (queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		err_sys(e, "tap interface '%s'", ifname);
		return err_hint(e, "without CAP_NET_ADMIN: ip tuntap add %s mode tap user $USER",
				ifname);
	}
	snprintf(ret_name, IFNAMSIZ, "%s", ifr.ifr_name);
	return fd_take(&fd);
}

static int inherited(struct net_backend *b, const char *list, bool vhost, net_fd_fn *fd_of,
		     void *opaque, struct err *e)
{
	OWNED(char *) copy = str_dup(list);
	char *at = copy, *name;
	unsigned int i = 0;

	while ((name = strsep(&at, ":"))) {
		int fd = fd_of ? fd_of(opaque, name) : -1;

		if (fd < 0)
			return err_set(e, EBADF, "%s: there is no descriptor '%s'",
				       vhost ? "vhostfds" : "fds", name);
		if (i == NET_QUEUES_MAX || (vhost && i >= b->queues_len)) {
			close(fd);
			return err_set(e, EINVAL, "%s: too many descriptors",
				       vhost ? "vhostfds" : "fds");
		}
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		if (vhost)
			b->queues[i].vhost_fd = fd;
		else
			net_queue_init(b, i, fd);
		i++;
	}
	return 0;
}

static int opened(struct net_backend *b, struct err *e)
{
	char name[IFNAMSIZ];
	const json_t *v = json_object_get(b->options, "queues");
	long queues = json_is_integer(v) ? (long)json_integer_value(v)
					 : strtol(net_option(b, "queues", "1"), NULL, 10);

	if (queues < 1 || queues > NET_QUEUES_MAX)
		return err_set(e, EINVAL, "queues: 1 to %d", NET_QUEUES_MAX);
	snprintf(name, sizeof(name), "%s", net_option(b, "ifname", ""));
	for (unsigned int i = 0; i < queues; i++) {
		int fd = tap_new(name, (unsigned int)queues, name, e);

		if (fd < 0)
			return fd;
		net_queue_init(b, i, fd);
	}
	json_object_set_new(b->options, "ifname", json_string(name));
	return 0;
}

static int check_scripts(const struct net_backend *b, struct err *e)
{
	if (strcmp(net_option(b, "script", "no"), "no") ||
	    strcmp(net_option(b, "downscript", "no"), "no"))
		return err_set(
			e, ENOTSUP,
			"script: only 'no' is supported (the bridge is the host's business)");
	return 0;
}

/* As QEMU: without vhostforce a host that has no vhost-net is only worth a warning. */
static int vhost_open(struct net_backend *b, struct err *e)
{
	bool force = net_option_bool(b, "vhostforce", false);

	if (!net_option_bool(b, "vhost", force))
		return 0;
	for (unsigned int i = 0; i < b->queues_len; i++) {
		int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

		if (fd < 0 && force) {
			err_sys(e, "open /dev/vhost-net");
			return err_hint(e, "modprobe vhost_net; or pass it by vhostfd=");
		}
		if (fd < 0) {
			log_warn("netdev %s: open /dev/vhost-net: %s; frames are moved by the VMM",
				 b->id, strerror(errno));
			return 0;
		}
		b->queues[i].vhost_fd = fd;
	}
	return 0;
}

static int queues_open(struct net_backend *b, net_fd_fn *fd_of, void *opaque, struct err *e)
{
	const char *fds = net_option(b, "fds", net_option(b, "fd", NULL));
	const char *vhost = net_option(b, "vhostfds", net_option(b, "vhostfd", NULL));
	int r = 0;

	if (b->queues_len)
		return 0; /* handed over */
	if (fds && json_object_get(b->options, "ifname"))
		return err_set(e, EINVAL, "fd and ifname exclude each other");
	r = fds ? inherited(b, fds, false, fd_of, opaque, e) : opened(b, e);
	if (r < 0)
		return r;
	return vhost ? inherited(b, vhost, true, fd_of, opaque, e) : vhost_open(b, e);
}

static int tap_open(struct net_backend *b, net_fd_fn *fd_of, void *opaque, struct err *e)
{
	unsigned int features = 0;
	struct ifreq ifr;
	int r = check_scripts(b, e);

	if (r >= 0)
		r = queues_open(b, fd_of, opaque, e);
	if (r < 0)
		return r;
	memset(&ifr, 0, sizeof(ifr));
	if (ioctl(b->queues[0].fd, TUNGETFEATURES, &features) < 0 ||
	    ioctl(b->queues[0].fd, TUNGETIFF, &ifr) < 0)
		return err_sys(e, "fd is no tap");
	b->can_vnet = features & IFF_VNET_HDR && ifr.ifr_flags & IFF_VNET_HDR;
	if (b->can_vnet)
		net_set_vnet_header(b, 12);
	return 0;
}

static bool tap_set_vnet_header(struct net_backend *b, unsigned int len)
{
	int size = (int)len, little = 1;

	for (unsigned int i = 0; i < b->queues_len; i++)
		if (ioctl(b->queues[i].fd, TUNSETVNETHDRSZ, &size) < 0 ||
		    ioctl(b->queues[i].fd, TUNSETVNETLE, &little) < 0)
			return false;
	b->vnet_header = len;
	return true;
}

static unsigned int flags(const struct net_offloads *o)
{
	unsigned int f = 0;

	if (!o->csum)
		return 0;
	f = TUN_F_CSUM | (o->tso4 ? TUN_F_TSO4 : 0) | (o->tso6 ? TUN_F_TSO6 : 0);
	if ((o->tso4 || o->tso6) && o->ecn)
		f |= TUN_F_TSO_ECN;
	if (o->ufo)
		f |= TUN_F_UFO;
	return f;
}

/* The kernel has no question "could you?": ask for it and put back what was. Nobody is attached
 * yet, so all is off. */
static bool tap_can_offload(struct net_backend *b, const struct net_offloads *o)
{
	bool can = !o->uso4 && !o->uso6 && ioctl(b->queues[0].fd, TUNSETOFFLOAD, flags(o)) == 0;

	ioctl(b->queues[0].fd, TUNSETOFFLOAD, 0);
	return can;
}

static void tap_set_offloads(struct net_backend *b, const struct net_offloads *o)
{
	for (unsigned int i = 0; i < b->queues_len; i++)
		if (ioctl(b->queues[i].fd, TUNSETOFFLOAD, flags(o)) < 0 && flags(o) & TUN_F_UFO)
			ioctl(b->queues[i].fd, TUNSETOFFLOAD, flags(o) & ~(unsigned int)TUN_F_UFO);
}

static void tap_set_queues(struct net_backend *b, unsigned int active)
{
	for (unsigned int i = 0; i < b->queues_len && b->queues_len > 1; i++) {
		struct ifreq ifr = {.ifr_flags = i < active ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

		ioctl(b->queues[i].fd, TUNSETQUEUE, &ifr);
	}
}

static ssize_t tap_receive(struct net_queue *q, const struct iovec *iov, int iov_len)
{
	ssize_t n = readv(q->fd, iov, iov_len);

	return n < 0 ? -errno : n;
}

static int tap_send(struct net_queue *q, const struct iovec *iov, int iov_len)
{
	ssize_t n;

	do {
		n = writev(q->fd, iov, iov_len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

const struct net_ops net_tap = {
	.kind = "tap",
	.options = options,
	.open = tap_open,
	.receive = tap_receive,
	.send = tap_send,
	.set_vnet_header = tap_set_vnet_header,
	.can_offload = tap_can_offload,
	.set_offloads = tap_set_offloads,
	.set_queues = tap_set_queues,
};
