/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the command line is walked once. Each option finds its row in table.c, its
 * argument is read in the row's form into an object, the object is checked against the row's keys,
 * and it becomes an item of its group, or is merged into the group's only item. Every item
 * remembers the argument it came from, so that whatever is found wrong later, by whoever, can
 * point at it. What the items mean together is for finish.c.
 */
#include "vmm/options.h"

#include "base/nearest.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>

static const struct vmm_option *row_find(const char *name)
{
	for (const struct vmm_option *o = vmm_options_table; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

static const char *row_name(const void *table, size_t index)
{
	return ((const struct vmm_option *)table)[index].name;
}

/**
 * vmm_err_item() - Say which argument an error is about
 * @e:		Set by whoever found it
 * @item:	The item
 *
 * Return: -@e->code
 */
int vmm_err_item(struct err *e, const struct vmm_item *item)
{
	if (!item->argument)
		return err_in(e, "argument %d (-%s)", item->position, item->option->name);
	return err_in(e, "argument %d (-%s %.100s)", item->position, item->option->name,
		      item->argument);
}

static bool asks(const char *word)
{
	return !strcmp(word, "help") || !strcmp(word, "?");
}

/* "+x" and "x" mean x=on, "-x" means x=off. */
static char *features_text(const char *text)
{
	OWNED(char *) copy = str_dup(text);
	char *result = str_dup("");
	char *save = NULL;

	for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		const char *sep = *result ? "," : "";
		char *longer;

		if (*item == '+' || *item == '-')
			longer = str_printf("%s%s%s=%s", result, sep, item + 1,
					    *item == '+' ? "on" : "off");
		else
			longer = str_printf("%s%s%s%s", result, sep, item,
					    *result && !strchr(item, '=') && !asks(item) ? "=on"
											 : "");
		free(result);
		result = longer;
	}
	return result;
}

/* "DRIVER.PROPERTY=VALUE", unless it is driver=X,property=Y,value=Z. */
static int globals_read(const char *text, json_t **ret, struct err *e)
{
	const char *equals = strchr(text, '='), *dot = strchr(text, '.');

	if (!strncmp(text, "driver=", 7))
		return keyval_parse(text, NULL, ret, e);
	if (!equals || !dot || dot > equals)
		return err_set(e, EINVAL, "'%s' is not DRIVER.PROPERTY=VALUE", text);
	*ret = json_pack("{s:s%, s:s%, s:s}", "driver", text, (size_t)(dot - text), "property",
			 dot + 1, (size_t)(equals - dot - 1), "value", equals + 1);
	return *ret ? 0 : err_set(e, EINVAL, "'%s' isn't valid UTF-8", text);
}

static int argument_read(struct vmm_item *item, json_t **ret, struct err *e)
{
	const struct vmm_option *o = item->option;
	OWNED(char *) text = NULL;

	switch (o->form) {
	case VMM_FLAG: *ret = json_object(); return 0;
	case VMM_TEXT:
		*ret = json_pack("{s:s}", "text", item->argument);
		return *ret ? 0 : err_set(e, EINVAL, "it isn't valid UTF-8");
	case VMM_FEATURES:
		text = features_text(item->argument);
		return keyval_parse(text, o->implied, ret, e);
	case VMM_GLOBALS: return globals_read(item->argument, ret, e);
	default: break;
	}
	if (*item->argument == '{' && !o->json)
		return err_set(e, EINVAL, "-%s takes key=value, not JSON", o->name);
	return keyval_or_json(item->argument, o->implied, ret, &item->json, e);
}

/* Splits what the table knows from what it leaves to others, checks the former, joins them again.
 */
static int check_open(const struct vmm_option *o, json_t *values, enum option_form form,
		      json_t **ret, struct err *e)
{
	OWNED_JSON *known = json_object();
	const char *key;
	json_t *v;
	int r;

	json_object_foreach (values, key, v) {
		if (option_find(o->table, key))
			json_object_set(known, key, v);
		else if (json_is_array(v) && form == OPTION_TEXT)
			return err_set(e, EINVAL, "%s is given more than once", key);
	}
	r = option_check(o->table, known, form, ret, e);
	if (r == 0)
		json_object_update_missing(*ret, values);
	return r;
}

/* -machine kernel_irqchip=on is kernel-irqchip=on, as on QEMU. */
static json_t *dashed(const json_t *values)
{
	json_t *result = json_object(), *v;
	const char *key;

	json_object_foreach ((json_t *)(uintptr_t)values, key, v) {
		OWNED(char *) name = str_dup(key);

		for (char *p = name; *p; p++)
			*p = *p == '_' ? '-' : *p;
		json_object_set(result, name, v);
	}
	return result;
}

static bool asks_help(const json_t *values)
{
	return json_object_get(values, "help") || json_object_get(values, "?");
}

static int item_check(struct vmm_item *item, json_t *values, struct err *e)
{
	const struct vmm_option *o = item->option;
	enum option_form form = item->json ? OPTION_JSON : OPTION_TEXT;
	OWNED_JSON *nested = NULL;
	int r = 0;

	if (!o->table || asks_help(values)) {
		item->values = json_incref(values);
		return 0;
	}
	if (o->nest && !item->json)
		r = keyval_nest(values, &nested, e);
	else
		nested = o->group == VMM_MACHINE ? dashed(values) : json_incref(values);
	if (r < 0)
		return r;
	if (o->open)
		return check_open(o, nested, form, &item->values, e);
	return option_check(o->table, nested, form, &item->values, e);
}

/* A second occurrence may add keys, or say the same again. */
static int merge(struct vmm_item *old, const struct vmm_item *more, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach (more->values, key, v) {
		const json_t *before = json_object_get(old->values, key);

		if (before && !json_equal(before, v))
			return err_set(e, EINVAL, "'%s' contradicts argument %d (-%s%s%s)", key,
				       old->position, old->option->name, old->argument ? " " : "",
				       old->argument ? old->argument : "");
		json_object_set(old->values, key, v);
	}
	return 0;
}

static int item_keep(struct vmm_options *all, struct vmm_item *item, struct err *e)
{
	struct vmm_items *g = &all->groups[item->option->group];

	if (g->len && item->option->last) {
		json_decref(g->items[0].values);
		g->items[0] = *item;
		return 0;
	}
	if (g->len && !item->option->repeat) {
		int r = merge(&g->items[0], item, e);

		json_decref(item->values);
		return r;
	}
	g->items = realloc(g->items, (g->len + 1) * sizeof(*g->items));
	if (!g->items)
		abort();
	g->items[g->len++] = *item;
	return 0;
}

static int item_parse(struct vmm_options *all, struct vmm_item *item, struct err *e)
{
	OWNED_JSON *values = NULL;
	int r = argument_read(item, &values, e);

	if (r == 0)
		r = item_check(item, values, e);
	if (r == 0)
		r = item_keep(all, item, e);
	return r < 0 ? vmm_err_item(e, item) : 0;
}

static int unknown(const char *arg, const char *name, int position, struct err *e)
{
	const char *why = *arg == '-' ? vmm_absent(name) : NULL;

	if (why)
		return err_set(e, ENOTSUP, "argument %d (%s): QEMU's option isn't here: %s",
			       position, arg, why);
	err_set(e, EINVAL, "argument %d (%s): %s", position, arg,
		*arg == '-' ? "there is no such option"
			    : "options begin with '-'; disks come by -drive");
	return *arg == '-' ? err_nearest(e, nearest(name, vmm_options_table, row_name)) : -EINVAL;
}

/**
 * vmm_options_parse() - Parse a command line
 * @o:		Filled in; on success the caller releases it with vmm_options_release()
 * @argc:	As main()
 * @argv:	As main(); must outlive @o
 * @e:		Set on failure only: names the argument and the nearest known word
 *
 * Errors: EINVAL unknown, malformed, contradictory; ENOTSUP QEMU has it; ERANGE out of bounds
 * Source: qemu(1)
 * Return: 0, or a negative errno
 */
int vmm_options_parse(struct vmm_options *o, int argc, const char *const *argv, struct err *e)
{
	int r = 0;

	*o = (struct vmm_options){0};
	for (int i = 1; i < argc && r == 0; i++) {
		const char *name = argv[i] + (*argv[i] == '-') + !strncmp(argv[i], "--", 2);
		struct vmm_item item = {.position = i, .option = row_find(name)};

		if (*argv[i] != '-' || !item.option)
			r = unknown(argv[i], name, i, e);
		else if (item.option->form != VMM_FLAG && ++i >= argc)
			r = err_set(e, EINVAL, "argument %d (%s): its value is missing: %s", i - 1,
				    argv[i - 1], item.option->argument);
		else
			item.argument = item.option->form != VMM_FLAG ? argv[i] : NULL;
		if (r == 0)
			r = item_parse(o, &item, e);
	}
	if (r < 0)
		vmm_options_release(o);
	return r;
}

/**
 * vmm_options_release() - Release what parsing allocated
 * @o:		Parsed options; empty afterwards
 */
void vmm_options_release(struct vmm_options *o)
{
	for (size_t g = 0; g < VMM_GROUPS; g++) {
		for (size_t i = 0; i < o->groups[g].len; i++)
			json_decref(o->groups[g].items[i].values);
		free(o->groups[g].items);
	}
	*o = (struct vmm_options){0};
}

/**
 * vmm_given() - Was anything of this group asked for?
 * @o:		Parsed options
 * @g:		The group
 *
 * Return: whether it was
 */
bool vmm_given(const struct vmm_options *o, enum vmm_group g)
{
	return o->groups[g].len > 0;
}

/**
 * vmm_values() - The object of a group that has at most one
 * @o:		Parsed options
 * @g:		The group
 *
 * Return: borrowed; NULL (which option_str() and friends take) if not given
 */
const json_t *vmm_values(const struct vmm_options *o, enum vmm_group g)
{
	return o->groups[g].len ? o->groups[g].items[0].values : NULL;
}

/**
 * vmm_text() - The argument of an option that takes one string
 * @o:		Parsed options
 * @g:		Its group
 *
 * Return: borrowed; NULL if not given
 */
const char *vmm_text(const struct vmm_options *o, enum vmm_group g)
{
	return option_str(vmm_values(o, g), "text", NULL);
}
