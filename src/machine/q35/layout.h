/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_LAYOUT_H
#define MACHINE_Q35_LAYOUT_H

#include "block/block.h"
#include "machine/q35/numa.h"
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
#define Q35_FLASHES      2
#define Q35_FLASH_MAX    (8 * MiB)  /* of all chips together */
#define Q35_TSEG_BYTES   (16 * MiB) /* an extended TSEG, as it is by default */
#define Q35_HOLE64_BYTES (32ULL << 30)

/**
 * struct q35_ram - The machine's RAM and ROM blocks and where they are seen
 * @parts:	Main memory, one after the other
 * @parts_len:	How many
 * @bytes:	Of main memory
 * @bios:	Firmware ROM; NULL: it is in @flash
 * @flash:	Content of the flash chips, NULL: there is none
 * @shadow:	With @flash: the copy of its end that is seen below 1 MiB
 * @rom:	Option ROM area 0xc0000-0xdffff
 * @tables, @loader, @rsdp: ACPI blobs that firmware reads through fw_cfg
 */
struct q35_ram {
	struct ram_block *parts[Q35_NODES_MAX];
	unsigned int parts_len;
	uint64_t bytes;
	struct ram_block *bios, *rom, *tables, *loader, *rsdp;
	struct ram_block *flash[Q35_FLASHES], *shadow;
};

/**
 * struct q35_ram_part - A piece of main memory
 * @bytes:	Of it
 * @name:	Block name: "pc.ram" or the memory backend's id
 * @options:	How it is backed
 */
struct q35_ram_part {
	uint64_t bytes;
	const char *name;
	struct ram_options options;
};

/**
 * struct q35_ram_config - What the operator chose
 * @bytes:	Of main memory
 * @parts:	Its pieces, of @bytes together; the first one has 1 MiB or more
 * @parts_len:	How many: 1, or one for each NUMA node that has memory
 * @bios:	Path of a firmware image; NULL: none, the flash is empty
 * @pflash:	Images of flash chips with the firmware instead of @bios, the first one at the top;
 *		NULL: no chip
 * @adopt:	Finds the file of a block of this name that another process handed over, -1: make
 *		one; NULL: none are
 * @opaque:	For @adopt
 */
struct q35_ram_config {
	uint64_t bytes;
	struct q35_ram_part parts[Q35_NODES_MAX];
	unsigned int parts_len;
	const char *bios;
	struct block_node *pflash[Q35_FLASHES];
	int (*adopt)(void *opaque, const char *name);
	void *opaque;
};

MUST_CHECK int q35_ram_create(struct q35_ram *ret, struct memory *m, const struct q35_ram_config *c,
			      struct err *e);

/* What is seen at a byte of main memory. */
struct ram_block *q35_ram_at(const struct q35_ram *q, uint64_t at, uint64_t *ret_offset);

/* The flash chips' content, and the end of the first one below 1 MiB. */
MUST_CHECK int q35_flash_create(struct q35_ram *ret, struct memory *m,
				const struct q35_ram_config *c, struct err *e);

/* A block, new or taken over, and its place in the guest's memory. */
MUST_CHECK int q35_ram_block(struct memory *m, const char *name, uint64_t size,
			     const struct ram_options *options, struct ram_block **ret,
			     struct err *e);
MUST_CHECK int q35_ram_map(struct memory *m, gpa_t gpa, uint64_t size, struct ram_block *b,
			   uint64_t offset, bool rom, struct err *e);

#endif
