/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a byte map of the struct gets a mark for each byte that a row speaks of,
 * going into nested structs and subsections. A byte without a mark is state that would be lost on
 * the way, or padding that hides such a member; a byte that two unconditional rows of one table
 * describe is a row written twice.
 */
#include "base/owned.h"
#include "state/field.h"

#include <errno.h>
#include <stdlib.h>

/**
 * struct cover - Who speaks of each byte
 * @rows:	Per byte the row that speaks of it, or NULL; owned
 * @size:	Bytes of the struct
 */
struct cover {
	const struct state_field **rows;
	size_t size;
};

static int cover_table(struct cover *c, const struct state_table *t, size_t base, struct err *e);

static bool row_conditional(const struct state_field *f)
{
	return f->present || f->since || f->until;
}

static int cover_bytes(struct cover *c, const struct state_table *t, const struct state_field *f,
		       size_t at, size_t n, struct err *e)
{
	const struct state_field *other;
	size_t i;

	if (at > c->size || n > c->size - at)
		return err_set(e, EINVAL, "%s/%s: ends behind the struct", t->name, f->name);
	for (i = at; i < at + n; i++) {
		other = c->rows[i];
		if (other && other >= t->fields && other < f && !row_conditional(other) &&
		    !row_conditional(f))
			return err_set(e, EINVAL, "%s/%s: byte %zu is also described by %s",
				       t->name, f->name, i, other->name);
		c->rows[i] = f;
	}
	return 0;
}

static int cover_structs(struct cover *c, const struct state_table *t, const struct state_field *f,
			 size_t base, struct err *e)
{
	size_t i;
	int ret = 0;

	if (f->table->size != f->size)
		return err_set(e, EINVAL, "%s/%s: %zu bytes, its table %s is for %zu", t->name,
			       f->name, f->size, f->table->name, f->table->size);
	for (i = 0; i < f->count && ret == 0; i++)
		ret = cover_table(c, f->table, base + f->offset + i * f->stride, e);
	return ret;
}

static int cover_field(struct cover *c, const struct state_table *t, const struct state_field *f,
		       size_t base, struct err *e)
{
	size_t covers = f->size * f->count;

	if (f->kind == STATE_PAD)
		return 0;
	if (f->kind == STATE_STRUCT)
		return cover_structs(c, t, f, base, e);
	if (f->kind == STATE_CODEC && f->codec->covers)
		covers = f->codec->covers;
	if (f->count_offset >= 0 && (size_t)f->count_offset + f->count_size > t->size)
		return err_set(e, EINVAL, "%s/%s: its count is outside the struct", t->name,
			       f->name);
	return cover_bytes(c, t, f, base + f->offset, covers, e);
}

static int cover_table(struct cover *c, const struct state_table *t, size_t base, struct err *e)
{
	const struct state_table *const *sub;
	const struct state_field *f;
	int ret = 0;

	if (t->min_version > t->version)
		return err_set(e, EINVAL, "%s: reads %u and newer but writes %u", t->name,
			       t->min_version, t->version);
	state_for_each_field(f, t)
	{
		ret = cover_field(c, t, f, base, e);
		if (ret < 0)
			return ret;
	}
	for (sub = t->subsections; sub && *sub && ret == 0; sub++)
		ret = (*sub)->size == t->size
			      ? cover_table(c, *sub, base, e)
			      : err_set(e, EINVAL, "%s: a subsection describes the same struct",
					(*sub)->name);
	return ret;
}

/* The row that speaks of the last marked byte before @at. */
static const char *cover_before(const struct cover *c, size_t at)
{
	while (at-- > 0)
		if (c->rows[at])
			return c->rows[at]->name;
	return NULL;
}

static int cover_report(const struct cover *c, const struct state_table *t, struct err *e)
{
	const char *before;
	size_t i, end;

	for (i = 0; i < c->size && c->rows[i];)
		i++;
	if (i == c->size)
		return 0;
	for (end = i; end < c->size && !c->rows[end];)
		end++;
	before = cover_before(c, i);
	return err_set(
		e, EINVAL,
		"%s: bytes %zu to %zu, %s%s, are in no row (a member without one, or padding: "
		"order the members, or name it and say NOT_SENT)",
		t->name, i, end - 1, before ? "behind " : "", before ? before : "the first");
}

/**
 * state_cover_check() - Prove that a table forgets nothing
 * @t:	Table
 * @e:	Names the table, the first byte and the member in front of it
 *
 * Errors: EINVAL a byte in no row, in two rows, or a row or table that doesn't fit its struct
 * Return: 0, or a negative errno
 */
int state_cover_check(const struct state_table *t, struct err *e)
{
	OWNED(const struct state_field *) *rows = NULL;
	struct cover c = {.size = t->size};
	int ret;

	rows = mem_calloc(t->size ? t->size : 1, sizeof(*rows));
	c.rows = rows;
	ret = cover_table(&c, t, 0, e);
	return ret < 0 ? ret : cover_report(&c, t, e);
}
