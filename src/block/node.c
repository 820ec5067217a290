/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: nodes are made bottom up from a JSON object; each is in one list and found
 * by name. The name table holds a reference, so does each parent and each device. A node that goes
 * releases its child. Everything here runs on the main thread; requests don't pass through this
 * file (queue.c).
 */
#include "block/driver.h"

#include "base/owned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct block_driver *const drivers[] = {
	&block_file, &block_host_device, &block_raw, &block_null, &block_null_aio, &block_throttle,
};

static struct list nodes = LIST_INIT(nodes);
static unsigned int unnamed;

static const struct block_driver *driver_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	return NULL;
}

static int driver_unknown(const char *name, struct err *e)
{
	char known[160] = "";

	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i ? ", " : "", drivers[i]->name);
	return err_set(e, EINVAL, "driver: unknown block driver '%s' (known: %s)", name, known);
}

/**
 * block_find() - Look a node up by name
 * @name:	Node name
 *
 * Return: borrowed, or NULL
 */
struct block_node *block_find(const char *name)
{
	struct block_node *n;

	list_for_each (n, &nodes, link)
		if (strcmp(n->name, name) == 0)
			return n;
	return NULL;
}

/**
 * block_ref() - Take a reference
 * @n:		The node
 *
 * Return: @n
 */
struct block_node *block_ref(struct block_node *n)
{
	n->refs++;
	return n;
}

/**
 * block_unref() - Give a reference back; the last one closes the node
 * @n:		May be NULL
 */
void block_unref(struct block_node *n)
{
	if (!n || --n->refs)
		return;
	if (n->driver->close)
		n->driver->close(n);
	list_del(&n->link);
	block_unref(n->child);
	json_decref(n->options);
	free(n->user);
	free(n);
}

static int child_open(struct block_node *n, struct err *e)
{
	const json_t *file = json_object_get(n->options, "file");
	struct block_node *child;
	int r;

	if (!file)
		return 0;
	if (json_is_string(file)) {
		child = block_find(json_string_value(file));
		if (!child)
			return err_set(e, ENOENT, "file: there is no node '%s'",
				       json_string_value(file));
		n->child = block_ref(child);
		return 0;
	}
	r = block_open(file, &child, e);
	if (r < 0)
		return err_in(e, "file");
	child->nested = true;
	n->child = child; /* the inner node's first reference is the outer one's */
	return 0;
}

static int name_take(struct block_node *n, const json_t *options, struct err *e)
{
	const char *name = json_string_value(json_object_get(options, "node-name"));

	if (!name) {
		do
			snprintf(n->name, sizeof(n->name), "#block%u", unnamed++);
		while (block_find(n->name));
		return 0;
	}
	if (!*name || strlen(name) >= sizeof(n->name))
		return err_set(e, EINVAL, "node-name: '%s' is not 1 to %zu characters", name,
			       sizeof(n->name) - 1);
	if (block_find(name))
		return err_set(e, EEXIST, "node-name: '%s' is taken", name);
	snprintf(n->name, sizeof(n->name), "%s", name);
	return 0;
}

static int node_fill(struct block_node *n, const json_t *options, struct err *e)
{
	int r = name_take(n, options, e);

	if (r >= 0)
		r = block_options_check(n->driver, options, e);
	if (r < 0)
		return r;
	n->options = json_deep_copy(options);
	r = child_open(n, e);
	return r < 0 ? r : n->driver->open(n, e);
}

/**
 * block_open() - Make a node and those below it
 * @options:	See block.h
 * @ret:	Set on success only; the name table's reference, given back by block_remove()
 * @e:		Set on failure only
 *
 * Errors: see block.h
 * Return: 0, or a negative errno
 */
int block_open(const json_t *options, struct block_node **ret, struct err *e)
{
	const char *name = json_string_value(json_object_get(options, "driver"));
	const struct block_driver *driver = name ? driver_find(name) : NULL;
	struct block_node *n;
	int r;

	if (!name)
		return err_set(e, EINVAL, "driver: missing");
	if (!driver)
		return driver_unknown(name, e);
	n = mem_zalloc(sizeof(*n));
	n->driver = driver;
	n->refs = 1;
	list_init(&n->link);
	r = node_fill(n, options, e);
	if (r < 0) {
		block_unref(n->child);
		json_decref(n->options);
		free(n);
		return r;
	}
	list_add_tail(&nodes, &n->link);
	*ret = n;
	return 0;
}

/**
 * block_remove() - Take a named node away (blockdev-del)
 * @name:	Node name
 * @e:		Set on failure only
 *
 * Errors: ENOENT; EBUSY it is in use
 * Return: 0, or a negative errno
 */
int block_remove(const char *name, struct err *e)
{
	struct block_node *n = block_find(name);

	if (!n)
		return err_set(e, ENOENT, "there is no node '%s'", name);
	if (n->user)
		return err_set(e, EBUSY, "node '%s' is used by %s", name, n->user);
	if (n->refs > 1)
		return err_set(e, EBUSY, "node '%s' is used by another node", name);
	block_unref(n);
	return 0;
}

