/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Some KVM hosts run only 64-bit ring 3 at full speed and emulate all else, so ring 0 here is as
 * short as it can be: from the PVH entry (32-bit, no paging) about fifteen instructions lead to
 * ring 3, and the page tables, GDT, TSS and IDT they load are built by the assembler. Everything
 * else, page tables for all of memory included, is done in C in ring 3, which may use every I/O
 * port (empty bitmap in the TSS) and sees all of memory and MMIO (user pages).
 *
 * What only ring 0 can do is a handful of leaf routines (call_*). Ring 3 reaches them by ud2
 * with the routine's address in %r10 and CALL_MAGIC in %r11: exceptions from ring 3 are
 * delivered on every host, software interrupts are not. It comes back with %r11 cleared.
 * Interrupts stay off except inside call_halt.
 */
#include "layout.h"

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18		/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_entry

/* Boot page tables: the first GiB, and the firmware form's ROM, below 4 GiB. */
	.section .boot_tables, "aw", @progbits
	.globl boot_pml4
boot_pml4:
	.quad BOOT_TABLES + 0x1000 + PTE_DIR
	.fill 511, 8, 0
	.quad BOOT_TABLES + 0x2000 + PTE_DIR
	.quad 0, 0
	.quad BOOT_TABLES + 0x3000 + PTE_DIR
	.fill 508, 8, 0
	.set page, 0
	.rept 512
	.quad page + PTE_LARGE
	.set page, page + 0x200000
	.endr
	.fill 511, 8, 0
	.quad 0xffe00000 + PTE_LARGE

/* What ring 0 needs first; the firmware form copies BOOT_BLOCK_COPY bytes of it in ring 0. */
	.section .boot_block, "aw", @progbits
	.globl gdt, tss0
boot_block:
tss0:
	.long 0
	.quad stack0_top, 0, 0, 0
	.fill 7, 8, 0
	.quad 0
	.word 0, io_bitmap_offset
	.org BOOT_GDT_POINTER - BOOT_BLOCK
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt
	.org BOOT_IDT_POINTER - BOOT_BLOCK
idt_pointer:
	.word idt_end - idt - 1
	.quad idt
	.balign 16
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 64-bit code, ring 0, accessed */
	.quad 0x00cf93000000ffff	/* data, ring 0 */
	.quad 0x00affb000000ffff	/* 64-bit code, ring 3 */
	.quad 0x00cff3000000ffff	/* data, ring 3 */
	.quad 0x00cf9b000000ffff	/* 32-bit code, ring 0: the firmware form's first steps */
	.word io_bitmap_limit, BOOT_BLOCK & 0xffff
	.byte BOOT_BLOCK >> 16, 0x89, 0, 0
	.quad 0
	.org BOOT_BLOCK_COPY		/* fails when there is more before it */
	.fill (MAX_CPUS - 1) * 2, 8, 0	/* filled in by cpu.c */
gdt_end:
	.balign 8
user_frame:				/* iretq: the boot vCPU's way to ring 3 */
	.quad user_start, SEL_CODE3, 2, user_stack_top, SEL_DATA3
ap_frame:				/* the others: they share it, ring 3 finds its stack */
	.quad ap_user_start, SEL_CODE3, 2, 0, SEL_DATA3

/* The IDT and, right behind it, its handlers: so the assembler knows their offsets. */
	.section .vectors, "awx", @progbits
vectors:
idt:
	.macro gate handler
	.word (VECTORS_BASE & 0xffff) + (\handler - vectors), SEL_CODE0, 0x8e00, VECTORS_BASE >> 16
	.quad 0
	.endm
	.set n, 0
	.rept 34
	.if n == 6
	gate undefined_entry
	.elseif n == 32
	gate timer_entry
	.elseif n == 2 || n == 33
	gate ignore_entry
	.else
	gate (fault_stubs + n * 16)
	.endif
	.set n, n + 1
	.endr
idt_end:

	.balign 16
/* 16 bytes each: push a zero where the CPU pushes no error code, then the number. */
fault_stubs:
	.set n, 0
	.rept 32
	.balign 16
	.if (n == 8) || (n >= 10 && n <= 14) || (n == 17) || (n == 21) || (n == 29) || (n == 30)
	.byte 0x66, 0x90
	.else
	pushq $0
	.endif
	pushq $n
	jmp fault_common
	.set n, n + 1
	.endr

undefined_entry:
	cmpl $CALL_MAGIC, %r11d
	jne fault_stubs + 6 * 16
	xorl %r11d, %r11d		/* a later ud2 that is none must not find it there */
	addq $2, (%rsp)
	jmp *%r10

timer_entry:				/* end of interrupt, for call_halt's timer */
	pushq %rax
	movl $0xfee000b0, %eax
	movl $0, (%rax)
	popq %rax
ignore_entry:
	iretq

/* A fault of our own: hand it to ring 3, which puts it into the report. */
fault_common:
	movq (%rsp), %rdi		/* vector */
	movq 8(%rsp), %rsi		/* error code */
	movq 16(%rsp), %rdx		/* rip */
	movq %cr2, %rcx
	movq $user_fault, 16(%rsp)
	movq $SEL_CODE3, 24(%rsp)
	movq $SEL_DATA3, 48(%rsp)
	andq $-16, 40(%rsp)
	subq $8, 40(%rsp)
	addq $16, %rsp
	iretq

	.globl call_wrmsr, call_cpuid, call_cr3, call_halt
call_wrmsr:				/* %ecx, %edx:%eax */
	wrmsr
	iretq
call_cpuid:				/* %eax, %ecx */
	cpuid
	iretq
call_cr3:				/* %rdi */
	movq %rdi, %cr3
	iretq
call_halt:				/* until the next interrupt */
	sti
	hlt
	cli
	iretq

	.text
	.code32
	.globl pvh_entry
pvh_entry:				/* %ebx: start info */
	movl $BOOT_TABLES, %eax
	movl %eax, %cr3
	movl $BOOT_CR4, %eax
	movl %eax, %cr4
	movl $MSR_EFER, %ecx
	movl $EFER_LME, %eax
	xorl %edx, %edx
	wrmsr
	lgdt gdt_pointer
	movl $BOOT_CR0, %eax
	movl %eax, %cr0
	ljmp $SEL_CODE0, $long_entry

	.code64
long_entry:
	lidt idt_pointer
	movl $SEL_TSS, %eax
	ltr %ax
	movq $user_frame, %rsp
	iretq

	.globl ap_long_entry
ap_long_entry:				/* from the trampoline; takes the next number */
	lidt idt_pointer
	movl $1, %ebx
	lock xaddl %ebx, ap_ticket
	movl %ebx, %eax
	shll $4, %eax
	addl $SEL_TSS, %eax
	ltr %ax
	movq $ap_frame, %rsp
	iretq

	.section .text.start, "ax", @progbits
/* Ring 3 from here; %rbx: start info, or 0. At USER_START. */
user_start:
	movl $user_stack_top, %esp
	movl $__bss_start, %edi
	movl $__bss_end, %ecx
	subl %edi, %ecx
	xorl %eax, %eax
	rep stosb
	movq %rbx, %rdi
	xorl %ebp, %ebp
	call pulse_main
	ud2

	.text
ap_user_start:				/* %rbx: number */
	movq ap_stacks(, %rbx, 8), %rsp
	movq %rbx, %rdi
	xorl %ebp, %ebp
	call ap_main
	ud2

	.section .note.GNU-stack, "", @progbits
