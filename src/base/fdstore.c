/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: whoever manages us opens what we may not (taps, disks, sockets) and passes
 * descriptors. Three ways, all QEMU's: a number inherited at start ("fd=33"), a name given by
 * getfd ("fd=migrate"; taking it uses the name up), and sets ("/dev/fdset/2" in place of a path,
 * add-fd), of which each opening gets a copy. Clients know a descriptor of a set by its number,
 * which stays when another process takes the store over. The process has one store; only the main
 * thread uses it.
 */
#include "base/fdstore.h"

#include "base/option.h"
#include "base/owned.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct named {
	struct list link;
	char *name;
	int fd;
};

static struct list names = LIST_INIT(names);
static struct list sets = LIST_INIT(sets);

static struct named *named_find(const char *name)
{
	struct named *n;

	list_for_each (n, &names, link)
		if (!strcmp(n->name, name))
			return n;
	return NULL;
}

/* Removes the entry; its descriptor is the caller's now. */
static int named_drop(struct named *n)
{
	int fd = n->fd;

	list_del(&n->link);
	free(n->name);
	free(n);
	return fd;
}

/**
 * fdstore_name() - Keep a descriptor under a name; one already there is closed
 * @name:	Copied
 * @fd:		Owned by the store from here on
 */
void fdstore_name(const char *name, int fd)
{
	struct named *n = named_find(name);

	if (n)
		close(named_drop(n));
	n = mem_zalloc(sizeof(*n));
	n->name = str_dup(name);
	n->fd = fd;
	list_add_tail(&names, &n->link);
}

/**
 * fdstore_close() - Close a named descriptor that nobody took
 * @name:	From fdstore_name()
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such name
 * Return: 0, or a negative errno
 */
int fdstore_close(const char *name, struct err *e)
{
	struct named *n = named_find(name);

	if (!n)
		return err_set(e, ENOENT, "File descriptor named '%s' not found", name);
	close(named_drop(n));
	return 0;
}

static int take_number(const char *text, int *ret_fd, struct err *e)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (*end || fd < 0 || fd > INT32_MAX)
		return err_set(e, EINVAL, "'%s' is not a descriptor number", text);
	if (fcntl((int)fd, F_GETFD) < 0)
		return err_sys(e, "descriptor %s isn't open", text);
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	*ret_fd = (int)fd;
	return 0;
}

/**
 * fdstore_take() - The descriptor that "fd=@name" means
 * @name:	A number: inherited; else a name from getfd, which is used up
 * @ret_fd:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such name, EBADF the number isn't open
 * Return: 0, or a negative errno
 */
int fdstore_take(const char *name, int *ret_fd, struct err *e)
{
	struct named *n;

	if (isdigit((unsigned char)*name))
		return take_number(name, ret_fd, e);
	n = named_find(name);
	if (!n)
		return err_set(e, ENOENT, "File descriptor named '%s' not found", name);
	*ret_fd = named_drop(n);
	return 0;
}

static struct fdstore_set *set_find(int64_t id)
{
	struct fdstore_set *s;

	list_for_each (s, &sets, link)
		if (s->id == id)
			return s;
	return NULL;
}

static struct fdstore_set *set_create(int64_t id)
{
	struct fdstore_set *s = mem_zalloc(sizeof(*s));

	if (id < 0)
		for (id = 0; set_find(id); id++)
			;
	s->id = id;
	list_init(&s->fds);
	list_add_tail(&sets, &s->link);
	return s;
}

static bool number_taken(int number)
{
	const struct fdstore_set *s;
	const struct fdstore_fd *f;

	list_for_each (s, &sets, link)
		list_for_each (f, &s->fds, link)
			if (f->number == number)
				return true;
	return false;
}

static int number_free(int wanted)
{
	while (number_taken(wanted))
		wanted++;
	return wanted;
}

/**
 * fdstore_set_add() - Add a descriptor to a set
 * @id:		In: the set, -1 for a new one; out: its number
 * @fd:		Owned by the store on success
 * @opaque:	Copied; may be NULL
 * @ret_number:	How clients name it
 * @e:		Set on failure only
 *
 * Errors: EBADF @fd isn't open
 * Return: 0, or a negative errno
 */
int fdstore_set_add(int64_t *id, int fd, const char *opaque, int *ret_number, struct err *e)
{
	struct fdstore_set *s = *id < 0 ? NULL : set_find(*id);
	struct fdstore_fd *f;

	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(e, "descriptor %d", fd);
	if (!s)
		s = set_create(*id);
	f = mem_zalloc(sizeof(*f));
	f->fd = fd;
	f->number = number_free(fd);
	f->opaque = str_dup(opaque);
	list_add_tail(&s->fds, &f->link);
	*id = s->id;
	*ret_number = f->number;
	return 0;
}

static void set_fd_drop(struct fdstore_fd *f)
{
	list_del(&f->link);
	close(f->fd);
	free(f->opaque);
	free(f);
}

/**
 * fdstore_set_remove() - Remove descriptors from a set; an empty set goes
 * @id:		The set
 * @fd:		Which, by its number; -1: all
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such set or descriptor
 * Return: 0, or a negative errno
 */
int fdstore_set_remove(int64_t id, int fd, struct err *e)
{
	struct fdstore_set *s = set_find(id);
	struct fdstore_fd *f, *tmp;
	bool found = false;

	if (s) {
		list_for_each_safe (f, tmp, &s->fds, link) {
			if (fd >= 0 && f->number != fd)
				continue;
			set_fd_drop(f);
			found = true;
		}
	}
	if (!found)
		return err_set(e, ENOENT,
			       "File descriptor named 'fdset-id:%" PRId64 ", fd:%d' not found", id,
			       fd);
	if (list_empty(&s->fds)) {
		list_del(&s->link);
		free(s);
	}
	return 0;
}

