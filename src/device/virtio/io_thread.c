/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see io_thread.h. The list of threads belongs to the main thread; the number
 * in a thread's name
 * ("io 0") is its place in the order of making.
 */
#include "device/virtio/io_thread.h"

#include "base/list.h"
#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/**
 * struct io_thread - A thread that runs a loop; main thread
 * @link:	In the list of all
 * @id:		As the user calls it; NULL: the shared one
 * @refs:	Released with the last
 * @loop:	What it runs
 * @thread:	Where
 * @tid:	As the kernel calls it
 */
struct io_thread {
	struct list link;
	char *id;
	unsigned int refs;
	struct loop *loop;
	pthread_t thread;
	pid_t tid;
};

static struct list threads = LIST_INIT(threads);
static unsigned int threads_made;

static void tid_get(void *opaque)
{
	*(pid_t *)opaque = gettid();
}

static void *thread_main(void *opaque)
{
	struct io_thread *t = opaque;
	struct err e;

	if (loop_run(t->loop, &e) < 0)
		log_error("I/O thread %s: %s", t->id ? t->id : "(shared)", e.msg);
	return NULL;
}

/**
 * io_thread_create() - Start an I/O thread
 * @id:		Copied; NULL for the shared one
 * @ret:	With one reference
 * @e:		Set on failure only
 *
 * Errors: EEXIST the id is taken; else as pthread_create(3), loop_create()
 * Return: 0, or a negative errno
 */
int io_thread_create(const char *id, struct io_thread **ret, struct err *e)
{
	struct io_thread *t;
	char name[16];
	int r;

	if (id && io_thread_find(id))
		return err_set(e, EEXIST, "there is an iothread '%s' already", id);
	t = mem_zalloc(sizeof(*t));
	r = loop_create(&t->loop, e);
	if (!r && (r = -pthread_create(&t->thread, NULL, thread_main, t)))
		r = err_ret(e, r, "start an I/O thread");
	if (r) {
		loop_destroy(t->loop);
		free(t);
		return r;
	}
	t->id = id ? str_dup(id) : NULL;
	t->refs = 1;
	list_add_tail(&threads, &t->link);
	snprintf(name, sizeof(name), "io %u", threads_made++);
	pthread_setname_np(t->thread, name);
	loop_call(t->loop, tid_get, &t->tid);
	*ret = t;
	return 0;
}

/**
 * io_thread_default() - The thread for devices that name none
 * @ret:	A reference
 * @e:		Set on failure only
 *
 * Return: 0, or as io_thread_create()
 */
int io_thread_default(struct io_thread **ret, struct err *e)
{
	struct io_thread *t;

	list_for_each (t, &threads, link) {
		if (!t->id) {
			*ret = io_thread_ref(t);
			return 0;
		}
	}
	return io_thread_create(NULL, ret, e);
}

/**
 * io_thread_find() - A thread by the user's name
 * @id:		The name
 *
 * Return: borrowed, or NULL
 */
struct io_thread *io_thread_find(const char *id)
{
	struct io_thread *t;

	list_for_each (t, &threads, link)
		if (t->id && !strcmp(t->id, id))
			return t;
	return NULL;
}

/**
 * io_thread_ref() - Hold a thread
 * @t:		The thread
 *
 * Return: @t
 */
struct io_thread *io_thread_ref(struct io_thread *t)
{
	t->refs++;
	return t;
}

/**
 * io_thread_unref() - Let go of a thread; the last one ends it
 * @t:		May be NULL; nothing of the caller's is on its loop any more
 */
void io_thread_unref(struct io_thread *t)
{
	if (!t || --t->refs)
		return;
	list_del(&t->link);
	loop_exit(t->loop);
	pthread_join(t->thread, NULL);
	loop_destroy(t->loop);
	free(t->id);
	free(t);
}

/**
 * io_thread_loop() - What it runs
 * @t:		The thread
 *
 * Return: borrowed
 */
struct loop *io_thread_loop(struct io_thread *t)
{
	return t->loop;
}

/**
 * io_thread_tid() - Where it runs
 * @t:		The thread
 *
 * Return: as the kernel calls it, for sched_setscheduler(2) and the like
 */
pid_t io_thread_tid(const struct io_thread *t)
{
	return t->tid;
}

/**
 * io_thread_for_each() - Visit all, the shared one too
 * @fn:		Called for each; must not let go of any
 * @opaque:	Passed to it
 */
void io_thread_for_each(void (*fn)(struct io_thread *t, void *opaque), void *opaque)
{
	struct io_thread *t;

	list_for_each (t, &threads, link)
		fn(t, opaque);
}
