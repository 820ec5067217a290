/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_KEYVAL_H
#define BASE_KEYVAL_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

MUST_CHECK int keyval_parse(const char *text, const char *implied, json_t **ret, struct err *e);
MUST_CHECK int keyval_nest(const json_t *flat, json_t **ret, struct err *e);
MUST_CHECK int keyval_or_json(const char *text, const char *implied, json_t **ret, bool *ret_json,
			      struct err *e);

static inline void json_release(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

#define OWNED_JSON CLEANUP(json_release) json_t
#define json_take(pp)                   \
	({                              \
		json_t *taken_ = *(pp); \
		*(pp) = NULL;           \
		taken_;                 \
	})

#endif
