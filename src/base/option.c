/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a table of rows says which keys an option string, a JSON option or a QMP
 * command's arguments may have. option_check() copies what it is given into a new object in which
 * every value has the row's JSON type, so whoever reads it later need not look at types again.
 * What the table doesn't name is an error that suggests the nearest name; so are missing, doubled,
 * mistyped and out-of-range values.
 */
#include "base/option.h"

#include "base/nearest.h"
#include "base/owned.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

/**
 * option_find() - The row of a name
 * @table:	Closed by OPTIONS_END; NULL: empty
 * @name:	To look for
 *
 * Return: borrowed, or NULL
 */
const struct option *option_find(const struct option *table, const char *name)
{
	for (; table && table->kind != OPTION_END; table++)
		if (!strcmp(table->name, name))
			return table;
	return NULL;
}

static const char *name_at(const void *table, size_t index)
{
	const struct option *o = table;

	return o && o[index].kind != OPTION_END ? o[index].name : NULL;
}

/**
 * option_nearest() - The name most like one that isn't in the table
 * @table:	As in option_find()
 * @name:	What was written
 *
 * Return: borrowed, or NULL if nothing is near
 */
const char *option_nearest(const struct option *table, const char *name)
{
	return nearest(name, table, name_at);
}

/**
 * option_parse_bool() - "on", "yes", "true" and their opposites
 * @text:	What was written
 * @ret:	Set on success only
 *
 * Return: 0, or -EINVAL
 */
int option_parse_bool(const char *text, bool *ret)
{
	static const char *const on[] = {"on", "yes", "true", "y"};
	static const char *const off[] = {"off", "no", "false", "n"};

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		if (!strcmp(text, on[i]) || !strcmp(text, off[i])) {
			*ret = !strcmp(text, on[i]);
			return 0;
		}
	}
	return -EINVAL;
}

/**
 * option_parse_size() - "512", "2G", "1.5M"
 * @text:	What was written
 * @unit:	Bytes per unit of a number without suffix
 * @ret:	Set on success only; bytes
 *
 * Return: 0, -EINVAL (not a size), -ERANGE (more than 2^63 - 1)
 */
int option_parse_size(const char *text, uint64_t unit, uint64_t *ret)
{
	static const char suffixes[] = "BKMGTPE";
	const char *suffix;
	char *end;
	long double v = strtold(text, &end);

	if (end == text || !isfinite(v) || v < 0)
		return -EINVAL;
	if (*end) {
		suffix = memchr(suffixes, *end & ~0x20, sizeof(suffixes) - 1);
		if (!suffix || end[1])
			return -EINVAL;
		unit = 1ULL << 10 * (suffix - suffixes);
	}
	v *= (long double)unit;
	if (v > (long double)INT64_MAX)
		return -ERANGE;
	*ret = (uint64_t)v;
	return 0;
}

static int bad_value(const struct option *o, const json_t *v, struct err *e)
{
	OWNED(char *) shown = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

	return err_set(e, EINVAL, "%s: %.80s is not %s", o->name, shown ? shown : "?",
		       option_kind_name(o));
}

static int convert_bool(const struct option *o, const json_t *v, json_t **ret, struct err *e)
{
	bool on;

	if (!json_is_string(v) || option_parse_bool(json_string_value(v), &on) < 0)
		return bad_value(o, v, e);
	*ret = json_boolean(on);
	return 0;
}

static int convert_int(const struct option *o, const json_t *v, json_t **ret, struct err *e)
{
	const char *text = json_string_value(v);
	char *end;
	long long n;

	if (!text || !*text)
		return bad_value(o, v, e);
	errno = 0;
	n = strtoll(text, &end, 0);
	if (*end || errno)
		return bad_value(o, v, e);
	*ret = json_integer(n);
	return 0;
}

