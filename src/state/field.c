/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the questions about a row that the walks over a table share: is it on the
 * wire, for which state, how many elements, and what the description calls it.
 */
#include "state/field.h"

#include <stdio.h>
#include <string.h>

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
