/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see aml.h. The length of a term is written when it is closed: its size
 * decides how many bytes it takes. */
#include "machine/q35/aml.h"

#include "base/owned.h"

#include <assert.h>
#include <string.h>

#define EXT 0x5b /* prefix of two-byte operators */

/**
 * aml_destroy() - Free the buffer
 * @a:		Tables
 */
void aml_destroy(struct aml *a)
{
	free(a->buf);
	*a = (struct aml){0};
}

/**
 * aml_bytes() - Append bytes as they are
 * @a:		Tables
 * @bytes:	What
 * @n:		How many
 */
void aml_bytes(struct aml *a, const void *bytes, size_t n)
{
	if (a->len + n > a->room) {
		a->room = MAX(a->room * 2, a->len + n + 4096);
		a->buf = realloc(a->buf, a->room);
		if (!a->buf)
			abort();
	}
	memcpy(a->buf + a->len, bytes, n);
	a->len += n;
}

/**
 * aml_byte() - Append one byte
 * @a:		Tables
 * @byte:	What
 */
void aml_byte(struct aml *a, uint8_t byte)
{
	aml_bytes(a, &byte, 1);
}

/**
 * aml_le() - Append a little-endian number
 * @a:		Tables
 * @v:		What
 * @bytes:	1 to 8
 */
void aml_le(struct aml *a, uint64_t v, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		aml_byte(a, (uint8_t)(v >> (8 * i)));
}

/**
 * aml_op() - Append an operator, local or argument
 * @a:		Tables
 * @op:		One byte
 */
void aml_op(struct aml *a, enum aml_op op)
{
	aml_byte(a, (uint8_t)op);
}

/**
 * aml_int() - Append a number in its shortest form
 * @a:		Tables
 * @v:		What
 */
void aml_int(struct aml *a, uint64_t v)
{
	static const struct {
		uint64_t max;
		uint8_t prefix, bytes;
	} forms[] = {
		{0xff, 0x0a, 1}, {0xffff, 0x0b, 2}, {0xffffffff, 0x0c, 4}, {UINT64_MAX, 0x0e, 8}};
	size_t i = 0;

	if (v <= 1) {
		aml_byte(a, (uint8_t)v);
		return;
	}
	while (v > forms[i].max)
		i++;
	aml_byte(a, forms[i].prefix);
	aml_le(a, v, forms[i].bytes);
}

/**
 * aml_str() - Append a string
 * @a:		Tables
 * @s:		ASCII
 */
void aml_str(struct aml *a, const char *s)
{
	aml_byte(a, 0x0d);
	aml_bytes(a, s, strlen(s) + 1);
}

static const char *segment(struct aml *a, const char *at)
{
	char seg[4] = {'_', '_', '_', '_'};
	size_t n = strcspn(at, ".");

	assert(n >= 1 && n <= 4);
	memcpy(seg, at, n);
	aml_bytes(a, seg, sizeof(seg));
	return at[n] ? at + n + 1 : at + n;
}

/**
 * aml_path() - Append a name
 * @a:		Tables
 * @path:	As in ASL
 */
void aml_path(struct aml *a, const char *path)
{
	size_t segments = 0;

	while (*path == '\\' || *path == '^')
		aml_byte(a, (uint8_t)*path++);
	for (const char *p = path; *p; p++)
		segments += p == path || p[-1] == '.';
	if (segments == 0)
		aml_byte(a, 0);
	if (segments == 2)
		aml_byte(a, 0x2e);
	if (segments > 2) {
		aml_byte(a, 0x2f);
		aml_byte(a, (uint8_t)segments);
	}
	while (*path)
		path = segment(a, path);
}

/**
 * aml_name() - Begin a named value, which follows
 * @a:		Tables
 * @path:	Its name
 */
void aml_name(struct aml *a, const char *path)
{
	aml_byte(a, 0x08);
	aml_path(a, path);
}

/**
 * aml_name_int() - A named number
 * @a:		Tables
 * @path:	Its name
 * @v:		Its value
 */
void aml_name_int(struct aml *a, const char *path, uint64_t v)
{
	aml_name(a, path);
	aml_int(a, v);
}

/**
 * aml_name_str() - A named string
 * @a:		Tables
 * @path:	Its name
 * @s:		Its value
 */
