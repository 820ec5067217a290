/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PCIE_PORT_H
#define DEVICE_PCIE_PORT_H

#include "device/pci/pci.h"

#define AER_LOG_MAX 128

/**
 * struct aer_error - A logged error
 */
struct aer_error {
	uint32_t status;
	uint16_t source, flags;
	uint32_t header[4], prefix[4];
};

/**
 * struct aer_log - Logged errors; none ever happen here, but a stream may bring some
 * @max:	Property aer_log_max; both sides must have the same
 */
struct aer_log {
	uint16_t num, max;
	struct aer_error log[AER_LOG_MAX];
};

/**
 * struct port_msix - The port's one vector on the wire
 * @bytes:	Table entry, then a byte of pending bits
 */
struct port_msix {
	uint8_t bytes[17];
	uint8_t reserved[3];
};

/**
 * struct port_state - A root port on the wire
 */
struct port_state {
	struct pcie_state pci;
	struct aer_log aer;
	struct port_msix msix;
};

/**
 * struct pcie_port - A root port with one hot-plug slot
 * @native:	The port itself tells the guest of devices that come and go
 * @notified:	A hot-plug interrupt condition holds
 * @control_before: Slot Control before the write that is being looked at
 * @leaving:	A device on @pci.secondary was asked to go
 */
struct pcie_port {
	struct pci_device pci;
	struct aer_log aer;
	bool native, notified, leaving;
	uint8_t port, chassis;
	uint16_t slot, aer_log_max, control_before;
	bool hotplug, acs_off, power_control;
	int speed, width;
	uint64_t io_reserve, mem_reserve, pref32_reserve, pref64_reserve;
	uint32_t bus_reserve;
};

/* Native hot-plug, main thread; ACPI's is the LPC bridge's. EBUSY: the guest is at work on the
 * slot, try again. */
void pcie_port_plugged(struct pcie_port *p, struct pci_device *d);
MUST_CHECK int pcie_port_unplug_request(struct pcie_port *p, struct err *e);
/* A device was plugged by ACPI: its slot gets power. Chipset lock not held. */
void pcie_port_power_on(struct pcie_port *p);

#endif
