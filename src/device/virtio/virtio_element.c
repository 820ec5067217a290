/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a chain in flight on the wire is a dump of a struct in QEMU's memory, as its
 * x86 builds lay it out: index and counts, then four arrays of 1024: guest addresses and host
 * vectors of the writable buffers and of the readable ones. The host addresses in the vectors mean
 * nothing to anyone else.
 */
#include "base/bytes.h"
#include "device/virtio/virtio_state.h"

#include <errno.h>
#include <string.h>

/**
 * virtio_element_capture() - Describe a chain in flight
 * @el:		Filled
 * @c:		The chain, its vectors untouched
 */
void virtio_element_capture(struct virtio_element *el, const struct virtq_chain *c)
{
	el->id = c->id;
	el->slots = c->slots;
	el->out_len = c->out_len;
	el->in_len = c->in_len;
	for (unsigned int i = 0; i < (unsigned int)c->out_len + c->in_len; i++) {
		el->gpas[i] = c->gpas[i];
		el->lens[i] = (uint32_t)c->iov[i].iov_len;
	}
}

static void addresses_save(const gpa_t *gpas, unsigned int n, struct state_writer *w)
{
	uint8_t raw[8];

	for (unsigned int i = 0; i < VIRTQUEUE_SIZE_MAX; i++) {
		store_le64(raw, i < n ? gpas[i] : 0);
		state_put(w, raw, sizeof(raw));
	}
}

static void lengths_save(const uint32_t *lens, unsigned int n, struct state_writer *w)
{
	uint8_t raw[16] = {0};

	for (unsigned int i = 0; i < VIRTQUEUE_SIZE_MAX; i++) {
		store_le64(raw + 8, i < n ? lens[i] : 0);
		state_put(w, raw, sizeof(raw));
	}
}

/**
 * virtio_element_save() - Write a chain in flight
 * @el:		Captured
 * @packed:	Packed rings are offered here: the slots follow
 * @w:		Where
 */
void virtio_element_save(const struct virtio_element *el, bool packed, struct state_writer *w)
{
	uint8_t head[16] = {0};

	store_le32(head, el->id);
	store_le32(head + 4, el->out_len);
	store_le32(head + 8, el->in_len);
	state_put(w, head, sizeof(head));
	addresses_save(el->gpas + el->out_len, el->in_len, w);
	addresses_save(el->gpas, el->out_len, w);
	lengths_save(el->lens + el->out_len, el->in_len, w);
	lengths_save(el->lens, el->out_len, w);
	if (packed)
		state_put_be32(w, el->slots);
}

/* An array of 1024 numbers of the sender's byte order, or of its vectors, whose lengths are all
 * that counts. */
static void numbers_load(uint64_t *to, unsigned int n, size_t stride, size_t offset,
			 struct state_reader *r)
{
	uint8_t raw[16] = {0};

	for (unsigned int i = 0; i < n; i++) {
		state_get(r, raw, stride);
		to[i] = load_le64(raw + offset);
	}
	state_skip(r, (VIRTQUEUE_SIZE_MAX - n) * stride);
}

/**
 * virtio_element_load() - Read a chain in flight as QEMU's x86 builds lay it out in memory
 * @el:		Filled
 * @packed:	Packed rings are offered here: the slots follow
 * @r:		From where
 * @e:		Set on failure only
 *
 * Errors: EINVAL more buffers than a chain has, or a buffer of 4 GiB and more
 * Return: 0, or a negative errno
 */
int virtio_element_load(struct virtio_element *el, bool packed, struct state_reader *r,
			struct err *e)
{
	uint64_t lens[VIRTQUEUE_SIZE_MAX];
	uint8_t head[16] = {0};
	uint32_t out, in;

	state_get(r, head, sizeof(head));
	el->id = (uint16_t)load_le32(head);
	out = load_le32(head + 4);
	in = load_le32(head + 8);
	if (out > VIRTQUEUE_SIZE_MAX || in > VIRTQUEUE_SIZE_MAX - out)
		return err_set(e, EINVAL, "element: %u + %u buffers", out, in);
	el->out_len = (uint16_t)out;
	el->in_len = (uint16_t)in;
	numbers_load(el->gpas + out, in, 8, 0, r);
	numbers_load(el->gpas, out, 8, 0, r);
	numbers_load(lens + out, in, 16, 8, r);
	numbers_load(lens, out, 16, 8, r);
	for (uint32_t i = 0; i < out + in; i++) {
		if (lens[i] > UINT32_MAX)
			return err_set(e, EINVAL, "element: buffer of %#jx bytes",
				       (uintmax_t)lens[i]);
		el->lens[i] = (uint32_t)lens[i];
	}
	el->slots = packed ? (uint16_t)state_get_be32(r) : 1;
	return r->failed ? err_set(e, EINVAL, "the section ends in an element") : 0;
}
