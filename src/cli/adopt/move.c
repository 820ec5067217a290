/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the parts of a move that all steps share: its lists, its options, paths. */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"
#include "cli/remote/remote.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/**
 * move_init() - Nothing known yet
 * @m:		The move
 * @name:	Of the guest; borrowed
 * @from_qemu:	From QEMU to Outlive, or back
 */
void move_init(struct move *m, const char *name, bool from_qemu)
{
	*m = (struct move){.name = name, .from_qemu = from_qemu};
	m->source.fd = m->target.fd = -1;
	m->groups = json_object();
	m->config = json_object();
	m->argv = json_array();
	m->record = json_array();
	m->blockers = json_array();
	m->notes = json_array();
	m->paths = json_array();
	m->renamed = json_object();
	for (size_t i = 0; i < TAPS_MAX; i++)
		m->taps[i].fd = -1;
}

/**
 * move_release() - Let go of everything but the two processes
 * @m:	The move
 */
void move_release(struct move *m)
{
	json_t *const all[] = {m->words,  m->groups,       m->config, m->argv,
			       m->record, m->blockers,     m->notes,  m->paths,
			       m->limits, m->capabilities, m->rules,  m->renamed};

	qmp_close(&m->source);
	qmp_close(&m->target);
	for (size_t i = 0; i < m->taps_len; i++)
		fd_close(&m->taps[i].fd);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		json_decref(all[i]);
	free(m->cwd);
}

PRINTF(2, 0)
static void sentence(json_t *to, const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	json_array_append_new(to, json_string(text));
	free(text);
}

/**
 * move_block() - One thing that can't be carried
 * @m:		The move
 * @fmt:	A sentence with the remedy
 */
void move_block(struct move *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sentence(m->blockers, fmt, ap);
	va_end(ap);
}

/**
 * move_note() - One thing that will be different
 * @m:		The move
 * @fmt:	A sentence
 */
void move_note(struct move *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sentence(m->notes, fmt, ap);
	va_end(ap);
}

/**
 * move_add() - An option for the target
 * @m:		The move
 * @option:	With its dash
 * @value:	NULL: a switch
 */
void move_add(struct move *m, const char *option, const char *value)
{
	json_t *const lists[] = {m->argv, m->record};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_array_append_new(lists[i], json_string(option));
		if (value)
			json_array_append_new(lists[i], json_string(value));
	}
}

static void put_value(FILE *f, const json_t *v)
{
	const char *s = json_string_value(v);

	if (json_is_boolean(v))
		fputs(json_is_true(v) ? "on" : "off", f);
	else if (json_is_integer(v))
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		fprintf(f, "%.0f", json_real_value(v));
	for (; s && *s; s++)
		fputs(*s == ',' ? ",," : (char[]){*s, 0}, f);
}

static void put_pairs(FILE *f, const json_t *values, const char *prefix, const char *first);

static void put_pair(FILE *f, const char *name, const json_t *v)
{
	size_t i;
	json_t *item;

	if (json_is_object(v)) {
		OWNED(char *) prefix = str_printf("%s.", name);

		put_pairs(f, v, prefix, "");
	} else if (json_is_array(v)) {
		json_array_foreach ((json_t *)(uintptr_t)v, i, item) {
			OWNED(char *) numbered = str_printf("%s.%zu", name, i);

			put_pair(f, numbered, item);
		}
	} else if (!json_is_null(v)) {
		fprintf(f, "%s%s=", ftell(f) ? "," : "", name);
		put_value(f, v);
	}
}

static void put_pairs(FILE *f, const json_t *values, const char *prefix, const char *first)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)values, key, v) {
		OWNED(char *) name = str_printf("%s%s", prefix, key);

		if (strcmp(key, first))
			put_pair(f, name, v);
	}
}

static json_t *text_of(const json_t *values, const char *first, bool implied)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	json_t *result;

	if (!f)
		abort();
	if (json_object_get(values, first)) {
		if (!implied)
			fprintf(f, "%s=", first);
		put_value(f, json_object_get(values, first));
	}
	fflush(f);
	put_pairs(f, values, "", first);
	fclose(f);
	result = json_string(text);
	free(text);
	return result;
}