/**
 * block_each() - Visit all nodes in the order made
 * @fn:		Called for each; doesn't add or remove any
 * @opaque:	Its argument
 */
void block_each(void (*fn)(struct block_node *n, void *opaque), void *opaque)
{
	struct block_node *n;

	list_for_each (n, &nodes, link)
		fn(n, opaque);
}

/**
 * block_name() - The node's name
 * @n:		The node
 *
 * Return: borrowed
 */
const char *block_name(const struct block_node *n)
{
	return n->name;
}

/**
 * block_driver_name() - The name of the node's driver
 * @n:		The node
 *
 * Return: constant
 */
const char *block_driver_name(const struct block_node *n)
{
	return n->driver->name;
}

/**
 * block_child() - The node below
 * @n:		The node
 *
 * Return: borrowed, or NULL at the bottom
 */
struct block_node *block_child(const struct block_node *n)
{
	return n->child;
}

/**
 * block_options() - What the node was made from
 * @n:		The node
 *
 * Return: borrowed
 */
const json_t *block_options(const struct block_node *n)
{
	return n->options;
}

static json_t *describe(const struct block_node *n)
{
	json_t *o = json_deep_copy(n->options);

	json_object_set_new(o, "node-name", json_string(n->name));
	if (n->child && n->child->nested)
		json_object_set_new(o, "file", describe(n->child));
	return o;
}

/**
 * block_describe() - What the same stack can be made from in another process
 * @n:		The node
 *
 * Return: new reference for block_open(), or NULL: the node comes with the one above it
 */
json_t *block_describe(const struct block_node *n)
{
	return n->nested ? NULL : describe(n);
}

static const struct block_node *bottom(const struct block_node *n)
{
	while (n->child)
		n = n->child;
	return n;
}

/**
 * block_filename() - The file at the bottom of the stack
 * @n:		Any node of it
 *
 * Return: borrowed, "" if there is none
 */
const char *block_filename(const struct block_node *n)
{
	return block_option_string(bottom(n), "filename", "");
}

/**
 * block_fd() - The open file at the bottom, for handing it over
 * @n:		Any node of the stack
 *
 * Return: borrowed, -1 if there is none
 */
int block_fd(const struct block_node *n)
{
	n = bottom(n);
	return n->driver->fd ? n->driver->fd(n) : -1;
}

/**
 * block_size() - The disk's size now
 * @n:		The node
 *
 * Return: bytes
 */
uint64_t block_size(const struct block_node *n)
{
	return __atomic_load_n(&n->size, __ATOMIC_RELAXED);
}

/**
 * block_read_only() - Are writes refused?
 * @n:		The node
 *
 * Return: whether they are
 */
bool block_read_only(const struct block_node *n)
{
	return n->read_only;
}

/**
 * block_attach() - Use a node exclusively, with image locks
 * @n:		The top node
 * @user:	Who, for messages
 * @writable:	Writes are meant
 * @e:		Set on failure only
 *
 * Errors: EBUSY another device or another process has it; EROFS
 * Return: 0, or a negative errno
 */
int block_attach(struct block_node *n, const char *user, bool writable, struct err *e)
{
	int r = 0;

	if (n->user)
		return err_set(e, EBUSY, "node '%s' is used by %s already", n->name, n->user);
	if (writable && n->read_only)
		return err_set(e, EROFS, "node '%s' is read-only", n->name);
	if (!block_is_inactive())
		r = block_locks_take(n, writable, e);
	if (r < 0)
		return r;
	n->user = str_dup(user);
	n->writable = writable;
	block_ref(n);
	return 0;
}

/**
 * block_detach() - Undo block_attach()
 * @n:		The node
 */
void block_detach(struct block_node *n)
{
	if (!block_is_inactive())
		block_locks_drop(n);
	mem_free(&n->user);
	n->resized = NULL;
	block_unref(n);
}

/**
 * block_on_resize() - Be told when the size changed
 * @n:		A node this caller attached
 * @fn:		Called on the main thread; NULL: no more
 * @opaque:	Its argument
 */
void block_on_resize(struct block_node *n, void (*fn)(void *opaque), void *opaque)
{
	n->resized = fn;
	n->resized_opaque = opaque;
}

/**
 * block_resize() - Change the size of a disk in use
 * @n:		The top node
 * @bytes:	New size, a multiple of 512
 * @e:		Set on failure only
 *
 * Errors: EINVAL not a multiple of 512; ENOTSUP the driver can't; EROFS; else of ftruncate(2)
 * Return: 0, or a negative errno
 */
int block_resize(struct block_node *n, uint64_t bytes, struct err *e)
{
	int r = 0;

	if (bytes % 512)
		return err_set(e, EINVAL, "size %ju is not a multiple of 512", (uintmax_t)bytes);
	if (n->read_only)
		return err_set(e, EROFS, "node '%s' is read-only", n->name);
	if (!n->driver->resize)
		return err_set(e, ENOTSUP, "driver %s can't resize", n->driver->name);
	r = n->child ? block_resize(n->child, bytes, e) : 0;
	if (r >= 0)
		r = n->driver->resize(n, bytes, e);
	if (r >= 0 && n->resized)
		n->resized(n->resized_opaque);
	return r;
}
