/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_RETURN_PATH_H
#define MIGRATE_RETURN_PATH_H

#include "migrate/migrate.h"

/* The source's side of the answers on a channel that goes both ways. Inside this room only. */

void return_path_request(struct migrate_job *job);
MUST_CHECK int return_path_ping(struct migrate_job *job, struct err *e);
MUST_CHECK int return_path_wait(struct migrate_job *job, struct err *e);

#endif
