/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PCI_H
#define DEVICE_PCI_H

#include "device/device.h"

#include <linux/pci_regs.h>

/*
 * Theory of operation: a PCI function is a struct pci_device: 256 or 4096 bytes of configuration
 * space with, for each byte, masks of what the guest may write and what a write of 1 clears. The
 * core handles the header (command register, BARs, interrupt pin), capabilities, MSI-X and INTx; a
 * class adds hooks where writes have effects. A BAR is either an I/O region or a window of a RAM
 * block (option ROM). The bus finds functions by devfn; bridges own a secondary bus.
 *
 * A class's realize calls, in this order: pci_device_init(), then BARs and capabilities, then
 * pci_device_attach(); its unrealize calls pci_device_detach() and pci_device_release().
 *
 * Locks: configuration space is accessed under the chipset's lock and, inside it, the function's
 * own; so a device may not take the chipset's lock under its own. INTx and MSI-X have leaf locks:
 * they may be raised from any thread, with any lock held.
 */

#define PCI_BARS            6
#define PCI_ROM_SLOT        6
#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))
#define PCI_SLOT(devfn)     ((devfn) >> 3 & 0x1f)
#define PCI_FN(devfn)       ((devfn)&7)
#define PCI_ROM_FLAG        0x80 /* pci_bar.flags: the expansion ROM's register */

struct pci_bus;

/**
 * struct pci_bar - One base address register
 * @size:	Bytes, power of two; 0: not implemented
 * @flags:	Low bits of the register: 1 I/O, 4 64-bit, 8 prefetchable
 * @region:	I/O region behind it (base and enabled are the core's), or NULL
 * @map:	RAM window behind it, or NULL
 * @addr:	Where the guest put it now, if @mapped
 * @mapped:	The guest can see it
 */
struct pci_bar {
	uint64_t size;
	uint8_t flags;
	struct io_region *region;
	struct memory_map *map;
	uint64_t addr;
	bool mapped;
};

/**
 * struct pci_msix - MSI-X table and pending bits, guest-visible
 * @lock:	A leaf lock: protects all of it
 * @entries:	0: no MSI-X
 * @cap:	Offset of the capability
 * @bar:	Which BAR it is in
 * @table_offset, @pba_offset: Where in the BAR
 * @table:	16 bytes an entry
 * @pba:	One bit an entry, in 8-byte words
 * @enabled, @masked: As the guest set the capability's control word
 * @relays:	Vectors that the kernel has no route for, see msix_relay.c; NULL: there was none
 * @vectors:	What is not guest-visible
 */
struct pci_msix {
	pthread_mutex_t lock;
	uint16_t entries;
	uint8_t cap;
	int bar;
	uint32_t table_offset, pba_offset;
	uint8_t *table;
	uint8_t *pba;
	bool enabled, masked;
	struct io_region table_region, pba_region;
	struct msix_relays *relays;
	struct pci_vector {
		int fd;    /* eventfd that raises this vector through the kernel, or -1 */
		int route; /* msi_ops handle, or -1 */
		bool live; /* fd is bound to the route now */
	} * vectors;
};

/**
 * struct pci_device - A PCI function
 * @dev:	First
 * @bus:	Where it sits; NULL: detached
 * @devfn:	Property "addr"; -1: next free slot
 * @bus_name:	Property "bus": id of a bridge, or of the root bus
 * @multifunction: Property: functions 1-7 of the slot may be used
 * @express:	4096 bytes of configuration space and a PCIe capability; set before
 *pci_device_init()
 * @bridge:	Header type 1, has @secondary; set before pci_device_init()
 * @config_size: 256 or 4096
 * @config, @wmask, @w1cmask, @cmask: Configuration space; which bits the guest may write; which a 1
 *clears; which must agree when a state is loaded
 * @used:	Nonzero for bytes that capabilities take
 * @bars:	BARs, and the expansion ROM in slot PCI_ROM_SLOT
 * @msix:	MSI-X
 * @msi_cap, @exp_cap: Offsets of the MSI and PCIe capabilities, 0: none
 * @secondary:	The bus behind a bridge
 * @power_off:	Its slot has no power: the guest doesn't see it
 * @irq_state:	Level of INTx as driven by the device; protected by the root bus's interrupt lock
 * @irq_line:	Input of the root bus that the level is counted at, -1: none
 * @rom:	Content of the option ROM, or NULL
 * @romfile, @rombar, @acpi_index: Properties
 * @config_written: After the core handled a write to [offset, offset+size); may be NULL
 * @config_reading: Before the core reads [offset, offset+size), to refresh volatile registers; may
 *be NULL
 * @vector_changed: The guest (un)masked or reprogrammed an MSI-X vector; device lock held; may be
 *NULL
 * @child_attached, @child_detached: Of a bridge: a function came to or left @secondary; chipset
 *lock held; may be NULL
 */
