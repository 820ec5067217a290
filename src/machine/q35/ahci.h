/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_AHCI_H
#define MACHINE_Q35_AHCI_H

#include "device/pci/pci.h"

#define AHCI_PORTS 6
#define AHCI_SLOTS 32

/**
 * struct ahci_bus - ATA registers of the port, before any device
 */
struct ahci_bus {
	uint8_t cmd, unit;
};

/**
 * struct ahci_drive - ATA registers of a port's device, as QEMU's stream has them; nothing is
 * attached here
 */
struct ahci_drive {
	int32_t mult_sectors, identify_set;
	uint32_t nsector;
	uint8_t feature, error, sector, lcyl, hcyl, hob_feature, hob_sector, hob_nsector, hob_lcyl,
		hob_hcyl, select, status, lba48, sense_key, asc, cdrom_changed;
};

/**
 * struct ahci_ncq - A queued command
 */
struct ahci_ncq {
	uint64_t lba;
	uint32_t sector_count;
	uint8_t tag, cmd, slot;
	bool used, halt;
	uint8_t reserved[7];
};

/**
 * struct ahci_port - Registers of a port
 */
struct ahci_port {
	struct ahci_ncq ncq[AHCI_SLOTS];
	struct ahci_drive drive;
	uint32_t port_state, finished;
	uint32_t clb, clbu, fb, fbu, is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	int32_t busy_slot;
	struct ahci_bus bus;
	bool done_first_drq, init_d2h_sent;
	uint8_t reserved[4];
};

/**
 * struct ahci_hba - Registers of the controller
 */
struct ahci_hba {
	struct ahci_port port[AHCI_PORTS];
	uint32_t cap, ghc, is, pi, vs, idp_index;
	int32_t ports;
	uint8_t reserved[4];
};

/**
 * struct ahci_state - What the guest can see of the function
 */
struct ahci_state {
	struct ahci_hba hba;
	struct pci_state pci;
	uint8_t reserved[4];
};

/**
 * struct ahci - ICH9 SATA controller in AHCI mode, 00:1f.2
 */
struct ahci {
	struct pci_device pci;
	struct ahci_hba s;
	struct io_region idp_io, memory_io;
};

extern const struct state_table ahci_table;

#endif
