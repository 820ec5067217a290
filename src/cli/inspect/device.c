/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: device sections are read by the JSON description at the end of the stream,
 * which has names, types and sizes in wire order. It comes from the file as everything does, so
 * each size is held against what is there.
 */
#include "cli/inspect/cursor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *d, const char *key)
{
	const char *s = json_string_value(json_object_get(d, key));

	return s ? s : "?";
}

static json_int_t number_of(const json_t *d, const char *key)
{
	return json_integer_value(json_object_get(d, key));
}

/* What is inside a field: a struct, or a computed group ("tmp"), whose fields stand in the field
 * itself. */
static const json_t *inner_of(const json_t *d)
{
	const json_t *s = json_object_get(d, "struct");

	return s ? s : json_object_get(d, "fields") ? d : NULL;
}

static void read_virtio(struct cursor *c, const json_t *d, json_t *piece)
{
	json_int_t size = number_of(d, "size");
	struct cursor inner = *c;

	if (size < 0 || (size_t)size > c->end - c->at) {
		cursor_take(c, (size_t)size, "virtio");
		return;
	}
	inner.end = c->at + (size_t)size;
	inspect_virtio(&inner, piece_inner(piece));
	c->failed = inner.failed;
	cursor_take(c, (size_t)size, "virtio");
}

static void read_struct(struct cursor *c, const json_t *d, const char *name, json_t *into)
{
	json_t *piece = piece_new(name, text_of(d, "type"), c->at);
	size_t at = c->at;

	json_array_append_new(into, piece);
	if (!strcmp(text_of(d, "type"), "virtio"))
		read_virtio(c, d, piece);
	else
		inspect_described(c, inner_of(d), piece_inner(piece));
	piece_end(piece, c);
	if (!c->failed && (json_int_t)(c->at - at) != number_of(d, "size"))
		cursor_fail(c, "%s is described with %" JSON_INTEGER_FORMAT " bytes and has %zu",
			    name, number_of(d, "size"), c->at - at);
}

static void read_element(struct cursor *c, const json_t *d, const char *name, json_t *into)
{
	json_int_t size = number_of(d, "size");

	if (inner_of(d) || !strcmp(text_of(d, "type"), "virtio"))
		read_struct(c, d, name, into);
	else if (size < 0)
		cursor_fail(c, "%s is described with %" JSON_INTEGER_FORMAT " bytes", name, size);
	else
		piece_read(c, into, name, text_of(d, "type"), (size_t)size);
}

static void read_field(struct cursor *c, const json_t *d, json_t *into)
{
	json_int_t n = number_of(d, "array_len"), i;
	char name[300];

	if (!json_object_get(d, "array_len")) {
		snprintf(name, sizeof(name), "%s", text_of(d, "name"));
		if (json_object_get(d, "index"))
			snprintf(name, sizeof(name), "%s[%" JSON_INTEGER_FORMAT "]",
				 text_of(d, "name"), number_of(d, "index"));
		read_element(c, d, name, into);
		return;
	}
	if (!number_of(d, "size") && n > 0xffff)
		cursor_fail(c, "%s is described with %" JSON_INTEGER_FORMAT " empty elements",
			    text_of(d, "name"), n);
	for (i = 0; i < n && !c->failed; i++) {
		snprintf(name, sizeof(name), "%s[%" JSON_INTEGER_FORMAT "]", text_of(d, "name"), i);
		read_element(c, d, name, into);
	}
}

static void read_subsection(struct cursor *c, const json_t *d, json_t *into)
{
	json_t *sub;

	if (!cursor_at(c, 0x05)) {
		cursor_fail(c, "subsection %s is described and not there", text_of(d, "vmsd_name"));
		return;
	}
	sub = piece_subsection(c, into);
	if (strcmp(text_of(sub, "name"), text_of(d, "vmsd_name")) ||
	    number_of(sub, "value") != number_of(d, "version"))
		cursor_fail(c, "subsection %s is there, %s is described", text_of(sub, "name"),
			    text_of(d, "vmsd_name"));
	inspect_described(c, d, piece_inner(sub));
	piece_end(sub, c);
}

/**
 * inspect_described() - Read a table by its description
 * @c:		Cursor
 * @desc:	Object with fields and perhaps subsections
 * @into:	List that gets the pieces
 */
void inspect_described(struct cursor *c, const json_t *desc, json_t *into)
{
	const json_t *d;
	size_t i;

	json_array_foreach (json_object_get(desc, "fields"), i, d) {
		if (c->failed)
			return;
		read_field(c, d, into);
	}
	json_array_foreach (json_object_get(desc, "subsections"), i, d) {
		if (c->failed)
			return;
		read_subsection(c, d, into);
	}
}
