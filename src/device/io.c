/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: io_region_set() and its like change the set of regions under the space's
 * lock and publish a new view (io_view.c makes it, epoch.c frees the old one when no vCPU can be in
 * it). The dispatcher below takes no lock of its own: it enters an epoch, finds the range, cuts the
 * access to what the region takes and calls the handler under the region's lock.
 *
 * Doorbells are bound in the kernel where it can; a bound one never comes here. One that isn't
 * bound (no ioeventfd, or a region that overlaps another at that address) is signalled here, so a
 * doorbell always works.
 */
#include "device/io.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "device/epoch.h"
#include "device/io_view.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

/**
 * struct io_doors - The doorbells of a region as vCPUs see them; immutable
 * @len:	How many
 * @door:	Copies
 */
struct io_doors {
	size_t len;
	struct io_doorbell door[];
};

/**
 * struct io_space - Ports and memory-mapped I/O
 * @lock:	Protects the lists and the making of views; a leaf lock but for doorbell binding
 * @regions:	By kind, in the order they were added
 * @view:	By kind; atomic
 * @ops:	Binds doorbells
 */
struct io_space {
	pthread_mutex_t lock;
	struct list regions[IO_MEMORY + 1];
	struct io_view *view[IO_MEMORY + 1];
	struct io_doorbell_ops ops;
};

/**
 * io_space_create() - Make an empty pair of address spaces
 * @ret:	Set on success; release with io_space_destroy()
 * @ops:	Copied; NULL: no doorbell is bound in the kernel
 * @e:		Set on failure only
 *
 * Return: 0
 */