static int convert_size(const struct option *o, const json_t *v, json_t **ret, struct err *e)
{
	uint64_t bytes;

	if (!json_is_string(v) ||
	    option_parse_size(json_string_value(v), o->unit ? o->unit : 1, &bytes) < 0)
		return bad_value(o, v, e);
	*ret = json_integer((json_int_t)bytes);
	return 0;
}

/* JSON on the command line may write a string as a number ("fd": 33); the row decides. */
static int convert_string(const struct option *o, const json_t *v, json_t **ret, struct err *e)
{
	char number[32];

	if (!json_is_integer(v))
		return bad_value(o, v, e);
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	*ret = json_string(number);
	return 0;
}

static int check_range(const struct option *o, const json_t *v, struct err *e)
{
	int64_t n = json_integer_value(v);

	if (o->kind == OPTION_SIZE && n < 0)
		return err_set(e, EINVAL, "%s: %" PRId64 " is negative", o->name, n);
	if (o->kind != OPTION_INT || o->max <= o->min || (n >= o->min && n <= o->max))
		return 0;
	return err_set(e, ERANGE, "%s: %" PRId64 " is not in %" PRId64 "...%" PRId64, o->name, n,
		       o->min, o->max);
}

static int check_enum(const struct option *o, const json_t *v, struct err *e)
{
	const char *text = json_string_value(v);

	for (const char *const *n = o->names; *n; n++)
		if (!strcmp(*n, text))
			return 0;
	err_set(e, EINVAL, "%s: '%s' is not a known value", o->name, text);
	return err_nearest(e, nearest_string(text, o->names));
}

static bool has_type(const struct option *o, const json_t *v)
{
	switch (o->kind) {
	case OPTION_STRING:
	case OPTION_ENUM: return json_is_string(v);
	case OPTION_BOOL: return json_is_boolean(v);
	case OPTION_INT:
	case OPTION_SIZE: return json_is_integer(v);
	case OPTION_OBJECT: return json_is_object(v);
	default: return true;
	}
}

static int convert(const struct option *o, const json_t *v, json_t **ret, struct err *e)
{
	switch (o->kind) {
	case OPTION_BOOL: return convert_bool(o, v, ret, e);
	case OPTION_INT: return convert_int(o, v, ret, e);
	case OPTION_SIZE: return convert_size(o, v, ret, e);
	case OPTION_STRING: return convert_string(o, v, ret, e);
	default: return bad_value(o, v, e);
	}
}

static int check_one(const struct option *o, const json_t *v, enum option_form form, json_t **ret,
		     struct err *e)
{
	OWNED_JSON *value = NULL;
	int r = 0;

	if (json_is_array(v) && o->kind != OPTION_ANY && form != OPTION_STRICT)
		return err_set(e, EINVAL, "%s is given twice", o->name);
	if (o->kind == OPTION_OBJECT && json_is_object(v) && o->fields) {
		r = option_check(o->fields, v, form, ret, e);
		return r < 0 ? err_in(e, "%s", o->name) : 0;
	}
	if (has_type(o, v))
		value = json_incref((json_t *)(uintptr_t)v);
	else
		r = form == OPTION_STRICT ? bad_value(o, v, e) : convert(o, v, &value, e);
	if (r == 0 && json_is_integer(value))
		r = check_range(o, value, e);
	if (r == 0 && o->kind == OPTION_ENUM)
		r = check_enum(o, value, e);
	if (r == 0)
		*ret = json_take(&value);
	return r;
}

static int check_list(const struct option *o, const json_t *v, enum option_form form, json_t **ret,
		      struct err *e)
{
	OWNED_JSON *all = json_array();
	size_t n = json_is_array(v) ? json_array_size(v) : 1;

	if (!json_is_array(v) && form == OPTION_STRICT)
		return err_set(e, EINVAL, "%s is not an array", o->name);
	for (size_t i = 0; i < n; i++) {
		json_t *one;
		int r = check_one(o, json_is_array(v) ? json_array_get(v, i) : v, form, &one, e);

		if (r < 0)
			return r;
		json_array_append_new(all, one);
	}
	*ret = json_take(&all);
	return 0;
}

