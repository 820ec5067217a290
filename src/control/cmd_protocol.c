/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: commands about the protocol itself and about this program. */
#include "control/command.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *const capabilities[] = {"oob", NULL};
static const struct option capabilities_args[] = {
	{"enable", OPTION_ENUM, "capabilities to switch on", .list = true, .names = capabilities,
	 .type = "QMPCapability"},
	OPTIONS_END,
};

static int qmp_capabilities(struct control *c, struct control_request *rq, const json_t *args,
			    json_t **ret, struct err *e)
{
	rq->monitor->oob = json_array_size(json_object_get(args, "enable")) > 0;
	rq->monitor->negotiated = true;
	return 0;
}

static int query_version(struct control *c, struct control_request *rq, const json_t *args,
			 json_t **ret, struct err *e)
{
	*ret = json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", 0, "minor", 2, "major", 8,
			 "package", "outlive-" OUTLIVE_VERSION);
	return 0;
}

static int query_commands(struct control *c, struct control_request *rq, const json_t *args,
			  json_t **ret, struct err *e)
{
	*ret = json_array();
	for (const struct command *const *g = command_groups; *g; g++)
		for (const struct command *cmd = *g; cmd->name; cmd++)
			json_array_append_new(*ret, json_pack("{s:s}", "name", cmd->name));
	return 0;
}

static int query_qmp_schema(struct control *c, struct control_request *rq, const json_t *args,
			    json_t **ret, struct err *e)
{
	*ret = schema_build();
	return 0;
}

static const struct option option_args[] = {
	{"option", OPTION_STRING, "only this one"},
	OPTIONS_END,
};

static int query_command_line_options(struct control *c, struct control_request *rq,
				      const json_t *args, json_t **ret, struct err *e)
{
	const char *wanted = option_str(args, "option", NULL);
	size_t i;
	json_t *o;

	*ret = json_array();
	json_array_foreach (c->config.options, i, o)
		if (!wanted || !strcmp(wanted, option_str(o, "option", "")))
			json_array_append(*ret, o);
	if (wanted && !json_array_size(*ret)) {
		json_decref(*ret);
		*ret = NULL;
		return err_set(e, EINVAL, "invalid option name: %s", wanted);
	}
	return 0;
}

static int query_name(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	if (c->config.name)
		*ret = json_pack("{s:s}", "name", c->config.name);
	return 0;
}

static int query_uuid(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	const uint8_t *u = c->config.uuid;
	char text[37];

	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	*ret = json_pack("{s:s}", "UUID", text);
	return 0;
}

static int query_kvm(struct control *c, struct control_request *rq, const json_t *args,
		     json_t **ret, struct err *e)
{
	bool usable = access("/dev/kvm", R_OK | W_OK) == 0;

	*ret = json_pack("{s:b, s:b}", "enabled", usable, "present", usable);
	return 0;
}

static int query_target(struct control *c, struct control_request *rq, const json_t *args,
			json_t **ret, struct err *e)
{
	*ret = json_pack("{s:s}", "arch", "x86_64");
	return 0;
}

const struct command commands_protocol[] = {
	{"qmp_capabilities", capabilities_args, NULL, qmp_capabilities, .flags = COMMAND_NEGOTIATE,
	 .help = "begins the session; until then nothing else is answered"},
	{"query-version", NULL, "VersionInfo", query_version, .flags = COMMAND_OOB,
	 .help = "the QEMU version whose protocol this is, and ours in 'package'"},
	{"query-commands", NULL, "[CommandInfo]", query_commands, .help = "names of all commands"},
	{"query-qmp-schema", NULL, "[SchemaInfo]", query_qmp_schema,
	 .help = "all commands, events and types"},
	{"query-command-line-options", option_args, "[CommandLineOptionInfo]",
	 query_command_line_options, .help = "options of the command line"},
	{"query-name", NULL, "NameInfo", query_name, .help = "name of the guest"},
	{"query-uuid", NULL, "UuidInfo", query_uuid, .help = "UUID of the guest"},
	{"query-kvm", NULL, "KvmInfo", query_kvm, .help = "whether KVM can be used"},
	{"query-target", NULL, "TargetInfo", query_target, .help = "architecture of the guest"},
	{0},
};
