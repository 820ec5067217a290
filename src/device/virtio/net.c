/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtio-net (VIRTIO 1.2, 5.1). Queues 0, 1, 2, 3... are receive and transmit
 * of pair 0, 1...; the control queue is behind the last pair if several queues were negotiated,
 * else it is queue 2, and the other pairs don't exist. Frames are in net_data.c, the control queue
 * in net_ctrl.c, the state in net_state.c.
 */
#include "device/virtio/net.h"

#include "base/owned.h"
#include "device/virtio/net_state.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/virtio_net.h>
#include <string.h>

#define PCI_CLASS 0x020000
#define CTRL_SIZE 64

static void net_config_read(struct virtio *v, uint8_t *config)
{
	struct virtio_net *n = net_of(v);
	struct virtio_net_config c = {
		.status = htole16(__atomic_load_n(&n->status, __ATOMIC_RELAXED)),
		.max_virtqueue_pairs = htole16((uint16_t)n->max_pairs),
		.mtu = htole16(n->host_mtu),
		.speed = htole32((uint32_t)n->speed),
		.duplex = n->duplex ? !strcmp(n->duplex, "full") : DUPLEX_UNKNOWN,
	};

	pthread_mutex_lock(&n->lock);
	memcpy(c.mac, n->mac, 6);
	pthread_mutex_unlock(&n->lock);
	memcpy(config, &c, v->config_len);
}

/* Legacy drivers without the control queue's command write the address here. */
static void net_config_write(struct virtio *v, const uint8_t *config)
{
	struct virtio_net *n = net_of(v);

	if (virtio_has(v, VIRTIO_NET_F_CTRL_MAC_ADDR) || virtio_has(v, VIRTIO_F_V1))
		return;
	pthread_mutex_lock(&n->lock);
	memcpy(n->mac, config, 6);
	pthread_mutex_unlock(&n->lock);
}

/* True: the kernel has begun to serve the pair, and knows of the kick. */
static bool kernel_serves(struct virtio_net *n, unsigned int pair)
{
	net_vhost_update(n);
	return n->pairs[pair].in_kernel;
}

static void net_quiesce(struct virtio *v)
{
	net_vhost_stop(net_of(v));
}

static void net_vector(struct virtio *v, unsigned int queue)
{
	net_vhost_vector(net_of(v), queue);
}

static void net_kick(struct virtio *v, struct virtqueue *q)
{
	struct virtio_net *n = net_of(v);

	if (q->index == net_ctrl_index(n))
		virtio_serve(v, q, net_ctrl_one);
	else if (q->index / 2 >= n->max_pairs)
		return;
	else if (n->vhost && kernel_serves(n, q->index / 2))
		return;
	else if (q->index & 1)
		net_tx_kick(&n->pairs[q->index / 2]);
	else
		net_rx_kick(&n->pairs[q->index / 2]);
}

/**
 * net_pairs_use() - Use so many queue pairs
 * @n:		The interface; owner
 * @pairs:	1 to max_pairs
 */
void net_pairs_use(struct virtio_net *n, unsigned int pairs)
{
	n->curr_pairs = pairs;
	if (n->netdev)
		net_set_queues(n->netdev, pairs);
	net_vhost_update(n);
	for (unsigned int i = 0; i < pairs; i++)
		if (!n->pairs[i].in_kernel)
			net_rx_kick(&n->pairs[i]);
}

static uint16_t queue_size(const struct virtio_net *n, unsigned int i)
{
	if (i == net_ctrl_index(n))
		return CTRL_SIZE;
	if (i > net_ctrl_index(n))
		return 0;
	return i & 1 ? n->tx_queue_size : n->rx_queue_size;
}

/* Which queues exist follows from the negotiation. */
static void queues_shape(struct virtio_net *n)
{
	for (unsigned int i = 0; i < n->v.queues_len; i++) {
		struct virtio_queue *q = &n->v.queues[i];

		if (q->vq.active || q->loaded)
			continue;
		q->vq.s.num_max = queue_size(n, i);
		q->vq.s.num = q->vq.s.num_max;
	}
}