struct pci_device {
	struct device dev;
	struct pci_bus *bus;
	int32_t devfn;
	char *bus_name;
	bool multifunction;
	bool express, bridge;
	uint16_t config_size;
	uint8_t *config, *wmask, *w1cmask, *cmask, *used;
	struct pci_bar bars[PCI_BARS + 1];
	struct pci_msix msix;
	uint8_t msi_cap, exp_cap;
	struct pci_bus *secondary;
	bool power_off;
	uint8_t irq_state;
	int irq_line;
	struct ram_block *rom;
	char *romfile;
	uint32_t rombar, acpi_index;
	void (*config_written)(struct pci_device *d, unsigned int offset, unsigned int size);
	void (*config_reading)(struct pci_device *d, unsigned int offset, unsigned int size);
	void (*vector_changed)(struct pci_device *d, unsigned int vector, bool masked);
	void (*child_attached)(struct pci_device *bridge, struct pci_device *child);
	void (*child_detached)(struct pci_device *bridge, struct pci_device *child);
};

/* The properties every user-creatable function has; @type's member @m is the struct pci_device. */
#define PCI_PROPS(type, m)                                                                      \
	{.name = "addr",                                                                        \
	 .kind = PROP_PCI_ADDR,                                                                 \
	 .offset = offsetof(type, m.devfn),                                                     \
	 .def = "-1",                                                                           \
	 .help = "Slot and optional function number, example: 06.0 or 06"},                     \
		{.name = "bus",                                                                 \
		 .kind = PROP_STRING,                                                           \
		 .offset = offsetof(type, m.bus_name),                                          \
		 .help = "Id of the bridge it sits behind, or pcie.0"},                         \
		{.name = "multifunction",                                                       \
		 .kind = PROP_BOOL,                                                             \
		 .offset = offsetof(type, m.multifunction),                                     \
		 .def = "off",                                                                  \
		 .help = "The slot's other functions may be used"},                             \
		{.name = "romfile",                                                             \
		 .kind = PROP_STRING,                                                           \
		 .offset = offsetof(type, m.romfile),                                           \
		 .help = "Option ROM; empty: none"},                                            \
		{.name = "rombar",                                                              \
		 .kind = PROP_U32,                                                              \
		 .offset = offsetof(type, m.rombar),                                            \
		 .def = "1",                                                                    \
		 .help = "0: the option ROM has no BAR"},                                       \
	{                                                                                       \
		.name = "acpi-index", .kind = PROP_U32, .offset = offsetof(type, m.acpi_index), \
		.def = "0", .help = "Index for predictable names of network interfaces"         \
	}

/**
 * struct pci_ids - The fixed part of the header
 */
struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: base, sub, interface */
};

MUST_CHECK int pci_device_init(struct pci_device *d, const struct pci_ids *ids, struct err *e);
/* @bus NULL: the one that the property "bus" names, or the root bus. Fills in devfn and dev.path.
 */
MUST_CHECK int pci_device_attach(struct pci_device *d, struct pci_bus *bus, struct err *e);
/* Not under any lock: waits for vCPUs to leave its regions. */
void pci_device_detach(struct pci_device *d);
void pci_device_release(struct pci_device *d);
/* pci/rom.c: the option ROM of an attached function. */
MUST_CHECK int pci_rom_add(struct pci_device *d, const char *usual, struct err *e);
void pci_rom_remove(struct pci_device *d);
void pci_device_reset(struct pci_device *d);
void pci_bar_region(struct pci_device *d, int bar, struct io_region *r, uint8_t flags);
void pci_bar_map(struct pci_device *d, int bar, struct memory_map *map, uint8_t flags);
void pci_bars_update(struct pci_device *d);
/* @offset 0: the first that is free. Returns the offset, or -ENOSPC. */
MUST_CHECK int pci_add_capability(struct pci_device *d, uint8_t id, uint8_t offset, uint8_t size,
				  struct err *e);
/* A capability of extended configuration space (express only), read-only until wmask says
 * otherwise. */
void pci_add_express_capability(struct pci_device *d, uint16_t id, uint8_t version, uint16_t offset,
				uint16_t size);
/*
 * Table and pending bits in @bar at @table_offset and @pba_offset. They lie over an io_region of
 * the device's own, or, if the BAR is none yet, in a memory BAR made for them.
 */
MUST_CHECK int pci_msix_init(struct pci_device *d, uint16_t entries, int bar, uint32_t table_offset,
			     uint32_t pba_offset, uint8_t cap_offset, struct err *e);
bool pci_msix_enabled(const struct pci_device *d);
void pci_msix_notify(struct pci_device *d, unsigned int vector); /* from any thread */
/* An eventfd that, when signalled, raises the vector (or sets its pending bit while masked); -1 if
 * none can be had. */
int pci_msix_irqfd(struct pci_device *d, unsigned int vector);
/* The PCI Express capability; @type PCI_EXP_TYPE_... Endpoints on the root bus are
 * PCI_EXP_TYPE_RC_END. */
MUST_CHECK int pci_express_init(struct pci_device *d, uint8_t cap_offset, uint8_t type,
				uint8_t port, struct err *e);
