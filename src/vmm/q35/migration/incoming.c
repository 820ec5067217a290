/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest comes. The machine is made as for a start and waits in run state
 * inmigrate; the main loop accepts one source, and from there on the job's thread reads. RAM goes
 * to its place, device states to scratch copies. When all of it is there and judged, the main
 * thread takes the images, applies the states and gives the vCPUs theirs; only then the source is
 * told that the guest is here, and then it runs.
 *
 * What was refused has changed no device, so that another stream can be taken; the RAM is whatever
 * has come. The vCPUs' states are the kernel's to judge, when devices have theirs: if it refuses
 * one, the machine is reset and the images are let go.
 */
#include "vmm/q35/migration/migration.h"

#include "base/log.h"
#include "base/owned.h"
#include "block/block.h"
#include "char/address.h"
#include "machine/gap.h"
#include "migrate/beacon.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* The kernel refused a vCPU: the images are the source's again, and what the devices have got is
 * gone, so that another stream can be taken. */
static void adopt_undo(struct guest *g)
{
	block_inactivate_all();
	guest_empty(g);
}

static int adopt_here(struct migration *m, struct err *e)
{
	struct q35 *q = m->guest->q;
	int r = block_activate_all(e);

	if (r < 0)
		return r;
	m->apply(m->apply_arg);
	vm_catch_up(&q->vm, m->job.stopped_ns);
	r = x86_cpus_commit(q->vcpus, e);
	if (r < 0)
		adopt_undo(m->guest);
	return r;
}

static int adopt(void *opaque, void (*apply)(void *arg), void *arg, struct err *e)
{
	struct migration *m = opaque;

	m->apply = apply;
	m->apply_arg = arg;
	return migration_call(m, adopt_here, e);
}

static bool is_file(const struct migration *m)
{
	return m->uri.kind == URI_FILE || m->uri.kind == URI_LAZY;
}

static void run(struct migration *m)
{
	const struct lazy_hooks lazy = migration_lazy(m);

	migration_status_set(m, MIGRATION_ACTIVE);
	m->job.options.one_way = is_file(m) || m->uri.kind == URI_EXEC;
	m->job.options.file_offset = m->uri.offset;
	m->job.options.file_fd = m->file_fd;
	m->job.options.lazy = m->uri.kind == URI_LAZY ? &lazy : NULL;
	if (is_file(m)) {
		m->ret = migrate_snapshot_load(&m->job, m->uri.rest, &m->e);
		return;
	}
	m->ret = channel_handshake(m->job.channel, &m->e); /* fd: comes without it */
	if (m->ret >= 0)
		m->ret = migrate_load(&m->job, &m->e);
}

static void arrived(struct migration *m)
{
	struct guest *g = m->guest;
	const struct announce_rules rules = migration_announce_rules(m);
	enum run_state s = RUN_RUNNING;

	if (m->job.runstate[0] && !run_state_parse(m->job.runstate, &s))
		s = RUN_PAUSED;
	g->incoming = false;
	if (s == RUN_SUSPENDED) {
		vm_set_asleep(&g->q->vm);
		s = RUN_RUNNING;
	}
	if (s == RUN_RUNNING && !g->stopped)
		vm_start(&g->q->vm);
	else
		vm_set_state(&g->q->vm, s == RUN_RUNNING ? RUN_PAUSED : s);
	if (vm_running(&g->q->vm))
		announce_begin(g, &rules, NULL);
}

static void refused(struct migration *m)
{
	struct vmm *v = m->guest->v;

	log_error("incoming migration: %s", m->e.msg);
	if (!m->exit_on_error)
		return;
	v->exit_code = 1;
	control_flush(v->control);
	loop_exit(v->loop);
}

static void finished(void *opaque)
{
	struct migration *m = opaque;
	OWNED(char) *again = NULL;
	struct err e;

	m->progress = m->job.progress;
	m->lazy = m->job.lazy;
	again = m->job.asked_only && m->listens_uri ? str_dup(m->listens_uri) : NULL;
	migration_join(m);
	migration_lazy_release(m);
	if (again && incoming_begin(m, again, m->exit_on_error, &e) == 0) {
		log_info("incoming migration: asked whether a guest fits: %s",
			 m->ret == -ECANCELED ? "it does" : "it doesn't");
		return;
	}
	migration_status_set(m, m->ret < 0 ? MIGRATION_FAILED : MIGRATION_COMPLETED);
	if (m->ret < 0)
		refused(m);
	else
		arrived(m);
	snapshot_job_ended(m);
}

