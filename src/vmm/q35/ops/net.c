/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: network interfaces as QMP names them: by the device; back ends go by their
 * own id.
 */
#include "vmm/q35/ops/ops.h"

#include "vmm/q35/migration/announce.h"
#include "vmm/q35/migration/migration.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "device/virtio/net.h"

#include <linux/virtio_net.h>

#include <errno.h>
#include <string.h>

/**
 * device_is_nic() - Is it a network interface?
 * @dev:	Device
 */
bool device_is_nic(const struct device *dev)
{
	return dev->class == &virtio_net_class || dev->class == &virtio_net_transitional_class ||
	       dev->class == &virtio_net_non_transitional_class;
}

/**
 * op_set_link() - QMP set_link for a device
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Its id and whether the link is up
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: ENXIO it is no network interface; EOPNOTSUPP it has no back end
 * Return: 0, or a negative errno
 */
int op_set_link(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		struct err *e)
{
	const char *name = option_str(args, "name", "");
	struct device *dev = guest_device_find(opaque, name);
	struct net_backend *b;

	if (!dev || !device_is_nic(dev))
		return err_set(e, ENXIO, "Device '%s' not found", name);
	b = net_of(virtio_of(dev))->netdev;
	if (!b)
		return err_set(e, EOPNOTSUPP, "interface '%s' has no network", name);
	net_set_link(b, option_bool(args, "up", true));
	return 0;
}

static json_t *mac_list(const struct net_filter *f, unsigned int from, unsigned int to)
{
	json_t *all = json_array();

	for (unsigned int i = from; i < to; i++)
		json_array_append_new(all, mac_value(f->macs[i]));
	return all;
}

static json_t *vlan_list(const struct net_filter *f)
{
	json_t *all = json_array();

	for (unsigned int id = 0; id < 8 * NET_VLAN_BYTES; id++)
		if (load_le32(f->vlans + id / 32 * 4) >> id % 32 & 1)
			json_array_append_new(all, json_integer(id));
	return all;
}

static const char *kind_passes(bool none, bool all)
{
	return none ? "none" : all ? "all" : "normal";
}

static void on_filters_changed(void *opaque)
{
	struct guest *g = opaque;
	struct device *dev;

	list_for_each (dev, &g->q->devices, link) {
		OWNED(char *) path = NULL;

		if (!device_is_nic(dev) || !net_filter_news(net_of(virtio_of(dev))))
			continue;
		path = guest_device_path(g, dev);
		control_event(g->v->control, "NIC_RX_FILTER_CHANGED",
			      json_pack("{s:s*, s:o}", "name", dev->id, "path",
					json_sprintf("%s/virtio-backend", path)));
	}
}

/* The interface's owner, whatever thread that is. */
static void filter_changed(void *opaque)
{
	struct guest *g = opaque;

	loop_post(g->v->loop, on_filters_changed, g);
}

/**
 * guest_nic_watch() - Turn changes of a network interface's receive filter into events
 * @g:		The guest
 * @dev:	A device that is new; nothing happens if it is no network interface
 */
void guest_nic_watch(struct guest *g, struct device *dev)
{
	if (device_is_nic(dev))
		net_on_filter_change(net_of(virtio_of(dev)), filter_changed, g);
}

/* Asked of the filter's owner. */
struct filter_question {
	struct device *dev;
	json_t *answer;
};

static json_t *filter_of(const char *name, struct virtio_net *n)
{
	const struct net_filter *f = &n->filter;
	json_t *vlans = vlan_list(f), *info;
	uint8_t mac[6];

	pthread_mutex_lock(&n->lock);
	memcpy(mac, n->mac, sizeof(mac));
	pthread_mutex_unlock(&n->lock);
	info = json_pack("{s:s, s:b, s:s, s:s, s:b, s:b, s:b, s:o}", "name", name, "promiscuous",
			 f->promisc, "unicast", kind_passes(f->nouni, f->alluni), "multicast",
			 kind_passes(f->nomulti, f->allmulti), "broadcast-allowed", !f->nobcast,
			 "unicast-overflow", f->uni_overflow, "multicast-overflow",
			 f->multi_overflow, "main-mac", mac_value(mac));
	json_object_set_new(info, "vlan",
			    json_string(kind_passes(!json_array_size(vlans),
						    !virtio_has(&n->v, VIRTIO_NET_F_CTRL_VLAN))));
	json_object_set_new(info, "vlan-table", vlans);
	json_object_set_new(info, "unicast-table", mac_list(f, 0, f->first_multi));
	json_object_set_new(info, "multicast-table", mac_list(f, f->first_multi, f->in_use));
	return info;
}

static void filter_answer(void *opaque)
{
	struct filter_question *q = opaque;
	struct virtio *v = virtio_of(q->dev);

	virtio_lock_owner(v);
	net_filter_seen(net_of(v));
	q->answer = filter_of(q->dev->id ? q->dev->id : "", net_of(v));
	virtio_unlock_owner(v);
}

/**
 * op_query_rx_filter() - QMP query-rx-filter: which frames guests want
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Maybe an interface by its device's id
 * @ret:	One object for each interface, or for that one
 * @e:		Set on failure only
 *
 * Errors: ENXIO it is no network interface
 * Return: 0, or a negative errno
 */
int op_query_rx_filter(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		       struct err *e)
{
	const char *name = option_str(args, "name", NULL);
	struct guest *g = opaque;
	json_t *all = json_array();
	struct device *dev;

	list_for_each (dev, &g->q->devices, link) {
		struct filter_question q = {.dev = dev};

		if (!device_is_nic(dev) || (name && (!dev->id || strcmp(dev->id, name))))
			continue;
		virtio_call(virtio_of(dev), filter_answer, &q);
		json_array_append_new(all, q.answer);
	}
	if (name && !json_array_size(all)) {
		json_decref(all);
		return err_set(e, ENXIO, "'%s' is no network interface of the guest", name);
	}
	*ret = all;
	return 0;
}

/**
 * op_announce_self() - QMP announce-self: tell networks where the guest is
 * @opaque:	The guest
 * @rq:		The command
 * @args:	How often, and for which devices; what isn't given is as after a migration
 * @ret:	Stays NULL
 * @e:		Not set
 *
 * Return: 0
 */
int op_announce_self(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		     struct err *e)
{
	struct guest *g = opaque;
	const struct announce_rules usual = migration_announce_rules(g->migration);
	const struct announce_rules rules = announce_rules_read(args, "", &usual);

	announce_begin(g, &rules, json_object_get(args, "interfaces"));
	return 0;
}