static void owner_negotiated(void *opaque)
{
	struct virtio_net *n = opaque;

	n->multiqueue = virtio_has(&n->v, VIRTIO_NET_F_MQ);
	n->header_len = virtio_has(&n->v, VIRTIO_NET_F_MRG_RXBUF) || virtio_has(&n->v, VIRTIO_F_V1)
				? 12
				: 10;
	n->host_header = n->netdev && net_has_vnet_header(n->netdev) &&
			 net_set_vnet_header(n->netdev, n->header_len);
	queues_shape(n);
	memset(n->filter.vlans, virtio_has(&n->v, VIRTIO_NET_F_CTRL_VLAN) ? 0 : 0xff,
	       sizeof(n->filter.vlans));
	net_offloads_apply(n, net_offloads_allowed(n));
}

static void net_negotiated(struct virtio *v)
{
	virtio_call(v, owner_negotiated, net_of(v));
}

static void net_reset(struct virtio *v)
{
	struct virtio_net *n = net_of(v);

	net_filter_reset(&n->filter);
	n->curr_pairs = 1;
	n->announce = false;
	__atomic_and_fetch(&n->status, (uint16_t)~NET_S_ANNOUNCE, __ATOMIC_RELAXED);
	pthread_mutex_lock(&n->lock);
	memcpy(n->mac, n->config_mac, 6);
	pthread_mutex_unlock(&n->lock);
}

/**
 * net_announce() - Have the guest tell its network where it is now
 * @n:		The interface; nothing happens if the driver can't
 */
void net_announce(struct virtio_net *n)
{
	if (!virtio_has(&n->v, VIRTIO_NET_F_GUEST_ANNOUNCE) ||
	    !virtio_has(&n->v, VIRTIO_NET_F_CTRL_VQ))
		return;
	__atomic_or_fetch(&n->status, NET_S_ANNOUNCE, __ATOMIC_RELAXED);
	virtio_config_changed(&n->v);
}

static void net_resume(struct virtio *v)
{
	struct virtio_net *n = net_of(v);

	virtio_rewind_loaded(v);
	if (n->announce)
		net_announce(n);
	n->announce = false;
}

static const char *const feature_names[64] = {
	"CSUM",
	"GUEST_CSUM",
	"CTRL_GUEST_OFFLOADS",
	"MTU",
	NULL,
	"MAC",
	"GSO",
	"GUEST_TSO4",
	"GUEST_TSO6",
	"GUEST_ECN",
	"GUEST_UFO",
	"HOST_TSO4",
	"HOST_TSO6",
	"HOST_ECN",
	"HOST_UFO",
	"MRG_RXBUF",
	"STATUS",
	"CTRL_VQ",
	"CTRL_RX",
	"CTRL_VLAN",
	"CTRL_RX_EXTRA",
	"GUEST_ANNOUNCE",
	"MQ",
	"CTRL_MAC_ADDR",
	[56] = "HOST_USO",
	[57] = "HASH_REPORT",
	[59] = "GUEST_HDRLEN",
	[60] = "RSS",
	[61] = "RSC_EXT",
	[62] = "STANDBY",
	[63] = "SPEED_DUPLEX",
};

static const struct virtio_ops net_ops = {
	.id = 1,
	.pci_id = 0x1000,
	.pci_class = PCI_CLASS,
	.name = "virtio-net",
	.feature_names = feature_names,
	.legacy_only = VIRTIO_BIT(VIRTIO_NET_F_GSO),
	.config_read = net_config_read,
	.config_write = net_config_write,
	.kick = net_kick,
	.negotiated = net_negotiated,
	.reset = net_reset,
	.quiesce = net_quiesce,
	.vector = net_vector,
	.resume = net_resume,
};

static void owner_link(void *opaque)
{
	net_vhost_update(opaque);
}

