/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the target's side. It is started with one end of a socket pair, introduces
 * itself, receives configuration and descriptors, and builds the machine with the guest's own RAM,
 * without touching it. It then sleeps on the ownership word. It reads the state while the source is
 * still writing it; only after winning the word does it run a vCPU, read a socket or write to a
 * disk. If it can't take the state it says why and ends; if the source goes away before the offer,
 * it ends too.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "upgrade/upgrade.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define HANDOVER_TIMEOUT_MS 60000

/**
 * target_open() - Introduce ourselves and receive the guest's configuration
 * @t:		Filled in on success
 * @sock:	Socket to the source; owned by @t on success
 * @version:	Of this build
 * @schema:	State this build reads; borrowed
 * @features:	UPGRADE_ words of what it can do, closed by NULL
 * @e:		Set on failure only
 *
 * Errors: EPROTO the other side is no source; ETIMEDOUT; ECONNRESET
 * Return: 0, or a negative errno
 */
int target_open(struct upgrade_target *t, int sock, const char *version, const json_t *schema,
		const char *const *features, struct err *e)
{
	json_t *words = json_array();
	json_t *hello = json_pack("{s:s, s:i, s:O?, s:o}", "version", version, "protocol",
				  UPGRADE_PROTOCOL, "schema", schema, "features", words);
	int fd, r;

	for (; *features; features++)
		json_array_append_new(words, json_string(*features));
	r = link_send_json(sock, hello, e);

	*t = (struct upgrade_target){.sock = sock, .area.fd = -1};
	if (r >= 0)
		r = link_recv(sock, &t->bundle, HANDOVER_TIMEOUT_MS, e);
	if (r < 0)
		return r;
	fd = bundle_take_fd(&t->bundle, "area");
	r = fd < 0 ? err_set(e, EPROTO, "no hand-over area came") : area_open(&t->area, fd, e);
	if (r < 0) {
		fd_close(&fd);
		bundle_release(&t->bundle);
	}
	return r;
}

static bool source_gone(const struct upgrade_target *t)
{
	struct pollfd p = {.fd = t->sock, .events = POLLIN};

	return poll(&p, 1, 0) > 0; /* it has nothing more to say: readable means closed */
}

/**
 * target_wait() - Say that the machine is built, sleep until the guest's state begins to come
 * @t:		The target
 * @e:		Set on failure only
 *
 * Errors: ECANCELED the source gave up or died before that
 * Return: 0, or a negative errno
 */
int target_wait(struct upgrade_target *t, struct err *e)
{
	int r = link_send_json(t->sock, json_pack("{s:b}", "ready", 1), e);

	if (r < 0)
		return r;
	while (!area_await(&t->area, 0, 200 * NS_PER_MS) && ownership(&t->area) == OWNER_SOURCE)
		if (source_gone(t))
			return err_set(e, ECANCELED, "the old process gave up");
	area_mark(&t->area, MARK_SEEN);
	return 0;
}

/* Finds the state, and behind it what was added late. The source can write all of this memory at
 * any time: each length is read once. */
static size_t state_len(struct upgrade_target *t, const uint8_t **ret, size_t *ret_late)
{
	size_t room, len, all = area_state_len(&t->area);
	const uint8_t *at = area_state(&t->area, &room);

	*ret = at + 8;
	*ret_late = 0;
	if (all < 8)
		return 0;
	len = MIN(__atomic_load_n((const size_t *)at, __ATOMIC_RELAXED), all - 8);
	*ret_late = all - 8 - len;
	return len;
}

/* Until the offer there is as much as the source has written; then all of it. */
static bool read_along(struct state_reader *r, size_t need)
{
	struct upgrade_target *t = r->opaque;
	size_t late;

	while (r->len - r->at < need && ownership(&t->area) == OWNER_SOURCE) {
		r->len = MAX(r->len + 8, area_await(&t->area, r->len + 8, 200 * NS_PER_MS)) - 8;
		if (r->len - r->at < need && source_gone(t))
			return false;
	}
	if (ownership(&t->area) != OWNER_SOURCE)
		r->len = MAX(r->at, state_len(t, &r->buf, &late));
	return r->len - r->at >= need;
}

/**
 * target_reader() - The guest's state, as it comes
 * @t:		The target
 * @r:		Filled in; valid until target_close()
 */
void target_reader(struct upgrade_target *t, struct state_reader *r)
{
	size_t room;

	*r = (struct state_reader){
		.buf = area_state(&t->area, &room) + 8, .refill = read_along, .opaque = t};
}

static int await_offer(struct upgrade_target *t, struct err *e)
{
	while (ownership(&t->area) == OWNER_SOURCE) {
		area_await(&t->area, SIZE_MAX, 200 * NS_PER_MS);
		if (ownership(&t->area) == OWNER_SOURCE && source_gone(t))
			return err_set(e, ECANCELED, "the old process gave up");
	}
	return 0;
}

/**
 * target_late() - What the source added when it was paused
 * @t:		The target
 *
 * Return: new reference, never NULL
 */
json_t *target_late(struct upgrade_target *t)
{
	size_t late, len;
	const uint8_t *at;
	json_t *ret;

	len = state_len(t, &at, &late);
	ret = json_loadb((const char *)at + len, late, 0, NULL);
	return ret ? ret : json_object();
}

/**
 * target_abandoned() - Has the source given up, or died, before it offered the guest?
 * @t:		The target
 *
 * Return: if so, nothing is lost, and nobody need be told
 */
bool target_abandoned(const struct upgrade_target *t)
{
	return ownership(&t->area) == OWNER_SOURCE && source_gone(t);
}

/**
 * target_take() - Win the guest
 * @t:		The target; all state is applied
 * @e:		Set on failure only
 *
 * Waits for the offer, where the state came before it.
 *
 * Errors: ECANCELED the source gave up or died, or the offer was revoked: the guest isn't ours
 * Return: 0, or a negative errno
 */
int target_take(struct upgrade_target *t, struct err *e)
{
	int r = await_offer(t, e);

	if (r < 0)
		return r;
	if (!ownership_take(&t->area))
		return err_set(e, ECANCELED, "the old process took the guest back");
	area_mark(&t->area, MARK_TAKEN);
	return 0;
}

/**
 * target_refuse() - Say why the guest can't be taken
 * @t:		The target, before target_take()
 * @e:		The reason
 */
void target_refuse(struct upgrade_target *t, const struct err *e)
{
	struct err ignored;

	(void)!link_send_json(t->sock, json_pack("{s:s}", "error", e->msg), &ignored);
}

/**
 * target_report() - What the pause was made of
 * @t:		The target
 * @version:	Of this build
 * @ret:	Filled in
 */
void target_report(struct upgrade_target *t, const char *version, struct upgrade_report *ret)
{
	const char *from = json_string_value(json_object_get(t->bundle.body, "version"));

	*ret = (struct upgrade_report){.done = ownership(&t->area) == OWNER_TARGET,
				       .stage = "done"};
	snprintf(ret->from, sizeof(ret->from), "%s", from ? from : "?");
	snprintf(ret->to, sizeof(ret->to), "%s", version);
	for (int m = 0; m < HANDOVER_MARKS; m++)
		ret->marks_ns[m] = area_mark_ns(&t->area, m);
}

/**
 * target_close() - The hand-over is over
 * @t:		The target
 */
void target_close(struct upgrade_target *t)
{
	fd_close(&t->sock);
	area_close(&t->area);
	bundle_release(&t->bundle);
}
