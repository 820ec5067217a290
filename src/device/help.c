/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: "-device help" and "-device X,help" are printed from the same rows that
 * parse the options, in QEMU's form, which tools read.
 */
#include "base/owned.h"
#include "device/props.h"

#include <stdio.h>

struct text {
	char *at;
	size_t len;
	FILE *file;
};

static void text_open(struct text *t)
{
	t->file = open_memstream(&t->at, &t->len);
	if (!t->file)
		abort(); /* out of memory, as mem_zalloc() */
}

static char *text_close(struct text *t)
{
	fclose(t->file);
	return t->at;
}

static void class_line(FILE *to, const struct device_class *c)
{
	fprintf(to, "name \"%s\"", c->name);
	if (c->bus)
		fprintf(to, ", bus %s", c->bus);
	if (c->help)
		fprintf(to, ", desc \"%s\"", c->help);
	if (!c->user)
		fputs(", no-user", to);
	fputc('\n', to);
}

/**
 * device_help() - The classes a user may create, one a line
 *
 * Return: text; the caller frees it
 */
char *device_help(void)
{
	struct text t;

	text_open(&t);
	for (const struct device_class *const *c = device_classes(); *c; c++)
		if ((*c)->user)
			class_line(t.file, *c);
	return text_close(&t);
}

static void prop_values(FILE *to, const struct prop *p)
{
	for (size_t i = 0; p->kind == PROP_ENUM && p->names[i]; i++)
		fprintf(to, "%s%s", i ? "/" : " - ", p->names[i]);
}

static void prop_line(FILE *to, const struct prop *p)
{
	char head[80];

	snprintf(head, sizeof(head), "%s=<%s>", p->name, prop_kind_name(p));
	fprintf(to, "  %-22s", head);
	if (p->help)
		fprintf(to, " - %s", p->help);
	prop_values(to, p);
	if (p->def)
		fprintf(to, " (default: %s)", p->def);
	fputc('\n', to);
}

/**
 * device_class_help() - The properties of a class, one a line
 * @class:	The class
 *
 * Return: text; the caller frees it
 */
char *device_class_help(const struct device_class *class)
{
	struct text t;

	text_open(&t);
	if (!class->props || !class->props->kind)
		fprintf(t.file, "There are no options for %s.\n", class->name);
	else
		fprintf(t.file, "%s options:\n", class->name);
	for (const struct prop *p = class->props; p && p->kind; p++)
		prop_line(t.file, p);
	return text_close(&t);
}