/**
 * move_add_values() - An option made of keys and values
 * @m:		The move
 * @option:	With its dash
 * @values:	Nested objects become dotted keys
 * @recorded:	For @m->record; NULL: the same
 * @first:	The key in front
 * @implied:	Which goes without saying
 */
void move_add_values(struct move *m, const char *option, const json_t *values,
		     const json_t *recorded, const char *first, bool implied)
{
	json_array_append_new(m->argv, json_string(option));
	json_array_append_new(m->argv, text_of(values, first, implied));
	json_array_append_new(m->record, json_string(option));
	json_array_append_new(m->record, text_of(recorded ? recorded : values, first, implied));
}

/**
 * move_rename() - What a name of the source's host is called here
 * @m:		With @rules
 * @kind:	Of rules_map()
 * @name:	Over there
 *
 * Return: the caller frees it
 */
char *move_rename(const struct move *m, const char *kind, const char *name)
{
	char *here = rules_map(m->rules, kind, name);

	if (strcmp(here, name))
		json_object_set_new(m->renamed, here, json_string(name));
	return here;
}

/**
 * move_path() - A path as the source means it
 * @m:		The move
 * @path:	Relative to where it was started, or not
 *
 * Return: absolute, by the name it has here; the caller frees it
 */
char *move_path(const struct move *m, const char *path)
{
	OWNED(char *)
	whole = *path == '/' || !*path || !m->cwd ? str_dup(path)
						  : str_printf("%s/%s", m->cwd, path);

	return move_rename(m, "path", whole);
}

static const char *last_part(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot ? dot + 1 : key;
}

/**
 * move_names() - Hosts, taps and bridges by the names they have here
 * @m:		With @rules
 * @values:	Of an option; changed, nested ones too
 */
void move_names(const struct move *m, json_t *values)
{
	static const char *const keys[][2] = {
		{"host", "host"}, {"ifname", "tap"}, {"br", "bridge"}};
	const char *key;
	json_t *v;

	json_object_foreach (values, key, v) {
		if (json_is_object(v))
			move_names(m, v);
		for (size_t i = 0; json_is_string(v) && i < ARRAY_SIZE(keys); i++) {
			OWNED(char *) name = NULL;

			if (strcmp(last_part(key), keys[i][0]))
				continue;
			name = move_rename(m, keys[i][1], json_string_value(v));
			json_object_set_new(values, key, json_string(name));
			break;
		}
	}
}

static bool is_path_key(const char *key)
{
	static const char *const keys[] = {"filename", "path",    "mem-path",
					   "file",     "logfile", "dir"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(last_part(key), keys[i]))
			return true;
	return false;
}

/**
 * move_paths() - Make paths absolute, nested ones too
 * @m:		The move
 * @values:	Changed
 */
void move_paths(const struct move *m, json_t *values)
{
	bool named = !strcmp(option_str(values, "abstract", "off"), "on");
	bool node = json_object_get(values, "node-name"); /* its "file" is another node's name */
	const char *key;
	json_t *v;

	json_object_foreach (values, key, v) {
		OWNED(char *) path = NULL;

		if (json_is_object(v))
			move_paths(m, v);
		if (!json_is_string(v) || !is_path_key(key) || named ||
		    (node && !strcmp(key, "file")))
			continue;
		path = move_path(m, json_string_value(v));
		json_object_set_new(values, key, json_string(path));
	}
}

/**
 * move_find() - The entry of a list with a certain value
 * @list:	Of objects; may be NULL
 * @key:	A member
 * @value:	Its value
 *
 * Return: borrowed, or NULL
 */
json_t *move_find(const json_t *list, const char *key, const char *value)
{
	size_t i;
	json_t *one;

	json_array_foreach ((json_t *)(uintptr_t)list, i, one) {
		if (!strcmp(option_str(one, key, ""), value))
			return one;
	}
	return NULL;
}