/**
 * fdstore_sets() - All sets, for query-fdsets
 *
 * Return: list of struct fdstore_set, borrowed
 */
const struct list *fdstore_sets(void)
{
	return &sets;
}

static int set_open(int64_t id, int flags, int *ret_fd, struct err *e)
{
	struct fdstore_set *s = set_find(id);
	struct fdstore_fd *f;

	if (!s)
		return err_set(e, ENOENT, "there is no fdset %" PRId64, id);
	list_for_each (f, &s->fds, link) {
		if ((fcntl(f->fd, F_GETFL) & O_ACCMODE) != (flags & O_ACCMODE))
			continue;
		*ret_fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
		return *ret_fd < 0 ? err_sys(e, "copy of fdset %" PRId64, id) : 0;
	}
	return err_set(e, EACCES, "fdset %" PRId64 " has no descriptor with the wanted access mode",
		       id);
}

/**
 * fdstore_open() - open(2) that knows fdsets
 * @path:	A file, or "/dev/fdset/N"
 * @flags:	As open(2); O_CLOEXEC is added
 * @mode:	As open(2)
 * @ret_fd:	Set on success only; the caller owns it
 * @e:		Set on failure only; names the path
 *
 * Errors: ENOENT no such set, EACCES no descriptor of that access mode in it; else as open(2)
 * Return: 0, or a negative errno
 */
int fdstore_open(const char *path, int flags, unsigned int mode, int *ret_fd, struct err *e)
{
	int64_t id;
	int end = 0;

	if (sscanf(path, "/dev/fdset/%" SCNd64 "%n", &id, &end) == 1 && !path[end])
		return set_open(id, flags, ret_fd, e);
	*ret_fd = open(path, flags | O_CLOEXEC, mode);
	return *ret_fd < 0 ? err_sys(e, "%s", path) : 0;
}

/**
 * fdstore_clear() - Close everything in the store
 */
void fdstore_clear(void)
{
	struct fdstore_set *s, *next;
	struct named *n, *tmp;

	list_for_each_safe (n, tmp, &names, link)
		close(named_drop(n));
	list_for_each_safe (s, next, &sets, link) {
		struct fdstore_fd *f, *other;

		list_for_each_safe (f, other, &s->fds, link)
			set_fd_drop(f);
		list_del(&s->link);
		free(s);
	}
}

typedef void add_fn(void *opaque, const char *name, int fd);

static json_t *set_describe(const struct fdstore_set *s, add_fn *add, void *opaque)
{
	json_t *fds = json_array();
	const struct fdstore_fd *f;
	char name[64];

	list_for_each (f, &s->fds, link) {
		snprintf(name, sizeof(name), "fdset/%" PRId64 "/%d", s->id, f->number);
		add(opaque, name, f->fd);
		json_array_append_new(fds, json_pack("{s:s, s:i, s:s*}", "name", name, "number",
						     f->number, "opaque", f->opaque));
	}
	return json_pack("{s:I, s:o}", "id", (json_int_t)s->id, "fds", fds);
}

/**
 * fdstore_describe() - What the store holds, for another process
 * @add:	Called for each descriptor, which stays the store's
 * @opaque:	Its argument
 *
 * Return: new reference for fdstore_adopt()
 */
json_t *fdstore_describe(add_fn *add, void *opaque)
{
	json_t *named = json_array(), *all = json_array();
	const struct fdstore_set *s;
	const struct named *n;

	list_for_each (n, &names, link) {
		OWNED(char *) name = str_printf("getfd/%s", n->name);

		add(opaque, name, n->fd);
		json_array_append_new(named, json_string(n->name));
	}
	list_for_each (s, &sets, link)
		json_array_append_new(all, set_describe(s, add, opaque));
	return json_pack("{s:o, s:o}", "names", named, "sets", all);
}

typedef int take_fn(void *opaque, const char *name);

static void set_adopt(const json_t *state, take_fn *take, void *opaque)
{
	struct fdstore_set *s = set_create(option_int(state, "id", 0));
	size_t i;
	json_t *one;

	json_array_foreach (json_object_get(state, "fds"), i, one) {
		int fd = take(opaque, option_str(one, "name", ""));
		struct fdstore_fd *f;

		if (fd < 0)
			continue;
		f = mem_zalloc(sizeof(*f));
		f->fd = fd;
		f->number = (int)option_int(one, "number", fd);
		f->opaque = str_dup(option_str(one, "opaque", NULL));
		list_add_tail(&s->fds, &f->link);
	}
}

/**
 * fdstore_adopt() - Fill an empty store with what another process had
 * @state:	From fdstore_describe(); NULL: nothing
 * @take:	Gives the descriptor of a name, -1 if there is none
 * @opaque:	Its argument
 */
void fdstore_adopt(const json_t *state, take_fn *take, void *opaque)
{
	size_t i;
	json_t *one;

	json_array_foreach (json_object_get(state, "names"), i, one) {
		OWNED(char *) name = str_printf("getfd/%s", json_string_value(one));
		int fd = take(opaque, name);

		if (fd >= 0)
			fdstore_name(json_string_value(one), fd);
	}
	json_array_foreach (json_object_get(state, "sets"), i, one)
		set_adopt(one, take, opaque);
}
