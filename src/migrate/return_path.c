/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a target that was asked for answers says SHUT with 0 once it has taken the
 * guest and before it lets it run, or with something else if it refuses. So whoever has that word
 * knows who owns the guest. A target that goes away without it never ran the guest: the kernel
 * closes a dead process's socket behind what it had written. But the connection may end in another
 * way, by whoever is in between: only of a target that said who it is (peer.h) its end is known.
 * Else there is a doubt, and then the guest must not run on here by itself.
 *
 * A QEMU that refuses a device goes away without a word, and a program in between may lose the word
 * of an Outlive that does. So where the end of the connection says nothing the target is asked for
 * an answer behind the devices, before the end mark: if it goes away before that it has no guest,
 * and behind it there is little left to refuse.
 */
#include "migrate/return_path.h"
#include "base/compiler.h"
#include "migrate/peer.h"
#include "migrate/preflight.h"
#include "migrate/wire.h"

#include <errno.h>

/**
 * return_path_request() - Ask the target for answers
 * @job:	Being sent
 */
void return_path_request(struct migrate_job *job)
{
	channel_put_u8(job->channel, WIRE_COMMAND);
	channel_put_be16(job->channel, WIRE_OPEN_RETURN_PATH);
	channel_put_be16(job->channel, 0);
}

/* Whoever is at the other end says it: only letters get to a monitor. */
static void hear_why(struct migrate_job *job, uint16_t len)
{
	size_t n = MIN((size_t)len, sizeof(job->why) - 1);

	channel_get(job->channel, job->why, n);
	job->why[n] = '\0';
	for (char *at = job->why; *at; at++)
		*at = *at >= ' ' && *at <= '~' ? *at : '?';
	channel_skip(job->channel, len - n);
}

/* The next message. 0, or why there is none. */
static int get_reply(struct migrate_job *job, uint16_t *type, uint32_t *value, struct err *e)
{
	struct channel *c = job->channel;
	uint16_t len;

	*type = channel_get_be16(c);
	len = channel_get_be16(c);
	while (*type == PREFLIGHT_REFUSAL && !channel_failed(c)) {
		hear_why(job, len);
		*type = channel_get_be16(c);
		len = channel_get_be16(c);
	}
	if (!channel_failed(c) && len == sizeof(*value))
		*value = channel_get_be32(c);
	if (channel_failed(c))
		return channel_check(c, e);
	if (len != sizeof(*value) || (*type != WIRE_REPLY_SHUT && *type != WIRE_REPLY_PONG))
		return err_set(e, EPROTO, "answer %#x with %u bytes isn't known", *type, len);
	return 0;
}

static int refused(const struct migrate_job *job, struct err *e)
{
	if (job->why[0])
		return err_set(e, EREMOTEIO, "the target has refused the guest: %s", job->why);
	return err_set(e, EREMOTEIO, "the target has refused the guest; its log says why");
}

/**
 * return_path_ping() - Wait until the target has read all that was sent
 * @job:	Being sent, between two sections; the target was asked for answers
 * @e:		Set on failure only
 *
 * Errors: EREMOTEIO it refuses; EPROTO nonsense came; else as the channel
 * Return: 0, or a negative errno
 */
int return_path_ping(struct migrate_job *job, struct err *e)
{
	struct channel *c = job->channel;
	uint16_t type = 0;
	uint32_t value = 0;
	int ret;

	channel_put_u8(c, WIRE_COMMAND);
	channel_put_be16(c, WIRE_PING);
	channel_put_be16(c, sizeof(value));
	channel_put_be32(c, job->progress.round);
	channel_flush(c);
	ret = get_reply(job, &type, &value, e);
	if (ret == 0 && type == WIRE_REPLY_SHUT)
		return refused(job, e);
	return ret;
}

/* A target of ours that fails says why. One that doesn't was ended by somebody. */
static int without_a_word(const struct migrate_job *job, int ret, struct err *e)
{
	if (peer_has_ended(job->peer, ret))
		err_hint(e, "the target ended without a word: killed, for want of memory perhaps, "
			    "or crashed; the kernel's log over there says more");
	return ret;
}

