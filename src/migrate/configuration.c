/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the configuration section has no footer and no length: the machine's name,
 * then subsections as long as there are any. Both sides must agree on what it says before anything
 * else is read.
 */
#include "migrate/configuration.h"

#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char ignore_shared_name[] = "x-ignore-shared";
static const char mapped_name[] = "mapped-ram";

/**
 * struct configuration - What a configuration section said
 * @machine:	Machine type
 * @ignore_shared: Capability x-ignore-shared
 * @mapped:	Capability mapped-ram
 * @has_uuid:	@uuid was there
 * @uuid:	Of the guest
 */
struct configuration {
	char machine[256];
	bool ignore_shared, mapped, has_uuid;
	uint8_t uuid[16];
};

static bool reader_refill(struct state_reader *r, size_t need)
{
	const uint8_t *bytes = channel_peek(r->opaque, r->at + need);

	if (!bytes)
		return false;
	r->buf = bytes;
	r->len = r->at + need;
	return true;
}

/**
 * reader_on() - Read a state from a channel
 * @c:	Channel; nothing else may read from it until reader_done()
 *
 * Return: reader that stands at the channel's next byte
 */
struct state_reader reader_on(struct channel *c)
{
	return (struct state_reader){.refill = reader_refill, .opaque = c};
}

/**
 * reader_done() - Take from the channel what the reader has read
 * @r:	From reader_on()
 */
void reader_done(struct state_reader *r)
{
	channel_skip(r->opaque, r->at);
	r->at = r->len = 0;
}

static void put_subsection(struct channel *c, const char *name)
{
	channel_put_u8(c, WIRE_SUBSECTION);
	channel_put_u8(c, (uint8_t)strlen(name));
	channel_put(c, name, strlen(name));
	channel_put_be32(c, 1);
}

static void put_name(struct channel *c, const char *name)
{
	channel_put_u8(c, (uint8_t)strlen(name));
	channel_put(c, name, strlen(name));
}

/**
 * configuration_save() - Write the beginning of a stream
 * @job:	Gives the options
 */
void configuration_save(struct migrate_job *job)
{
	const struct migrate_options *o = &job->options;
	struct channel *c = job->channel;

	channel_put_be32(c, WIRE_MAGIC);
	channel_put_be32(c, WIRE_VERSION);
	channel_put_u8(c, WIRE_CONFIGURATION);
	channel_put_be32(c, (uint32_t)strlen(o->machine));
	channel_put(c, o->machine, strlen(o->machine));
	if (o->ignore_shared || o->mapped) {
		put_subsection(c, "configuration/capabilities");
		channel_put_be32(c, 1);
		put_name(c, o->mapped ? mapped_name : ignore_shared_name);
	}
	if (o->uuid) {
		put_subsection(c, "configuration/uuid");
		channel_put(c, o->uuid, 16);
	}
}

static int header_load(struct channel *c, struct err *e)
{
	uint32_t magic = channel_get_be32(c), version = channel_get_be32(c);
	uint8_t mark = channel_get_u8(c);

	if (channel_failed(c))
		return channel_check(c, e);
	if (magic >> 16 == WIRE_TLS_HANDSHAKE)
		return err_set(e, EPROTO,
			       "the source speaks TLS: set tls-creds here, or empty it there");
	if (magic != WIRE_MAGIC)
		return err_set(e, EINVAL, "not a migration stream: begins with 0x%08x", magic);
	if (version != WIRE_VERSION)
		return err_set(e, ENOTSUP, "stream version %u, %u is known here", version,
			       WIRE_VERSION);
	if (mark != WIRE_CONFIGURATION)
		return err_set(e, EINVAL, "no configuration section: byte 0x%02x at 8", mark);
	return 0;
}

static int load_capabilities(struct configuration *conf, struct state_reader *r, struct err *e)
{
	uint32_t n = state_get_be32(r);
	char name[256];
	uint8_t len;

	for (; n && !r->failed; n--) {
		len = state_get_u8(r);
		state_get(r, name, len);
		name[len] = '\0';
		if (r->failed)
			break;
		if (!strcmp(name, ignore_shared_name))
			conf->ignore_shared = true;
		else if (!strcmp(name, mapped_name))
			conf->mapped = true;
		else
			return err_set(e, ENOTSUP, "capability %s isn't known here", name);
	}
	return 0;
}

