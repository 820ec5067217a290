/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the windows of all mappings are cut at every boundary; each piece shows the
 * window of highest priority (of the same priority: the one added last); neighbours that continue
 * each other become one again. The result is written into a buffer that was current MEMORY_VIEWS
 * changes ago and then published. A reader that is still in that buffer sees its generation change
 * and looks again in the new one.
 *
 * There is a view for each address space; they differ by the mappings that only SMM sees.
 *
 * Buffers are only ever replaced by ones twice as large, and the old ones are kept to the end, so a
 * late reader never touches freed memory.
 */
#include "memory/view.h"
#include "base/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A growing set of cut points. */
struct cuts {
	gpa_t *at;
	size_t len;
};

static int cut_compare(const void *a, const void *b)
{
	gpa_t x = *(const gpa_t *)a, y = *(const gpa_t *)b;

	return x < y ? -1 : x > y;
}

static int cuts_collect(struct memory *m, struct cuts *c, struct err *e)
{
	struct memory_map *map;
	size_t n = 0;

	list_for_each (map, &m->maps, link)
		n += 2;
	c->len = 0;
	c->at = mem_calloc(n + 1, sizeof(*c->at));
	if (!c->at)
		return err_set(e, ENOMEM, "no memory for a view of %zu mappings", n / 2);
	list_for_each (map, &m->maps, link) {
		if (!map->enabled)
			continue;
		c->at[c->len++] = map->gpa;
		c->at[c->len++] = map->gpa + map->size;
	}
	qsort(c->at, c->len, sizeof(*c->at), cut_compare);
	return 0;
}

static struct memory_map *map_on_top(struct memory *m, enum memory_space space, gpa_t gpa)
{
	struct memory_map *map, *top = NULL;

	list_for_each (map, &m->maps, link)
		if (map->enabled && (!map->smm_only || space == MEMORY_SMM) && gpa >= map->gpa &&
		    gpa - map->gpa < map->size && (!top || map->priority >= top->priority))
			top = map;
	return top;
}

static bool continues(const struct memory_range *last, const struct memory_range *r)
{
	return last->gpa + last->size == r->gpa && last->block == r->block &&
	       last->offset + last->size == r->offset && last->readonly == r->readonly;
}

/* Readers copy ranges while they may be rewritten, so the buffer is written field by field,
 * atomically. */
static void range_store(struct memory_range *to, const struct memory_range *r)
{
	__atomic_store_n(&to->gpa, r->gpa, __ATOMIC_RELAXED);
	__atomic_store_n(&to->size, r->size, __ATOMIC_RELAXED);
	__atomic_store_n(&to->block, r->block, __ATOMIC_RELAXED);
	__atomic_store_n(&to->offset, r->offset, __ATOMIC_RELAXED);
	__atomic_store_n(&to->readonly, r->readonly, __ATOMIC_RELAXED);
}

static void range_load(struct memory_range *to, const struct memory_range *r)
{
	to->gpa = __atomic_load_n(&r->gpa, __ATOMIC_RELAXED);
	to->size = __atomic_load_n(&r->size, __ATOMIC_RELAXED);
	to->block = __atomic_load_n(&r->block, __ATOMIC_RELAXED);
	to->offset = __atomic_load_n(&r->offset, __ATOMIC_RELAXED);
	to->readonly = __atomic_load_n(&r->readonly, __ATOMIC_RELAXED);
}

static void view_append(struct memory_view *v, const struct memory_range *r)
{
	struct memory_range last;

	if (v->len) {
		range_load(&last, &v->ranges[v->len - 1]);
		if (continues(&last, r)) {
			last.size += r->size;
			range_store(&v->ranges[v->len - 1], &last);
			return;
		}
	}
	range_store(&v->ranges[v->len], r);
	__atomic_store_n(&v->len, v->len + 1, __ATOMIC_RELAXED);
}

static void view_fill(struct memory *m, enum memory_space space, struct memory_view *v,
		      const struct cuts *c)
{
	for (size_t i = 0; i + 1 < c->len; i++) {
		gpa_t gpa = c->at[i], size = c->at[i + 1] - gpa;
		struct memory_map *map = size ? map_on_top(m, space, gpa) : NULL;

		if (!map || !map->block)
			continue;
		view_append(v, &(struct memory_range){
				       .gpa = gpa,
				       .size = size,
				       .block = map->block,
				       .offset = map->offset + (gpa - map->gpa),
				       .readonly = map->readonly || map->block->readonly,
			       });
	}
}

/* The next buffer of a space, large enough for @len ranges. */
static struct memory_view *view_buffer(struct memory *m, struct memory_views *views, size_t len)
{
	struct memory_view **slot = &views->buffer[views->next];
	struct memory_view *v = *slot;
	size_t room = v ? v->room : 16;

	if (v && len <= room)
		return v;
	while (room < len)
		room *= 2;
	v = mem_zalloc(sizeof(*v) + room * sizeof(v->ranges[0]));
	if (!v)
		return NULL;
	v->room = room;
	if (*slot) {
		(*slot)->retired = m->retired;
		m->retired = *slot;
	}
	*slot = v;
	return v;
}

