/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see migration.h. Here: a job's thread, its calls to the main thread, its
 * status and events. */
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"

#include "migrate/beacon.h"

#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>

/**
 * struct thread_start - What a job's thread begins with
 * @m:		The migration
 * @run:	The job
 * @finished:	Afterwards, on the main thread
 */
struct thread_start {
	struct migration *m;
	void (*run)(struct migration *m);
	loop_fn *finished;
};

static const char *const status_names[] = {
	[MIGRATION_NONE] = "none",
	[MIGRATION_SETUP] = "setup",
	[MIGRATION_CANCELLING] = "cancelling",
	[MIGRATION_CANCELLED] = "cancelled",
	[MIGRATION_ACTIVE] = "active",
	[MIGRATION_PRE_SWITCHOVER] = "pre-switchover",
	[MIGRATION_DEVICE] = "device",
	[MIGRATION_COMPLETED] = "completed",
	[MIGRATION_FAILED] = "failed",
};

/**
 * migration_status_name() - QEMU's word for a status
 * @s:	Status
 *
 * Return: constant string
 */
const char *migration_status_name(enum migration_status s)
{
	return status_names[s];
}

/**
 * migration_create() - Get ready for migrations
 * @g:	The guest
 *
 * Return: new; migration_end() it
 */
struct migration *migration_create(struct guest *g)
{
	struct migration *m = mem_zalloc(sizeof(*m));

	m->guest = g;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	return m;
}

/**
 * struct event - An event on its way to the main thread
 */
struct event {
	struct migration *m;
	const char *name;
	json_t *data;
};

static void event_send(void *opaque)
{
	struct event *ev = opaque;

	control_event(ev->m->guest->v->control, ev->name, ev->data);
	free(ev);
}

static void event_post(struct migration *m, const char *name, json_t *data)
{
	struct event *ev = mem_zalloc(sizeof(*ev));

	*ev = (struct event){m, name, data};
	loop_post(m->guest->v->loop, event_send, ev);
}

/**
 * migration_status_set() - Get into a status, and tell
 * @m:		Any thread
 * @s:		Its status from now on
 */
void migration_status_set(struct migration *m, enum migration_status s)
{
	bool news;

	pthread_mutex_lock(&m->lock);
	news = m->status != s;
	m->status = s;
	pthread_mutex_unlock(&m->lock);
	if (news && m->capabilities & CAPABILITY_EVENTS)
		event_post(m, "MIGRATION", json_pack("{s:s}", "status", status_names[s]));
}

/**
 * migration_setup() - A migration begins
 * @m:		Main thread
 *
 * The event goes before the answer of the command: libvirt takes an answer without it for a
 * migration that isn't there.
 */
void migration_setup(struct migration *m)
{
	pthread_mutex_lock(&m->lock);
	m->status = MIGRATION_SETUP;
	pthread_mutex_unlock(&m->lock);
	if (m->capabilities & CAPABILITY_EVENTS)
		control_event(m->guest->v->control, "MIGRATION",
			      json_pack("{s:s}", "status", status_names[MIGRATION_SETUP]));
}

/**
 * migration_active() - It is under way, if nothing else has happened
 * @m:	Any thread
 */
void migration_active(struct migration *m)
{
	if (migration_status(m) == MIGRATION_SETUP)
		migration_status_set(m, MIGRATION_ACTIVE);
}

/**
 * migration_pass() - Tell of a new round
 * @m:		Any thread
 * @round:	Its number
 */
void migration_pass(struct migration *m, unsigned int round)
{
	if (m->capabilities & CAPABILITY_EVENTS)
		event_post(m, "MIGRATION_PASS", json_pack("{s:i}", "pass", (int)round));
}

/**
 * migration_status() - Where it is
 * @m:	Any thread
 *
 * Return: its status
 */
enum migration_status migration_status(struct migration *m)
{
	enum migration_status s;

	pthread_mutex_lock(&m->lock);
	s = m->status;
	pthread_mutex_unlock(&m->lock);
	return s;
}

/**
 * migration_busy() - Is a job under way?
 * @m:	Main thread
 */
bool migration_busy(const struct migration *m)
{
	return m->busy;
}

