/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see lazy.h. */
#include "base/owned.h"
#include "memory/demand.h"
#include "migrate/snapshot/lazy_room.h"
#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	UNIT = 64 * 1024,        /* brought at once, if pages aren't larger */
	LOCKS = 16,              /* units that can be brought at a time */
	WORTH = 4 * 1024 * 1024, /* smaller blocks are read before the guest runs */
	NICE = 10,               /* of the thread that nobody waits for */
};

/**
 * struct lazy_block - A block that is brought later
 * @index:	In the file
 * @unit:	Bytes brought at once
 * @done:	Units that were
 */
struct lazy_block {
	size_t index;
	uint64_t unit;
	struct bitmap done;
};

/**
 * struct lazy - See lazy.h
 * @file:	The snapshot
 * @fd:		It
 * @demand_fd:	Watches RAM
 * @wake_fd:	Readable: the threads leave
 * @blocks, @blocks_len, @blocks_room: What is brought
 * @locks:	Of units, by number
 * @total, @loaded: Bytes of pages in the file; @loaded is atomic
 * @quit, @complete, @broken: Atomic
 * @hooks:	See there
 * @asked, @rest: The threads
 * @started:	They run
 */
struct lazy {
	struct mapped file;
	int fd, demand_fd, wake_fd;
	struct lazy_block *blocks;
	size_t blocks_len, blocks_room;
	pthread_mutex_t locks[LOCKS];
	uint64_t total, loaded;
	bool quit, complete, broken;
	struct lazy_hooks hooks;
	pthread_t asked, rest;
	bool started;
};

/**
 * lazy_create() - Get ready to read a file later
 * @ret:	Set on success only; lazy_destroy() it
 * @fd:		The file
 * @begin:	Where in it the stream begins
 * @e:		Set on failure only
 *
 * Errors: as userfaultfd(2), mapped_open()
 * Return: 0, or a negative errno
 */
int lazy_create(struct lazy **ret, int fd, uint64_t begin, struct err *e)
{
	struct lazy *l = mem_zalloc(sizeof(*l));
	int r = 0;

	l->fd = dup(fd);
	l->demand_fd = -1;
	l->wake_fd = eventfd(0, EFD_CLOEXEC);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&l->locks[i], NULL);
	mapped_begin(&l->file, l->fd, begin);
	if (l->fd < 0 || l->wake_fd < 0)
		r = err_sys(e, "open the snapshot twice");
	if (r == 0)
		r = demand_open(&l->demand_fd, e);
	if (r == 0)
		r = mapped_open(&l->file, l->fd, begin, e);
	if (r < 0)
		lazy_destroy(l);
	else
		*ret = l;
	return r;
}

/**
 * lazy_file() - The file, for whoever reads its list of blocks
 * @l:	Created
 */
struct mapped *lazy_file(struct lazy *l)
{
	return &l->file;
}

/**
 * lazy_takes() - Is a block worth being brought later?
 * @b:	The block
 */
bool lazy_takes(const struct ram_block *b)
{
	return !b->readonly && b->size >= WORTH &&
	       b->size % MAX(b->page_bytes, (uint64_t)UNIT) == 0;
}

/**
 * lazy_add() - Bring a block later
 * @l:	Created; the block is the last of its file's
 * @e:	Set on failure only
 *
 * Errors: as demand_watch(); ENOMEM
 * Return: 0, or a negative errno
 */
int lazy_add(struct lazy *l, struct err *e)
{
	struct mapped_block *mb = &l->file.blocks[l->file.blocks_len - 1];
	struct lazy_block *lb;
	int ret;

	if (l->blocks_len == l->blocks_room) {
		l->blocks_room += 8;
		l->blocks = mem_realloc(l->blocks, l->blocks_room * sizeof(*l->blocks));
	}
	lb = &l->blocks[l->blocks_len];
	*lb = (struct lazy_block){.index = l->file.blocks_len - 1,
				  .unit = MAX(mb->block->page_bytes, (uint64_t)UNIT)};
	ret = bitmap_create(&lb->done, mb->block->size / lb->unit);
	if (ret < 0)
		return err_set(e, ENOMEM, "a bitmap for %s", mb->block->name);
	ret = demand_watch(l->demand_fd, mb->block, e);
	if (ret < 0) {
		bitmap_destroy(&lb->done);
		return ret;
	}
	l->blocks_len++;
	l->total += bitmap_count(&mb->present) * WIRE_PAGE;
	return 0;
}

