/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: migration as QMP sees it. Capabilities and parameters are kept here,
 * checked by name, until the machine has a say of its own; the verbs go to the machine.
 */
#include "control/command.h"

#include <errno.h>
#include <string.h>

static const char *const capability_names[] = {"xbzrle",
					       "auto-converge",
					       "events",
					       "postcopy-ram",
					       "release-ram",
					       "return-path",
					       "pause-before-switchover",
					       "multifd",
					       "late-block-activate",
					       "validate-uuid",
					       "x-ignore-shared",
					       "zero-copy-send",
					       "mapped-ram",
					       "dirty-limit",
					       "outlive-content-hashes",
					       NULL};

/* Those whose absence is declared rather than promised: asking for them is an error until a machine
 * knows better. */
static const char *const plain[] = {"events", "return-path", "pause-before-switchover",
				    "late-block-activate", NULL};

static const struct option capability_fields[] = {
	{"capability", OPTION_ENUM, "which", .required = true, .names = capability_names,
	 .type = "MigrationCapability"},
	{"state", OPTION_BOOL, "on or off", .required = true},
	OPTIONS_END,
};

static const struct option capabilities_args[] = {
	{"capabilities", OPTION_OBJECT, "what to switch", .required = true, .list = true,
	 .fields = capability_fields, .type = "MigrationCapabilityStatus"},
	OPTIONS_END,
};

static const char *const zero_pages[] = {"legacy", "multifd", NULL};
static const char *const compressions[] = {"none", "zlib", "zstd", NULL};
static const struct option parameters[] = {
	{"announce-initial", OPTION_INT,
	 "ms from the first announcement after arrival to the second", .max = 100000},
	{"announce-max", OPTION_INT, "longest time between two, ms", .max = 100000},
	{"announce-rounds", OPTION_INT, "how many", .max = 1000},
	{"announce-step", OPTION_INT, "increase of the time between, ms", .max = 10000},
	{"throttle-trigger-threshold", OPTION_INT, "percent dirtied that starts slowing down",
	 .min = 1, .max = 100},
	{"cpu-throttle-initial", OPTION_INT, "first slow-down, percent", .min = 1, .max = 99},
	{"cpu-throttle-increment", OPTION_INT, "each further one", .min = 1, .max = 99},
	{"cpu-throttle-tailslow", OPTION_BOOL, "smaller steps at the end"},
	{"max-cpu-throttle", OPTION_INT, "slow-down at most, percent", .min = 1, .max = 99},
	{"tls-creds", OPTION_STRING, "id of the tls-creds object; empty: no TLS"},
	{"tls-hostname", OPTION_STRING,
	 "name that the target's certificate must have; empty: the host of the URI"},
	{"tls-authz", OPTION_STRING, "must be empty: whoever the CA has signed may come"},
	{"max-bandwidth", OPTION_SIZE, "bytes a second; 0: no limit"},
	{"downtime-limit", OPTION_INT, "longest pause at the end, ms", .max = 2000000},
	{"multifd-channels", OPTION_INT, "connections", .min = 1, .max = 255},
	{"multifd-compression", OPTION_ENUM, "how pages are compressed", .names = compressions,
	 .type = "MultiFDCompression"},
	{"multifd-zlib-level", OPTION_INT, "how hard", .max = 9},
	{"multifd-zstd-level", OPTION_INT, "how hard", .max = 20},
	{"zero-page-detection", OPTION_ENUM,
	 "who looks for pages of zeros: the stream (legacy), or each channel (multifd; not to a "
	 "QEMU before 9.0)",
	 .names = zero_pages, .type = "ZeroPageDetection"},
	{"xbzrle-cache-size", OPTION_SIZE, "bytes of the cache of sent pages"},
	{"outlive-content-file", OPTION_STRING,
	 "of a target: a file with pages that the guest may have (a snapshot with mapped-ram), for "
	 "outlive-content-hashes; empty: none"},
	{"outlive-confirm-timeout", OPTION_INT,
	 "ms to wait for the target's word once it has everything; 0: without end",
	 .max = 86400000},
	{"max-postcopy-bandwidth", OPTION_SIZE, "bytes a second in the background; 0: no limit"},
	{"vcpu-dirty-limit", OPTION_INT, "MiB a second that a vCPU may write when dirty-limit acts",
	 .min = 1, .max = 1000000},
	{"x-vcpu-dirty-limit-period", OPTION_INT, "has no effect: the ring tells at once", .min = 1,
	 .max = 1000},
	OPTIONS_END,
};

