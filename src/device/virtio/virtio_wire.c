/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the wire form of what all virtio devices have in common, in QEMU's order:
 * PCI function, MSI-X table and pending bits, configuration vector; registers; device configuration
 * space; queues up to the first that doesn't exist; (the device's own part); subsections. Arrays in
 * subsections always have 1024 queues.
 */
#include "base/bytes.h"
#include "device/virtio/virtio_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SUBSECTION 5

/**
 * virtio_subsection_put() - Begin a subsection of version 1
 * @w:		Where
 * @name:	Full name
 */
void virtio_subsection_put(struct state_writer *w, const char *name)
{
	state_put_u8(w, SUBSECTION);
	state_put_u8(w, (uint8_t)strlen(name));
	state_put(w, name, strlen(name));
	state_put_be32(w, 1);
}

/**
 * virtio_subsection_next() - Read the header of the next subsection, if one of this family follows
 * @r:		Stays where it is if none does
 * @prefix:	"virtio/"
 * @name:	Full name
 *
 * Return: whether there is one
 */
bool virtio_subsection_next(struct state_reader *r, const char *prefix, char name[256])
{
	size_t len;

	if (!state_peek(r, 2) || r->buf[r->at] != SUBSECTION)
		return false;
	len = r->buf[r->at + 1];
	if (len < strlen(prefix) || !state_peek(r, 2 + len + 4) ||
	    memcmp(r->buf + r->at + 2, prefix, strlen(prefix)))
		return false;
	memcpy(name, r->buf + r->at + 2, len);
	name[len] = 0;
	r->at += 2 + len + 4;
	return true;
}

static unsigned int queues_listed(const struct virtio_state *s)
{
	unsigned int n = 0;

	while (n < s->queues_len && s->queues[n].vq.num)
		n++;
	return n;
}

static void queue_save(const struct virtio_state *s, const struct virtqueue_state *q,
		       struct state_writer *w)
{
	state_put_be32(w, q->num);
	state_put_be64(w, q->desc);
	state_put_be16(w, q->last_avail);
	if (s->vectors)
		state_put_be16(w, q->vector);
}

/**
 * virtio_state_save_head() - Everything before the device's own part
 * @s:		Captured
 * @w:		Where
 */
void virtio_state_save_head(const struct virtio_state *s, struct state_writer *w)
{
	unsigned int n = queues_listed(s);

	if (s->express)
		state_save(&pcie_device_state, &s->pcie, w);
	else
		state_save(&pci_device_state, &s->pci, w);
	if (s->vectors) {
		state_put(w, s->msix_table, s->vectors * 16);
		state_put(w, s->msix_pba, DIV_ROUND_UP(s->vectors, 8));
		state_put_be16(w, s->config_vector);
	}
	state_put_u8(w, s->status);
	state_put_u8(w, s->isr);
	state_put_be16(w, s->queue_sel);
	state_put_be32(w, (uint32_t)s->features);
	state_put_be32(w, s->config_len);
	state_put(w, s->config, s->config_len);
	state_put_be32(w, n);
	for (unsigned int i = 0; i < n; i++)
		queue_save(s, &s->queues[i].vq, w);
}

static const struct virtio_queue_state absent = {.vq = {.avail_wrap = true, .used_wrap = true}};

static const struct virtio_queue_state *queue_at(const struct virtio_state *s, unsigned int i)
{
	return i < s->queues_len ? &s->queues[i] : &absent;
}

static void modern_queue_save(const struct virtio_queue_state *q, struct state_writer *w)
{
	state_put_be16(w, q->num);
	state_put_u8(w, 0);
	state_put_u8(w, q->enabled);
	for (int i = 0; i < 2; i++)
		state_put_be32(w, q->desc[i]);
	for (int i = 0; i < 2; i++)
		state_put_be32(w, q->avail[i]);
	for (int i = 0; i < 2; i++)
		state_put_be32(w, q->used[i]);
}

static void extra_save(const struct virtio_state *s, struct state_writer *w)
{
	virtio_subsection_put(w, "virtio/extra_state");
	if (!s->modern)
		return;
	virtio_subsection_put(w, "virtio_pci/modern_state");
	state_put_be32(w, s->dfselect);
	state_put_be32(w, s->gfselect);
	state_put_be32(w, s->guest_features[0]);
	state_put_be32(w, s->guest_features[1]);
	for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++)
		modern_queue_save(queue_at(s, i), w);
}

static bool ringsize_needed(const struct virtio_state *s)
{
	for (unsigned int i = 0; i < s->queues_len; i++)
		if (s->queues[i].vq.num != s->queues[i].vq.num_max)
			return true;
	return false;
}

static void rings_save(const struct virtio_state *s, struct state_writer *w)
{
	if (s->host_features >> VIRTIO_F_V1 & 1) {
		virtio_subsection_put(w, "virtio/virtqueues");
		for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++) {
			state_put_be64(w, queue_at(s, i)->vq.avail);
			state_put_be64(w, queue_at(s, i)->vq.used);
		}
	}
	if (ringsize_needed(s)) {
		virtio_subsection_put(w, "virtio/ringsize");
		for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++)
			state_put_be32(w, queue_at(s, i)->vq.num_max);
	}
}

