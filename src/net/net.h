/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Theory of operation: a network back end (tap, stream socket, vhost-net's tap) has one or more queue pairs. A queue belongs to
 * the loop it is watched on; its calls are made there. Frames carry a virtio-net header of the negotiated length in front
 * if the back end can take one (net_vnet_header()); else the device adds and strips it.
 */

struct net_backend;
struct net_queue;

/**
 * struct net_offloads - What the guest accepts in received frames (VIRTIO_NET_F_GUEST_*)
 */
struct net_offloads {
	bool csum, tso4, tso6, ecn, ufo, uso4, uso6;
};

/**
 * struct net_watcher - Called on the queue's loop
 * @readable:	Frames wait; call net_receive() until it returns -EAGAIN
 * @writable:	After net_send() returned -EAGAIN: try again
 */
struct net_watcher {
	void (*readable)(void *opaque);
	void (*writable)(void *opaque);
	void *opaque;
};

struct net_backend *net_find(const char *id);
const char *net_id(const struct net_backend *b);
const char *net_kind(const struct net_backend *b); /* "tap", "stream" */
unsigned int net_queues(const struct net_backend *b);
/* One device per back end. EBUSY says who has it. */
MUST_CHECK int net_attach(struct net_backend *b, const char *user, struct err *e);
void net_detach(struct net_backend *b);
bool net_has_vnet_header(const struct net_backend *b);
/* @len 10 or 12; little-endian. False: the back end has no header, the device does it alone. */
bool net_set_vnet_header(struct net_backend *b, unsigned int len);
bool net_can_offload(const struct net_backend *b, const struct net_offloads *o);
void net_set_offloads(struct net_backend *b, const struct net_offloads *o);
void net_set_queues(struct net_backend *b, unsigned int active);
/* Link as set by set_link; the device reports it to the guest. */
void net_on_link(struct net_backend *b, void (*fn)(void *opaque, bool up), void *opaque);
bool net_link_up(const struct net_backend *b);

struct net_queue *net_queue(struct net_backend *b, unsigned int index);
MUST_CHECK int net_watch(struct net_queue *q, struct loop *loop, const struct net_watcher *w,
			 struct err *e);
void net_unwatch(struct net_queue *q);
void net_want_read(struct net_queue *q, bool on); /* off while the guest has no buffers */
/* Bytes of one whole frame, or -EAGAIN; a frame larger than @iov is dropped (returns -EMSGSIZE). */
ssize_t net_receive(struct net_queue *q, const struct iovec *iov, int iov_len);
/* Takes one whole frame. 0, or -EAGAIN: the watcher's writable is called later. Other errors: the frame is gone. */
int net_send(struct net_queue *q, const struct iovec *iov, int iov_len);
/* For vhost: fds to hand to the kernel, or -1. */
int net_tap_fd(const struct net_queue *q);
int net_vhost_fd(const struct net_queue *q);

#endif
