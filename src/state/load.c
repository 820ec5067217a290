/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the table drives; bytes are taken as far as its rows ask. Errors are made
 * where they are found, with the text that belongs there, and get the names of the rows and tables
 * around them on the way up: "cpu/env.segs[2]/limit: cut short". A peer may send anything, so
 * every number is looked at before it counts anything.
 *
 * Subsections follow the fields of the table they belong to, also behind a nested struct in the
 * middle of a section. Whose they are is told by their names alone, as QEMU does: a name that
 * begins with this table's name and is in its list is ours; one that begins with "NAME/" and
 * isn't, is an error; anything else is for a level above.
 */
#include "base/bytes.h"
#include "state/field.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int load_table(const struct state_table *t, void *scratch, unsigned int version,
		      struct state_reader *r, struct err *e);

static int cut_short(const struct state_reader *r, size_t size, struct err *e)
{
	return err_set(e, EINVAL, "cut short: %zu bytes expected, %zu there", size, r->len - r->at);
}

/*
 * Puts the name of a table or nested struct in front of the text: "limit: ..." becomes
 * "env.segs[2]/limit: ...". A text that speaks of the table itself begins with its colon.
 */
static void path_in(struct err *e, const char *name)
{
	struct err inner;

	if (!e)
		return;
	inner = *e;
	snprintf(e->msg, sizeof(e->msg), "%.200s%s%.300s", name, inner.msg[0] == ':' ? "" : "/",
		 inner.msg);
}

/* Reads all or nothing. */
static bool get_numbers(uint8_t *p, size_t size, size_t n, struct state_reader *r)
{
	if (!state_peek(r, size * n))
		return false;
	numbers_turn(p, r->buf + r->at, size, n);
	r->at += size * n;
	return true;
}

static int load_number(uint8_t *p, size_t size, struct state_reader *r, struct err *e)
{
	if (get_numbers(p, size, 1, r))
		return 0;
	r->failed = true;
	return cut_short(r, size, e);
}

static int load_bool(void *p, struct state_reader *r, struct err *e)
{
	uint8_t v = state_get_u8(r);

	if (r->failed)
		return cut_short(r, 1, e);
	if (v > 1)
		return err_set(e, EINVAL, "%u is neither 0 nor 1", v);
	*(uint8_t *)p = v;
	return 0;
}

static int load_codec(const struct state_field *f, void *p, unsigned int version,
		      struct state_reader *r, struct err *e)
{
	int ret = f->codec->load(p, r, version, e);

	if (ret < 0)
		return ret;
	return r->failed ? cut_short(r, 1, e) : 0;
}

static int load_element(const struct state_field *f, void *p, size_t size, unsigned int version,
			struct state_reader *r, struct err *e)
{
	switch (f->kind) {
	case STATE_UINT:
	case STATE_INT: return load_number(p, size, r, e);
	case STATE_BOOL: return load_bool(p, r, e);
	case STATE_BYTES: return state_get(r, p, size) ? 0 : cut_short(r, size, e);
	case STATE_PAD: return state_skip(r, size) ? 0 : cut_short(r, size, e);
	case STATE_STRUCT: return load_table(f->table, p, f->table->version, r, e);
	case STATE_CODEC: return load_codec(f, p, version, r, e);
	default: return 0;
	}
}

static void name_element(const struct state_field *f, uint64_t index, struct err *e)
{
	char name[256];

	if (f->count > 1)
		snprintf(name, sizeof(name), "%s[%" PRIu64 "]", f->name, index);
	else
		snprintf(name, sizeof(name), "%s", f->name);
	if (f->kind == STATE_STRUCT)
		path_in(e, name);
	else
		err_in(e, "%s", name);
}

static int load_field(const struct state_field *f, void *scratch, unsigned int version,
		      struct state_reader *r, struct err *e)
{
	bool variable_bytes = f->kind == STATE_BYTES && f->count_offset >= 0;
	uint64_t counted = field_counted(f, scratch), n = variable_bytes ? 1 : counted, i;
	uint8_t *first = (uint8_t *)scratch + f->offset;
	int ret;

