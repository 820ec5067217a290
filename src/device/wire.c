/* SPDX-License-Identifier: Apache-2.0 */
#include "device/wire.h"

#include <errno.h>

static void timer_save(const void *member, struct state_writer *w)
{
	state_put_be64(w, *(const uint64_t *)member);
}

static int timer_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	int64_t *at = member;

	*at = (int64_t)state_get_be64(r);
	if (*at < 0)
		*at = -1;
	return 0;
}

const struct state_codec wire_timer = {"timer", timer_save, timer_load, 0};

static void equal_save(const void *member, struct state_writer *w)
{
	state_put_be32(w, *(const uint32_t *)member);
}

static int equal_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	int32_t here = *(int32_t *)member, offered = (int32_t)state_get_be32(r);

	if (offered != here)
		return err_set(e, EINVAL, "%d offered, %d configured here", offered, here);
	return 0;
}

const struct state_codec wire_int32_equal = {"int32 equal", equal_save, equal_load, 0};

static void equal16_save(const void *member, struct state_writer *w)
{
	state_put_be16(w, *(const uint16_t *)member);
}

static int equal16_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	uint16_t here = *(uint16_t *)member, offered = state_get_be16(r);

	if (offered != here)
		return err_set(e, EINVAL, "%u offered, %u configured here", offered, here);
	return 0;
}

const struct state_codec wire_uint16_equal = {"uint16 equal", equal16_save, equal16_load, 0};