static void packed_save(const struct virtio_state *s, struct state_writer *w)
{
	virtio_subsection_put(w, "virtio/packed_virtqueues");
	for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++) {
		const struct virtqueue_state *q = &queue_at(s, i)->vq;

		state_put_be16(w, q->last_avail);
		state_put_u8(w, q->avail_wrap);
		state_put_be16(w, q->used_idx);
		state_put_u8(w, q->used_wrap);
		state_put_be32(w, q->inuse);
	}
}

static void flag_save(struct state_writer *w, const char *name, bool on)
{
	if (!on)
		return;
	virtio_subsection_put(w, name);
	state_put_u8(w, 1);
}

/**
 * virtio_state_save_tail() - Everything behind the device's own part
 * @s:		Captured
 * @w:		Where
 */
void virtio_state_save_tail(const struct virtio_state *s, struct state_writer *w)
{
	if (s->host_features >> 32) {
		virtio_subsection_put(w, "virtio/64bit_features");
		state_put_be64(w, s->features);
	}
	rings_save(s, w);
	flag_save(w, "virtio/broken", s->broken);
	extra_save(s, w);
	flag_save(w, "virtio/started", s->started);
	if (s->host_features >> VIRTIO_F_PACKED_RING & 1)
		packed_save(s, w);
	flag_save(w, "virtio/disabled", s->disabled);
}

static int vector_load(const struct virtio_state *s, struct state_reader *r, uint16_t *ret,
		       struct err *e)
{
	*ret = state_get_be16(r);
	if (*ret != VIRTQUEUE_NO_VECTOR && *ret >= s->vectors)
		return err_set(e, EINVAL, "vector: %u offered, %u vectors here", *ret, s->vectors);
	return 0;
}

static int queue_load(const struct virtio_state *s, struct virtqueue_state *q, unsigned int i,
		      struct state_reader *r, struct err *e)
{
	q->num = state_get_be32(r);
	q->desc = state_get_be64(r);
	q->last_avail = state_get_be16(r);
	q->vector = VIRTQUEUE_NO_VECTOR;
	if (q->num > VIRTQUEUE_SIZE_MAX)
		return err_set(e, EINVAL, "queue %u: size %u, at most %u", i, q->num,
			       VIRTQUEUE_SIZE_MAX);
	if (!q->desc && q->last_avail)
		return err_set(e, EINVAL, "queue %u: index %u in a ring without address", i,
			       q->last_avail);
	return s->vectors ? vector_load(s, r, &q->vector, e) : 0;
}

static int function_load(struct virtio_state *s, struct state_reader *r, struct err *e)
{
	int rc = s->express ? state_load(&pcie_device_state, &s->pcie, 2, r, e)
			    : state_load(&pci_device_state, &s->pci, 2, r, e);

	if (rc)
		return err_in(e, "PCI");
	if (!s->vectors)
		return 0;
	state_get(r, s->msix_table, s->vectors * 16);
	state_get(r, s->msix_pba, DIV_ROUND_UP(s->vectors, 8));
	return vector_load(s, r, &s->config_vector, e);
}

/* What the other side has more of, or less, is the driver's to see as ours. */
static int config_load(struct virtio_state *s, struct state_reader *r, struct err *e)
{
	uint32_t len = state_get_be32(r), n = MIN(len, (uint32_t)s->config_len);

	if (len > 4096)
		return err_set(e, EINVAL, "config: %u bytes of configuration space", len);
	state_get(r, s->config, n);
	for (; n < len; n++)
		state_get_u8(r);
	return 0;
}

static int queues_load(struct virtio_state *s, struct state_reader *r, struct err *e)
{
	uint32_t n = state_get_be32(r);
	int rc = 0;

	if (n > s->queues_len)
		return err_set(e, EINVAL, "queues: %u offered, %u configured here", n,
			       s->queues_len);
	for (unsigned int i = 0; i < s->queues_len; i++) {
		uint32_t num_max = s->queues[i].vq.num_max;

		s->queues[i] = absent;
		s->queues[i].vq.vector = VIRTQUEUE_NO_VECTOR;
		s->queues[i].vq.num_max = num_max;
	}
	for (unsigned int i = 0; i < n && !rc; i++)
		rc = queue_load(s, &s->queues[i].vq, i, r, e);
	return rc;
}

static int complete(const struct state_reader *r, struct err *e)
{
	return r->failed ? err_set(e, EINVAL, "the section ends early, at byte %zu", r->len) : 0;
}

/**
 * virtio_state_load_head() - Read everything before the device's own part
 * @s:		Began as a capture of the device
 * @r:		From where
 * @e:		Set on failure only
 *
 * Errors: EINVAL with the field
 * Return: 0, or a negative errno
 */
