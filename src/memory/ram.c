/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a RAM block has a name, which is its identity in every stream, and a file,
 * which is its identity on this host. It is made new (ram_create) or from a file that another
 * process filled (ram_adopt); a resizable one has its whole file mapped and only its size in use
 * changes.
 */
#include "base/owned.h"
#include "memory/backing.h"
#include "memory/private.h"
#include "memory/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE_4K 4096

static int block_alloc(struct memory *m, const char *name, uint64_t size, uint64_t max,
		       struct ram_block **ret, struct err *e)
{
	struct ram_block *b;

	if (strlen(name) >= sizeof(b->name))
		return err_set(e, ENAMETOOLONG, "memory block name is too long: %s", name);
	if (ram_find(m, name))
		return err_set(e, EEXIST, "there is a memory block %s already", name);
	if (!size || size % page_size() || max < size || max > INT64_MAX)
		return err_set(e, EINVAL,
			       "%s: size %#" PRIx64 " (largest %#" PRIx64 ") is not page aligned",
			       name, size, max);
	b = mem_zalloc(sizeof(*b));
	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->size = size;
	b->resizable_max = max;
	b->resizable = max > size;
	b->fd = -1;
	list_init(&b->link);
	*ret = b;
	return 0;
}

static void block_free(struct ram_block *b)
{
	backing_unmap(b);
	fd_close(&b->fd);
	bitmap_destroy(&b->dirty);
	free(b);
}

static int make_bitmap(struct ram_block *b, struct err *e)
{
	if (b->dirty.words)
		return 0;
	if (bitmap_create(&b->dirty, b->resizable_max / PAGE_4K) < 0)
		return err_set(e, ENOMEM, "%s: no memory for the dirty bitmap", b->name);
	return 0;
}

/* Maps the file and makes the block known; on failure the block is gone, the file isn't. */
static int block_finish(struct memory *m, struct ram_block *b, const struct ram_options *o,
			struct ram_block **ret, struct err *e)
{
	int r = backing_map(b, o, e);

	if (r == 0 && m->tracking)
		r = make_bitmap(b, e);
	if (r < 0)
		return r;
	b->readonly = o->readonly;
	pthread_mutex_lock(&m->lock);
	list_add_tail(&m->blocks, &b->link);
	pthread_mutex_unlock(&m->lock);
	*ret = b;
	return 0;
}

/* A folder has nothing to begin with. On failure the block is gone. */
static int begin_as(struct memory *m, struct ram_block *b, const char *path, struct err *e)
{
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		r = private_fill(b, path, e);
	if (r < 0)
		ram_destroy(m, b);
	return r;
}

static const struct ram_options ram_defaults = {.kind = RAM_MEMFD};

/**
 * ram_create() - Make a named block of guest memory
 * @m:		Guest memory
 * @name:	As in the migration stream
 * @size:	Bytes in use, a multiple of the page size
 * @options:	Backing; NULL: an ordinary memfd
 * @ret:	Set on success; owned by @m, released by ram_destroy() or memory_destroy()
 * @e:		Set on failure
 *
 * The content is zeros, or that of the file at @options->path.
 *
 * Errors: EEXIST the name is taken; EINVAL the size is not page aligned; ENAMETOOLONG; else as the
 * system calls
 * Return: 0, or a negative errno
 */
int ram_create(struct memory *m, const char *name, uint64_t size, const struct ram_options *options,
	       struct ram_block **ret, struct err *e)
{
	const struct ram_options *o = options ? options : &ram_defaults;
	struct ram_block *b;
	int r = block_alloc(m, name, size, MAX(size, o->max_bytes), &b, e);

	if (r < 0)
		return r;
	r = backing_open(b, o, e);
	if (r == 0)
		r = block_finish(m, b, o, ret, e);
	if (r < 0)
		block_free(b);
	else if (o->copy)
		r = begin_as(m, b, o->path, e);
	return r;
}

/**
 * ram_adopt() - Make a block of a file that another process filled
 * @m:		Guest memory
 * @name:	As in the migration stream
 * @size:	Bytes in use
 * @options:	prealloc, lock, readonly and max_bytes count; NULL: none of them
 * @fd:		The file; owned by the block on success
 * @fd_offset:	Where the block begins in it
 * @ret:	Set on success
 * @e:		Set on failure
 *
 * Errors: as ram_create()
 * Return: 0, or a negative errno
 */
