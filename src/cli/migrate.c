/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the VMM migrates, this looks five times a second and shows what it sees. An
 * interrupt asks the VMM to cancel; the end is awaited in any case, since only the VMM knows
 * whether it was in time. A guest that has arrived elsewhere is ended here, unless its VMM is to be
 * kept. By ssh (remote/remote.h) the way is the same, but the VMM that waits is started first.
 */
#include "cli/migration.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/migrate_tls.h"
#include "cli/remote/remote.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS      200
#define RECORD_MS    20 /* a fast migration takes less than a second */
#define OPEN_SECONDS 10
#define GONE_SECONDS 15 /* until the other host has cleaned up */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = number;
}

/**
 * migration_catch() - Note an interrupt instead of ending by it
 */
void migration_catch(void)
{
	struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};

	sigaction(SIGINT, &action, NULL);
}

/**
 * migration_interrupted() - Has there been an interrupt?
 */
bool migration_interrupted(void)
{
	return interrupted;
}

static double rate_of(const json_t *ram)
{
	return json_number_value(json_object_get(ram, "mbps")) * 1e6 / 8;
}

/* An Outlive says itself whether and when; in the first round nobody knows what is written. */
static char *forecast_of(const json_t *info)
{
	int64_t slowed = option_int(info, "cpu-throttle-percentage", 0);

	if (option_bool(info, "outlive-converges", false))
		return str_printf(", done in %.0f s",
				  (double)option_int(info, "outlive-converge-ms", 0) / 1000);
	if (slowed)
		return str_printf(", doesn't converge yet: slowed by %" PRId64 " %%", slowed);
	if (json_object_get(info, "dirty-limit-ring-full-time"))
		return str_dup(", doesn't converge yet: its vCPUs are limited in what they write");
	return str_dup(", doesn't converge: it is written too fast (auto-converge would slow it)");
}

/* When it will be done, in words: what is left, and what is written meanwhile, at the rate of
 * the last round. */
static char *forecast(const json_t *info, const json_t *ram)
{
	double rate = rate_of(ram), dirty = (double)option_int(ram, "dirty-pages-rate", 0) * 4096;
	double left = (double)option_int(ram, "remaining", 0);

	if (json_object_get(info, "outlive-converges"))
		return forecast_of(info);
	if (rate <= 0)
		return str_dup("");
	if (dirty >= rate)
		return str_dup(", doesn't converge: it is written faster than sent");
	return str_printf(", done in %.0f s", left / (rate - dirty));
}

/* What is known after the first round only. */
static char *foreseen(const json_t *info, const json_t *ram)
{
	OWNED(char) *dirty = cli_size((uint64_t)option_int(ram, "dirty-pages-rate", 0) * 4096);
	int64_t pause_us = option_int(info, "outlive-expected-downtime-us", -1);

	if (pause_us < 0)
		return str_dup("");
	return str_printf(", written %s/s, pause %.1f ms", dirty, (double)pause_us / 1000);
}

static void show_line(const struct migration_watch *w, const json_t *info)
{
	const json_t *ram = json_object_get(info, "ram");
	OWNED(char) *sent = cli_size((uint64_t)option_int(ram, "transferred", 0));
	OWNED(char) *left = cli_size((uint64_t)option_int(ram, "remaining", 0));
	OWNED(char) *rest = foreseen(info, ram);
	OWNED(char) *rate = cli_size((uint64_t)rate_of(ram));
	OWNED(char) *when = forecast(info, ram);

	if (!ram)
		return;
	fprintf(stderr, "\r\033[K%s: round %" PRId64 ", sent %s, left %s, link %s/s%s%s", w->name,
		option_int(ram, "dirty-sync-count", 0), sent, left, rate, rest, when);
}

