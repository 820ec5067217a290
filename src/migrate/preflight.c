/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the source has written the header, the configuration and the request for a
 * return path, all of which any QEMU takes. Then it pings with a number of ours. QEMU answers with
 * the same number and isn't asked any more; an Outlive answers with another one. It then gets the
 * description of the guest, in pieces, and answers with what doesn't fit, as sentences. If there
 * are none the stream goes on as ever; else, or if only the question was wanted, it ends here: the
 * target has touched nothing and waits again.
 */
#include "migrate/preflight.h"
#include "base/keyval.h"
#include "base/owned.h"
#include "migrate/content/content.h"
#include "migrate/peer.h"
#include "migrate/wire.h"

#include <errno.h>
#include <string.h>

#define DESCRIPTION_MAX (1024 * 1024)

enum { PIECE_MORE = 1, PIECE_ONLY_ASKED = 2 };

static void put_ping(struct channel *c)
{
	channel_put_u8(c, WIRE_COMMAND);
	channel_put_be16(c, WIRE_PING);
	channel_put_be16(c, 4);
	channel_put_be32(c, PREFLIGHT_HELLO);
	channel_flush(c);
}

static void put_description(struct channel *c, const char *text, bool only)
{
	size_t left = strlen(text), part;

	do {
		part = MIN(left, (size_t)PREFLIGHT_PIECE);
		left -= part;
		channel_put_u8(c, WIRE_COMMAND);
		channel_put_be16(c, PREFLIGHT_COMMAND);
		channel_put_be16(c, (uint16_t)(part + 1));
		channel_put_u8(c,
			       (uint8_t)((left ? PIECE_MORE : 0) | (only ? PIECE_ONLY_ASKED : 0)));
		channel_put(c, text, part);
		text += part;
	} while (left);
	channel_flush(c);
}

/* A reply of @type; its bytes, with a NUL behind, or NULL. */
static char *get_reply(struct channel *c, uint16_t type, uint16_t *ret_len)
{
	uint16_t found = channel_get_be16(c), len = channel_get_be16(c);
	char *bytes = mem_zalloc((size_t)len + 1);
	struct err e;

	if (found == WIRE_TLS_ALERT) {
		err_set(&e, EPROTO, "the target speaks TLS: set tls-creds here, or empty it there");
		channel_fail(c, &e);
	}
	*ret_len = len;
	if (channel_get(c, bytes, len) && found == type)
		return bytes;
	free(bytes);
	return NULL;
}

static int is_outlive(struct channel *c, bool *ret, struct err *e)
{
	OWNED(char) *bytes = NULL;
	uint16_t len;
	uint32_t value;

	put_ping(c);
	bytes = get_reply(c, WIRE_REPLY_PONG, &len);
	if (channel_failed(c))
		return channel_check(c, e);
	if (!bytes || len != sizeof(value))
		return err_set(e, EPROTO, "the target's answer isn't known");
	memcpy(&value, bytes, sizeof(value));
	*ret = be32toh(value) == PREFLIGHT_ANSWER;
	return 0;
}

/* The first sentence, and how many there are. */
static int refused(const json_t *mismatches, struct err *e)
{
	size_t n = json_array_size(mismatches);
	const char *first = json_string_value(json_array_get(mismatches, 0));

	if (n > 1)
		return err_set(e, EPROTONOSUPPORT, "%s (and %zu more: outlive check lists them)",
			       first ? first : "?", n - 1);
	return err_set(e, EPROTONOSUPPORT, "%s", first ? first : "?");
}

/* In the description: pages that the target has shall be named only. In the answer: how many it
 * has in a file. */
static const char hashes_member[] = "content-hashes";
/* In the description: the source hears why it is refused. */
static const char refusals_member[] = "refusals";

/* In the answer: who the target is. */
static const char process_member[] = "process";

static int no_hashes(struct err *e)
{
	return err_set(e, EPROTONOSUPPORT,
		       "the target doesn't know outlive-content-hashes: upgrade it, or switch the "
		       "capability off");
}

/* Hears what the target has in a file. */
static int hear_list(struct migrate_job *job, struct err *e)
{
	const json_t *pages = json_object_get(job->preflight, hashes_member);
	json_int_t n = json_integer_value(pages);

	if (!job->options.content_hashes || job->options.preflight->only_asked)
		return 0;
	if (!json_is_integer(pages) || n < 0)
		return no_hashes(e);
	job->content_list = mem_zalloc(sizeof(*job->content_list));
	return content_list_get(job->channel, job->content_list, (uint64_t)n, e);
}

static int ask(struct migrate_job *job, struct err *e)
{
	const struct preflight *p = job->options.preflight;
	OWNED_JSON *all = json_copy((json_t *)(uintptr_t)p->description);
	OWNED(char) *text = NULL, *bytes = NULL;
	json_error_t where;
	uint16_t len;

	if (job->options.content_hashes)
		json_object_set_new(all, hashes_member, json_true());
	json_object_set_new(all, refusals_member, json_true());
	text = json_dumps(all, JSON_COMPACT);

	put_description(job->channel, text, p->only_asked);
	bytes = get_reply(job->channel, PREFLIGHT_COMMAND, &len);
	if (channel_failed(job->channel))
		return channel_check(job->channel, e);
	job->preflight = bytes ? json_loads(bytes, 0, &where) : NULL;
	if (!json_is_array(json_object_get(job->preflight, "mismatches")))
		return err_set(e, EPROTO, "the target's answer to the check isn't known");
	job->peer = peer_meet(json_object_get(job->preflight, process_member), job->channel);
	return 0;
}

