/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_BACKEND_H
#define NET_BACKEND_H

#include "base/list.h"
#include "net/net.h"

/* What the back ends of this room implement, and what the room gives them. Not for other rooms. */

#define NET_QUEUES_MAX 64
#define NET_FRAME_MAX  (65536 + 64)

/**
 * struct net_queue - One queue pair of a back end
 * @backend:	Its back end
 * @fd:		Tap queue or connected socket; owned; -1 while a socket isn't connected
 * @vhost_fd:	/dev/vhost-net given for it, or -1; owned
 * @loop:	Where it is watched, or NULL
 * @source:	@fd in that loop
 * @watcher:	Called there
 * @want_read, @want_write: What is waited for
 * @rx, @rx_len, @rx_want: Stream socket: frame being read, bytes so far, bytes of the whole frame
 * (0: unknown)
 * @tx, @tx_len, @tx_sent: Stream socket: rest of a frame half sent
 */
struct net_queue {
	struct net_backend *backend;
	int fd, vhost_fd;
	struct loop *loop;
	sd_event_source *source;
	struct net_watcher watcher;
	bool want_read, want_write;
	uint8_t *rx, *tx;
	size_t rx_len, rx_want, tx_len, tx_sent;
};

/**
 * struct net_backend - A tap, a stream socket
 * @id:		Of the user; owned
 * @ops:	Its kind
 * @options:	As given; owned
 * @user:	Device that has it, or NULL; owned
 * @vnet_header: Length of the header in front of each frame, 0: none
 * @can_vnet:	The back end takes one
 * @up:		Link as set by set_link
 * @link_fn, @link_opaque: Told of changes
 * @borrowed:	Another process still uses it: what is set is only noted, until net_take_all()
 * @wanted:	Noted; @active 0 and @offloads_set false: nothing was
 */
struct net_backend {
	struct list link;
	char *id;
	const struct net_ops *ops;
	json_t *options;
	char *user;
	unsigned int vnet_header, queues_len;
	bool can_vnet, up;
	void (*link_fn)(void *opaque, bool up);
	void *link_opaque;
	bool borrowed;
	struct {
		unsigned int header, active;
		bool offloads_set;
		struct net_offloads offloads;
	} wanted;
	struct net_queue queues[NET_QUEUES_MAX];
};

/**
 * struct net_option - One option: checks and help
 */
struct net_option {
	const char *name, *help;
};

/**
 * struct net_ops - A kind of back end
 * @writable:	The descriptor takes bytes again; may be NULL
 * @open:	Options are checked by name; sets queues and queues_len. Descriptors handed over are
 *		there already
 */
struct net_ops {
	const char *kind;
	const struct net_option *options;
	int (*open)(struct net_backend *b, net_fd_fn *fd_of, void *opaque, struct err *e);
	void (*close)(struct net_backend *b);
	ssize_t (*receive)(struct net_queue *q, const struct iovec *iov, int iov_len);
	int (*send)(struct net_queue *q, const struct iovec *iov, int iov_len);
	void (*writable)(struct net_queue *q);
	bool (*set_vnet_header)(struct net_backend *b, unsigned int len);
	bool (*can_offload)(struct net_backend *b, const struct net_offloads *o);
	void (*set_offloads)(struct net_backend *b, const struct net_offloads *o);
	void (*set_queues)(struct net_backend *b, unsigned int active);
};

extern const struct net_ops net_tap, net_stream;

void net_queue_init(struct net_backend *b, unsigned int index, int fd);
void net_queue_want_write(struct net_queue *q);
const char *net_option(const struct net_backend *b, const char *name, const char *def);
bool net_option_bool(const struct net_backend *b, const char *name, bool def);

#endif
