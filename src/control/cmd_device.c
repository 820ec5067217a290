/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: devices, objects and network back ends that come and go; the object tree. */
#include "base/fdstore.h"
#include "control/command.h"
#include "net/net.h"

#include <errno.h>
#include <string.h>

static const struct option device_add_args[] = {
	{"driver", OPTION_STRING, "kind of device", .required = true},
	{"id", OPTION_STRING, "its name"},
	{"bus", OPTION_STRING, "where it is plugged"},
	OPTIONS_END,
};

static const struct option rx_filter_args[] = {
	{"name", OPTION_STRING, "a network interface, by its device's id; all by default"},
	OPTIONS_END,
};

static const struct option id_args[] = {
	{"id", OPTION_STRING, "its name", .required = true},
	OPTIONS_END,
};

/* "dgram" is how libvirt learns that -netdev takes JSON; "user" must be known to libvirt 11.
 * Neither can be made. */
static const char *const netdev_types[] = {"user", "tap", "stream", "dgram", "vhost-user", NULL};
static const struct option netdev_add_args[] = {
	{"type", OPTION_ENUM, "kind of back end", .required = true, .names = netdev_types,
	 .type = "NetClientDriver"},
	{"id", OPTION_STRING, "its name", .required = true},
	OPTIONS_END,
};

static const char *const object_types[] = {"memory-backend-memfd",
					   "memory-backend-file",
					   "memory-backend-ram",
					   "iothread",
					   "rng-random",
					   "rng-builtin",
					   "secret",
					   "tls-creds-psk",
					   "tls-creds-x509",
					   "throttle-group",
					   NULL};
static const struct option object_add_args[] = {
	{"qom-type", OPTION_ENUM, "kind of object", .required = true, .names = object_types,
	 .type = "ObjectType"},
	{"id", OPTION_STRING, "its name", .required = true},
	OPTIONS_END,
};

static const struct option set_link_args[] = {
	{"name", OPTION_STRING, "network back end, or device", .required = true},
	{"up", OPTION_BOOL, "link is up", .required = true},
	OPTIONS_END,
};

static const struct option announce_args[] = {
	{"initial", OPTION_INT, "ms to the second round"},
	{"max", OPTION_INT, "ms between rounds at most"},
	{"rounds", OPTION_INT, "how many"},
	{"step", OPTION_INT, "ms that are added each time"},
	{"interfaces", OPTION_ANY, "only these"},
	{"id", OPTION_STRING, "name of the timer"},
	OPTIONS_END,
};

static const struct option path_args[] = {
	{"path", OPTION_STRING, "place in the object tree", .required = true},
	OPTIONS_END,
};

static const struct option qom_get_args[] = {
	{"path", OPTION_STRING, "place in the object tree", .required = true},
	{"property", OPTION_STRING, "which property", .required = true},
	OPTIONS_END,
};

static const struct option qom_set_args[] = {
	{"path", OPTION_STRING, "place in the object tree", .required = true},
	{"property", OPTION_STRING, "which property", .required = true},
	{"value", OPTION_ANY, "its new value", .required = true},
	OPTIONS_END,
};

static int fd_of(void *opaque, const char *name)
{
	struct err *e = opaque;
	int fd;

	return fdstore_take(name, &fd, e) < 0 ? -1 : fd;
}

static int netdev_add(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	struct err why;

	return net_add(args, fd_of, &why, e);
}

static int netdev_del(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	const char *id = option_str(args, "id", "");

	if (!net_find(id))
		return err_set(e, ENXIO, "Device '%s' not found", id);
	return net_remove(id, e);
}

static int set_link(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		    struct err *e)
{
	const char *name = option_str(args, "name", "");
	struct net_backend *b = net_find(name);

	if (!b && c->ops && c->ops->set_link)
		return c->ops->set_link(c->ops->opaque, rq, args, ret, e);
	if (!b)
		return err_set(e, ENXIO, "Device '%s' not found", name);
	net_set_link(b, option_bool(args, "up", true));
	return 0;
}

static int object_add(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	OWNED_JSON *checked = NULL;
	int r = object_check(args, OPTION_STRICT, &checked, e);

	if (r < 0)
		return r;
	if (!c->ops || !c->ops->object_add)
		return err_set(e, ENOTSUP, "there is no machine that could use the object");
	return c->ops->object_add(c->ops->opaque, rq, checked, ret, e);
}

/* Without a machine the tree is empty, but asking must not fail: libvirt takes that for a broken
 * VMM. */
static int qom_list(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		    struct err *e)
{
	if (c->ops && c->ops->qom_list)
		return c->ops->qom_list(c->ops->opaque, rq, args, ret, e);
	*ret = json_array();
	return 0;
}

static int query_iothreads(struct control *c, struct control_request *rq, const json_t *args,
			   json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_iothreads)
		return c->ops->query_iothreads(c->ops->opaque, rq, args, ret, e);
	*ret = json_array();
	return 0;
}

const struct command commands_device[] = {
	{"device_add", device_add_args, .op = COMMAND_OP(device_add), .flags = COMMAND_OPEN,
	 .help = "plug a device in", .features = "json-cli json-cli-hotplug"},
	{"device_del", id_args, .op = COMMAND_OP(device_del),
	 .help = "ask the guest to give a device back; DEVICE_DELETED says when it has"},
	{"object-add", object_add_args, .fn = object_add, .flags = COMMAND_OPEN,
	 .help = "make an object"},
	{"object-del", id_args, .op = COMMAND_OP(object_del), .help = "remove an object"},
	{"netdev_add", netdev_add_args, .fn = netdev_add, .flags = COMMAND_OPEN,
	 .help = "make a network back end"},
	{"netdev_del", id_args, .fn = netdev_del, .help = "remove a network back end"},
	{"set_link", set_link_args, .fn = set_link, .help = "pull or plug the network cable"},
	{"qom-list", path_args, "[ObjectPropertyInfo]", qom_list,
	 .help = "children and properties"},
	{"qom-get", qom_get_args, "any", .op = COMMAND_OP(qom_get), .help = "value of a property"},
	{"qom-set", qom_set_args, .op = COMMAND_OP(qom_set), .help = "change a property"},
	{"query-iothreads", NULL, "[IOThreadInfo]", query_iothreads, .help = "I/O threads"},
	{"query-pci", NULL, "[any]", .op = COMMAND_OP(query_pci),
	 .help = "PCI functions as the guest has set them up, bridges with what is behind them"},
	{"query-rx-filter", rx_filter_args, "[any]", .op = COMMAND_OP(query_rx_filter),
	 .help = "which frames network interfaces let through to the guest"},
	{"announce-self", announce_args, NULL, .op = COMMAND_OP(announce_self),
	 .help = "tell the network where the guest is now"},
	{0},
};
