/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QEMU's option strings. "a=1,b=x,,y,c" is a flat list of pairs; ",," stands
 * for one comma; the first item may be a value alone, whose key is implied ("-device
 * virtio-blk-pci,..." means driver=); a later item without "=" is a switch that is on. Values stay
 * strings: what they mean is for the option table (base/option.h) to say. A key that comes twice
 * becomes an array, which the table refuses unless the option is a list. Dotted keys
 * ("file.filename=x", "server.0.host=y") become nested objects and arrays by keyval_nest().
 */
#include "base/keyval.h"

#include "base/owned.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Takes one item up to a single comma; returns where the next begins, NULL at the end. */
static const char *item_take(const char *p, char *item)
{
	while (*p) {
		if (*p == ',' && p[1] != ',') {
			*item = '\0';
			return p + 1;
		}
		if (*p == ',')
			p++;
		*item++ = *p++;
	}
	*item = '\0';
	return NULL;
}

static bool key_valid(const char *key)
{
	if (!isalnum((unsigned char)*key) && *key != '_')
		return false;
	for (; *key; key++)
		if (!isalnum((unsigned char)*key) && !strchr("-_.:+[]", *key))
			return false;
	return true;
}

/* A second value under the same key makes an array of both. */
static int pair_add(json_t *to, const char *key, const char *value, struct err *e)
{
	json_t *old = json_object_get(to, key);
	json_t *v = json_string(value);

	if (!v)
		return err_set(e, EINVAL, "%s: the value isn't valid UTF-8", key);
	if (!old)
		json_object_set_new(to, key, v);
	else if (json_is_array(old))
		json_array_append_new(old, v);
	else
		json_object_set_new(to, key, json_pack("[O, o]", old, v));
	return 0;
}

static int item_add(json_t *to, char *item, const char *implied, struct err *e)
{
	char *value = strchr(item, '=');

	if (!value && implied)
		return pair_add(to, implied, item, e);
	if (value)
		*value++ = '\0';
	if (!key_valid(item))
		return err_set(e, EINVAL, "'%s' is not a property name", item);
	return pair_add(to, item, value ? value : "on", e);
}

/**
 * keyval_parse() - Parse "key=value,..." into a flat object of strings
 * @text:	Option string
 * @implied:	Key of a first item without "=", or NULL
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL not of this form
 * Source: qemu(1), "key=value" options
 * Return: 0, or a negative errno
 */
int keyval_parse(const char *text, const char *implied, json_t **ret, struct err *e)
{
	OWNED_JSON *object = json_object();
	OWNED(char *) item = mem_zalloc(strlen(text) + 1);
	const char *next = *text ? text : NULL;

	while (next) {
		int r;

		next = item_take(next, item);
		if (!*item && !next)
			break; /* a comma at the end is harmless, as in QEMU */
		r = item_add(object, item, implied, e);
		if (r < 0)
			return r;
		implied = NULL;
	}
	*ret = json_take(&object);
	return 0;
}

/*
 * Finds or makes the container that @key's last part goes into; *@key is moved behind the last dot.
 */
static json_t *descend(json_t *at, const char **key)
{
	const char *dot;

	while ((dot = strchr(*key, '.'))) {
		OWNED(char *) part = str_printf("%.*s", (int)(dot - *key), *key);
		json_t *child = json_object_get(at, part);

		if (!child) {
			child = json_object();
			json_object_set_new(at, part, child);
		}
		if (!json_is_object(child))
			return NULL;
		at = child;
		*key = dot + 1;
	}
	return at;
}

/* {"0": x, "1": y} means an array; returns a new reference, or NULL if the numbers have gaps. */
static json_t *array_of(const json_t *object)
{
	json_t *array = json_array();

	for (size_t i = 0; i < json_object_size(object); i++) {
		char index[24];

		snprintf(index, sizeof(index), "%zu", i);
		if (json_array_append(array, json_object_get(object, index)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static void arrays_form(json_t *object)
{
	const char *key;
	json_t *value;
	void *tmp;

	json_object_foreach_safe (object, tmp, key, value) {
		json_t *array;

		if (!json_is_object(value))
			continue;
		arrays_form(value);
		array = json_object_size(value) ? array_of(value) : NULL;
		if (array)
			json_object_set_new(object, key, array);
	}
}

/**
 * keyval_nest() - Turn dotted keys into nested objects and arrays
 * @flat:	From keyval_parse()
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL a key is both a value and a container
 * Return: 0, or a negative errno
 */
int keyval_nest(const json_t *flat, json_t **ret, struct err *e)
{
	OWNED_JSON *object = json_object();
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)flat, key, value) {
		const char *name = key;
		json_t *at = descend(object, &name);

		if (!at || json_object_get(at, name))
			return err_set(e, EINVAL, "'%s' mixes a value and dotted keys", key);
		json_object_set(at, name, value);
	}
	arrays_form(object);
	*ret = json_take(&object);
	return 0;
}

/**
 * keyval_or_json() - Parse an option that may be written as key=value or as a JSON object
 * @text:	Begins with "{" if it is JSON
 * @implied:	As in keyval_parse()
 * @ret:	Set on success only; the caller owns it
 * @ret_json:	Which form it was: JSON values are typed already
 * @e:		Set on failure only
 *
 * Errors: EINVAL not of either form
 * Return: 0, or a negative errno
 */
int keyval_or_json(const char *text, const char *implied, json_t **ret, bool *ret_json,
		   struct err *e)
{
	json_error_t bad;

	*ret_json = *text == '{';
	if (!*ret_json)
		return keyval_parse(text, implied, ret, e);
	*ret = json_loads(text, JSON_REJECT_DUPLICATES, &bad);
	if (!*ret)
		return err_set(e, EINVAL, "bad JSON at character %d: %s", bad.position, bad.text);
	return 0;
}
