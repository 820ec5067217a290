/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what happens to the machine, as QMP events in QEMU's words; and the end
 * of the process when it is due. */
#include "vmm/q35/guest.h"

#include "base/owned.h"
#include "block/on_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

static json_t *rtc_data(struct guest *g)
{
	return json_pack("{s:I, s:s}", "offset", (json_int_t)rtc_change_s(g->q->rtc), "qom-path",
			 "/machine/unattached/rtc");
}

static void status_reset(struct block_node *n, void *opaque)
{
	block_io_status_reset(n);
}

static void on_event(struct vm_listener *l, enum vm_event event, int arg)
{
	struct guest *g = CONTAINER_OF(l, struct guest, listener);
	struct control *c = g->v->control;

	if (event == VM_RESUMED)
		block_each(status_reset, NULL);
	if (g->quiet && (event == VM_STOPPED || event == VM_RESUMED))
		return;
	switch (event) {
	case VM_STOPPED: control_event(c, "STOP", NULL); break;
	case VM_RESUMED: control_event(c, "RESUME", NULL); break;
	case VM_RESET: control_event(c, "RESET", reset_data(arg)); break;
	case VM_SHUTDOWN: control_event(c, "SHUTDOWN", shutdown_data(arg)); break;
	case VM_POWERDOWN: control_event(c, "POWERDOWN", NULL); break;
	case VM_SUSPENDED: control_event(c, "SUSPEND", NULL); break;
	case VM_HIBERNATED: control_event(c, "SUSPEND_DISK", NULL); break;
	case VM_WAKEUP: control_event(c, "WAKEUP", NULL); break;
	case VM_PANICKED:
		control_event(c, "GUEST_PANICKED",
			      json_pack("{s:s}", "action", arg ? "pause" : "shutdown"));
		break;
	case VM_CRASHLOADED:
		control_event(c, "GUEST_CRASHLOADED", json_pack("{s:s}", "action", "run"));
		break;
	case VM_WATCHDOG: control_event(c, "WATCHDOG", watchdog_data(arg)); break;
	case VM_RTC_SET: control_event(c, "RTC_CHANGE", rtc_data(g)); break;
	case VM_EXIT: end(g, arg); break;
	}
}

/**
 * struct io_failure - A failed request of a disk on its way to the main thread
 */
struct io_failure {
	struct guest *g;
	struct device_io_error what;
	char node[64];
};

/* So many wait for the main thread. A client learns nothing new of more, and a guest whose disk
 * fails at once could make them faster than they are told. */
#define IO_FAILURES_MAX 64

static json_t *io_error_data(const struct io_failure *f)
{
	static const char *const actions[] = {[BLOCK_ERROR_REPORT] = "report",
					      [BLOCK_ERROR_IGNORE] = "ignore",
					      [BLOCK_ERROR_STOP] = "stop"};

	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "device", "", "node-name", f->node,
			 "operation", f->what.read ? "read" : "write", "action",
			 actions[f->what.action], "nospace", f->what.error == ENOSPC, "reason",
			 strerror(f->what.error));
}

static void on_io_failure(void *opaque)
{
	struct io_failure *f = opaque;
	struct vm *vm = &f->g->q->vm;

	control_event(f->g->v->control, "BLOCK_IO_ERROR", io_error_data(f));
	if (f->what.action == BLOCK_ERROR_STOP && vm_active(vm))
		vm_stop(vm, RUN_IO_ERROR);
	__atomic_sub_fetch(&f->g->io_failures, 1, __ATOMIC_RELAXED);
	free(f);
}

/**
 * guest_io_error() - A request of a disk failed
 * @opaque:	The guest
 * @what:	Which, and what becomes of it; any thread
 *
 * One that stops the guest is always told; of others no more than wait already.
 */
void guest_io_error(void *opaque, const struct device_io_error *what)
{
	struct guest *g = opaque;
	struct io_failure *f;

	if (__atomic_add_fetch(&g->io_failures, 1, __ATOMIC_RELAXED) > IO_FAILURES_MAX &&
	    what->action != BLOCK_ERROR_STOP) {
		__atomic_sub_fetch(&g->io_failures, 1, __ATOMIC_RELAXED);
		return;
	}
	f = mem_zalloc(sizeof(*f));
	f->g = g;
	f->what = *what;
	snprintf(f->node, sizeof(f->node), "%s", what->node);
	loop_post(g->v->loop, on_io_failure, f);
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
