/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the old process ends after an upgrade, and whoever watches it must take
 * that for what it is. systemd is told of the new process while the old one, which it surely hears,
 * is there; by NotifyAccess=main it hears no other. Where the end of the old process can't but end
 * the new one (the first process of a container, the leader of a terminal's session, a service that
 * systemd takes for ended), an upgrade would lose the guest: those are blockers.
 */
#include "vmm/q35/upgrade/upgrade.h"

#include "base/owned.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* Its end makes the kernel hang the terminal up, for all of the session. */
static bool leads_terminal(void)
{
	OWNED_FD terminal = -1;

	if (getsid(0) != getpid())
		return false;
	terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
	return terminal >= 0;
}

/* Did systemd start this very process, and doesn't listen to it? */
static bool unheard_service(void)
{
	const char *main_pid = getenv("SYSTEMD_EXEC_PID");

	return main_pid && atoi(main_pid) == getpid() && !getenv("NOTIFY_SOCKET");
}

/**
 * surroundings_blockers() - Who would end the guest's new process with this one?
 * @sentences:	Appended to
 *
 * Source: pid_namespaces(7); setsid(2), the end of a session leader; systemd.service(5) Type=,
 * systemd.exec(5) SYSTEMD_EXEC_PID
 */
void surroundings_blockers(json_t *sentences)
{
	if (getpid() == 1)
		json_array_append_new(
			sentences,
			json_string("this process is the first of its container, and the kernel "
				    "ends all others there with it: let another process be the "
				    "first, one that stays"));
	if (leads_terminal())
		json_array_append_new(
			sentences,
			json_string("this process leads the session of a terminal, which is hung "
				    "up with its end: start it from a shell that stays, or with "
				    "-daemonize"));
	if (unheard_service())
		json_array_append_new(
			sentences,
			json_string("systemd takes the end of this process for the end of the "
				    "service, as it isn't told of the next one: set "
				    "NotifyAccess=main (or Type=notify) in the unit"));
}

/**
 * surroundings_succeeded() - Tell the service manager of the new process
 * @pid:	Of it
 */
void surroundings_succeeded(pid_t pid)
{
	sd_notifyf(0, "MAINPID=%lu", (unsigned long)pid);
}
