/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the guest leaves. The job's thread connects and drives the engine; its hooks
 * come here. The guest is stopped, and its devices captured, by the main thread in one go; what the
 * engine sends of them afterwards are those copies. Images are let go before the last bytes leave,
 * so that they are never writable on both sides, and taken again if the guest runs on here. What
 * was written to them is stored by the job's thread, before the guest is stopped, and the rest of
 * it then.
 *
 * It can be called off until everything is sent. From then on only the target knows who has the
 * guest: if it says that it refuses, or goes away without a word, the guest runs on here; if nobody
 * can tell, it stays stopped, and the operator decides.
 */
#include "vmm/q35/migration/migration.h"

#include "base/clock.h"
#include "base/fdstore.h"
#include "base/log.h"
#include "base/owned.h"
#include "block/block.h"
#include "machine/gap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	VCPU_US =
		100, /* the whole state of one, read or written: 70 us of system calls, measured */
	STORE_US = 50000, /* storing what was written takes longer: worth another round of RAM */
};

static int dirty_start(void *opaque, struct err *e)
{
	struct migration *m = opaque;

	return slots_dirty_start(m->guest->q->slots, e);
}

static int dirty_sync(void *opaque, struct err *e)
{
	struct migration *m = opaque;

	int r = slots_dirty_collect(m->guest->q->slots, e);

	if (r >= 0)
		vm_dirty_pace(&m->guest->q->vm);
	return r;
}

static int dirty_clear(void *opaque, struct ram_block *b, const struct bitmap *which,
		       uint64_t first_page, uint64_t pages, struct err *e)
{
	struct migration *m = opaque;

	return slots_dirty_clear(m->guest->q->slots, b, which, first_page, pages, e);
}

static void dirty_stop(void *opaque)
{
	struct migration *m = opaque;

	slowdown_end(m);
	hints_over(m);
	slots_dirty_stop(m->guest->q->slots);
}

static void slow(void *opaque, const struct migrate_progress *p, uint64_t limit_us)
{
	slowdown_round(opaque, p, limit_us);
}

static bool cancelled(void *opaque)
{
	struct migration *m = opaque;
	bool cancel;

	pthread_mutex_lock(&m->lock);
	cancel = m->cancel;
	pthread_mutex_unlock(&m->lock);
	return cancel;
}

static int rehearse_here(struct migration *m, struct err *e)
{
	struct state_writer w = {0};

	image_rehearse(&m->image, &w);
	state_writer_destroy(&w);
	return 0;
}

/* A vCPU's registers can be read by its own thread only, while it doesn't run. */
static uint64_t vcpus_us(const struct migration *m)
{
	unsigned int at_once = (unsigned int)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);

	return DIV_ROUND_UP(m->guest->q->vm.vcpus_len, at_once) * VCPU_US;
}

static uint64_t rehearse(void *opaque)
{
	struct migration *m = opaque;
	int64_t begin = time_ns();
	struct err e;

	if (migration_call(m, rehearse_here, &e) < 0)
		return 0;
	return (uint64_t)(time_ns() - begin) / 1000 + vcpus_us(m);
}

/* Stopping may take as long as the whole pause, and at least a second, as for an upgrade. */
static int64_t stop_until(const struct migration *m)
{
	int64_t limit_ns = (int64_t)__atomic_load_n(&m->job.options.limit_us, __ATOMIC_RELAXED) *
			   NS_PER_US;

	return time_ns() + MAX(limit_ns, (int64_t)NS_PER_SEC);
}

static int store_here(struct migration *m, struct err *e)
{
	block_store_close(m->store);
	m->store = NULL;
	return block_store_open(&m->store, e);
}

/* The job's thread can wait. */
static int store(struct migration *m, struct err *e)
{
	int r = block_store_run(m->store, e);

	return r >= 0 && cancelled(m) ? err_set(e, ECANCELED, "cancelled") : r;
}

/* Most of what the guest wrote is stored while it runs. If that took long, it has written RAM
 * meanwhile, which another round is for; afterwards there is little left to store. */
static int store_before(struct migration *m, struct err *e)
{
	int64_t begin = time_ns();
	int r = migration_call(m, store_here, e);
	int64_t took_us;

	if (r >= 0)
		r = store(m, e);
	if (r < 0)
		return r;
	took_us = (time_ns() - begin) / NS_PER_US;
	if (m->stored_late || took_us <= STORE_US)
		return 0;
	m->stored_late = true;
	return err_set(e, EAGAIN, "it took %jd ms to store what the guest wrote to its disks",
		       (intmax_t)(took_us / 1000));
}

