/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a bzImage is a real-mode part, whose header at 0x1f1 describes the kernel,
 * and the kernel proper. The kernel goes to its preferred address; boot_params ("zero page") gets a
 * copy of the header and what a boot loader fills in; entry is the 64-bit one at 0x200 where the
 * kernel has it, else the 32-bit one.
 *
 * Source: Linux Documentation/arch/x86/boot.rst (protocol 2.12, 64-bit boot protocol),
 * zero-page.rst
 */
#include "base/bytes.h"
#include "machine/x86/boot_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SETUP_SECTS       0x1f1
#define HEADER_END        0x201 /* length of the header behind 0x202 */
#define VERSION           0x206
#define LOADER_TYPE       0x210
#define LOADFLAGS         0x211
#define CODE32_START      0x214
#define RAMDISK_IMAGE     0x218
#define RAMDISK_SIZE      0x21c
#define CMD_LINE_PTR      0x228
#define INITRD_ADDR_MAX   0x22c
#define RELOCATABLE       0x234
#define XLOADFLAGS        0x236
#define CMDLINE_SIZE      0x238
#define PREF_ADDRESS      0x258
#define INIT_SIZE         0x260

#define ZERO_RSDP         0x070
#define ZERO_E820_ENTRIES 0x1e8
#define ZERO_E820_TABLE   0x2d0

#define XLF_KERNEL_64     1U
#define LOADED_HIGH       1U

/**
 * struct bzimage - What the header says
 * @setup_size:	Bytes of the real-mode part
 * @kernel_gpa:	Where the kernel goes
 * @end:	First byte behind what it needs before it has its own memory map
 */
struct bzimage {
	uint64_t setup_size, kernel_gpa, end;
	bool long_mode;
};

static int header_read(const struct boot_file *f, struct bzimage *b, struct err *e)
{
	uint16_t version = load_le16(f->data + VERSION);
	uint8_t sectors = f->data[SETUP_SECTS] ? f->data[SETUP_SECTS] : 4;

	if (version < 0x20c)
		return err_set(e, ENOEXEC,
			       "%s has boot protocol %u.%02u; 2.12 is needed (Linux 3.8)", f->path,
			       version >> 8, version & 0xff);
	if (!(f->data[LOADFLAGS] & LOADED_HIGH))
		return err_set(e, ENOEXEC, "%s is a zImage; a bzImage is needed", f->path);
	b->setup_size = (sectors + 1ULL) * 512;
	if (b->setup_size >= f->size)
		return err_set(e, ENOEXEC, "%s is cut off inside its real-mode part", f->path);
	b->kernel_gpa = load_le64(f->data + PREF_ADDRESS);
	if (b->kernel_gpa < 1 * MiB)
		b->kernel_gpa = 1 * MiB;
	b->end = b->kernel_gpa +
		 MAX((uint64_t)load_le32(f->data + INIT_SIZE), f->size - b->setup_size);
	b->long_mode = load_le16(f->data + XLOADFLAGS) & XLF_KERNEL_64;
	return 0;
}

static void zero_page_e820(uint8_t *zero, const struct boot_options *o)
{
	struct e820_entry map[8];
	size_t n = x86_e820(&o->layout, map, ARRAY_SIZE(map));

	zero[ZERO_E820_ENTRIES] = (uint8_t)n;
	for (size_t i = 0; i < n; i++) {
		uint8_t *to = zero + ZERO_E820_TABLE + i * 20;

		store_le64(to, map[i].addr);
		store_le64(to + 8, map[i].size);
		store_le32(to + 16, map[i].type);
	}
}

static int zero_page_put(struct memory *m, const struct boot_options *o, const struct boot_file *f,
			 const struct bzimage *b, const struct boot_initrd *initrd, struct err *e)
{
	uint8_t zero[4096] = {0};
	size_t end = MIN((size_t)0x202 + f->data[HEADER_END], (size_t)0x290);

	memcpy(zero + SETUP_SECTS, f->data + SETUP_SECTS, end - SETUP_SECTS);
	zero[LOADER_TYPE] = 0xff;
	store_le32(zero + CODE32_START, (uint32_t)b->kernel_gpa);
	store_le32(zero + RAMDISK_IMAGE, (uint32_t)initrd->gpa);
	store_le32(zero + RAMDISK_SIZE, (uint32_t)initrd->size);
	store_le32(zero + CMD_LINE_PTR, (uint32_t)BOOT_CMDLINE_GPA);
	store_le64(zero + ZERO_RSDP, o->rsdp);
	zero_page_e820(zero, o);
	return boot_put(m, "boot parameters", BOOT_ZERO_GPA, zero, sizeof(zero), e);
}

/* Flat 64-bit or 32-bit code at 0x10 and data at 0x18. */
static int gdt_put(struct memory *m, bool long_mode, struct err *e)
{
	uint64_t gdt[4] = {0, 0, long_mode ? 0x00af9b000000ffffULL : 0x00cf9b000000ffffULL,
			   0x00cf93000000ffffULL};

	return boot_put(m, "GDT", BOOT_GDT_GPA, gdt, sizeof(gdt), e);
}

/* The first 4 GiB, identical, by pages of 2 MiB. */
static int tables_put(struct memory *m, struct err *e)
{
	uint64_t table[6][512] = {{0}};

	table[0][0] = (BOOT_TABLES_GPA + 0x1000) | 3;
	for (uint64_t i = 0; i < 4; i++)
		table[1][i] = (BOOT_TABLES_GPA + 0x2000 + i * 0x1000) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		table[2 + i / 512][i % 512] = i << 21 | 0x83;
	return boot_put(m, "page tables", BOOT_TABLES_GPA, table, sizeof(table), e);
}

static void entry_set(const struct bzimage *b, struct x86_entry *ret)
{
	*ret = (struct x86_entry){
		.long_mode = b->long_mode,
		.rip = b->kernel_gpa + (b->long_mode ? 0x200 : 0),
		.rsi = BOOT_ZERO_GPA,
		.cr3 = BOOT_TABLES_GPA,
		.gdt = BOOT_GDT_GPA,
	};
}

/**
 * boot_bzimage() - Load a bzImage
 * @m:		Guest memory
 * @o:		Options
 * @f:		The kernel
 * @ret:	Set on success
 * @e:		Set on failure
 *
 * Errors: ENOEXEC too old, cut off; ENOSPC, E2BIG
 * Return: 0, or a negative errno
 */
int boot_bzimage(struct memory *m, const struct boot_options *o, const struct boot_file *f,
		 struct x86_entry *ret, struct err *e)
{
	struct bzimage b = {0};
	struct boot_initrd initrd = {0};
	int r = header_read(f, &b, e);

	if (r == 0)
		r = boot_put(m, f->path, b.kernel_gpa, f->data + b.setup_size,
			     f->size - b.setup_size, e);
	if (r == 0)
		r = boot_initrd(m, o, (uint64_t)load_le32(f->data + INITRD_ADDR_MAX) + 1, b.end,
				&initrd, e);
	if (r == 0)
		r = boot_cmdline(m, o, load_le32(f->data + CMDLINE_SIZE), e);
	if (r == 0)
		r = zero_page_put(m, o, f, &b, &initrd, e);
	if (r == 0)
		r = gdt_put(m, b.long_mode, e);
	if (r == 0 && b.long_mode)
		r = tables_put(m, e);
	if (r == 0)
		entry_set(&b, ret);
	return r;
}
