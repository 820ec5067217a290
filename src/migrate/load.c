/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: sections are taken as they come until the end mark. RAM goes to its place,
 * device sections go to scratch copies. Then the description is read (the source would notice if we
 * closed before), the whole is judged, and the devices get their states.
 *
 * A section has no length, so what its table doesn't read would be taken for the next section's
 * mark: the footer behind every section is what finds a table that reads too little or too much.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "migrate/configuration.h"
#include "migrate/devices.h"
#include "migrate/multifd/multifd.h"
#include "migrate/preflight.h"
#include "migrate/ram/ram.h"
#include "migrate/snapshot/lazy_room.h"
#include "migrate/stamp.h"
#include "migrate/trailer.h"
#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { LAST_WORD_MS = 1000 }; /* some hundred bytes: there is room for them, or nobody listens */

/**
 * struct load - A stream being read
 * @job:	Whose
 * @ram:	Receives the RAM
 * @ram_number:	Section number of the RAM in this stream; -1 before its START
 * @devices:	Receives the devices
 * @ram_ns:	When the end of the RAM came, or what of it follows the stop
 * @clock_ns:	When kvmclock's section came; 0: not yet
 * @return_path: The source has asked for answers on the same channel
 */
struct load {
	struct migrate_job *job;
	struct ram_sink ram;
	int64_t ram_number, ram_ns, clock_ns;
	struct devices_scratch devices;
	bool return_path;
};

static int load_footer(struct load *l, uint32_t number, const char *id, struct err *e)
{
	struct channel *c = l->job->channel;
	uint64_t at = channel_taken(c);
	uint8_t mark = channel_get_u8(c);
	uint32_t found = channel_get_be32(c);

	if (channel_failed(c))
		return channel_check(c, e);
	if (mark != WIRE_FOOTER)
		return err_set(e, EINVAL,
			       "%s: ends at byte %" PRIu64 " without a footer (0x%02x is there)",
			       id, at, mark);
	if (found != number)
		return err_set(e, EINVAL,
			       "%s: the footer at byte %" PRIu64 " is that of section %u", id, at,
			       found);
	return 0;
}

static int load_payload(struct load *l, uint32_t number, const char *id, uint32_t instance,
			uint32_t version, struct err *e)
{
	if (!strcmp(id, "ram") && instance == 0) {
		if (version != WIRE_RAM_VERSION)
			return err_set(e, EINVAL, "ram: version %u offered, 4 to 4 known here",
				       version);
		l->ram_number = number;
		return ram_get(&l->ram, e);
	}
	if (!strcmp(id, "globalstate") && instance == 0)
		return globalstate_load(l->job, version, e);
	return devices_load_one(&l->devices, l->job->channel, id, instance, version, e);
}

static int load_section(struct load *l, struct err *e)
{
	struct channel *c = l->job->channel;
	uint32_t number = channel_get_be32(c), instance, version;
	uint8_t len = channel_get_u8(c);
	char id[256];
	int ret;

	channel_get(c, id, len);
	id[len] = '\0';
	instance = channel_get_be32(c);
	version = channel_get_be32(c);
	ret = channel_check(c, e);
	if (!strcmp(id, "kvmclock"))
		l->clock_ns = time_ns();
	if (ret == 0)
		ret = load_payload(l, number, id, instance, version, e);
	return ret < 0 ? ret : load_footer(l, number, id, e);
}

static int load_part(struct load *l, struct err *e)
{
	uint32_t number = channel_get_be32(l->job->channel);
	int ret = channel_check(l->job->channel, e);

	if (ret < 0)
		return ret;
	if (number != l->ram_number)
		return err_set(e, EINVAL, "a part of section %u, which hasn't begun", number);
	ret = ram_get(&l->ram, e);
	return ret < 0 ? ret : load_footer(l, number, "ram", e);
}

static void reply(struct load *l, uint16_t type, uint32_t value)
{
	struct channel *c = l->job->channel;

	if (l->job->options.one_way)
		return;
	channel_put_be16(c, type);
	channel_put_be16(c, sizeof(value));
	channel_put_be32(c, value);
	channel_flush(c);
}

