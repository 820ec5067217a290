/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VMPORT_H
#define DEVICE_VMPORT_H

#include "device/ps2.h"

#define VMMOUSE_QUEUE 1024

enum vmport_register {
	VMPORT_EAX,
	VMPORT_EBX,
	VMPORT_ECX,
	VMPORT_EDX,
	VMPORT_ESI,
	VMPORT_EDI,
	VMPORT_REGISTERS
};

/**
 * struct vmmouse_state - What the guest can see of the pointer
 * @size:	VMMOUSE_QUEUE; both sides must have the same
 * @queue:	Words on their way to the guest
 * @len:	How many
 * @status:	0xffff: switched off
 * @absolute:	Positions, not movements
 */
struct vmmouse_state {
	int32_t size;
	uint32_t queue[VMMOUSE_QUEUE];
	uint16_t len, status;
	uint8_t absolute;
	uint8_t reserved[3];
};

/**
 * struct vmmouse - VMware's pointer
 * @mouse:	Told to interrupt the guest when words wait; may be NULL
 */
struct vmmouse {
	struct device dev;
	struct vmmouse_state s;
	struct ps2_mouse *mouse;
};

/**
 * struct vmport - VMware's back door, port 0x5658
 * @mouse:	Answers its commands; may be NULL
 * @registers:	Reads (@write false) or writes the general registers of the vCPU that is in the
 *exit; set by the machine. False: this vCPU's registers can't be had
 * @registers_opaque: For @registers
 * @ram_bytes, @uuid: What commands 20 and 19 tell
 */
struct vmport {
	struct device dev;
	struct vmmouse *mouse;
	bool (*registers)(void *opaque, uint32_t regs[VMPORT_REGISTERS], bool write);
	void *registers_opaque;
	uint64_t ram_bytes;
	uint8_t uuid[16];
	struct io_region io;
};

#endif
