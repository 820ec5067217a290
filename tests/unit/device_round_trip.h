/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICE_ROUND_TRIP_H
#define TESTS_UNIT_DEVICE_ROUND_TRIP_H

#include "base/owned.h"
#include "device/device.h"

#include <errno.h>

static inline int device_load_back(struct device *dev, uint8_t *state, const struct state_writer *w,
				   struct err *e)
{
	struct state_reader r = {.buf = w->buf, .len = w->len};
	int ret = state_load(dev->class->state, state, dev->class->state->version, &r, e);

	if (!ret && r.at != w->len)
		ret = err_set(e, EBADMSG, "%zu of %zu bytes taken", r.at, w->len);
	if (!ret && dev->class->validate)
		ret = dev->class->validate(dev, state, e);
	if (!ret)
		dev->class->apply(dev, state);
	return ret;
}

/**
 * device_round_trip() - Save a device's state and give it the same one back
 * @dev:	Stopped, whatever its guest has done to it
 * @e:		Set on failure only
 *
 * Return: 0 (also for a device without state), or a negative errno: what it saved isn't what it
 * takes
 */
static inline int device_round_trip(struct device *dev, struct err *e)
{
	struct state_writer w = {0};
	OWNED(uint8_t *) state = NULL;
	int ret;

	if (!dev->class->state)
		return 0;
	state = mem_zalloc(dev->class->state->size);
	dev->class->capture(dev, state);
	state_save(dev->class->state, state, &w);
	ret = device_load_back(dev, state, &w, e);
	state_writer_destroy(&w);
	return ret;
}

#endif