void aml_name_str(struct aml *a, const char *path, const char *s)
{
	aml_name(a, path);
	aml_str(a, s);
}

static unsigned int hex(char c)
{
	return c <= '9' ? (unsigned int)(c - '0') : (unsigned int)((c | 0x20) - 'a' + 10);
}

/**
 * aml_name_eisa() - A named compressed identifier
 * @a:		Tables
 * @path:	Its name ("_HID")
 * @id:		Three letters, four hex digits
 *
 * Source: ACPI 6.5, 19.6.36
 */
void aml_name_eisa(struct aml *a, const char *path, const char *id)
{
	unsigned int letters = (unsigned int)((id[0] - 0x40) << 10 | (id[1] - 0x40) << 5 |
					      (id[2] - 0x40));

	aml_name(a, path);
	aml_byte(a, 0x0c);
	aml_byte(a, (uint8_t)(letters >> 8));
	aml_byte(a, (uint8_t)letters);
	aml_byte(a, (uint8_t)(hex(id[3]) << 4 | hex(id[4])));
	aml_byte(a, (uint8_t)(hex(id[5]) << 4 | hex(id[6])));
}

/**
 * aml_buffer() - A constant buffer
 * @a:		Tables
 * @bytes:	Its contents
 * @n:		How many
 */
void aml_buffer(struct aml *a, const uint8_t *bytes, size_t n)
{
	aml_byte(a, 0x11);
	a->open[a->depth++] = a->len;
	aml_int(a, n);
	aml_bytes(a, bytes, n);
	aml_end(a);
}

/**
 * aml_uuid() - A UUID in the mixed-endian order of ToUUID
 * @a:		Tables
 * @uuid:	36 characters
 */
void aml_uuid(struct aml *a, const char *uuid)
{
	static const uint8_t order[16] = {6,  4,  2,  0,  11, 9,  16, 14,
					  19, 21, 24, 26, 28, 30, 32, 34};
	uint8_t bytes[16];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(hex(uuid[order[i]]) << 4 | hex(uuid[order[i] + 1]));
	aml_buffer(a, bytes, sizeof(bytes));
}

static void open_term(struct aml *a)
{
	assert(a->depth < ARRAY_SIZE(a->open));
	a->open[a->depth++] = a->len;
}

/**
 * aml_end() - Close the term opened last: its length goes in front
 * @a:		Tables
 *
 * Source: ACPI 6.5, 20.2.4: the length counts its own bytes
 */
void aml_end(struct aml *a)
{
	size_t at = a->open[--a->depth], len = a->len - at;
	unsigned int more = len + 1 <= 0x3f ? 0 : len + 2 <= 0xfff ? 1 : len + 3 <= 0xfffff ? 2 : 3;
	uint8_t prefix[4];

	len += more + 1;
	prefix[0] = more ? (uint8_t)(more << 6 | (len & 0xf)) : (uint8_t)len;
	for (unsigned int i = 0; i < more; i++)
		prefix[1 + i] = (uint8_t)(len >> (4 + 8 * i));
	aml_bytes(a, prefix, more + 1);
	memmove(a->buf + at + more + 1, a->buf + at, a->len - at - more - 1);
	memcpy(a->buf + at, prefix, more + 1);
}

/**
 * aml_scope() - Open a scope
 * @a:		Tables
 * @path:	Its name
 */
void aml_scope(struct aml *a, const char *path)
{
	aml_byte(a, 0x10);
	open_term(a);
	aml_path(a, path);
}

static void open_ext(struct aml *a, uint8_t op, const char *path)
{
	aml_byte(a, EXT);
	aml_byte(a, op);
	open_term(a);
	aml_path(a, path);
}

/**
 * aml_device() - Open a device
 * @a:		Tables
 * @path:	Its name
 */
void aml_device(struct aml *a, const char *path)
{
	open_ext(a, 0x82, path);
}

/**
 * aml_processor() - Open a processor
 * @a:		Tables
 * @path:	Its name
 * @id:		ACPI processor number
 */
void aml_processor(struct aml *a, const char *path, uint8_t id)
{
	open_ext(a, 0x83, path);
	aml_byte(a, id);
	aml_le(a, 0, 5);
}

