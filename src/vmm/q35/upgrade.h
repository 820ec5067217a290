/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_UPGRADE_H
#define VMM_UPGRADE_H

#include "upgrade/upgrade.h"
#include "vmm/q35/guest.h"

/* Live upgrade of this program's guest: upgrade.c is the old process, takeover.c the new one. */

control_op guest_upgrade, guest_query_blockers;

/* {section: schema} of the sections of one machine. New reference. */
json_t *schema_of_machine(const struct migrate_sections *s);

#endif
