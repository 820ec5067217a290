/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PCSPK_H
#define DEVICE_PCSPK_H

#include "device/device.h"

/**
 * struct pcspk_state - What the guest can see
 * @data_on:	Speaker data enable
 * @refresh:	The refresh toggle, bit 4
 */
struct pcspk_state {
	uint8_t data_on, refresh;
};

/**
 * struct pcspk - PC speaker, port 0x61
 * @pit_read:	Gate (bit 0) and output (bit 1) of the PIT's channel 2; NULL where the kernel
 * answers the port itself
 * @pit_gate:	Sets the gate
 * @pit_opaque:	For both
 */
struct pcspk {
	struct device dev;
	struct pcspk_state s;
	unsigned int (*pit_read)(void *opaque);
	void (*pit_gate)(void *opaque, bool on);
	void *pit_opaque;
	struct io_region io;
};

#endif
