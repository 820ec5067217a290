/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the questions about a row that the walks over a table share: is it on the
 * wire, for which state, how many elements, and what the description calls it.
 */
#include "state/field.h"

#include <stdio.h>
#include <string.h>

/**
 * field_on_wire() - Does the row ever give bytes?
 * @f:	Row
 */
bool field_on_wire(const struct state_field *f)
{
	return f->kind != STATE_END && f->kind != STATE_NOT_SENT;
}

/**
 * field_in_version() - Does a table version have the row?
 * @f:		Row
 * @version:	Of the table
 */
bool field_in_version(const struct state_field *f, unsigned int version)
{
	return version >= f->since && (!f->until || version <= f->until);
}

/**
 * field_present() - Is the row on the wire for this state?
 * @f:		Row
 * @state:	What has been loaded so far, or what is saved
 * @version:	Of the table
 */
bool field_present(const struct state_field *f, const void *state, unsigned int version)
{
	return field_on_wire(f) && field_in_version(f, version) &&
	       (!f->present || f->present(state, version));
}

/**
 * field_counted() - Elements of a row, as its counting member says
 * @f:		Row
 * @state:	Struct with the member
 *
 * A negative int32_t is a number far above any capacity.
 *
 * Return: elements; of a variable byte buffer: bytes
 */
uint64_t field_counted(const struct state_field *f, const void *state)
{
	const uint8_t *p = state;
	uint64_t v = 0;

	if (f->count_offset < 0)
		return f->count;
	memcpy(&v, p + f->count_offset,
	       MIN(f->count_size, sizeof(v))); /* x86 and aarch64: little-endian */
	return v;
}

/**
 * field_capacity() - How much of field_counted() there is room for
 * @f:	Row
 */
uint64_t field_capacity(const struct state_field *f)
{
	return f->kind == STATE_BYTES && f->count_offset >= 0 ? f->size : f->count;
}

static const char *number_type(const struct state_field *f)
{
	static const char *const names[2][9] = {
		{[1] = "uint8", [2] = "uint16", [4] = "uint32", [8] = "uint64"},
		{[1] = "int8", [2] = "int16", [4] = "int32", [8] = "int64"},
	};

	return names[f->kind == STATE_INT][f->size];
}

/**
 * field_type() - The row's wire type, in the words of QEMU's description
 * @f:	Row
 */
const char *field_type(const struct state_field *f)
{
	switch (f->kind) {
	case STATE_UINT:
	case STATE_INT: return number_type(f);
	case STATE_BOOL: return "bool";
	case STATE_BYTES: return "buffer";
	case STATE_STRUCT: return "struct";
	case STATE_PAD: return "unused_buffer";
	case STATE_CODEC: return f->codec->name;
	default: return "none";
	}
}

/**
 * field_compresses() - May the description show one element for all of an array?
 * @f:	Row
 *
 * Not if elements can differ in form: a presence test or subsections somewhere inside.
 */
bool field_compresses(const struct state_field *f)
{
	const struct state_field *inner;

	if (f->present)
		return false;
	if (f->kind != STATE_STRUCT)
		return true;
	state_for_each_field(inner, f->table) if (field_on_wire(inner) &&
						  !field_compresses(inner)) return false;
	return !f->table->subsections;
}

/**
 * field_wire_name() - The row's name in the description, with its number among rows of the same
 * name
 * @t:		Table
 * @f:		Row of it
 * @name:	Filled in
 */
void field_wire_name(const struct state_table *t, const struct state_field *f, char name[256])
{
	unsigned int same = 0, number = 0;
	const struct state_field *other;

	state_for_each_field(other, t)
	{
		if (other == f)
			number = same;
		same += field_on_wire(other) && !strcmp(other->name, f->name);
	}
	if (same > 1)
		snprintf(name, 256, "%s[%u]", f->name, number);
	else
		snprintf(name, 256, "%s", f->name);
}
