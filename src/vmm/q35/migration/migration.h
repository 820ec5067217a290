/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_MIGRATION_H
#define VMM_MIGRATION_H

#include "machine/throttle.h"
#include "migrate/channel/uri.h"
#include "migrate/converge.h"
#include "migrate/migrate.h"
#include "vmm/image.h"
#include "vmm/q35/guest.h"
#include "vmm/q35/migration/announce.h"
#include "vmm/q35/migration/arrivals.h"

#include <pthread.h>

enum { MULTIFD_CHANNELS_MAX = 255 };

/*
 * Theory of operation: the guest's part of a migration; outgoing.c sends it, incoming.c takes it
 * in. A job has one thread, which drives the engine of the migrate room. What touches vCPUs and
 * devices is done by the main thread, which the job asks and waits for (migration_call); so the
 * guest's state is captured and applied in one go, with nothing of the main loop in between, and
 * the monitor answers all the time. Should the process have to end, the main thread stops answering
 * and the job fails (migration_end).
 */

/**
 * enum migration_status - What query-migrate says; in the order in which they come
 */
enum migration_status {
	MIGRATION_NONE,
	MIGRATION_SETUP,
	MIGRATION_CANCELLING,
	MIGRATION_CANCELLED,
	MIGRATION_ACTIVE,
	MIGRATION_PRE_SWITCHOVER, /* guest stopped; waits for migrate-continue */
	MIGRATION_DEVICE,         /* guest stopped; the rest is sent */
	MIGRATION_COMPLETED,
	MIGRATION_FAILED,
};

/**
 * enum migration_capability - Those that can be switched on, as bits
 */
enum migration_capability {
	CAPABILITY_EVENTS = 1 << 0,
	CAPABILITY_RETURN_PATH = 1 << 1,
	CAPABILITY_PAUSE = 1 << 2,
	CAPABILITY_LATE_ACTIVATE = 1 << 3,
	CAPABILITY_UUID = 1 << 4,
	CAPABILITY_IGNORE_SHARED = 1 << 5,
	CAPABILITY_MAPPED = 1 << 6,
	CAPABILITY_MULTIFD = 1 << 7,
	CAPABILITY_AUTO_CONVERGE = 1 << 8,
	CAPABILITY_DIRTY_LIMIT = 1 << 9,
	CAPABILITY_XBZRLE = 1 << 15,
	CAPABILITY_CONTENT = 1 << 16,
};

/**
 * struct slowdown - A guest that writes faster than it is sent is slowed. The job's thread, but for
 * what is under the migration's lock
 * @rules:	Under the lock
 * @dirty_limit: Bytes a second of each vCPU. Under the lock
 * @stuck:	Rounds in a row that didn't get nearer to the end
 * @percent:	How much all vCPUs are slowed, 0: not. Under the lock
 * @limited:	The dirty limit holds. Under the lock
 * @throttle:	Slows all vCPUs, or NULL
 * @rested_ns, @rested_len: Of each vCPU when the job began; owned
 */
struct slowdown {
	struct converge_rules rules;
	uint64_t dirty_limit;
	unsigned int stuck, percent;
	bool limited;
	struct throttle *throttle;
	uint64_t *rested_ns;
	unsigned int rested_len;
};

