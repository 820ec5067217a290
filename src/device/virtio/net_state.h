/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_NET_STATE_H
#define DEVICE_VIRTIO_NET_STATE_H

#include "device/virtio/net.h"
#include "device/virtio/virtio_state.h"

/**
 * struct net_body - What the section's one field holds
 * @v:		The common part
 * @max_pairs:	Ours; compared if above 1
 * @has_vnet_header, @has_ufo: What the sender's back end could do; ours must be able to as well
 * @filter:	first_multi isn't sent
 */
struct net_body {
	struct virtio_state v;
	uint32_t max_pairs;
	uint8_t mac[6];
	uint32_t mergeable;
	uint16_t status, curr_pairs;
	bool has_vnet_header, has_ufo;
	struct net_filter filter;
	uint64_t offloads;
};

/**
 * struct virtio_net_state - Section "virtio-net", version 11
 * @body:	All of it
 */
struct virtio_net_state {
	struct net_body body;
};

extern const struct state_table virtio_net_state_table;

void net_capture(const struct device *dev, void *state);
int net_validate(const struct device *dev, const void *state, struct err *e);
void net_apply(struct device *dev, const void *state);

#endif