static int stop_here(struct migration *m, struct err *e)
{
	struct q35 *q = m->guest->q;
	int r;

	m->was = q->vm.state;
	m->job.options.runstate = run_state_name(m->was);
	m->runs_on = vm_stop_within(&q->vm, RUN_FINISH_MIGRATE, stop_until(m), e) < 0;
	if (m->runs_on)
		return -EAGAIN;
	m->job.stopped_ns = q->vm.stopped_ns;
	slowdown_end(m);
	hints_done(m);
	r = x86_cpus_capture(q->vcpus, e);
	if (r >= 0)
		r = store_here(m, e);
	if (r >= 0)
		r = points_make(m, e);
	if (r < 0)
		return r;
	block_inactivate_all();
	image_capture(&m->image);
	return x86_cpus_captured(q->vcpus, e);
}

static int resume_here(struct migration *m, struct err *e)
{
	struct vm *vm = &m->guest->q->vm;
	int r = block_activate_all(e);

	if (r < 0)
		log_error("migrate: the guest can't run on here: %s", e->msg);
	if (r < 0)
		vm_set_state(vm, RUN_IO_ERROR);
	else if (m->was == RUN_RUNNING || m->was == RUN_SUSPENDED)
		vm_go_on(vm);
	else
		vm_set_state(vm, m->was);
	return 0;
}

static void resume(void *opaque)
{
	struct migration *m = opaque;
	struct err e;

	if (m->resumed)
		return;
	m->resumed = true;
	if (migration_call(m, resume_here, &e) < 0)
		log_debug("migrate: %s", e.msg);
}

static int wait_for_continue(struct migration *m, struct err *e)
{
	bool cancel;

	migration_status_set(m, MIGRATION_PRE_SWITCHOVER);
	pthread_mutex_lock(&m->lock);
	while (!m->go_on && !m->cancel)
		pthread_cond_wait(&m->changed, &m->lock);
	cancel = m->cancel;
	pthread_mutex_unlock(&m->lock);
	if (cancel)
		return err_set(e, ECANCELED, "cancelled");
	migration_status_set(m, MIGRATION_DEVICE);
	return 0;
}

static int stop(void *opaque, struct err *e)
{
	struct migration *m = opaque;
	int r = store_before(m, e);

	m->runs_on = r < 0;
	if (r >= 0)
		r = migration_call(m, stop_here, e);
	if (m->runs_on)
		return r;
	if (r >= 0)
		r = store(m, e);
	if (r >= 0 && m->capabilities & CAPABILITY_PAUSE)
		r = wait_for_continue(m, e);
	if (r < 0)
		resume(m);
	return r == -EAGAIN ? -EIO : r;
}

/* Only the target's word is missing. Who stops waiting for it can't know who has the guest. */
static void stop_waiting(struct migration *m)
{
	pthread_mutex_lock(&m->lock);
	migration_cut(m);
	pthread_mutex_unlock(&m->lock);
}

static int confirm_late(sd_event_source *source, uint64_t usec, void *opaque)
{
	log_warn("migrate: the target has everything and says nothing; it isn't waited for any "
		 "more");
	stop_waiting(opaque);
	return 0;
}

static void confirm_begins(void *opaque)
{
	struct migration *m = opaque;
	uint64_t limit_us = migration_confirm_us(m);

	if (limit_us &&
	    sd_event_add_time_relative(loop_event(m->guest->v->loop), &m->confirm_timer,
				       CLOCK_MONOTONIC, limit_us, 0, confirm_late, m) < 0)
		log_warn("migrate: without a timer, the target's word is waited for without end");
}

static void progress(void *opaque, const struct migrate_progress *p)
{
	struct migration *m = opaque;
	unsigned int before;

	pthread_mutex_lock(&m->lock);
	before = m->progress.round;
	if (p->phase == MIGRATE_SWITCHOVER && m->progress.phase != p->phase)
		m->running_bytes = p->sent_bytes;
	m->progress = *p;
	pthread_mutex_unlock(&m->lock);
	if (p->phase == MIGRATE_PRECOPY)
		migration_active(m);
	if (p->round != before)
		migration_pass(m, p->round);
	if (p->phase == MIGRATE_CONFIRM)
		loop_post(m->guest->v->loop, confirm_begins, m);
	if (p->phase == MIGRATE_HANDOVER && m->stays)
		resume(m); /* the channel has it all but its end, RAM is written already */
}

