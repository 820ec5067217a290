/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a driver's option table says names and types; nothing outside it is
 * accepted, nothing is ignored. */
#include "base/option.h"
#include "block/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Options of every node. */
static const struct block_option common[] = {
	{"driver", BLOCK_OPTION_STRING, true, "kind of node"},
	{"node-name", BLOCK_OPTION_STRING, false, "name to refer to it by"},
	{"read-only", BLOCK_OPTION_BOOL, false, "refuse writes"},
	{"auto-read-only", BLOCK_OPTION_BOOL, false,
	 "fall back to read-only when the file can't be written"},
	{"discard", BLOCK_OPTION_STRING, false, "'unmap' passes discards on, 'ignore' drops them"},
	{"detect-zeroes", BLOCK_OPTION_STRING, false, "'off' only"},
	{"cache", BLOCK_OPTION_OBJECT, false,
	 "{direct: bypass the page cache, no-flush: ignore flushes}"},
	{NULL, 0, false, NULL},
};

static const struct block_option *find(const struct block_option *o, const char *name)
{
	for (; o && o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

/* A boolean, or the word for it that a command line has. */
static bool is_bool(const json_t *v, bool *ret)
{
	const char *word = json_string_value(v);

	if (word)
		return option_parse_bool(word, ret) == 0;
	*ret = json_is_true(v);
	return json_is_boolean(v);
}

static bool is_list(const json_t *v)
{
	const json_t *one;
	size_t i;

	json_array_foreach (v, i, one)
		if (!json_is_string(one))
			return false;
	return json_is_array(v);
}

static bool fits(const struct block_option *o, const json_t *v)
{
	bool ignored;

	switch (o->kind) {
	case BLOCK_OPTION_STRING: return json_is_string(v);
	case BLOCK_OPTION_BOOL: return is_bool(v, &ignored);
	case BLOCK_OPTION_SIZE: return json_is_integer(v) || json_is_string(v);
	case BLOCK_OPTION_NODE: return json_is_object(v) || json_is_string(v);
	case BLOCK_OPTION_OBJECT: return json_is_object(v);
	case BLOCK_OPTION_LIST: return is_list(v);
	}
	return false;
}

static int cache_check(const json_t *cache, struct err *e)
{
	const char *key;
	bool ignored;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)cache, key, v) {
		if (strcmp(key, "direct") && strcmp(key, "no-flush"))
			return err_set(e, EINVAL,
				       "cache: unknown option '%s' (known: direct, no-flush)", key);
		if (!is_bool(v, &ignored))
			return err_set(e, EINVAL, "cache.%s: true or false is expected", key);
	}
	return 0;
}

static int one_check(const struct block_driver *d, const char *key, const json_t *v, struct err *e)
{
	const struct block_option *o = find(common, key);

	if (!o)
		o = find(d->options, key);
	if (!o)
		return err_set(e, EINVAL, "block driver %s has no option '%s'", d->name, key);
	if (!fits(o, v))
		return err_set(e, EINVAL, "%s: wrong type of value (%s)", key, o->help);
	if (strcmp(key, "cache") == 0)
		return cache_check(v, e);
	if (strcmp(key, "discard") == 0 && strcmp(json_string_value(v), "unmap") &&
	    strcmp(json_string_value(v), "ignore"))
		return err_set(e, EINVAL, "discard: '%s' is neither 'unmap' nor 'ignore'",
			       json_string_value(v));
	if (strcmp(key, "detect-zeroes") == 0 && strcmp(json_string_value(v), "off"))
		return err_set(e, ENOTSUP, "detect-zeroes: only 'off' is supported");
	return 0;
}

/**
 * block_options_check() - Names, types and required options of a node
 * @d:		The driver
 * @options:	As given
 * @e:		Set on failure only
 *
 * Errors: EINVAL, ENOTSUP with the option's name
 * Return: 0, or a negative errno
 */
int block_options_check(const struct block_driver *d, const json_t *options, struct err *e)
{
	const char *key;
	json_t *v;
	int r;

	json_object_foreach ((json_t *)(uintptr_t)options, key, v) {
		r = one_check(d, key, v, e);
		if (r < 0)
			return r;
	}
	for (const struct block_option *o = d->options; o && o->name; o++)
		if (o->required && !json_object_get(options, o->name))
			return err_set(e, EINVAL, "block driver %s needs '%s' (%s)", d->name,
				       o->name, o->help);
	return 0;
}

/**
 * block_option_string() - A string option
 * @n:		The node
 * @name:	Option
 * @def:	If not given
 *
 * Return: borrowed
 */
const char *block_option_string(const struct block_node *n, const char *name, const char *def)
{
	const char *s = json_string_value(json_object_get(n->options, name));

	return s ? s : def;
}

/**
 * block_option_bool() - A boolean option; "cache.direct" looks into the nested object
 * @n:		The node
 * @name:	Option
 * @def:	If not given
 *
 * Return: its value
 */
bool block_option_bool(const struct block_node *n, const char *name, bool def)
{
	const json_t *from = n->options, *v;
	bool value;

	if (strncmp(name, "cache.", 6) == 0) {
		from = json_object_get(from, "cache");
		name += 6;
	}
	v = json_object_get(from, name);
	return v && is_bool(v, &value) ? value : def;
}

/**
 * block_option_size() - A number of bytes, as a number or as text with k, M, G or T behind it
 * @n:		The node
 * @name:	Option
 * @value:	In: the default; out: the value
 * @e:		Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or a negative errno
 */
int block_option_size(const struct block_node *n, const char *name, uint64_t *value, struct err *e)
{
	static const char suffixes[] = "kMGT";
	const json_t *v = json_object_get(n->options, name);
	const char *s = json_string_value(v), *suffix;
	char *end;

	if (json_is_integer(v) && json_integer_value(v) >= 0)
		*value = (uint64_t)json_integer_value(v);
	if (!s)
		return json_is_integer(v) && json_integer_value(v) < 0
			       ? err_set(e, EINVAL, "%s: negative", name)
			       : 0;
	errno = 0;
	*value = strtoull(s, &end, 10);
	suffix = *end ? strchr(suffixes, *end) : NULL;
	if (errno || end == s || (*end && (!suffix || end[1])))
		return err_set(e, EINVAL,
			       "%s: '%s' is no size (a number, with k, M, G or T behind it)", name,
			       s);
	if (suffix)
		*value <<= 10 * (suffix - suffixes + 1);
	return 0;
}
