/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a disk's part of its section is the list of requests that were taken and not
 * finished: a byte 1, with several queues the index, the element; a byte 0 ends it. We drain before
 * a capture, so ours is empty; what another VMM left unfinished is kept for when the guest runs.
 */
#include "device/virtio/blk_state.h"

#include "base/owned.h"

#include <errno.h>
#include <string.h>

static void body_save(const void *member, struct state_writer *w)
{
	const struct blk_body *s = member;

	virtio_state_save_head(&s->v, w);
	state_put_u8(w, 0);
	virtio_state_save_tail(&s->v, w);
}

static int carried_append(struct blk_body *s, uint32_t queue, const struct virtio_element *el,
			  struct err *e)
{
	unsigned int n = (unsigned int)el->out_len + el->in_len;
	struct blk_carried_state *c = &s->carried[s->carried_len];

	if (s->carried_len == ARRAY_SIZE(s->carried) || n > ARRAY_SIZE(s->gpas) - s->buffers)
		return err_set(e, EINVAL, "requests: more than %zu in flight, or %zu buffers",
			       ARRAY_SIZE(s->carried), ARRAY_SIZE(s->gpas));
	*c = (struct blk_carried_state){.queue = queue,
					.id = el->id,
					.slots = el->slots,
					.out_len = el->out_len,
					.in_len = el->in_len,
					.first = s->buffers};
	memcpy(s->gpas + s->buffers, el->gpas, n * sizeof(el->gpas[0]));
	memcpy(s->lens + s->buffers, el->lens, n * sizeof(el->lens[0]));
	s->buffers += n;
	s->carried_len++;
	return 0;
}

static int requests_load(struct blk_body *s, struct state_reader *r, struct err *e)
{
	OWNED(struct virtio_element *) el = mem_zalloc(sizeof(*el));
	bool packed = s->v.host_features >> VIRTIO_F_PACKED_RING & 1;
	int rc = 0;

	s->carried_len = s->buffers = 0;
	while (!rc && state_get_u8(r)) {
		uint32_t queue = s->num_queues > 1 ? state_get_be32(r) : 0;

		if (queue >= s->num_queues)
			return err_set(e, EINVAL, "requests: queue %u, %u here", queue,
				       s->num_queues);
		rc = virtio_element_load(el, packed, r, e);
		if (!rc)
			rc = carried_append(s, queue, el, e);
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

static void carried_apply(struct virtio_blk *b, const struct blk_body *s)
{
	b->carried = mem_calloc(s->carried_len, sizeof(*b->carried));
	b->carried_len = s->carried_len;
	for (unsigned int i = 0; i < s->carried_len; i++) {
		const struct blk_carried_state *from = &s->carried[i];
		unsigned int n = (unsigned int)from->out_len + from->in_len;
		struct blk_carried *to = &b->carried[i];

		to->queue = from->queue;
		to->chain.id = from->id;
		to->chain.slots = from->slots;
		to->chain.out_len = from->out_len;
		to->chain.in_len = from->in_len;
		to->chain.gpas = mem_calloc(n, sizeof(gpa_t));
		to->lens = mem_calloc(n, sizeof(uint32_t));
		memcpy(to->chain.gpas, s->gpas + from->first, n * sizeof(gpa_t));
		memcpy(to->lens, s->lens + from->first, n * sizeof(uint32_t));
	}
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
	blk_carried_free(b);
	carried_apply(b, &s->body);
	if (s->body.v.status & VIRTIO_S_DRIVER_OK)
		b->wce = virtio_has(&b->v, 11) ? s->body.v.config[32] != 0 : virtio_has(&b->v, 9);
}
