/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see char.h for the room; this file holds the list of all back ends and what
 * their users call. */
#include "char/char.h"

#include "base/fdstore.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/owned.h"
#include "char/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static struct list backends = LIST_INIT(backends);

static struct char_backend *find(const char *id)
{
	struct char_backend *c;

	list_for_each (c, &backends, link)
		if (!strcmp(c->id, id))
			return c;
	return NULL;
}

/**
 * char_find() - The back end of an id
 * @id:		As given by the user
 *
 * Return: borrowed; of a mux, a port that is free. NULL: none
 */
struct char_backend *char_find(const char *id)
{
	struct char_backend *c = find(id);

	return c && c->kind == &char_mux ? mux_port(c) : c;
}

/**
 * char_list_add() - Put a back end on the list
 * @c:		Owned by the list
 */
void char_list_add(struct char_backend *c)
{
	list_add_tail(&backends, &c->link);
}

static const char *kind_at(const void *table, size_t index)
{
	const struct char_kind *const *kinds = table;

	return kinds[index] ? kinds[index]->name : NULL;
}

static const struct char_kind *kind_find(const char *name, struct err *e)
{
	for (const struct char_kind *const *k = char_kinds; *k; k++)
		if (!strcmp((*k)->name, name))
			return *k;
	if (!strcmp(name, char_mux.name))
		return &char_mux;
	err_set(e, EINVAL, "'%s' is not a kind of character device", name);
	err_nearest(e, nearest(name, char_kinds, kind_at));
	return NULL;
}

/* "nowait", as many a command line for QEMU still has it, is wait=off. */
static json_t *modern(const struct char_kind *kind, const json_t *options)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)options);

	if (kind == &char_socket && !json_object_get(copy, "wait") &&
	    !strcmp(option_str(copy, "nowait", ""), "on")) {
		json_object_del(copy, "nowait");
		json_object_set_new(copy, "wait", json_false());
	}
	return copy;
}

/* A row of one table or the other. */
static int check_options(const struct char_kind *kind, const json_t *options, json_t **ret,
			 struct err *e)
{
	OWNED_JSON *given = modern(kind, options);
	struct option table[48];
	size_t n = 0;

	for (const struct option *o = char_common_options; o->kind != OPTION_END; o++)
		table[n++] = *o;
	for (const struct option *o = kind->options; o && o->kind != OPTION_END; o++)
		table[n++] = *o;
	table[n] = (struct option)OPTIONS_END;
	return option_check(table, given, OPTION_JSON, ret, e);
}

/**
 * back_log_open() - Open the log file of a back end that has one
 * @c:		With its options
 * @again:	Another process wrote it until now: go on at its end
 * @e:		Set on failure only
 *
 * Errors: EINVAL logappend= without logfile=; else as open(2)
 * Return: 0, or a negative errno
 */
int back_log_open(struct char_backend *c, bool again, struct err *e)
{
	const char *path = option_str(c->options, "logfile", NULL);
	bool append = option_bool(c->options, "logappend", false);

	if (!path)
		return append ? err_set(e, EINVAL, "logappend= needs logfile=") : 0;
	append |= again;
	return fdstore_open(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0666,
			    &c->log_fd, e);
}

static int create(struct loop *loop, const char *id, const struct char_kind *kind, json_t *options,
		  struct char_backend **ret, struct err *e)
{
	struct char_backend *c;
	int r;

	if (find(id))
		return err_set(e, EEXIST, "chardev %s exists already", id);
	c = back_alloc(kind, id, loop);
	c->options = json_incref(options);
	r = back_log_open(c, false, e);
	if (r == 0)
		r = back_start(c, e);
	c->opened = r == 0;
	if (r == 0)
		r = kind->open(c, options, e);
	if (r < 0) {
		back_free(c);
		return err_in(e, "chardev %s", id);
	}
	char_list_add(c);
	*ret = c;
	return 0;
}

static int create_mux(struct loop *loop, const char *id, const struct char_kind *kind,
		      json_t *options, struct char_backend **ret, struct err *e)
{
	OWNED(char *) base_id = str_printf("%s-base", id);
	struct char_backend *base;
	int r = create(loop, base_id, kind, options, &base, e);

	if (r < 0)
		return r;
	r = create(loop, id, &char_mux, options, ret, e);
	if (r < 0)
		back_free(base);
	return r;
}

/**
 * char_create() - Make a back end
 * @loop:	Main loop
 * @options:	"backend", "id" and what the kind's table names; values may be strings
 * @ret:	Set on success only; owned by the list, char_remove()
 * @e:		Set on failure only
 *
 * Errors: EINVAL bad options, EEXIST the id is taken; else as the kind's system calls
 * Return: 0, or a negative errno
 */
int char_create(struct loop *loop, const json_t *options, struct char_backend **ret, struct err *e)
{
	const struct char_kind *kind = kind_find(option_str(options, "backend", ""), e);
	OWNED_JSON *checked = NULL;
	const char *id;
	int r;

	if (!kind)
		return -EINVAL;
	r = check_options(kind, options, &checked, e);
	if (r < 0)
		return err_in(e, "chardev %s", option_str(options, "id", kind->name));
	id = option_str(checked, "id", "");
	if (option_bool(checked, "mux", false))
		return create_mux(loop, id, kind, checked, ret, e);
	return create(loop, id, kind, checked, ret, e);
}

