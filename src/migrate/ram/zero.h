/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_ZERO_H
#define MIGRATE_ZERO_H

#include <stdbool.h>

bool page_is_zero(const void *page);

#endif
