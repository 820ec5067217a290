/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the file is mapped and read through a cursor that latches the first failure,
 * so that code which reads many small things looks at the end of a loop. Everything that is read
 * becomes a JSON object with its offset, which is what --json prints and what the text is made of.
 */
#include "cli/inspect/cursor.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/**
 * cursor_fail() - Latch a failure
 * @c:		Cursor
 * @fmt:	What is wrong; the byte is put in front
 */
void cursor_fail(struct cursor *c, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (c->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(c->e, EINVAL, "byte %zu: %s", c->at, text);
	c->failed = true;
}

/**
 * cursor_take() - Read bytes
 * @c:		Cursor
 * @n:		How many
 * @what:	For the message if they aren't there
 *
 * Return: them, or NULL
 */
const uint8_t *cursor_take(struct cursor *c, size_t n, const char *what)
{
	if (!c->failed && c->end - c->at < n)
		cursor_fail(c, "%s is cut short: %zu bytes expected, %zu there", what, n,
			    c->end - c->at);
	if (c->failed)
		return NULL;
	c->at += n;
	return c->data + c->at - n;
}

/**
 * cursor_number() - Read a big-endian number
 * @c:		Cursor
 * @n:		Bytes, at most 8
 * @what:	For the message if they aren't there
 */
uint64_t cursor_number(struct cursor *c, unsigned int n, const char *what)
{
	const uint8_t *bytes = cursor_take(c, n, what);
	uint64_t v = 0;

	for (; bytes && n; n--)
		v = v << 8 | *bytes++;
	return v;
}

/**
 * cursor_text() - Read a name: its length in a byte, then its bytes
 * @c:		Cursor
 * @text:	Set; empty on failure
 * @what:	For the message if it isn't there, or is no printable ASCII
 */
void cursor_text(struct cursor *c, char text[256], const char *what)
{
	size_t n = cursor_number(c, 1, what), i;
	const uint8_t *bytes = cursor_take(c, n, what);

	text[0] = '\0';
	for (i = 0; bytes && i < n; i++)
		if (bytes[i] < 0x20 || bytes[i] > 0x7e) {
			cursor_fail(c, "%s is no name", what);
			return;
		}
	if (!bytes)
		return;
	memcpy(text, bytes, n);
	text[n] = '\0';
}

/**
 * cursor_at() - Is this the next byte?
 * @c:		Cursor
 * @byte:	Value
 */
bool cursor_at(const struct cursor *c, uint8_t byte)
{
	return !c->failed && c->at < c->end && c->data[c->at] == byte;
}

/**
 * piece_new() - Begin a piece of the stream
 * @name:	Its name
 * @type:	Its wire type
 * @offset:	In the file
 *
 * Return: object, the caller's reference
 */
json_t *piece_new(const char *name, const char *type, size_t offset)
{
	return json_pack("{s:s, s:s, s:I, s:i}", "name", name, "type", type, "offset",
			 (json_int_t)offset, "size", 0);
}

/**
 * piece_end() - Set a piece's size, and forget its list of fields if it stayed empty
 * @piece:	Begun
 * @c:		Stands behind it
 */
void piece_end(json_t *piece, const struct cursor *c)
{
	json_int_t offset = json_integer_value(json_object_get(piece, "offset"));

	json_object_set_new(piece, "size", json_integer((json_int_t)c->at - offset));
	if (json_array_size(json_object_get(piece, "fields")) == 0)
		json_object_del(piece, "fields");
}

/**
 * piece_inner() - The list of what is inside a piece
 * @piece:	Piece
 *
 * Return: array, borrowed; made if there was none
 */
json_t *piece_inner(json_t *piece)
{
	json_t *fields = json_object_get(piece, "fields");

	if (!fields) {
		fields = json_array();
		json_object_set_new(piece, "fields", fields);
	}
	return fields;
}

/**
 * piece_number() - A number for JSON
 * @v:	Any
 *
 * Return: integer, or above 2^63-1, which JSON readers can't be trusted with, a string "0x..."
 */
json_t *piece_number(uint64_t v)
{
	return v <= INT64_MAX ? json_integer((json_int_t)v)
			      : json_sprintf("0x%llx", (unsigned long long)v);
}

static json_t *hex(const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * n + 1);
	json_t *j;
	size_t i;

	if (!text)
		abort();
	for (i = 0; i < n; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	j = json_stringn(text, 2 * n);
	free(text);
	return j;
}

/* Bytes of a number type; 0 if it isn't one. */
static unsigned int number_bytes(const char *type, bool *is_signed)
{
	static const struct {
		const char *type;
		unsigned int bytes;
		bool is_signed;
	} numbers[] = {{"uint8", 1, false},  {"uint16", 2, false}, {"uint32", 4, false},
		       {"uint64", 8, false}, {"int8", 1, true},    {"int16", 2, true},
		       {"int32", 4, true},   {"int64", 8, true},   {"bool", 1, false},
		       {"timer", 8, true}};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!strcmp(numbers[i].type, type)) {
			*is_signed = numbers[i].is_signed;
			return numbers[i].bytes;
		}
	return 0;
}

static json_t *read_value(struct cursor *c, const char *name, const char *type, size_t n)
{
	bool is_signed = false;
	unsigned int bytes = number_bytes(type, &is_signed);
	const uint8_t *raw;
	uint64_t v;

	if (!bytes || (n && n != bytes)) {
		raw = cursor_take(c, n, name);
		return raw ? hex(raw, n) : NULL;
	}
	v = cursor_number(c, bytes, name);
	if (!strcmp(type, "bool")) {
		if (v > 1)
			cursor_fail(c, "%s is %u, neither 0 nor 1", name, (unsigned int)v);
		return json_boolean(v == 1);
	}
	if (is_signed) /* the sign bit to the top and back again */
		return json_integer((int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes));
	return piece_number(v);
}

/**
 * piece_read() - Read a field
 * @c:		Cursor
 * @into:	List that gets the piece
 * @name:	Its name
 * @type:	Its wire type; what isn't a number is shown as bytes
 * @n:		Its bytes; of a number it may be 0
 *
 * Return: the piece, borrowed
 */
json_t *piece_read(struct cursor *c, json_t *into, const char *name, const char *type, size_t n)
{
	json_t *piece = piece_new(name, type, c->at), *value = read_value(c, name, type, n);

	piece_end(piece, c);
	if (value)
		json_object_set_new(piece, "value", value);
	json_array_append_new(into, piece);
	return piece;
}

/**
 * piece_subsection() - Read the head of a subsection
 * @c:		Cursor; stands at its mark
 * @into:	List that gets the piece
 *
 * Return: the piece, borrowed; its value is the version, and piece_end() is the caller's to call
 */
json_t *piece_subsection(struct cursor *c, json_t *into)
{
	json_t *piece = piece_new("", "subsection", c->at);
	char name[256];

	cursor_take(c, 1, "a subsection");
	cursor_text(c, name, "a subsection's name");
	json_object_set_new(piece, "name", json_string(name));
	json_object_set_new(
		piece, "value",
		json_integer((json_int_t)cursor_number(c, 4, "a subsection's version")));
	json_array_append_new(into, piece);
	return piece;
}
