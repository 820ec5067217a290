/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a ring of pieces under one lock. There are about as many threads as CPUs
 * (at least two: one may wait for a disk), and a piece is some hundred microseconds of work, so
 * that nobody waits for the lock. The ring is short: whoever fills it goes on only as fast as the
 * work is done.
 */
#include "migrate/workers.h"

#include "base/bytes.h"
#include "base/owned.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS_MIN = 2, THREADS_MAX = 4, RING = 16 };

/**
 * struct workers - See workers.h
 * @fn, @opaque: What is done
 * @lock, @changed: Protect and announce all that follows
 * @ring:	Pieces from @head on, @len of them
 * @busy:	Pieces under way
 * @end:	The threads leave
 * @error:	First failure; its code is 0 while there is none
 * @threads, @threads_len: Running
 */
struct workers {
	work_fn *fn;
	void *opaque;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct work ring[RING];
	unsigned int head, len, busy;
	bool end;
	struct err error;
	pthread_t threads[THREADS_MAX];
	unsigned int threads_len;
};

/* Waits for a piece; false when there will be none. Under the lock. */
static bool take_piece(struct workers *w, struct work *piece)
{
	while (!w->len && !w->end)
		pthread_cond_wait(&w->changed, &w->lock);
	if (!w->len)
		return false;
	*piece = w->ring[w->head];
	w->head = (w->head + 1) % RING;
	w->len--;
	w->busy++;
	return true;
}

static void *work_main(void *opaque)
{
	struct workers *w = opaque;
	uint8_t *room = aligned_alloc(4096, WORK_ROOM);
	struct work piece;
	struct err e = {0};
	bool failed;

	if (!room)
		abort(); /* out of memory */
	pthread_mutex_lock(&w->lock);
	while (take_piece(w, &piece)) {
		failed = w->error.code;
		pthread_mutex_unlock(&w->lock);
		failed = !failed && w->fn(w->opaque, &piece, room, &e) < 0;
		pthread_mutex_lock(&w->lock);
		if (failed && !w->error.code)
			w->error = e;
		w->busy--;
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	free(room);
	return NULL;
}

static int start(struct workers *w, struct err *e)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = cpus < THREADS_MIN ? THREADS_MIN
					    : MIN((unsigned int)cpus, (unsigned int)THREADS_MAX);
	int ret;

	while (w->threads_len < n) {
		ret = pthread_create(&w->threads[w->threads_len], NULL, work_main, w);
		if (ret)
			return err_ret(e, -ret, "start a thread for guest memory");
		pthread_setname_np(w->threads[w->threads_len++], "migrate ram");
	}
	return 0;
}

/**
 * workers_create() - Start the threads
 * @ret:	Set on success only; workers_destroy() it
 * @fn:		What is done with each piece
 * @opaque:	For @fn
 * @e:		Set on failure only
 *
 * Errors: as pthread_create(3)
 * Return: 0, or a negative errno
 */
int workers_create(struct workers **ret, work_fn *fn, void *opaque, struct err *e)
{
	struct workers *w = mem_zalloc(sizeof(*w));
	int r;

	w->fn = fn;
	w->opaque = opaque;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	r = start(w, e);
	if (r < 0)
		workers_destroy(w);
	else
		*ret = w;
	return r;
}

/**
 * workers_destroy() - End the threads
 * @w:	May be NULL. What was put is still done
 */
void workers_destroy(struct workers *w)
{
	unsigned int i;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->end = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	for (i = 0; i < w->threads_len; i++)
		pthread_join(w->threads[i], NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/**
 * workers_put() - Have a piece done
 * @w:		Workers
 * @piece:	Copied; at most WORK_PAGES. Waits while there are enough others
 */
void workers_put(struct workers *w, const struct work *piece)
{
	pthread_mutex_lock(&w->lock);
	while (w->len == RING)
		pthread_cond_wait(&w->changed, &w->lock);
	w->ring[(w->head + w->len++) % RING] = *piece;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

/**
 * workers_wait() - Wait until all that was put is done
 * @w:	Workers
 * @e:	Gets the first failure since the last wait
 *
 * Return: 0, or its negative errno
 */
int workers_wait(struct workers *w, struct err *e)
{
	struct err found;

	pthread_mutex_lock(&w->lock);
	while (w->len || w->busy)
		pthread_cond_wait(&w->changed, &w->lock);
	found = w->error;
	w->error = (struct err){0};
	pthread_mutex_unlock(&w->lock);
	if (found.code && e)
		*e = found;
	return -found.code;
}
