/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_DEVICES_H
#define MIGRATE_DEVICES_H

#include "migrate/migrate.h"

#include <jansson.h>

/* The device sections of a stream. Inside this room only. */

void section_begin(struct channel *c, uint8_t mark, uint32_t number);
void section_name(struct channel *c, const char *id, uint32_t instance, uint32_t version);
void section_end(struct channel *c, uint32_t number);

void devices_save(struct migrate_job *job);
/* The same in two steps: all sections; and what makes a guest of them, with the description that
 * the first has returned. */
MUST_CHECK json_t *devices_put(struct migrate_job *job);
void devices_finish(struct migrate_job *job, json_t *devices);

/**
 * struct devices_scratch - The device sections of a stream that is being read
 * @states:	Per section of the job the loaded scratch, or NULL while it hasn't come; owned
 * @sections:	The job's
 */
struct devices_scratch {
	void **states;
	const struct migrate_sections *sections;
};

void devices_scratch_begin(struct devices_scratch *d, const struct migrate_sections *s);
void devices_scratch_end(struct devices_scratch *d);
MUST_CHECK int devices_load_one(struct devices_scratch *d, struct channel *c, const char *id,
				uint32_t instance, uint32_t version, struct err *e);
int device_missing(struct err *e, bool cpu);
MUST_CHECK int devices_check(const struct devices_scratch *d, struct err *e);
void devices_apply(const struct devices_scratch *d);

void globalstate_save(struct migrate_job *job, struct state_writer *w, json_t *desc);
MUST_CHECK int globalstate_load(struct migrate_job *job, uint32_t version, struct err *e);

#endif
