/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: options and words of a subcommand, by its row: --name VALUE, --name=VALUE,
 * -n VALUE; options and words in any order; "--" ends them. An unknown option is answered with the
 * nearest known one.
 */
#include "base/nearest.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

static const struct cli_option everywhere[] = {
	{"json", 0, NULL, "machine-readable output"},
	{"help", 'h', NULL, "this"},
	{0},
};

static const struct cli_option *find_in(const struct cli_option *o, const char *name, char letter)
{
	for (; o && o->name; o++)
		if (name ? !strcmp(o->name, name) : o->letter == letter)
			return o;
	return NULL;
}

static const struct cli_option *find(const struct cli_command *c, const char *name, char letter)
{
	const struct cli_option *o = find_in(c->options, name, letter);

	return o ? o : find_in(everywhere, name, letter);
}

static const char *option_at(const void *table, size_t index)
{
	const struct cli_command *c = table;
	size_t n = 0;

	while (c->options && c->options[n].name)
		n++;
	return index < n ? c->options[index].name : everywhere[index - n].name;
}

static void keep(struct cli_args *args, const char *name, const char *value)
{
	json_t *list = json_object_get(args->values, name);

	if (!list) {
		list = json_array();
		json_object_set_new(args->values, name, list);
	}
	json_array_append_new(list, json_string(value));
}

/* Options whose value the table calls so take nothing but numbers: a mistyped one never counts as
 * 0. */
static int check_number(const struct cli_option *o, const char *value, struct err *e)
{
	static const struct {
		const char *argument, *of;
	} numbers[] = {{"MS", "0123456789"}, {"MIB", "0123456789."}, {"SECONDS", "0123456789."}};
	const char *of = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!strcmp(o->argument, numbers[i].argument))
			of = numbers[i].of;
	if (!of || (*value && strlen(value) < 10 && !value[strspn(value, of)]))
		return 0;
	return err_set(e, EINVAL, "--%s %s: a number is expected (%s)", o->name, value, o->help);
}

/* Takes the option at argv[*i], and its value. */
static int take(const struct cli_command *c, int argc, char **argv, int *i, struct cli_args *args,
		struct err *e)
{
	bool is_long = !strncmp(argv[*i], "--", 2);
	OWNED(char *) name = str_dup(argv[*i] + 1 + is_long);
	char *equals = is_long ? strchr(name, '=') : NULL;
	const struct cli_option *o;

	if (equals)
		*equals++ = '\0';
	o = find(c, is_long ? name : NULL, *name);
	if (!o || (!is_long && name[1])) {
		err_set(e, EINVAL, "there is no option %s", argv[*i]);
		return is_long ? err_nearest(e, nearest(name, c, option_at)) : -EINVAL;
	}
	if (!o->argument && equals)
		return err_set(e, EINVAL, "--%s takes no value", o->name);
	if (o->argument && !equals && ++*i >= argc)
		return err_set(e, EINVAL, "--%s needs a value: %s", o->name, o->argument);
	equals = o->argument && !equals ? argv[*i] : equals;
	keep(args, o->name, equals ? equals : "on");
	return o->argument ? check_number(o, equals, e) : 0;
}

/**
 * cli_parse() - Parse what follows a subcommand's name
 * @c:		The subcommand
 * @argc:	How many
 * @argv:	Arguments; kept
 * @ret:	Set on success only, cli_args_release()
 * @e:		Set on failure only
 *
 * Errors: EINVAL unknown option, missing value, wrong number of words
 * Return: 0, or a negative errno
 */
int cli_parse(const struct cli_command *c, int argc, char **argv, struct cli_args *ret,
	      struct err *e)
{
	int r = 0;

	*ret = (struct cli_args){.values = json_object(),
				 .words = mem_calloc((size_t)argc + 1, sizeof(char *))};
	for (int i = 0; i < argc && r == 0; i++) {
		if (c->rest && !strcmp(argv[i], "--")) {
			ret->rest = argv + i + 1;
			break;
		}
		if (argv[i][0] == '-' && argv[i][1])
			r = take(c, argc, argv, &i, ret, e);
		else
			ret->words[ret->words_len++] = argv[i];
	}
	ret->json = cli_switch(ret, "json");
	if (r == 0 && !cli_switch(ret, "help") &&
	    (ret->words_len < c->min || ret->words_len > c->max))
		r = err_set(e, EINVAL, "usage: outlive %s %s", c->name, c->words);
	if (r < 0)
		cli_args_release(ret);
	return r;
}

/**
 * cli_args_release() - Release what parsing allocated
 * @args:	Empty afterwards
 */
void cli_args_release(struct cli_args *args)
{
	json_decref(args->values);
	free(args->words);
	*args = (struct cli_args){0};
}

/**
 * cli_value() - The last value of an option
 * @args:	Parsed
 * @name:	Its long name
 * @def:	If it wasn't given
 *
 * Return: borrowed
 */
const char *cli_value(const struct cli_args *args, const char *name, const char *def)
{
	const json_t *list = json_object_get(args->values, name);
	const char *s = json_string_value(json_array_get(list, json_array_size(list) - 1));

	return s ? s : def;
}

/**
 * cli_seconds() - A time in seconds
 * @args:	Parsed
 * @name:	Its long name
 * @def:	If it wasn't given, or is no number
 *
 * Return: seconds
 */
double cli_seconds(const struct cli_args *args, const char *name, double def)
{
	const char *text = cli_value(args, name, NULL);
	char *end;
	double v = text ? strtod(text, &end) : def;

	return text && (*end || end == text || v < 0) ? def : v;
}

/**
 * cli_switch() - Was an option given?
 * @args:	Parsed
 * @name:	Its long name
 *
 * Return: whether it was
 */
bool cli_switch(const struct cli_args *args, const char *name)
{
	return json_object_get(args->values, name) != NULL;
}

static void help_options(FILE *out, const struct cli_option *o)
{
	for (; o && o->name; o++) {
		char head[64];

		snprintf(head, sizeof(head), "--%s%s%s", o->name, o->argument ? " " : "",
			 o->argument ? o->argument : "");
		fprintf(out, o->letter ? "  -%c, %-28s %s\n" : "  %c   %-28s %s\n",
			o->letter ? o->letter : ' ', head, o->help);
	}
}

/**
 * cli_help() - Explain a subcommand
 * @out:	Where to
 * @c:		The subcommand
 */
void cli_help(FILE *out, const struct cli_command *c)
{
	fprintf(out, "Usage: outlive %s %s%s\n\n%s.\n\nOptions:\n", c->name, c->words,
		c->options ? " [OPTION...]" : "", c->help);
	help_options(out, c->options);
	help_options(out, everywhere);
	if (c->examples)
		fprintf(out, "\nExamples:\n%s", c->examples);
}
