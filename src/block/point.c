/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a point keeps what an image is now. Where the file system can share blocks,
 * it is a clone of the image (FICLONE), made at once and of no further interest. Elsewhere it is an
 * undo file (undo.h), which the bottom node of the disk feeds from now on; the node's options say
 * so, so that an upgrade carries it. Only the newest point's undo file is fed: going back to an
 * older one means to apply the newer ones first. That it is there must be known for that, so until
 * somebody says that it is (block_point_keep()), the one before is fed as well.
 *
 * All on the main thread, with no request in flight.
 */
#include "block/file.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define UNDO_OPTION  "outlive-undo"
#define OLDER_OPTION "outlive-undo-older"

static struct block_node *file_node(struct block_node *n)
{
	while (n->child)
		n = n->child;
	return n->driver->fd ? n : NULL;
}

static bool is_undo(const char *path)
{
	size_t n = strlen(path);

	return n > 5 && !strcmp(path + n - 5, ".undo");
}

/* From now on @u and its older ones are fed; NULL: none. The one before is the caller's. */
static void feed(struct block_node *n, struct undo *u)
{
	json_t *older = json_array();

	((struct file *)n->priv)->undo = u;
	if (u)
		json_object_set_new(n->options, UNDO_OPTION, json_string(u->path));
	else
		json_object_del(n->options, UNDO_OPTION);
	for (u = u ? u->older : NULL; u; u = u->older)
		json_array_append_new(older, json_string(u->path));
	json_object_set_new(n->options, OLDER_OPTION, older);
	if (!json_array_size(older))
		json_object_del(n->options, OLDER_OPTION);
}

/* Where the undo file at @path is held; of one that isn't fed what it leads to is NULL. */
static struct undo **fed(struct file *f, const char *path)
{
	struct undo **at = &f->undo;

	while (*at && strcmp((*at)->path, path) != 0)
		at = &(*at)->older;
	return at;
}

static bool clone_to(int from, const char *path)
{
	OWNED_FD to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (to >= 0 && ioctl(to, FICLONE, from) == 0 && fsync(to) == 0)
		return true;
	if (to >= 0)
		unlink(path);
	return false;
}

/**
 * block_point_make() - Keep what a disk is now
 * @n:		A disk's node
 * @prefix:	The file is called so, with ".clone" or ".undo" behind it
 * @ret:	Set on success only: its path; the caller frees it
 * @e:		Set on failure only
 *
 * Errors: ENOTSUP the disk's driver can't; as open(2)
 * Return: 0, or a negative errno
 */
int block_point_make(struct block_node *n, const char *prefix, char **ret, struct err *e)
{
	struct block_node *bottom = file_node(n);
	OWNED(char) *clone = str_printf("%s.clone", prefix);
	OWNED(char) *undo = str_printf("%s.undo", prefix);
	struct file *f = bottom ? bottom->priv : NULL;
	struct undo *u;
	int r;

	if (!f)
		return err_set(e, ENOTSUP, "a disk of driver %s can't have points",
			       n->driver->name);
	if (clone_to(f->fd, clone)) {
		*ret = str_dup(clone);
		return 0;
	}
	r = undo_create(&u, undo, bottom->size, e);
	if (r < 0)
		return r;
	u->older = f->undo;
	feed(bottom, u);
	*ret = str_dup(undo);
	return 0;
}

/**
 * block_point_keep() - Somebody knows of a point: those before need it from now on
 * @n:		A disk's node
 * @path:	Its file; of one that isn't fed nothing happens
 *
 * Return: what block_point_close() closes, which may take as long as the disk does; NULL: nothing
 */
struct undo *block_point_keep(struct block_node *n, const char *path)
{
	struct block_node *bottom = file_node(n);
	struct file *f = bottom ? bottom->priv : NULL;
	struct undo *u = f ? *fed(f, path) : NULL, *older = u ? u->older : NULL;

	if (!older)
		return NULL;
	u->older = NULL;
	feed(bottom, f->undo);
	return older;
}

/**
 * block_point_close() - Nothing more comes to undo files; the guest may run
 * @n:	Their disk's node
 * @u:	Of block_point_keep(); may be NULL
 */
void block_point_close(struct block_node *n, struct undo *u)
{
	const struct file *f = file_node(n)->priv;

	undo_close(u, f->fd);
}

/* Takes the undo file at @path up again where there was one before; NULL: none. */
static int go_back(struct block_node *n, const char *path, struct err *e)
{
	struct file *f = n->priv;
	struct undo *older = NULL;
	int r = path ? undo_open(&older, path, e) : 0;

	if (r == 0 && older)
		r = undo_merge(older, f->undo, e);
	if (r < 0) {
		undo_close(older, f->fd);
		return r;
	}
	undo_close(f->undo, f->fd);
	feed(n, older);
	return 0;
}

/**
 * block_point_drop() - Forget a point
 * @n:		A disk's node
 * @path:	Its file; the caller removes it
 * @older:	File of the point before, which goes on then; NULL: there is none
 * @e:		Set on failure only
 *
 * Errors: as undo_open(), undo_merge()
 * Return: 0, or a negative errno
 */
int block_point_drop(struct block_node *n, const char *path, const char *older, struct err *e)
{
	struct block_node *bottom = file_node(n);
	struct file *f = bottom ? bottom->priv : NULL;
	struct undo **at = f ? fed(f, path) : NULL, *u = at ? *at : NULL;

	if (!u)
		return 0;
	if (u == f->undo && !u->older)
		return go_back(bottom, older && is_undo(older) ? older : NULL, e);
	*at = u->older; /* which has all that this one has */
	u->older = NULL;
	undo_close(u, f->fd);
	feed(bottom, f->undo);
	return 0;
}

