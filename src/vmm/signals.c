/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what ends the process from outside of QMP: the usual signals, which the loop
 * serves, and C-a x on a console.
 */
#include "base/log.h"
#include "char/char.h"
#include "vmm/vmm.h"

#include <signal.h>

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *opaque)
{
	struct vmm *v = opaque;

	log_info("terminating on signal %u from pid %u", info->ssi_signo, info->ssi_pid);
	control_event(v->control, "SHUTDOWN",
		      json_pack("{s:b, s:s}", "guest", 0, "reason", "host-signal"));
	control_flush(v->control);
	loop_exit(v->loop);
	return 0;
}

static void on_quit(void *opaque)
{
	struct vmm *v = opaque;

	log_info("terminating: C-a x on a console");
	control_event(v->control, "SHUTDOWN",
		      json_pack("{s:b, s:s}", "guest", 0, "reason", "host-qmp-quit"));
	control_flush(v->control);
	loop_exit(v->loop);
}

static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

/**
 * vmm_signal_waits() - Is there a signal that the loop hasn't served yet?
 *
 * Return: its number, of those that end this process; 0: none
 */
int vmm_signal_waits(void)
{
	sigset_t waiting;

	sigpending(&waiting);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigismember(&waiting, signals[i]))
			return signals[i];
	return 0;
}

/**
 * vmm_signals_watch() - Let the usual signals, and C-a x on a mux, end the loop
 * @v:		With its loop
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int vmm_signals_watch(struct vmm *v, struct err *e)
{
	char_on_quit(on_quit, v);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, not the guest's end */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		sigset_t one;
		int r;

		sigemptyset(&one);
		sigaddset(&one, signals[i]);
		sigprocmask(SIG_BLOCK, &one, NULL);
		r = sd_event_add_signal(loop_event(v->loop), NULL, signals[i], on_signal, v);
		if (r < 0)
			return err_ret(e, r, "signal %d", signals[i]);
	}
	return 0;
}
