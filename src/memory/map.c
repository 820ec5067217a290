/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see memory.h. This file changes the set of mappings; view.c makes the
 * flattened view of it after each change, or once for several between memory_begin() and
 * memory_commit(). When a listener refuses a change the mapping stays as asked: the gate and the
 * vCPUs' exits still find the memory there, only slower.
 */
#include "base/owned.h"
#include "memory/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/**
 * memory_init() - Make an empty guest memory
 * @m:		Filled in; release with memory_destroy()
 */
void memory_init(struct memory *m)
{
	pthread_mutexattr_t attr;

	*m = (struct memory){.spaces = 1};
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&m->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	list_init(&m->blocks);
	list_init(&m->maps);
	list_init(&m->listeners);
}

/**
 * memory_use_smm() - Give vCPUs in system management mode a view of their own
 * @m:		Without mappings and listeners yet
 */
void memory_use_smm(struct memory *m)
{
	m->spaces = MEMORY_SPACES;
}

/**
 * memory_destroy() - Release mappings, blocks and views; the files stay with whoever else holds
 * them
 * @m:		Initialised; no vCPU runs and no listener is attached any more
 */
void memory_destroy(struct memory *m)
{
	struct memory_map *map, *next_map;
	struct ram_block *b, *next_block;

	list_for_each_safe (map, next_map, &m->maps, link) {
		list_del(&map->link);
		free(map);
	}
	list_for_each_safe (b, next_block, &m->blocks, link)
		ram_destroy(m, b);
	view_destroy_all(m);
	pthread_mutex_destroy(&m->lock);
}

static int map_check(const struct memory_map *map, struct err *e)
{
	const char *name = map->block ? map->block->name : "hole";
	uint64_t page = page_size();

	if (!map->size || (map->gpa | map->size | map->offset) % page)
		return err_set(e, EINVAL,
			       "%s: mapping at %#" PRIx64 " of %#" PRIx64
			       " bytes is not page aligned",
			       name, map->gpa, map->size);
	if (map->gpa + map->size < map->gpa ||
	    (map->block && (map->offset > map->block->resizable_max ||
			    map->size > map->block->resizable_max - map->offset)))
		return err_set(e, EINVAL,
			       "%s: mapping at %#" PRIx64 " of %#" PRIx64 " bytes is too large",
			       name, map->gpa, map->size);
	return 0;
}

/**
 * memory_map_add() - Show a window of a block to the guest
 * @m:		Guest memory
 * @map:	Copied; its link doesn't count
 * @ret:	Set on success, for changes; may be NULL
 * @e:		Set on failure
 *
 * Errors: EINVAL not page aligned or beyond the block; ENOMEM; else as the listeners
 * Return: 0, or a negative errno, and there is no mapping
 */
int memory_map_add(struct memory *m, const struct memory_map *map, struct memory_map **ret,
		   struct err *e)
{
	struct memory_map *copy;
	int r = map_check(map, e);

	if (r < 0)
		return r;
	copy = mem_zalloc(sizeof(*copy));
	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	*copy = *map;
	memory_begin(m);
	list_add_tail(&m->maps, &copy->link);
	r = memory_commit(m, e);
	if (r < 0) {
		memory_map_del(m, copy);
		return r;
	}
	if (ret)
		*ret = copy;
	return 0;
}

/**
 * memory_map_set() - Move, show or hide a mapping, or change whether the guest can write it
 * @m:		Guest memory
 * @map:	The mapping
 * @gpa:	Page aligned
 * @enabled:	The guest sees it
 * @readonly:	Guest writes exit
 * @e:		Set on failure
 *
 * Errors: EINVAL; else as the listeners, see the head of this file
 * Return: 0, or a negative errno
 */
int memory_map_set(struct memory *m, struct memory_map *map, gpa_t gpa, bool enabled, bool readonly,
		   struct err *e)
{
	struct memory_map wanted = *map;
	int r;

	wanted.gpa = gpa;
	r = map_check(&wanted, e);
	if (r < 0)
		return r;
	if (map->gpa == gpa && map->enabled == enabled && map->readonly == readonly)
		return 0;
	memory_begin(m);
	map->gpa = gpa;
	map->enabled = enabled;
	map->readonly = readonly;
	return memory_commit(m, e);
}

/**
 * memory_map_del() - Take a mapping away
 * @m:		Guest memory
 * @map:	The mapping, released; or NULL
 */
void memory_map_del(struct memory *m, struct memory_map *map)
{
	struct err ignored; /* removing needs no new slot, so there is nothing to report */

	if (!map)
		return;
	memory_begin(m);
	list_del(&map->link);
	free(map);
	if (memory_commit(m, &ignored) < 0)
		return;
}

/**
 * memory_begin() - Begin several changes that the guest will see as one
 * @m:		Guest memory; locked until memory_commit() of the same thread. Nests
 */
void memory_begin(struct memory *m)
{
	pthread_mutex_lock(&m->lock);
	m->depth++;
}

/**
 * memory_commit() - Let the guest see the changes since memory_begin()
 * @m:		Guest memory
 * @e:		Set on failure
 *
 * Errors: ENOMEM; else as the listeners
 * Return: 0, or a negative errno
 */
int memory_commit(struct memory *m, struct err *e)
{
	int r = 0;

	if (--m->depth == 0)
		r = view_update(m, e);
	pthread_mutex_unlock(&m->lock);
	return r;
}

/**
 * memory_listen() - Be told of every later change
 * @m:		Guest memory
 * @l:		With @changed set; stays until its list_del() under @m->lock
 */
void memory_listen(struct memory *m, struct memory_listener *l)
{
	pthread_mutex_lock(&m->lock);
	list_add_tail(&m->listeners, &l->link);
	pthread_mutex_unlock(&m->lock);
}
