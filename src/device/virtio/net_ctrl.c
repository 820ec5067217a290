/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the control queue (VIRTIO 1.2, 5.1.6.5): class, command, data; one byte of
 * answer. Runs on the owner. What the driver asks for in a wrong way is answered with an error and
 * changes nothing.
 */
#include "base/bytes.h"
#include "device/virtio/net.h"

#include <linux/virtio_net.h>

#define OFFLOAD_BITS                                                                 \
	(VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN) |  \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO))

/**
 * net_offloads_allowed() - Receive offloads that were negotiated
 * @n:		The interface
 *
 * Return: feature bits
 */
uint64_t net_offloads_allowed(const struct virtio_net *n)
{
	return n->v.features & OFFLOAD_BITS;
}

/**
 * net_offloads_apply() - Tell the back end what received frames may be
 * @n:		The interface; owner
 * @bits:	Feature bits
 */
void net_offloads_apply(struct virtio_net *n, uint64_t bits)
{
	struct net_offloads o = {
		.csum = bits >> VIRTIO_NET_F_GUEST_CSUM & 1,
		.tso4 = bits >> VIRTIO_NET_F_GUEST_TSO4 & 1,
		.tso6 = bits >> VIRTIO_NET_F_GUEST_TSO6 & 1,
		.ecn = bits >> VIRTIO_NET_F_GUEST_ECN & 1,
		.ufo = bits >> VIRTIO_NET_F_GUEST_UFO & 1,
	};

	n->offloads = bits;
	if (n->netdev && n->host_header)
		net_set_offloads(n->netdev, &o);
}

static bool rx_mode(struct virtio_net *n, uint8_t cmd, const struct virtq_chain *c)
{
	uint8_t *const modes[] = {&n->filter.promisc, &n->filter.allmulti, &n->filter.alluni,
				  &n->filter.nomulti, &n->filter.nouni,    &n->filter.nobcast};
	uint8_t on;

	if (cmd >= ARRAY_SIZE(modes) || virtq_read(c, 2, &on, 1) < 1)
		return false;
	*modes[cmd] = on;
	return true;
}

static bool mac_set(struct virtio_net *n, const struct virtq_chain *c)
{
	uint8_t mac[6];

	if (c->out_bytes != 8 || virtq_read(c, 2, mac, 6) < 6)
		return false;
	pthread_mutex_lock(&n->lock);
	memcpy(n->mac, mac, 6);
	pthread_mutex_unlock(&n->lock);
	return true;
}

/* A list of addresses at *@at, behind its length; too many for the table set *@overflow. */
static bool macs_read(struct net_filter *f, const struct virtq_chain *c, uint64_t *at,
		      uint8_t *overflow)
{
	uint8_t count[4];
	uint64_t n;

	if (virtq_read(c, *at, count, 4) < 4)
		return false;
	*at += 4;
	n = load_le32(count);
	if (n * 6 > c->out_bytes - *at)
		return false;
	if (f->in_use + n <= NET_MACS_MAX) {
		virtq_read(c, *at, f->macs[f->in_use], n * 6);
		f->in_use += (uint32_t)n;
	} else {
		*overflow = 1;
	}
	*at += n * 6;
	return true;
}

static bool table_set(struct virtio_net *n, const struct virtq_chain *c)
{
	struct net_filter f = n->filter;
	uint64_t at = 2;

	f.in_use = 0;
	f.uni_overflow = f.multi_overflow = 0;
	memset(f.macs, 0, sizeof(f.macs));
	if (!macs_read(&f, c, &at, &f.uni_overflow))
		return false;
	f.first_multi = f.in_use;
	if (!macs_read(&f, c, &at, &f.multi_overflow) || at != c->out_bytes)
		return false;
	n->filter = f;
	return true;
}

static bool mac(struct virtio_net *n, uint8_t cmd, const struct virtq_chain *c)
{
	if (cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET)
		return mac_set(n, c);
	return cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET && table_set(n, c);
}

static bool vlan(struct virtio_net *n, uint8_t cmd, const struct virtq_chain *c)
{
	uint8_t raw[2], *word;
	uint32_t bits;
	uint16_t id;

	if (cmd > VIRTIO_NET_CTRL_VLAN_DEL || virtq_read(c, 2, raw, 2) < 2)
		return false;
	id = load_le16(raw);
	if (id >= 8 * NET_VLAN_BYTES)
		return false;
	word = n->filter.vlans + id / 32 * 4;
	bits = load_le32(word) & ~(1u << id % 32);
	store_le32(word, bits | (cmd == VIRTIO_NET_CTRL_VLAN_ADD ? 1u << id % 32 : 0));
	return true;
}

