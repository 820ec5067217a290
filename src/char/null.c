/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: nobody. Output is dropped (and logged, if a log file is set), input never
 * comes. */
#include "char/backend.h"

static int null_open(struct char_backend *c, const json_t *options, struct err *e)
{
	back_set_filename(c, "null");
	c->connected = true;
	return 0;
}

static int null_adopt(struct char_backend *c, const json_t *state, const int *fds, size_t fds_len,
		      struct err *e)
{
	return null_open(c, NULL, e);
}

static size_t null_store(struct char_backend *c, const uint8_t *buf, size_t len)
{
	return len;
}

const struct char_kind char_null = {
	.name = "null",
	.help = "drops everything",
	.size = sizeof(struct char_backend),
	.open = null_open,
	.adopt = null_adopt,
	.store = null_store,
};
