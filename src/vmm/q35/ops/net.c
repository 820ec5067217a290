/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: network interfaces as QMP names them: by the device; back ends go by their
 * own id.
 */
#include "vmm/q35/ops/ops.h"

#include "vmm/q35/migration/announce.h"
#include "vmm/q35/migration/migration.h"

#include "device/virtio/net.h"

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
