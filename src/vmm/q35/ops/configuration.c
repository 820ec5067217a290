/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what another VMM has to be told to make this guest's machine again: the
 * command line it was started with, and devices and back ends as they are now, plugged ones with
 * them and unplugged ones without. Each is an object as its option takes it. What a default filled
 * in and the guest can see (a PCI address, a MAC) is written out.
 */
#include "vmm/q35/ops/ops.h"

#include "block/block.h"
#include "char/char.h"
#include "net/net.h"

#include <errno.h>
#include <string.h>

static const struct prop *props_of(const struct device *dev)
{
	return dev ? dev->class->props : NULL;
}

/**
 * guest_devices_carried() - The devices for another process on this host
 * @g:		The guest
 *
 * Return: as guest->devices, and what a device drew at random as it is now; new reference
 */
json_t *guest_devices_carried(struct guest *g)
{
	json_t *all = json_deep_copy(g->devices), *one;
	size_t i;

	json_array_foreach (all, i, one) {
		const struct device *dev = guest_device_at(g, i);

		for (const struct prop *p = props_of(dev); p && p->kind != PROP_END; p++)
			if (p->kind == PROP_UUID || !strncmp(p->name, "x-outlive-", 10))
				json_object_set_new(one, p->name, prop_value(dev, p));
	}
	return all;
}

static json_t *device_now(struct guest *g, size_t i)
{
	json_t *now = json_copy(json_array_get(g->devices, i));
	const struct device *dev = guest_device_at(g, i);
	const struct prop *mac = dev ? device_prop_find(dev->class, "mac") : NULL;

	if (mac)
		json_object_set_new(now, "mac", prop_value(dev, mac));
	for (const struct prop *p = props_of(dev); p && p->kind != PROP_END; p++)
		if (p->kind == PROP_UUID)
			json_object_set_new(now, p->name, prop_value(dev, p));
	return now;
}

static json_t *devices_now(struct guest *g)
{
	json_t *list = json_array();

	for (size_t i = 0; i < json_array_size(g->devices); i++)
		json_array_append_new(list, device_now(g, i));
	return list;
}

/* What "auto" came to on this host comes last, and so holds on any other. */
static json_t *argv_now(const struct guest *g)
{
	json_t *words = json_copy(g->v->argv);

	json_array_append_new(words, json_string("-machine"));
	json_array_append_new(words, json_string(g->q->smm ? "smm=on" : "smm=off"));
	return words;
}

static void add_char(const struct char_backend *c, void *opaque)
{
	json_t *o = json_copy((json_t *)(uintptr_t)char_options(c));

	json_object_set_new(o, "backend", json_string(char_kind(c)));
	json_object_set_new(o, "id", json_string(char_id(c)));
	json_array_append_new(opaque, o);
}

/* Names that nobody has given: after an upgrade they are options, since they stay as they were, but
 * another VMM makes its own. */
static void names_drop(json_t *options)
{
	for (; json_is_object(options); options = json_object_get(options, "file"))
		if (option_str(options, "node-name", "")[0] == '#')
			json_object_del(options, "node-name");
}

static void add_block(struct block_node *n, void *opaque)
{
	json_t *options;

	if (block_name(n)[0] == '#')
		return; /* a node made inside another one comes with it */
	options = json_deep_copy(block_options(n));
	names_drop(options);
	json_array_append_new(opaque, options);
}

static void add_net(struct net_backend *b, void *opaque)
{
	json_array_append_new(opaque, json_deep_copy(net_options(b)));
}

/**
 * op_query_configuration() - QMP outlive-query-configuration
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	Command line, devices, objects and back ends
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_configuration(void *opaque, struct control_request *rq, const json_t *args,
			   json_t **ret, struct err *e)
{
	struct guest *g = opaque;
	json_t *chars = json_array(), *blocks = json_array(), *nets = json_array();

	char_for_each(add_char, chars);
	block_each(add_block, blocks);
	net_each(add_net, nets);
	*ret = json_pack("{s:o, s:o, s:O, s:o, s:o, s:o}", "argv", argv_now(g), "devices",
			 devices_now(g), "objects", g->objects, "chardevs", chars, "blockdevs",
			 blocks, "netdevs", nets);
	return 0;
}

/**
 * op_query_vm_generation_id() - QMP query-vm-generation-id
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	The GUID that the guest is shown
 * @e:		Set on failure only
 *
 * Errors: ENOENT there is no vmgenid device
 * Return: 0, or a negative errno
 */
int op_query_vm_generation_id(void *opaque, struct control_request *rq, const json_t *args,
			      json_t **ret, struct err *e)
{
	struct vmgenid *v = q35_vmgenid(((struct guest *)opaque)->q);

	if (!v)
		return err_set(e, ENOENT, "VM Generation ID device not found");
	*ret = json_pack("{s:o}", "guid",
			 prop_value(&v->dev, device_prop_find(v->dev.class, "guid")));
	return 0;
}
