/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

#include "base/err.h"

#include <stdbool.h>

/*
 * Theory of operation: a system call filter (seccomp) takes from this process what a VMM never
 * needs, so that who breaks out of a guest into it finds little. It is a list of what is denied,
 * all else is allowed: the groups of QEMU's -sandbox. A filter can't be taken off again and goes
 * along to children, so the new process of an upgrade couldn't be another program with other needs;
 * therefore launcher.h starts it from outside of the filter.
 *
 * Most denied calls end the process at once. Those that an operator's command may lead to (a new
 * process, a priority, a mount for memory with huge pages) fail with EPERM instead, so that the
 * command fails, or makes do without, and not the guest.
 */

enum sandbox_group {
	SANDBOX_ALWAYS = 1,     /* what no VMM does: mounts, kernels, modules, clocks, tracing */
	SANDBOX_OBSOLETE = 2,   /* calls that nobody should make any more */
	SANDBOX_PRIVILEGES = 4, /* becoming another user, group or session */
	SANDBOX_SPAWN = 8,      /* new processes and programs: EPERM */
	SANDBOX_RESOURCES = 16, /* priorities and CPUs of threads: EPERM */
};

/* Denies the calls of @groups (enum sandbox_group) to all threads of this process, for good. */
MUST_CHECK int sandbox_enter(unsigned int groups, struct err *e);

#endif