/**
 * migrate_parameters_check() - Check parameters of migration
 * @values:	By name; left as they are
 * @form:	How strict to be
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL unknown parameter, bad value
 * Return: 0, or a negative errno
 */
int migrate_parameters_check(const json_t *values, enum option_form form, json_t **ret,
			     struct err *e)
{
	return option_check(parameters, values, form, ret, e);
}

static const char *const wait_states[] = {"setup", "pre-switchover", "device", NULL};
static const char *const packings[] = {"none", "zstd", NULL};
static const struct option migrate_args[] = {
	{"uri", OPTION_STRING,
	 "tcp:HOST:PORT, unix:PATH, fd:NAME, exec:COMMAND, file:PATH[,offset=BYTES]"},
	{"channels", OPTION_OBJECT, "the same, as QEMU from 8.2 on takes it, in place of uri",
	 .list = true, .fields = migrate_channel_fields, .type = "MigrationChannel"},
	{"detach", OPTION_BOOL, "has no effect: the command always answers at once"},
	{"resume", OPTION_BOOL, "go on with a cut post-copy"},
	{"outlive-no-check", OPTION_BOOL, "don't ask the target first whether the guest fits"},
	{"outlive-relayed", OPTION_BOOL,
	 "another program carries the stream (ssh): its end says nothing of the target, so a word "
	 "that doesn't come leaves the guest stopped here"},
	{"outlive-continue", OPTION_BOOL,
	 "only with file: the guest runs on here when all of it is written (a snapshot)"},
	{"outlive-mapped", OPTION_BOOL,
	 "only with file: pages at fixed places (default: as capability mapped-ram says)"},
	{"outlive-packed", OPTION_BOOL,
	 "pages at fixed places lie one behind the other in each MiB, which takes less room and "
	 "time where zeros are scattered, and QEMU can't read (default: as outlive-mapped)"},
	{"outlive-points", OPTION_STRING,
	 "only with file: keep what the disks are at that moment in files of this prefix"},
	{"outlive-compress", OPTION_ENUM, "only with file: pack all of it", .names = packings,
	 .type = "OutlivePacking"},
	OPTIONS_END,
};
static const struct option check_args[] = {
	{"uri", OPTION_STRING,
	 "tcp:HOST:PORT, unix:PATH, or fd:NAME of a connection to an Outlive; none: this side "
	 "only"},
	OPTIONS_END,
};
static const struct option incoming_args[] = {
	{"uri", OPTION_STRING, "where to listen or read"},
	{"channels", OPTION_OBJECT, "the same, as QEMU from 8.2 on takes it, in place of uri",
	 .list = true, .fields = migrate_channel_fields, .type = "MigrationChannel"},
	{"exit-on-error", OPTION_BOOL, "end the process if it fails"},
	OPTIONS_END,
};
static const struct option continue_args[] = {
	{"state", OPTION_ENUM, "where it waits", .required = true, .names = wait_states,
	 .type = "MigrationStatus"},
	OPTIONS_END,
};
static json_t *capabilities_of(struct control *c)
{
	if (!c->capabilities) {
		c->capabilities = json_object();
		for (const char *const *n = capability_names; *n; n++)
			json_object_set_new(c->capabilities, *n, json_false());
	}
	return c->capabilities;
}

static int query_migrate_capabilities(struct control *c, struct control_request *rq,
				      const json_t *args, json_t **ret, struct err *e)
{
	const char *name;
	json_t *on;

	if (c->ops && c->ops->query_migrate_capabilities)
		return c->ops->query_migrate_capabilities(c->ops->opaque, rq, args, ret, e);
	*ret = json_array();
	json_object_foreach (capabilities_of(c), name, on)
		json_array_append_new(*ret,
				      json_pack("{s:O, s:s}", "state", on, "capability", name));
	return 0;
}

static bool is_plain(const char *name)
{
	for (const char *const *p = plain; *p; p++)
		if (!strcmp(*p, name))
			return true;
	return false;
}

