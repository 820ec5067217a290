/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: switches learn where an address is from frames that come from it. A guest
 * that has moved may have nothing to say for a while, so the VMM sends a frame in its name: a
 * reverse ARP request, which nobody answers and any switch learns from.
 */
#include "base/bytes.h"
#include "device/virtio/net.h"

#include <net/ethernet.h>
#include <net/if_arp.h>
#include <string.h>

enum { FRAME_BYTES = 60 }; /* the shortest on an Ethernet */

static void frame_fill(struct virtio_net *n, uint8_t *frame)
{
	uint8_t mac[6];

	pthread_mutex_lock(&n->lock);
	memcpy(mac, n->mac, 6);
	pthread_mutex_unlock(&n->lock);
	memset(frame, 0, FRAME_BYTES);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	store_be16(frame + 12, ETHERTYPE_REVARP);
	store_be16(frame + 14, ARPHRD_ETHER);
	store_be16(frame + 16, ETHERTYPE_IP);
	frame[18] = 6; /* bytes of a hardware address */
	frame[19] = 4; /* and of a protocol's */
	store_be16(frame + 20, ARPOP_RREQUEST);
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 32, mac, 6);
}

static void send_frame(void *opaque)
{
	struct virtio_net *n = opaque;
	uint8_t header[12] = {0}, frame[FRAME_BYTES];
	struct iovec iov[2] = {{header, n->header_len}, {frame, sizeof(frame)}};
	int first = n->host_header ? 0 : 1;

	frame_fill(n, frame);
	if (n->netdev && net_send(net_queue(n->netdev, 0), iov + first, 2 - first) < 0)
		return; /* the next round comes soon */
}

/**
 * net_rarp() - Tell the network where the guest's interface is, in its name
 * @n:		The interface; main thread
 */
void net_rarp(struct virtio_net *n)
{
	pthread_mutex_lock(n->v.pci.dev.lock);
	virtio_call(&n->v, send_frame, n);
	pthread_mutex_unlock(n->v.pci.dev.lock);
}
