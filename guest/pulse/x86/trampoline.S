/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the other vCPUs start, in real mode: straight to 64-bit mode. Copied to TRAMPOLINE_BASE
 * by cpu.c, which fills in the page tables' address first.
 */
#include "layout.h"

	.section .rodata.trampoline, "a", @progbits
	.code16
	.globl trampoline, trampoline_end, trampoline_cr3
trampoline:
	lgdtl %cs:(ap_gdt_pointer - trampoline)
	movl %cs:(trampoline_cr3 - trampoline), %eax
	movl %eax, %cr3
	movl $BOOT_CR4, %eax
	movl %eax, %cr4
	movl $MSR_EFER, %ecx
	movl $EFER_LME, %eax
	xorl %edx, %edx
	wrmsr
	movl $BOOT_CR0, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE0, $ap_long_entry
	.balign 4
trampoline_cr3:
	.long 0
ap_gdt_pointer:
	.word (GDT_FIXED + 2 * MAX_CPUS) * 8 - 1
	.long gdt
trampoline_end:

	.section .note.GNU-stack, "", @progbits
