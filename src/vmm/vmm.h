/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include "base/loop.h"
#include "control/control.h"
#include "vmm/options.h"

/**
 * struct vmm - The process. Main thread
 * @options:	The command line
 * @argv:	Its words, as an array; they go along in a live upgrade
 * @loop:	Main loop
 * @control:	QMP; its monitors listen already when the machine starts
 * @machine:	The machine's own, set by machine_start()
 * @exit_code:	Of the process; the machine may set it (isa-debug-exit, panic action)
 */
struct vmm {
	const struct vmm_options *options;
	json_t *argv;
	struct loop *loop;
	struct control *control;
	void *machine;
	int exit_code;
};

/*
 * The machine. machine_start() builds what -machine names and connects it to QMP by
 * control_set_ops(); the vCPUs run when it returns unless -S or -incoming were given. Failure
 * leaves nothing behind. machine_stop() ends it.
 */
MUST_CHECK int machine_start(struct vmm *v, struct err *e);
void machine_stop(struct vmm *v);
void machine_types_help(FILE *out);
void cpu_models_help(FILE *out);
/* At program start: the device classes of the machines in this build. */
void machine_classes_add(void);
/* {section: schema} of every device this build knows. New reference. */
json_t *schema_of_build(void);
/* "outlive-vmm --takeover FD": the whole life of a new process. Returns the exit code. */
int takeover_main(int sock);

/* start.c: everything between the parsed options and a running loop. */
MUST_CHECK int vmm_start(struct vmm *v, struct err *e);
void vmm_stop_all(struct vmm *v);
MUST_CHECK int vmm_memory_lock(struct vmm *v, struct err *e);
/* Id of the character back end of serial port @index; NULL: it has none. */
const char *vmm_serial(const struct vmm *v, size_t index);

/* signals.c */
MUST_CHECK int vmm_signals_watch(struct vmm *v, struct err *e);
int vmm_signal_waits(void); /* of those, that the loop hasn't served; 0: none */

/* main.c */
void vmm_end(struct vmm *v);
void vmm_present(const struct vmm_options *o);

/* daemon.c */
MUST_CHECK int daemon_fork(int *ret_ready_fd, struct err *e); /* returns in the child only */
void daemon_ready(int *ready_fd);
MUST_CHECK int pidfile_write(const char *path, struct err *e);
int pidfile_handover(void);
MUST_CHECK int pidfile_adopt(int fd, struct err *e);
MUST_CHECK int user_change(const char *name, struct err *e);

/* sandbox.c: -sandbox, before any thread is made and anything is opened. @user: whom this process
 * becomes later, or NULL; what that needs is denied only then, by vmm_sandbox_finish(). */
MUST_CHECK int vmm_sandbox_enter(const struct vmm_options *o, const char *user, struct err *e);
MUST_CHECK int vmm_sandbox_finish(const struct vmm_options *o, struct err *e);
bool vmm_sandboxed(const struct vmm_options *o);

/* probe.c: prints what KVM offers on this host as JSON. The exit code of the process. */
int probe_host(void);

/* query.c: the answer of query-command-line-options. */
json_t *vmm_options_describe(void);

#endif