/* As the writer side of a sequence lock: odd generation, content, even generation. */
static void view_rewrite(struct memory *m, enum memory_space space, struct memory_view *v,
			 const struct cuts *c)
{
	__atomic_store_n(&v->generation, v->generation + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&v->len, 0, __ATOMIC_RELAXED);
	view_fill(m, space, v, c);
	__atomic_store_n(&v->generation, v->generation + 1, __ATOMIC_RELEASE);
}

static int listeners_tell(struct memory *m, enum memory_space space, const struct memory_view *v,
			  struct err *e)
{
	struct memory_listener *l;
	int r = 0;

	list_for_each (l, &m->listeners, link)
		if (r == 0)
			r = l->changed(l, space, v, e);
	return r;
}

static int space_update(struct memory *m, enum memory_space space, const struct cuts *c,
			struct err *e)
{
	struct memory_views *views = &m->views[space];
	struct memory_view *v = view_buffer(m, views, c->len);

	if (!v)
		return err_set(e, ENOMEM, "no memory for a view of %zu ranges", c->len);
	view_rewrite(m, space, v, c);
	views->next = (views->next + 1) % MEMORY_VIEWS;
	__atomic_store_n(&views->now, v, __ATOMIC_RELEASE);
	return listeners_tell(m, space, v, e);
}

/**
 * view_update() - Make the current views of the mappings, publish them, tell the listeners
 * @m:		Guest memory, locked
 * @e:		Set on failure
 *
 * A view is published first: a vCPU that exits while the slots change finds memory where it will
 * be.
 *
 * Errors: ENOMEM; else as the listeners
 * Return: 0, or a negative errno
 */
int view_update(struct memory *m, struct err *e)
{
	struct cuts c;
	int r = cuts_collect(m, &c, e);

	if (r < 0)
		return r;
	for (unsigned int space = 0; space < m->spaces && r == 0; space++)
		r = space_update(m, (enum memory_space)space, &c, e);
	free(c.at);
	return r;
}

/**
 * view_destroy_all() - Release every buffer
 * @m:		Guest memory that nobody reads any more
 */
void view_destroy_all(struct memory *m)
{
	for (size_t i = 0; i < MEMORY_SPACES * MEMORY_VIEWS; i++)
		free(m->views[i / MEMORY_VIEWS].buffer[i % MEMORY_VIEWS]);
	memset(m->views, 0, sizeof(m->views));
	while (m->retired) {
		struct memory_view *v = m->retired;

		m->retired = v->retired;
		free(v);
	}
}

/* Index of the last range that begins at or below @gpa; bounded by the buffer even while it is
 * rewritten. */
static size_t search(const struct memory_view *v, size_t len, gpa_t gpa)
{
	size_t lo = 0, hi = len;

	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;

		if (__atomic_load_n(&v->ranges[mid].gpa, __ATOMIC_RELAXED) <= gpa)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

static bool covers(const struct memory_range *r, gpa_t gpa)
{
	return gpa >= r->gpa && gpa - r->gpa < r->size;
}

/* One attempt; -1 if the buffer was rewritten meanwhile. */
static int view_try(const struct memory_view *v, gpa_t gpa, struct memory_range *ret)
{
	static _Thread_local size_t hint; /* most accesses follow one another in the same range */
	uint64_t generation = __atomic_load_n(&v->generation, __ATOMIC_ACQUIRE);
	size_t len = __atomic_load_n(&v->len, __ATOMIC_RELAXED);
	bool found = false;

	if (hint < len) {
		range_load(ret, &v->ranges[hint]);
		found = covers(ret, gpa);
	}
	if (!found && len) {
		hint = search(v, len, gpa);
		range_load(ret, &v->ranges[hint]);
		found = covers(ret, gpa);
	}
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if ((generation & 1) || __atomic_load_n(&v->generation, __ATOMIC_RELAXED) != generation)
		return -1;
	return found;
}

/**
 * view_find() - Find the range an address is in
 * @views:	Of whoever looks
 * @gpa:	Address
 * @ret:	Filled in if found
 *
 * Lock-free; tries again only when the mappings changed several times during the search.
 *
 * Return: whether the address is RAM or ROM
 */
bool view_find(const struct memory_views *views, gpa_t gpa, struct memory_range *ret)
{
	int found;

	do {
		const struct memory_view *v = __atomic_load_n(&views->now, __ATOMIC_ACQUIRE);

		if (!v)
			return false;
		found = view_try(v, gpa, ret);
	} while (found < 0);
	return found;
}

/**
 * memory_ranges() - What is where, as devices see it now
 * @m:		Guest memory
 * @ret:	Set: RAM and ROM by address; the caller frees it
 *
 * Return: how many
 */
size_t memory_ranges(struct memory *m, struct memory_range **ret)
{
	const struct memory_view *v;
	size_t len;

	pthread_mutex_lock(&m->lock);
	v = m->views[MEMORY_NORMAL].now;
	len = v ? v->len : 0;
	*ret = mem_calloc(len + 1, sizeof(**ret));
	if (len)
		memcpy(*ret, v->ranges, len * sizeof(**ret));
	pthread_mutex_unlock(&m->lock);
	return len;
}
