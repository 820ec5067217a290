/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a model is a row that says what it has beyond an earlier row, its versions
 * each what they change of the one before. A name is MODEL, MODEL-vN, or a version's alias; MODEL
 * alone is version 1, as for every machine type of QEMU since 4.1. Features are read from their
 * names when a model is asked for; a name that isn't known would be a mistake in the tables.
 */
#include "kvm/x86/models.h"
#include "base/nearest.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct x86_model *const tables[] = {x86_models_plain, x86_models_intel,
						 x86_models_amd};

/* "a b -c" over what is there. */
static void change(struct x86_features *f, const char *text)
{
	while (text && *text) {
		bool off = *text == '-';
		size_t len;

		text += off;
		len = strcspn(text, " ");
		if (!x86_feature_set(f, text, len, !off))
			assert(!"a CPU model names an unknown feature");
		text += len + (text[len] == ' ');
	}
}

static void load_like(const struct x86_model *table, const struct x86_model *m,
		      struct x86_features *f)
{
	for (const struct x86_model *other = table; m->like && other < m; other++)
		if (!strcmp(other->name, m->like))
			load_like(table, other, f);
	change(f, m->features);
}

static const struct x86_model *table_of(const struct x86_model *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct x86_model *one = tables[i]; one->name; one++)
			if (one == m)
				return tables[i];
	return m;
}

/**
 * x86_model_load() - What a model has in one of its versions
 * @n:		Model and version
 * @ret:	Its features
 * @ret_id:	Brand string
 * @ret_model, @ret_stepping: Numbers
 */
void x86_model_load(const struct x86_model_name *n, struct x86_features *ret, const char **ret_id,
		    uint32_t *ret_model, uint32_t *ret_stepping)
{
	const struct x86_model *m = n->model;

	*ret = (struct x86_features){0};
	*ret_id = m->id;
	*ret_model = m->model;
	*ret_stepping = m->stepping;
	load_like(table_of(m), m, ret);
	for (unsigned int v = 2; v <= n->version; v++) {
		const struct x86_model_version *version = &m->versions[v - 2];

		change(ret, version->features);
		*ret_id = version->id ? version->id : *ret_id;
		*ret_model = version->model ? version->model : *ret_model;
		*ret_stepping = version->stepping ? version->stepping : *ret_stepping;
	}
}

typedef void name_fn(void *opaque, const struct x86_model_name *n);

static void each_version(const struct x86_model *m, name_fn *fn, void *opaque)
{
	struct x86_model_name n = {.model = m, .version = 1};

	snprintf(n.name, sizeof(n.name), "%s-v1", m->name);
	fn(opaque, &n);
	for (const struct x86_model_version *v = m->versions; v && v->features; v++) {
		n.version++;
		n.note = v->note;
		n.alias = false;
		snprintf(n.name, sizeof(n.name), "%s-v%u", m->name, n.version);
		fn(opaque, &n);
		n.alias = true;
		snprintf(n.name, sizeof(n.name), "%s", v->alias ? v->alias : "");
		if (v->alias)
			fn(opaque, &n);
	}
}

/**
 * x86_models_each() - All names of all models
 * @fn:		Called with each
 * @opaque:	For @fn
 */
void x86_models_each(name_fn *fn, void *opaque)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct x86_model *m = tables[i]; m->name; m++) {
			struct x86_model_name n = {.model = m, .version = 1, .alias = true};

			snprintf(n.name, sizeof(n.name), "%s", m->name);
			fn(opaque, &n);
			each_version(m, fn, opaque);
		}
}

/**
 * struct search - A name that is looked for
 * @found:	Its model; NULL: not seen
 * @len:	Names in @names, for the nearest
 */
struct search {
	const char *wanted;
	struct x86_model_name found;
	size_t len;
	char names[192][48];
};

static void look(void *opaque, const struct x86_model_name *n)
{
	struct search *s = opaque;

	if (!strcmp(n->name, s->wanted))
		s->found = *n;
	if (s->len < ARRAY_SIZE(s->names))
		strcpy(s->names[s->len++], n->name);
}

static const char *name_at(const void *table, size_t index)
{
	const struct search *s = table;

	return index < s->len ? s->names[index] : NULL;
}

/**
 * x86_model_find() - What a name stands for
 * @name:	"Nehalem", "Nehalem-v2", "Nehalem-IBRS"
 * @ret:	Set on success
 * @e:		Set on failure
 *
 * Errors: ENOENT no such model
 * Return: 0, or a negative errno
 */
int x86_model_find(const char *name, struct x86_model_name *ret, struct err *e)
{
	struct search s = {.wanted = name};

	x86_models_each(look, &s);
	*ret = s.found;
	if (s.found.model)
		return 0;
	err_set(e, ENOENT, "CPU model '%s' not found", name);
	return err_nearest(e, nearest(name, &s, name_at));
}