static bool shared(const struct ram_block *b)
{
	struct stat st;

	return !b->readonly && fstat(b->fd, &st) == 0 && st.st_nlink > 0; /* a file with a name */
}

static bool both_ways(const struct migration *m)
{
	return m->uri.kind == URI_TCP || m->uri.kind == URI_UNIX || m->uri.kind == URI_FD;
}

static void hooks_fill(struct migration *m)
{
	m->job.hooks = (struct migrate_hooks){.dirty_start = dirty_start,
					      .dirty_sync = dirty_sync,
					      .dirty_clear = dirty_clear,
					      .dirty_stop = dirty_stop,
					      .rehearse = rehearse,
					      .stop = stop,
					      .slow = slow,
					      .resume = resume,
					      .hint_start = hints_start,
					      .hint_stop = hints_stop,
					      .cancelled = cancelled,
					      .progress = progress,
					      .opaque = m};
}

/**
 * migration_quiet_hooks() - For a job that only asks: nobody sees how far it is
 * @m:	Prepared
 */
void migration_quiet_hooks(struct migration *m)
{
	hooks_fill(m);
	m->job.hooks.progress = NULL;
}

static void options_fill(struct migration *m)
{
	struct migrate_options *o = &m->job.options;

	migration_limits(m);
	migration_multifd(m);
	migration_content(m);
	slowdown_begin(m);
	o->preflight = m->description ? &m->preflight : NULL;
	o->return_path = m->capabilities & CAPABILITY_RETURN_PATH && both_ways(m);
	o->ignore_shared = m->capabilities & CAPABILITY_IGNORE_SHARED;
	o->shared = shared;
	if (m->capabilities & CAPABILITY_UUID)
		o->uuid = m->guest->v->options->uuid;
	hooks_fill(m);
}

static int connect_once(struct migration *m, struct channel **ret, struct err *e)
{
	const struct tls_client tls = {.credentials = m->tls, .host = m->tls_host};

	return uri_connect(&m->uri, &tls, cancelled, m, ret, e);
}

/* The channels beside the stream: as many connections more to the same place. */
static int connect_more(struct migration *m, struct err *e)
{
	unsigned int n = m->job.options.multifd.channels;
	struct channel *c;
	int r = 0;

	if (n && m->uri.kind != URI_TCP && m->uri.kind != URI_UNIX)
		return err_set(e, EINVAL,
			       "multifd needs tcp: or unix:, since it connects several times");
	while (r >= 0 && m->multifd_len < n) {
		r = connect_once(m, &c, e);
		if (r >= 0)
			r = migration_add_channel(m, c, e);
	}
	return r;
}

/**
 * migration_connect_and_send() - The job, but for a file
 * @m:		From the job's thread
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int migration_connect_and_send(struct migration *m, struct err *e)
{
	struct channel *c;
	int r = 0;

	if (!m->channel) {
		r = connect_once(m, &c, e);
		if (r >= 0)
			r = migration_channel(m, c, e);
	}
	if (r >= 0)
		r = channel_handshake(m->channel, e); /* a QEMU takes the first for the stream */
	if (r >= 0)
		r = connect_more(m, e);
	return r < 0 ? r : migrate_precopy(&m->job, e);
}

static void run(struct migration *m)
{
	m->ret = migration_lazy_wait(m, &m->e);
	if (m->ret < 0)
		return;
	m->job.options.file_offset = m->uri.offset;
	m->job.options.file_fd = m->file_fd;
	if (m->uri.kind == URI_FILE)
		m->ret = migrate_snapshot_save(&m->job, m->uri.rest, true, &m->e);
	else
		m->ret = migration_connect_and_send(m, &m->e);
}

static void left(struct migration *m)
{
	struct vm *vm = &m->guest->q->vm;

	vm_set_state(vm, RUN_POSTMIGRATE);
	if (m->job.unsure)
		log_error("migrate: %s. The guest stays stopped here; let it run on (cont) only "
			  "if it doesn't run there",
			  m->e.msg);
}

/* The guest may run on already. */
static void points_give_up(struct migration *m)
{
	struct vm *vm = &m->guest->q->vm;
	bool runs = vm_active(vm);

	if (!json_array_size(m->points))
		return;
	if (runs)
		vm_stop(vm, RUN_SAVE_VM);
	points_abort(m);
	if (runs)
		vm_start(vm);
}