static void fail(struct lazy *l, const struct err *e)
{
	if (!__atomic_exchange_n(&l->broken, true, __ATOMIC_RELAXED) && l->hooks.failed)
		l->hooks.failed(l->hooks.opaque, e);
}

/* A unit of small pages: those in the file, run by run. */
static int bring_pages(struct lazy *l, const struct mapped_block *mb, uint64_t first, uint64_t end,
		       uint8_t *room, struct err *e)
{
	int ret = mapped_read(&l->file, mb, first, end - first, room, e);
	uint64_t from = bitmap_next(&mb->present, first), to;

	for (; from < end && ret == 0; from = bitmap_next(&mb->present, to)) {
		to = MIN(bitmap_next_zero(&mb->present, from), end);
		ret = demand_give(l->demand_fd, mb->block, from * WIRE_PAGE,
				  (to - from) * WIRE_PAGE, room + (from - first) * WIRE_PAGE, e);
		__atomic_fetch_add(&l->loaded, (to - from) * WIRE_PAGE, __ATOMIC_RELAXED);
	}
	return ret;
}

/* A huge page: put together, and given as a whole. */
static int bring_huge(struct lazy *l, const struct mapped_block *mb, uint64_t first, uint64_t end,
		      struct err *e)
{
	OWNED(uint8_t) *room = mem_zalloc((end - first) * WIRE_PAGE);
	int ret = mapped_read(&l->file, mb, first, end - first, room, e);
	uint64_t page;

	for (page = bitmap_next(&mb->present, first); page < end;
	     page = bitmap_next(&mb->present, page + 1))
		__atomic_fetch_add(&l->loaded, WIRE_PAGE, __ATOMIC_RELAXED);
	return ret < 0 ? ret
		       : demand_give(l->demand_fd, mb->block, first * WIRE_PAGE,
				     (end - first) * WIRE_PAGE, room, e);
}

/* Brings a unit if nobody did. */
static int bring(struct lazy *l, struct lazy_block *lb, uint64_t unit, uint8_t *room, struct err *e)
{
	const struct mapped_block *mb = &l->file.blocks[lb->index];
	uint64_t pages = lb->unit / WIRE_PAGE, first = unit * pages;
	pthread_mutex_t *lock = &l->locks[unit % LOCKS];
	int ret = 0;

	pthread_mutex_lock(lock);
	if (!bitmap_test(&lb->done, unit)) {
		ret = mb->block->page_bytes > WIRE_PAGE
			      ? bring_huge(l, mb, first, first + pages, e)
			      : bring_pages(l, mb, first, first + pages, room, e);
		if (ret == 0)
			bitmap_set(&lb->done, unit);
	}
	pthread_mutex_unlock(lock);
	return ret < 0 ? err_in(e, "read guest memory on demand") : 0;
}

static struct lazy_block *block_of(struct lazy *l, const uint8_t *at, uint64_t *ret_offset)
{
	const struct ram_block *b;

	for (size_t i = 0; i < l->blocks_len; i++) {
		b = l->file.blocks[l->blocks[i].index].block;
		*ret_offset = (uint64_t)((uintptr_t)at - (uintptr_t)b->hva);
		if (*ret_offset < b->size)
			return &l->blocks[i];
	}
	return NULL;
}

/* Somebody waits for the page at @at: its unit, and itself if it isn't in the file. */
static int answer(struct lazy *l, const uint8_t *at, uint8_t *room, struct err *e)
{
	uint64_t offset;
	struct lazy_block *lb = block_of(l, at, &offset);
	const struct ram_block *b;
	int ret;

	if (!lb)
		return 0;
	b = l->file.blocks[lb->index].block;
	ret = bring(l, lb, offset / lb->unit, room, e);
	if (ret < 0)
		return ret;
	offset = ALIGN_DOWN(offset, b->page_bytes);
	if (b->page_bytes == WIRE_PAGE)
		return demand_give(l->demand_fd, b, offset, WIRE_PAGE, NULL, e);
	return demand_give(l->demand_fd, b, offset, b->page_bytes, memset(room, 0, b->page_bytes),
			   e);
}

static bool quits(const struct lazy *l)
{
	return __atomic_load_n(&l->quit, __ATOMIC_RELAXED);
}

static uint8_t *room_make(const struct lazy *l)
{
	uint64_t bytes = UNIT;
	uint8_t *room;

	for (size_t i = 0; i < l->blocks_len; i++)
		bytes = MAX(bytes, l->blocks[i].unit);
	room = aligned_alloc(WIRE_PAGE, bytes);
	if (!room)
		abort(); /* out of memory */
	return room;
}

