/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a balloon's part of its section: target and actual size, then two
 * subsections of its own: the hinting round (if hinting is offered) and the poison value (if
 * negotiated).
 */
#include "device/virtio/balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>

static void body_save(const void *member, struct state_writer *w)
{
	const struct balloon_body *s = member;

	virtio_state_save_head(&s->v, w);
	state_put_be32(w, s->num_pages);
	state_put_be32(w, s->actual);
	if (s->v.features >> VIRTIO_BALLOON_F_FREE_PAGE_HINT & 1) {
		virtio_subsection_put(w, "virtio-balloon-device/free-page-report");
		state_put_be32(w, s->hint_id);
		state_put_be32(w, s->hint_status);
	}
	if (s->v.features >> VIRTIO_BALLOON_F_PAGE_POISON & 1) {
		virtio_subsection_put(w, "virtio-balloon-device/page-poison");
		state_put_be32(w, s->poison);
	}
	virtio_state_save_tail(&s->v, w);
}

static int own_subsection_load(struct balloon_body *s, const char *name, struct state_reader *r,
			       struct err *e)
{
	if (!strcmp(name, "virtio-balloon-device/page-poison")) {
		s->poison = state_get_be32(r);
		return 0;
	}
	if (strcmp(name, "virtio-balloon-device/free-page-report"))
		return err_set(e, EINVAL, "%s: unknown subsection", name);
	s->hint_id = state_get_be32(r);
	s->hint_status = state_get_be32(r);
	if (s->hint_status > BALLOON_HINT_DONE)
		return err_set(e, EINVAL, "free_page_hint_status: %u", s->hint_status);
	return 0;
}

static int body_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	struct balloon_body *s = member;
	int rc = virtio_state_load_head(&s->v, r, e);
	char name[256];

	if (rc)
		return rc;
	s->num_pages = state_get_be32(r);
	s->actual = state_get_be32(r);
	while (!rc && virtio_subsection_next(r, "virtio-balloon-device/", name))
		rc = own_subsection_load(s, name, r, e);
	return rc ? rc : virtio_state_load_tail(&s->v, r, e);
}

static const struct state_codec body_codec = {"virtio", body_save, body_load, 0};

static const struct state_field fields[] = {
	FIELD_CODEC("virtio", struct virtio_balloon_state, body, &body_codec),
	FIELDS_END,
};

const struct state_table virtio_balloon_state_table = {
	.name = "virtio-balloon",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct virtio_balloon_state),
	.fields = fields,
};

/**
 * balloon_capture() - Class op
 * @dev:	Guest stopped
 * @state:	Zeroed
 */
void balloon_capture(const struct device *dev, void *state)
{
	const struct virtio_balloon *b = CONTAINER_OF(virtio_of_const(dev),
						      const struct virtio_balloon, v);
	struct balloon_body *s = &((struct virtio_balloon_state *)state)->body;

	virtio_capture(&b->v, &s->v);
	s->num_pages = b->num_pages;
	s->actual = b->actual;
	s->poison = b->poison;
	s->hint_id = b->hint_id;
	s->hint_status = b->hint_status;
}

/**
 * balloon_validate() - Class op
 * @dev:	The balloon
 * @state:	Loaded
 * @e:		Set on failure only
 *
 * Return: 0, or as virtio_check()
 */
int balloon_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct virtio_balloon_state *s = state;

	return virtio_check(virtio_of_const(dev), &s->body.v, e);
}

/**
 * balloon_apply() - Class op
 * @dev:	The balloon, guest stopped
 * @state:	Judged
 */
void balloon_apply(struct device *dev, const void *state)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));
	const struct balloon_body *s = &((const struct virtio_balloon_state *)state)->body;

	virtio_apply(&b->v, &s->v);
	b->num_pages = s->num_pages;
	b->actual = s->actual;
	b->poison = s->poison;
	b->hint_id = s->hint_id;
	b->hint_status = s->hint_status;
}
