/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_CARRIED_H
#define DEVICE_VIRTIO_CARRIED_H

#include "device/virtio/virtio_state.h"

#define CARRIED_MAX     512
#define CARRIED_BUFFERS 8192

/**
 * struct carried - A request that was taken from a ring and waits for the guest to run: it failed
 * here and stopped the guest, or another VMM had it in flight
 * @queue:	Index
 * @chain:	id, slots, lengths and gpas; gpas is owned
 * @lens:	Of each buffer; owned
 */
struct carried {
	uint32_t queue;
	struct virtq_chain chain;
	uint32_t *lens;
};

/**
 * struct carried_list - A disk's; its owner's
 */
struct carried_list {
	struct carried *all;
	unsigned int len;
};

/**
 * struct carried_entry - A request in a state
 * @first:	Index of its first buffer in the state's arrays
 */
struct carried_entry {
	uint32_t queue, first;
	uint16_t id, slots, out_len, in_len;
};

/**
 * struct carried_state - A list in a state
 */
struct carried_state {
	uint32_t len, buffers;
	struct carried_entry entries[CARRIED_MAX];
	gpa_t gpas[CARRIED_BUFFERS];
	uint32_t lens[CARRIED_BUFFERS];
};

/* A new one, whose arrays the caller fills; NULL: a state has no room for more. */
struct carried *carried_add(struct carried_list *l, uint32_t queue, const struct virtq_chain *c);
void carried_release(struct carried_list *l);

void carried_capture(struct carried_state *to, const struct carried_list *l);
void carried_apply(struct carried_list *to, const struct carried_state *s);
void carried_save(const struct carried_state *s, unsigned int i, bool packed,
		  struct state_writer *w);
MUST_CHECK int carried_load(struct carried_state *s, uint32_t queue, bool packed,
			    struct state_reader *r, struct err *e);

#endif