static void pong(struct load *l, uint32_t value)
{
	bool asked = value == PREFLIGHT_HELLO && l->job->hooks.compare && l->ram_number < 0;

	reply(l, WIRE_REPLY_PONG, asked ? (uint32_t)PREFLIGHT_ANSWER : value);
}

static int refuse_command(uint16_t command, uint16_t len, struct err *e)
{
	static const char *const names[] = {
		[WIRE_POSTCOPY_ADVISE] = "POSTCOPY_ADVISE",
		[WIRE_POSTCOPY_LISTEN] = "POSTCOPY_LISTEN",
		[WIRE_POSTCOPY_RUN] = "POSTCOPY_RUN",
		[WIRE_POSTCOPY_RAM_DISCARD] = "POSTCOPY_RAM_DISCARD",
		[WIRE_PACKAGED] = "PACKAGED",
		[WIRE_ENABLE_COLO] = "ENABLE_COLO",
		[WIRE_POSTCOPY_RESUME] = "POSTCOPY_RESUME",
		[WIRE_RECV_BITMAP] = "RECV_BITMAP",
	};

	if (command < ARRAY_SIZE(names) && names[command])
		return err_set(e, ENOTSUP,
			       "command %s isn't supported here (capability postcopy-ram or "
			       "x-colo of the source)",
			       names[command]);
	return err_set(e, EINVAL, "unknown command %#x with %u bytes", command, len);
}

static int load_command(struct load *l, struct err *e)
{
	struct channel *c = l->job->channel;
	uint16_t command = channel_get_be16(c), len = channel_get_be16(c);
	int ret = channel_check(c, e);

	if (ret < 0)
		return ret;
	if (command == WIRE_OPEN_RETURN_PATH && len == 0)
		l->return_path = true;
	else if (command == WIRE_PING && len == 4 && l->return_path)
		pong(l, channel_get_be32(c));
	else if (command == PREFLIGHT_COMMAND && l->return_path && l->ram_number < 0)
		return preflight_piece(l->job, len, e);
	else if (!((command == WIRE_SWITCHOVER_START || command == WIRE_POSTCOPY_ADVISE) &&
		   len == 0))
		return refuse_command(command, len, e);
	return channel_check(c, e);
}

static int load_one(struct load *l, uint8_t mark, struct err *e)
{
	switch (mark) {
	case WIRE_START:
	case WIRE_FULL: return load_section(l, e);
	case WIRE_END: l->ram_ns = time_ns(); return load_part(l, e);
	case WIRE_PART: return load_part(l, e);
	case WIRE_COMMAND: return load_command(l, e);
	default:
		return err_set(e, EINVAL, "0x%02x at byte %" PRIu64 " begins no section", mark,
			       channel_taken(l->job->channel) - 1);
	}
}

static int load_sections(struct load *l, struct err *e)
{
	struct channel *c = l->job->channel;
	uint8_t mark;
	int ret = 0;

	while (ret == 0) {
		mark = channel_get_u8(c);
		ret = channel_check(c, e);
		if (ret < 0 || mark == WIRE_EOF)
			break;
		ret = load_one(l, mark, e);
	}
	return ret;
}

/* For people and tools; a stream without it is whole, too. Only its beginning is looked at. */
static bool get_description(struct channel *c, struct stamp *ret)
{
	const uint8_t *mark = channel_peek(c, 1);
	char head[STAMP_HEAD + 1] = "";
	uint32_t len, n;

	if (!mark || *mark != WIRE_DESCRIPTION)
		return false;
	channel_skip(c, 1);
	len = channel_get_be32(c);
	n = MIN(len, (uint32_t)STAMP_HEAD);
	channel_get(c, head, n);
	channel_skip(c, len - n);
	return !channel_failed(c) && stamp_parse(head, ret);
}

/* QEMU reads kvmclock once more when it saves it, behind the RAM. */
static int64_t clock_seen_ns(const struct load *l, bool known)
{
	return !known && l->clock_ns ? l->clock_ns : l->ram_ns;
}

/* Who would hear of it sends a description: without it, somebody has cut the stream, and the source
 * goes on. */