int io_space_create(struct io_space **ret, const struct io_doorbell_ops *ops, struct err *e)
{
	struct io_space *s = mem_zalloc(sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	if (ops)
		s->ops = *ops;
	for (int kind = IO_PORT; kind <= IO_MEMORY; kind++) {
		list_init(&s->regions[kind]);
		s->view[kind] = io_view_make(&s->regions[kind]);
	}
	*ret = s;
	return 0;
}

/**
 * io_space_destroy() - Release the spaces; no vCPU runs, no region is left
 * @s:		May be NULL
 */
void io_space_destroy(struct io_space *s)
{
	if (!s)
		return;
	for (int kind = IO_PORT; kind <= IO_MEMORY; kind++) {
		assert(list_empty(&s->regions[kind]));
		free(s->view[kind]);
	}
	epoch_collect();
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void publish(struct io_space *s, enum io_kind kind)
{
	struct io_view *new = io_view_make(&s->regions[kind]);

	epoch_free(__atomic_exchange_n(&s->view[kind], new, __ATOMIC_SEQ_CST));
}

static void doors_publish(struct io_region *r)
{
	struct io_doors *new = NULL;
	struct io_doorbell *d;
	size_t len = 0;

	list_for_each (d, &r->doorbells, link)
		len++;
	if (len) {
		new = mem_zalloc(sizeof(*new) + len * sizeof(*d));
		list_for_each (d, &r->doorbells, link)
			new->door[new->len++] = *d;
	}
	epoch_free(__atomic_exchange_n(&r->doors, new, __ATOMIC_SEQ_CST));
}

static void doorbell_bind(struct io_region *r, struct io_doorbell *d, bool on)
{
	struct io_doorbell_ops *ops = &r->space->ops;

	if (d->bound == on || !ops->bind)
		return;
	if (!ops->bind(ops->opaque, r->kind, r->base + d->offset, d, on) || !on)
		d->bound = on;
}

static void doorbells_bind(struct io_region *r, bool on)
{
	struct io_doorbell *d;

	list_for_each (d, &r->doorbells, link)
		doorbell_bind(r, d, on);
}

/**
 * io_region_add() - Let a region take part; it answers if it is enabled
 * @s:		The spaces
 * @r:		Filled in by the caller up to @enabled; stays where it is until io_region_del()
 */
void io_region_add(struct io_space *s, struct io_region *r)
{
	r->space = s;
	r->doors = NULL;
	list_init(&r->doorbells);
	pthread_mutex_lock(&s->lock);
	list_add_tail(&s->regions[r->kind], &r->link);
	if (r->enabled)
		publish(s, r->kind);
	pthread_mutex_unlock(&s->lock);
}

/**
 * io_region_set() - Move, show or hide a region; doorbells follow
 * @r:		The region; any thread
 * @base:	New first address
 * @enabled:	Answers there
 *
 * A vCPU may still be in a handler, having come by the old address.
 */
void io_region_set(struct io_region *r, uint64_t base, bool enabled)
{
	pthread_mutex_lock(&r->space->lock);
	if (r->base != base || r->enabled != enabled) {
		doorbells_bind(r, false);
		r->base = base;
		r->enabled = enabled;
		publish(r->space, r->kind);
		doorbells_bind(r, enabled);
	}
	pthread_mutex_unlock(&r->space->lock);
}

/**
 * io_region_del() - Take a region out for good
 * @r:		The region; its doorbells are unbound. Does nothing if it was never added
 *
 * Waits until no vCPU is in its handlers: not for handlers to call, nor for a thread that holds
 * @r->lock.
 */
void io_region_del(struct io_region *r)
{
	struct io_space *s = r->space;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	doorbells_bind(r, false);
	list_del(&r->link);
	if (r->enabled)
		publish(s, r->kind);
	pthread_mutex_unlock(&s->lock);
	epoch_wait();
	free(r->doors);
	r->doors = NULL;
	r->space = NULL;
	r->enabled = false;
}

/**
 * io_doorbell_add() - Turn a guest write into an eventfd signal
 * @r:		A region that was added
 * @d:		Stays where it is until io_doorbell_del()
 */
void io_doorbell_add(struct io_region *r, struct io_doorbell *d)
{
	pthread_mutex_lock(&r->space->lock);
	d->bound = false;
	list_add_tail(&r->doorbells, &d->link);
	doors_publish(r);
	doorbell_bind(r, d, r->enabled);
	pthread_mutex_unlock(&r->space->lock);
}

/**
 * io_doorbell_del() - Take a doorbell away
 * @r:		The region it was added to
 * @d:		The doorbell. A vCPU in the middle of a write may still signal its fd once: close
 *that after the vCPUs have left, or keep it open
 */
void io_doorbell_del(struct io_region *r, struct io_doorbell *d)
{
	pthread_mutex_lock(&r->space->lock);
	doorbell_bind(r, d, false);
	list_del(&d->link);
	doors_publish(r);
	pthread_mutex_unlock(&r->space->lock);
}

static bool doorbell_rings(const struct io_doorbell *d, uint64_t offset, uint64_t value,
			   unsigned int size)
{
	return d->offset == offset && (!d->size || d->size == size) &&
	       (!d->datamatch || d->match == value);
}

static bool doors_ring(const struct io_doors *doors, uint64_t offset, uint64_t value,
		       unsigned int size)
{
	uint64_t one = 1;

	for (size_t i = 0; doors && i < doors->len; i++)
		if (doorbell_rings(&doors->door[i], offset, value, size))
			return write(doors->door[i].fd, &one, sizeof(one)) >= 0 || errno == EAGAIN;
	return false;
}

/* The largest power of two that fits @left bytes and the alignment of @addr, at most 8. */
static unsigned int piece(uint64_t addr, uint64_t left)
{
	unsigned int n = 8;

	while (n > left || addr % n)
		n /= 2;
	return n;
}

static void read_piece(const struct io_region *r, uint64_t offset, uint8_t *data, unsigned int n)
{
	unsigned int min = r->ops->min ? r->ops->min : 1;
	unsigned int max = r->ops->max ? r->ops->max : 8;
	unsigned int step = MIN(n, max);
	uint8_t wide[8];

	if (n < min) {
		store_le64(wide, r->ops->read(r->opaque, ALIGN_DOWN(offset, min), min));
		memcpy(data, wide + offset % min, n);
		return;
	}
	for (unsigned int at = 0; at < n; at += step) {
		store_le64(wide, r->ops->read(r->opaque, offset + at, step));
		memcpy(data + at, wide, step);
	}
}

static void write_piece(const struct io_region *r, uint64_t offset, const uint8_t *data,
			unsigned int n)
{
	unsigned int min = r->ops->min ? r->ops->min : 1;
	unsigned int max = r->ops->max ? r->ops->max : 8;
	unsigned int step = MIN(n, max);
	uint8_t wide[8] = {0};

	if (n < min) {
		memcpy(wide + offset % min, data, n);
		r->ops->write(r->opaque, ALIGN_DOWN(offset, min), load_le64(wide), min);
		return;
	}
	for (unsigned int at = 0; at < n; at += step) {
		memset(wide, 0, sizeof(wide));
		memcpy(wide, data + at, step);
		r->ops->write(r->opaque, offset + at, load_le64(wide), step);
	}
}

static void region_lock(const struct io_region *r)
{
	if (r->lock)
		pthread_mutex_lock(r->lock);
}

static void region_unlock(const struct io_region *r)
{
	if (r->lock)
		pthread_mutex_unlock(r->lock);
}

/* How much of [addr, addr + size) one region (or a hole) answers, as one aligned piece. */
static unsigned int cut(const struct io_range *range, uint64_t addr, unsigned int size)
{
	return piece(addr, range && range->end - addr < size - 1 ? range->end - addr + 1 : size);
}

/**
 * io_read() - A vCPU reads from a port or from memory that isn't RAM
 * @s:		The spaces
 * @kind:	Which
 * @addr:	Address; an access over the end of the space wraps
 * @data:	Filled, little-endian
 * @size:	Bytes, any number
 */
void io_read(struct io_space *s, enum io_kind kind, uint64_t addr, void *data, unsigned int size)
{
	const struct io_view *view;
	uint8_t *to = data;

	epoch_enter();
	view = __atomic_load_n(&s->view[kind], __ATOMIC_SEQ_CST);
	while (size) {
		const struct io_range *range = io_view_find(view, addr);
		unsigned int n = cut(range, addr, size);

		memset(to, 0xff, n);
		if (range) {
			region_lock(range->region);
			read_piece(range->region, addr - range->start, to, n);
			region_unlock(range->region);
		}
		to += n;
		addr += n;
		size -= n;
	}
	epoch_leave();
}

static void write_range(const struct io_range *range, uint64_t addr, const uint8_t *data,
			unsigned int n)
{
	struct io_region *r = range->region;
	struct io_doors *doors = __atomic_load_n(&r->doors, __ATOMIC_SEQ_CST);
	uint8_t wide[8] = {0};

	memcpy(wide, data, n);
	if (doors_ring(doors, addr - range->start, load_le64(wide), n))
		return;
	region_lock(r);
	write_piece(r, addr - range->start, data, n);
	region_unlock(r);
}

/**
 * io_write() - A vCPU writes to a port or to memory that isn't RAM
 * @s:		The spaces
 * @kind:	Which
 * @addr:	Address; an access over the end of the space wraps
 * @data:	Little-endian
 * @size:	Bytes, any number
 */
void io_write(struct io_space *s, enum io_kind kind, uint64_t addr, const void *data,
	      unsigned int size)
{
	const struct io_view *view;
	const uint8_t *from = data;

	epoch_enter();
	view = __atomic_load_n(&s->view[kind], __ATOMIC_SEQ_CST);
	while (size) {
		const struct io_range *range = io_view_find(view, addr);
		unsigned int n = cut(range, addr, size);

		if (range)
			write_range(range, addr, from, n);
		from += n;
		addr += n;
		size -= n;
	}
	epoch_leave();
}
