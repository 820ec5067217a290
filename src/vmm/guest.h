/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_GUEST_H
#define VMM_GUEST_H

#include "machine/q35/q35.h"
#include "migrate/migrate.h"
#include "vmm/vmm.h"

/**
 * struct guest - A q35 machine made from a command line, with its back ends and the user's devices. Main thread
 * @v:		The process
 * @q:		The machine
 * @ops:	Its part of QMP
 * @listener:	Turns machine events into QMP events
 * @incoming:	It waits for its state
 * @stopped:	-S: don't run at start
 */
struct guest {
	struct vmm *v;
	struct q35 *q;
	struct control_ops ops;
	struct vm_listener listener;
	bool incoming, stopped;
};

/* guest.c. @adopt: a hand-over's files for RAM blocks; NULL: make new ones. */
MUST_CHECK int guest_create(struct guest **ret, struct vmm *v,
			    int (*adopt)(void *opaque, const char *name), void *opaque,
			    struct err *e);
void guest_destroy(struct guest *g);
/* Reset to power-on state and run unless -S or -incoming were given. */
void guest_begin(struct guest *g);

/* guest_devices.c */
MUST_CHECK int guest_backends_make(struct guest *g, struct err *e);
MUST_CHECK int guest_devices_make(struct guest *g, struct err *e);
MUST_CHECK int guest_device_add(struct guest *g, const json_t *values, struct err *e);
struct device *guest_device_find(struct guest *g, const char *id);

/* guest_ops.c, guest_events.c */
void guest_ops_fill(struct guest *g);
void guest_events_watch(struct guest *g);

/* All sections of the machine in the order in which they are saved and applied. */
MUST_CHECK int guest_sections(struct guest *g, struct migrate_sections *ret, struct err *e);

#endif