	if (counted > field_capacity(f))
		return err_set(e, EINVAL, "%s: %" PRIu64 " offered, room for %" PRIu64, f->name,
			       counted, field_capacity(f));
	if (field_numbers(f) && get_numbers(first, f->size, counted, r))
		return 0; /* if they aren't all there, the first that is missing is named below */
	for (i = 0; i < n; i++) {
		ret = load_element(f, first + i * f->stride, variable_bytes ? counted : f->size,
				   version, r, e);
		if (ret < 0) {
			name_element(f, i, e);
			return ret;
		}
	}
	return 0;
}

/**
 * state_subsection_here() - Does a subsection begin at this place?
 * @r:		Reader; nothing is read
 * @name:	Set to its name if so
 */
bool state_subsection_here(struct state_reader *r, char name[256])
{
	size_t len;

	if (!state_peek(r, 2) || r->buf[r->at] != 0x05)
		return false;
	len = r->buf[r->at + 1];
	if (!len || !state_peek(r, 2 + len))
		return false;
	memcpy(name, r->buf + r->at + 2, len);
	name[len] = '\0';
	return strlen(name) == len;
}

static const struct state_table *subsection_find(const struct state_table *t, const char *name)
{
	const struct state_table *const *sub;

	for (sub = t->subsections; sub && *sub; sub++)
		if (!strcmp((*sub)->name, name))
			return *sub;
	return NULL;
}

/* The part of a subsection's name that its table's name doesn't say already. */
static const char *subsection_tail(const struct state_table *t, const char *name)
{
	size_t len = strlen(t->name);

	return !strncmp(name, t->name, len) && name[len] == '/' ? name + len + 1 : name;
}

static int load_subsection(const struct state_table *t, const struct state_table *sub,
			   void *scratch, struct state_reader *r, struct err *e)
{
	unsigned int version;
	int ret;

	state_skip(r, 2 + strlen(sub->name));
	version = state_get_be32(r);
	ret = r->failed ? cut_short(r, 4, e) : load_table(sub, scratch, version, r, e);
	if (ret < 0)
		path_in(e, subsection_tail(t, sub->name));
	return ret;
}

static int load_subsections(const struct state_table *t, void *scratch, struct state_reader *r,
			    struct err *e)
{
	size_t len = strlen(t->name);
	const struct state_table *sub;
	char name[256];
	int ret;

	while (state_subsection_here(r, name) && !strncmp(name, t->name, len)) {
		sub = subsection_find(t, name);
		if (!sub && name[len] == '/')
			return err_set(e, ENOENT, ": unknown subsection %s", name);
		if (!sub)
			return 0;
		ret = load_subsection(t, sub, scratch, r, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int load_table(const struct state_table *t, void *scratch, unsigned int version,
		      struct state_reader *r, struct err *e)
{
	const struct state_field *f;
	int ret;

	if (version < t->min_version || version > t->version)
		return err_set(e, EINVAL, ": version %u offered, %u to %u known here", version,
			       t->min_version, t->version);
	state_for_each_field(f, t)
	{
		if (!field_present(f, scratch, version))
			continue;
		ret = load_field(f, scratch, version, r, e);
		if (ret < 0)
			return ret;
	}
	ret = load_subsections(t, scratch, r, e);
	if (ret < 0 || !t->check)
		return ret;
	return t->check(scratch, version, e);
}

/**
 * state_load() - Read a state
 * @t:		Its table
 * @scratch:	A struct of @t->size with the state of a fresh device; garbage after an error
 * @version:	As the stream says
 * @r:		Bytes; stands behind the state on success
 * @e:		Text begins with the table's name and, where there is one, the field's
 *
 * Errors: EINVAL cut short, a bool that is none, more elements than the struct has room for, a
 * version that isn't known, refused by the table's check; ENOENT an unknown subsection
 * Return: 0, or a negative errno
 */
int state_load(const struct state_table *t, void *scratch, unsigned int version,
	       struct state_reader *r, struct err *e)
{
	int ret = load_table(t, scratch, version, r, e);

	if (ret < 0)
		path_in(e, t->name);
	return ret;
}
