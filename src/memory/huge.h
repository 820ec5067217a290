/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_HUGE_H
#define MEMORY_HUGE_H

#include "base/err.h"

#include <stdbool.h>

/* Inside the memory room: shared memory in huge pages, where a memfd would have small ones. */

bool huge_by_memfd(void);
bool huge_by_write(void);
MUST_CHECK int huge_open(const char *name, int *ret_fd, struct err *e);

#endif
