/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: before a guest leaves, the target is asked whether it fits
 * (migrate/preflight.h). Here are both ends of that question, and the command that asks it and
 * nothing else. That one connects only where it knows that an Outlive waits (beacon.h); whatever
 * else waits there is left alone, and the answer says what couldn't be checked. Of a connection
 * that it is given (fd:) whoever gives it knows that.
 */
#include "vmm/q35/migration/migration.h"

#include "base/owned.h"
#include "migrate/beacon.h"
#include "vmm/q35/migration/description.h"
#include "vmm/q35/migration/room.h"

#include <errno.h>
#include <time.h>

#define AGAIN_TRIES 500 /* five seconds, if nobody is there */

/**
 * check_prepare() - The target of the next job will be asked
 * @m:		Prepared. Main thread
 * @only:	And nothing is sent
 * @e:		Set on failure only: a device can't follow
 *
 * Return: 0, or a negative errno
 */
int check_prepare(struct migration *m, bool only, struct err *e)
{
	json_decref(m->description);
	m->description = description_make(m->guest, e);
	m->preflight = (struct preflight){m->description, only};
	m->job.options.preflight = m->description ? &m->preflight : NULL;
	return m->description ? 0 : -e->code;
}

static int compare_here(struct migration *m, struct err *e)
{
	OWNED_JSON *mine = description_make(m->guest, e);

	if (!mine)
		return -e->code;
	m->found = description_compare(m->theirs, mine);
	room_check(&m->guest->q->memory, m->found);
	return 0;
}

/**
 * check_compare() - Judge what a source has described
 * @opaque:	The migration, on its job's thread
 * @description: Of the source's guest
 *
 * Return: the answer, see struct migrate_hooks
 */
json_t *check_compare(void *opaque, const json_t *description)
{
	struct migration *m = opaque;
	struct err e;

	m->theirs = description;
	if (migration_call(m, compare_here, &e) < 0)
		m->found = json_pack("[s]", e.msg);
	return json_pack("{s:s, s:o}", "version", OUTLIVE_VERSION, "mismatches", m->found);
}

/**
 * check_remember() - Keep what the target answered
 * @m:	The job has ended. Main thread
 */
void check_remember(struct migration *m)
{
	json_decref(m->found_last);
	m->found_last = m->job.preflight;
	m->job.preflight = NULL;
}

/**
 * check_describe() - Its part of query-migrate
 * @m:		Main thread
 * @info:	Added to
 */
void check_describe(struct migration *m, json_t *info)
{
	json_t *found = json_object_get(m->found_last, "mismatches");
	struct migrate_sections all;
	struct err e;

	if (json_array_size(found))
		json_object_set(info, "outlive-mismatches", found);
	if (migration_busy(m))
		return;
	if (guest_sections(m->guest, &all, &e) < 0)
		json_object_set_new(info, "blocked-reasons", json_pack("[s]", e.msg));
	else
		migrate_sections_destroy(&all);
}

/* The command. */

static const char *const both_sides[] = {
	"the target's machine type, memory and vCPUs",
	"its devices, their addresses and properties",
	"its CPU features",
	"its disks and networks",
	"what stands in the way over there",
};

static json_t *not_asked(const json_t *mismatches)
{
	json_t *unchecked = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(both_sides); i++)
		json_array_append_new(unchecked, json_string(both_sides[i]));
	return json_pack("{s:s, s:O, s:o}", "target", "unknown", "mismatches", mismatches,
			 "unchecked", unchecked);
}

static json_t *asked(const json_t *answer)
{
	return json_pack("{s:s, s:O, s:[]}", "target", option_str(answer, "version", "?"),
			 "mismatches", json_object_get(answer, "mismatches"), "unchecked");
}

/* The target has closed its socket for the question, and is about to listen again. */
static void wait_for_beacon(struct migration *m)
{
	const struct timespec nap = {.tv_nsec = 10 * NS_PER_MS};

	for (int i = 0; i < AGAIN_TRIES && !beacon_answers(&m->uri); i++)
		nanosleep(&nap, NULL);
}

static void run(struct migration *m)
{
	if (uri_waits(&m->uri) && !beacon_answers(&m->uri)) {
		m->ret = -ENOENT;
		return;
	}
	m->ret = migration_connect_and_send(m, &m->e);
	if (m->job.preflight && uri_waits(&m->uri))
		wait_for_beacon(m);
}

static void finished(void *opaque)
{
	struct migration *m = opaque;
	struct control_request *rq = m->check;
	OWNED_JSON *none = json_array();
	json_t *ret = NULL;

	check_remember(m);
	if (m->ret == -ENOENT)
		ret = not_asked(none);
	else if (m->found_last)
		ret = asked(m->found_last);
	migration_join(m);
	m->check = NULL;
	control_complete(rq, ret, ret ? NULL : &m->e);
}

static int begin(struct migration *m, const char *uri, struct err *e)
{
	int r = uri_parse(uri, &m->uri, e);

	if (r >= 0 && !uri_waits(&m->uri) && m->uri.kind != URI_FD)
		r = err_set(e, EINVAL, "only tcp:, unix: and fd: can be asked");
	if (r >= 0)
		r = migration_tls(m, false, e);
	if (r >= 0)
		r = migration_take_fd(m, e);
	if (r < 0)
		return r;
	m->incoming = false;
	m->job.options.return_path = true;
	migration_quiet_hooks(m);
	return migration_thread(m, run, finished, e);
}

/**
 * guest_check_migration() - QMP outlive-check-migration
 * @opaque:	The guest
 * @rq:		The command; answered when the target has answered
 * @args:	@uri, or none
 * @ret:	Set if nobody is asked
 * @e:		Set on failure only
 *
 * Errors: EBUSY a migration is under way; EINVAL the URI; as connect(2)
 * Return: 0, CONTROL_LATER, or a negative errno
 */
int guest_check_migration(void *opaque, struct control_request *rq, const json_t *args,
			  json_t **ret, struct err *e)
{
	struct migration *m = ((struct guest *)opaque)->migration;
	const char *uri = option_str(args, "uri", NULL);
	OWNED_JSON *found = json_array();
	int r = migration_may_leave(m, e);

	if (r < 0)
		return r;
	r = migration_prepare(m, e);
	if (r >= 0)
		r = check_prepare(m, true, e);
	if (r < 0)
		json_array_append_new(found, json_string(e->msg));
	if (r < 0 || !uri) {
		migration_release(m);
		*ret = not_asked(found);
		return 0;
	}
	m->check = rq;
	r = begin(m, uri, e);
	if (r < 0)
		migration_release(m);
	return r < 0 ? r : CONTROL_LATER;
}
