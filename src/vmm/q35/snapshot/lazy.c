/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: after a lazy restore the guest runs while its memory comes from the file
 * (migrate/snapshot/lazy.h). A migration waits until all of it is there, an upgrade is refused. If
 * a page can't be had the process ends at once: whoever waits for the page can't go on, and must
 * not go on with anything else in its place.
 */
#include "base/log.h"
#include "vmm/q35/migration/migration.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define LOOK_UP_NS 10000000

static void complete(void *opaque)
{
	struct migration *m = opaque;

	log_info("all of the guest's memory is read");
	migration_lazy_release(m);
}

static void finished(void *opaque)
{
	struct migration *m = opaque;

	loop_post(m->guest->v->loop, complete, m);
}

static void failed(void *opaque, const struct err *e)
{
	log_error("%s: the guest can't go on and is ended; its snapshot and disks are as they were",
		  e->msg);
	_exit(1);
}

/**
 * migration_lazy() - Whom a lazy load tells
 * @m:	The guest's
 */
struct lazy_hooks migration_lazy(struct migration *m)
{
	return (struct lazy_hooks){.finished = finished, .failed = failed, .opaque = m};
}

/**
 * migration_lazy_release() - Let the snapshot's file go, if all of it is read
 * @m:	Main thread; left for later while a job may look
 */
void migration_lazy_release(struct migration *m)
{
	if (!m->lazy || m->busy || !lazy_complete(m->lazy))
		return;
	lazy_destroy(m->lazy);
	m->lazy = NULL;
}

/**
 * migration_lazy_wait() - Wait until all memory is there
 * @m:	The job's thread
 * @e:	Set on failure only
 *
 * Errors: ECANCELED on request
 * Return: 0, or a negative errno
 */
int migration_lazy_wait(struct migration *m, struct err *e)
{
	struct timespec nap = {.tv_nsec = LOOK_UP_NS};
	const struct migrate_hooks *h = &m->job.hooks;

	while (m->lazy && !lazy_complete(m->lazy)) {
		if (h->cancelled(h->opaque))
			return err_set(e, ECANCELED, "cancelled");
		nanosleep(&nap, NULL);
	}
	return 0;
}

/**
 * migration_lazy_info() - How much of the memory is there
 * @m:	Main thread
 *
 * Return: bytes loaded and in all; NULL if nothing is missing
 */
json_t *migration_lazy_info(const struct migration *m)
{
	uint64_t loaded, total;

	if (!m->lazy || lazy_complete(m->lazy))
		return NULL;
	lazy_progress(m->lazy, &loaded, &total);
	return json_pack("{s:I, s:I}", "loaded", (json_int_t)loaded, "total", (json_int_t)total);
}
