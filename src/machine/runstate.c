/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the names are QEMU's: QMP's query-status and the stream's section
 * "globalstate" carry them.
 */
#include "machine/vm.h"

#include <string.h>

static const char *const names[RUN_STATES] = {
	[RUN_PRELAUNCH] = "prelaunch",
	[RUN_RUNNING] = "running",
	[RUN_PAUSED] = "paused",
	[RUN_SHUTDOWN] = "shutdown",
	[RUN_SUSPENDED] = "suspended",
	[RUN_INMIGRATE] = "inmigrate",
	[RUN_POSTMIGRATE] = "postmigrate",
	[RUN_FINISH_MIGRATE] = "finish-migrate",
	[RUN_SAVE_VM] = "save-vm",
	[RUN_RESTORE_VM] = "restore-vm",
	[RUN_GUEST_PANICKED] = "guest-panicked",
	[RUN_WATCHDOG] = "watchdog",
	[RUN_IO_ERROR] = "io-error",
	[RUN_INTERNAL_ERROR] = "internal-error",
	[RUN_DEBUG] = "debug",
};

/**
 * run_state_name() - QEMU's name of a run state
 * @s:		The state
 *
 * Return: constant string
 */
const char *run_state_name(enum run_state s)
{
	return names[s];
}

/**
 * run_state_parse() - A run state by its name
 * @name:	As run_state_name() gives it
 * @ret:	Set if there is one
 *
 * Return: whether there is one
 */
bool run_state_parse(const char *name, enum run_state *ret)
{
	for (enum run_state s = RUN_PRELAUNCH; s < RUN_STATES; s++) {
		if (strcmp(names[s], name))
			continue;
		*ret = s;
		return true;
	}
	return false;
}
