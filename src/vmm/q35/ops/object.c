/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: -object and object-add. guest->objects has them as they were asked for, and
 * goes along in a live upgrade. An I/O thread is made with its object; other kinds are descriptions
 * that somebody looks up by id (guest RAM, a source of random numbers, secrets). An object whose id
 * a device or the machine names stays.
 */
#include "vmm/q35/ops/ops.h"

#include "vmm/q35/migration/migration.h"
#include "vmm/served.h"

#include "device/virtio/io_thread.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool is_kind(const json_t *o, const char *kind)
{
	return !strcmp(option_str(o, "qom-type", ""), kind);
}

/**
 * guest_object_find() - An object by its id
 * @g:		The guest
 * @id:		Of the user
 *
 * Return: as it was asked for, borrowed; or NULL
 */
const json_t *guest_object_find(const struct guest *g, const char *id)
{
	json_t *o;
	size_t i;

	json_array_foreach (g->objects, i, o) {
		if (!strcmp(option_str(o, "id", ""), id))
			return o;
	}
	return NULL;
}

static int object_make(struct guest *g, const json_t *values, struct err *e)
{
	const char *id = option_str(values, "id", "");
	struct io_thread *t;
	int r = 0;

	if (guest_object_find(g, id))
		return err_set(e, EEXIST, "there is an object '%s' already", id);
	if (is_kind(values, "throttle-group"))
		return err_set(e, ENOTSUP,
			       "there are no groups of limits: a disk's throttle node has its own");
	if (is_kind(values, "iothread"))
		r = io_thread_create(id, &t, e);
	if (r >= 0)
		json_array_append_new(g->objects, json_deep_copy(values));
	return r;
}

/* One that is new here: its files are looked at. Those of another process were when it got them. */
static int object_make_new(struct guest *g, const json_t *values, struct err *e)
{
	int r = served_object_check(values, e);

	if (r >= 0)
		r = tls_object_check(g, values, e);
	return r < 0 ? r : object_make(g, values, e);
}

/**
 * guest_objects_make() - The objects of a new guest
 * @g:		Its process is set
 * @objects:	As another process had them; NULL: those of the command line
 * @e:		Set on failure only: names the argument
 *
 * Return: 0, or a negative errno
 */
int guest_objects_make(struct guest *g, const json_t *objects, struct err *e)
{
	const struct vmm_items *all = &g->v->options->groups[VMM_OBJECT];
	const json_t *o;
	size_t i;
	int r = 0;

	json_array_foreach ((json_t *)(uintptr_t)objects, i, o) {
		if (r >= 0)
			r = object_make(g, o, e);
	}
	for (i = 0; i < all->len && !objects; i++)
		if (object_make_new(g, all->items[i].values, e) < 0)
			return vmm_err_item(e, &all->items[i]);
	return r;
}

static void object_release(const json_t *o)
{
	if (is_kind(o, "iothread"))
		io_thread_unref(io_thread_find(option_str(o, "id", "")));
}

/**
 * guest_objects_release() - Let go of all objects
 * @g:		Its devices are gone
 */
void guest_objects_release(struct guest *g)
{
	json_t *o;
	size_t i;

	json_array_foreach (g->objects, i, o)
		object_release(o);
	json_decref(g->objects);
}

/**
 * op_object_add() - QMP object-add
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Checked against the kind's table
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: EEXIST the id is taken; ENOTSUP nothing here could use it; as served_object_check(),
 * tls_object_check()
 * Return: 0, or a negative errno
 */
int op_object_add(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	return object_make_new(opaque, args, e);
}

/* Who names the object: a device by a property, or the machine by its memory. */
static const char *user_of(struct guest *g, const char *id)
{
	static const char *const links[] = {"iothread", "rng", "memdev"};
	json_t *d;
	size_t i;

	json_array_foreach (g->devices, i, d) {
		for (size_t k = 0; k < ARRAY_SIZE(links); k++)
			if (!strcmp(option_str(d, links[k], ""), id))
				return option_str(d, "id", option_str(d, "driver", ""));
	}
	if (!strcmp(option_str(vmm_values(g->v->options, VMM_MACHINE), "memory-backend", ""), id))
		return "the machine";
	return NULL;
}

/**
 * op_object_del() - QMP object-del
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Its id
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: ENOENT there is none; EBUSY it is in use
 * Return: 0, or a negative errno
 */
int op_object_del(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	struct guest *g = opaque;
	const char *id = option_str(args, "id", ""), *user = user_of(g, id);
	json_t *o;
	size_t i;

	json_array_foreach (g->objects, i, o) {
		if (strcmp(option_str(o, "id", ""), id))
			continue;
		if (user)
			return err_set(e, EBUSY, "object '%s' is in use by %s", id, user);
		object_release(o);
		json_array_remove(g->objects, i);
		return 0;
	}
	return err_set(e, ENOENT, "object '%s' not found", id);
}

/**
 * op_query_iothreads() - QMP query-iothreads
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	List of threads
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_iothreads(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		       struct err *e)
{
	struct guest *g = opaque;
	json_t *o;
	size_t i;

	*ret = json_array();
	json_array_foreach (g->objects, i, o) {
		const char *id = option_str(o, "id", "");

		if (is_kind(o, "iothread"))
			json_array_append_new(*ret,
					      json_pack("{s:s, s:i}", "id", id, "thread-id",
							(int)io_thread_tid(io_thread_find(id))));
	}
	return 0;
}

static json_t *memdev(const json_t *o)
{
	bool memfd = is_kind(o, "memory-backend-memfd");

	return json_pack("{s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:[], s:s}", "id",
			 option_str(o, "id", ""), "size", (json_int_t)option_int(o, "size", 0),
			 "merge", option_bool(o, "merge", true), "dump",
			 option_bool(o, "dump", true), "prealloc",
			 option_bool(o, "prealloc", false), "share", option_bool(o, "share", memfd),
			 "reserve", option_bool(o, "reserve", true), "host-nodes", "policy",
			 option_str(o, "policy", "default"));
}

/**
 * op_query_memdev() - QMP query-memdev: memory objects
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	List of objects
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_memdev(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		    struct err *e)
{
	struct guest *g = opaque;
	json_t *o;
	size_t i;

	*ret = json_array();
	json_array_foreach (g->objects, i, o) {
		if (!strncmp(option_str(o, "qom-type", ""), "memory-backend-", 15))
			json_array_append_new(*ret, memdev(o));
	}
	return 0;
}
