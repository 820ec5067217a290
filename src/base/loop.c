/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: sd-event does the work (descriptors, timers, children, signals). What it
 * lacks is a way in for other threads: they append to a list under a lock and write to an eventfd;
 * the loop runs what is there by then, in order. What comes meanwhile waits for the next turn: a
 * guest can make its vCPUs post as fast as posts run, and the loop has others to serve. loop_call()
 * waits for its entry to have run, and runs at once when called on the loop's own thread.
 */
#include "base/loop.h"

#include "base/list.h"
#include "base/owned.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/eventfd.h>

struct loop {
	sd_event *event;
	sd_event_source *wake_source;
	int wake_fd;
	pthread_t owner;
	bool owned;
	pthread_mutex_t lock; /* protects posts, and the done flags of waiting callers */
	pthread_cond_t ran;
	struct list posts;
	size_t posts_len;
};

/**
 * struct post - Work from another thread
 * @link:	In the loop's list
 * @fn, @opaque: What to call
 * @done:	Set when it has run, for a caller that waits; else NULL, and the post is freed
 */
struct post {
	struct list link;
	loop_fn *fn;
	void *opaque;
	bool *done;
};

static struct post *posts_pop(struct loop *l)
{
	struct post *p = NULL;

	pthread_mutex_lock(&l->lock);
	if (!list_empty(&l->posts)) {
		p = list_entry(l->posts.next, struct post, link);
		list_del(&p->link);
		l->posts_len--;
	}
	pthread_mutex_unlock(&l->lock);
	return p;
}

static void post_run(struct loop *l, struct post *p)
{
	p->fn(p->opaque);
	if (!p->done) {
		free(p);
		return;
	}
	pthread_mutex_lock(&l->lock);
	*p->done = true;
	pthread_cond_broadcast(&l->ran);
	pthread_mutex_unlock(&l->lock);
}

static size_t posts_count(struct loop *l)
{
	size_t n;

	pthread_mutex_lock(&l->lock);
	n = l->posts_len;
	pthread_mutex_unlock(&l->lock);
	return n;
}

/* Whoever posts after the eventfd was read wakes the loop again. */
static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct loop *l = opaque;
	uint64_t count;
	struct post *p;

	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	for (size_t n = posts_count(l); n && (p = posts_pop(l)); n--)
		post_run(l, p);
	return 0;
}

/**
 * loop_create() - Make a loop
 * @ret:	Set on success only; release with loop_destroy()
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int loop_create(struct loop **ret, struct err *e)
{
	struct loop *l = mem_zalloc(sizeof(*l));
	int r;

	list_init(&l->posts);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->ran, NULL);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = l->wake_fd < 0 ? -errno : sd_event_new(&l->event);
	if (r >= 0)
		r = sd_event_add_io(l->event, &l->wake_source, l->wake_fd, EPOLLIN, on_wake, l);
	if (r < 0) {
		loop_destroy(l);
		return err_ret(e, r, "event loop");
	}
	*ret = l;
	return 0;
}

/**
 * loop_destroy() - Release a loop that no longer runs
 * @l:		May be NULL; work still posted is dropped
 */
void loop_destroy(struct loop *l)
{
	struct post *p;

	if (!l)
		return;
	while ((p = posts_pop(l)))
		free(p);
	sd_event_source_disable_unref(l->wake_source);
	sd_event_unref(l->event);
	fd_close(&l->wake_fd);
	pthread_cond_destroy(&l->ran);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/**
 * loop_event() - The sd-event object to add sources to
 * @l:		The loop
 *
 * Return: borrowed
 */
sd_event *loop_event(struct loop *l)
{
	return l->event;
}

/**
 * loop_run() - Run until loop_exit(), on the calling thread, which owns the loop from here on
 * @l:		The loop
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of an event source that gave up
 */
int loop_run(struct loop *l, struct err *e)
{
	int r;

	l->owner = pthread_self();
	__atomic_store_n(&l->owned, true, __ATOMIC_RELEASE);
	r = sd_event_loop(l->event);
	__atomic_store_n(&l->owned, false, __ATOMIC_RELEASE);
	return r < 0 ? err_ret(e, r, "event loop") : 0;
}

static void exit_here(void *opaque)
{
	struct loop *l = opaque;

	sd_event_exit(l->event, 0);
}

static bool on_owner(struct loop *l)
{
	return __atomic_load_n(&l->owned, __ATOMIC_ACQUIRE) &&
	       pthread_equal(l->owner, pthread_self());
}

/**
 * loop_exit() - Make loop_run() return, from any thread
 * @l:		The loop
 */
void loop_exit(struct loop *l)
{
	if (on_owner(l))
		exit_here(l);
	else
		loop_post(l, exit_here, l);
}

/**
 * loop_exiting() - Was loop_exit() called?
 * @l:		The loop; its thread
 *
 * Return: whether loop_run() returns as soon as what is being served is done
 */
bool loop_exiting(struct loop *l)
{
	int code;

	return sd_event_get_exit_code(l->event, &code) >= 0;
}

/**
 * loop_pending() - Does work wait that other threads, or this one, have posted?
 * @l:		The loop
 *
 * Return: whether, in this moment
 */
bool loop_pending(struct loop *l)
{
	bool pending;

	pthread_mutex_lock(&l->lock);
	pending = !list_empty(&l->posts);
	pthread_mutex_unlock(&l->lock);
	return pending;
}

static void post_add(struct loop *l, struct post *p)
{
	uint64_t one = 1;

	pthread_mutex_lock(&l->lock);
	list_add_tail(&l->posts, &p->link);
	l->posts_len++;
	pthread_mutex_unlock(&l->lock);
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* the counter is full: the loop is awake already */
}

/**
 * loop_post() - Run a function on the loop's thread, soon; posts run in order
 * @l:		The loop
 * @fn:		The function
 * @opaque:	Its argument; stays valid until it ran
 */
void loop_post(struct loop *l, loop_fn *fn, void *opaque)
{
	struct post *p = mem_zalloc(sizeof(*p));

	p->fn = fn;
	p->opaque = opaque;
	post_add(l, p);
}

/**
 * loop_call() - Run a function on the loop's thread and wait until it has
 * @l:		Is being run, or will be; never a loop that waits for the caller
 * @fn:		The function
 * @opaque:	Its argument
 */
void loop_call(struct loop *l, loop_fn *fn, void *opaque)
{
	bool done = false;
	struct post p = {.fn = fn, .opaque = opaque, .done = &done};

	if (on_owner(l)) {
		fn(opaque);
		return;
	}
	post_add(l, &p);
	pthread_mutex_lock(&l->lock);
	while (!done)
		pthread_cond_wait(&l->ran, &l->lock);
	pthread_mutex_unlock(&l->lock);
}
