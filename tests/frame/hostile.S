/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ROM that does anything: random reads and writes of ports, memory-mapped registers,
 * configuration space and memory, and now and then what a driver does first, so that rings and
 * requests are reached. PCI functions are looked for on bus 0, and on the bus behind a bridge. Each
 * 1024 deeds are told by a dot on port 0x402. What it does follows from SEED and from how
 * often it was reset, which is kept in CMOS.
 *
 * %ebp is the state of the random numbers, %eax the last one.
 */
	.set	ROM, 0xffff0000
	.set	ECAM, 0xb0000000
	.set	FUNCTIONS, 0x6000	/* their configuration spaces, how many at -4 */
	.set	FUNCTIONS_MAX, 64
	.set	BARS, 0xe0000000	/* of 1 MiB each function */
	.set	PORTS, 0xc000		/* of 256 each */
	.set	RINGS, 0x10000		/* four pages each function, a queue each */

	.code16
	.globl	_start
_start:	cli
	lgdtl	%cs:gdtr
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$8, $(ROM + flat)

	.code32
	.macro	pci devfn, reg, value
	mov	$(0x80000000 + (\devfn << 8) + \reg), %eax
	mov	$0xcf8, %dx
	out	%eax, %dx
	mov	$0xcfc, %dx
	mov	$\value, %eax
	out	%eax, %dx
	.endm

flat:	mov	$16, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x8000, %esp
	mov	$0x50, %al		/* how often */
	out	%al, $0x70
	in	$0x71, %al
	inc	%al
	movzbl	%al, %ebp
	out	%al, $0x71
	imul	$0x9e3779b1, %ebp, %ebp
	xor	ROM + seed, %ebp
	jnz	1f
	inc	%ebp
1:	pci	0, 0x64, 0		/* ECAM */
	pci	0, 0x60, ECAM + 1
	pci	0xf8, 0x40, 0x601	/* power management */
	pci	0xf8, 0x44, 0x80
	movl	$0, FUNCTIONS - 4
	pci	0x10, 0x18, 0x010100	/* the port at 2.0 leads to bus 1 */
	mov	$ECAM, %edi
	call	look
	mov	$(ECAM + 0x100000), %edi
	call	look
	mov	$0x400, %esi

again:	call	random
	and	$31, %eax
	call	*ROM + deeds(,%eax,4)
	dec	%esi
	jnz	again
	mov	$0x400, %esi
	mov	$'.', %al
	mov	$0x402, %dx
	out	%al, %dx
	jmp	again

random:	mov	%ebp, %eax
	shl	$13, %eax
	xor	%eax, %ebp
	mov	%ebp, %eax
	shr	$17, %eax
	xor	%eax, %ebp
	mov	%ebp, %eax
	shl	$5, %eax
	xor	%eax, %ebp
	mov	%ebp, %eax
	ret

	/* Notes the functions of the bus at %edi and gives them addresses. */
look:	mov	$256, %ecx
2:	cmpw	$0xffff, (%edi)
	je	3f
	mov	FUNCTIONS - 4, %ebx
	cmp	$FUNCTIONS_MAX, %ebx
	jae	3f
	mov	%edi, FUNCTIONS(,%ebx,4)
	incl	FUNCTIONS - 4
	call	place
3:	add	$0x1000, %edi
	dec	%ecx
	jnz	2b
	ret

	/* BARs of function %ebx at %edi; windows of a bridge over all of them. */
place:	mov	%ebx, %eax
	shl	$20, %eax
	add	$BARS, %eax
	testb	$1, 14(%edi)
	jnz	4f
	mov	%eax, 0x14(%edi)
	add	$0x10000, %eax
	mov	%eax, 0x20(%edi)
	movl	$0, 0x24(%edi)
	add	$0x70000, %eax
	inc	%eax
	mov	%eax, 0x30(%edi)
	mov	%ebx, %eax
	shl	$8, %eax
	add	$PORTS + 1, %eax
	mov	%eax, 0x10(%edi)
	jmp	5f
4:	movl	$0xf000c000, 0x1c(%edi)
	movw	$0xf0c0, 0x1c(%edi)
	movl	$0xeff0e000, 0x20(%edi)
