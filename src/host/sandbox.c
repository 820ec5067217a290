/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: tables of names, by group, and libseccomp that makes a filter of them. Names
 * that this architecture or this library doesn't know are passed over: what doesn't exist needs no
 * denying. Filters add up; each denies for itself.
 *
 * Source: seccomp(2), clone(2); the groups are those of QEMU's -sandbox.
 */
#include "host/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>

static const char *const always[] = {
	"acct",
	"add_key",
	"adjtimex",
	"bpf",
	"chroot",
	"clock_adjtime",
	"clock_settime",
	"delete_module",
	"fanotify_init",
	"finit_module",
	"fsconfig",
	"fsmount",
	"fspick",
	"init_module",
	"ioperm",
	"iopl",
	"kcmp",
	"kexec_file_load",
	"kexec_load",
	"keyctl",
	"lookup_dcookie",
	"modify_ldt",
	"mount",
	"mount_setattr",
	"move_mount",
	"nfsservctl",
	"open_by_handle_at",
	"open_tree",
	"perf_event_open",
	"pidfd_getfd",
	"pivot_root",
	"process_vm_readv",
	"process_vm_writev",
	"ptrace",
	"quotactl",
	"quotactl_fd",
	"reboot",
	"request_key",
	"setdomainname",
	"sethostname",
	"setns",
	"settimeofday",
	"stime",
	"swapoff",
	"swapon",
	"syslog",
	"umount",
	"umount2",
	"vhangup",
	"vm86",
	"vm86old",
	NULL,
};

/* The VMM asks for these itself, for huge pages (memory/huge.c), and does without if refused. */
static const char *const huge_pages[] = {"fsopen", "unshare", NULL};

static const char *const obsolete[] = {
	"_sysctl", "afs_syscall", "bdflush",         "break",    "create_module",
	"ftime",   "getpmsg",     "get_kernel_syms", "gtty",     "lock",
	"mpx",     "prof",        "profil",          "putpmsg",  "query_module",
	"readdir", "security",    "sgetmask",        "ssetmask", "stty",
	"sysfs",   "tuxcall",     "ulimit",          "uselib",   "ustat",
	"vserver", NULL,
};

static const char *const privileges[] = {
	"setfsgid",   "setfsuid",  "setgid",      "setgroups",  "setpgid",     "setregid",
	"setresgid",  "setresuid", "setreuid",    "setsid",     "setuid",      "setfsgid32",
	"setfsuid32", "setgid32",  "setgroups32", "setregid32", "setresgid32", "setresuid32",
	"setreuid32", "setuid32",  NULL,
};

static const char *const spawn[] = {"execve", "execveat", "fork", "vfork", NULL};

static const char *const resources[] = {
	"ioprio_set",
	"sched_setaffinity",
	"sched_setattr",
	"sched_setparam",
	"sched_setscheduler",
	"setpriority",
	NULL,
};

static const struct group {
	enum sandbox_group group;
	const char *const *names;
	bool ends; /* the process; else EPERM */
} groups_table[] = {
	{SANDBOX_ALWAYS, always, true},     {SANDBOX_ALWAYS, huge_pages, false},
	{SANDBOX_OBSOLETE, obsolete, true}, {SANDBOX_PRIVILEGES, privileges, true},
	{SANDBOX_SPAWN, spawn, false},      {SANDBOX_RESOURCES, resources, false},
};

static int names_deny(scmp_filter_ctx ctx, const struct group *g)
{
	uint32_t action = g->ends ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM);
	int r = 0;

	for (const char *const *name = g->names; *name && r >= 0; name++) {
		int nr = seccomp_syscall_resolve_name(*name);

		if (nr >= 0)
			r = seccomp_rule_add(ctx, action, nr, 0);
	}
	return r;
}

/* A thread is not a process. clone3() has its flags in memory, where a filter can't look; told that
 * there is no such call, the C library takes clone(). */
static int processes_deny(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp no_thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
	int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (r < 0)
		return r;
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, no_thread);
}

static int filter_fill(scmp_filter_ctx ctx, unsigned int groups)
{
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (r >= 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r >= 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < ARRAY_SIZE(groups_table) && r >= 0; i++)
		if (groups & groups_table[i].group)
			r = names_deny(ctx, &groups_table[i]);
	return r >= 0 && groups & SANDBOX_SPAWN ? processes_deny(ctx) : r;
}

/**
 * sandbox_enter() - Deny groups of system calls to all threads of this process, for good
 * @groups:	Of enum sandbox_group; filters of earlier calls stay in force
 * @e:		Set on failure only
 *
 * New privileges by set-user-id programs end with it (PR_SET_NO_NEW_PRIVS).
 *
 * Errors: as seccomp(2); EINVAL: this kernel has no filters
 * Return: 0, or a negative errno; on failure nothing is denied
 */
int sandbox_enter(unsigned int groups, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = ctx ? filter_fill(ctx, groups) : -ENOMEM;

	if (r >= 0)
		r = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return r < 0 ? err_set(e, -r, "set the system call filter: %s", strerror(-r)) : 0;
}
