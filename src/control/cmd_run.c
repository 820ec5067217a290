/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: commands that change or show whether the guest runs. */
#include "control/command.h"

#include <errno.h>

static int query_status(struct control *c, struct control_request *rq, const json_t *args,
			json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_status)
		return c->ops->query_status(c->ops->opaque, rq, args, ret, e);
	*ret = json_pack("{s:b, s:b, s:s}", "running", 0, "singlestep", 0, "status", "prelaunch");
	return 0;
}

static void leave(void *opaque)
{
	struct control *c = opaque;

	control_flush(c);
	loop_exit(c->loop);
}

static int quit(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		struct err *e)
{
	if (!c->quitting)
		control_event(c, "SHUTDOWN",
			      json_pack("{s:b, s:s}", "guest", 0, "reason", "host-qmp-quit"));
	c->quitting = true;
	if (c->ops && c->ops->quit)
		return c->ops->quit(c->ops->opaque, rq, args, ret, e);
	loop_post(c->loop, leave, c); /* the answer goes first */
	return 0;
}

static int system_wakeup(struct control *c, struct control_request *rq, const json_t *args,
			 json_t **ret, struct err *e)
{
	if (c->ops && c->ops->system_wakeup)
		return c->ops->system_wakeup(c->ops->opaque, rq, args, ret, e);
	return err_set(e, EINVAL, "wake-up from suspend is not supported by this guest");
}

static const char *const reboots[] = {"reset", "shutdown", NULL};
static const char *const shutdowns[] = {"poweroff", "pause", NULL};
static const char *const panics[] = {"pause", "shutdown", "exit-failure", "none", NULL};
static const char *const watchdogs[] = {"reset", "shutdown", "poweroff",   "pause",
					"debug", "none",     "inject-nmi", NULL};

static const struct option action_args[] = {
	{"reboot", OPTION_ENUM, "when the guest reboots", .names = reboots, .type = "RebootAction"},
	{"shutdown", OPTION_ENUM, "when it powers off", .names = shutdowns,
	 .type = "ShutdownAction"},
	{"panic", OPTION_ENUM, "when it panics", .names = panics, .type = "PanicAction"},
	{"watchdog", OPTION_ENUM, "when a watchdog bites", .names = watchdogs,
	 .type = "WatchdogAction"},
	OPTIONS_END,
};

static const struct option watchdog_args[] = {
	{"action", OPTION_ENUM, "what it does", .required = true, .names = watchdogs,
	 .type = "WatchdogAction"},
	OPTIONS_END,
};

static const char *const key_kinds[] = {"number", "qcode", NULL};

static const struct option key_fields[] = {
	{"type", OPTION_ENUM, "how the key is told", .required = true, .names = key_kinds,
	 .type = "KeyValueKind"},
	{"data", OPTION_ANY, "its name, or its code in set 1 with bit 7 for the prefix 0xe0",
	 .required = true},
	OPTIONS_END,
};

static const struct option send_key_args[] = {
	{"keys", OPTION_OBJECT, "pressed in this order and released in the opposite one",
	 .required = true, .list = true, .fields = key_fields, .type = "KeyValue"},
	{"hold-time", OPTION_INT, "ms from one to the next (default 10)", .min = 0, .max = 60000},
	OPTIONS_END,
};

const struct command commands_run[] = {
	{"query-status", NULL, "StatusInfo", query_status, .help = "run state"},
	{"stop", .op = COMMAND_OP(stop), .help = "stop the vCPUs"},
	{"cont", .op = COMMAND_OP(cont), .help = "let the vCPUs run"},
	{"system_reset", .op = COMMAND_OP(system_reset), .help = "reset the guest"},
	{"system_powerdown", .op = COMMAND_OP(system_powerdown), .help = "press the power button"},
	{"system_wakeup", .fn = system_wakeup, .help = "wake a suspended guest"},
	{"quit", .fn = quit, .help = "end the VMM at once"},
	{"inject-nmi", .op = COMMAND_OP(inject_nmi), .help = "non-maskable interrupt to all vCPUs"},
	{"send-key", send_key_args, .op = COMMAND_OP(send_key),
	 .help = "press keys of the guest's keyboard together"},
	{"rtc-reset-reinjection", .op = COMMAND_OP(rtc_reset_reinjection),
	 .help = "ticks of the RTC that the guest missed come no more (-rtc driftfix=slew)"},
	{"set-action", action_args, .op = COMMAND_OP(set_action), .help = "what guest events do"},
	{"watchdog-set-action", watchdog_args, .op = COMMAND_OP(watchdog_set_action),
	 .help = "what a watchdog does"},
	{0},
};
