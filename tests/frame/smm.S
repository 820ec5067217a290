/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ROM that lives in system management mode, for 32 MiB of RAM. It says what 0xa0000 and TSEG
 * have, locks SMRAM, and says it again. Then it answers each letter on the first serial port with
 * an SMI: "[xA" comes from the handler, with TSEG's first byte, which counts up, and 0xa0000's;
 * "]-" from outside, where TSEG must not be seen. R moves SMBASE to 0xa0000; H stays in SMM until
 * the next letter.
 */
	.code16
	.set	TSEG, 0x1f00000
	.set	LOW, 0xa0000
	.set	SMBASE, 0x30000
	.set	COM1, 0x3f8

	.macro	pci devfn, reg, value
	mov	$(0x80000000 + (\devfn << 8) + (\reg & ~3)), %eax
	mov	$0xcf8, %dx
	out	%eax, %dx
	mov	$(0xcfc + (\reg & 3)), %dx
	mov	$\value, %al
	out	%al, %dx
	.endm

	.macro	say char
	mov	$\char, %al
	mov	$COM1, %dx
	out	%al, %dx
	.endm

	/* What can't be seen reads as all ones or as zero. */
	.macro	show address
	addr32 mov \address, %al
	lea	-1(%eax), %cx
	cmp	$0xfe, %cl
	jb	1f
	mov	$'-', %al
1:	mov	$COM1, %dx
	out	%al, %dx
	.endm

	.macro	await
2:	mov	$(COM1 + 5), %dx
	in	%dx, %al
	test	$1, %al
	jz	2b
	mov	$COM1, %dx
	in	%dx, %al
	cmp	$'\n', %al
	je	2b
	.endm

	.globl	_start
_start:	lgdtl	%cs:gdtr
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	mov	$0x10, %bx
	mov	%bx, %ds
	and	$0xfe, %al
	mov	%eax, %cr0

	pci	0, 0x9d, 0x4a		/* SMRAM: open, enabled */
	mov	$SMBASE, %edi
	call	copy
	mov	$LOW, %edi
	call	copy
	addr32 movb $'A', LOW
	addr32 movb $'a', TSEG
	show	LOW
	show	TSEG
	pci	0, 0x9e, 0x01		/* ESMRAMC: TSEG of 1 MiB */
	pci	0, 0x9d, 0x1a		/* SMRAM: locked, enabled */
	pci	0, 0x9d, 0x4a		/* too late */
	pci	0, 0x9e, 0x00
	show	LOW
	show	TSEG
	addr32 movb $'!', TSEG

	pci	0xf8, 0x41, 0x06	/* PMBASE 0x600 */
	pci	0xf8, 0x44, 0x80
	mov	$0x630, %dx		/* SMI_EN: global, APMC */
	mov	$0x21, %eax
	out	%eax, %dx
	say	'\n'
again:	await
	out	%al, $0xb2
	say	']'
	show	TSEG
	say	'\n'
	jmp	again

copy:	xor	%esi, %esi
3:	addr32 mov %cs:handler(%esi), %al
	addr32 mov %al, 0x8000(%edi, %esi)
	inc	%esi
	cmp	$(end - handler), %si
	jb	3b
	ret

handler:
	say	'['
	show	TSEG
	addr32 incb TSEG
	show	LOW
	in	$0xb2, %al
	cmp	$'R', %al
	jne	4f
	addr32 movl $LOW, %cs:0xff00	/* the save area's SMBASE, AMD64's layout */
4:	cmp	$'H', %al
	jne	5f
	say	'h'
	say	'\n'
	await
	mov	$COM1, %dx
	out	%al, %dx
5:	rsm
end:

	.balign	8
gdt:	.quad	0, 0, 0x008f93000000ffff
gdtr:	.word	. - gdt - 1
	.long	0xffff0000 + gdt