/**
 * struct migration - The guest's migrations, one at a time. Main thread, but for what is under
 * @lock
 * @guest:	Whose
 * @capabilities: Bits of enum migration_capability
 * @parameters:	As query-migrate-parameters shows them
 * @lock, @changed: Between the job's thread and the main thread
 * @status:	Under @lock
 * @progress:	Latest of the job. Under @lock
 * @running_bytes: Sent until the guest was stopped; 0: it wasn't yet. Under @lock
 * @cancel, @go_on: Asked by the operator. Under @lock
 * @dead:	The main thread answers no more. Under @lock
 * @call, @call_ret, @call_e: What the main thread is asked to do, NULL when done. Under @lock
 * @incoming:	The guest comes, it doesn't leave
 * @exit_on_error: If it doesn't arrive, the process ends
 * @busy:	There is a thread
 * @thread:	Owns @job
 * @uri:	Where to or from
 * @file_fd:	Its file if that came as a descriptor; 0: it didn't
 * @channel:	The job's, for cutting it. Under @lock
 * @multifd, @multifd_len: Those beside it. Under @lock
 * @tls:	Its channels are TLS, with these; NULL: they aren't
 * @tls_host:	Name that the target's certificate must have; NULL: that of its address
 * @job:	The engine's
 * @lazy:	Brings memory that is still in a snapshot; NULL: all is there
 * @points_prefix: A snapshot keeps what the disks are in files of this name; NULL: it doesn't
 * @points:	And did: filename, file, older of each disk. Main thread
 * @points_devices: Names of the nodes that are kept; NULL: all disks
 * @images:	Filename, size and time of change of each disk as of the pause. Main thread
 * @image:	The guest's own sections, with room for their states
 * @copies:	The same sections as @job has them: they read and fill that room
 * @ret, @e:	How the job ended
 * @stays:	A snapshot: the guest runs on here as soon as all of it is written
 * @resumed:	And it does. Job's thread
 * @runs_on:	It wasn't stopped. Job's thread, or while that waits
 * @store:	The images whose content must be stored before the guest goes. While that waits
 * @stored_late: And once that took long, and another round followed. Job's thread
 * @was:	Run state before the guest was stopped
 * @apply, @apply_arg: Of struct migrate_hooks
 * @arrivals:	Waits for a source, or NULL
 * @listens:	Where, as query-migrate says it, or NULL
 * @listens_uri: The same as an URI, with the port that the kernel chose, or NULL
 * @confirm_timer: Ends the wait for the target's word, or NULL
 * @beacon:	Says so to whoever asks, or NULL
 * @slowdown:	How the guest is slowed so that the job ends
 * @description: Of the guest here, for the other side; owned
 * @preflight:	The question that is asked with it
 * @theirs, @found: What the source described, and the answer. While the other thread waits
 * @found_last:	What the target of the last job answered; owned
 * @hinting:	The balloon's driver was asked which pages are free, and must be told when it has
 *		them back. Main thread, or the job's while that waits
 * @content_file: Name of the file whose pages needn't be sent, or NULL
 * @check:	Only the question is asked, for this request
 */
struct migration {
	struct guest *guest;
	unsigned int capabilities;
	json_t *parameters;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum migration_status status;
	struct migrate_progress progress;
	uint64_t running_bytes;
	bool cancel, go_on, dead;
	int (*call)(struct migration *m, struct err *e);
	int call_ret;
	struct err *call_e;
	bool incoming, exit_on_error, busy;
	pthread_t thread;
	struct uri uri;
	int file_fd;
	struct channel *channel, *multifd[MULTIFD_CHANNELS_MAX];
	unsigned int multifd_len;
	struct tls_credentials *tls;
	char *tls_host;
	struct migrate_job job;
	struct lazy *lazy;
	char *points_prefix;
	json_t *points, *images, *points_devices;
	struct image image;
	struct migrate_sections copies;
	int ret;
	struct err e;
	bool stays, resumed, runs_on, stored_late;
	struct block_store *store;
	enum run_state was;
	void (*apply)(void *arg);
	void *apply_arg;
	struct arrivals *arrivals;
	json_t *listens;
	char *listens_uri;
	sd_event_source *confirm_timer;
	struct beacon *beacon;
	struct slowdown slowdown;
	json_t *description;
	struct preflight preflight;
	const json_t *theirs;
	json_t *found, *found_last;
	bool hinting;
	char *content_file;
	struct control_request *check;
};

/* job.c: what both directions share. */
struct migration *migration_create(struct guest *g);
void migration_end(struct migration *m); /* the loop has ended */
MUST_CHECK int migration_call(struct migration *m, int (*fn)(struct migration *m, struct err *e),
			      struct err *e);
void migration_status_set(struct migration *m, enum migration_status s); /* any thread */
void migration_setup(struct migration *m);
void migration_active(struct migration *m);                   /* any thread */
void migration_pass(struct migration *m, unsigned int round); /* any thread */
enum migration_status migration_status(struct migration *m);
bool migration_busy(const struct migration *m);
MUST_CHECK int migration_prepare(struct migration *m, struct err *e);
MUST_CHECK int migration_thread(struct migration *m, void (*run)(struct migration *m),
				loop_fn *finished, struct err *e);
