/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_LAYOUT_H
#define MACHINE_Q35_LAYOUT_H

#include "machine/x86/layout.h"
#include "memory/memory.h"

/* Fixed addresses of the machine type; QEMU's, since guests that move have them in their tables. */
#define Q35_IOAPIC       0xfec00000ULL
#define Q35_BIOS_END     0x100000000ULL
#define Q35_ECAM         0xb0000000ULL /* where firmware puts it, and we without firmware */
#define Q35_PMBASE       0x600         /* likewise */
#define Q35_RSDP_GPA     0xc0000ULL    /* without firmware: in the option ROM area, */
#define Q35_TABLES_GPA   0xc0040ULL    /* which holds nothing else then */
#define Q35_SMBIOS_GPA   0xf0000ULL /* likewise, in the BIOS area: entry point, tables behind it */
#define Q35_HOLE64_BYTES (32ULL << 30)

/**
 * struct q35_ram - The machine's RAM and ROM blocks and where they are seen
 * @ram:	Main memory
 * @bios:	Firmware flash
 * @rom:	Option ROM area 0xc0000-0xdffff
 * @tables, @loader, @rsdp: ACPI blobs that firmware reads through fw_cfg
 */
struct q35_ram {
	struct ram_block *ram, *bios, *rom, *tables, *loader, *rsdp;
};

/**
 * struct q35_ram_config - What the operator chose
 * @bytes:	Of main memory
 * @name:	Block name of main memory: "pc.ram" or the memory backend's id
 * @options:	How it is backed
 * @bios:	Path of a firmware image; NULL: none, the flash is empty
 * @adopt:	Finds the file of a block of this name that another process handed over, -1: make
 *		one; NULL: none are
 * @opaque:	For @adopt
 */
struct q35_ram_config {
	uint64_t bytes;
	const char *name;
	struct ram_options options;
	const char *bios;
	int (*adopt)(void *opaque, const char *name);
	void *opaque;
};

MUST_CHECK int q35_ram_create(struct q35_ram *ret, struct memory *m, const struct q35_ram_config *c,
			      struct err *e);

#endif