static int check_required(const struct option *table, const json_t *in, struct err *e)
{
	for (; table && table->kind != OPTION_END; table++)
		if (table->required && !json_object_get(in, table->name))
			return err_set(e, EINVAL, "'%s' is missing", table->name);
	return 0;
}

/**
 * option_check() - Check an object against a table and give each value its type
 * @table:	Closed by OPTIONS_END; NULL: nothing is allowed
 * @in:		An object; left as it is
 * @form:	How strict to be
 * @ret:	Set on success only: a new object, owned by the caller
 * @e:		Set on failure only
 *
 * Errors: EINVAL unknown, missing, doubled or mistyped; ERANGE out of bounds
 * Return: 0, or a negative errno
 */
int option_check(const struct option *table, const json_t *in, enum option_form form, json_t **ret,
		 struct err *e)
{
	OWNED_JSON *out = json_object();
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)in, key, v) {
		const struct option *o = option_find(table, key);
		json_t *value;
		int r;

		if (!o) {
			err_set(e, EINVAL, "'%s' is unknown here", key);
			return err_nearest(e, option_nearest(table, key));
		}
		r = (o->list ? check_list : check_one)(o, v, form, &value, e);
		if (r < 0)
			return r;
		json_object_set_new(out, key, value);
	}
	if (check_required(table, out, e) < 0)
		return -EINVAL;
	*ret = json_take(&out);
	return 0;
}

/**
 * option_kind_name() - What a row takes, in words
 * @o:		The row
 *
 * Return: a constant
 */
const char *option_kind_name(const struct option *o)
{
	switch (o->kind) {
	case OPTION_STRING: return "a string";
	case OPTION_BOOL: return "on or off";
	case OPTION_INT: return "a number";
	case OPTION_SIZE: return "a size";
	case OPTION_ENUM: return "one of the known values";
	case OPTION_OBJECT: return "an object";
	default: return "any value";
	}
}

static void help_values(FILE *out, const struct option *o)
{
	const char *sep = "";

	if (o->kind == OPTION_ENUM)
		for (const char *const *n = o->names; *n; n++, sep = "|")
			fprintf(out, "%s%s", sep, *n);
	else
		fputs(option_kind_name(o), out);
}

/**
 * option_help() - Print a table for people
 * @out:	Where to
 * @table:	Closed by OPTIONS_END; NULL: nothing
 */
void option_help(FILE *out, const struct option *table)
{
	for (; table && table->kind != OPTION_END; table++) {
		fprintf(out, "  %s=<", table->name);
		help_values(out, table);
		fprintf(out, ">%s  - %s\n", table->required ? " (required)" : "",
			table->help ? table->help : "");
	}
}

/**
 * option_str() - A string that a checked object holds
 * @o:		Checked object
 * @name:	Of the row
 * @def:	If it isn't there
 *
 * Return: borrowed from @o, or @def
 */
const char *option_str(const json_t *o, const char *name, const char *def)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : def;
}

/**
 * option_bool() - A boolean that a checked object holds
 * @o:		Checked object
 * @name:	Of the row
 * @def:	If it isn't there
 *
 * Return: its value, or @def
 */
bool option_bool(const json_t *o, const char *name, bool def)
{
	const json_t *v = json_object_get(o, name);

	return json_is_boolean(v) ? json_is_true(v) : def;
}

/**
 * option_int() - A number that a checked object holds
 * @o:		Checked object
 * @name:	Of the row
 * @def:	If it isn't there
 *
 * Return: its value, or @def
 */
int64_t option_int(const json_t *o, const char *name, int64_t def)
{
	const json_t *v = json_object_get(o, name);

	return json_is_integer(v) ? json_integer_value(v) : def;
}
