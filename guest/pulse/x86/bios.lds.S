/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

OUTPUT_FORMAT(elf64-x86-64)
ENTRY(reset)
PHDRS { load PT_LOAD FLAGS(5); }
SECTIONS {
	. = 0x100000000 - BIOS_BYTES;
	.payload : { *(.payload) } :load
	. = 0xffffff00 - 0x300;
	.bios : { *(.bios) } :load
	. = 0xfffffff0;
	.reset : { reset = .; *(.reset) } :load
	ASSERT(SIZEOF(.reset) == 16, "reset vector")
	/DISCARD/ : { *(.text) *(.data) *(.bss) *(.comment) *(.note.gnu.*) *(.note.GNU-stack) }
}
