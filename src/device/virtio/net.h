/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_NET_H
#define DEVICE_VIRTIO_NET_H

#include "device/virtio/virtio.h"
#include "net/net.h"

#define NET_PAIRS_MAX  64
#define NET_MACS_MAX   64
#define NET_VLAN_BYTES 512
#define NET_FRAME_MAX  (65536 + 64) /* of one frame with its header */
#define NET_S_LINK_UP  1
#define NET_S_ANNOUNCE 2

/**
 * struct net_filter - Which received frames the guest wants; owner
 * @promisc, @allmulti, @alluni, @nomulti, @nouni, @nobcast: Switches of the control queue
 * @uni_overflow, @multi_overflow: The guest gave more addresses than fit: all of that kind pass
 * @in_use:	Addresses in @macs
 * @first_multi: Index of the first multicast address
 * @vlans:	One bit an id
 */
struct net_filter {
	uint8_t promisc, allmulti, alluni, nomulti, nouni, nobcast;
	uint8_t uni_overflow, multi_overflow;
	uint32_t in_use, first_multi;
	uint8_t macs[NET_MACS_MAX][6];
	uint8_t vlans[NET_VLAN_BYTES];
};

/**
 * struct net_pair - A receive and a transmit queue and the back end's queue they use; owner
 * @n:		Whose
 * @index:	Which
 * @nq:		Back end's queue; NULL: none
 * @watched:	Between net_watch() and net_unwatch()
 * @in_kernel:	vhost serves the pair
 * @call_fd, @call_source: What vhost signals where it can't raise the interrupt
 */
struct net_pair {
	struct virtio_net *n;
	unsigned int index;
	struct net_queue *nq;
	bool watched, in_kernel;
	int call_fd[2];
	sd_event_source *call_source[2];
};

/**
 * enum net_news - Whether the receive filter has changed: told once, until somebody looks at it
 */
enum net_news { NET_NEWS_NONE, NET_NEWS_CHANGED, NET_NEWS_TOLD };

/**
 * struct virtio_net - A network interface
 * @v:		First
 * @netdev, @config_mac, @rx_queue_size, @tx_queue_size, @host_mtu, @bootindex, @speed, @duplex:
 *		Properties
 * @tx, @tx_timer, @tx_burst: Properties that are accepted and have no effect
 * @lock:	A leaf lock: protects @mac
 * @can_ufo:	The back end takes large UDP; asked once, as asking changes a tap's settings
 * @mac:	Now; the guest may change it
 * @status:	NET_S_* bits; atomic
 * @pairs, @max_pairs: Queue pairs
 * @curr_pairs:	In use; owner
 * @multiqueue:	The control queue is behind all pairs
 * @host_header: Frames have a header on the back end's side too
 * @header_len:	Of the guest's header, 10 or 12 bytes
 * @offloads:	Receive offloads in use, as feature bits
 * @filter:	Owner's
 * @bounce:	Takes what of a frame doesn't fit the first chain; owner
 * @attached:	The back end is ours
 * @announce:	The guest came from elsewhere: have it announce itself when it runs
 * @vhost:	See net_vhost.c; NULL: the VMM moves all frames
 * @dropped:	Received frames without room, counted
 * @news:	Of the filter, for who watches it; atomic
 * @changed, @changed_opaque: Called when @news become NET_NEWS_CHANGED
 */
struct virtio_net {
	struct virtio v;
	struct net_backend *netdev;
	uint8_t config_mac[6];
	uint16_t rx_queue_size, tx_queue_size, host_mtu;
	int32_t speed;
	char *duplex;
	int32_t bootindex;
	char *tx;
	uint32_t tx_timer;
	int32_t tx_burst;
	pthread_mutex_t lock;
	uint8_t mac[6];
	uint16_t status;
	struct net_pair *pairs;
	unsigned int max_pairs, curr_pairs;
	bool multiqueue, host_header;
	unsigned int header_len;
	uint64_t offloads;
	struct net_filter filter;
	uint8_t *bounce;
	bool attached, announce, can_ufo;
	struct net_vhost *vhost;
	uint64_t dropped;
	enum net_news news;
	void (*changed)(void *opaque);
	void *changed_opaque;
};

static inline struct virtio_net *net_of(struct virtio *v)
{
	return CONTAINER_OF(v, struct virtio_net, v);
}

static inline struct virtqueue *net_rx(const struct net_pair *p)
{
	return &p->n->v.queues[2 * p->index].vq;
}

static inline struct virtqueue *net_tx(const struct net_pair *p)
{
	return &p->n->v.queues[2 * p->index + 1].vq;
}

static inline unsigned int net_ctrl_index(const struct virtio_net *n)
{
	return n->multiqueue ? 2 * n->max_pairs : 2;
}

/* net_data.c: owner */
void net_readable(void *opaque);
void net_writable(void *opaque);
void net_rx_kick(struct net_pair *p);
void net_tx_kick(struct net_pair *p);

/* Who watches the filter: @fn is called by the owner when it changes, once until it is seen. */
void net_on_filter_change(struct virtio_net *n, void (*fn)(void *opaque), void *opaque);
void net_filter_seen(struct virtio_net *n);
bool net_filter_news(struct virtio_net *n); /* true once for each change */

/* net_ctrl.c: owner */
enum virtio_served net_ctrl_one(struct virtio *v, struct virtqueue *q);
void net_offloads_apply(struct virtio_net *n, uint64_t bits);
uint64_t net_offloads_allowed(const struct virtio_net *n);

/* net_vhost.c */
void net_vhost_offer(struct virtio_net *n);
MUST_CHECK int net_vhost_open(struct virtio_net *n, struct err *e);
void net_vhost_listen(struct virtio_net *n);
void net_vhost_unwatch(struct virtio_net *n);
void net_vhost_close(struct virtio_net *n);
void net_vhost_update(struct virtio_net *n);
void net_vhost_stop(struct virtio_net *n);
void net_vhost_vector(struct virtio_net *n, unsigned int index);

/* net_filter.c */
void net_filter_reset(struct net_filter *f);
bool net_filter_pass(const struct virtio_net *n, const uint8_t *frame, size_t len);

/* net.c */
void net_pairs_use(struct virtio_net *n, unsigned int pairs);
void net_announce(struct virtio_net *n);

/* net_rarp.c */
void net_rarp(struct virtio_net *n);

extern const struct device_class virtio_net_class, virtio_net_transitional_class,
	virtio_net_non_transitional_class;

#endif
