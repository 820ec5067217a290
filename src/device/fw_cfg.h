/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_FW_CFG_H
#define DEVICE_FW_CFG_H

#include "device/device.h"

/* Selector keys with a number of their own; files have the others. Source: QEMU's docs/specs/fw_cfg
 */
enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00,
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_NOGRAPHIC = 0x04,
	FW_CFG_NB_CPUS = 0x05,
	FW_CFG_KERNEL_ADDR = 0x07,
	FW_CFG_KERNEL_SIZE = 0x08,
	FW_CFG_INITRD_ADDR = 0x0a,
	FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_NUMA = 0x0d,
	FW_CFG_BOOT_MENU = 0x0e,
	FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_KERNEL_ENTRY = 0x10,
	FW_CFG_KERNEL_DATA = 0x11,
	FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_ADDR = 0x13,
	FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_SETUP_ADDR = 0x16,
	FW_CFG_SETUP_SIZE = 0x17,
	FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20,
	FW_CFG_ARCH_LOCAL = 0x8000, /* bit: the architecture's own keys */
};

#define FW_CFG_FILES 32
#define FW_CFG_NAME  56

/**
 * struct fw_cfg_blob - What one key reads as
 * @data:	Bytes, or NULL
 * @len:	How many
 * @owned:	@data is ours to free
 * @writable:	The guest may write it by DMA
 * @selected:	Called when the guest selects the key; may be NULL
 * @opaque:	For @selected
 */
struct fw_cfg_blob {
	uint8_t *data;
	uint32_t len;
	bool owned, writable;
	void (*selected)(void *opaque);
	void *opaque;
};

/**
 * struct fw_cfg_state - What the guest can see
 * @dma_addr:	High half of the address of a request, while the low one isn't written yet
 * @table_size, @linker_size, @rsdp_size: Of the ACPI files, exact (their RAM blocks are whole
 * pages)
 * @offset:	Next byte of the selected key
 * @entry:	Selected key, 0xffff: an invalid one
 */
struct fw_cfg_state {
	uint64_t dma_addr;
	uint64_t table_size, linker_size, rsdp_size;
	uint32_t offset;
	uint16_t entry;
	uint16_t reserved;
};

/**
 * struct fw_cfg_file - A named blob
 * @name:	"etc/acpi/tables"
 * @blob:	What it reads as
 */
struct fw_cfg_file {
	char name[FW_CFG_NAME];
	struct fw_cfg_blob blob;
};

/**
 * struct fw_cfg - The device
 * @keys:	Numbered keys, generic and the architecture's own
 * @files:	In order of name, as the directory shows them
 * @files_len:	How many
 * @directory:	What FW_CFG_FILE_DIR reads as
 */
struct fw_cfg {
	struct device dev;
	struct fw_cfg_state s;
	struct fw_cfg_blob keys[2][FW_CFG_FILE_FIRST];
	struct fw_cfg_file files[FW_CFG_FILES];
	size_t files_len;
	uint8_t directory[4 + 64 * FW_CFG_FILES];
	struct io_region io, dma_io;
};

/* Before the guest runs, or under the device's lock. The bytes are copied. */
void fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len);
void fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value);
void fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value);
void fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value);
/* A file of this name is replaced, its selector stays. ENOSPC: there are 32 already. */
MUST_CHECK int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t len,
			       struct err *e);
/* The same, of memory that stays the caller's (ACPI tables in RAM blocks); @blob is copied. */
MUST_CHECK int fw_cfg_add_shared(struct fw_cfg *f, const char *name, const struct fw_cfg_blob *blob,
				 struct err *e);
bool fw_cfg_has_file(const struct fw_cfg *f, const char *name);

#endif
