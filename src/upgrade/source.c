/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the source's side as a table of stages. A thread of its own runs them, so
 * that the guest's timers, its console and the monitors go on until the pause; what needs the main
 * thread is called there. If a stage fails, the stages that were entered are undone in reverse;
 * undoing can't fail. The last stage, the switch, is entered on the main thread and decides by the
 * ownership word alone who runs the guest.
 *
 * What was handed over is compared with what is there just before the pause; if a client came or a
 * device went meanwhile (EAGAIN), all stages begin anew with a new target, a few times. If the main
 * thread has work waiting in the moment of the pause (EINTR; a reset that the guest asked for,
 * a signal), the guest runs on until it is done, and the switch alone is tried again.
 *
 * Whoever started this process, systemd above all, may end all that is left of the service when it
 * ends. So it stays until the target has said who it is everywhere (the pid file, the service
 * manager) and closes its end of the socket.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "upgrade/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define STATE_ROOM (8 * MiB)
#define STATE_MORE (256 * KiB) /* than twice the rehearsed state: lists are empty there */
#define TARGET_FD  3           /* the target finds its end of the socket pair here */
#define TRIES      3  /* a client that comes or goes while a target is prepared costs one */
#define SWITCHES   20 /* so often the main thread may have something else to do first */
#define ASIDE_NS   (5 * NS_PER_MS) /* the guest begins to run over there: we can wait */
#define SETTLE_MS \
	10000 /* a target that doesn't get ready with its surroundings keeps us no longer */

extern char **environ;

/**
 * struct upgrade - One attempt. Owned by its thread; the main thread looks only when called
 * @gone:	The guest is the target's
 */
struct upgrade {
	struct loop *main;
	const struct upgrade_guest *guest;
	struct upgrade_options options;
	char *binary;
	upgrade_progress_fn *progress;
	upgrade_done_fn *done;
	void *opaque;
	pthread_t thread;
	struct upgrade_report report;
	struct err e;
	int ret;
	int sock, pidfd;
	pid_t pid;
	int64_t ready_until_ns;
	struct area area;
	struct state_writer state;
	size_t flowed; /* bytes of it that are in the area */
	struct bundle bundle;
	bool paused, gone;
};

static bool running; /* main thread: one at a time */

/* Calls to the main thread. */

struct call {
	struct upgrade *u;
	int (*fn)(struct upgrade *u);
	int ret;
};

static void call_run(void *opaque)
{
	struct call *c = opaque;

	c->ret = c->fn(c->u);
}

static int on_main(struct upgrade *u, int (*fn)(struct upgrade *u))
{
	struct call c = {.u = u, .fn = fn};

	loop_call(u->main, call_run, &c);
	return c.ret;
}

/* Stage "preflight": is anything in the way? */

static int list_blockers(struct upgrade *u)
{
	json_t *list = json_array();
	int r = 0;

	u->guest->blockers(u->guest->opaque, list);
	if (json_array_size(list))
		r = err_set(&u->e, EPERM, "%s%s", json_string_value(json_array_get(list, 0)),
			    json_array_size(list) > 1 ? " (and more: see query-upgrade-blockers)"
						      : "");
	json_decref(list);
	return r;
}

static int begin(struct upgrade *u)
{
	return u->guest->begin ? u->guest->begin(u->guest->opaque, &u->e) : 0;
}

static int preflight_enter(struct upgrade *u)
{
	int r;

	if (access(u->binary, X_OK) < 0)
		return err_sys(&u->e, "%s", u->binary);
	r = on_main(u, list_blockers);
	return r < 0 ? r : on_main(u, begin);
}

/* What is left of the time for preparing, at least a moment. */
static int prepare_left_ms(const struct upgrade *u)
{
	return (int)MAX((u->ready_until_ns - time_ns()) / NS_PER_MS, (int64_t)1);
}

/* Stage "spawn": start the target, hear who it is. */

