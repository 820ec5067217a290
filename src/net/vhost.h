/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_VHOST_H
#define NET_VHOST_H

#include "base/err.h"

#include <linux/vhost.h>
#include <stdbool.h>
#include <stdint.h>

#define VHOST_RINGS 2 /* receive, transmit */

/**
 * struct vhost_ring - A ring as the kernel shall serve it
 * @num:	Entries
 * @base:	Next entry to take
 * @desc, @avail, @used: Mapped
 * @kick_fd, @call_fd: Eventfds, borrowed
 */
struct vhost_ring {
	uint32_t num;
	uint16_t base;
	void *desc, *avail, *used;
	int kick_fd, call_fd;
};

/* Of what a device may offer the kernel serves these; 0 if it isn't vhost-net. */
uint64_t vhost_net_features(int fd);
MUST_CHECK int vhost_net_start(int fd, int tap_fd, uint64_t features,
			       const struct vhost_memory *memory,
			       const struct vhost_ring rings[VHOST_RINGS], struct err *e);
/* The kernel serves nothing any more; @base: where it was in each ring. Another process may
 * start. */
void vhost_net_stop(int fd, uint16_t base[VHOST_RINGS]);
MUST_CHECK int vhost_net_set_memory(int fd, const struct vhost_memory *memory, struct err *e);
void vhost_net_set_call(int fd, unsigned int ring, int call_fd);

#endif
