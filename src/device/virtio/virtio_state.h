/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_VIRTIO_STATE_H
#define DEVICE_VIRTIO_VIRTIO_STATE_H

#include "device/virtio/virtio.h"

/*
 * Theory of operation: what of a virtio device goes with the guest, and its wire form, which is
 * older than any table: one opaque field with the PCI function, registers, queues, then the
 * device's own part, then subsections. Each device has a codec that calls virtio_state_save_head(),
 * writes its part, and calls virtio_state_save_tail().
 *
 * A scratch state for loading begins as a capture of the device that is being loaded: what its
 * configuration decides (vectors, offered features, queue counts) isn't on the wire but says what
 * is.
 */

/**
 * struct virtio_queue_state - A queue as it is sent
 * @vq:		Addresses, size and indices
 * @num, @enabled, @desc, @avail, @used: Registers of the modern layout
 */
struct virtio_queue_state {
	struct virtqueue_state vq;
	uint16_t num;
	bool enabled;
	uint32_t desc[2], avail[2], used[2];
};

/**
 * struct virtio_state - A virtio device as it is sent, without the device's own part
 * @host_features, @queues_len, @vectors, @express, @modern, @config_max: Ours, not sent
 * @pci, @pcie:	One of them, by @express
 * @features, @config_len...: As in struct virtio
 * @count:	Queues in the stream's list
 */
struct virtio_state {
	uint64_t host_features;
	uint32_t queues_len, vectors;
	bool express, modern;
	struct pci_state pci;
	struct pcie_state pcie;
	uint8_t msix_table[VIRTIO_VECTORS_MAX * 16];
	uint8_t msix_pba[DIV_ROUND_UP(VIRTIO_VECTORS_MAX, 64) * 8];
	uint16_t config_vector, queue_sel, config_len;
	uint8_t status, isr;
	bool broken, started, disabled;
	uint64_t features;
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint32_t dfselect, gfselect, guest_features[2];
	struct virtio_queue_state queues[VIRTIO_QUEUES_MAX];
};

void virtio_state_save_head(const struct virtio_state *s, struct state_writer *w);
void virtio_state_save_tail(const struct virtio_state *s, struct state_writer *w);
MUST_CHECK int virtio_state_load_head(struct virtio_state *s, struct state_reader *r,
				      struct err *e);
MUST_CHECK int virtio_state_load_tail(struct virtio_state *s, struct state_reader *r,
				      struct err *e);

/* Subsections: 0x05, name, version. */
void virtio_subsection_put(struct state_writer *w, const char *name);
bool virtio_subsection_next(struct state_reader *r, const char *prefix, char name[256]);

/**
 * struct virtio_element - A chain as QEMU sends one that is in flight
 * @id, @slots:	As in struct virtq_chain
 * @out_len, @in_len: Buffers
 * @gpas, @lens: The readable ones first
 */
struct virtio_element {
	uint16_t id, slots, out_len, in_len;
	gpa_t gpas[VIRTQUEUE_SIZE_MAX];
	uint32_t lens[VIRTQUEUE_SIZE_MAX];
};

#define VIRTIO_ELEMENT_BYTES 49168 /* on the wire, without the slots of packed rings */

void virtio_element_capture(struct virtio_element *el, const struct virtq_chain *c);
void virtio_element_save(const struct virtio_element *el, bool packed, struct state_writer *w);
MUST_CHECK int virtio_element_load(struct virtio_element *el, bool packed, struct state_reader *r,
				   struct err *e);

/* Between a device and its state; guest stopped. */
void virtio_capture(const struct virtio *v, struct virtio_state *s);
MUST_CHECK int virtio_check(const struct virtio *v, const struct virtio_state *s, struct err *e);
void virtio_apply(struct virtio *v, const struct virtio_state *s);

/**
 * struct virtio_plain_state - Section of a device without state of its own, version 1
 * @v:		All of it
 */
struct virtio_plain_state {
	struct virtio_state v;
};

/* For the tables and classes of such devices. */
extern const struct state_field virtio_plain_fields[];
void virtio_plain_capture(const struct device *dev, void *state);
MUST_CHECK int virtio_plain_validate(const struct device *dev, const void *state, struct err *e);
void virtio_plain_apply(struct device *dev, const void *state);

#endif