static int load_stop(struct load *l, struct err *e)
{
	bool described = channel_peek(l->job->channel, 1);
	struct stamp stamp;
	bool told = described && get_description(l->job->channel, &stamp);
	const struct stamp written = {.wall_ns = l->job->file_written_ns};
	const struct stamp *known = told ? &stamp : written.wall_ns ? &written : NULL;
	const struct stamp_seen seen = {.now_ns = time_ns(),
					.wall_ns = time_wall_ns(),
					.ram_ns = clock_seen_ns(l, known),
					.live = l->return_path};

	if (!described && l->job->tells_why && !channel_failed(l->job->channel))
		return err_set(e, EPIPE, "the stream ends before the guest's description");
	l->job->stopped_ns = stamp_stopped_ns(known, &seen);
	return channel_check(l->job->channel, e);
}

static int load_stream(struct load *l, struct err *e)
{
	int ret = configuration_load(l->job, e);

	if (ret == 0)
		ret = load_sections(l, e);
	if (ret == 0 && l->ram_number < 0)
		ret = err_set(e, ENODATA, "not in the stream: ram");
	if (ret == 0)
		ret = devices_check(&l->devices, e);
	if (ret < 0)
		return ret;
	ret = load_stop(l, e);
	if (ret < 0 || !l->job->trailer)
		return ret;
	return l->job->options.mapped ? mapped_check(l->job->mapped, l->job->channel, e)
				      : trailer_get(l->job->channel, e);
}

static void apply(void *arg)
{
	devices_apply(arg);
}

static int adopt(struct load *l, struct err *e)
{
	const struct migrate_hooks *h = &l->job->hooks;

	if (h->adopt)
		return h->adopt(h->opaque, apply, &l->devices, e);
	devices_apply(&l->devices);
	return 0;
}

/* A channel beside the stream that fails cuts the stream, too; the source shall hear it all the
 * same. */
static void say_why(struct load *l, const struct err *e)
{
	struct channel *c = l->job->channel;
	size_t len = strlen(e->msg);

	if (!l->job->tells_why ||
	    (channel_failed(c) && !(l->job->multifd_len && channel_revive(c))))
		return;
	channel_patience(c, LAST_WORD_MS);
	channel_put_be16(c, PREFLIGHT_REFUSAL);
	channel_put_be16(c, (uint16_t)len);
	channel_put(c, e->msg, len);
}

/* The last word: who has the guest. */
static void end_return_path(struct load *l, int ret, const struct err *e)
{
	if (!l->return_path || l->job->asked_only || l->job->options.one_way)
		return;
	if (ret < 0)
		say_why(l, e);
	if (!channel_failed(l->job->channel))
		reply(l, WIRE_REPLY_SHUT, ret < 0);
}

/**
 * migrate_load() - Read a guest into a machine that doesn't run
 * @job:	Channel, memory, sections and options
 * @e:		Names section, field and versions, or the byte
 *
 * On failure no device has changed; the content of RAM is undefined.
 *
 * Errors: EINVAL, ENOENT, ENOTSUP, ENODATA, EEXIST the stream isn't for this machine; ECANCELED;
 * else as the channel
 * Return: 0, or a negative errno
 */
int migrate_load(struct migrate_job *job, struct err *e)
{
	struct load l = {.job = job, .ram_number = -1};
	int64_t begin = time_ns();
	struct err local;
	int ret;

	e = e ? e : &local;
	job->progress = (struct migrate_progress){.phase = MIGRATE_SETUP};
	job->runstate[0] = '\0';
	devices_scratch_begin(&l.devices, job->sections);
	ret = ram_sink_begin(&l.ram, job, e);
	if (ret == 0)
		ret = multifd_sink_begin(&l.ram.multifd, &l.ram, e);
	if (ret == 0)
		ret = load_stream(&l, e);
	ret = multifd_sink_end(l.ram.multifd, ret, e);
	if (ret == 0 && job->lazy)
		ret = lazy_start(job->lazy, e);
	if (ret == 0)
		ret = adopt(&l, e);
	preflight_end(job);
	end_return_path(&l, ret, e);
	ram_sink_end(&l.ram);
	devices_scratch_end(&l.devices);
	job->progress.phase = ret < 0 ? MIGRATE_FAILED : MIGRATE_DONE;
	job->progress.total_us = (uint64_t)(time_ns() - begin) / 1000;
	return ret;
}
