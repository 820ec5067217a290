/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_RETURN_PATH_H
#define MIGRATE_RETURN_PATH_H

#include "migrate/migrate.h"

/* A target that takes nothing for so long, while the guest stands still for it, hangs. */
enum { RETURN_PATH_PATIENCE_MS = 10000 };

/* The source's side of the answers on a channel that goes both ways. Inside this room only. */

void return_path_request(struct migrate_job *job);
MUST_CHECK int return_path_ping(struct migrate_job *job, struct err *e);
/* Behind the devices, before the end mark. */
MUST_CHECK int return_path_last_look(struct migrate_job *job, struct err *e);
MUST_CHECK int return_path_wait(struct migrate_job *job, struct err *e);
/* The end of the stream didn't get through whole. */
MUST_CHECK int return_path_cut(struct migrate_job *job, int ret, struct err *e);
/* After a failure of the sending. */
int return_path_last_word(struct migrate_job *job, int ret, struct err *e);

#endif