static int migrate_set_capabilities(struct control *c, struct control_request *rq,
				    const json_t *args, json_t **ret, struct err *e)
{
	const json_t *list = json_object_get(args, "capabilities");
	size_t i;
	json_t *one;

	if (c->ops && c->ops->migrate_set_capabilities)
		return c->ops->migrate_set_capabilities(c->ops->opaque, rq, args, ret, e);
	json_array_foreach (list, i, one) {
		const char *name = option_str(one, "capability", "");

		if (option_bool(one, "state", false) && !is_plain(name))
			return err_set(e, ENOTSUP, "capability '%s' needs a machine that has it",
				       name);
	}
	json_array_foreach (list, i, one)
		json_object_set(capabilities_of(c), option_str(one, "capability", ""),
				json_object_get(one, "state"));
	return 0;
}

static json_t *parameters_of(struct control *c)
{
	if (!c->parameters)
		c->parameters = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s,"
					  " s:i, s:i, s:i, s:s}",
					  "announce-initial", 50, "announce-max", 550,
					  "announce-rounds", 5, "announce-step", 100,
					  "throttle-trigger-threshold", 50, "cpu-throttle-initial",
					  20, "cpu-throttle-increment", 10, "max-cpu-throttle", 99,
					  "tls-creds", "", "tls-hostname", "", "tls-authz", "",
					  "max-bandwidth", 134217728, "downtime-limit", 300,
					  "multifd-channels", 2, "multifd-compression", "none");
	return c->parameters;
}

static int query_migrate_parameters(struct control *c, struct control_request *rq,
				    const json_t *args, json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_migrate_parameters)
		return c->ops->query_migrate_parameters(c->ops->opaque, rq, args, ret, e);
	*ret = json_copy(parameters_of(c));
	return 0;
}

static int migrate_set_parameters(struct control *c, struct control_request *rq, const json_t *args,
				  json_t **ret, struct err *e)
{
	if (c->ops && c->ops->migrate_set_parameters)
		return c->ops->migrate_set_parameters(c->ops->opaque, rq, args, ret, e);
	json_object_update(parameters_of(c), (json_t *)(uintptr_t)args);
	return 0;
}

/* Before any migration: {}. */
static int query_migrate(struct control *c, struct control_request *rq, const json_t *args,
			 json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_migrate)
		return c->ops->query_migrate(c->ops->opaque, rq, args, ret, e);
	return 0;
}

const struct command commands_migrate[] = {
	{"migrate", migrate_args, .op = COMMAND_OP(migrate), .rewrite = migrate_uri,
	 .help = "send the guest somewhere else"},
	{"migrate_cancel", NULL, .op = COMMAND_OP(migrate_cancel), .help = "call it off"},
	{"migrate-continue", continue_args, .op = COMMAND_OP(migrate_continue),
	 .help = "go on where pause-before-switchover waits"},
	{"migrate-incoming", incoming_args, .op = COMMAND_OP(migrate_incoming),
	 .rewrite = migrate_uri, .help = "take a guest (after -incoming defer)"},
	{"migrate-pause", NULL, .op = COMMAND_OP(migrate_pause), .flags = COMMAND_OOB,
	 .help = "don't wait any longer for a target that has everything and says nothing"},
	{"query-vcpu-dirty-limit", NULL, "[DirtyLimitInfo]",
	 .op = COMMAND_OP(query_vcpu_dirty_limit),
	 .help = "what each vCPU may write and writes; nothing where there is no limit"},
	{"outlive-check-migration", check_args, "OutliveMigrationCheck",
	 .op = COMMAND_OP(check_migration),
	 .help = "would the guest fit? Says what stands in the way, and moves nothing"},
	{"query-migrate", NULL, "MigrationInfo", query_migrate, .help = "how far it is"},
	{"migrate-set-capabilities", capabilities_args, NULL, migrate_set_capabilities,
	 .help = "what migration may use"},
	{"query-migrate-capabilities", NULL, "[MigrationCapabilityStatus]",
	 query_migrate_capabilities, .help = "what it may use now"},
	{"migrate-set-parameters", parameters, NULL, migrate_set_parameters, .help = "its limits"},
	{"query-migrate-parameters", NULL, "MigrationParameters", query_migrate_parameters,
	 .help = "its limits now"},
	{0},
};
