/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: reading the clock takes no lock (a sequence counter tells of a change
 * underneath). Timers wait in two queues, sorted by expiry: guest time and the host's wall clock
 * (the RTC follows that). Each queue has one timerfd, set to its first timer's expiry; setting it
 * needs no loop, so any thread may arm. The main loop reads the timerfd and runs what is due.
 *
 * Locks: a device arms under its own lock, so the order is device lock, then clock lock. When a
 * timer fires it is looked up under the clock lock, the device lock is taken without it, and then
 * it is looked at again: it may have been cancelled or moved in between. While the clock stands
 * still nothing fires, wall-clock timers neither. A turn fires so many timers, then others of the
 * loop have theirs: one that is due again at once (the host's wall clock was set back) can't hold
 * it.
 */
#include "device/timer.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/owned.h"

#include <assert.h>
#include <errno.h>
#include <sys/timerfd.h>

#define TURN_MAX 64 /* timers fired in a turn of the loop */

enum queue_kind { QUEUE_GUEST, QUEUE_WALL, QUEUES };

struct timer_queue {
	struct guest_clock *clock;
	struct list pending; /* by expiry */
	sd_event_source *source;
	int fd;
};

struct guest_clock {
	struct timer_queue queues[QUEUES];
	pthread_mutex_t lock; /* a leaf lock: protects the queues and the writing of what follows */
	unsigned int sequence; /* odd while the next two change; atomic */
	int64_t offset_ns;     /* atomic */
	bool running;          /* atomic */
};

struct timer {
	struct list link;
	struct timer_queue *queue;
	timer_fn *fn;
	void *opaque;
	pthread_mutex_t *device_lock;
	int64_t at_ns; /* -1: not pending; atomic, written under the clock lock */
};

/* Sets the timerfd to the first expiry. Clock lock held. */
static void queue_set(struct timer_queue *q)
{
	struct guest_clock *c = q->clock;
	struct itimerspec when = {0};
	int64_t at;

	if (c->running && !list_empty(&q->pending)) {
		at = list_entry(q->pending.next, struct timer, link)->at_ns;
		if (q == &c->queues[QUEUE_GUEST] && __builtin_sub_overflow(at, c->offset_ns, &at))
			at = INT64_MAX;
		at = MAX(at, 1); /* all zero would disarm */
		when.it_value.tv_sec = at / NS_PER_SEC;
		when.it_value.tv_nsec = at % NS_PER_SEC;
	}
	timerfd_settime(q->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static int64_t queue_now_ns(const struct timer_queue *q)
{
	return q == &q->clock->queues[QUEUE_GUEST] ? guest_clock_now_ns(q->clock) : time_wall_ns();
}

static bool is_due(const struct timer *t, int64_t now)
{
	return t->at_ns >= 0 && t->at_ns <= now && t->queue->clock->running;
}

/* The first timer that is due, left in the queue. */
static struct timer *queue_first_due(struct timer_queue *q, int64_t now)
{
	struct timer *t = NULL;

	pthread_mutex_lock(&q->clock->lock);
	if (!list_empty(&q->pending))
		t = list_entry(q->pending.next, struct timer, link);
	if (t && !is_due(t, now))
		t = NULL;
	pthread_mutex_unlock(&q->clock->lock);
	return t;
}

/* Takes it out if it is still due. Device lock held. */
static bool timer_take(struct timer *t, int64_t now)
{
	struct guest_clock *c = t->queue->clock;
	bool due;

	pthread_mutex_lock(&c->lock);
	due = is_due(t, now);
	if (due) {
		list_del(&t->link);
		__atomic_store_n(&t->at_ns, -1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&c->lock);
	return due;
}

static void timer_fire(struct timer *t, int64_t now)
{
	pthread_mutex_t *lock = t->device_lock;

	if (lock)
		pthread_mutex_lock(lock);
	if (timer_take(t, now))
		t->fn(t->opaque);
	if (lock)
		pthread_mutex_unlock(lock);
}

/* What is due at the time of the call. What is left makes the timerfd ready again. */
static int on_expiry(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct timer_queue *q = opaque;
	int64_t now = queue_now_ns(q);
	uint64_t expirations;
	struct timer *t;

	if (read(fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return -errno;
	for (int n = 0; n < TURN_MAX && (t = queue_first_due(q, now)); n++)
		timer_fire(t, now);
	pthread_mutex_lock(&q->clock->lock);
	queue_set(q);
	pthread_mutex_unlock(&q->clock->lock);
	return 0;
}

static int queue_init(struct guest_clock *c, enum queue_kind kind, struct loop *loop, struct err *e)
{
	struct timer_queue *q = &c->queues[kind];
	int r;

	q->fd = timerfd_create(kind == QUEUE_GUEST ? CLOCK_MONOTONIC : CLOCK_REALTIME,
			       TFD_CLOEXEC | TFD_NONBLOCK);
	if (q->fd < 0)
		return err_sys(e, "timerfd_create");
	r = sd_event_add_io(loop_event(loop), &q->source, q->fd, EPOLLIN, on_expiry, q);
	return r < 0 ? err_ret(e, r, "timer event source") : 0;
}

/**
 * guest_clock_create() - Make a clock that stands at 0
 * @ret:	Set on success only; release with guest_clock_destroy()
 * @main_loop:	Where timers fire
 * @e:		Set on failure only
 *
 * Errors: as timerfd_create(2) and sd_event_add_io(3)
 * Return: 0, or a negative errno
 */
int guest_clock_create(struct guest_clock **ret, struct loop *main_loop, struct err *e)
{
	struct guest_clock *c = mem_zalloc(sizeof(*c));
	int r = 0;

	pthread_mutex_init(&c->lock, NULL);
	for (int kind = 0; kind < QUEUES; kind++) {
		c->queues[kind].clock = c;
		c->queues[kind].fd = -1;
		list_init(&c->queues[kind].pending);
	}
	for (int kind = 0; kind < QUEUES && !r; kind++)
		r = queue_init(c, kind, main_loop, e);
	if (r) {
		guest_clock_destroy(c);
		return r;
	}
	*ret = c;
	return 0;
}

/**
 * guest_clock_destroy() - Release a clock that has no timers left
 * @c:		May be NULL; on the main thread
 */
void guest_clock_destroy(struct guest_clock *c)
{
	if (!c)
		return;
	for (int kind = 0; kind < QUEUES; kind++) {
		assert(list_empty(&c->queues[kind].pending));
		sd_event_source_disable_unref(c->queues[kind].source);
		fd_close(&c->queues[kind].fd);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/**
 * guest_clock_now_ns() - Guest time
 * @c:		The clock; any thread, no lock
 *
 * Return: ns
 */
int64_t guest_clock_now_ns(struct guest_clock *c)
{
	unsigned int before, after;
	int64_t now;

	do {
		before = __atomic_load_n(&c->sequence, __ATOMIC_ACQUIRE);
		now = __atomic_load_n(&c->offset_ns, __ATOMIC_ACQUIRE);
		if (__atomic_load_n(&c->running, __ATOMIC_ACQUIRE))
			now += time_ns();
		after = __atomic_load_n(&c->sequence, __ATOMIC_RELAXED);
	} while (before != after || before & 1);
	return now;
}

static void clock_change(struct guest_clock *c, int64_t offset_ns, bool running)
{
	pthread_mutex_lock(&c->lock);
	__atomic_store_n(&c->sequence, c->sequence + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->offset_ns, offset_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&c->running, running, __ATOMIC_RELEASE);
	__atomic_store_n(&c->sequence, c->sequence + 1, __ATOMIC_RELEASE);
	for (int kind = 0; kind < QUEUES; kind++)
		queue_set(&c->queues[kind]);
	pthread_mutex_unlock(&c->lock);
}

/**
 * guest_clock_set_ns() - Put the clock to a value
 * @c:		Stands still
 * @now_ns:	Guest time
 */
void guest_clock_set_ns(struct guest_clock *c, int64_t now_ns)
{
	assert(!c->running);
	clock_change(c, now_ns, false);
}

/**
 * guest_clock_run() - Let guest time go on from where it stands; nothing if it runs
 * @c:		The clock
 */
void guest_clock_run(struct guest_clock *c)
{
	if (!c->running)
		clock_change(c, c->offset_ns - time_ns(), true);
}

/**
 * guest_clock_stop() - Let guest time stand still; nothing if it does
 * @c:		The clock; no timer fires from here on
 */
void guest_clock_stop(struct guest_clock *c)
{
	if (c->running)
		clock_change(c, c->offset_ns + time_ns(), false);
}

static struct timer *timer_create_in(struct timer_queue *q, timer_fn *fn, void *opaque,
				     pthread_mutex_t *lock)
{
	struct timer *t = mem_zalloc(sizeof(*t));

	list_init(&t->link);
	t->queue = q;
	t->fn = fn;
	t->opaque = opaque;
	t->device_lock = lock;
	t->at_ns = -1;
	return t;
}

/**
 * timer_create_guest() - Make a timer in guest time
 * @c:		The clock
 * @fn:		Runs on the main thread
 * @opaque:	Its argument
 * @lock:	Held while @fn runs; NULL: none
 *
 * Return: never NULL; release with timer_destroy()
 */
struct timer *timer_create_guest(struct guest_clock *c, timer_fn *fn, void *opaque,
				 pthread_mutex_t *lock)
{
	return timer_create_in(&c->queues[QUEUE_GUEST], fn, opaque, lock);
}

/**
 * timer_create_wall() - Make a timer in the host's wall-clock time (ns since the epoch)
 * @c:		The clock; while it stands still such a timer doesn't fire either
 * @fn:		Runs on the main thread
 * @opaque:	Its argument
 * @lock:	Held while @fn runs; NULL: none
 *
 * Return: never NULL; release with timer_destroy()
 */
struct timer *timer_create_wall(struct guest_clock *c, timer_fn *fn, void *opaque,
				pthread_mutex_t *lock)
{
	return timer_create_in(&c->queues[QUEUE_WALL], fn, opaque, lock);
}

/**
 * timer_destroy() - Release a timer
 * @t:		May be NULL; on the main thread, and not while holding its device lock from another
 */
void timer_destroy(struct timer *t)
{
	if (!t)
		return;
	timer_cancel(t);
	free(t);
}

/* Clock lock held. */
static void queue_insert(struct timer_queue *q, struct timer *t)
{
	struct list *before = q->pending.prev;

	while (before != &q->pending && list_entry(before, struct timer, link)->at_ns > t->at_ns)
		before = before->prev;
	list_add_tail(before->next, &t->link);
}

/**
 * timer_arm_ns() - Let the timer fire at a time; an earlier setting is forgotten
 * @t:		The timer; any thread
 * @at_ns:	Guest (or wall-clock) time; in the past: at once. Below 0 counts as 0
 */
void timer_arm_ns(struct timer *t, int64_t at_ns)
{
	struct timer_queue *q = t->queue;
	struct list *first;

	pthread_mutex_lock(&q->clock->lock);
	first = q->pending.next;
	list_del(&t->link);
	__atomic_store_n(&t->at_ns, MAX(at_ns, 0), __ATOMIC_RELAXED);
	queue_insert(q, t);
	if (q->pending.next == &t->link || first == &t->link)
		queue_set(q);
	pthread_mutex_unlock(&q->clock->lock);
}

/**
 * timer_cancel() - Don't fire
 * @t:		The timer; any thread. With its device lock held, @fn doesn't run after this
 */
void timer_cancel(struct timer *t)
{
	struct timer_queue *q = t->queue;

	pthread_mutex_lock(&q->clock->lock);
	list_del(&t->link);
	__atomic_store_n(&t->at_ns, -1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&q->clock->lock);
}

/**
 * timer_pending() - Is it going to fire?
 * @t:		The timer
 *
 * Return: true from arming to firing or cancelling
 */
bool timer_pending(const struct timer *t)
{
	return timer_expires_ns(t) >= 0;
}

/**
 * timer_expires_ns() - When will it fire?
 * @t:		The timer
 *
 * Return: guest (or wall-clock) time, -1: it isn't pending. What QEMU's stream sends for a timer
 */
int64_t timer_expires_ns(const struct timer *t)
{
	return __atomic_load_n(&t->at_ns, __ATOMIC_RELAXED);
}

/**
 * timer_restore_ns() - Take over what timer_expires_ns() said elsewhere
 * @t:		The timer
 * @at_ns:	As it was sent; -1: not pending
 */
void timer_restore_ns(struct timer *t, int64_t at_ns)
{
	if (at_ns < 0)
		timer_cancel(t);
	else
		timer_arm_ns(t, at_ns);
}