int virtio_state_load_head(struct virtio_state *s, struct state_reader *r, struct err *e)
{
	int rc = function_load(s, r, e);

	if (rc)
		return rc;
	s->status = state_get_u8(r);
	s->isr = state_get_u8(r);
	s->queue_sel = state_get_be16(r);
	s->features = state_get_be32(r);
	s->broken = s->started = s->disabled = false;
	if (s->queue_sel >= VIRTIO_WIRE_QUEUES)
		return err_set(e, EINVAL, "queue_sel: %u, below %u", s->queue_sel,
			       VIRTIO_WIRE_QUEUES);
	rc = config_load(s, r, e);
	if (!rc)
		rc = queues_load(s, r, e);
	return rc ? rc : complete(r, e);
}

/* Each array has 1024 entries; those beyond our queues say nothing. */
static struct virtio_queue_state *slot(struct virtio_state *s, unsigned int i,
				       struct virtio_queue_state *spare)
{
	return i < s->queues_len ? &s->queues[i] : spare;
}

static void virtqueues_load(struct virtio_state *s, struct state_reader *r)
{
	struct virtio_queue_state spare;

	for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++) {
		slot(s, i, &spare)->vq.avail = state_get_be64(r);
		slot(s, i, &spare)->vq.used = state_get_be64(r);
	}
}

static void ringsize_load(struct virtio_state *s, struct state_reader *r)
{
	for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++) {
		uint32_t n = state_get_be32(r);

		if (i < s->queues_len && n <= VIRTQUEUE_SIZE_MAX)
			s->queues[i].vq.num_max = n;
	}
}

static void packed_load(struct virtio_state *s, struct state_reader *r)
{
	struct virtio_queue_state spare;

	for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++) {
		struct virtqueue_state *q = &slot(s, i, &spare)->vq;

		q->last_avail = state_get_be16(r);
		q->avail_wrap = state_get_u8(r);
		q->used_idx = state_get_be16(r);
		q->used_wrap = state_get_u8(r);
		q->inuse = state_get_be32(r);
	}
}

static void modern_load(struct virtio_state *s, struct state_reader *r)
{
	struct virtio_queue_state spare;

	s->dfselect = state_get_be32(r);
	s->gfselect = state_get_be32(r);
	s->guest_features[0] = state_get_be32(r);
	s->guest_features[1] = state_get_be32(r);
	for (unsigned int i = 0; i < VIRTIO_WIRE_QUEUES; i++) {
		struct virtio_queue_state *q = slot(s, i, &spare);

		q->num = state_get_be16(r);
		state_get_u8(r);
		q->enabled = state_get_u8(r);
		for (int half = 0; half < 2; half++)
			q->desc[half] = state_get_be32(r);
		for (int half = 0; half < 2; half++)
			q->avail[half] = state_get_be32(r);
		for (int half = 0; half < 2; half++)
			q->used[half] = state_get_be32(r);
	}
}

static int extra_load(struct virtio_state *s, struct state_reader *r, struct err *e)
{
	char name[256];

	while (virtio_subsection_next(r, "virtio_pci/", name)) {
		if (strcmp(name, "virtio_pci/modern_state"))
			return err_set(e, EINVAL, "%s: unknown subsection", name);
		modern_load(s, r);
	}
	return 0;
}

static int subsection_load(struct virtio_state *s, const char *name, struct state_reader *r,
			   struct err *e)
{
	if (!strcmp(name, "virtio/64bit_features"))
		s->features = state_get_be64(r);
	else if (!strcmp(name, "virtio/virtqueues"))
		virtqueues_load(s, r);
	else if (!strcmp(name, "virtio/ringsize"))
		ringsize_load(s, r);
	else if (!strcmp(name, "virtio/packed_virtqueues"))
		packed_load(s, r);
	else if (!strcmp(name, "virtio/broken"))
		s->broken = state_get_u8(r);
	else if (!strcmp(name, "virtio/started"))
		s->started = state_get_u8(r);
	else if (!strcmp(name, "virtio/disabled"))
		s->disabled = state_get_u8(r);
	else if (!strcmp(name, "virtio/extra_state"))
		return extra_load(s, r, e);
	else if (strcmp(name, "virtio/device_endian"))
		return err_set(e, EINVAL, "%s: unknown subsection", name);
	else if (state_get_u8(r) != 1)
		return err_set(e, EINVAL, "%s: a big-endian driver", name);
	return 0;
}

/**
 * virtio_state_load_tail() - Read everything behind the device's own part
 * @s:		Its head is loaded
 * @r:		From where
 * @e:		Set on failure only
 *
 * Errors: EINVAL with the field
 * Return: 0, or a negative errno
 */
int virtio_state_load_tail(struct virtio_state *s, struct state_reader *r, struct err *e)
{
	char name[256];
	int rc = 0;

	while (!rc && virtio_subsection_next(r, "virtio/", name))
		rc = subsection_load(s, name, r, e);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < s->queues_len; i++)
		if (!(s->features >> VIRTIO_F_V1 & 1))
			virtqueue_legacy_layout(&s->queues[i].vq, s->queues[i].vq.desc, 4096);
	return complete(r, e);
}