/* Who asked was woken by the end of the watch: all is there, and nothing can be given any more. */
static bool over(const struct lazy *l, const struct err *e)
{
	return e->code == ENOENT && quits(l);
}

static void *asked_main(void *opaque)
{
	struct lazy *l = opaque;
	struct pollfd fds[] = {{.fd = l->demand_fd, .events = POLLIN},
			       {.fd = l->wake_fd, .events = POLLIN}};
	OWNED(uint8_t) *room = room_make(l);
	const uint8_t *at;
	struct err e;

	while (!quits(l)) {
		if (poll(fds, 2, -1) < 0 || !fds[0].revents)
			continue;
		while ((at = demand_next(l->demand_fd)))
			if (answer(l, at, room, &e) < 0 && !over(l, &e))
				fail(l, &e);
	}
	return NULL;
}

static void finish(struct lazy *l)
{
	uint64_t one = 1;

	__atomic_store_n(&l->quit, true, __ATOMIC_SEQ_CST); /* before a page is refused for it */
	for (size_t i = 0; i < l->blocks_len; i++)
		demand_unwatch(l->demand_fd, l->file.blocks[l->blocks[i].index].block);
	__atomic_store_n(&l->complete, true, __ATOMIC_RELEASE);
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		abort(); /* can't happen: the counter is far from full */
	if (l->hooks.finished)
		l->hooks.finished(l->hooks.opaque);
}

static void *rest_main(void *opaque)
{
	struct lazy *l = opaque;
	OWNED(uint8_t) *room = room_make(l);
	struct err e = {0};
	uint64_t unit;
	int ret = 0;

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	for (size_t i = 0; i < l->blocks_len; i++)
		for (unit = 0; unit < l->blocks[i].done.bits && ret == 0 && !quits(l); unit++)
			ret = bring(l, &l->blocks[i], unit, room, &e);
	if (ret < 0)
		fail(l, &e);
	else if (!quits(l))
		finish(l);
	return NULL;
}

/**
 * lazy_listen() - Say who wants to know of the end
 * @l:		Not started
 * @hooks:	Copied
 */
void lazy_listen(struct lazy *l, const struct lazy_hooks *hooks)
{
	l->hooks = *hooks;
}

/**
 * lazy_start() - Begin to bring pages
 * @l:	All blocks are added
 * @e:	Set on failure only
 *
 * Errors: as pthread_create(3)
 * Return: 0, or a negative errno
 */
int lazy_start(struct lazy *l, struct err *e)
{
	int ret = pthread_create(&l->asked, NULL, asked_main, l);

	if (ret)
		return err_ret(e, -ret, "start a thread for guest memory");
	pthread_setname_np(l->asked, "lazy asked");
	ret = pthread_create(&l->rest, NULL, rest_main, l);
	if (ret)
		abort(); /* the first one waits for what will never come */
	pthread_setname_np(l->rest, "lazy rest");
	l->started = true;
	return 0;
}

/**
 * lazy_complete() - Is all of it there?
 * @l:	Any thread
 */
bool lazy_complete(const struct lazy *l)
{
	return __atomic_load_n(&l->complete, __ATOMIC_ACQUIRE);
}

/**
 * lazy_progress() - How far it is
 * @l:		Any thread
 * @ret_loaded, @ret_total: Bytes
 */
void lazy_progress(const struct lazy *l, uint64_t *ret_loaded, uint64_t *ret_total)
{
	*ret_loaded = __atomic_load_n(&l->loaded, __ATOMIC_RELAXED);
	*ret_total = l->total;
}

/**
 * lazy_destroy() - End it
 * @l:	May be NULL; not from its own threads
 */
void lazy_destroy(struct lazy *l)
{
	uint64_t one = 1;

	if (!l)
		return;
	__atomic_store_n(&l->quit, true, __ATOMIC_RELAXED);
	if (l->started && write(l->wake_fd, &one, sizeof(one)) > 0) {
		pthread_join(l->rest, NULL);
		pthread_join(l->asked, NULL);
	}
	for (size_t i = 0; i < l->blocks_len; i++)
		bitmap_destroy(&l->blocks[i].done);
	free(l->blocks);
	mapped_end(&l->file);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&l->locks[i]);
	fd_close(&l->demand_fd);
	fd_close(&l->wake_fd);
	fd_close(&l->fd);
	free(l);
}
