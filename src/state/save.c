/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one walk over the table writes the bytes and, when asked, the description
 * of them in the form that QEMU 7.2 puts at the end of a stream: per table vmsd_name, version,
 * fields and subsections; per field name, type, size, "array_len" where one element speaks for all
 * and "index" where each has an entry of its own.
 */
#include "base/bytes.h"
#include "state/field.h"

#include <assert.h>
#include <string.h>

static void save_table(const struct state_table *t, const void *state, struct state_writer *w,
		       json_t *desc);

static void put_numbers(struct state_writer *w, const uint8_t *p, size_t size, size_t n)
{
	numbers_turn(state_extend(w, size * n), p, size, n);
}

/* @size is that of this element: of a variable byte buffer what is used of it. */
static void save_element(const struct state_field *f, const void *p, size_t size,
			 struct state_writer *w, json_t *inner)
{
	switch (f->kind) {
	case STATE_UINT:
	case STATE_INT: put_numbers(w, p, size, 1); break;
	case STATE_BOOL: state_put_u8(w, *(const uint8_t *)p != 0); break;
	case STATE_BYTES: state_put(w, p, size); break;
	case STATE_PAD: memset(state_extend(w, size), 0, size); break;
	case STATE_STRUCT: save_table(f->table, p, w, inner); break;
	case STATE_CODEC: f->codec->save(p, w); break;
	default: break;
	}
}

static json_t *describe_element(const struct state_table *t, const struct state_field *f,
				size_t index, size_t of)
{
	json_t *desc = json_object();
	char name[256];

	field_wire_name(t, f, name);
	json_object_set_new(desc, "name", json_string(name));
	if (of > 1 && field_compresses(f))
		json_object_set_new(desc, "array_len", json_integer((json_int_t)of));
	else if (of > 1)
		json_object_set_new(desc, "index", json_integer((json_int_t)index));
	json_object_set_new(desc, "type", json_string(field_type(f)));
	if (f->kind == STATE_STRUCT)
		json_object_set_new(desc, "struct", json_object());
	return desc;
}

static void save_described(const struct state_table *t, const struct state_field *f, size_t i,
			   size_t n, const void *p, size_t size, struct state_writer *w,
			   json_t *fields)
{
	json_t *desc = describe_element(t, f, i, n);
	size_t before = w->len;

	save_element(f, p, size, w, json_object_get(desc, "struct"));
	json_object_set_new(desc, "size", json_integer((json_int_t)(w->len - before)));
	json_array_append_new(fields, desc);
}

static void save_field(const struct state_table *t, const struct state_field *f, const void *state,
		       struct state_writer *w, json_t *fields)
{
	bool variable_bytes = f->kind == STATE_BYTES && f->count_offset >= 0;
	uint64_t counted = field_counted(f, state), n = variable_bytes ? 1 : counted, i;
	size_t size = variable_bytes ? counted : f->size;
	const uint8_t *first = (const uint8_t *)state + f->offset;

	assert(counted <= field_capacity(f)); /* the device made more than its struct holds */
	if (!fields && field_numbers(f)) {
		put_numbers(w, first, size, n);
		return;
	}
	for (i = 0; i < n; i++)
		if (fields && (!i || !field_compresses(f)))
			save_described(t, f, i, n, first + i * f->stride, size, w, fields);
		else
			save_element(f, first + i * f->stride, size, w, NULL);
}

static void save_subsection(const struct state_table *sub, const void *state,
			    struct state_writer *w, json_t *desc)
{
	size_t len = strlen(sub->name);

	assert(len < 256);
	state_put_u8(w, 0x05);
	state_put_u8(w, (uint8_t)len);
	state_put(w, sub->name, len);
	state_put_be32(w, sub->version);
	save_table(sub, state, w, desc);
}

static void save_subsections(const struct state_table *t, const void *state, struct state_writer *w,
			     json_t *desc)
{
	const struct state_table *const *sub;
	json_t *list = NULL;

	for (sub = t->subsections; sub && *sub; sub++) {
		json_t *inner = desc ? json_object() : NULL;

		if ((*sub)->needed && !(*sub)->needed(state)) {
			json_decref(inner);
			continue;
		}
		save_subsection(*sub, state, w, inner);
		if (!desc)
			continue;
		if (!list) {
			list = json_array();
			json_object_set_new(desc, "subsections", list);
		}
		json_array_append_new(list, inner);
	}
}

static void save_table(const struct state_table *t, const void *state, struct state_writer *w,
		       json_t *desc)
{
	const struct state_field *f;
	json_t *fields = NULL;

	if (desc) {
		fields = json_array();
		json_object_set_new(desc, "vmsd_name", json_string(t->name));
		json_object_set_new(desc, "version", json_integer(t->version));
		json_object_set_new(desc, "fields", fields);
	}
	state_for_each_field(f, t) if (field_present(f, state, t->version))
		save_field(t, f, state, w, fields);
	save_subsections(t, state, w, desc);
}

/**
 * state_save() - Write a state
 * @t:		Its table
 * @state:	As capture() gave it
 * @w:		Gets the bytes, in the table's newest version
 */
void state_save(const struct state_table *t, const void *state, struct state_writer *w)
{
	save_table(t, state, w, NULL);
}

/**
 * state_save_described() - Write a state and say what was written
 * @t:		Its table
 * @state:	As capture() gave it
 * @w:		Gets the bytes
 * @desc:	JSON object that gets vmsd_name, version, fields and subsections
 */
void state_save_described(const struct state_table *t, const void *state, struct state_writer *w,
			  json_t *desc)
{
	save_table(t, state, w, desc);
}
