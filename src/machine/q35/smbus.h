/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_SMBUS_H
#define MACHINE_Q35_SMBUS_H

#include "device/pci/pci.h"

#include <string.h>

/**
 * struct smb_state - Registers of the SMBus host
 * @index:	Into @data
 * @on_status_read: The transaction runs when the guest reads the status
 */
struct smb_state {
	uint32_t index;
	uint8_t status, control, command, address, data0, data1;
	uint8_t aux, block_data;
	uint8_t data[32];
	bool i2c_enable, op_done, in_i2c_read, on_status_read;
};

/**
 * struct smbus_state - What the guest can see of the function
 */
struct smbus_state {
	struct smb_state smb;
	struct pci_state pci;
	bool irq;
	uint8_t reserved[3];
};

/**
 * struct smbus - ICH9 SMBus host, 00:1f.3
 */
struct smbus {
	struct pci_device pci;
	struct smbus_state s;
	struct io_region io;
};

#endif
