/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DESCRIPTION_H
#define VMM_DESCRIPTION_H

#include "vmm/q35/guest.h"

/*
 * What the guest can see of its machine, as JSON, for the other side of a migration: machine, RAM
 * and its blocks, vCPUs, CPU features, devices with their properties, sections with versions.
 */

json_t *description_make(struct guest *g, struct err *e); /* NULL: a device can't follow */
/* Sentences about what @guest has and @target doesn't, each with its remedy; new reference. */
json_t *description_compare(const json_t *guest, const json_t *target);

#endif
