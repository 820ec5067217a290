/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the reference part of outlive-qmp(7), written from the tables that check the
 * commands. */
#include "control/command.h"

static void put_fields(FILE *out, const struct option *o)
{
	for (; o && o->kind != OPTION_END; o++) {
		fprintf(out, ".br\n\\fI%s\\fR (%s%s%s): %s", o->name, o->list ? "list of " : "",
			option_kind_name(o), o->required ? "" : ", optional", o->help);
		for (const char *const *n = o->kind == OPTION_ENUM ? o->names : NULL; n && *n; n++)
			fprintf(out, "%s%s", n == o->names ? ": " : ", ", *n);
		fputc('\n', out);
	}
}

static void put_command(FILE *out, const struct command *c)
{
	fprintf(out, ".TP\n.B %s\n%s.", c->name, c->help);
	if (c->ret)
		fprintf(out, " Returns %s.", c->ret);
	if (c->flags & COMMAND_OOB)
		fputs(" May run out of band.", out);
	fputc('\n', out);
	put_fields(out, c->args);
}

/**
 * control_manual() - Write the commands, events and types as troff
 * @out:	Where to
 */
void control_manual(FILE *out)
{
	fputs(".SH COMMANDS\n", out);
	for (const struct command *const *g = command_groups; *g; g++)
		for (const struct command *c = *g; c->name; c++)
			put_command(out, c);
	fputs(".SH COMMANDS OF QEMU 7.2 THAT AREN'T HERE\n", out);
	for (const struct absent_command *a = absent_commands; a->name; a++)
		fprintf(out, ".TP\n.B %s\n%s.\n", a->name, a->why);
	fputs(".SH EVENTS\n", out);
	for (const struct qmp_event *e = qmp_events; e->name; e++) {
		fprintf(out, ".TP\n.B %s\n%s.\n", e->name, e->help);
		put_fields(out, e->fields);
	}
	fputs(".SH TYPES\n", out);
	for (const struct qmp_type *t = qmp_types; t->name; t++) {
		fprintf(out, ".TP\n.B %s\n\\&\n", t->name);
		put_fields(out, t->fields);
	}
}
