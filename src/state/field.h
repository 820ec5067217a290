/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STATE_FIELD_H
#define STATE_FIELD_H

#include "state/state.h"

/* What save, load, cover and schema all ask of a row. Inside this room only. */

#define state_for_each_field(f, t) for (f = (t)->fields; f->kind != STATE_END; f++)

bool field_on_wire(const struct state_field *f);
bool field_in_version(const struct state_field *f, unsigned int version);
bool field_present(const struct state_field *f, const void *state, unsigned int version);
uint64_t field_counted(const struct state_field *f, const void *state);
uint64_t field_capacity(const struct state_field *f);
const char *field_type(const struct state_field *f);
bool field_compresses(const struct state_field *f);
void field_wire_name(const struct state_table *t, const struct state_field *f, char name[256]);

#endif
