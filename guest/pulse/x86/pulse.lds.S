/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

OUTPUT_FORMAT(elf64-x86-64)
ENTRY(pvh_entry)
PHDRS {
	load PT_LOAD FLAGS(7);
	note PT_NOTE FLAGS(4);
}
SECTIONS {
	. = BOOT_TABLES;
	.boot_tables : { *(.boot_tables) } :load
	. = BOOT_BLOCK;
	.boot_block : { *(.boot_block) } :load
	. = VECTORS_BASE;
	.vectors : { *(.vectors) } :load
	. = TEXT_BASE;
	.text : { *(.text.start) *(.text .text.*) } :load
	.rodata : { *(.rodata .rodata.*) } :load
	.note : { *(.note.pvh) } :load :note
	.data : ALIGN(64) { *(.data .data.*) } :load
	.bss (NOLOAD) : ALIGN(64) {
		__bss_start = .;
		*(.bss.io_bitmap)
		*(.bss .bss.* COMMON)
		__bss_end = ALIGN(., 8);
		*(.noinit)
		. = ALIGN(4096);
		__stack_start = .;
		. += 0x4000;
		user_stack_top = .;
		. += 0x400;
		stack0_top = .;
	} :load
	__image_end = ALIGN(., 4096);
	io_bitmap_offset = io_bitmap - tss0;
	io_bitmap_limit = io_bitmap_offset + 8192;
	ASSERT(io_bitmap_limit < 0x10000, "I/O bitmap too far from the TSS")
	/DISCARD/ : { *(.comment) *(.eh_frame) *(.note.gnu.*) *(.note.GNU-stack) }
}
