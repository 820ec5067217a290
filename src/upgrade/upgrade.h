/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UPGRADE_UPGRADE_H
#define UPGRADE_UPGRADE_H

#include "base/loop.h"
#include "state/state.h"
#include "upgrade/link.h"
#include "upgrade/ownership.h"

#include <sys/types.h>

/*
 * Theory of operation: the running VMM (source) starts the new binary (target) on a socket pair.
 * What takes time happens while the guest runs: the target says who it is and which state it reads,
 * gets the configuration and every descriptor, and builds the whole machine. Then the guest is
 * paused, its state goes through shared memory, and the ownership word moves (ownership.h). Until
 * it has moved, undoing is resuming; once it has, the source only leaves.
 *
 * This room knows neither devices nor QMP: what the guest is, is given by struct upgrade_guest.
 */

#define UPGRADE_PROTOCOL \
	1 /* of the messages below; a target that speaks another is refused before anything is \
	     touched */

/* Words by which a program says in its hello what it can do, beyond taking a guest over. */
#define UPGRADE_SANDBOX "sandbox" /* it sets the guest's system call filter anew */

/**
 * struct upgrade_guest - What a hand-over asks of the source's guest
 * @version:	Of this build, for the report
 * @schema:	Of the running machine, {section: state_schema()}; borrowed. @begin may change it
 * @needs:	Words (above) that the target must say: without what this guest can't be there; by
 *NULL closed, or NULL
 * @spawn:	Starts @binary with "--takeover 3" and @sock as its descriptor 3, in a way of this
 *program's own; the caller owns the pidfd. NULL: as a child. Upgrade thread
 * @blockers:	Appends sentences to a JSON array: why it can't be done now. Main thread
 * @begin:	Looks anew at which devices there are: first thing of each attempt. May be NULL.
 *		Main thread, guest running
 * @describe:	Puts configuration and descriptors into the bundle. Main thread, guest running
 * @rehearse:	Writes states that aren't the guest's and clears the writer: warms what the pause
 *		will touch. Returns the bytes that were written. May be NULL. Main thread, guest
 *		running
 * @recheck:	Is what @describe said still so? EAGAIN: no, begin anew. May be NULL. Main thread,
 *		guest running
 * @pause:	Stops vCPUs and I/O, drained. ETIMEDOUT: they weren't at @until_ns, and the guest
 *		runs on; EINTR: the main thread has something to do first, try again. Main thread
 * @capture:	Writes all state, and flushes what is final so that the target begins with it; fails
 *		where the kernel wouldn't tell. Main thread, paused
 * @late:	What only the paused process knows and isn't guest state (half-read monitor input);
 *JSON, new reference. Main thread, paused
 * @resume:	Undoes @pause. Main thread
 * @succeeded:	The guest belongs to the process @pid: whoever watches this one is told. May be
 *		NULL. Main thread
 * @leave:	The target needs nothing of this process any more: end without closing what the
 *		guest uses. Main thread; may not return
 * @opaque:	Passed to them
 */
struct upgrade_guest {
	const char *version;
	const json_t *schema;
	const char *const *needs;
	int (*spawn)(void *opaque, const char *binary, int sock, pid_t *ret_pid, int *ret_pidfd,
		     struct err *e);
	void (*blockers)(void *opaque, json_t *sentences);
	int (*begin)(void *opaque, struct err *e);
	int (*describe)(void *opaque, struct bundle *b, struct err *e);
	size_t (*rehearse)(void *opaque, struct state_writer *w);
	int (*recheck)(void *opaque, struct err *e);
	int (*pause)(void *opaque, int64_t until_ns, struct err *e);
	int (*capture)(void *opaque, struct state_writer *w, struct err *e);
	json_t *(*late)(void *opaque);
	void (*resume)(void *opaque);
	void (*succeeded)(void *opaque, pid_t pid);
	void (*leave)(void *opaque);
	void *opaque;
};

/**
 * struct upgrade_options - What the operator chose
 * @binary:	Program to start; NULL: the one this process was started from (/proc/self/exe's
 * path)
 * @prepare_ms:	At most this long from start to the target being ready, all attempts together
 * @pause_ms:	At most this long from asking the vCPUs to stop to the target running; then the
 *		guest goes on here
 * @dry_run:	Stop when the target is ready; the guest isn't paused
 */
struct upgrade_options {
	const char *binary;
	int prepare_ms, pause_ms;
	bool dry_run;
};

/**
 * struct upgrade_report - What happened
 * @from, @to:	Versions
 * @stage:	Name of the stage reached
 * @stage_us:	Duration of each stage
 * @marks_ns:	Moments of the pause, host monotonic clock
 * @done:	The guest runs in the target
 */
struct upgrade_report {
	char from[64], to[64];
	const char *stage;
	int64_t stage_us[8];
	int64_t marks_ns[HANDOVER_MARKS];
	bool done;
};

struct upgrade;

/* Names of the stages in order, NULL-terminated; indices into stage_us. */
extern const char *const upgrade_stage_names[];

typedef void upgrade_done_fn(void *opaque, int ret, const struct upgrade_report *report,
			     const struct err *e);
typedef void upgrade_progress_fn(void *opaque, const char *stage);

/* Source. @done is called on the main loop unless the guest went away with leave(). One at a time
 * (EBUSY). */
MUST_CHECK int upgrade_start(struct upgrade **ret, struct loop *main,
			     const struct upgrade_guest *guest,
			     const struct upgrade_options *options, upgrade_progress_fn *progress,
			     upgrade_done_fn *done, void *opaque, struct err *e);

/* Is one under way? Main thread. */
bool upgrade_busy(void);

/**
 * struct upgrade_target - The new process's side
 * @sock:	Socket to the source; owned
 * @area:	Shared with it
 * @bundle:	Configuration and descriptors as the source described them
 */
struct upgrade_target {
	int sock;
	struct area area;
	struct bundle bundle;
};

/* Says hello (version, schema, what it can do beyond) on @sock and receives the configuration. */
MUST_CHECK int target_open(struct upgrade_target *t, int sock, const char *version,
			   const json_t *schema, const char *const *features, struct err *e);
/* The machine is built: wait for the guest. ECANCELED: the source thought better of it, or died
 * before its state came. */
MUST_CHECK int target_wait(struct upgrade_target *t, struct err *e);
/* Reads while the source still writes, and waits where it is faster. */
void target_reader(struct upgrade_target *t, struct state_reader *r);
/* What @late said, with the source's "report" so far added; new reference. */
json_t *target_late(struct upgrade_target *t);
/* All state is applied: waits for the offer and wins the guest, or ECANCELED. After 0 the guest is
 * ours: run it. */
MUST_CHECK int target_take(struct upgrade_target *t, struct err *e);
bool target_abandoned(const struct upgrade_target *t);
/* Before target_take(): this state can't be taken. The source goes on at once and reports @e. */
void target_refuse(struct upgrade_target *t, const struct err *e);
/* Moments of the pause and the two versions, for the answer to the operator. */
void target_report(struct upgrade_target *t, const char *version, struct upgrade_report *ret);
void target_close(struct upgrade_target *t);

/* The report as JSON (QMP's and the command's answer), new reference. */
json_t *upgrade_report_json(const struct upgrade_report *r);

#endif