static bool announce(struct virtio_net *n, uint8_t cmd)
{
	if (cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK ||
	    !(__atomic_load_n(&n->status, __ATOMIC_RELAXED) & NET_S_ANNOUNCE))
		return false;
	__atomic_and_fetch(&n->status, (uint16_t)~NET_S_ANNOUNCE, __ATOMIC_RELAXED);
	return true;
}

static bool pairs(struct virtio_net *n, uint8_t cmd, const struct virtq_chain *c)
{
	uint8_t raw[2];
	uint16_t want;

	if (cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || virtq_read(c, 2, raw, 2) < 2)
		return false;
	want = load_le16(raw);
	if (!want || want > n->max_pairs || !n->multiqueue)
		return false;
	net_pairs_use(n, want);
	return true;
}

static bool offloads(struct virtio_net *n, uint8_t cmd, const struct virtq_chain *c)
{
	uint8_t raw[8];
	uint64_t want;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || virtq_read(c, 2, raw, 8) < 8 ||
	    !virtio_has(&n->v, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))
		return false;
	want = load_le64(raw);
	if (want & ~net_offloads_allowed(n))
		return false;
	net_offloads_apply(n, want);
	return true;
}

static bool changes_filter(uint8_t class)
{
	return class == VIRTIO_NET_CTRL_RX || class == VIRTIO_NET_CTRL_MAC ||
	       class == VIRTIO_NET_CTRL_VLAN;
}

static void filter_changed(struct virtio_net *n)
{
	enum net_news none = NET_NEWS_NONE;

	if (__atomic_compare_exchange_n(&n->news, &none, NET_NEWS_CHANGED, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED) &&
	    n->changed)
		n->changed(n->changed_opaque);
}

/**
 * net_on_filter_change() - Be told when the guest changes the receive filter
 * @n:		The interface, not yet used by the guest
 * @fn:		Called by the owner, once until net_filter_seen()
 * @opaque:	For @fn
 */
void net_on_filter_change(struct virtio_net *n, void (*fn)(void *opaque), void *opaque)
{
	n->changed_opaque = opaque;
	n->changed = fn;
}

/**
 * net_filter_news() - Has the filter changed since this was last asked?
 * @n:		The interface; any thread
 */
bool net_filter_news(struct virtio_net *n)
{
	enum net_news changed = NET_NEWS_CHANGED;

	return __atomic_compare_exchange_n(&n->news, &changed, NET_NEWS_TOLD, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/**
 * net_filter_seen() - Somebody has looked at the filter: the next change is news again
 * @n:		The interface; owner
 */
void net_filter_seen(struct virtio_net *n)
{
	__atomic_store_n(&n->news, NET_NEWS_NONE, __ATOMIC_RELEASE);
}

static bool command_of(struct virtio_net *n, const uint8_t head[2], const struct virtq_chain *c)
{
	switch (head[0]) {
	case VIRTIO_NET_CTRL_RX: return rx_mode(n, head[1], c);
	case VIRTIO_NET_CTRL_MAC: return mac(n, head[1], c);
	case VIRTIO_NET_CTRL_VLAN: return vlan(n, head[1], c);
	case VIRTIO_NET_CTRL_ANNOUNCE: return announce(n, head[1]);
	case VIRTIO_NET_CTRL_MQ: return pairs(n, head[1], c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS: return offloads(n, head[1], c);
	default: return false;
	}
}

static bool command(struct virtio_net *n, const struct virtq_chain *c)
{
	uint8_t head[2];

	if (virtq_read(c, 0, head, 2) < 2 || !command_of(n, head, c))
		return false;
	if (changes_filter(head[0]))
		filter_changed(n);
	return true;
}

/**
 * net_ctrl_one() - Take one command and answer it
 * @v:		The device; owner
 * @q:		The control queue
 *
 * Return: as virtio_serve() wants
 */
enum virtio_served net_ctrl_one(struct virtio *v, struct virtqueue *q)
{
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));
	uint8_t answer;

	if (!c)
		return VIRTIO_EMPTY;
	if (!c->in_bytes || c->out_bytes < 2) {
		virtqueue_unpop(q, c);
		virtqueue_break(q, "control command without room for its answer");
		return VIRTIO_EMPTY;
	}
	answer = command(net_of(v), c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	virtq_write(c, 0, &answer, 1);
	virtqueue_push(q, c, 1);
	return VIRTIO_SERVED;
}
