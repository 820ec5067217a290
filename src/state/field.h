/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STATE_FIELD_H
#define STATE_FIELD_H

#include "base/bytes.h"
#include "state/state.h"

/* What save, load, cover and schema all ask of a row. Inside this room only. */

#define state_for_each_field(f, t) for (f = (t)->fields; f->kind != STATE_END; f++)

/*
 * A row of numbers between memory and wire: the same in both directions, the bytes of each turned
 * round. One loop per size, which the compiler makes wide; rows of one byte are copied.
 */
static inline void numbers_turn(uint8_t *to, const uint8_t *from, size_t size, size_t n)
{
	size_t i;

	switch (size) {
	case 1: memcpy(to, from, n); break;
	case 2:
		for (i = 0; i < n; i++)
			store_be16(to + 2 * i, load_le16(from + 2 * i));
		break;
	case 4:
		for (i = 0; i < n; i++)
			store_be32(to + 4 * i, load_le32(from + 4 * i));
		break;
	default:
		for (i = 0; i < n; i++)
			store_be64(to + 8 * i, load_le64(from + 8 * i));
		break;
	}
}

/* Numbers without gaps between them: all of a row at once. */
static inline bool field_numbers(const struct state_field *f)
{
	return (f->kind == STATE_UINT || f->kind == STATE_INT) && f->stride == f->size;
}

/**
 * field_on_wire() - Does the row ever give bytes?
 * @f:	Row
 */
static inline bool field_on_wire(const struct state_field *f)
{
	return f->kind != STATE_END && f->kind != STATE_NOT_SENT;
}

/**
 * field_in_version() - Does a table version have the row?
 * @f:		Row
 * @version:	Of the table
 */
static inline bool field_in_version(const struct state_field *f, unsigned int version)
{
	return version >= f->since && (!f->until || version <= f->until);
}

/**
 * field_present() - Is the row on the wire for this state?
 * @f:		Row
 * @state:	What has been loaded so far, or what is saved
 * @version:	Of the table
 */
static inline bool field_present(const struct state_field *f, const void *state,
				 unsigned int version)
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
static inline uint64_t field_counted(const struct state_field *f, const void *state)
{
	uint64_t v = 0;

	if (f->count_offset < 0)
		return f->count;
	memcpy(&v, (const uint8_t *)state + f->count_offset,
	       MIN(f->count_size, sizeof(v))); /* x86 and aarch64: little-endian */
	return v;
}

/**
 * field_capacity() - How much of field_counted() there is room for
 * @f:	Row
 */
static inline uint64_t field_capacity(const struct state_field *f)
{
	return f->kind == STATE_BYTES && f->count_offset >= 0 ? f->size : f->count;
}

const char *field_type(const struct state_field *f);
bool field_compresses(const struct state_field *f);
void field_wire_name(const struct state_table *t, const struct state_field *f, char name[256]);

#endif
