/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a table as JSON, independent of any state: what may be on the wire, since
 * which version, under which condition. Golden copies of it lie in the tree; preflight asks the
 * other side for its own. Comparing asks one question: can the reader take what the writer sends?
 * Two schemas that must be interchangeable are compared both ways.
 */
#include "state/field.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static json_t *schema_field(const struct state_table *t, const struct state_field *f)
{
	json_t *j = json_object();
	char name[256];

	field_wire_name(t, f, name);
	json_object_set_new(j, "name", json_string(name));
	json_object_set_new(j, "type", json_string(field_type(f)));
	if (f->kind == STATE_STRUCT)
		json_object_set_new(j, "struct", state_schema(f->table));
	else if (f->kind != STATE_CODEC)
		json_object_set_new(j, "size", json_integer((json_int_t)f->size));
	if (f->count > 1)
		json_object_set_new(j, "count", json_integer((json_int_t)f->count));
	if (f->count_offset >= 0)
		json_object_set_new(j, "variable", json_true());
	if (f->since)
		json_object_set_new(j, "since", json_integer(f->since));
	if (f->until)
		json_object_set_new(j, "until", json_integer(f->until));
	if (f->present)
		json_object_set_new(j, "conditional", json_true());
	return j;
}

/**
 * state_schema() - A table as data
 * @t:	Table
 *
 * Return: object with name, version, min_version, fields and, if there are any, subsections; the
 * caller's reference
 */
json_t *state_schema(const struct state_table *t)
{
	json_t *j = json_object(), *fields = json_array(), *subs = json_array();
	const struct state_table *const *sub;
	const struct state_field *f;

	json_object_set_new(j, "name", json_string(t->name));
	json_object_set_new(j, "version", json_integer(t->version));
	json_object_set_new(j, "min_version", json_integer(t->min_version));
	state_for_each_field(f, t) if (field_on_wire(f))
		json_array_append_new(fields, schema_field(t, f));
	json_object_set_new(j, "fields", fields);
	for (sub = t->subsections; sub && *sub; sub++)
		json_array_append_new(subs, state_schema(*sub));
	if (json_array_size(subs))
		json_object_set(j, "subsections", subs);
	json_decref(subs);
	return j;
}

/**
 * struct compare - Two schemas being compared
 * @path:	Where we are: "cpu/env.segs"
 * @say:	Gets each difference as a sentence
 * @opaque:	For @say
 * @said:	How many so far
 */
struct compare {
	char path[256];
	state_sentence_fn *say;
	void *opaque;
	unsigned int said;
};

static void compare_tables(struct compare *c, const json_t *writer, const json_t *reader,
			   json_int_t version);

static void PRINTF(2, 3) differs(struct compare *c, const char *fmt, ...)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%s", c->path);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	c->said++;
	if (c->say)
		c->say(c->opaque, text);
}

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "?";
}

static bool in_version(const json_t *f, json_int_t version)
{
	json_int_t until = number(f, "until");

	return version >= number(f, "since") && (!until || version <= until);
}

/* The next field from @at on that a version has; NULL when there is none. */
static const json_t *next_field(const json_t *table, size_t *at, json_int_t version)
{
	const json_t *fields = json_object_get(table, "fields"), *f;

	while ((f = json_array_get(fields, (*at)++)))
		if (in_version(f, version))
			return f;
	return NULL;
}

static void compare_inner(struct compare *c, const json_t *w, const json_t *r)
{
	size_t len = strlen(c->path);
	const json_t *inner = json_object_get(w, "struct");

	snprintf(c->path + len, sizeof(c->path) - len, "/%s", text(w, "name"));
	compare_tables(c, inner, json_object_get(r, "struct"), number(inner, "version"));
	c->path[len] = '\0';
}

static void compare_fields(struct compare *c, const json_t *w, const json_t *r)
{
	static const char *const keys[] = {"size", "count"};
	const char *name = text(w, "name");
	size_t i;

	if (strcmp(text(w, "type"), text(r, "type")))
		differs(c, "/%s: sent as %s, read as %s", name, text(w, "type"), text(r, "type"));
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (number(w, keys[i]) != number(r, keys[i]))
			differs(c, "/%s: %s %lld sent, %lld read", name, keys[i],
				(long long)number(w, keys[i]), (long long)number(r, keys[i]));
	if (json_is_true(json_object_get(w, "conditional")) !=
	    json_is_true(json_object_get(r, "conditional")))
		differs(c, "/%s: under a condition on one side only", name);
	if (json_is_true(json_object_get(w, "variable")) !=
	    json_is_true(json_object_get(r, "variable")))
		differs(c, "/%s: counted by another member on one side only", name);
	if (json_object_get(w, "struct") && json_object_get(r, "struct"))
		compare_inner(c, w, r);
}

static const json_t *find_table(const json_t *list, const char *name)
{
	const json_t *t;
	size_t i;

	json_array_foreach (list, i, t)
		if (!strcmp(text(t, "name"), name))
			return t;
	return NULL;
}

static void compare_subsections(struct compare *c, const json_t *writer, const json_t *reader)
{
	const json_t *mine = json_object_get(reader, "subsections"), *sub, *other;
	size_t i, len = strlen(c->path);

	json_array_foreach (json_object_get(writer, "subsections"), i, sub) {
		other = find_table(mine, text(sub, "name"));
		if (!other) {
			differs(c, ": subsection %s may be sent and isn't known",
				text(sub, "name"));
			continue;
		}
		snprintf(c->path, sizeof(c->path), "%s", text(sub, "name"));
		compare_tables(c, sub, other, number(sub, "version"));
		snprintf(c->path, sizeof(c->path), "%.*s", (int)len, text(writer, "name"));
	}
}

static void compare_rows(struct compare *c, const json_t *writer, const json_t *reader,
			 json_int_t version)
{
	size_t at_w = 0, at_r = 0;
	const json_t *w, *r;

	do {
		w = next_field(writer, &at_w, version);
		r = next_field(reader, &at_r, version);
		if (w && r && !strcmp(text(w, "name"), text(r, "name"))) {
			compare_fields(c, w, r);
		} else if (w || r) {
			differs(c, ": %s sent where %s is read", w ? text(w, "name") : "nothing",
				r ? text(r, "name") : "nothing");
			return;
		}
	} while (w);
}

static void compare_tables(struct compare *c, const json_t *writer, const json_t *reader,
			   json_int_t version)
{
	if (version > number(reader, "version") || version < number(reader, "min_version"))
		differs(c, ": version %lld sent, %lld to %lld known", (long long)version,
			(long long)number(reader, "min_version"),
			(long long)number(reader, "version"));
	else
		compare_rows(c, writer, reader, version);
	compare_subsections(c, writer, reader);
}

/**
 * state_schema_compare() - Can @reader take what @writer sends?
 * @writer:	Schema of the sending side
 * @reader:	Schema of the receiving side
 * @say:	Called with a sentence for each thing that can't work; may be NULL
 * @opaque:	For @say
 *
 * Return: how many there are
 */
unsigned int state_schema_compare(const json_t *writer, const json_t *reader,
				  state_sentence_fn *say, void *opaque)
{
	struct compare c = {.say = say, .opaque = opaque};

	snprintf(c.path, sizeof(c.path), "%s", text(writer, "name"));
	compare_tables(&c, writer, reader, number(writer, "version"));
	return c.said;
}
