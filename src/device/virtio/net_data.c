/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: frames between rings and the back end, on the owner's thread.
 *
 * Receiving: the first free chain is offered to the back end with a bounce buffer behind it. A
 * frame that fits the chain is there without a copy; what doesn't goes on from the bounce buffer
 * into further chains, if the driver merges buffers. Without free chains the back end isn't read
 * until the driver gives some, so the queue that overflows is the host's. Only then is the driver
 * asked to kick: while frames find chains, it needn't say that it gave more.
 *
 * Sending: a chain is one frame. When the back end is full the chain is put back, and taken again
 * when there is room: nothing is ever held, so stopping needs no waiting.
 *
 * Each frame has a header of header_len bytes in the guest's buffers. A back end without headers
 * gets frames without.
 */
#include "device/virtio/net.h"

#include "base/bytes.h"

#include <errno.h>
#include <linux/virtio_net.h>

#define ROUND      256 /* frames received before other event sources get a turn */
#define CHAINS_MAX 128 /* that one frame can take */
#define PEEK       18  /* bytes of a frame that the filter wants */

static bool pair_live(const struct net_pair *p, const struct virtqueue *q)
{
	return p->index < p->n->curr_pairs && virtio_servable(&p->n->v, q) &&
	       __atomic_load_n(&p->n->status, __ATOMIC_RELAXED) & NET_S_LINK_UP;
}

/**
 * struct rx - A frame being received
 * @iov, @iov_len: First chain without what the back end doesn't write, then the bounce buffer
 * @skip:	Bytes of header that the back end doesn't write
 * @chains, @chains_len: Taken
 * @len:	Header and frame, bytes
 */
struct rx {
	struct iovec iov[VIRTQUEUE_SIZE_MAX + 1];
	int iov_len;
	size_t skip;
	struct virtq_chain *chains[CHAINS_MAX];
	unsigned int chains_len;
	size_t len;
};

static void rx_prepare(struct rx *x, struct virtio_net *n)
{
	struct virtq_chain *c = x->chains[0];
	size_t skip = x->skip;

	x->iov_len = 0;
	for (unsigned int i = c->out_len; i < (unsigned int)c->out_len + c->in_len; i++) {
		size_t cut = MIN(skip, c->iov[i].iov_len);

		skip -= cut;
		if (cut < c->iov[i].iov_len)
			x->iov[x->iov_len++] = (struct iovec){(char *)c->iov[i].iov_base + cut,
							      c->iov[i].iov_len - cut};
	}
	if (virtio_has(&n->v, VIRTIO_NET_F_MRG_RXBUF))
		x->iov[x->iov_len++] = (struct iovec){n->bounce, NET_FRAME_MAX};
}