static int restore_clone(struct file *f, const char *path, struct err *e)
{
	OWNED_FD from = open(path, O_RDONLY | O_CLOEXEC);

	if (from < 0 || ioctl(f->fd, FICLONE, from) < 0 || fdatasync(f->fd) < 0)
		return err_sys(e, "clone %s back", path);
	return 0;
}

static int restore_undo(struct block_node *n, const char *path, bool force, struct err *e)
{
	struct file *f = n->priv;
	struct undo *u;
	int r = undo_open(&u, path, e);

	if (r < 0)
		return r;
	if (!force)
		r = undo_check(u, f->fd, e);
	if (r == 0)
		r = undo_apply(u, f->fd, e);
	if (r < 0) {
		undo_close(u, f->fd);
		return r;
	}
	undo_close(f->undo, f->fd);
	feed(n, u);
	return 0;
}

/* The image may have been resized since: @n and what is below it. */
static void size_again(struct block_node *n, const struct file *f)
{
	off_t end = lseek(f->fd, 0, SEEK_END);

	for (; end >= 0 && n; n = n->child)
		__atomic_store_n(&n->size, (uint64_t)end, __ATOMIC_RELAXED);
}

/**
 * block_point_restore() - Make a disk what it was, and keep that again from now on
 * @n:		A disk's node; nobody uses the image
 * @path:	Of block_point_make()
 * @force:	Also if the point may not be complete, or somebody else has changed the image
 * @e:		Set on failure only
 *
 * Errors: EBUSY the image is in use; EBADMSG, ESTALE as undo_check(); as pwrite(2)
 * Return: 0, or a negative errno
 */
int block_point_restore(struct block_node *n, const char *path, bool force, struct err *e)
{
	struct block_node *bottom = file_node(n);
	struct file *f = bottom ? bottom->priv : NULL;
	int r;

	if (!f)
		return err_set(e, ENOTSUP, "a disk of driver %s has no points", n->driver->name);
	r = block_lock(f->fd, block_filename(n), true, e);
	if (r < 0)
		return r;
	r = is_undo(path) ? restore_undo(bottom, path, force, e) : restore_clone(f, path, e);
	if (r == 0)
		size_again(n, f);
	if (block_is_inactive())
		block_unlock(f->fd);
	return r;
}

/**
 * block_point_of() - The undo file that a disk feeds
 * @n:	A disk's node
 *
 * Return: its path, borrowed; NULL: none
 */
const char *block_point_of(const struct block_node *n)
{
	const struct block_node *bottom = file_node((struct block_node *)(uintptr_t)n);
	const struct file *f = bottom ? bottom->priv : NULL;

	return f && f->undo ? f->undo->path : NULL;
}

/**
 * block_written() - Does a device write to this node?
 * @n:	Any node
 */
bool block_written(const struct block_node *n)
{
	return n->user && n->writable;
}

/**
 * block_point_check() - Could block_point_restore() make the disk what it was?
 * @n:		A disk's node
 * @path:	Of block_point_make()
 * @e:		Says why not
 *
 * Errors: EBADMSG, ESTALE as undo_check(); as open(2)
 * Return: 0, or a negative errno
 */
int block_point_check(struct block_node *n, const char *path, struct err *e)
{
	struct block_node *bottom = file_node(n);
	struct file *f = bottom ? bottom->priv : NULL;
	struct undo *u;
	int r;

	if (!f || !is_undo(path))
		return f && access(path, R_OK) == 0 ? 0 : err_sys(e, "%s", path);
	u = *fed(f, path);
	if (u)
		return undo_check(u, f->fd, e);
	r = undo_open(&u, path, e);
	if (r < 0)
		return r;
	r = undo_check(u, f->fd, e);
	undo_drop(u);
	return r;
}

/**
 * block_point_check_copy() - Could block_point_copy() make a copy of an image what the image was?
 * @path:	Of block_point_make(), an undo file
 * @image:	The image that it is of
 * @e:		Says why not
 *
 * Errors: EBADMSG, ESTALE as undo_check(); as open(2)
 * Return: 0, or a negative errno
 */
int block_point_check_copy(const char *path, const char *image, struct err *e)
{
	OWNED_FD fd = open(image, O_RDONLY | O_CLOEXEC);
	struct undo *u;
	int r;

	if (fd < 0)
		return err_sys(e, "%s", image);
	r = undo_open(&u, path, e);
	if (r < 0)
		return r;
	r = undo_check(u, fd, e);
	undo_drop(u);
	return r;
}

/**
 * block_point_copy() - Make a disk, a copy of an image, what the image was
 * @n:		The disk's node; nobody uses it. Its writes aren't @path's business afterwards
 * @path:	Of block_point_make() on the image, an undo file; perhaps still being fed
 * @e:		Set on failure only
 *
 * Errors: EBUSY the copy is in use; as undo_copy_back()
 * Return: 0, or a negative errno
 */
int block_point_copy(struct block_node *n, const char *path, struct err *e)
{
	struct block_node *bottom = file_node(n);
	struct file *f = bottom ? bottom->priv : NULL;
	struct undo *u;
	int r;

	if (!f)
		return err_set(e, ENOTSUP, "a disk of driver %s has no points", n->driver->name);
	r = undo_open(&u, path, e);
	if (r < 0)
		return r;
	r = block_lock(f->fd, block_filename(n), true, e);
	if (r == 0)
		r = undo_copy_back(u, f->fd, e);
	if (r == 0)
		size_again(n, f);
	if (block_is_inactive())
		block_unlock(f->fd);
	undo_drop(u);
	return r;
}
