/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_CHIPSET_H
#define MACHINE_Q35_CHIPSET_H

#include "device/device.h"
#include "device/pci/pci.h"

/* The classes of the q35 chipset, for device_classes_add(); NULL-terminated. */
extern const struct device_class *const q35_classes[];

extern const struct device_class pci_host_class;
extern const struct device_class pci_bus_class;
extern const struct device_class mch_class;
extern const struct device_class lpc_class;
extern const struct device_class acpi_build_class;
extern const struct device_class ahci_class;
extern const struct device_class smbus_class;
extern const struct device_class i2c_bus_class;
extern const struct device_class vcpu_class;

/**
 * struct pci_host_state - What the guest can see of the host bridge's ports
 * @address:	As written to 0xcf8
 */
struct pci_host_state {
	uint32_t address;
};

/**
 * struct pci_host - Configuration space by ports 0xcf8 and 0xcfc, and by memory (ECAM)
 * @root:	Root bus; set before realize
 * @ecam:	Region of up to 256 MiB, placed by pci_host_set_ecam()
 */
struct pci_host {
	struct device dev;
	struct pci_host_state s;
	struct pci_bus *root;
	struct io_region address_io, data_io, ecam;
};

/* Chipset lock held. @bytes: 64, 128 or 256 MiB. */
void pci_host_set_ecam(struct pci_host *h, bool enabled, uint64_t base, uint64_t bytes);

/**
 * struct bus_state - A bus's interrupt inputs as QEMU's stream has them
 * @lines:	How many, 0 behind a bridge
 * @count:	How many functions drive each; derived from the functions when loaded
 */
struct bus_state {
	int32_t lines;
	int32_t count[PCI_IRQ_LINES];
};

/**
 * struct bus_section - The section "PCIBUS" of a bus
 * @bus:	Set before realize
 */
struct bus_section {
	struct device dev;
	struct pci_bus *bus;
};

/* The same for buses behind bridges, which aren't devices. */
extern const struct state_table q35_bus_table;
void q35_bus_capture(const struct pci_bus *b, void *state);

#define MCH_PAM_WINDOWS 13

/* What SMRAM's registers show and hide. */
enum mch_window {
	MCH_OPEN_HIGH,   /* open SMRAM moved to 0xfeda0000 */
	MCH_LOW_SMRAM,   /* in SMM: at 0xa0000 */
	MCH_HIGH_SMRAM,  /* in SMM: at 0xfeda0000 */
	MCH_SMBASE_HOLE, /* outside of SMM nothing is seen at the default SMBASE */
	MCH_SMBASE,      /* in SMM the RAM there is */
	MCH_WINDOWS
};

/**
 * struct mch_state - Memory controller hub on the wire
 */
struct mch_state {
	struct pci_state pci;
};

/**
 * struct mch - Memory controller hub, 00:00.0
 * @host:	Its ECAM window follows the PCIEXBAR register; set before realize
 * @ram:	Where main memory begins, 1 MiB or more; set before realize
 * @top, @top_bytes: The block in which low memory ends, and how much of it lies below that; set
 *		before realize
 * @below_4g:	Bytes of main memory below 4 GiB; set before realize
 * @pam:	Windows of @ram over 0xc0000-0xfffff, shown where PAM registers say so
 * @window:	By enum mch_window
 * @tseg_hole, @tseg: The top of memory below 4 GiB as all others and as SMM see it; NULL: no TSEG
 * @tseg_mbytes: Property: size of an extended TSEG
 * @smbase_smram: Property: QEMU's lockable SMRAM at 0x30000 is offered
 */
struct mch {
	struct pci_device pci;
	struct pci_host *host;
	struct ram_block *ram, *top;
	uint64_t top_bytes, below_4g;
	struct memory_map *pam[MCH_PAM_WINDOWS];
	struct memory_map *window[MCH_WINDOWS], *tseg_hole, *tseg;
	uint16_t tseg_mbytes;
	bool smbase_smram;
};

#endif