static size_t peek(const struct rx *x, size_t offset, uint8_t *buf, size_t len)
{
	size_t done = 0;

	for (int i = 0; i < x->iov_len && done < len; i++) {
		size_t have = x->iov[i].iov_len, n;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		n = MIN(have - offset, len - done);
		memcpy(buf + done, (char *)x->iov[i].iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

static bool rx_wanted(const struct rx *x, const struct virtio_net *n, size_t received)
{
	size_t header = n->header_len - x->skip;
	uint8_t start[PEEK];
	size_t len;

	if (n->filter.promisc)
		return true;
	if (received < header)
		return false;
	len = peek(x, header, start, MIN(received - header, sizeof(start)));
	return net_filter_pass(n, start, len);
}

/* Puts what is in the bounce buffer into further chains; false: there aren't enough. */
static bool rx_spill(struct rx *x, struct virtio_net *n, struct virtqueue *q)
{
	size_t at = 0, left = x->len - x->chains[0]->in_bytes;

	while (left) {
		struct virtq_chain *c;
		size_t done;

		if (x->chains_len == CHAINS_MAX || !(c = virtqueue_pop(q, sizeof(*c))))
			return false;
		x->chains[x->chains_len++] = c;
		done = virtq_write(c, 0, n->bounce + at, left);
		at += done;
		left -= done;
	}
	return true;
}

static void rx_give_up(struct rx *x, struct virtqueue *q)
{
	while (x->chains_len)
		virtqueue_unpop(q, x->chains[--x->chains_len]);
}

static void rx_deliver(struct rx *x, struct virtio_net *n, struct virtqueue *q)
{
	uint8_t header[12] = {0};
	size_t left = x->len;

	store_le16(header + 10, (uint16_t)x->chains_len);
	if (x->skip)
		virtq_write(x->chains[0], 0, header, n->header_len);
	else if (n->header_len > 10)
		virtq_write(x->chains[0], 10, header + 10, 2);
	for (unsigned int i = 0; i < x->chains_len; i++) {
		size_t here = MIN(left, (size_t)x->chains[i]->in_bytes);

		left -= here;
		virtqueue_push(q, x->chains[i], (uint32_t)here);
	}
	x->chains_len = 0;
}

static bool rx_take_chain(struct rx *x, struct net_pair *p, struct virtqueue *q)
{
	struct virtq_chain *c = virtqueue_pop_or_ask(q, sizeof(*c));

	if (!c)
		return false;
	x->chains[x->chains_len++] = c;
	if (c->in_bytes > p->n->header_len && c->in_len < VIRTQUEUE_SIZE_MAX)
		return true;
	rx_give_up(x, q);
	virtqueue_break(q, "receive buffer without room for a header");
	return false;
}

/* One frame; false: nothing more to do now. */
static bool rx_one(struct net_pair *p, struct rx *x)
{
	struct virtqueue *q = net_rx(p);
	struct virtio_net *n = p->n;
	ssize_t got;

	x->chains_len = 0;
	x->skip = n->host_header ? 0 : n->header_len;
	if (!rx_take_chain(x, p, q)) {
		net_want_read(p->nq, false);
		return false;
	}
	rx_prepare(x, n);
	got = net_receive(p->nq, x->iov, x->iov_len);
	x->len = x->skip + (size_t)MAX(got, (ssize_t)0);
	if (got <= 0 || !rx_wanted(x, n, (size_t)got)) {
		rx_give_up(x, q);
		return got > 0 || got == -EMSGSIZE;
	}
	if (x->len > x->chains[0]->in_bytes && !rx_spill(x, n, q)) {
		rx_give_up(x, q);
		n->dropped++;
		return true;
	}
	rx_deliver(x, n, q);
	return true;
}

/**
 * net_readable() - The back end has frames
 * @opaque:	The pair
 */
void net_readable(void *opaque)
{
	struct net_pair *p = opaque;
	struct virtqueue *q = net_rx(p);
	struct rx x;

	if (!pair_live(p, q)) {
		net_want_read(p->nq, false);
		return;
	}
	for (unsigned int i = 0; i < ROUND && rx_one(p, &x); i++)
		;
	virtio_notify(&p->n->v, q);
}

/**
 * net_rx_kick() - The driver gave receive buffers, or the guest runs
 * @p:		The pair
 */
void net_rx_kick(struct net_pair *p)
{
	if (!p->watched || !pair_live(p, net_rx(p)))
		return;
	virtqueue_want_kicks(net_rx(p), false);
	net_want_read(p->nq, true);
}

/* Cuts the guest's header off for a back end that has none. */
static int tx_iov(const struct virtio_net *n, struct virtq_chain *c)
{
	size_t skip = n->host_header ? 0 : n->header_len;
	int first = 0;

	while (skip) {
		size_t cut = MIN(skip, c->iov[first].iov_len);

		c->iov[first].iov_base = (char *)c->iov[first].iov_base + cut;
		c->iov[first].iov_len -= cut;
		skip -= cut;
		first += !c->iov[first].iov_len;
	}
	return first;
}

static enum virtio_served tx_one(struct virtio *v, struct virtqueue *q)
{
	struct net_pair *p = &net_of(v)->pairs[q->index / 2];
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));
	int first;

	if (!c)
		return VIRTIO_EMPTY;
	if (c->out_bytes <= p->n->header_len) {
		virtqueue_unpop(q, c);
		virtqueue_break(q, "frame without room for a header");
		return VIRTIO_EMPTY;
	}
	first = tx_iov(p->n, c);
	if (pair_live(p, q) && p->watched &&
	    net_send(p->nq, c->iov + first, c->out_len - first) == -EAGAIN) {
		virtqueue_unpop(q, c);
		return VIRTIO_STALLED;
	}
	virtqueue_push(q, c, 0);
	return VIRTIO_SERVED;
}

/**
 * net_tx_kick() - The driver has frames to send
 * @p:		The pair
 */
void net_tx_kick(struct net_pair *p)
{
	if (virtio_servable(&p->n->v, net_tx(p)))
		virtio_serve(&p->n->v, net_tx(p), tx_one);
}

/**
 * net_writable() - The back end has room again
 * @opaque:	The pair
 */
void net_writable(void *opaque)
{
	net_tx_kick(opaque);
}