/**
 * aml_method() - Open a method
 * @a:		Tables
 * @path:	Its name
 * @args:	0 to 7
 * @serialized:	Whether it runs one at a time
 */
void aml_method(struct aml *a, const char *path, unsigned int args, bool serialized)
{
	aml_byte(a, 0x14);
	open_term(a);
	aml_path(a, path);
	aml_byte(a, (uint8_t)(args | (serialized ? 8 : 0)));
}

/**
 * aml_if() - Open a condition; the predicate follows, then what it guards
 * @a:		Tables
 */
void aml_if(struct aml *a)
{
	aml_byte(a, 0xa0);
	open_term(a);
}

/**
 * aml_else() - Open the other branch, right behind a closed aml_if()
 * @a:		Tables
 */
void aml_else(struct aml *a)
{
	aml_byte(a, 0xa1);
	open_term(a);
}

/**
 * aml_while() - Open a loop; the predicate follows, then the body
 * @a:		Tables
 */
void aml_while(struct aml *a)
{
	aml_byte(a, 0xa2);
	open_term(a);
}

/**
 * aml_package() - Open a package; its elements follow
 * @a:		Tables
 * @elements:	How many, at most 255
 */
void aml_package(struct aml *a, unsigned int elements)
{
	aml_byte(a, 0x12);
	open_term(a);
	aml_byte(a, (uint8_t)elements);
}

/**
 * aml_field() - Open the fields of a region
 * @a:		Tables
 * @region:	Its name
 * @flags:	Access size, lock, update rule
 */
void aml_field(struct aml *a, const char *region, uint8_t flags)
{
	open_ext(a, 0x81, region);
	aml_byte(a, flags);
}

/**
 * aml_field_bits() - One field
 * @a:		Tables
 * @name:	Four characters; NULL: bits that are skipped
 * @bits:	Up to 63, or a multiple that fits a length
 */
void aml_field_bits(struct aml *a, const char *name, unsigned int bits)
{
	if (name)
		segment(a, name);
	else
		aml_byte(a, 0);
	if (bits <= 0x3f) {
		aml_byte(a, (uint8_t)bits);
		return;
	}
	aml_byte(a, (uint8_t)(0x40 | (bits & 0xf)));
	aml_byte(a, (uint8_t)(bits >> 4));
}

/**
 * aml_region() - An operation region
 * @a:		Tables
 * @name:	Its name
 * @space:	Where it lies
 * @offset:	First address
 * @len:	Bytes
 */
void aml_region(struct aml *a, const char *name, enum aml_region space, uint64_t offset,
		uint64_t len)
{
	aml_byte(a, EXT);
	aml_byte(a, 0x80);
	aml_path(a, name);
	aml_byte(a, (uint8_t)space);
	aml_int(a, offset);
	aml_int(a, len);
}

/**
 * aml_mutex() - A mutex of sync level 0
 * @a:		Tables
 * @name:	Its name
 */
void aml_mutex(struct aml *a, const char *name)
{
	aml_byte(a, EXT);
	aml_byte(a, 0x01);
	aml_path(a, name);
	aml_byte(a, 0);
}

/**
 * aml_acquire() - Take a mutex, waiting for ever
 * @a:		Tables
 * @mutex:	Its name
 */
void aml_acquire(struct aml *a, const char *mutex)
{
	aml_byte(a, EXT);
	aml_byte(a, 0x23);
	aml_path(a, mutex);
	aml_le(a, 0xffff, 2);
}

/**
 * aml_release() - Give a mutex back
 * @a:		Tables
 * @mutex:	Its name
 */
void aml_release(struct aml *a, const char *mutex)
{
	aml_byte(a, EXT);
	aml_byte(a, 0x27);
	aml_path(a, mutex);
}

/**
 * aml_debug() - The debug object, as a target
 * @a:		Tables
 */
void aml_debug(struct aml *a)
{
	aml_byte(a, EXT);
	aml_byte(a, 0x31);
}

/**
 * aml_return_int() - Return a number
 * @a:		Tables
 * @v:		Which
 */
void aml_return_int(struct aml *a, uint64_t v)
{
	aml_op(a, AML_RETURN);
	aml_int(a, v);
}