/* The guest's link follows the back end's. Main thread. */
static void on_link(void *opaque, bool up)
{
	struct virtio_net *n = opaque;

	if (up)
		__atomic_or_fetch(&n->status, NET_S_LINK_UP, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(&n->status, (uint16_t)~NET_S_LINK_UP, __ATOMIC_RELAXED);
	virtio_config_changed(&n->v);
	if (n->vhost)
		virtio_call(&n->v, owner_link, n);
	if (up)
		virtio_kick_all(&n->v);
}

static void features_offer(struct virtio_net *n)
{
	static const uint8_t need_header[] = {VIRTIO_NET_F_CSUM,       VIRTIO_NET_F_GUEST_CSUM,
					      VIRTIO_NET_F_HOST_TSO4,  VIRTIO_NET_F_HOST_TSO6,
					      VIRTIO_NET_F_HOST_ECN,   VIRTIO_NET_F_GUEST_TSO4,
					      VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN};
	static const struct net_offloads ufo = {.csum = true, .ufo = true};
	bool header = n->netdev && net_has_vnet_header(n->netdev);
	uint64_t *f = &n->v.host_features;

	*f |= VIRTIO_BIT(VIRTIO_NET_F_MAC);
	if (n->host_mtu)
		*f |= VIRTIO_BIT(VIRTIO_NET_F_MTU);
	if (n->speed >= 0)
		*f |= VIRTIO_BIT(VIRTIO_NET_F_SPEED_DUPLEX);
	for (size_t i = 0; !header && i < ARRAY_SIZE(need_header); i++)
		*f &= ~VIRTIO_BIT(need_header[i]);
	n->can_ufo = header && net_can_offload(n->netdev, &ufo);
	if (!n->can_ufo)
		*f &= ~(VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO));
}

static uint16_t config_length(const struct virtio_net *n)
{
	if (virtio_offers(&n->v, VIRTIO_NET_F_SPEED_DUPLEX))
		return offsetof(struct virtio_net_config, duplex) + 1;
	if (virtio_offers(&n->v, VIRTIO_NET_F_MTU))
		return offsetof(struct virtio_net_config, mtu) + 2;
	if (virtio_offers(&n->v, VIRTIO_NET_F_MQ))
		return offsetof(struct virtio_net_config, max_virtqueue_pairs) + 2;
	return virtio_offers(&n->v, VIRTIO_NET_F_STATUS)
		       ? offsetof(struct virtio_net_config, status) + 2
		       : 6;
}

