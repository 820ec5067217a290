/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what happens to the machine, as QMP events in QEMU's words; and the end
 * of the process when it is due. */
#include "vmm/q35/guest.h"

static json_t *shutdown_data(bool by_guest)
{
	return json_pack("{s:b, s:s}", "guest", by_guest, "reason",
			 by_guest ? "guest-shutdown" : "host-qmp-quit");
}

static json_t *reset_data(bool by_guest)
{
	return json_pack("{s:b, s:s}", "guest", by_guest, "reason",
			 by_guest ? "guest-reset" : "host-qmp-system-reset");
}

static void end(struct guest *g, int exit_code)
{
	g->v->exit_code = exit_code;
	control_flush(g->v->control);
	loop_exit(g->v->loop);
}

static json_t *watchdog_data(int action)
{
	static const char *const words[] = {"reset", "shutdown", "poweroff",  "pause",
					    "debug", "none",     "inject-nmi"};

	return json_pack("{s:s}", "action", words[action]);
}

static void on_event(struct vm_listener *l, enum vm_event event, int arg)
{
	struct guest *g = CONTAINER_OF(l, struct guest, listener);
	struct control *c = g->v->control;

	if (g->quiet && (event == VM_STOPPED || event == VM_RESUMED))
		return;
	switch (event) {
	case VM_STOPPED: control_event(c, "STOP", NULL); break;
	case VM_RESUMED: control_event(c, "RESUME", NULL); break;
	case VM_RESET: control_event(c, "RESET", reset_data(arg)); break;
	case VM_SHUTDOWN: control_event(c, "SHUTDOWN", shutdown_data(arg)); break;
	case VM_POWERDOWN: control_event(c, "POWERDOWN", NULL); break;
	case VM_SUSPENDED: control_event(c, "SUSPEND", NULL); break;
	case VM_WAKEUP: control_event(c, "WAKEUP", NULL); break;
	case VM_PANICKED:
		control_event(c, "GUEST_PANICKED",
			      json_pack("{s:s}", "action", arg ? "pause" : "shutdown"));
		break;
	case VM_CRASHLOADED:
		control_event(c, "GUEST_CRASHLOADED", json_pack("{s:s}", "action", "run"));
		break;
	case VM_WATCHDOG: control_event(c, "WATCHDOG", watchdog_data(arg)); break;
	case VM_EXIT: end(g, arg); break;
	}
}

/**
 * guest_events_watch() - Turn machine events into QMP events
 * @g:		The guest
 */
void guest_events_watch(struct guest *g)
{
	g->listener.event = on_event;
	vm_listen(&g->q->vm, &g->listener);
}