void migration_release(struct migration *m);
/* The thread has its channel; ECANCELED if it was called off before. */
MUST_CHECK int migration_channel(struct migration *m, struct channel *taken, struct err *e);
/* One more beside it; the same. */
MUST_CHECK int migration_add_channel(struct migration *m, struct channel *taken, struct err *e);
/* Everything on any of its channels fails from now on. Under @lock */
void migration_cut(struct migration *m);
/* The thread has ended: joins it, frees what it used. */
void migration_join(struct migration *m);
const char *migration_status_name(enum migration_status s);

/* tls.c: objects tls-creds-x509 and tls-creds-psk. */
MUST_CHECK int migration_tls(struct migration *m, bool server, struct err *e);
MUST_CHECK int tls_object_check(const struct guest *g, const json_t *object, struct err *e);

/* settings.c */
MUST_CHECK int migration_globals(struct migration *m, struct err *e);
const char *migration_parameter(struct migration *m, const char *name); /* a text */
void migration_limits(struct migration *m);
void migration_multifd(struct migration *m);
struct announce_rules migration_announce_rules(struct migration *m);
uint64_t migration_confirm_us(struct migration *m);
void migration_content(struct migration *m);
MUST_CHECK int migration_content_fits(const struct migration *m, bool asks, struct err *e);

/* hints.c: pages that the guest doesn't use. */
bool hints_start(void *opaque); /* struct migrate_hooks */
void hints_stop(void *opaque);
void hints_done(struct migration *m);
void hints_over(struct migration *m);

/* snapshot/lazy.c: the guest runs while its memory is read. */
struct lazy_hooks migration_lazy(struct migration *m);
void migration_lazy_release(struct migration *m);                       /* if all is there */
MUST_CHECK int migration_lazy_wait(struct migration *m, struct err *e); /* from the job's thread */
json_t *migration_lazy_info(const struct migration *m); /* NULL: nothing is missing */

/* slowdown.c */
void slowdown_begin(struct migration *m);
void slowdown_round(struct migration *m, const struct migrate_progress *p, uint64_t limit_us);
void slowdown_end(struct migration *m); /* any thread, more than once */
void slowdown_describe(struct migration *m, json_t *info);

/* snapshot/points.c */
MUST_CHECK int points_make(struct migration *m, struct err *e);
void guest_empty(struct guest *g); /* stopped: at power-on, ready to take a guest */
void points_abort(struct migration *m);
MUST_CHECK int points_blocker(struct err *e);
void points_take_back(struct migration *m);
void points_keep(struct guest *g, const json_t *disks);
control_op guest_rollback, guest_point_drop, guest_point_keep;

/* outgoing.c */
MUST_CHECK int migration_may_leave(struct migration *m, struct err *e);
MUST_CHECK int migration_connect_and_send(struct migration *m, struct err *e);
MUST_CHECK int migration_take_fd(struct migration *m, struct err *e);
MUST_CHECK int migration_take_file(struct migration *m, int flags, struct err *e);
void migration_quiet_hooks(struct migration *m);

/* check.c */
MUST_CHECK int check_prepare(struct migration *m, bool only, struct err *e);
json_t *check_compare(void *opaque, const json_t *description); /* struct migrate_hooks */
void check_remember(struct migration *m);
void check_describe(struct migration *m, json_t *info);
control_op guest_check_migration;

/* slowdown.c */
control_op guest_query_vcpu_dirty_limit;

/* snapshot/jobs.c */
void snapshot_job_ended(struct migration *m);
control_op guest_snapshot_save, guest_snapshot_load, guest_snapshot_delete;

/* incoming.c: -incoming, and migrate-incoming. */
MUST_CHECK int incoming_begin(struct migration *m, const char *uri, bool exit_on_error,
			      struct err *e);

/* QMP. */
control_op guest_migrate, guest_migrate_cancel, guest_migrate_continue, guest_migrate_pause,
	guest_migrate_incoming, guest_query_migrate, guest_migrate_set_capabilities,
	guest_query_migrate_capabilities, guest_migrate_set_parameters,
	guest_query_migrate_parameters;

#endif
