/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the kernel's vhost-net moves frames between a tap and a pair of rings. It is
 * given owner, features, memory and rings at each start, and forgets its owner at each stop, so
 * that the descriptor serves the process that a live upgrade brings.
 *
 * Source: linux/vhost.h, drivers/vhost/net.c
 */
#include "net/vhost.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/**
 * vhost_net_features() - What the kernel can do
 * @fd:		/dev/vhost-net
 *
 * Return: feature bits, 0 if there is none
 */
uint64_t vhost_net_features(int fd)
{
	uint64_t features = 0;

	return fd >= 0 && ioctl(fd, VHOST_GET_FEATURES, &features) == 0 ? features : 0;
}

static int ring_set(int fd, unsigned int index, const struct vhost_ring *r, struct err *e)
{
	struct vhost_vring_state num = {.index = index, .num = r->num};
	struct vhost_vring_state base = {.index = index, .num = r->base};
	struct vhost_vring_addr addr = {.index = index,
					.desc_user_addr = (uintptr_t)r->desc,
					.avail_user_addr = (uintptr_t)r->avail,
					.used_user_addr = (uintptr_t)r->used};
	struct vhost_vring_file kick = {.index = index, .fd = r->kick_fd};
	struct vhost_vring_file call = {.index = index, .fd = r->call_fd};

	if (ioctl(fd, VHOST_SET_VRING_NUM, &num) < 0 ||
	    ioctl(fd, VHOST_SET_VRING_BASE, &base) < 0 ||
	    ioctl(fd, VHOST_SET_VRING_ADDR, &addr) < 0 ||
	    ioctl(fd, VHOST_SET_VRING_KICK, &kick) < 0 ||
	    ioctl(fd, VHOST_SET_VRING_CALL, &call) < 0)
		return err_sys(e, "vhost ring %u", index);
	return 0;
}

static int backend_set(int fd, unsigned int index, int tap_fd)
{
	struct vhost_vring_file backend = {.index = index, .fd = tap_fd};

	return ioctl(fd, VHOST_NET_SET_BACKEND, &backend);
}

static int prepare(int fd, uint64_t features, const struct vhost_memory *memory, struct err *e)
{
	if (ioctl(fd, VHOST_SET_OWNER, NULL) < 0)
		return err_sys(e, "VHOST_SET_OWNER");
	if (ioctl(fd, VHOST_SET_FEATURES, &features) < 0)
		return err_sys(e, "VHOST_SET_FEATURES %#jx", (uintmax_t)features);
	return vhost_net_set_memory(fd, memory, e);
}

/**
 * vhost_net_start() - Let the kernel serve a pair of rings
 * @fd:		/dev/vhost-net, stopped
 * @tap_fd:	Queue of a tap
 * @features:	Negotiated ones that vhost_net_features() has
 * @memory:	Of the guest
 * @rings:	Receive and transmit
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno, and it is stopped
 */
int vhost_net_start(int fd, int tap_fd, uint64_t features, const struct vhost_memory *memory,
		    const struct vhost_ring rings[VHOST_RINGS], struct err *e)
{
	uint16_t ignored[VHOST_RINGS];
	int r = prepare(fd, features, memory, e);

	for (unsigned int i = 0; i < VHOST_RINGS && r >= 0; i++)
		r = ring_set(fd, i, &rings[i], e);
	for (unsigned int i = 0; i < VHOST_RINGS && r >= 0; i++)
		if (backend_set(fd, i, tap_fd) < 0)
			r = err_sys(e, "VHOST_NET_SET_BACKEND");
	if (r < 0)
		vhost_net_stop(fd, ignored);
	return r;
}

/**
 * vhost_net_stop() - Take the rings back
 * @fd:		/dev/vhost-net
 * @base:	Next entry to take of each ring
 */
void vhost_net_stop(int fd, uint16_t base[VHOST_RINGS])
{
	for (unsigned int i = 0; i < VHOST_RINGS; i++) {
		struct vhost_vring_state state = {.index = i};

		backend_set(fd, i, -1);
		if (ioctl(fd, VHOST_GET_VRING_BASE, &state) < 0)
			log_warn("VHOST_GET_VRING_BASE: %s", strerror(errno));
		base[i] = (uint16_t)state.num;
	}
	if (ioctl(fd, VHOST_RESET_OWNER, NULL) < 0)
		log_warn("VHOST_RESET_OWNER: %s", strerror(errno));
}

/**
 * vhost_net_set_memory() - Tell the kernel where guest memory is
 * @fd:		/dev/vhost-net with an owner
 * @memory:	All of it
 * @e:		Set on failure only
 *
 * Errors: E2BIG more regions than the module takes (max_mem_regions)
 * Return: 0, or a negative errno
 */
int vhost_net_set_memory(int fd, const struct vhost_memory *memory, struct err *e)
{
	return ioctl(fd, VHOST_SET_MEM_TABLE, memory) < 0 ? err_sys(e, "VHOST_SET_MEM_TABLE") : 0;
}

/**
 * vhost_net_set_call() - Change what the kernel signals
 * @fd:		/dev/vhost-net, started
 * @ring:	0 or 1
 * @call_fd:	Eventfd, borrowed
 */
void vhost_net_set_call(int fd, unsigned int ring, int call_fd)
{
	struct vhost_vring_file call = {.index = ring, .fd = call_fd};

	if (ioctl(fd, VHOST_SET_VRING_CALL, &call) < 0)
		log_warn("VHOST_SET_VRING_CALL: %s", strerror(errno));
}