/* Addresses of interfaces that are given none, as QEMU counts them up. */
static void mac_default(uint8_t mac[6])
{
	static const uint8_t none[6], base[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
	static unsigned int given;

	if (memcmp(mac, none, 6))
		return;
	memcpy(mac, base, 6);
	mac[5] = (uint8_t)(mac[5] + given++);
}

static int props_check(struct virtio_net *n, struct err *e)
{
	unsigned int queues = n->netdev ? net_queues(n->netdev) : 1;

	if (n->rx_queue_size < 64 || n->rx_queue_size > 1024 || !IS_POWER_OF_2(n->rx_queue_size) ||
	    n->tx_queue_size < 64 || n->tx_queue_size > 1024 || !IS_POWER_OF_2(n->tx_queue_size))
		return err_set(e, EINVAL,
			       "rx_queue_size, tx_queue_size: powers of two from 64 to 1024");
	if (n->speed < -1)
		return err_set(e, EINVAL, "speed: Mbit/s, or -1 for unknown");
	if (n->duplex && strcmp(n->duplex, "half") != 0 && strcmp(n->duplex, "full") != 0)
		return err_set(e, EINVAL, "duplex: half or full");
	if (queues > NET_PAIRS_MAX)
		return err_set(e, EINVAL, "netdev: %u queues, at most %u are possible", queues,
			       NET_PAIRS_MAX);
	if (n->config_mac[0] & 1)
		return err_set(e, EINVAL, "mac: is a multicast address");
	n->max_pairs = MAX(queues, 1u);
	return 0;
}

/**
 * struct watch - Request to the owner to watch the back end
 * @n:		The interface
 * @r, @e:	Result
 */
struct watch {
	struct virtio_net *n;
	int r;
	struct err *e;
};

static void owner_watch(void *opaque)
{
	struct watch *w = opaque;

	for (unsigned int i = 0; i < w->n->max_pairs && !w->r; i++) {
		struct net_pair *p = &w->n->pairs[i];
		struct net_watcher watcher = {net_readable, net_writable, p};

		p->nq = net_queue(w->n->netdev, i);
		w->r = net_watch(p->nq, virtio_loop(&w->n->v), &watcher, w->e);
		p->watched = !w->r;
		if (p->watched)
			net_want_read(p->nq, false);
	}
	if (!w->r)
		w->r = net_vhost_open(w->n, w->e);
}

static void owner_unwatch(void *opaque)
{
	struct virtio_net *n = opaque;

	net_vhost_unwatch(n);
	for (unsigned int i = 0; i < n->max_pairs; i++) {
		if (n->pairs[i].watched)
			net_unwatch(n->pairs[i].nq);
		n->pairs[i].watched = false;
	}
}

static void net_unrealize(struct device *dev)
{
	struct virtio_net *n = net_of(virtio_of(dev));

	virtio_detach(&n->v);
	pci_rom_remove(&n->v.pci);
	if (n->attached)
		net_on_link(n->netdev, NULL, NULL);
	if (n->pairs && n->v.queues)
		virtio_call(&n->v, owner_unwatch, n);
	net_vhost_close(n);
	virtio_release(&n->v);
	if (n->attached)
		net_detach(n->netdev);
	n->attached = false;
	mem_free(&n->pairs);
	mem_free(&n->bounce);
	pthread_mutex_destroy(&n->lock);
}

static int backend_take(struct virtio_net *n, struct err *e)
{
	struct watch w = {.n = n, .e = e};

	virtio_call(&n->v, owner_watch, &w);
	if (w.r)
		return w.r;
	net_vhost_listen(n);
	net_on_link(n->netdev, on_link, n);
	if (!net_link_up(n->netdev))
		n->status = 0;
	return 0;
}

static int net_setup(struct virtio_net *n, struct err *e)
{
	uint16_t sizes[VIRTIO_QUEUES_MAX];
	unsigned int queues;
	int r = props_check(n, e);

	if (!r && n->netdev) {
		r = net_attach(n->netdev,
			       n->v.pci.dev.id ? n->v.pci.dev.id : n->v.pci.dev.class->name, e);
		n->attached = !r;
	}
	if (r)
		return r;
	mac_default(n->config_mac);
	memcpy(n->mac, n->config_mac, 6);
	n->status = NET_S_LINK_UP;
	n->pairs = mem_calloc(n->max_pairs, sizeof(*n->pairs));
	for (unsigned int i = 0; i < n->max_pairs; i++)
		n->pairs[i] = (struct net_pair){.n = n, .index = i};
	n->bounce = mem_zalloc(NET_FRAME_MAX);
	net_filter_reset(&n->filter);
	n->curr_pairs = 1;
	n->multiqueue = true; /* to see the size of every queue that may come into being */
	queues = 2 * n->max_pairs + 1;
	for (unsigned int i = 0; i < queues; i++)
		sizes[i] = queue_size(n, i);
	features_offer(n);
	net_vhost_offer(n);
	r = virtio_init(&n->v, queues, sizes, config_length(n), e);
	if (!r && n->netdev)
		r = backend_take(n, e);
	if (!r)
		net_negotiated(&n->v);
	if (!r)
		r = virtio_attach(&n->v, e);
	return r ? r : pci_rom_add(&n->v.pci, "efi-virtio.rom", e);
}

static int net_realize(struct device *dev, struct err *e)
{
	struct virtio_net *n = net_of(virtio_of(dev));
	int r;

	n->v.ops = &net_ops;
	n->v.own_io = true;
	pthread_mutex_init(&n->lock, NULL);
	r = net_setup(n, e);
	if (r)
		net_unrealize(dev);
	return r;
}

#define NET_FIELD(m)                    offsetof(struct virtio_net, m)
#define NET_SWITCH(wire, bit, on, text) VIRTIO_SWITCH(struct virtio_net, wire, bit, on, text)

static const struct prop net_props[] = {
	VIRTIO_PROPS(struct virtio_net, "4294967295"),
	{"netdev", PROP_NETDEV, NET_FIELD(netdev), NULL, "Network back end"},
	{"mac", PROP_MAC, NET_FIELD(config_mac), NULL, "Hardware address"},
	{"iothread", PROP_LINK, NET_FIELD(v.iothread), NULL, "Thread that serves it"},
	{"bootindex", PROP_I32, NET_FIELD(bootindex), "-1", "Place in the boot order"},
	{"rx_queue_size", PROP_U16, NET_FIELD(rx_queue_size), "256", "Entries of receive queues"},
	{"tx_queue_size", PROP_U16, NET_FIELD(tx_queue_size), "256", "Entries of transmit queues"},
	{"host_mtu", PROP_U16, NET_FIELD(host_mtu), "0", "MTU the guest shall use, 0: its own"},
	{"speed", PROP_I32, NET_FIELD(speed), "-1", "Mbit/s that the guest is told, -1: nothing"},
	{"duplex", PROP_STRING, NET_FIELD(duplex), NULL, "half or full, told with speed="},
	{"tx", PROP_STRING, NET_FIELD(tx), NULL, "Accepted, has no effect"},
	{"x-txtimer", PROP_U32, NET_FIELD(tx_timer), "150000", "Accepted, has no effect"},
	{"x-txburst", PROP_I32, NET_FIELD(tx_burst), "256", "Accepted, has no effect"},
	NET_SWITCH("csum", VIRTIO_NET_F_CSUM, "on", "Guest may send partial checksums"),
	NET_SWITCH("guest_csum", VIRTIO_NET_F_GUEST_CSUM, "on", "Guest gets partial checksums"),
	NET_SWITCH("gso", VIRTIO_NET_F_GSO, "on", "Guest may send large frames (legacy)"),
	NET_SWITCH("guest_tso4", VIRTIO_NET_F_GUEST_TSO4, "on", "Guest gets large IPv4 TCP"),
	NET_SWITCH("guest_tso6", VIRTIO_NET_F_GUEST_TSO6, "on", "Guest gets large IPv6 TCP"),
	NET_SWITCH("guest_ecn", VIRTIO_NET_F_GUEST_ECN, "on", "Guest gets large TCP with ECN"),
	NET_SWITCH("guest_ufo", VIRTIO_NET_F_GUEST_UFO, "on", "Guest gets large UDP"),
	NET_SWITCH("guest_announce", VIRTIO_NET_F_GUEST_ANNOUNCE, "on", "Guest announces itself"),
	NET_SWITCH("host_tso4", VIRTIO_NET_F_HOST_TSO4, "on", "Guest may send large IPv4 TCP"),
	NET_SWITCH("host_tso6", VIRTIO_NET_F_HOST_TSO6, "on", "Guest may send large IPv6 TCP"),
	NET_SWITCH("host_ecn", VIRTIO_NET_F_HOST_ECN, "on", "Guest may send large TCP with ECN"),
	NET_SWITCH("host_ufo", VIRTIO_NET_F_HOST_UFO, "on", "Guest may send large UDP"),
	NET_SWITCH("mrg_rxbuf", VIRTIO_NET_F_MRG_RXBUF, "on", "Frames may span buffers"),
	NET_SWITCH("status", VIRTIO_NET_F_STATUS, "on", "Link status"),
	NET_SWITCH("ctrl_vq", VIRTIO_NET_F_CTRL_VQ, "on", "Control queue"),
	NET_SWITCH("ctrl_rx", VIRTIO_NET_F_CTRL_RX, "on", "Receive filter switches"),
	NET_SWITCH("ctrl_vlan", VIRTIO_NET_F_CTRL_VLAN, "on", "VLAN filter"),
	NET_SWITCH("ctrl_rx_extra", VIRTIO_NET_F_CTRL_RX_EXTRA, "on", "More filter switches"),
	NET_SWITCH("ctrl_mac_addr", VIRTIO_NET_F_CTRL_MAC_ADDR, "on", "Address by control queue"),
	NET_SWITCH("ctrl_guest_offloads", VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, "on",
		   "Receive offloads by control queue"),
	NET_SWITCH("mq", VIRTIO_NET_F_MQ, "off", "Several queue pairs"),
	PROPS_END,
};

#define NET_CLASS(var, wire)                       \
	const struct device_class var = {          \
		.name = (wire),                    \
		.help = "Network interface",       \
		.bus = "PCI",                      \
		.size = sizeof(struct virtio_net), \
		.user = true,                      \
		.hotplug = true,                   \
		.own_lock = true,                  \
		.continuity = CONTINUITY_STATE,    \
		.state = &virtio_net_state_table,  \
		.section = "virtio-net",           \
		.props = net_props,                \
		.realize = net_realize,            \
		.unrealize = net_unrealize,        \
		.reset = virtio_device_reset,      \
		.capture = net_capture,            \
		.validate = net_validate,          \
		.apply = net_apply,                \
		.stop = virtio_stop,               \
		.run = virtio_run,                 \
	}

NET_CLASS(virtio_net_class, "virtio-net-pci");
NET_CLASS(virtio_net_transitional_class, "virtio-net-pci-transitional");
NET_CLASS(virtio_net_non_transitional_class, "virtio-net-pci-non-transitional");