/**
 * preflight_ask() - Ask the target whether the guest fits
 * @job:	With @options.preflight; the return path was requested
 * @e:		Set on failure only
 *
 * Errors: EPROTONOSUPPORT it doesn't; ECANCELED it does, but no more was wanted; EPROTO; as the
 * channel
 * Return: 0 if it fits, or the target can't tell
 */
int preflight_ask(struct migrate_job *job, struct err *e)
{
	const json_t *found;
	bool outlive = false;
	int r = is_outlive(job->channel, &outlive, e);

	if (r < 0)
		return err_in(e, "check");
	if (outlive)
		r = ask(job, e);
	else if (job->options.content_hashes)
		r = no_hashes(e);
	if (r < 0)
		return err_in(e, "check");
	found = json_object_get(job->preflight, "mismatches");
	if (json_array_size(found)) {
		r = refused(found, e);
		err_in(e, "the guest doesn't fit the target");
		return r;
	}
	r = hear_list(job, e);
	if (r < 0)
		return err_in(e, "check");
	return job->options.preflight->only_asked ? err_set(e, ECANCELED, "only asked") : 0;
}

static void answer(struct migrate_job *job, const json_t *reply)
{
	OWNED(char) *text = json_dumps(reply, JSON_COMPACT);
	size_t len = MIN(strlen(text), (size_t)UINT16_MAX);

	channel_put_be16(job->channel, PREFLIGHT_COMMAND);
	channel_put_be16(job->channel, (uint16_t)len);
	channel_put(job->channel, text, len);
	channel_flush(job->channel);
}

/* The source wants to name pages: opens the file they may be in. A file that can't be used is one
 * more mismatch. */
static void agree_on_hashes(struct migrate_job *job, json_t *reply, bool only)
{
	const char *path = job->options.content_file;
	struct err e;

	job->content_agreed = true;
	if (path && !only && content_file_open(&job->content_file, path, &e) < 0)
		json_array_append_new(json_object_get(reply, "mismatches"), json_string(e.msg));
	json_object_set_new(reply, hashes_member,
			    json_integer((json_int_t)content_file_pages(job->content_file)));
}

/**
 * preflight_end() - Free what a job has of it, but the answer
 * @job:	Ends
 */
void preflight_end(struct migrate_job *job)
{
	state_writer_destroy(&job->asked);
	if (job->content_list)
		content_index_destroy(job->content_list);
	mem_free(&job->content_list);
	content_file_close(job->content_file);
	job->content_file = NULL;
	peer_forget(job->peer);
	job->peer = NULL;
}

static int judge(struct migrate_job *job, bool only, struct err *e)
{
	json_error_t where;
	OWNED_JSON *theirs = json_loadb((const char *)job->asked.buf, job->asked.len, 0, &where);
	OWNED_JSON *reply = NULL;
	size_t n;

	if (!theirs)
		return err_set(e, EPROTO, "the source's description: %s", where.text);
	job->answered = true;
	job->tells_why = json_is_true(json_object_get(theirs, refusals_member));
	reply = job->hooks.compare(job->hooks.opaque, theirs);
	json_object_set_new(reply, process_member, peer_describe(job->channel));
	if (json_is_true(json_object_get(theirs, hashes_member)))
		agree_on_hashes(job, reply, only);
	answer(job, reply);
	n = json_array_size(json_object_get(reply, "mismatches"));
	if (!n && !only)
		content_list_put(job->channel, job->content_file);
	job->asked_only = only || n;
	if (n)
		return refused(json_object_get(reply, "mismatches"), e);
	return only ? err_set(e, ECANCELED, "only asked") : 0;
}

/**
 * preflight_piece() - A piece of the source's description has come
 * @job:	Being loaded
 * @len:	Bytes that follow
 * @e:		Set on failure only
 *
 * Errors: EPROTO; EPROTONOSUPPORT answered: it doesn't fit; ECANCELED answered, no more was wanted
 * Return: 0 if there is more to come
 */
int preflight_piece(struct migrate_job *job, uint16_t len, struct err *e)
{
	uint8_t flags = channel_get_u8(job->channel);
	OWNED(char) *bytes = mem_zalloc((size_t)len + 1);

	if (!len || !job->hooks.compare || job->answered || job->asked.len > DESCRIPTION_MAX)
		return err_set(e, EPROTO, "the source's description isn't known");
	if (!channel_get(job->channel, bytes, len - 1u))
		return channel_check(job->channel, e);
	state_put(&job->asked, bytes, len - 1u);
	return flags & PIECE_MORE ? 0 : judge(job, flags & PIECE_ONLY_ASKED, e);
}
