/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: there is one counter, the epoch. A thread that enters notes the epoch in a
 * slot of its own (no shared cache line is written, so vCPUs don't slow each other down); 0 there
 * means it is outside. Whoever unpublishes something takes the epoch it was last seen in and raises
 * the counter: once every slot is 0 or newer, nobody can hold the old pointer. All of it is
 * sequentially consistent, so a reader that noted a newer epoch, or noted after the slots were
 * looked at, reads the new pointer.
 *
 * Slots are never freed, only handed to the next thread, so they can be walked without a lock.
 */
#include "device/epoch.h"

#include "base/list.h"
#include "base/owned.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

struct slot {
	struct slot *next;
	uint64_t epoch;     /* atomic; 0: outside */
	unsigned int depth; /* the thread's own */
	bool taken;         /* atomic */
} ALIGNED(64);

struct retired {
	struct list link;
	uint64_t epoch;
	void *memory;
};

static uint64_t epoch_now = 1;
static struct slot *slots; /* atomic; only ever grows */
static _Thread_local struct slot *own;
static pthread_key_t own_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t retired_lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf lock */
static struct list retired_list = LIST_INIT(retired_list);

static void slot_release(void *slot)
{
	__atomic_store_n(&((struct slot *)slot)->taken, false, __ATOMIC_RELEASE);
}

static void key_create(void)
{
	pthread_key_create(&own_key, slot_release);
}

static struct slot *slot_reuse(void)
{
	struct slot *s;
	bool idle;

	for (s = __atomic_load_n(&slots, __ATOMIC_ACQUIRE); s; s = s->next) {
		idle = false;
		if (__atomic_compare_exchange_n(&s->taken, &idle, true, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return s;
	}
	return NULL;
}

static struct slot *slot_new(void)
{
	struct slot *s = aligned_alloc(64, sizeof(*s));

	assert(s);
	*s = (struct slot){.taken = true, .next = __atomic_load_n(&slots, __ATOMIC_RELAXED)};
	while (!__atomic_compare_exchange_n(&slots, &s->next, s, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
	return s;
}

static void slot_take(void)
{
	pthread_once(&once, key_create);
	own = slot_reuse();
	if (!own)
		own = slot_new();
	pthread_setspecific(own_key, own);
}

/**
 * epoch_enter() - From here to epoch_leave() what the thread finds published stays allocated
 */
void epoch_enter(void)
{
	if (!own)
		slot_take();
	if (own->depth++ == 0)
		__atomic_store_n(&own->epoch, __atomic_load_n(&epoch_now, __ATOMIC_SEQ_CST),
				 __ATOMIC_SEQ_CST);
}

/**
 * epoch_leave() - End of what epoch_enter() began
 */
void epoch_leave(void)
{
	if (--own->depth == 0)
		__atomic_store_n(&own->epoch, 0, __ATOMIC_RELEASE);
}

/* Every reader that was inside when the epoch was @epoch has left. */
static bool passed(uint64_t epoch)
{
	for (struct slot *s = __atomic_load_n(&slots, __ATOMIC_SEQ_CST); s; s = s->next) {
		uint64_t seen = __atomic_load_n(&s->epoch, __ATOMIC_SEQ_CST);

		if (seen && seen <= epoch)
			return false;
	}
	return true;
}

/**
 * epoch_collect() - Free what nobody can see any more
 */
void epoch_collect(void)
{
	struct retired *r, *next;

	pthread_mutex_lock(&retired_lock);
	list_for_each_safe (r, next, &retired_list, link) {
		if (!passed(r->epoch))
			break; /* in order: those behind it are younger */
		list_del(&r->link);
		free(r->memory);
		free(r);
	}
	pthread_mutex_unlock(&retired_lock);
}

/**
 * epoch_free() - Free memory once every present reader has left
 * @unpublished: Can't be found any more by those who enter now; from malloc(); NULL does nothing
 *
 * Never waits. What can't be freed yet is freed by a later call.
 */
void epoch_free(void *unpublished)
{
	struct retired *r;

	if (!unpublished)
		return;
	r = mem_zalloc(sizeof(*r));
	r->memory = unpublished;
	pthread_mutex_lock(&retired_lock);
	r->epoch = __atomic_fetch_add(&epoch_now, 1, __ATOMIC_SEQ_CST);
	list_add_tail(&retired_list, &r->link);
	pthread_mutex_unlock(&retired_lock);
	epoch_collect();
}

/**
 * epoch_wait() - Wait until every present reader has left
 *
 * Readers are in device handlers, which don't block: this takes microseconds. A reader that waited
 * would wait for itself.
 */
void epoch_wait(void)
{
	const struct timespec pause = {.tv_nsec = 20000};
	uint64_t epoch = __atomic_fetch_add(&epoch_now, 1, __ATOMIC_SEQ_CST);

	assert(!own || own->depth == 0);
	while (!passed(epoch))
		nanosleep(&pause, NULL);
	epoch_collect();
}