static int job_start(struct migration *m, struct channel *taken, struct err *e)
{
	struct migrate_options *o = &m->job.options;
	int r;

	m->channel = taken; /* whatever happens, it is released with the rest */
	r = migration_prepare(m, e);
	if (r < 0)
		return r;
	image_capture(&m->image); /* what the stream doesn't say stays as it is */
	m->job.channel = taken;
	m->job.multifd = m->multifd;
	m->job.multifd_len = m->multifd_len;
	migration_multifd(m);
	migration_content(m);
	if (m->capabilities & CAPABILITY_UUID)
		o->uuid = m->guest->v->options->uuid;
	o->ignore_shared = m->capabilities & CAPABILITY_IGNORE_SHARED;
	m->job.hooks.adopt = adopt;
	m->job.hooks.compare = check_compare;
	return migration_thread(m, run, finished, e);
}

static void start_failed(struct migration *m, const struct err *e)
{
	m->e = *e;
	m->ret = -e->code;
	migration_release(m);
	migration_status_set(m, MIGRATION_FAILED);
	refused(m);
}

/* The stream, and the channels beside it: all belong to @m from now on. */
static void on_source(void *opaque, struct channel *stream, struct channel *const *channels,
		      unsigned int n)
{
	struct migration *m = opaque;
	struct err e;
	int r;

	beacon_destroy(m->beacon);
	m->beacon = NULL;
	r = migration_channel(m, stream, &e);
	for (unsigned int i = 0; i < n; i++) {
		int added = migration_add_channel(m, channels[i], &e);

		r = r < 0 ? r : added;
	}
	if (r >= 0)
		r = job_start(m, stream, &e);
	if (r < 0)
		start_failed(m, &e);
}

static int listen_for_source(struct migration *m, struct err *e)
{
	struct arrivals_rules rules = {.tls = m->tls, .done = on_source, .opaque = m};
	int fd, r = uri_listen(&m->uri, &fd, e);

	if (r < 0)
		return r;
	beacon_destroy(m->beacon);
	m->beacon = beacon_create(m->guest->v->loop, fd);
	m->listens = address_describe(fd);
	m->listens_uri = m->uri.kind == URI_TCP ? address_name(fd, false) : str_dup(m->uri.text);
	migration_multifd(m);
	rules.channels = m->job.options.multifd.channels;
	return arrivals_create(&m->arrivals, m->guest->v->loop, fd, &rules, e);
}

static int begin(struct migration *m, struct err *e)
{
	struct channel *c = NULL;
	int r = is_file(m) ? migration_take_file(m, O_RDONLY, e) : migration_tls(m, true, e);

	if (r >= 0 && uri_waits(&m->uri))
		return listen_for_source(m, e);
	if (r >= 0 && !is_file(m))
		r = uri_open(&m->uri, m->tls, &c, e);
	return r < 0 ? r : job_start(m, c, e);
}

/**
 * incoming_begin() - Wait for a guest, or begin to read it
 * @m:		No job is under way, and the machine waits
 * @uri:	Where from
 * @exit_on_error: End the process if it doesn't arrive
 * @e:		Set on failure only
 *
 * Errors: EINVAL; as bind(2) and the like
 * Return: 0, or a negative errno
 */
int incoming_begin(struct migration *m, const char *uri, bool exit_on_error, struct err *e)
{
	int r = uri_parse(uri, &m->uri, e);

	m->incoming = true;
	m->exit_on_error = exit_on_error;
	migration_setup(m);
	if (r >= 0)
		r = begin(m, e);
	if (r < 0) {
		migration_release(m);
		migration_status_set(m, MIGRATION_FAILED);
	}
	return r;
}

/**
 * guest_migrate_incoming() - QMP migrate-incoming
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_migrate.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EPERM the machine doesn't wait for a guest; EBUSY it waits elsewhere already
 * Return: 0, or a negative errno
 */
int guest_migrate_incoming(void *opaque, struct control_request *rq, const json_t *args,
			   json_t **ret, struct err *e)
{
	struct guest *g = opaque;
	struct migration *m = g->migration;

	if (g->q->vm.state != RUN_INMIGRATE)
		return err_set(e, EPERM, "'-incoming' was not specified on the command line");
	if (migration_busy(m) || m->arrivals)
		return err_set(e, EBUSY, "The incoming migration has already been started");
	return incoming_begin(m, option_str(args, "uri", ""),
			      option_bool(args, "exit-on-error", false), e);
}
