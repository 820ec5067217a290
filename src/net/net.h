/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/err.h"
#include "base/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Theory of operation: a network back end (tap, stream socket, vhost-net's tap) has one or more
 * queue pairs. A queue belongs to the loop it is watched on; its calls are made there. Frames carry
 * a virtio-net header of the negotiated length in front if the back end can take one
 * (net_vnet_header()); else the device adds and strips it.
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

/*
 * Made by -netdev or netdev_add from a JSON object in the spelling of QEMU's Netdev
 * ({"type":"tap","id":"n0", "ifname":"tap0","script":"no"}). Strings that name descriptors
 * ("fd":"33", "fds":"a:b") are numbers of inherited descriptors or names given by getfd, looked up
 * by @fd_of (returns an owned fd or -1). Main thread.
 *
 * Errors: EINVAL unknown type or option, missing or wrong value (named); EEXIST the id is taken;
 * else of the tap or socket
 */
typedef int net_fd_fn(void *opaque, const char *name);
MUST_CHECK int net_add(const json_t *options, net_fd_fn *fd_of, void *opaque, struct err *e);
/* EBUSY: a device uses it. */
MUST_CHECK int net_remove(const char *id, struct err *e);
void net_each(void (*fn)(struct net_backend *b, void *opaque), void *opaque);
const json_t *net_options(const struct net_backend *b); /* as given; borrowed */
void net_set_link(struct net_backend *b, bool up);
/* For a live hand-over: all descriptors, in an order that net_adopt_fds() takes. Borrowed.
 * Returns how many. */
size_t net_fds(const struct net_backend *b, int *fds, size_t room);
/* The next net_add() with this id uses these descriptors (owned) instead of opening anything. */
void net_adopt_fds(const char *id, const int *fds, size_t len);
/* The guest is ours now: back ends made of such descriptors become what the device wants. Until
 * then nothing touches what they share with the other process. */
void net_take_all(void);
struct net_backend *net_find(const char *id);
const char *net_id(const struct net_backend *b);
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
/* Takes one whole frame. 0, or -EAGAIN: the watcher's writable is called later. Other errors:
 * the frame is gone. */
int net_send(struct net_queue *q, const struct iovec *iov, int iov_len);
/* For vhost: fds to hand to the kernel, or -1. */
int net_tap_fd(const struct net_queue *q);
int net_vhost_fd(const struct net_queue *q);

#endif
