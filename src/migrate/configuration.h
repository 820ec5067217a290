/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CONFIGURATION_H
#define MIGRATE_CONFIGURATION_H

#include "migrate/migrate.h"

/* The beginning of a stream: magic, version, configuration section. Inside this room only. */

void configuration_save(struct migrate_job *job);
MUST_CHECK int configuration_load(struct migrate_job *job, struct err *e);

/* Passes over it, whatever machine it is for. */
MUST_CHECK int configuration_skip(struct channel *c, struct err *e);

/* A state_reader that takes its bytes from a channel as the tables ask. */
struct state_reader reader_on(struct channel *c);
void reader_done(struct state_reader *r);

#endif
