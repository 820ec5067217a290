/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an interface's part of its section, in QEMU's order. Transmit queues are
 * looked at whenever the guest runs, so the "waiting" words are written as 0 and skipped. A guest
 * that comes from elsewhere is asked to announce itself.
 */
#include "device/virtio/net_state.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>

static bool offloads_sent(const struct net_body *s)
{
	return s->v.features >> VIRTIO_NET_F_CTRL_GUEST_OFFLOADS & 1;
}

static void filter_save(const struct net_body *s, struct state_writer *w)
{
	const struct net_filter *f = &s->filter;

	state_put_u8(w, f->promisc);
	state_put_u8(w, f->allmulti);
	state_put_be32(w, f->in_use);
	state_put(w, f->macs, f->in_use * 6);
	state_put(w, f->vlans, sizeof(f->vlans));
	state_put_be32(w, s->has_vnet_header);
	state_put_u8(w, f->multi_overflow);
	state_put_u8(w, f->uni_overflow);
	state_put_u8(w, f->alluni);
	state_put_u8(w, f->nomulti);
	state_put_u8(w, f->nouni);
	state_put_u8(w, f->nobcast);
}

static void body_save(const void *member, struct state_writer *w)
{
	const struct net_body *s = member;

	virtio_state_save_head(&s->v, w);
	state_put(w, s->mac, 6);
	state_put_be32(w, 0);
	state_put_be32(w, s->mergeable);
	state_put_be16(w, s->status);
	filter_save(s, w);
	state_put_u8(w, s->has_ufo);
	if (s->max_pairs > 1) {
		state_put_be16(w, (uint16_t)s->max_pairs);
		state_put_be16(w, s->curr_pairs);
	}
	for (unsigned int i = 1; i < s->curr_pairs; i++)
		state_put_be32(w, 0);
	if (offloads_sent(s))
		state_put_be64(w, s->offloads);
	virtio_state_save_tail(&s->v, w);
}

/* More addresses than fit here: the guest's table counts as overflowed, nothing is lost to it. */
static int macs_load(struct net_filter *f, struct state_reader *r, struct err *e)
{
	uint32_t n = state_get_be32(r);
	uint8_t skipped[6];

	if (n > 65536)
		return err_set(e, EINVAL, "mac_table.in_use: %u addresses", n);
	memset(f->macs, 0, sizeof(f->macs));
	f->in_use = n <= NET_MACS_MAX ? n : 0;
	state_get(r, f->macs, f->in_use * 6);
	for (uint32_t i = f->in_use; i < n; i++)
		state_get(r, skipped, 6);
	f->uni_overflow = f->multi_overflow = n > NET_MACS_MAX;
	for (f->first_multi = 0; f->first_multi < f->in_use; f->first_multi++)
		if (f->macs[f->first_multi][0] & 1)
			break;
	return 0;
}

static int filter_load(struct net_body *s, struct state_reader *r, struct err *e)
{
	struct net_filter *f = &s->filter;
	int rc;

	f->promisc = state_get_u8(r);
	f->allmulti = state_get_u8(r);
	rc = macs_load(f, r, e);
	if (rc)
		return rc;
	state_get(r, f->vlans, sizeof(f->vlans));
	s->has_vnet_header = state_get_be32(r) != 0;
	f->multi_overflow |= state_get_u8(r);
	f->uni_overflow |= state_get_u8(r);
	f->alluni = state_get_u8(r);
	f->nomulti = state_get_u8(r);
	f->nouni = state_get_u8(r);
	f->nobcast = state_get_u8(r);
	return 0;
}

static int pairs_load(struct net_body *s, struct state_reader *r, struct err *e)
{
	uint16_t max;

	s->curr_pairs = 1;
	if (s->max_pairs <= 1)
		return 0;
	max = state_get_be16(r);
	s->curr_pairs = state_get_be16(r);
	if (max != s->max_pairs)
		return err_set(e, EINVAL, "max_queue_pairs: %u offered, %u configured here", max,
			       s->max_pairs);
	if (!s->curr_pairs || s->curr_pairs > max)
		return err_set(e, EINVAL, "curr_queue_pairs: %u offered, %u configured here",
			       s->curr_pairs, max);
	return 0;
}

