/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_WIRE_H
#define DEVICE_WIRE_H

#include "state/state.h"

/* Wire forms that several devices share. */

extern const struct state_codec wire_timer;        /* int64_t: expiry in ns, -1: not pending */
extern const struct state_codec wire_uint16_equal; /* uint16_t that both sides must have the same */
extern const struct state_codec wire_int32_equal;  /* int32_t that both sides must have the same */

/* A row for a timer's expiry. */
#define FIELD_TIMER(wire, type, m) FIELD_CODEC(wire, type, m, &wire_timer)

#endif
