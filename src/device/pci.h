/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PCI_H
#define DEVICE_PCI_H

#include "device/device.h"

/*
 * Theory of operation: a PCI function is a struct pci_device: 256 or 4096 bytes of configuration space with, for each byte,
 * masks of what the guest may write and what a write of 1 clears. The core handles the header (command register,
 * BARs, interrupt pin), capabilities, MSI-X and INTx; a class adds hooks where writes have effects.
 * A BAR is either an I/O region or a window of a RAM block (option ROM). The bus finds functions by devfn; bridges
 * own a secondary bus.
 */

#define PCI_BARS            6
#define PCI_ROM_SLOT        6
#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))
#define PCI_SLOT(devfn)     ((devfn) >> 3 & 0x1f)
#define PCI_FN(devfn)       ((devfn)&7)

struct pci_bus;

/**
 * struct pci_bar - One base address register
 * @size:	Bytes, power of two; 0: not implemented
 * @flags:	Low bits of the register: 1 I/O, 4 64-bit, 8 prefetchable
 * @region:	I/O region behind it (base and enabled are the core's), or NULL
 * @map:	RAM window behind it, or NULL
 */
struct pci_bar {
	uint64_t size;
	uint8_t flags;
	struct io_region *region;
	struct memory_map *map;
};

/**
 * struct pci_msix - MSI-X table and pending bits, guest-visible
 * @entries:	0: no MSI-X
 * @table:	16 bytes an entry
 * @pba:	One bit an entry
 */
struct pci_msix {
	uint16_t entries;
	uint8_t cap; /* offset of the capability */
	uint8_t *table;
	uint8_t *pba;
	struct io_region table_region, pba_region;
	struct pci_vector {
		int fd;    /* eventfd that raises this vector through the kernel, or -1 */
		int route; /* msi_ops handle, or -1 */
	} * vectors;
};

/**
 * struct pci_device - A PCI function
 * @config, @wmask, @w1cmask: Configuration space and its write rules
 */
struct pci_device {
	struct device dev;
	struct pci_bus *bus;
	int32_t devfn;  /* property "addr"; -1: next free slot */
	char *bus_name; /* property "bus" */
	bool multifunction;
	bool express; /* 4096 bytes of configuration space, PCIe capability */
	uint16_t config_size;
	uint8_t *config, *wmask, *w1cmask, *cmask;
	struct pci_bar bars[PCI_BARS + 1];
	struct pci_msix msix;
	uint8_t irq_state; /* level of INTx as driven by the device */
	/* After the core handled a write to [offset, offset+size); may be NULL. */
	void (*config_written)(struct pci_device *d, unsigned int offset, unsigned int size);
	/* Before the core reads [offset, offset+size), to refresh volatile registers; may be NULL. */
	void (*config_reading)(struct pci_device *d, unsigned int offset, unsigned int size);
	/* The guest (un)masked or reprogrammed an MSI-X vector; may be NULL. */
	void (*vector_changed)(struct pci_device *d, unsigned int vector, bool masked);
};

/**
 * struct pci_ids - The fixed part of the header
 */
struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: base, sub, interface */
};

MUST_CHECK int pci_device_init(struct pci_device *d, const struct pci_ids *ids, struct err *e);
MUST_CHECK int pci_device_attach(struct pci_device *d, struct pci_bus *bus, struct err *e);
void pci_device_detach(struct pci_device *d);
void pci_device_release(struct pci_device *d);
void pci_device_reset(struct pci_device *d);
void pci_bar_region(struct pci_device *d, int bar, struct io_region *r, uint8_t flags);
void pci_bar_map(struct pci_device *d, int bar, struct memory_map *map, uint8_t flags);
MUST_CHECK int pci_add_capability(struct pci_device *d, uint8_t id, uint8_t offset, uint8_t size,
				  struct err *e);
/* Table and pending bits in @bar at @table_offset and @pba_offset, inside an io_region of the device's own. */
MUST_CHECK int pci_msix_init(struct pci_device *d, uint16_t entries, int bar, uint32_t table_offset,
			     uint32_t pba_offset, uint8_t cap_offset, struct err *e);
bool pci_msix_enabled(const struct pci_device *d);
void pci_msix_notify(struct pci_device *d, unsigned int vector); /* from any thread */
/* An eventfd that, when signalled, raises the vector (or sets its pending bit while masked); -1 if none can be had. */
int pci_msix_irqfd(struct pci_device *d, unsigned int vector);
void pci_intx_set(struct pci_device *d, bool level);
uint32_t pci_config_read(struct pci_device *d, unsigned int offset, unsigned int size);
void pci_config_write(struct pci_device *d, unsigned int offset, uint32_t value, unsigned int size);

/* State of the PCI part as QEMU's stream has it (PCIDevice version 2: config, irq state; msix table and pba). */
extern const struct state_table pci_device_state;

/* Buses. */
typedef int pci_swizzle_fn(struct pci_device *d, int pin);
struct pci_bus *pci_bus_create(const char *name, struct pci_device *bridge, uint8_t number);
void pci_bus_destroy(struct pci_bus *b);
struct pci_device *pci_bus_find(struct pci_bus *b, uint8_t number,
				uint8_t devfn); /* through bridges */
/* INTx of the root bus arrives here: @pin 0-3 after swizzling, wired-or count already applied. */
void pci_bus_set_irq_sink(struct pci_bus *b, void (*set)(void *opaque, int line, bool level),
			  pci_swizzle_fn *map, void *opaque, int lines);

#endif