static void finished(void *opaque)
{
	struct migration *m = opaque;

	m->confirm_timer = sd_event_source_disable_unref(m->confirm_timer);
	if ((m->ret >= 0 && !m->stays) || m->job.unsure)
		left(m);
	if (m->ret < 0 && m->ret != -ECANCELED)
		log_warn("migrate: %s", m->e.msg);
	if (m->ret < 0)
		points_give_up(m);
	m->progress = m->job.progress;
	check_remember(m);
	migration_join(m);
	migration_lazy_release(m);
	migration_status_set(m, m->ret >= 0            ? MIGRATION_COMPLETED
				: m->ret == -ECANCELED ? MIGRATION_CANCELLED
						       : MIGRATION_FAILED);
	snapshot_job_ended(m);
}

/**
 * migration_may_leave() - Can the guest go now?
 * @m:		Main thread
 * @e:		Set on failure only
 *
 * Errors: EBUSY a migration or an upgrade is under way; EPERM it has left
 * Return: 0, or a negative errno
 */
int migration_may_leave(struct migration *m, struct err *e)
{
	if (migration_busy(m))
		return err_set(e, EBUSY, "There's a migration process in progress");
	if (guest_stays(m->guest, e) < 0)
		return -e->code;
	if (m->guest->q->vm.state == RUN_INMIGRATE)
		return err_set(e, EBUSY, "Guest is waiting for an incoming migration");
	if (m->guest->q->vm.state == RUN_POSTMIGRATE)
		return err_set(e, EPERM,
			       "Can't migrate the vm that was paused due to previous migration");
	return guest_not_dumping(m->guest, e);
}

/**
 * migration_take_fd() - A passed descriptor becomes the channel; only the main thread knows it
 * @m:		@uri is parsed; of another kind: nothing happens
 * @e:		Set on failure only
 *
 * Errors: EINVAL there is no descriptor of that name
 * Return: 0, or a negative errno
 */
int migration_take_fd(struct migration *m, struct err *e)
{
	struct channel *c;
	int r;

	if (m->uri.kind != URI_FD)
		return 0;
	r = connect_once(m, &c, e);
	return r < 0 ? r : migration_channel(m, c, e);
}

/**
 * migration_take_file() - A file of a set of descriptors; only the main thread knows those
 * @m:		@uri is parsed, a file
 * @flags:	O_RDONLY or O_WRONLY
 * @e:		Set on failure only
 *
 * Errors: as fdstore_open()
 * Return: 0 also if it is another file, which the job opens, or a negative errno
 */
int migration_take_file(struct migration *m, int flags, struct err *e)
{
	int fd, r;

	if (strncmp(m->uri.rest, "/dev/fdset/", 11) != 0)
		return 0;
	r = fdstore_open(m->uri.rest, flags, 0, &fd, e);
	if (r == 0)
		m->file_fd = fd;
	return r;
}

/* What only a file can have. */
static int file_options(struct migration *m, const json_t *args, struct err *e)
{
	struct migrate_options *o = &m->job.options;

	mem_free(&m->points_prefix);
	json_decref(m->points);
	m->points = NULL;
	json_decref(m->points_devices);
	m->points_devices = json_incref(json_object_get(args, "outlive-devices"));
	if (option_str(args, "outlive-points", NULL))
		m->points_prefix = str_dup(option_str(args, "outlive-points", ""));
	m->stays = option_bool(args, "outlive-continue", false);
	o->relayed = option_bool(args, "outlive-relayed", false);
	o->mapped = option_bool(args, "outlive-mapped", m->capabilities & CAPABILITY_MAPPED);
	o->packed = option_bool(args, "outlive-packed", option_bool(args, "outlive-mapped", false));
	o->compress = !strcmp(option_str(args, "outlive-compress", "none"), "zstd");
	if (o->mapped && (o->compress || m->capabilities & CAPABILITY_IGNORE_SHARED))
		return err_set(e, EINVAL,
			       "pages at fixed places (mapped-ram) can be neither compressed nor "
			       "left out (x-ignore-shared)");
	if (o->packed && !o->mapped)
		return err_set(e, EINVAL, "outlive-packed: only with outlive-mapped");
	if (m->uri.kind == URI_FILE)
		return migration_take_file(m, O_WRONLY, e);
	if (m->stays)
		return err_set(e, EINVAL,
			       "outlive-continue: only with file:, or the guest would run twice");
	if (o->mapped || o->compress || m->points_prefix)
		return err_set(e, EINVAL,
			       "mapped-ram, outlive-compress and outlive-points: only with file:");
	return points_blocker(e);
}