/**
 * char_remove() - Take a back end away
 * @id:		Its name
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such back end, EBUSY a front end is attached
 * Return: 0, or a negative errno
 */
int char_remove(const char *id, struct err *e)
{
	struct char_backend *c = find(id);

	if (!c)
		return err_set(e, ENOENT, "Chardev '%s' not found", id);
	if (c->user)
		return err_set(e, EBUSY, "Chardev '%s' is busy: %s uses it", id, c->user);
	if (c->kind == &char_mux)
		return err_set(e, EBUSY, "Chardev '%s' is a mux", id);
	back_free(c);
	return 0;
}

/**
 * char_remove_all() - Close every back end, at exit
 */
void char_remove_all(void)
{
	/* From the newest: a mux before its base. */
	while (!list_empty(&backends))
		back_free(list_entry(backends.prev, struct char_backend, link));
}

/**
 * char_for_each() - Walk all back ends
 * @fn:		Called for each; must not remove any
 * @opaque:	Its argument
 */
void char_for_each(void (*fn)(const struct char_backend *c, void *opaque), void *opaque)
{
	struct char_backend *c;

	list_for_each (c, &backends, link)
		fn(c, opaque);
}

/**
 * char_options() - What it was made from
 * @c:		The back end
 *
 * Return: as given and checked, without kind and id; borrowed
 */
const json_t *char_options(const struct char_backend *c)
{
	return c->options;
}

/**
 * char_id() - Its name
 * @c:		The back end
 *
 * Return: borrowed
 */
const char *char_id(const struct char_backend *c)
{
	return c->id;
}

/**
 * char_kind() - The name of its kind
 * @c:		The back end
 *
 * Return: a constant
 */
const char *char_kind(const struct char_backend *c)
{
	return c->kind->name;
}

/**
 * char_filename() - What it is connected to, as query-chardev shows it
 * @c:		The back end
 *
 * Return: borrowed, valid until the back end changes
 */
const char *char_filename(const struct char_backend *c)
{
	return c->filename ? c->filename : "unknown";
}

/**
 * char_front_set_open() - Say whether a front end listens
 * @c:		The back end; its front end calls. Main loop
 * @open:	What char_front_open() tells from now on
 */
void char_front_set_open(struct char_backend *c, bool open)
{
	c->front_open = open;
}

/**
 * char_front_open() - Does a front end listen?
 * @c:		The back end
 *
 * Return: whether somebody attached, and didn't close it since
 */
bool char_front_open(const struct char_backend *c)
{
	return c->user != NULL && c->front_open;
}

/**
 * char_connected() - Is somebody there on the outside?
 * @c:		The back end
 *
 * Return: whether output would be read
 */
bool char_connected(const struct char_backend *c)
{
	return __atomic_load_n(&c->connected, __ATOMIC_RELAXED);
}

/**
 * char_attach() - Become its front end
 * @c:		The back end
 * @user:	For messages ("serial0"); copied
 * @front:	Copied; CHAR_OPENED follows at once if somebody is connected
 * @e:		Set on failure only
 *
 * Errors: EBUSY somebody else has it
 * Return: 0, or a negative errno
 */
int char_attach(struct char_backend *c, const char *user, const struct char_front *front,
		struct err *e)
{
	if (c->user)
		return err_set(e, EBUSY,
			       "Property 'chardev' can't take value '%s', it's in use by %s", c->id,
			       c->user);
	c->user = str_dup(user);
	c->front_open = true;
	c->front = *front;
	if (c->connected && front->event)
		front->event(front->opaque, CHAR_OPENED);
	back_wake(c);
	return 0;
}

/**
 * char_detach() - No longer be its front end
 * @c:		The back end
 */
void char_detach(struct char_backend *c)
{
	free(c->user);
	c->user = NULL;
	c->front = (struct char_front){0};
}

static size_t take(struct char_backend *c, const uint8_t *buf, size_t len)
{
	size_t n = len;

	if (c->kind->store)
		n = c->kind->store(c, buf, len);
	else if (c->connected)
		n = buffer_put(&c->out, buf, len, CHAR_OUT_MAX);
	if (n < len)
		c->full = true;
	if (c->log_fd >= 0)
		buffer_put(&c->log, buf, n, CHAR_LOG_MAX);
	return n;
}

/**
 * char_write() - Output, from any thread; never blocks
 * @c:		The back end
 * @buf:	Bytes
 * @len:	How many
 *
 * Return: bytes taken; less than @len: front.writable() is called when there is room
 */
size_t char_write(struct char_backend *c, const uint8_t *buf, size_t len)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = take(c, buf, len);
	pthread_mutex_unlock(&c->lock);
	if (!c->kind->store || c->log_fd >= 0)
		back_wake(c);
	return n;
}

/**
 * char_accept_input() - The front end can take input again; from any thread
 * @c:		The back end
 */
void char_accept_input(struct char_backend *c)
{
	back_wake(c);
}
