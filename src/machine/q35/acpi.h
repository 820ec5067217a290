/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_ACPI_H
#define MACHINE_Q35_ACPI_H

#include "base/err.h"
#include "machine/q35/aml.h"
#include "machine/q35/numa.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * enum acpi_slot_kind - What stands at an address of the root bus, as far as the tables care
 */
enum acpi_slot_kind { ACPI_SLOT_PLAIN = 1, ACPI_SLOT_ROOT_PORT, ACPI_SLOT_LPC };

/**
 * struct acpi_slot - A function of the root bus
 * @devfn:	Its address
 * @kind:	What it is
 * @bsel:	Root ports: number that the hot-plug registers know its bus by; -1: no ACPI hot-plug
 * @child:	Root ports: something is plugged in
 * @order:	Root ports: counts up as they were made
 */
struct acpi_slot {
	uint8_t devfn;
	enum acpi_slot_kind kind;
	int bsel;
	bool child;
	unsigned int order;
};

/**
 * struct acpi_node - A NUMA node, for SRAT
 * @base, @size: Its memory, bytes; several entries may name the same node
 * @node:	Number
 */
struct acpi_node {
	uint64_t base, size;
	uint32_t node;
};

/**
 * struct acpi_config - What the tables say. Firmware changes some of it, so tables are made anew
 * when they are first read
 * @present:	Which vCPUs are there; it and @apic_ids have @max_vcpus entries, @vcpu_nodes as well
 *		(or is NULL)
 * @max_vcpus:	Places, hot-pluggable ones included
 * @pmbase:	Port of the power management block as programmed, 0: not yet
 * @ecam:	Base of the memory-mapped configuration space, 0: off
 * @hole, @hole_end: 32-bit PCI window [hole, hole_end)
 * @hole64, @hole64_end: 64-bit PCI window; equal: none
 * @hpet:	There is an HPET
 * @serial:	Bit n: COMn+1 is there
 * @slots, @slots_len: Root bus, ordered by devfn
 * @nodes, @nodes_len: Memory of NUMA nodes; 0: no SRAT. Entries of size 0 say nothing
 * @numa:	Distances for SLIT; NULL: none
 * @smm:	Firmware may use SMI to switch ACPI on
 * @smi_plug, @smi_unplug: Firmware wants an SMI before a CPU comes, and does the ejecting itself
 * @vmgenid:	There is a generation id in a page of its own
 * @pci_hotplug: Hot-plug behind root ports is ACPI's; else the ports' own
 * @s3, @s4:	The guest may suspend to RAM, to disk
 * @s4_type:	Sleep type of suspend to disk
 */
struct acpi_config {
	unsigned int max_vcpus;
	const bool *present;
	const uint32_t *apic_ids;
	const uint8_t *vcpu_nodes;
	uint16_t pmbase;
	uint64_t ecam;
	uint64_t hole, hole_end, hole64, hole64_end;
	bool hpet, smm, smi_plug, smi_unplug, vmgenid, pci_hotplug, s3, s4;
	uint8_t serial, s4_type;
	const struct acpi_slot *slots;
	size_t slots_len;
	const struct acpi_node *nodes;
	size_t nodes_len;
	const struct q35_numa *numa;
};

/* fw_cfg blobs and the sizes of the RAM blocks that carry them through a migration. */
#define ACPI_TABLES_FILE  "etc/acpi/tables"
#define ACPI_RSDP_FILE    "etc/acpi/rsdp"
#define ACPI_LOADER_FILE  "etc/table-loader"
#define ACPI_TABLES_BYTES 0x20000
#define ACPI_LOADER_BYTES 0x1000
#define ACPI_RSDP_BYTES   20

/**
 * struct acpi_tables - The three blobs
 * @tables:	FACS, DSDT, FADT, MADT, ... RSDT, with pointers that are offsets into this blob
 * @loader:	Commands that tell the firmware to place, link and checksum them
 * @rsdp:	Root pointer
 */
struct acpi_tables {
	struct aml tables, loader;
	uint8_t rsdp[ACPI_RSDP_BYTES];
};

/**
 * struct acpi_places - Where blobs are when no firmware has placed them, guest addresses
 * @tables, @rsdp: Of the tables
 * @vmgenid:	Of the generation id's page, if there is one
 */
struct acpi_places {
	uint64_t tables, rsdp, vmgenid;
};

void acpi_build(const struct acpi_config *c, struct acpi_tables *ret);
void acpi_destroy(struct acpi_tables *t);
/* Boot without firmware: links and checksums as the loader commands say, for blobs placed at these
 * guest addresses. */
MUST_CHECK int acpi_link(struct acpi_tables *t, const struct acpi_places *p, struct err *e);

/* dsdt.c, dsdt_pci.c, dsdt_cpu.c: the parts of the DSDT. */
void dsdt_build(const struct acpi_config *c, struct aml *a);
void dsdt_pci_hotplug(struct aml *a);
void dsdt_pci_routing(struct aml *a);
void dsdt_pci_slots(const struct acpi_config *c, struct aml *a);
void dsdt_cpus(const struct acpi_config *c, struct aml *a);
/* ssdt_vmgenid.c: the body of its table. Returns where in it the page's address belongs. */
size_t ssdt_vmgenid(struct aml *a);
size_t madt_local_apic(uint8_t entry[16], uint32_t uid, uint32_t apic_id, bool enabled);

#endif
