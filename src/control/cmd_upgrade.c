/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: live upgrade as QMP sees it; the machine's process does it
 * (vmm/upgrade.c). */
#include "control/command.h"

static const struct option upgrade_args[] = {
	{"binary", OPTION_STRING,
	 "program to go on in (default: the one this process was started from)"},
	{"dry-run", OPTION_BOOL,
	 "build the new process and ask for blockers, but leave the guest where it is"},
	{"prepare-timeout", OPTION_INT, "longest time until the new process is ready, ms", .min = 1,
	 .max = 3600000},
	{"pause-timeout", OPTION_INT,
	 "longest pause until the guest goes on in the old process, ms", .min = 1, .max = 600000},
	OPTIONS_END,
};

const struct command commands_upgrade[] = {
	{"outlive-upgrade", upgrade_args, "UpgradeReport", .op = COMMAND_OP(upgrade),
	 .help = "go on in another process, which answers this command"},
	{"query-upgrade-blockers", NULL, "[str]", .op = COMMAND_OP(query_blockers),
	 .help = "what stands in the way of an upgrade"},
	{"outlive-query-configuration", NULL, "any", .op = COMMAND_OP(query_configuration),
	 .help = "command line, devices and back ends as they are now: what another VMM is told "
		 "to make this machine again"},
	{0},
};