void pci_express_errors(struct pci_device *d);
/* MSI with one vector and a 64-bit address, as the chipset's functions have it. */
MUST_CHECK int pci_msi_init(struct pci_device *d, uint8_t cap_offset, struct err *e);
bool pci_msi_enabled(const struct pci_device *d);
void pci_msi_notify(struct pci_device *d);           /* device lock held */
void pci_intx_set(struct pci_device *d, bool level); /* from any thread */
bool pci_bus_master(const struct pci_device *d);
uint16_t pci_requester(const struct pci_device *d); /* bus << 8 | devfn */
uint32_t pci_config_read(struct pci_device *d, unsigned int offset, unsigned int size);
void pci_config_write(struct pci_device *d, unsigned int offset, uint32_t value, unsigned int size);

/**
 * struct pci_state - State of the PCI part as QEMU's stream has it (PCIDevice version 2)
 * @version_id:	2
 * @config:	Configuration space
 * @irq_state:	Level of INTA to INTD as driven by the device
 */
struct pci_state {
	int32_t version_id;
	uint8_t config[256];
	uint32_t irq_state[4];
};

/**
 * struct pcie_state - The same for a function with extended configuration space
 * @version_id:	2
 * @config:	Configuration space
 * @irq_state:	Level of INTA to INTD as driven by the device
 */
struct pcie_state {
	int32_t version_id;
	uint8_t config[4096];
	uint32_t irq_state[4];
};

extern const struct state_table pci_device_state;  /* of struct pci_state */
extern const struct state_table pcie_device_state; /* of struct pcie_state */

void pci_capture(const struct pci_device *d, struct pci_state *s);
MUST_CHECK int pci_validate(const struct pci_device *d, const struct pci_state *s, struct err *e);
void pci_apply(struct pci_device *d, const struct pci_state *s);
void pcie_capture(const struct pci_device *d, struct pcie_state *s);
MUST_CHECK int pcie_validate(const struct pci_device *d, const struct pcie_state *s, struct err *e);
void pcie_apply(struct pci_device *d, const struct pcie_state *s);
/* 16 bytes an entry, and pci_msix_pba_bytes(). Apply after the configuration space. */
size_t pci_msix_pba_bytes(
	const struct pci_device *d); /* on the wire: one bit an entry, rounded up to a byte */
void pci_msix_capture(const struct pci_device *d, uint8_t *table, uint8_t *pba);
void pci_msix_apply(struct pci_device *d, const uint8_t *table, const uint8_t *pba);

/**
 * struct pci_bus - Up to 256 functions
 * @name:	Id of the bridge, or "pcie.0"; owned
 * @bridge:	Above it; NULL: the root bus
 * @number:	Of the root bus; behind a bridge the guest sets it
 * @order:	Counts up over all buses made
 * @hotplug:	Devices may come and go while the guest runs
 * @devices:	By devfn; under the chipset's lock
 * @irq_lock:	A leaf lock; of the root bus: protects the levels and counts of everything below it
 * @irq_count:	Of the root bus: how many functions drive each input
 * @irq_lines:	How many inputs, 0 behind a bridge
 * @set, @map, @opaque: See pci_bus_set_irq_sink()
 */
#define PCI_IRQ_LINES 8
typedef int pci_swizzle_fn(void *opaque, struct pci_device *d, int pin);
struct pci_bus {
	char *name;
	struct pci_device *bridge;
	uint8_t number;
	bool hotplug;
	unsigned int order;
	struct pci_device *devices[256];
	pthread_mutex_t irq_lock;
	int32_t irq_count[PCI_IRQ_LINES];
	int32_t irq_lines;
	void (*set)(void *opaque, int line, bool level);
	pci_swizzle_fn *map;
	void *opaque;
};

struct pci_bus *pci_bus_create(const char *name, struct pci_device *bridge, uint8_t number);
void pci_bus_destroy(struct pci_bus *b);
struct pci_device *pci_bus_find(struct pci_bus *b, uint8_t number,
				uint8_t devfn); /* through bridges */
/* The bus called @name at or below @b. */
struct pci_bus *pci_bus_find_name(struct pci_bus *b, const char *name);
uint8_t pci_bus_number(const struct pci_bus *b);
/* Each function at and below @b. */
void pci_bus_walk(struct pci_bus *b, void (*fn)(struct pci_device *d, void *opaque), void *opaque);
/* What the host bridge does, chipset lock held: absent functions read as all ones. */
uint32_t pci_bus_config_read(struct pci_bus *root, uint8_t number, uint8_t devfn,
			     unsigned int offset, unsigned int size);
void pci_bus_config_write(struct pci_bus *root, uint8_t number, uint8_t devfn, unsigned int offset,
			  uint32_t value, unsigned int size);
/*
 * INTx of the root bus arrives at @set: @line is what @map gave for the function's pin 0-3 (on the
 * root bus, after the bridges' swizzling); wired-or counting is already done. Both are called with
 * a leaf lock held.
 */
void pci_bus_set_irq_sink(struct pci_bus *b, void (*set)(void *opaque, int line, bool level),
			  pci_swizzle_fn *map, void *opaque, int lines);
void pci_bus_irq_remap(struct pci_bus *root);

#endif