static int load_page_bits(struct state_reader *r, struct err *e)
{
	uint32_t bits = state_get_be32(r);

	if (!r->failed && bits != 12)
		return err_set(e, ENOTSUP, "target-page-bits: %u offered, 12 here", bits);
	return 0;
}

static int load_subsection(struct configuration *conf, const char *name, struct state_reader *r,
			   struct err *e)
{
	uint32_t version;

	state_skip(r, 2 + strlen(name));
	version = state_get_be32(r);
	if (!r->failed && version != 1)
		return err_set(e, EINVAL, "%s: version %u offered, 1 is known here", name, version);
	if (!strcmp(name, "configuration/capabilities"))
		return load_capabilities(conf, r, e);
	if (!strcmp(name, "configuration/target-page-bits"))
		return load_page_bits(r, e);
	if (strcmp(name, "configuration/uuid"))
		return err_set(e, ENOENT, "configuration: unknown subsection %s", name);
	conf->has_uuid = true;
	state_get(r, conf->uuid, 16);
	return 0;
}

static int load_all(struct configuration *conf, struct state_reader *r, struct err *e)
{
	uint32_t len = state_get_be32(r);
	char name[256];
	int ret = 0;

	if (!r->failed && len >= sizeof(conf->machine))
		return err_set(e, EINVAL, "configuration/machine: %u bytes offered, room for %zu",
			       len, sizeof(conf->machine) - 1);
	state_get(r, conf->machine, r->failed ? 0 : len);
	while (ret == 0 && state_subsection_here(r, name))
		ret = load_subsection(conf, name, r, e);
	if (ret == 0 && r->failed)
		return err_set(e, EINVAL, "configuration: cut short");
	return ret;
}

static int judge(const struct configuration *conf, const struct migrate_options *o, struct err *e)
{
	if (strcmp(conf->machine, o->machine))
		return err_set(e, EINVAL, "configuration/machine: %s offered, %s here",
			       conf->machine, o->machine);
	if (conf->ignore_shared != o->ignore_shared)
		return err_set(e, EINVAL,
			       "configuration/capabilities: x-ignore-shared is %s there, %s here",
			       conf->ignore_shared ? "on" : "off", o->ignore_shared ? "on" : "off");
	if (conf->mapped && conf->ignore_shared)
		return err_set(e, ENOTSUP,
			       "configuration/capabilities: mapped-ram and x-ignore-shared");
	if (conf->has_uuid && o->uuid && memcmp(conf->uuid, o->uuid, 16))
		return err_set(e, EINVAL, "configuration/uuid: the stream is of another guest");
	return 0;
}

/**
 * configuration_skip() - Read the beginning of a stream, whatever machine it is for
 * @c:	Channel
 * @e:	Says what isn't known here
 *
 * Errors: as configuration_load()
 * Return: 0, or a negative errno
 */
int configuration_skip(struct channel *c, struct err *e)
{
	struct state_reader r = reader_on(c);
	struct configuration conf = {0};
	int ret = header_load(c, e);

	if (ret == 0) {
		ret = load_all(&conf, &r, e);
		reader_done(&r);
	}
	return ret;
}

/**
 * configuration_load() - Read the beginning of a stream and see whether it is for this machine
 * @job:	Gives channel and options
 * @e:		Says what doesn't fit
 *
 * Errors: EINVAL no such stream, or for another machine; ENOTSUP, ENOENT something that isn't known
 * here
 * Return: 0, or a negative errno
 */
int configuration_load(struct migrate_job *job, struct err *e)
{
	struct state_reader r = reader_on(job->channel);
	struct configuration conf = {0};
	int ret = header_load(job->channel, e);

	if (ret < 0)
		return ret;
	ret = load_all(&conf, &r, e);
	reader_done(&r);
	if (ret == 0)
		ret = judge(&conf, &job->options, e);
	if (ret == 0 && conf.mapped && !job->mapped)
		ret = err_set(e, ENOTSUP,
			      "configuration/capabilities: mapped-ram, which needs a file (file:)");
	if (ret == 0 && job->lazy && !conf.mapped)
		ret = err_set(e, ENOTSUP,
			      "a stream without mapped-ram can't be restored lazily; restore it as "
			      "a whole");
	job->options.mapped = conf.mapped;
	return ret;
}
