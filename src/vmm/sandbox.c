/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: from -sandbox to the filter of the host room. It is set before anything is
 * opened or any thread made (but the file system for the guest's RAM, since nobody may mount one
 * later), so all of the VMM's life with a guest is under it; only what -runas needs is denied after
 * that. A process that may start no other makes the one that starts the
 * program of an upgrade first.
 */
#include "host/sandbox.h"
#include "host/launcher.h"
#include "memory/memory.h"
#include "vmm/vmm.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

/* As QEMU's defaults: obsolete calls are denied, the rest if asked for. */
static const struct {
	const char *key, *unset;
	unsigned int group;
} switches[] = {
	{"obsolete", "deny", SANDBOX_OBSOLETE},
	{"elevateprivileges", "allow", SANDBOX_PRIVILEGES},
	{"spawn", "allow", SANDBOX_SPAWN},
	{"resourcecontrol", "allow", SANDBOX_RESOURCES},
};

static bool denied(const struct vmm_options *o, size_t i)
{
	return !strcmp(option_str(vmm_values(o, VMM_SANDBOX), switches[i].key, switches[i].unset),
		       "deny");
}

/* Groups of calls that the command line denies; 0: there is no sandbox. */
static unsigned int groups_of(const struct vmm_options *o)
{
	unsigned int groups = SANDBOX_ALWAYS;

	if (!option_bool(vmm_values(o, VMM_SANDBOX), "enable", false))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		if (denied(o, i))
			groups |= switches[i].group;
	return groups;
}

/**
 * vmm_sandboxed() - Is there a system call filter?
 * @o:		The command line
 *
 * Return: as -sandbox says
 */
bool vmm_sandboxed(const struct vmm_options *o)
{
	return groups_of(o);
}

/**
 * vmm_sandbox_enter() - Set the system call filter that -sandbox asks for
 * @o:		The command line
 * @user:	Whom this process becomes later; elevateprivileges=deny waits for it. NULL: nobody
 * @e:		Set on failure only
 *
 * This process has one thread, and nothing is open that a child mustn't have.
 *
 * Return: 0, or a negative errno
 */
int vmm_sandbox_enter(const struct vmm_options *o, const char *user, struct err *e)
{
	unsigned int groups = groups_of(o);
	const char *children = option_str(vmm_values(o, VMM_SANDBOX), "elevateprivileges", "allow");
	int r = 0;

	if (!groups)
		return 0;
	ram_huge_prepare();
	r = launcher_start(user_change, user, e);
	if (r == 0 && !strcmp(children, "children") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_sys(e, "no new privileges");
	if (r == 0)
		r = sandbox_enter(user ? groups & ~(unsigned int)SANDBOX_PRIVILEGES : groups, e);
	return r < 0 ? err_in(e, "-sandbox") : 0;
}

/**
 * vmm_sandbox_finish() - Deny what was left to become another user with
 * @o:		The command line
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int vmm_sandbox_finish(const struct vmm_options *o, struct err *e)
{
	if (!(groups_of(o) & SANDBOX_PRIVILEGES))
		return 0;
	return sandbox_enter(SANDBOX_PRIVILEGES, e) < 0 ? err_in(e, "-sandbox") : 0;
}
