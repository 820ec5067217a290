/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_OPS_H
#define VMM_OPS_H

#include "control/control.h"
#include "vmm/guest.h"

/* The machine's part of QMP by theme; guest_ops.c is the table. Main thread. */

/* ops_device.c */
control_op op_device_add, op_device_del;
/* The devices' way to the machine: requests, and what the guest ejects. */
void guest_eject_init(struct guest *g);
void guest_eject_release(struct guest *g);
/* Takes away what the guest has let go by now. */
void guest_ejected_remove(struct guest *g);
/* The @i-th of the user's devices, as guest->devices lists them; NULL: there are fewer. */
struct device *guest_device_at(struct guest *g, size_t i);

#endif
