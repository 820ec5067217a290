/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PRECOPY_H
#define MIGRATE_PRECOPY_H

#include "migrate/migrate.h"

/* The policy of pre-copy, apart from its work, so that it can be tested. Inside this room only. */

uint64_t precopy_rate(uint64_t bytes, int64_t took_ns, uint64_t link_us);
uint64_t precopy_left(const struct migrate_progress *p);
uint64_t precopy_predict(const struct migrate_progress *p);
uint64_t precopy_reachable(const struct migrate_progress *p, uint64_t limit_us);
bool precopy_again(const struct migrate_progress *p, uint64_t limit_us, unsigned int fair_rounds);

#endif
