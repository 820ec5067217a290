/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_RNG_H
#define DEVICE_VIRTIO_RNG_H

#include "device/virtio/virtio_state.h"

/**
 * struct virtio_rng - Random numbers for the guest, by getrandom(2)
 * @v:		First
 * @rng:	Property: id of a source object; all of them are the kernel's generator
 * @max_bytes, @period_ms: Properties: a limit of bytes in each period
 * @quota:	Bytes left in this period
 * @timer:	Ends the period
 */
struct virtio_rng {
	struct virtio v;
	char *rng;
	uint64_t max_bytes;
	uint32_t period_ms;
	uint64_t quota;
	struct timer *timer;
};

extern const struct state_table virtio_rng_state_table;
extern const struct device_class virtio_rng_class, virtio_rng_transitional_class,
	virtio_rng_non_transitional_class;

#endif
