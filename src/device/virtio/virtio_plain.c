/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the section of a device that has no state but what all virtio devices have.
 * Its class takes the fields and the three functions from here.
 */
#include "device/virtio/virtio_state.h"

static void body_save(const void *member, struct state_writer *w)
{
	virtio_state_save_head(member, w);
	virtio_state_save_tail(member, w);
}

static int body_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	int rc = virtio_state_load_head(member, r, e);

	return rc ? rc : virtio_state_load_tail(member, r, e);
}

static const struct state_codec body_codec = {"virtio", body_save, body_load, 0};

const struct state_field virtio_plain_fields[] = {
	FIELD_CODEC("virtio", struct virtio_plain_state, v, &body_codec),
	FIELDS_END,
};

/**
 * virtio_plain_capture() - The capture operation of such a class
 * @dev:	A virtio device, guest stopped
 * @state:	struct virtio_plain_state, zeroed
 */
void virtio_plain_capture(const struct device *dev, void *state)
{
	struct virtio_plain_state *s = state;

	virtio_capture(virtio_of_const(dev), &s->v);
}

/**
 * virtio_plain_validate() - The validate operation of such a class
 * @dev:	A virtio device
 * @state:	Loaded
 * @e:		Set on failure only
 *
 * Errors: as virtio_check()
 * Return: 0, or a negative errno
 */
int virtio_plain_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct virtio_plain_state *s = state;

	return virtio_check(virtio_of_const(dev), &s->v, e);
}

/**
 * virtio_plain_apply() - The apply operation of such a class
 * @dev:	A virtio device
 * @state:	Judged
 */
void virtio_plain_apply(struct device *dev, const void *state)
{
	const struct virtio_plain_state *s = state;

	virtio_apply(virtio_of(dev), &s->v);
}
