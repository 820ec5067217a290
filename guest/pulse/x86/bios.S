/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The witness as firmware: nothing else runs before it. From the reset vector to 32-bit mode;
 * there the boot block (GDT, TSS) is copied to RAM, since loading the task register writes to
 * the GDT, and five page table entries are made; then to 64-bit mode and ring 3 like entry.S.
 * The IDT's place is loaded although nothing is there yet. Ring 3 still runs from the ROM: it
 * copies the payload and jumps to the same user_start as the PVH form, with no start info.
 *
 * Built to end at 4 GiB; the payload comes first. Only what ring 0 must do is done there (see
 * entry.S for why).
 */
#include "layout.h"

	.section .payload, "a", @progbits
payload:
	.incbin PAYLOAD_FILE
payload_end:

	.section .bios, "ax", @progbits
	.code16
bios_real:
	cli
	lgdtl %cs:bios_gdt_pointer - 0xffff0000
	movl $0x33, %eax		/* caches on: CD and NW are set at reset */
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $bios_protected

	.code32
bios_protected:
	movl $SEL_DATA0, %eax
	movl %eax, %ds
	movl %eax, %es
	movl $payload, %esi
	movl $BOOT_BLOCK, %edi
	movl $BOOT_BLOCK_COPY / 4, %ecx
	cld
	rep movsl
	xorl %eax, %eax			/* RAM may not be zero after a reset */
	movl $(BOOT_TABLES + 0x1000 + PTE_DIR), BOOT_TABLES
	movl %eax, BOOT_TABLES + 4
	movl $(BOOT_TABLES + 0x2000 + PTE_DIR), BOOT_TABLES + 0x1000
	movl %eax, BOOT_TABLES + 0x1004
	movl $(BOOT_TABLES + 0x3000 + PTE_DIR), BOOT_TABLES + 0x1018
	movl %eax, BOOT_TABLES + 0x101c
	movl $PTE_LARGE, BOOT_TABLES + 0x2000
	movl %eax, BOOT_TABLES + 0x2004
	movl $(0xffe00000 + PTE_LARGE), BOOT_TABLES + 0x3ff8
	movl %eax, BOOT_TABLES + 0x3ffc
	movl $BOOT_TABLES, %eax
	movl %eax, %cr3
	movl $BOOT_CR4, %eax
	movl %eax, %cr4
	movl $MSR_EFER, %ecx
	movl $EFER_LME, %eax
	xorl %edx, %edx
	wrmsr
	movl $MSR_MTRR_DEFAULT, %ecx	/* write-back; else uncached with a passthrough device */
	movl $MTRR_WRITE_BACK, %eax
	wrmsr
	lgdt BOOT_GDT_POINTER
	movl $BOOT_CR0, %eax
	movl %eax, %cr0
	ljmp $SEL_CODE0, $bios_long

	.code64
bios_long:
	lidt BOOT_IDT_POINTER
	movl $SEL_TSS, %eax
	ltr %ax
	movl $bios_frame, %esp
	iretq

/* Ring 3, in the ROM. The boot block is in use and stays as it is. */
bios_user:
	movl $(payload + BOOT_BLOCK_COPY), %esi
	movl $(BOOT_BLOCK + BOOT_BLOCK_COPY), %edi
	movl $(payload_end - payload - BOOT_BLOCK_COPY), %ecx
	rep movsb
	xorl %ebx, %ebx
	movl $USER_START, %eax
	jmp *%rax

	.balign 16
bios_gdt:
	.quad 0
	.quad 0
	.quad 0x00cf93000000ffff
	.quad 0
	.quad 0
	.quad 0x00cf9b000000ffff
bios_gdt_pointer:
	.word bios_gdt_pointer - bios_gdt - 1
	.long bios_gdt
	.balign 8
bios_frame:
	.quad bios_user, SEL_CODE3, 2, 0, SEL_DATA3

	.section .reset, "ax", @progbits
	.code16
	.byte 0xe9			/* near jump, within the last 64 KiB */
	.word bios_real - (. + 2)
	.balign 16, 0

	.section .note.GNU-stack, "", @progbits
