/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_UPGRADE_H
#define VMM_UPGRADE_H

#include "upgrade/upgrade.h"
#include "vmm/q35/guest.h"

/* Live upgrade of this program's guest: upgrade.c is the old process, takeover.c the new one. */

control_op guest_upgrade, guest_query_blockers;

/* carryover.c: what was set at run time and isn't in devices or back ends. Main thread. */
MUST_CHECK int carryover_describe(struct guest *g, struct bundle *b, struct err *e);
MUST_CHECK int carryover_adopt(struct guest *g, struct bundle *b, struct err *e);
MUST_CHECK int guest_files_describe(struct guest *g, struct bundle *b, struct err *e);
void carryover_resume(struct guest *g, const struct bundle *b);

/* placement.c: on which CPUs and how the guest's threads run. Main thread. */
json_t *placement_describe(struct guest *g);
MUST_CHECK int placement_adopt(struct guest *g, const json_t *want, struct err *e);
MUST_CHECK int placement_schedule(pid_t tid, int policy, int priority);
unsigned int placement_cpus(void);

/**
 * struct urgency - Threads that run at real-time priority for a moment (urgency.c)
 * @threads:	Which, and what they were (a SCHED_ word); owned
 * @len:	How many; 0: it isn't allowed, or not begun
 */
struct urgency {
	struct urgent {
		pid_t tid;
		int policy;
	} * threads;
	size_t len;
};

void urgency_begin(struct urgency *u, const struct vm *vm);
void urgency_start(struct urgency *u);
void urgency_settle(struct urgency *u);
void urgency_end(struct urgency *u);

/* surroundings.c: who watches this process. Main thread. */
void surroundings_blockers(json_t *sentences);
void surroundings_succeeded(pid_t pid);

/* {section: schema} of the sections of one machine. New reference. */
json_t *schema_of_machine(const struct migrate_sections *s);

#endif
