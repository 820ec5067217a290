/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: resource descriptors, the byte strings inside _CRS and _PRS buffers. The
 * buffer's size stands in front of it and is known only at the end; two bytes are kept for it.
 * Source: ACPI 6.5, 6.4
 */
#include "machine/q35/aml.h"

#include "base/bytes.h"

#include <string.h>

/**
 * aml_resources() - Open a resource template
 * @a:		Tables
 */
void aml_resources(struct aml *a)
{
	aml_byte(a, 0x11);
	a->open[a->depth++] = a->len;
	aml_byte(a, 0x0b);
	aml_le(a, 0, 2);
}

/**
 * aml_resources_end() - Close it
 * @a:		Tables
 */
void aml_resources_end(struct aml *a)
{
	size_t at = a->open[a->depth - 1], size;

	aml_le(a, 0x0079, 2); /* end tag, checksum 0: not checked */
	size = a->len - at - 3;
	if (size <= UINT8_MAX) { /* the shortest form, as of every number */
		memmove(a->buf + at + 2, a->buf + at + 3, size);
		a->len--;
		a->buf[at] = 0x0a;
		a->buf[at + 1] = (uint8_t)size;
	} else {
		store_le16(a->buf + at + 1, (uint16_t)size);
	}
	aml_end(a);
}

/**
 * aml_res_io() - Ports, 16-bit decode
 * @a:		Tables
 * @base:	First port
 * @align:	Alignment
 * @len:	How many
 */
void aml_res_io(struct aml *a, uint16_t base, uint8_t align, uint8_t len)
{
	aml_byte(a, 0x47);
	aml_byte(a, 1);
	aml_le(a, base, 2);
	aml_le(a, base, 2);
	aml_byte(a, align);
	aml_byte(a, len);
}

/**
 * aml_res_irq() - An ISA interrupt, edge, active high
 * @a:		Tables
 * @irq:	0 to 15
 */
void aml_res_irq(struct aml *a, unsigned int irq)
{
	aml_byte(a, 0x22);
	aml_le(a, 1ULL << irq, 2);
}

/**
 * aml_res_gsi() - Choices of a level-triggered, active-high, shared interrupt
 * @a:		Tables
 * @gsis:	Global system interrupts
 * @n:		How many
 */
void aml_res_gsi(struct aml *a, const uint32_t *gsis, unsigned int n)
{
	aml_byte(a, 0x89);
	aml_le(a, 2 + 4 * n, 2);
	aml_byte(a, 0x09); /* consumer, level, active high, shared */
	aml_byte(a, (uint8_t)n);
	for (unsigned int i = 0; i < n; i++)
		aml_le(a, gsis[i], 4);
}

/**
 * aml_res_memory32() - A fixed range of memory
 * @a:		Tables
 * @base:	First address
 * @len:	Bytes
 * @writable:	Or read-only
 */
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len, bool writable)
{
	aml_byte(a, 0x86);
	aml_le(a, 9, 2);
	aml_byte(a, writable);
	aml_le(a, base, 4);
	aml_le(a, len, 4);
}

/* An address window: descriptor, type (0 memory, 1 I/O, 2 bus), type flags, numbers of @bytes each.
 */
static void window(struct aml *a, uint8_t tag, unsigned int bytes, uint8_t type, uint8_t flags,
		   uint64_t first, uint64_t last)
{
	aml_byte(a, tag);
	aml_le(a, 3 + 5 * bytes, 2);
	aml_byte(a, type);
	aml_byte(a, 0x0c); /* producer, positive decode, both ends fixed */
	aml_byte(a, flags);
	aml_le(a, 0, bytes);
	aml_le(a, first, bytes);
	aml_le(a, last, bytes);
	aml_le(a, 0, bytes);
	aml_le(a, last - first + 1, bytes);
}

/**
 * aml_res_bus() - Bus numbers behind a bridge
 * @a:		Tables
 * @first:	First
 * @last:	Last
 */
void aml_res_bus(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 0x88, 2, 2, 0, first, last);
}

/**
 * aml_res_io_window() - Ports that a bridge passes on
 * @a:		Tables
 * @first:	First
 * @last:	Last
 */
void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 0x88, 2, 1, 3, first, last);
}

/**
 * aml_res_memory_window() - Memory that a bridge passes on, read-write
 * @a:		Tables
 * @first:	First address
 * @last:	Last address
 * @wide:	64-bit descriptor
 * @cacheable:	Or not
 */
void aml_res_memory_window(struct aml *a, uint64_t first, uint64_t last, bool wide, bool cacheable)
{
	window(a, wide ? 0x8a : 0x87, wide ? 8 : 4, 0, cacheable ? 3 : 1, first, last);
}