static void show(const struct migration_watch *w, const json_t *info)
{
	if (w->quiet)
		return;
	if (w->json) {
		json_dumpf(info, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
	} else if (isatty(STDERR_FILENO)) {
		show_line(w, info);
	}
}

static bool has_ended(const json_t *info)
{
	const char *status = option_str(info, "status", "none");

	return !strcmp(status, "completed") || !strcmp(status, "failed") ||
	       !strcmp(status, "cancelled");
}

/* Once: a second interrupt ends this program, and the migration goes on without a watcher. */
static bool cancel(struct qmp *q, const struct migration_watch *w)
{
	struct err e;

	signal(SIGINT, SIG_DFL);
	interrupted = 0;
	if (qmp_command(q, "migrate_cancel", NULL, NULL, &e) == 0)
		return true;
	fprintf(stderr, "\noutlive: %s: %s\n", w->name, e.msg);
	return false;
}

/* One look: written down if there is a record, shown unless only the record wants it. */
static int look(struct qmp *q, const struct migration_watch *w, bool shown, json_t **info,
		struct err *e)
{
	int r = qmp_command(q, "query-migrate", NULL, info, e);

	if (r < 0)
		return r;
	if (w->record)
		record_line(w->record, json_pack("{s:O}", "query-migrate", *info));
	if (shown || has_ended(*info))
		show(w, *info);
	return 0;
}

/**
 * migration_follow() - Watch a migration until it ends
 * @q:		Connected
 * @w:		How
 * @ret:	Set on success to the last query-migrate
 * @e:		Set on failure only
 *
 * Errors: as qmp_command(); the migration may have failed all the same, see its status
 * Return: 0, or a negative errno
 */
int migration_follow(struct qmp *q, const struct migration_watch *w, json_t **ret, struct err *e)
{
	int pause_ms = w->look_ms ? w->look_ms : LOOK_MS, r = 0;
	json_t *info = NULL;
	bool cancelled = false;

	if (w->record && w->record->file)
		pause_ms = RECORD_MS;
	migration_catch();
	for (int at_ms = 0; r >= 0; at_ms += pause_ms) {
		json_decref(info);
		info = NULL;
		r = look(q, w, at_ms % LOOK_MS == 0, &info, e);
		if (r < 0 || has_ended(info))
			break;
		if (interrupted)
			cancelled = cancel(q, w);
		poll(NULL, 0, pause_ms);
	}
	if (!w->json && !w->quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	/* QEMU may tell of the write that was cut off instead of the wish to cut it */
	if (cancelled && !strcmp(option_str(info, "status", ""), "failed"))
		json_object_set_new(info, "status", json_string("cancelled"));
	*ret = info;
	return r;
}

/**
 * struct journey - The way a guest takes
 * @uri:	As QMP's migrate has it
 * @remote:	The other host, by ssh; NULL: a VMM waits at @uri
 * @ran:	It runs when it leaves
 */
struct journey {
	const char *uri;
	struct remote *remote;
	bool ran;
};

static json_t *capabilities(bool recorded, bool channels)
{
	json_t *list = json_pack("[{s:s, s:b}, {s:s, s:b}]", "capability", "return-path", "state",
				 1, "capability", "multifd", "state", channels);

	if (recorded)
		json_array_append_new(list,
				      json_pack("{s:s, s:b}", "capability", "events", "state", 1));
	return json_pack("{s:o}", "capabilities", list);
}

static void channels_set(const struct cli_args *args, json_t *p)
{
	const char *channels = cli_value(args, "channels", NULL);
	const char *method = cli_value(args, "compression", "none");

	if (!channels)
		return;
	json_object_set_new(p, "multifd-channels", json_integer(atoi(channels)));
	json_object_set_new(p, "multifd-compression", json_string(method));
}

static int limits_set(struct qmp *q, const struct cli_args *args, struct err *e)
{
	const char *downtime = cli_value(args, "downtime", NULL);
	const char *bandwidth = cli_value(args, "bandwidth", "0");
	json_t *p = json_object();
	char *end = NULL;
	double mib = strtod(bandwidth, &end);

	if (*end || mib < 0) {
		json_decref(p);
		return err_set(e, EINVAL, "--bandwidth %s: MiB a second are expected", bandwidth);
	}
	json_object_set_new(p, "max-bandwidth", json_integer((json_int_t)(mib * (1 << 20))));
	if (downtime)
		json_object_set_new(p, "downtime-limit", json_integer(atoi(downtime)));
	channels_set(args, p);
	return qmp_command(q, "migrate-set-parameters", p, NULL, e);
}

/* What the record begins with: who goes where, and how it was asked for. */
static int record_start(struct qmp *q, const struct cli_args *args, struct record *record,
			struct err *e)
{
	OWNED_JSON *asked = NULL, *cpus = NULL, *memory = NULL;
	int r = qmp_command(q, "query-migrate-parameters", NULL, &asked, e);

	if (r >= 0)
		r = qmp_command(q, "query-cpus-fast", NULL, &cpus, e);
	if (r >= 0)
		r = qmp_command(q, "query-memory-size-summary", NULL, &memory, e);
	if (r < 0)
		return r;
	record_begin(record, "migration", args->words[0],
		     json_pack("{s:s, s:O, s:i, s:I}", "to", args->words[1], "parameters", asked,
			       "cpus", (int)json_array_size(cpus), "memory",
			       (json_int_t)(option_int(memory, "base-memory", 0) +
					    option_int(memory, "plugged-memory", 0))));
	q->on_event = record_event;
	q->opaque = record;
	return 0;
}

/* A VMM of an earlier release doesn't know it, which is no matter as long as it isn't wanted. */
static int content_hashes_set(struct qmp *q, bool on, struct err *e)
{
	int r = qmp_command(q, "migrate-set-capabilities",
			    json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability",
				      "outlive-content-hashes", "state", on),
			    NULL, e);

	return on ? r : 0;
}

static bool is_relayed(const struct journey *j)
{
	return !strncmp(j->uri, "fd:", 3);
}

static json_t *migrate_arguments(const struct cli_args *args, const struct journey *j)
{
	json_t *a = json_pack("{s:s, s:b}", "uri", j->uri, "outlive-no-check",
			      cli_switch(args, "no-check"));

	if (is_relayed(j))
		json_object_set_new(a, "outlive-relayed", json_true());
	return a;
}

static int begin(struct qmp *q, const struct cli_args *args, struct journey *j,
		 struct record *record, struct err *e)
{
	OWNED_JSON *status = NULL;
	int r = limits_set(q, args, e);

	if (r >= 0)
		r = qmp_command(q, "migrate-set-capabilities",
				capabilities(record->file, cli_value(args, "channels", NULL)), NULL,
				e);
	if (r >= 0)
		r = content_hashes_set(q, cli_switch(args, "content-hashes"), e);
	if (r >= 0 && record->file)
		r = record_start(q, args, record, e);
	if (r >= 0)
		r = qmp_command(q, "query-status", NULL, &status, e);
	j->ran = option_bool(status, "running", false);
	if (r >= 0 && is_relayed(j))
		r = remote_give(j->remote, q, e);
	if (r >= 0)
		r = qmp_command(q, "migrate", migrate_arguments(args, j), NULL, e);
	if (r < 0 && is_relayed(j))
		remote_take_back(q);
	return r;
}

static bool leaves(const struct cli_args *args, const struct journey *j)
{
	return !cli_switch(args, "keep") &&
	       (j->remote || !strncmp(j->uri, "tcp:", 4) || !strncmp(j->uri, "unix:", 5));
}

static void print_saved(const json_t *content)
{
	OWNED(char) *size = cli_size((uint64_t)option_int(content, "bytes", 0));

	if (content)
		printf("%" PRId64 " pages (%s) weren't sent: the target had %" PRId64
		       " in its file, the others came before\n",
		       option_int(content, "pages", 0), size, option_int(content, "file-pages", 0));
}

/* The guest is there, and not here any more. */
static int conclude_left(struct qmp *q, const struct cli_args *args, const struct journey *j,
			 const json_t *info, struct err *e)
{
	if (!args->json) {
		printf("%s: migrated in %.2f s, paused for %.2f ms\n", args->words[0],
		       (double)option_int(info, "total-time", 0) / 1000,
		       (double)option_int(info, "outlive-downtime-us", 0) / 1000);
		print_saved(json_object_get(info, "outlive-content-hashes"));
	}
	return leaves(args, j) ? qmp_command(q, "quit", NULL, NULL, e) : 0;
}

/* The guest was left stopped, since nobody can tell who has it. */
static bool is_unsure(struct qmp *q)
{
	OWNED_JSON *status = NULL;
	struct err e;

	return qmp_command(q, "query-status", NULL, &status, &e) >= 0 &&
	       !strcmp(option_str(status, "status", ""), "postmigrate");
}

static int stays_stopped(const struct guest *g, const char *look, struct err *e)
{
	return err_hint(e,
			"the guest stays stopped here; %s: if so 'outlive kill %s' here, if not "
			"'outlive resume %s'",
			look, g->name, g->name);
}

/* What the source says, and what was said over there. */
static int conclude_failed(struct qmp *q, const struct guest *g, const struct journey *j,
			   const json_t *info, struct err *e)
{
	const char *why = option_str(info, "error-desc", "it failed"), *there = NULL;

	if (is_unsure(q)) {
		err_set(e, EREMOTEIO, "%s", why);
		return stays_stopped(g, "look whether it runs there", e);
	}
	if (j->remote) {
		remote_wait(j->remote, GONE_SECONDS);
		there = remote_last_words(j->remote);
	}
	if (there)
		err_set(e, EREMOTEIO, "%s; over there: %s", why, there);
	else
		err_set(e, EREMOTEIO, "%s", why);
	return j->ran ? err_hint(e, "the guest runs on here") : -e->code;
}

/* Nobody here knows who has the guest: the other host does. */
static int conclude_unsure(struct qmp *q, const struct cli_args *args, const struct guest *g,
			   const struct journey *j, const json_t *info, struct err *e)
{
	int r = remote_settle(args, g, e);

	if (r > 0)
		return conclude_left(q, args, j, info, e);
	if (r < 0)
		return stays_stopped(g, "when that host answers see whether it has the guest", e);
	r = j->ran ? qmp_command(q, "cont", NULL, NULL, e) : 0;
	return r < 0 ? r : err_set(e, EPIPE, "the connection was lost; the guest runs on here");
}

static int conclude(struct qmp *q, const struct cli_args *args, const struct guest *g,
		    const struct journey *j, const json_t *info, struct err *e)
{
	const char *status = option_str(info, "status", "");

	if (!strcmp(status, "completed"))
		return conclude_left(q, args, j, info, e);
	if (j->remote && is_unsure(q))
		return conclude_unsure(q, args, g, j, info, e);
	if (strcmp(status, "cancelled") != 0)
		return conclude_failed(q, g, j, info, e);
	if (j->remote)
		remote_wait(j->remote, GONE_SECONDS);
	return err_set(e, ECANCELED, "cancelled; the guest runs on here");
}

static int migrate(const struct cli_args *args, const struct guest *g, struct journey *j,
		   struct record *record, struct err *e)
{
	const struct migration_watch w = {.name = g->name, .json = args->json, .record = record};
	OWNED_JSON *info = NULL;
	struct migrate_tls tls;
	struct qmp q;
	int r = qmp_open(g, OPEN_SECONDS, &q, e);

	if (r < 0)
		return r;
	r = is_relayed(j) ? migrate_tls_off(&q, &tls, e) : migrate_tls_set(&q, args, &tls, e);
	if (r >= 0)
		r = begin(&q, args, j, record, e);
	if (r >= 0)
		r = migration_follow(&q, &w, &info, e);
	migrate_tls_undo(&q, &tls);
	if (r >= 0)
		r = conclude(&q, args, g, j, info, e);
	qmp_close(&q);
	return r;
}

static int migrate_by_ssh(const struct cli_args *args, const struct guest *g, struct record *record,
			  struct err *e)
{
	struct remote remote;
	struct journey j = {.uri = cli_value(args, "direct", "fd:" REMOTE_FD), .remote = &remote};
	int r = remote_open(&remote, args, g, e);

	if (r >= 0)
		r = remote_refuse(&remote, args, e);
	if (r >= 0)
		r = migrate(args, g, &j, record, e);
	remote_stop(&remote);
	return r;
}

static int travel(const struct cli_args *args, const struct guest *g, struct record *record,
		  struct err *e)
{
	struct journey j = {.uri = args->words[1]};
	int r = remote_options_check(args, e);

	if (r >= 0 && cli_value(args, "compression", NULL) && !cli_value(args, "channels", NULL))
		r = err_set(e, EINVAL,
			    "--compression needs --channels N: a single stream isn't compressed");
	if (r < 0)
		return r;
	return remote_is(args->words[1]) ? migrate_by_ssh(args, g, record, e)
					 : migrate(args, g, &j, record, e);
}

static int exit_code(int r)
{
	switch (-r) {
	case EINVAL: return CLI_USAGE;
	case EPERM: return CLI_REFUSED;
	default: return CLI_FAILED;
	}
}

/**
 * cmd_migrate() - outlive migrate
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_migrate(const struct cli_args *args)
{
	struct err e = {0}, unwritten;
	struct record record;
	struct guest g;
	int r = guest_open_running(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	r = record_open(&record, cli_value(args, "record", NULL), &e);
	if (r >= 0)
		r = travel(args, &g, &record, &e);
	if (record_close(&record, &unwritten) < 0)
		fprintf(stderr, "outlive: %s\n",
			unwritten.msg); /* the guest has moved all the same */
	if (r < 0)
		err_in(&e, "%s", g.name);
	guest_release(&g);
	return r < 0 ? cli_fail(exit_code(r), &e) : CLI_OK;
}
