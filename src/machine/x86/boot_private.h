/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_BOOT_PRIVATE_H
#define MACHINE_X86_BOOT_PRIVATE_H

#include "machine/x86/boot.h"

/* Boot data lie below 64 KiB, where no kernel is loaded. */
#define BOOT_INFO_GPA    0x1000ULL /* PVH start_info, memory map, modules */
#define BOOT_CMDLINE_GPA 0x2000ULL
#define BOOT_CMDLINE_MAX 0x4000ULL
#define BOOT_ZERO_GPA    0x7000ULL /* Linux boot_params */
#define BOOT_GDT_GPA     0x8000ULL
#define BOOT_TABLES_GPA  0x9000ULL /* PML4, PDPT, four page directories */

/**
 * struct boot_file - A file mapped for reading
 */
struct boot_file {
	const char *path;
	const uint8_t *data;
	uint64_t size;
};

/**
 * struct boot_initrd - Where the initial RAM disk is; size 0: there is none
 */
struct boot_initrd {
	uint64_t gpa, size;
};

MUST_CHECK int boot_put(struct memory *m, const char *what, uint64_t gpa, const void *data,
			uint64_t size, struct err *e);
MUST_CHECK int boot_zero(struct memory *m, const char *what, uint64_t gpa, uint64_t size,
			 struct err *e);
/* Reads the initrd and places it as high as @limit and RAM allow. */
MUST_CHECK int boot_initrd(struct memory *m, const struct boot_options *o, uint64_t limit,
			   uint64_t kernel_end, struct boot_initrd *ret, struct err *e);
MUST_CHECK int boot_cmdline(struct memory *m, const struct boot_options *o, uint64_t max,
			    struct err *e);

MUST_CHECK int boot_elf(struct memory *m, const struct boot_options *o, const struct boot_file *f,
			struct x86_entry *ret, struct err *e);
MUST_CHECK int boot_bzimage(struct memory *m, const struct boot_options *o,
			    const struct boot_file *f, struct x86_entry *ret, struct err *e);

#endif
