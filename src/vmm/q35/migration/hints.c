/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a driver of virtio-balloon that has agreed on free-page hints tells, when a
 * migration begins, which pages it doesn't use; these needn't be sent. What it tells comes in on
 * the main thread while the job's thread sends a round. The driver is asked anew for each round,
 * since what was freed meanwhile was written before; hints end before the round's sync, as QEMU's
 * do, and the driver is told that it has its pages back before its state is saved.
 */
#include "vmm/q35/migration/migration.h"

#include "base/log.h"
#include "device/virtio/balloon.h"
#include "vmm/q35/ops/ops.h"

/* Main thread, device's lock held. */
static void on_hint(void *opaque, struct ram_block *b, uint64_t offset, uint64_t len)
{
	struct migration *m = opaque;

	migrate_hint(&m->job, b, offset, len);
}

static int start_here(struct migration *m, struct err *e)
{
	struct device *balloon = guest_balloon(m->guest);

	m->hinting = balloon && vm_running(&m->guest->q->vm) &&
		     balloon_hint_start(balloon, on_hint, m);
	return 0;
}

static void end(struct migration *m, bool done)
{
	struct device *balloon = guest_balloon(m->guest);

	if (m->hinting && balloon)
		balloon_hint_stop(balloon, done);
	m->hinting = m->hinting && !done;
}

static int stop_here(struct migration *m, struct err *e)
{
	end(m, false);
	return 0;
}

static int done_here(struct migration *m, struct err *e)
{
	end(m, true);
	return 0;
}

static bool call(struct migration *m, int (*fn)(struct migration *m, struct err *e))
{
	struct err e;
	int r = migration_call(m, fn, &e);

	if (r < 0)
		log_debug("migrate: free-page hints: %s", e.msg);
	return r >= 0;
}

/**
 * hints_start() - Ask the driver which pages are free
 * @opaque:	The migration; its job's thread
 *
 * Return: false: there is none that would say
 */
bool hints_start(void *opaque)
{
	struct migration *m = opaque;

	return call(m, start_here) && m->hinting;
}

/**
 * hints_stop() - No more is heard after this
 * @opaque:	The migration; its job's thread
 */
void hints_stop(void *opaque)
{
	struct migration *m = opaque;

	if (m->hinting)
		call(m, stop_here);
}

/**
 * hints_done() - The driver has its pages back
 * @m:	Main thread; the guest is stopped, or the job has ended
 */
void hints_done(struct migration *m)
{
	end(m, true);
}

/**
 * hints_over() - The same
 * @m:	From the job's thread
 */
void hints_over(struct migration *m)
{
	if (m->hinting)
		call(m, done_here);
}