static int start(struct migration *m, const json_t *args, struct err *e)
{
	bool asks = !option_bool(args, "outlive-no-check", false);
	int r = migration_prepare(m, e);

	if (r >= 0)
		r = uri_parse(option_str(args, "uri", ""), &m->uri, e);
	if (r >= 0)
		r = file_options(m, args, e);
	if (r >= 0 && m->uri.kind != URI_FILE)
		r = migration_tls(m, false, e);
	if (r >= 0)
		r = migration_content_fits(m, asks && both_ways(m), e);
	if (r >= 0)
		r = migration_take_fd(m, e);
	if (r < 0)
		return r;
	r = asks ? check_prepare(m, false, e) : 0;
	if (r < 0)
		return r;
	options_fill(m);
	m->incoming = m->resumed = false;
	migration_setup(m);
	return migration_thread(m, run, finished, e);
}

/**
 * guest_migrate() - QMP migrate
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_migrate.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EBUSY one is under way; EPERM it was migrated already; EINVAL; EOPNOTSUPP a device can't
 * follow
 * Return: 0, or a negative errno
 */
int guest_migrate(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	struct guest *g = opaque;
	struct migration *m = g->migration;
	int r = migration_may_leave(m, e);

	if (r < 0)
		return r;
	if (option_bool(args, "resume", false))
		return err_set(e, EINVAL, "there is no paused post-copy to go on with");
	r = start(m, args, e);
	if (r < 0) {
		migration_release(m);
		m->incoming = false;
		m->e = *e;
		migration_status_set(m, MIGRATION_FAILED);
	}
	return r;
}

/* Everything is sent: the target may run the guest any moment. */
static bool too_late(const struct migration *m)
{
	return m->progress.phase >= MIGRATE_HANDOVER && m->progress.phase <= MIGRATE_DONE;
}

/**
 * guest_migrate_cancel() - QMP migrate_cancel
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EPERM too late
 * Return: 0 also if there is nothing to cancel, as QEMU
 */
int guest_migrate_cancel(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			 struct err *e)
{
	struct migration *m = ((struct guest *)opaque)->migration;
	bool late;

	if (!migration_busy(m) || m->incoming)
		return 0;
	pthread_mutex_lock(&m->lock);
	late = too_late(m);
	if (!late) {
		m->cancel = true;
		migration_cut(m);
		pthread_cond_broadcast(&m->changed);
	}
	pthread_mutex_unlock(&m->lock);
	if (late)
		return err_set(e, EPERM, "too late: the target has everything and may run it");
	migration_status_set(m, MIGRATION_CANCELLING);
	return 0;
}

/**
 * guest_migrate_continue() - QMP migrate-continue
 * @opaque:	The guest
 * @rq:		The command
 * @args:	@state: where it waits
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EPERM it doesn't wait there
 * Return: 0, or a negative errno
 */
int guest_migrate_continue(void *opaque, struct control_request *rq, const json_t *args,
			   json_t **ret, struct err *e)
{
	struct migration *m = ((struct guest *)opaque)->migration;
	const char *is = migration_status_name(migration_status(m));
	const char *wanted = option_str(args, "state", "");

	if (strcmp(is, wanted))
		return err_set(e, EPERM, "Migration not in expected state: %s", is);
	if (strcmp(is, "pre-switchover"))
		return err_set(e, EPERM, "the migration doesn't wait in state %s", is);
	pthread_mutex_lock(&m->lock);
	m->go_on = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/**
 * guest_migrate_pause() - QMP migrate-pause
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * The way out where migrate_cancel is too late: the connection is cut, and the guest stays stopped
 * here if the target may have it.
 *
 * Errors: EPERM it isn't the target's word that is waited for
 * Return: 0, or a negative errno
 */
int guest_migrate_pause(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	struct migration *m = ((struct guest *)opaque)->migration;
	bool waits;

	pthread_mutex_lock(&m->lock);
	waits = m->progress.phase == MIGRATE_HANDOVER || m->progress.phase == MIGRATE_CONFIRM;
	pthread_mutex_unlock(&m->lock);
	if (!migration_busy(m) || m->incoming || !waits)
		return err_set(e, EPERM,
			       "migrate-pause is for a migration whose target has everything and "
			       "doesn't answer; before that, migrate_cancel");
	stop_waiting(m);
	return 0;
}
