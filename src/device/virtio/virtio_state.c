/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: between a live device and its state. The guest is stopped and nothing is in
 * flight. Queues that are loaded take up their rings in guest memory only when the guest runs:
 * until then the memory may still be on its way.
 */
#include "device/virtio/virtio_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void queue_capture(const struct virtio_queue *q, struct virtio_queue_state *s)
{
	s->vq = q->vq.s;
	s->num = q->num;
	s->enabled = q->enabled;
	memcpy(s->desc, q->desc, sizeof(s->desc));
	memcpy(s->avail, q->avail, sizeof(s->avail));
	memcpy(s->used, q->used, sizeof(s->used));
}

static void registers_capture(const struct virtio *v, struct virtio_state *s)
{
	s->config_vector = v->config_vector;
	s->queue_sel = v->queue_sel;
	s->config_len = v->config_len;
	s->status = v->status;
	s->isr = v->isr;
	s->broken = v->broken;
	s->started = v->started;
	s->disabled = v->disabled;
	s->features = v->features;
	memcpy(s->config, v->config, sizeof(s->config));
	s->dfselect = v->dfselect;
	s->gfselect = v->gfselect;
	memcpy(s->guest_features, v->guest_features, sizeof(s->guest_features));
}

/**
 * virtio_capture() - Copy out what all virtio devices have in common
 * @v:		Guest stopped
 * @s:		Zeroed
 */
void virtio_capture(const struct virtio *v, struct virtio_state *s)
{
	s->host_features = v->host_features;
	s->queues_len = v->queues_len;
	s->vectors = v->vectors;
	s->express = v->pci.express;
	s->modern = v->modern;
	if (s->express)
		pcie_capture(&v->pci, &s->pcie);
	else
		pci_capture(&v->pci, &s->pci);
	if (s->vectors)
		pci_msix_capture(&v->pci, s->msix_table, s->msix_pba);
	registers_capture(v, s);
	for (unsigned int i = 0; i < v->queues_len; i++)
		queue_capture(&v->queues[i], &s->queues[i]);
}

static int features_check(const struct virtio *v, const struct virtio_state *s, struct err *e)
{
	uint64_t missing = s->features & ~v->host_features;
	char list[256] = "", buf[16];
	size_t at = 0;

	for (unsigned int bit = 0; bit < 64; bit++)
		if (missing >> bit & 1 && at < sizeof(list))
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "",
					       virtio_feature_name(v, bit, buf));
	if (!missing)
		return 0;
	return err_set(e, EINVAL, "features: the guest uses %s, not offered here", list);
}

static int queue_check(const struct virtio_queue *q, const struct virtqueue_state *s, struct err *e)
{
	if (s->num > MAX(q->vq.s.num_max, s->num_max) && s->num > VIRTQUEUE_SIZE_MAX)
		return err_set(e, EINVAL, "queue %u: size %u", q->vq.index, s->num);
	return 0;
}

/**
 * virtio_check() - Judge a loaded state against the device
 * @v:		The device
 * @s:		Loaded
 * @e:		Set on failure only
 *
 * Errors: EINVAL names features by name
 * Return: 0, or a negative errno
 */
int virtio_check(const struct virtio *v, const struct virtio_state *s, struct err *e)
{
	int r = features_check(v, s, e);

	for (unsigned int i = 0; !r && i < v->queues_len; i++)
		r = queue_check(&v->queues[i], &s->queues[i].vq, e);
	if (r)
		return r;
	return s->express ? pcie_validate(&v->pci, &s->pcie, e) : pci_validate(&v->pci, &s->pci, e);
}

static void queue_apply(struct virtio *v, struct virtio_queue *q,
			const struct virtio_queue_state *s)
{
	virtqueue_reset(&q->vq);
	q->vq.s = s->vq;
	q->vq.s.num_max = MAX(s->vq.num_max, s->vq.num);
	q->num = s->num;
	q->enabled = s->enabled;
	memcpy(q->desc, s->desc, sizeof(q->desc));
	memcpy(q->avail, s->avail, sizeof(q->avail));
	memcpy(q->used, s->used, sizeof(q->used));
	q->loaded = s->vq.desc != 0;
	virtio_queue_set_vector(v, q, s->vq.vector);
}

static void registers_apply(struct virtio *v, const struct virtio_state *s)
{
	v->config_vector = s->config_vector;
	v->queue_sel = s->queue_sel;
	v->status = s->status;
	v->isr = s->isr;
	v->broken = s->broken;
	v->started = s->started;
	v->disabled = s->disabled;
	v->features = s->features;
	memcpy(v->config, s->config, sizeof(v->config));
	v->dfselect = s->dfselect;
	v->gfselect = s->gfselect;
	memcpy(v->guest_features, s->guest_features, sizeof(v->guest_features));
}

/**
 * struct apply - Request to the owner
 * @v:		The device
 * @s:		Judged
 */
struct apply {
	struct virtio *v;
	const struct virtio_state *s;
};

static void owner_apply(void *opaque)
{
	struct apply *a = opaque;

	a->v->running = false;
	for (unsigned int i = 0; i < a->v->queues_len; i++)
		queue_apply(a->v, &a->v->queues[i], &a->s->queues[i]);
}

/**
 * virtio_apply() - Take a judged state over
 * @v:		Guest stopped
 * @s:		Judged
 *
 * The device doesn't serve until it is told to run.
 */
void virtio_apply(struct virtio *v, const struct virtio_state *s)
{
	struct apply a = {v, s};

	virtio_reset(v);
	if (s->express)
		pcie_apply(&v->pci, &s->pcie);
	else
		pci_apply(&v->pci, &s->pci);
	if (s->vectors)
		pci_msix_apply(&v->pci, s->msix_table, s->msix_pba);
	registers_apply(v, s);
	virtio_call(v, owner_apply, &a);
	if (v->ops->negotiated)
		v->ops->negotiated(v);
}
