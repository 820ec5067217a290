/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a disk's part of its section is the list of requests that were taken and not
 * finished: a byte 1, with several queues the index, the element; a byte 0 ends it. We drain before
 * a capture, so ours has only those that failed and stopped the guest (rerror and werror); what
 * another VMM left unfinished is kept like these for when the guest runs.
 */
#include "device/virtio/blk_state.h"

#include "base/owned.h"

#include <errno.h>
#include <string.h>

static bool packed(const struct blk_body *s)
{
	return s->v.host_features >> VIRTIO_F_PACKED_RING & 1;
}

static void requests_save(const struct blk_body *s, struct state_writer *w)
{
	for (unsigned int i = 0; i < s->carried.len; i++) {
		state_put_u8(w, 1);
		if (s->num_queues > 1)
			state_put_be32(w, s->carried.entries[i].queue);
		carried_save(&s->carried, i, packed(s), w);
	}
}

static void body_save(const void *member, struct state_writer *w)
{
	const struct blk_body *s = member;

	virtio_state_save_head(&s->v, w);
	requests_save(s, w);
	state_put_u8(w, 0);
	virtio_state_save_tail(&s->v, w);
}

static int requests_load(struct blk_body *s, struct state_reader *r, struct err *e)
{
	int rc = 0;

	s->carried.len = s->carried.buffers = 0;
	while (!rc && state_get_u8(r)) {
		uint32_t queue = s->num_queues > 1 ? state_get_be32(r) : 0;

		if (queue >= s->num_queues)
			return err_set(e, EINVAL, "requests: queue %u, %u here", queue,
				       s->num_queues);
		rc = carried_load(&s->carried, queue, packed(s), r, e);
	}
	return rc;
}

static int body_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	struct blk_body *s = member;
	int rc = virtio_state_load_head(&s->v, r, e);

	if (!rc)
		rc = requests_load(s, r, e);
	return rc ? rc : virtio_state_load_tail(&s->v, r, e);
}

static const struct state_codec body_codec = {"virtio", body_save, body_load, 0};

static const struct state_field fields[] = {
	FIELD_CODEC("virtio", struct virtio_blk_state, body, &body_codec),
	FIELDS_END,
};

const struct state_table virtio_blk_state_table = {
	.name = "virtio-blk",
	.version = 2,
	.min_version = 2,
	.size = sizeof(struct virtio_blk_state),
	.fields = fields,
};

/**
 * blk_capture() - Class op
 * @dev:	Guest stopped, nothing in flight
 * @state:	Zeroed
 */
void blk_capture(const struct device *dev, void *state)
{
	const struct virtio_blk *b = CONTAINER_OF(virtio_of_const(dev), const struct virtio_blk, v);
	struct virtio_blk_state *s = state;

	virtio_capture(&b->v, &s->body.v);
	s->body.num_queues = b->num_queues;
	carried_capture(&s->body.carried, &b->carried);
}

/**
 * blk_validate() - Class op
 * @dev:	The disk
 * @state:	Loaded
 * @e:		Set on failure only
 *
 * Return: 0, or as virtio_check()
 */
int blk_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct virtio_blk_state *s = state;

	return virtio_check(virtio_of_const(dev), &s->body.v, e);
}

/**
 * blk_apply() - Class op
 * @dev:	The disk, guest stopped
 * @state:	Judged
 */
void blk_apply(struct device *dev, const void *state)
{
	struct virtio_blk *b = CONTAINER_OF(virtio_of(dev), struct virtio_blk, v);
	const struct virtio_blk_state *s = state;

	virtio_apply(&b->v, &s->body.v);
	carried_apply(&b->carried, &s->body.carried);
	if (s->body.v.status & VIRTIO_S_DRIVER_OK)
		b->wce = virtio_has(&b->v, 11) ? s->body.v.config[32] != 0 : virtio_has(&b->v, 9);
}