static void call_run(void *opaque)
{
	struct migration *m = opaque;
	int ret;

	if (!m->call)
		return;
	ret = m->call(m, m->call_e);
	pthread_mutex_lock(&m->lock);
	m->call_ret = ret;
	m->call = NULL;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

/**
 * migration_call() - Have the main thread do something, and wait for it
 * @m:		From the job's thread
 * @fn:		What
 * @e:		Set on failure only
 *
 * Errors: ECANCELED the process ends; as @fn
 * Return: 0, or a negative errno
 */
int migration_call(struct migration *m, int (*fn)(struct migration *m, struct err *e),
		   struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	m->call = fn;
	m->call_e = e;
	if (!m->dead)
		loop_post(m->guest->v->loop, call_run, m);
	while (m->call && !m->dead)
		pthread_cond_wait(&m->changed, &m->lock);
	ret = m->call ? err_set(e, ECANCELED, "the process ends") : m->call_ret;
	m->call = NULL;
	pthread_mutex_unlock(&m->lock);
	return ret;
}

/* The job's sections: instead of devices they read and fill the room that the main thread looks
 * after. */

/**
 * struct copy - A section of the job
 * @real:	The guest's
 * @state:	Its place in the room
 */
struct copy {
	const struct migrate_section *real;
	void *state;
};

static void copy_capture(void *opaque, void *state)
{
	const struct copy *c = opaque;

	memcpy(state, c->state, c->real->table->size);
}

static int copy_validate(void *opaque, const void *state, struct err *e)
{
	const struct copy *c = opaque;

	return c->real->validate ? c->real->validate(c->real->opaque, state, e) : 0;
}

static void copy_apply(void *opaque, const void *state)
{
	const struct copy *c = opaque;

	c->real->apply(c->real->opaque, state);
}

static void copies_make(struct migration *m)
{
	for (size_t i = 0; i < m->image.sections.len; i++) {
		struct migrate_section section = m->image.sections.all[i];
		struct copy *c = mem_zalloc(sizeof(*c));

		*c = (struct copy){&m->image.sections.all[i], m->image.states[i]};
		section.capture = copy_capture;
		section.validate = copy_validate;
		section.apply = copy_apply;
		section.opaque = c;
		migrate_sections_add(&m->copies, &section);
	}
}

/**
 * migration_prepare() - What each job needs: the guest's sections
 * @m:		No job is under way
 * @e:		Names the device that can't follow
 *
 * Return: 0, or a negative errno
 */
int migration_prepare(struct migration *m, struct err *e)
{
	struct migrate_sections sections;
	int r = guest_sections(m->guest, &sections, e);

	if (r < 0)
		return r;
	image_open(&m->image, &sections);
	copies_make(m);
	m->job = (struct migrate_job){.memory = &m->guest->q->memory, .sections = &m->copies};
	m->job.options.machine = Q35_MACHINE;
	m->job.hooks.opaque = m;
	m->progress = (struct migrate_progress){0};
	m->running_bytes = 0;
	m->cancel = m->go_on = m->hinting = m->stored_late = false;
	m->e = (struct err){0};
	m->ret = 0;
	return 0;
}

/**
 * migration_release() - Give back what migration_prepare() made
 * @m:	The job's thread has ended
 */
void migration_release(struct migration *m)
{
	for (size_t i = 0; i < m->copies.len; i++)
		free(m->copies.all[i].opaque);
	migrate_sections_destroy(&m->copies);
	image_close(&m->image);
	m->image = (struct image){0};
	if (m->channel)
		channel_destroy(m->channel);
	m->channel = m->job.channel = NULL;
	while (m->multifd_len)
		channel_destroy(m->multifd[--m->multifd_len]);
	m->job.multifd_len = 0;
	arrivals_destroy(m->arrivals);
	m->arrivals = NULL;
	json_decref(m->listens);
	m->listens = NULL;
	mem_free(&m->listens_uri);
	block_store_close(m->store);
	m->store = NULL;
	tls_credentials_free(m->tls); /* nothing uses them any more */
	m->tls = NULL;
	mem_free(&m->tls_host);
	uri_destroy(&m->uri);
	if (m->file_fd)
		fd_close(&m->file_fd);
	m->file_fd = 0;
}

/**
 * migration_channel() - The job has its channel
 * @m:		From the job's thread
 * @taken:	Belongs to @m in any case
 * @e:		Set on failure only
 *
 * Errors: ECANCELED it was called off before there was one
 * Return: 0, or a negative errno
 */
int migration_channel(struct migration *m, struct channel *taken, struct err *e)
{
	bool cancel;

	pthread_mutex_lock(&m->lock);
	m->channel = m->job.channel = taken;
	cancel = m->cancel;
	pthread_mutex_unlock(&m->lock);
	return cancel ? err_set(e, ECANCELED, "cancelled") : 0;
}

/**
 * migration_add_channel() - The job has one more channel beside its stream
 * @m:		From the job's thread, or before it begins
 * @taken:	Belongs to @m in any case
 * @e:		Set on failure only
 *
 * Errors: ECANCELED it was called off
 * Return: 0, or a negative errno
 */
int migration_add_channel(struct migration *m, struct channel *taken, struct err *e)
{
	bool cancel;

	pthread_mutex_lock(&m->lock);
	m->multifd[m->multifd_len++] = taken;
	m->job.multifd = m->multifd;
	m->job.multifd_len = m->multifd_len;
	cancel = m->cancel;
	pthread_mutex_unlock(&m->lock);
	return cancel ? err_set(e, ECANCELED, "cancelled") : 0;
}

/**
 * migration_cut() - Make everything on its channels fail from now on
 * @m:	With its lock held
 */
void migration_cut(struct migration *m)
{
	unsigned int i;

	if (m->channel)
		channel_shutdown(m->channel);
	for (i = 0; i < m->multifd_len; i++)
		channel_shutdown(m->multifd[i]);
}

/**
 * migration_join() - Take leave of the job's thread
 * @m:	Main thread; the thread ends or has ended
 */
void migration_join(struct migration *m)
{
	pthread_join(m->thread, NULL);
	m->busy = false;
	migration_release(m);
	guest_ejected_remove(m->guest); /* what was let go meanwhile */
}

static void *thread_main(void *opaque)
{
	struct thread_start start = *(struct thread_start *)opaque;

	free(opaque);
	start.run(start.m);
	loop_post(start.m->guest->v->loop, start.finished, start.m);
	return NULL;
}

/**
 * migration_thread() - Start the job's thread
 * @m:		Prepared
 * @run:	The job, on its thread
 * @finished:	Afterwards, on the main thread, with @m; migration_join() there
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of pthread_create(3)
 */
int migration_thread(struct migration *m, void (*run)(struct migration *m), loop_fn *finished,
		     struct err *e)
{
	struct thread_start *start = mem_zalloc(sizeof(*start));
	int r;

	*start = (struct thread_start){m, run, finished};
	r = pthread_create(&m->thread, NULL, thread_main, start);
	if (r) {
		free(start);
		return err_ret(e, -r, "start the migration's thread");
	}
	pthread_setname_np(m->thread, "migrate");
	m->busy = true;
	return 0;
}

/**
 * migration_end() - The process ends: call the job off, wait for its thread, free all
 * @m:	May be NULL. The main loop has ended
 */
void migration_end(struct migration *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->cancel = m->dead = true;
	pthread_cond_broadcast(&m->changed);
	migration_cut(m);
	pthread_mutex_unlock(&m->lock);
	if (m->busy)
		migration_join(m);
	if (m->lazy && m->guest->q && vm_active(&m->guest->q->vm)) {
		m->guest->quiet = true;
		vm_stop(&m->guest->q->vm, RUN_SHUTDOWN); /* it must not see RAM that isn't there */
	}
	lazy_destroy(m->lazy);
	migration_release(m);
	sd_event_source_disable_unref(m->confirm_timer);
	json_decref(m->parameters);
	free(m->slowdown.rested_ns);
	json_decref(m->points);
	json_decref(m->points_devices);
	json_decref(m->images);
	free(m->points_prefix);
	free(m->content_file);
	beacon_destroy(m->beacon);
	json_decref(m->description);
	json_decref(m->found_last);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