static int device_load(struct net_body *s, struct state_reader *r, struct err *e)
{
	char name[256];
	int rc;

	state_get(r, s->mac, 6);
	state_get_be32(r);
	s->mergeable = state_get_be32(r);
	s->status = state_get_be16(r);
	rc = filter_load(s, r, e);
	if (rc)
		return rc;
	s->has_ufo = state_get_u8(r);
	rc = pairs_load(s, r, e);
	if (rc)
		return rc;
	for (unsigned int i = 1; i < s->curr_pairs; i++)
		state_get_be32(r);
	if (offloads_sent(s))
		s->offloads = state_get_be64(r);
	if (virtio_subsection_next(r, "virtio-net-device/", name))
		return err_set(e, EINVAL, "%s: not available here", name);
	return 0;
}

static int body_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	struct net_body *s = member;
	int rc = virtio_state_load_head(&s->v, r, e);

	if (!rc)
		rc = device_load(s, r, e);
	return rc ? rc : virtio_state_load_tail(&s->v, r, e);
}

static const struct state_codec body_codec = {"virtio", body_save, body_load, 0};

static const struct state_field fields[] = {
	FIELD_CODEC("virtio", struct virtio_net_state, body, &body_codec),
	FIELDS_END,
};

const struct state_table virtio_net_state_table = {
	.name = "virtio-net",
	.version = 11,
	.min_version = 11,
	.size = sizeof(struct virtio_net_state),
	.fields = fields,
};

static const struct virtio_net *net_of_const(const struct device *dev)
{
	return CONTAINER_OF(virtio_of_const(dev), const struct virtio_net, v);
}

/**
 * net_capture() - Class op
 * @dev:	Guest stopped
 * @state:	Zeroed
 */
void net_capture(const struct device *dev, void *state)
{
	const struct virtio_net *n = net_of_const(dev);
	struct net_body *s = &((struct virtio_net_state *)state)->body;

	virtio_capture(&n->v, &s->v);
	s->max_pairs = n->max_pairs;
	memcpy(s->mac, n->mac, 6);
	s->mergeable = virtio_has(&n->v, VIRTIO_NET_F_MRG_RXBUF);
	s->status = n->status;
	s->curr_pairs = (uint16_t)n->curr_pairs;
	s->has_vnet_header = n->netdev && net_has_vnet_header(n->netdev);
	s->has_ufo = n->can_ufo;
	s->filter = n->filter;
	s->offloads = n->offloads;
}

/**
 * net_validate() - Class op
 * @dev:	The interface
 * @state:	Loaded
 * @e:		Set on failure only
 *
 * Errors: EINVAL the back end lacks what the guest uses; else as virtio_check()
 * Return: 0, or a negative errno
 */
int net_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct virtio_net *n = net_of_const(dev);
	const struct net_body *s = &((const struct virtio_net_state *)state)->body;
	bool header = n->netdev && net_has_vnet_header(n->netdev);

	if (s->has_vnet_header && !header)
		return err_set(e, EINVAL,
			       "has_vnet_hdr: the back end here has no headers (vnet_hdr=on)");
	if (s->has_ufo && !n->can_ufo)
		return err_set(e, EINVAL, "has_ufo: the back end here can't take large UDP");
	return virtio_check(&n->v, &s->v, e);
}

/**
 * net_apply() - Class op
 * @dev:	The interface, guest stopped
 * @state:	Judged
 */
void net_apply(struct device *dev, const void *state)
{
	struct virtio_net *n = net_of(virtio_of(dev));
	const struct net_body *s = &((const struct virtio_net_state *)state)->body;

	virtio_apply(&n->v, &s->v);
	memcpy(n->mac, s->mac, 6);
	n->status = s->status;
	n->filter = s->filter;
	n->curr_pairs = s->curr_pairs;
	if (n->netdev)
		net_set_queues(n->netdev, s->curr_pairs);
	net_offloads_apply(n, offloads_sent(s) ? s->offloads : net_offloads_allowed(n));
	n->announce = true;
}
