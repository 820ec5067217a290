/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed guest physical addresses and selectors of the witness guest. Read by the assembler, the
 * compiler and the linker script, so: only #define, and no suffixes on numbers.
 */
#ifndef PULSE_X86_LAYOUT_H
#define PULSE_X86_LAYOUT_H

#define TRAMPOLINE_BASE  0x8000 /* where other vCPUs start; SIPI vector is this >> 12 */

#define BOOT_TABLES      0x100000 /* PML4, PDPT, PDs of the 1st and the 4th GiB */
#define BOOT_BLOCK       0x104000 /* GDT and first TSS: the little that ring 0 needs */
#define BOOT_GDT_POINTER (BOOT_BLOCK + 0x70)
#define BOOT_IDT_POINTER (BOOT_BLOCK + 0x80)
#define BOOT_BLOCK_COPY  0xd0     /* up to the first TSS descriptor */
#define VECTORS_BASE     0x105000 /* IDT, then its handlers */
#define TEXT_BASE        0x106000
#define USER_START       TEXT_BASE /* first instruction in ring 3, both forms */

#define BIOS_BYTES       0x20000

#define SEL_CODE0        0x08
#define SEL_DATA0        0x10
#define SEL_CODE3        0x1b
#define SEL_DATA3        0x23
#define SEL_CODE32       0x28
#define SEL_TSS          0x30 /* one of 16 bytes per vCPU from here */

#define GDT_FIXED        6 /* entries before the first TSS */
#define MAX_CPUS         64

#define BOOT_CR0         0x80000033 /* PG, NE, ET, MP, PE */
#define BOOT_CR4         0x00000620 /* PAE, OSFXSR, OSXMMEXCPT */
#define MSR_EFER         0xc0000080
#define EFER_LME         0x100
#define MSR_MTRR_DEFAULT 0x2ff
#define MTRR_WRITE_BACK  0xc06

#define CALL_MAGIC       0x70756c73 /* in %r11 when ud2 is a call to ring 0 */

#define PTE_DIR          0x27 /* present, write, user, accessed */
#define PTE_LARGE        0xe7 /* ... dirty, large page */

#endif