static int spawn_child(struct upgrade *u, int sock)
{
	static char takeover[] = "--takeover", fd_name[] = "3";
	char *argv[] = {u->binary, takeover, fd_name, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, sock, TARGET_FD);
	r = posix_spawn(&u->pid, u->binary, &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (r)
		return err_set(&u->e, r, "start %s: %s", u->binary, strerror(r));
	u->pidfd = (int)syscall(SYS_pidfd_open, u->pid, 0);
	return u->pidfd < 0 ? err_sys(&u->e, "pidfd_open") : 0;
}

static int spawn(struct upgrade *u, int sock)
{
	if (u->guest->spawn)
		return u->guest->spawn(u->guest->opaque, u->binary, sock, &u->pid, &u->pidfd,
				       &u->e);
	return spawn_child(u, sock);
}

static void say_mismatch(void *opaque, const char *sentence)
{
	struct upgrade *u = opaque;

	if (!u->e.code)
		err_set(&u->e, EPROTO, "%s doesn't read this guest's state: %s", u->binary,
			sentence);
}

/* Each section of this guest must be one that the target reads. */
static int compare_schemas(struct upgrade *u, const json_t *theirs)
{
	const char *section;
	json_t *ours;

	json_object_foreach ((json_t *)(uintptr_t)u->guest->schema, section, ours) {
		const json_t *their = json_object_get(theirs, section);

		if (!their)
			return err_set(&u->e, EPROTO, "%s has no device with the state '%s'",
				       u->binary, section);
		if (state_schema_compare(ours, their, say_mismatch, u))
			return -EPROTO;
	}
	return 0;
}

static bool says(const json_t *words, const char *wanted)
{
	size_t i;
	json_t *word;

	json_array_foreach ((json_t *)(uintptr_t)words, i, word)
		if (json_is_string(word) && !strcmp(json_string_value(word), wanted))
			return true;
	return false;
}

static int compare_features(struct upgrade *u, const json_t *theirs)
{
	for (const char *const *n = u->guest->needs; n && *n; n++)
		if (!says(theirs, *n))
			return err_set(&u->e, EPROTO,
				       "%s (%s) doesn't know '%s', which this guest "
				       "was started with",
				       u->binary, u->report.to, *n);
	return 0;
}

static int hear_hello(struct upgrade *u)
{
	struct bundle hello;
	int r = link_recv(u->sock, &hello, prepare_left_ms(u), &u->e);

	if (r == -ECONNRESET)
		return err_set(
			&u->e, EPROTO,
			"%s ended without saying hello: is it an outlive-vmm that can take over?",
			u->binary);
	if (r < 0)
		return err_in(&u->e, "%s", u->binary);
	snprintf(u->report.to, sizeof(u->report.to), "%s",
		 json_string_value(json_object_get(hello.body, "version")) ?: "?");
	if (json_integer_value(json_object_get(hello.body, "protocol")) != UPGRADE_PROTOCOL)
		r = err_set(&u->e, EPROTO, "%s speaks hand-over protocol %jd, this process %d",
			    u->binary,
			    (intmax_t)json_integer_value(json_object_get(hello.body, "protocol")),
			    UPGRADE_PROTOCOL);
	else
		r = compare_schemas(u, json_object_get(hello.body, "schema"));
	if (r >= 0)
		r = compare_features(u, json_object_get(hello.body, "features"));
	bundle_release(&hello);
	return r;
}

/* A target that doesn't read holds up a send only so long. */
static int send_bound(struct upgrade *u)
{
	int ms = prepare_left_ms(u);
	struct timeval t = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (setsockopt(u->sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0)
		return err_sys(&u->e, "hand-over socket");
	return 0;
}

static int spawn_enter(struct upgrade *u)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(&u->e, "socketpair");
	u->sock = pair[0];
	r = spawn(u, pair[1]);
	close(pair[1]);
	return r < 0 ? r : hear_hello(u);
}

/* The guest is the target's: nothing of the target may be undone, whatever becomes of us. */
static bool gone_over(const struct upgrade *u)
{
	return u->area.map && ownership(&u->area) == OWNER_TARGET;
}

/* It may be a child, or that of another process, which lets it go. */
static void end_target(struct upgrade *u)
{
	struct pollfd p = {.fd = u->pidfd, .events = POLLIN};

	if (u->pidfd >= 0 && syscall(SYS_pidfd_send_signal, u->pidfd, SIGKILL, NULL, 0) == 0)
		while (poll(&p, 1, -1) < 0)
			;
	else
		kill(u->pid, SIGKILL);
	waitpid(u->pid, NULL, u->pidfd >= 0 ? WNOHANG : 0);
}

static void spawn_undo(struct upgrade *u)
{
	if (u->pid > 0 && !u->gone)
		end_target(u);
	u->pid = 0;
	fd_close(&u->pidfd);
	fd_close(&u->sock);
}

/* Stage "hand over": configuration and descriptors. */

/* Also tells how much memory the state will take. */
static int rehearse(struct upgrade *u)
{
	size_t len = u->guest->rehearse ? u->guest->rehearse(u->guest->opaque, &u->state) : 0;

	state_writer_reserve(&u->state, MIN(2 * len + STATE_MORE, STATE_ROOM));
	return 0;
}

static int describe(struct upgrade *u)
{
	return u->guest->describe(u->guest->opaque, &u->bundle, &u->e);
}

static int handover_enter(struct upgrade *u)
{
	int r = on_main(u, rehearse);

	if (r >= 0)
		r = area_create(&u->area, STATE_ROOM, u->state.room, &u->e);
	if (r >= 0)
		r = on_main(u, describe);
	if (r >= 0)
		r = bundle_add_fd(&u->bundle, "area", u->area.fd, &u->e);
	if (r >= 0)
		r = send_bound(u);
	if (r >= 0)
		r = link_send(u->sock, &u->bundle, &u->e);
	return r;
}

static void handover_undo(struct upgrade *u)
{
	bundle_release(&u->bundle);
	bundle_init(&u->bundle);
	if (u->area.map)
		area_close(&u->area);
	state_writer_destroy(&u->state);
}

/* Stage "target ready": the machine is built over there. */

static int hear(struct upgrade *u, int timeout_ms)
{
	struct bundle answer;
	const char *error;
	int r = link_recv(u->sock, &answer, timeout_ms, &u->e);

	if (r < 0)
		return err_in(&u->e, "%s", u->binary);
	error = json_string_value(json_object_get(answer.body, "error"));
	if (error)
		r = err_set(&u->e, EPROTO, "the new process refuses: %s", error);
	bundle_release(&answer);
	return r;
}

static int ready_enter(struct upgrade *u)
{
	return hear(u, prepare_left_ms(u));
}

/* Stage "switch": pause, capture, offer, wait. On the main thread. */

/* What is written so far goes into the area, behind its length, where the target reads along. */
static void flow(struct state_writer *w)
{
	struct upgrade *u = w->opaque;
	size_t room, from = u->flowed;
	uint8_t *to = area_state(&u->area, &room);

	if (w->len + 8 > room)
		return; /* publish() will say it */
	memcpy(to + 8 + from, w->buf + from, w->len - from);
	u->flowed = w->len;
	area_set_written(&u->area, 8 + w->len);
}

static int capture(struct upgrade *u)
{
	int r;

	u->flowed = 0;
	state_writer_clear(&u->state);
	u->state.flush = flow;
	u->state.opaque = u;
	r = u->guest->capture(u->guest->opaque, &u->state, &u->e);
	if (r >= 0)
		flow(&u->state);
	u->state.flush = NULL;
	return r;
}

static int publish(struct upgrade *u)
{
	size_t room;
	uint8_t *to = area_state(&u->area, &room);
	json_t *late = u->guest->late ? u->guest->late(u->guest->opaque) : json_object();
	OWNED(char *) text = NULL;
	size_t late_len;

	json_object_set_new(late, "report", upgrade_report_json(&u->report));
	text = json_dumps(late, JSON_COMPACT);
	late_len = text ? strlen(text) : 0;
	json_decref(late);
	if (u->state.len + late_len + 8 > room)
		return err_set(&u->e, ENOSPC,
			       "the state takes %zu bytes, the hand-over area has %zu",
			       u->state.len + late_len, room);
	memcpy(to, &u->state.len, sizeof(u->state.len));
	if (text)
		memcpy(to + 8 + u->state.len, text, late_len);
	area_set_state_len(&u->area, 8 + u->state.len + late_len);
	return 0;
}

static bool target_gone(const struct upgrade *u)
{
	struct pollfd p = {.fd = u->pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static bool target_answered(const struct upgrade *u)
{
	struct pollfd p = {.fd = u->sock, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* Waits for the target to win the word; wins it back if it can't or won't. Returns 0 when the guest
 * has gone. */
static int await_target(struct upgrade *u, int64_t end_ns)
{
	bool refused = false, gone = false;

	while (ownership(&u->area) == OWNER_OFFERED && !gone && !refused && time_ns() < end_ns) {
		ownership_wait(&u->area, OWNER_OFFERED, 2 * NS_PER_MS);
		gone = target_gone(u);
		refused = target_answered(u);
	}
	if (ownership(&u->area) == OWNER_TARGET || !ownership_revoke(&u->area))
		return 0;
	if (gone)
		return err_set(&u->e, ECHILD,
			       "the new process died; the guest goes on in the old one");
	if (refused && hear(u, 100) < 0)
		return -u->e.code;
	return err_set(
		&u->e, ETIMEDOUT,
		"the new process didn't take the guest within %d ms; it goes on in the old one",
		u->options.pause_ms);
}

/* The target closes its end when nothing of this process is needed any more, or when it ends. */
static void await_settled(struct upgrade *u)
{
	int64_t end_ns = time_ns() + SETTLE_MS * NS_PER_MS;
	struct pollfd p[2] = {{.fd = u->sock, .events = POLLRDHUP},
			      {.fd = u->pidfd, .events = POLLIN}};
	int64_t left_ns;

	while ((left_ns = end_ns - time_ns()) > 0)
		if (poll(p, ARRAY_SIZE(p), (int)(left_ns / NS_PER_MS) + 1) > 0)
			return;
}

static void depart(struct upgrade *u)
{
	const struct timespec aside = {.tv_nsec = ASIDE_NS};

	nanosleep(&aside, NULL);
	if (u->guest->succeeded)
		u->guest->succeeded(u->guest->opaque, u->pid);
	await_settled(u);
	u->guest->leave(u->guest->opaque);
}

static int switch_over(struct upgrade *u)
{
	int r = u->guest->recheck ? u->guest->recheck(u->guest->opaque, &u->e) : 0;
	int64_t end_ns;

	if (r < 0)
		return r;
	area_nudge(&u->area);
	area_mark(&u->area, MARK_PAUSE);
	end_ns = time_ns() + u->options.pause_ms * NS_PER_MS;
	r = u->guest->pause(u->guest->opaque, end_ns, &u->e);
	if (r < 0)
		return r;
	u->paused = true;
	area_mark(&u->area, MARK_STOPPED);
	r = capture(u);
	if (r >= 0)
		r = publish(u);
	if (r < 0)
		return r;
	area_mark(&u->area, MARK_CAPTURED);
	area_mark(&u->area, MARK_OFFERED);
	ownership_offer(&u->area);
	r = await_target(u, end_ns);
	if (r >= 0)
		depart(u);
	return r;
}

static int switch_resume(struct upgrade *u)
{
	if (u->paused)
		u->guest->resume(u->guest->opaque);
	u->paused = false;
	return 0;
}

/* Pausing, failing and resuming belong together: nothing else may come between them on the main
 * thread. */
static int switch_or_resume(struct upgrade *u)
{
	int r = switch_over(u);

	if (r < 0)
		switch_resume(u);
	return r;
}

static int switch_enter(struct upgrade *u)
{
	int r = -EINTR;

	if (u->options.dry_run)
		return 0;
	for (int i = 0; i < SWITCHES && r == -EINTR; i++) {
		u->e = (struct err){0};
		on_main(u, rehearse);
		r = on_main(u, switch_or_resume); /* what waits for the main thread comes before */
	}
	return r;
}

/* The runner. */

static const struct stage {
	const char *name;
	int (*enter)(struct upgrade *u);
	void (*undo)(struct upgrade *u);
} stages[] = {
	{"preflight", preflight_enter, NULL},
	{"spawn", spawn_enter, spawn_undo},
	{"hand over", handover_enter, handover_undo},
	{"target ready", ready_enter, NULL},
	{"switch", switch_enter, NULL},
};

const char *const upgrade_stage_names[] = {"preflight",    "spawn",  "hand over",
					   "target ready", "switch", NULL};

static int finish(struct upgrade *u)
{
	running = false;
	if (u->gone)
		return 0; /* leave() came back: the process is about to end */
	if (u->ret < 0)
		log_warn("upgrade to %s failed at '%s': %s", u->binary, u->report.stage, u->e.msg);
	u->done(u->opaque, u->ret, &u->report, &u->e);
	return 0;
}

/* All stages; then those of them that were entered are undone: a dry run and a failure end the same
 * way, the target goes and the guest stays. */
static void run_stages(struct upgrade *u)
{
	size_t i;

	u->ret = 0;
	u->e = (struct err){0};
	for (i = 0; i < ARRAY_SIZE(stages) && u->ret >= 0; i++) {
		int64_t start_ns = time_ns();

		u->report.stage = stages[i].name;
		if (u->progress)
			u->progress(u->opaque, stages[i].name);
		u->ret = stages[i].enter(u);
		u->report.stage_us[i] = (time_ns() - start_ns) / NS_PER_US;
		TRACE(upgrade_stage, "%s %jd us ret %d", stages[i].name,
		      (intmax_t)u->report.stage_us[i], u->ret);
	}
	for (int m = 0; u->area.map && m < HANDOVER_MARKS; m++)
		u->report.marks_ns[m] = area_mark_ns(&u->area, m);
	u->gone = gone_over(u);
	while (i-- > 0)
		if (stages[i].undo)
			stages[i].undo(u);
}

static void *upgrade_thread(void *opaque)
{
	struct upgrade *u = opaque;
	int tries = 0;

	u->ready_until_ns = time_ns() + u->options.prepare_ms * NS_PER_MS;
	do
		run_stages(u);
	while (u->ret == -EAGAIN && ++tries < TRIES);
	if (u->ret == -EAGAIN)
		err_hint(&u->e, "%d times in a row; nothing has changed, try again", TRIES);
	on_main(u, finish);
	bundle_release(&u->bundle);
	free(u->binary);
	free(u);
	return NULL;
}

/**
 * upgrade_busy() - Is an upgrade under way?
 *
 * Return: whether upgrade_start() would say EBUSY
 */
bool upgrade_busy(void)
{
	return running;
}

static char *own_binary(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *deleted;

	if (n < 0)
		return str_dup("/proc/self/exe");
	path[n] = '\0';
	deleted = strstr(
		path,
		" (deleted)"); /* replaced by a package upgrade: the new file has the old name */
	if (deleted)
		*deleted = '\0';
	return str_dup(path);
}

/**
 * upgrade_start() - Begin a hand-over to another process
 * @ret:	Set on success only; gone when @done was called
 * @main:	The main loop; this is its thread
 * @guest:	Kept until the end
 * @options:	Copied
 * @progress:	Called on the upgrade thread with each stage's name; may be NULL
 * @done:	Called on the main thread if the guest stays here (failure or dry run)
 * @opaque:	Passed to both
 * @e:		Set on failure only
 *
 * Errors: EBUSY one is under way
 * Return: 0, or a negative errno
 */
int upgrade_start(struct upgrade **ret, struct loop *main, const struct upgrade_guest *guest,
		  const struct upgrade_options *options, upgrade_progress_fn *progress,
		  upgrade_done_fn *done, void *opaque, struct err *e)
{
	struct upgrade *u;
	int r;

	if (running)
		return err_set(e, EBUSY, "an upgrade is under way");
	u = mem_zalloc(sizeof(*u));
	*u = (struct upgrade){
		.main = main,
		.guest = guest,
		.options = *options,
		.binary = options->binary ? str_dup(options->binary) : own_binary(),
		.progress = progress,
		.done = done,
		.opaque = opaque,
		.sock = -1,
		.pidfd = -1,
		.area.fd = -1,
	};
	bundle_init(&u->bundle);
	snprintf(u->report.from, sizeof(u->report.from), "%s", guest->version);
	r = pthread_create(&u->thread, NULL, upgrade_thread, u);
	if (r) {
		bundle_release(&u->bundle);
		free(u->binary);
		free(u);
		return err_set(e, r, "start the upgrade thread: %s", strerror(r));
	}
	pthread_detach(u->thread);
	pthread_setname_np(u->thread, "upgrade");
	running = true;
	*ret = u;
	return 0;
}
