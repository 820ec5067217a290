/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SERVED_H
#define VMM_SERVED_H

#include "vmm/options.h"

/* What may be written for QEMU's sake, but can have one value only. Errors name the argument, the
 * reason and the other way. */
MUST_CHECK int served_check(const struct vmm_options *o, struct err *e);
MUST_CHECK int served_object_check(const json_t *values, struct err *e);

#endif