5:	movw	$7, 4(%edi)
	ret

	/* A function's configuration space: %edi, and its rings: %ebx; without one, the host
	 * bridge's. */
function:
	mov	$ECAM, %edi
	mov	$RINGS, %ebx
	mov	FUNCTIONS - 4, %ecx
	jecxz	6f
	call	random
	xor	%edx, %edx
	div	%ecx
	mov	FUNCTIONS(,%edx,4), %edi
	and	$15, %edx
	shl	$14, %edx
	add	%edx, %ebx
6:	ret

	/* The modern registers of a function: %edi. */
registers:
	call	function
	mov	0x20(%edi), %edi
	and	$~15, %edi
	ret

	/* A port: %dx. */
port:	call	random
	mov	%eax, %ecx
	and	$31, %eax
	movzwl	ROM + ports(,%eax,2), %edx
	shr	$5, %ecx
	and	$31, %ecx
	add	%ecx, %edx
	ret

deed_out:
	call	port
	push	%edx
	call	random
	pop	%edx
	mov	%eax, %ecx
	shr	$30, %ecx
	jz	7f
	dec	%ecx
	jz	8f
	out	%al, %dx
	ret
7:	out	%eax, %dx
	ret
8:	out	%ax, %dx
	ret

deed_in:
	call	port
	test	$0x400, %ebp
	jz	9f
	in	%dx, %al
	ret
9:	in	%dx, %eax
	ret

	/* The same byte, a page of it. */
deed_string:
	call	port
	mov	$64, %ecx
	push	%esi
	mov	$RINGS, %esi
	rep outsb
	pop	%esi
	ret

	/* An address that isn't memory, or is: %edi. */
address:
	call	random
	mov	%eax, %ecx
	and	$15, %eax
	mov	ROM + bases(,%eax,4), %edi
	shr	$4, %ecx
	and	$0xffff, %ecx
	add	%ecx, %edi
	ret

deed_write:
	call	address
	call	random
	test	$3, %ah
	jz	10f
	and	$~3, %edi
	mov	%eax, (%edi)
	ret
10:	mov	%al, (%edi)
	ret

deed_read:
	call	address
	mov	(%edi), %eax
	ret

deed_config:
	call	function
	call	random
	mov	%eax, %ecx
	and	$0xfc, %ecx
	test	$0x7000, %eax
	jnz	11f
	and	$0xffc, %eax
	mov	%eax, %ecx
11:	cmp	$4, %ecx		/* the command register mostly stays */
	jne	12f
	test	$0x38000, %eax
	jz	12f
	ret
12:	add	%ecx, %edi
	call	random
	mov	%eax, (%edi)
	ret

	/* As the firmware left it, so that not all is out of reach for ever. */
deed_place:
	mov	FUNCTIONS - 4, %ecx
	jecxz	13f
	call	random
	xor	%edx, %edx
	div	%ecx
	mov	%edx, %ebx
	mov	FUNCTIONS(,%ebx,4), %edi
	call	place
13:	ret

deed_registers:
	call	registers
	call	random
	mov	%eax, %ecx
	and	$0x3fc, %eax
	test	$0x10000, %ecx
	jz	14f
	and	$0x3c, %eax
14:	test	$0x60000, %ecx
	jnz	15f
	add	$0x2000, %eax
15:	add	%eax, %edi
	call	random
	mov	%eax, (%edi)
	ret

	/* What a driver does: reset, features, a queue or four, ready. */
deed_driver:
	call	registers
	movb	$0, 20(%edi)
	movb	$3, 20(%edi)
	movl	$0, 8(%edi)
	call	random
	or	$0x10000000, %eax	/* indirect descriptors */
	mov	%eax, 12(%edi)
	movl	$1, 8(%edi)
	call	random
	and	$0x104, %eax		/* packed rings, resets of queues: or not */
	or	$1, %eax
	mov	%eax, 12(%edi)
	movb	$11, 20(%edi)
	xor	%ecx, %ecx