int ram_adopt(struct memory *m, const char *name, uint64_t size, const struct ram_options *options,
	      int fd, uint64_t fd_offset, struct ram_block **ret, struct err *e)
{
	const struct ram_options *o = options ? options : &ram_defaults;
	struct ram_block *b;
	int r = block_alloc(m, name, size, MAX(size, o->max_bytes), &b, e);

	if (r < 0)
		return r;
	b->fd = fd;
	b->fd_offset = fd_offset;
	r = block_finish(m, b, o, ret, e);
	if (r < 0) {
		b->fd = -1;
		block_free(b);
	}
	return r;
}

/**
 * ram_offer_by() - Another process' blocks are taken over
 * @m:		Guest memory, empty
 * @offer:	Gives the file of a block (owned by the caller), -1: there is none; NULL: no more
 * @opaque:	Its argument
 */
void ram_offer_by(struct memory *m, int (*offer)(void *opaque, const char *name), void *opaque)
{
	m->offer = offer;
	m->offer_opaque = opaque;
}

/**
 * ram_offered() - The file of a block that another process hands over
 * @m:		Guest memory
 * @name:	The block's
 * @ret_size:	Set on success: bytes of the file
 *
 * Return: owned by the caller, for ram_adopt(); -1: there is none, make one
 */
int ram_offered(struct memory *m, const char *name, uint64_t *ret_size)
{
	int fd = m->offer ? m->offer(m->offer_opaque, name) : -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

/**
 * ram_find() - Find a block by its name
 * @m:		Guest memory
 * @name:	As in the migration stream
 *
 * Return: the block, or NULL
 */
struct ram_block *ram_find(struct memory *m, const char *name)
{
	struct ram_block *b, *found = NULL;

	pthread_mutex_lock(&m->lock);
	list_for_each (b, &m->blocks, link)
		if (!strcmp(b->name, name))
			found = b;
	pthread_mutex_unlock(&m->lock);
	return found;
}

static void maps_follow(struct memory *m, struct ram_block *b, uint64_t old_size)
{
	struct memory_map *map;

	list_for_each (map, &m->maps, link)
		if (map->block == b && !map->offset && map->size == old_size)
			map->size = b->size;
}

/**
 * ram_resize() - Change how much of a resizable block is in use
 * @m:		Guest memory
 * @b:		The block
 * @size:	Bytes, page aligned, at most @b->resizable_max. What lies beyond reads as zeros when
 *		it comes back
 * @e:		Set on failure
 *
 * Mappings of the whole block follow.
 *
 * Errors: EINVAL bad size; else as the listeners
 * Return: 0, or a negative errno
 */
int ram_resize(struct memory *m, struct ram_block *b, uint64_t size, struct err *e)
{
	uint64_t old = b->size;

	if (!size || size % page_size() || size > b->resizable_max)
		return err_set(e, EINVAL, "%s: can't have %#" PRIx64 " bytes, at most %#" PRIx64,
			       b->name, size, b->resizable_max);
	memory_begin(m);
	if (size < old)
		memset(b->hva + size, 0, old - size);
	b->size = size;
	maps_follow(m, b, old);
	return memory_commit(m, e);
}

/**
 * ram_destroy() - Release a block that no mapping shows any more
 * @m:		Guest memory
 * @b:		The block, or NULL. Nobody may hold a pointer into it
 */
void ram_destroy(struct memory *m, struct ram_block *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&m->lock);
	list_del(&b->link);
	pthread_mutex_unlock(&m->lock);
	block_free(b);
}

/**
 * memory_track() - Begin or end to note what this process writes
 * @m:		Guest memory
 * @on:		Begin
 * @e:		Set on failure
 *
 * Bitmaps stay allocated afterwards: a writer may be on its way to them.
 *
 * Errors: ENOMEM
 * Return: 0, or a negative errno
 */
int memory_track(struct memory *m, bool on, struct err *e)
{
	struct memory_listener *l;
	struct ram_block *b;
	int r = 0;

	pthread_mutex_lock(&m->lock);
	list_for_each (b, &m->blocks, link)
		if (r == 0 && on)
			r = make_bitmap(b, e);
	if (r == 0)
		__atomic_store_n(&m->tracking, on, __ATOMIC_SEQ_CST);
	list_for_each (l, &m->listeners, link)
		if (r == 0 && l->tracking)
			l->tracking(l, on);
	pthread_mutex_unlock(&m->lock);
	return r;
}
