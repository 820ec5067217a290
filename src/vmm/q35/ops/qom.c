/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the object tree as far as clients look into it. /machine/peripheral has the
 * user's devices by id, /objects the objects; a virtio device is at the same time its own child
 * "virtio-backend", where QEMU has two objects. What the chipset is made of has no names here, but
 * the vCPUs' paths answer (an empty list), since clients ask for each.
 */
#include "vmm/q35/ops/ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char peripheral[] = "/machine/peripheral", objects[] = "/objects";
static const char interval[] = "guest-stats-polling-interval";

static void put(json_t *to, const char *name, const char *type)
{
	json_array_append_new(to, json_pack("{s:s, s:s}", "name", name, "type", type));
}

static void put_child(json_t *to, const char *name, const char *kind)
{
	char type[160];

	snprintf(type, sizeof(type), "child<%s>", kind);
	put(to, name, type);
}

/* What stands behind "@folder/" in @path; NULL: it isn't there. */
static const char *below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return !strncmp(path, folder, n) && path[n] == '/' ? path + n + 1 : NULL;
}

static struct device *device_of(struct guest *g, const char *path)
{
	const char *id = below(path, peripheral), *end = id ? strchr(id, '/') : NULL;
	char name[128];

	if (!id || (end && strcmp(end, "/virtio-backend")))
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)(end ? end - id : (long)strlen(id)), id);
	return guest_device_find(g, name);
}

static const json_t *object_of(struct guest *g, const char *path)
{
	const char *id = below(path, objects);

	return id ? guest_object_find(g, id) : NULL;
}

static void list_devices(struct guest *g, json_t *to)
{
	json_t *d;
	size_t i;

	json_array_foreach (g->devices, i, d) {
		if (option_str(d, "id", NULL))
			put_child(to, option_str(d, "id", ""), option_str(d, "driver", ""));
	}
}

static void list_objects(struct guest *g, json_t *to)
{
	json_t *o;
	size_t i;

	json_array_foreach (g->objects, i, o)
		put_child(to, option_str(o, "id", ""), option_str(o, "qom-type", ""));
}

static const char *prop_type(const struct device *dev, const struct prop *p)
{
	json_t *value = prop_value(dev, p);
	const char *type = json_is_boolean(value)   ? "bool"
			   : json_is_integer(value) ? "int"
						    : "string";

	json_decref(value);
	return type;
}

static void list_device(struct guest *g, struct device *dev, json_t *to)
{
	put(to, "type", "string");
	put(to, "realized", "bool");
	for (const struct prop *p = dev->class->props; p && p->kind != PROP_END; p++)
		put(to, p->name, prop_type(dev, p));
	if (guest_balloon(g) != dev)
		return;
	put(to, "guest-stats", "guest statistics");
	put(to, interval, "int");
}

static void list_object(const json_t *o, json_t *to)
{
	const char *key;
	json_t *v;

	put(to, "type", "string");
	json_object_foreach ((json_t *)(uintptr_t)o, key, v)
		put(to, key, json_is_boolean(v) ? "bool" : json_is_integer(v) ? "int" : "string");
}

static void list_root(const char *path, json_t *to)
{
	put(to, "type", "string");
	if (!strcmp(path, "/")) {
		put_child(to, "machine", "pc-q35-7.2-machine");
		put_child(to, "objects", "container");
	} else {
		put_child(to, "peripheral", "container");
		put_child(to, "unattached", "container");
	}
}

static bool is_root(const char *path)
{
	return !strcmp(path, "/") || !strcmp(path, "/machine");
}

static int no_path(const char *path, struct err *e)
{
	return err_set(e, ENXIO, "Device '%s' not found", path);
}

/**
 * op_qom_list() - QMP qom-list
 * @opaque:	The guest
 * @rq:		The command
 * @args:	A path
 * @ret:	Children and properties
 * @e:		Set on failure only
 *
 * Errors: ENXIO there is nothing
 * Return: 0, or a negative errno
 */
int op_qom_list(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		struct err *e)
{
	struct guest *g = opaque;
	const char *path = option_str(args, "path", "");
	struct device *dev = device_of(g, path);
	const json_t *o = object_of(g, path);
	OWNED_JSON *found = json_array();

	if (dev)
		list_device(g, dev, found);
	else if (o)
		list_object(o, found);
	else if (!strcmp(path, peripheral))
		list_devices(g, found);
	else if (!strcmp(path, objects))
		list_objects(g, found);
	else if (is_root(path))
		list_root(path, found);
	else if (strncmp(path, "/machine/unattached", 19))
		return no_path(path, e);
	*ret = json_incref(found);
	return 0;
}

static json_t *device_get(struct guest *g, struct device *dev, const char *name)
{
	const struct prop *p = device_prop_find(dev->class, name);

	if (!strcmp(name, "type"))
		return json_string(dev->class->name);
	if (!strcmp(name, "realized"))
		return json_boolean(dev->realized);
	if (guest_balloon(g) == dev && !strcmp(name, "guest-stats"))
		return balloon_statistics(dev);
	if (guest_balloon(g) == dev && !strcmp(name, interval))
		return json_integer(balloon_interval(dev));
	return p ? prop_value(dev, p) : NULL;
}

/**
 * op_qom_get() - QMP qom-get
 * @opaque:	The guest
 * @rq:		The command
 * @args:	A path and a property
 * @ret:	Its value
 * @e:		Set on failure only
 *
 * Errors: ENXIO there is nothing at the path; ENOENT it has no such property
 * Return: 0, or a negative errno
 */
int op_qom_get(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
	       struct err *e)
{
	struct guest *g = opaque;
	const char *path = option_str(args, "path", ""), *name = option_str(args, "property", "");
	struct device *dev = device_of(g, path);
	const json_t *o = object_of(g, path);

	if (dev)
		*ret = device_get(g, dev, name);
	else if (o)
		*ret = json_incref(json_object_get(o, strcmp(name, "type") ? name : "qom-type"));
	else if (!strcmp(path, "/machine") && !strcmp(name, "type"))
		*ret = json_string("pc-q35-7.2-machine");
	else if (!is_root(path))
		return no_path(path, e);
	return *ret ? 0 : err_set(e, ENOENT, "Property '%s.%s' not found", path, name);
}

/**
 * op_qom_set() - QMP qom-set: the balloon's polling interval; nothing else changes by this command
 * @opaque:	The guest
 * @rq:		The command
 * @args:	A path, a property, a value
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: ENXIO there is nothing at the path; EINVAL a bad value; EOPNOTSUPP the property is fixed
 * Return: 0, or a negative errno
 */
int op_qom_set(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
	       struct err *e)
{
	struct guest *g = opaque;
	const char *path = option_str(args, "path", ""), *name = option_str(args, "property", "");
	const json_t *value = json_object_get(args, "value");
	struct device *dev = device_of(g, path);

	if (!dev && !object_of(g, path))
		return no_path(path, e);
	if (!dev || guest_balloon(g) != dev || strcmp(name, interval))
		return err_set(e, EOPNOTSUPP, "Property '%s.%s' can't be changed now", path, name);
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > UINT32_MAX)
		return err_set(e, EINVAL, "%s: seconds are expected", name);
	balloon_set_interval(dev, (uint32_t)json_integer_value(value));
	return 0;
}