16:	mov	%cx, 22(%edi)
	movw	$8, 24(%edi)
	movw	$0, 26(%edi)
	mov	%ebx, 32(%edi)
	movl	$0, 36(%edi)
	lea	0x400(%ebx), %eax
	movl	$0, (%eax)
	mov	%eax, 40(%edi)
	movl	$0, 44(%edi)
	add	$0x400, %eax
	movl	$0, (%eax)
	mov	%eax, 48(%edi)
	movl	$0, 52(%edi)
	movw	$1, 28(%edi)
	add	$0x1000, %ebx
	inc	%ecx
	cmp	$4, %ecx
	jb	16b
	movb	$15, 20(%edi)
	ret

	/* A page of a function's rings: %ebx, its number: %ecx; its registers: %edi. */
queue:	call	registers
	call	random
	mov	%eax, %ecx
	and	$3, %ecx
	mov	%ecx, %edx
	shl	$12, %edx
	add	%edx, %ebx
	ret

	/* A descriptor over memory that is there, mostly. */
deed_descriptor:
	call	queue
	shr	$2, %eax
	and	$7, %eax
	shl	$4, %eax
	lea	(%ebx,%eax), %edi
	call	random
	mov	%eax, %ecx
	and	$0xffff0, %eax
	test	$0x1f00000, %ecx
	jnz	17f
	mov	%ecx, %eax		/* anywhere */
17:	mov	%eax, (%edi)
	movl	$0, 4(%edi)
	call	random
	mov	%eax, %ecx
	and	$0x3ff, %eax
	test	$0x3c00, %ecx
	jnz	18f
	mov	%ecx, %eax		/* of any length */
18:	mov	%eax, 8(%edi)
	call	random
	and	$0x00078087, %eax
	mov	%eax, 12(%edi)
	ret

	/* One more is available, or some. */
deed_avail:
	call	queue
	movzwl	0x402(%ebx), %edx
	and	$7, %edx
	shr	$8, %eax
	and	$7, %eax
	mov	%ax, 0x404(%ebx,%edx,2)
	incw	0x402(%ebx)
	mov	%cx, 0x3000(%edi,%ecx,4)
	ret

deed_kick:
	call	queue
	mov	%cx, 0x3000(%edi,%ecx,4)
	ret

	/* Anything in rings and requests; what counts available chains mostly stays. */
deed_memory:
	call	random
	mov	%eax, %edi
	and	$0x3fffc, %edi
	mov	%eax, %ecx
	and	$0xffc, %ecx
	cmp	$0x400, %ecx
	jne	19f
	test	$0x1f00000, %eax
	jnz	20f
19:	call	random
	mov	%eax, RINGS(%edi)
20:	ret

	.balign	4
deeds:	.long	ROM + deed_out, ROM + deed_out, ROM + deed_out, ROM + deed_out
	.long	ROM + deed_in, ROM + deed_in, ROM + deed_string, ROM + deed_write
	.long	ROM + deed_write, ROM + deed_write, ROM + deed_write, ROM + deed_read
	.long	ROM + deed_read, ROM + deed_config, ROM + deed_config, ROM + deed_place
	.long	ROM + deed_place, ROM + deed_registers, ROM + deed_registers, ROM + deed_driver
	.long	ROM + deed_driver, ROM + deed_driver, ROM + deed_descriptor, ROM + deed_descriptor
	.long	ROM + deed_descriptor, ROM + deed_descriptor, ROM + deed_avail, ROM + deed_avail
	.long	ROM + deed_avail, ROM + deed_kick, ROM + deed_memory, ROM + deed_memory
ports:	.word	0x00, 0x20, 0x40, 0x60, 0x60, 0x70, 0x70, 0x80
	.word	0xa0, 0xb2, 0xc0, 0x2f8, 0x3f8, 0x3f8, 0x4d0, 0x505
	.word	0x510, 0x510, 0x600, 0x620, 0x640, 0x660, 0xa00, 0xcc0
	.word	0xcd8, 0xcf8, 0xcf8, 0x5658, 0xc000, 0xc100, 0xc200, 0xc300
bases:	.long	0xfed00000, 0xfed1c000, 0xfec00000, 0xfee00000
	.long	0xb0000000, 0xb00f8000, 0xb0100000, 0xfeda0000
	.long	0xe0000000, 0xe0100000, 0xe0210000, 0xe0310000
	.long	0xe0410000, 0xa0000, 0xc0000, 0xfffc0000
seed:	.long	SEED
	.balign	8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	.word	. - gdt - 1
	.long	ROM + gdt
