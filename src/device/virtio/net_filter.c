/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: which received frames the guest gets (VIRTIO 1.2, 5.1.6.5.1 to 5.1.6.5.3). A
 * driver that never speaks on the control queue gets everything: promiscuous is how a device
 * starts.
 */
#include "device/virtio/net.h"

#include "base/bytes.h"

#define VLAN_TYPE 0x8100

/**
 * net_filter_reset() - To power-on values
 * @f:		The filter
 */
void net_filter_reset(struct net_filter *f)
{
	*f = (struct net_filter){.promisc = 1};
}

static bool vlan_wanted(const struct net_filter *f, const uint8_t *frame, size_t len)
{
	unsigned int id;

	if (len < 18 || load_be16(frame + 12) != VLAN_TYPE)
		return true;
	id = load_be16(frame + 14) & 0xfff;
	return load_le32(f->vlans + id / 32 * 4) >> id % 32 & 1;
}

static bool mac_listed(const struct net_filter *f, const uint8_t *mac, unsigned int from,
		       unsigned int to)
{
	for (unsigned int i = from; i < to; i++)
		if (!memcmp(f->macs[i], mac, 6))
			return true;
	return false;
}

static bool multicast_wanted(const struct net_filter *f, const uint8_t *mac)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (!memcmp(mac, broadcast, 6))
		return !f->nobcast;
	if (f->nomulti)
		return false;
	return f->allmulti || f->multi_overflow || mac_listed(f, mac, f->first_multi, f->in_use);
}

/**
 * net_filter_pass() - Does the guest want this frame?
 * @n:		The interface; owner
 * @frame:	From its first byte, at least 18 bytes if it has them
 * @len:	Bytes at @frame
 *
 * Return: whether to deliver
 */
bool net_filter_pass(const struct virtio_net *n, const uint8_t *frame, size_t len)
{
	const struct net_filter *f = &n->filter;

	if (f->promisc)
		return true;
	if (len < 6 || !vlan_wanted(f, frame, len))
		return false;
	if (frame[0] & 1)
		return multicast_wanted(f, frame);
	if (f->nouni)
		return false;
	return f->alluni || f->uni_overflow || !memcmp(frame, n->mac, 6) ||
	       mac_listed(f, frame, 0, f->first_multi);
}