/**
 * return_path_last_word() - Sending has failed: does the target say why?
 * @job:	Being sent; it doesn't matter how far it was
 * @ret:	How it failed
 * @e:		Of that; says the target's reason afterwards, if there is one
 *
 * Return: @ret
 */
int return_path_last_word(struct migrate_job *job, int ret, struct err *e)
{
	uint16_t type = WIRE_REPLY_PONG;
	uint32_t value = 0;
	struct err none;

	if (!job->options.return_path || (ret != -EPIPE && ret != -ECONNRESET) ||
	    !channel_revive(job->channel))
		return ret;
	channel_patience(job->channel, RETURN_PATH_PATIENCE_MS);
	while (type == WIRE_REPLY_PONG)
		if (get_reply(job, &type, &value, &none) < 0)
			return without_a_word(job, ret, e);
	if (value)
		refused(job, e);
	return ret;
}

/**
 * return_path_last_look() - Before the end mark: has the target taken all devices?
 * @job:	Being sent; the devices have been
 * @e:		Set on failure only
 *
 * Whose end will be known isn't asked: that would cost the guest the way there and back.
 *
 * Errors: as return_path_ping()
 * Return: 0, or a negative errno
 */
int return_path_last_look(struct migrate_job *job, struct err *e)
{
	bool ask = job->options.return_path && !peer_is_direct(job->peer);
	int r = ask ? return_path_ping(job, e) : 0;

	return r == -EPIPE || r == -ECONNRESET
		       ? err_in(e, "the target went away without having taken the guest")
		       : r;
}

static int lost(struct migrate_job *job, int ret, struct err *e)
{
	if (!job->options.relayed && peer_has_ended(job->peer, ret))
		return err_set(e, EPIPE, "the target went away without having taken the guest");
	job->unsure = true;
	if (ret == -ECANCELED)
		return err_set(e, ETIMEDOUT,
			       "the target has everything and gave no word: it may or may not have "
			       "the guest");
	return err_in(e, "no word from the target, which may or may not have the guest");
}

/**
 * return_path_wait() - Wait for the target's word
 * @job:	Everything is sent
 * @e:		Set on failure only
 *
 * Errors: EREMOTEIO it refuses; EPIPE it has gone and never ran the guest; EPROTO nonsense came;
 * else as the channel, and @job is marked unsure
 * Return: 0 if it has taken the guest, or a negative errno
 */
int return_path_wait(struct migrate_job *job, struct err *e)
{
	uint16_t type = WIRE_REPLY_PONG;
	uint32_t value = 0;
	int ret = 0;

	while (ret == 0 && type == WIRE_REPLY_PONG)
		ret = get_reply(job, &type, &value, e);
	if (ret < 0)
		return lost(job, ret, e);
	return value ? refused(job, e) : 0;
}

/**
 * return_path_cut() - The end of the stream didn't get through whole: who has the guest?
 * @job:	Being sent; the end mark may have arrived, the description behind it hasn't
 * @ret:	How sending failed
 * @e:		Of that; says what is known afterwards
 *
 * An Outlive takes no guest without the description. A QEMU does, and then calls the stream broken:
 * of its words only the good one says anything. Who wasn't asked for any, at a socket, may have
 * taken it, too; a file or a command that failed has none.
 *
 * Return: 0 if it has taken the guest; or a negative errno, and if nobody can tell @job is marked
 * unsure
 */
int return_path_cut(struct migrate_job *job, int ret, struct err *e)
{
	bool outlive = job->preflight;
	uint16_t type = WIRE_REPLY_PONG;
	uint32_t value = 0;
	struct err none;
	int r = job->options.return_path && channel_revive(job->channel) ? 0 : ret;

	if (!job->options.return_path && channel_socket(job->channel) < 0)
		return ret;
	channel_patience(job->channel, RETURN_PATH_PATIENCE_MS);
	while (r == 0 && type == WIRE_REPLY_PONG)
		r = get_reply(job, &type, &value, &none);
	if (r == 0 && !value)
		return 0;
	if (outlive)
		return r == 0 ? refused(job, e) : ret;
	job->unsure = true;
	return err_in(e, "the target may or may not have the guest");
}
