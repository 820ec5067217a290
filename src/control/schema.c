/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: query-qmp-schema from the tables. Clients find commands, arguments and
 * values in it by name ("does netdev_add's type know dgram?"), so names of arguments and values
 * are what counts; names of types only tie things together. Each object or enum type is emitted
 * where it is first met.
 */
#include "control/command.h"

#include "base/owned.h"

#include <stdio.h>
#include <string.h>

static void type_array(json_t *all, json_t *seen, const char *element);

static bool first_time(json_t *seen, const char *name)
{
	if (json_object_get(seen, name))
		return false;
	json_object_set_new(seen, name, json_true());
	return true;
}

static void type_enum(json_t *all, json_t *seen, const char *name, const char *const *names)
{
	json_t *values = json_array(), *members = json_array();

	for (; *names; names++) {
		json_array_append_new(values, json_string(*names));
		json_array_append_new(members, json_pack("{s:s}", "name", *names));
	}
	if (first_time(seen, name)) {
		json_array_append_new(all,
				      json_pack("{s:s, s:s, s:o, s:o}", "name", name, "meta-type",
						"enum", "values", values, "members", members));
		return;
	}
	json_decref(values);
	json_decref(members);
}

static void type_object(json_t *all, json_t *seen, const char *name, const struct option *fields);

/* The type of one member; emits it if it is new. The name is copied to @type. */
static void member_type(json_t *all, json_t *seen, const char *place, const struct option *o,
			char *type, size_t size)
{
	static const char *const builtin[] = {
		[OPTION_STRING] = "str", [OPTION_BOOL] = "bool", [OPTION_INT] = "int",
		[OPTION_SIZE] = "int",   [OPTION_ANY] = "any",
	};
	char element[160];

	if (o->kind == OPTION_OBJECT && !o->fields)
		snprintf(element, sizeof(element), "any");
	else if (o->kind == OPTION_ENUM || o->kind == OPTION_OBJECT)
		snprintf(element, sizeof(element), o->type ? "%s" : "q_%s-%s",
			 o->type ? o->type : place, o->name);
	else
		snprintf(element, sizeof(element), "%s", builtin[o->kind]);
	if (o->kind == OPTION_ENUM)
		type_enum(all, seen, element, o->names);
	else if (o->kind == OPTION_OBJECT && o->fields)
		type_object(all, seen, element, o->fields);
	if (o->list)
		type_array(all, seen, element);
	snprintf(type, size, o->list ? "[%s]" : "%s", element);
}

static void type_object(json_t *all, json_t *seen, const char *name, const struct option *fields)
{
	json_t *members = json_array();

	if (!first_time(seen, name)) {
		json_decref(members);
		return;
	}
	for (const struct option *o = fields; o && o->kind != OPTION_END; o++) {
		char type[160];
		json_t *member;

		member_type(all, seen, name, o, type, sizeof(type));
		member = json_pack("{s:s, s:s}", "name", o->name, "type", type);
		if (!o->required)
			json_object_set_new(member, "default", json_null());
		json_array_append_new(members, member);
	}
	json_array_append_new(all, json_pack("{s:s, s:s, s:o}", "name", name, "meta-type", "object",
					     "members", members));
}

static void type_array(json_t *all, json_t *seen, const char *element)
{
	OWNED(char *) name = str_printf("[%s]", element);

	if (first_time(seen, name))
		json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "name", name, "meta-type",
						     "array", "element-type", element));
}

/* "[X]" or "X" of a command's return type: emits what it names. */
static void type_returned(json_t *all, json_t *seen, const char *ret)
{
	char name[80];
	bool list = *ret == '[';

	snprintf(name, sizeof(name), "%.*s", (int)(strlen(ret) - 2 * list), ret + list);
	for (const struct qmp_type *t = qmp_types; t->name; t++)
		if (!strcmp(t->name, name))
			type_object(all, seen, name, t->fields);
	if (list)
		type_array(all, seen, name);
}

static json_t *features_of(const char *text)
{
	OWNED(char *) copy = str_dup(text);
	char *save = NULL;
	json_t *list = json_array();

	for (char *f = strtok_r(copy, " ", &save); f; f = strtok_r(NULL, " ", &save))
		json_array_append_new(list, json_string(f));
	return list;
}

/* The arguments that go with a value of one of them: @all ends with the command's argument type. */
static void put_variants(json_t *all, json_t *seen, const struct command *cmd)
{
	json_t *object = json_incref(json_array_get(all, json_array_size(all) - 1));
	json_t *variants = json_array();

	for (const struct qmp_variant *v = qmp_variants; v->command; v++) {
		OWNED(char *) type = NULL;

		if (strcmp(v->command, cmd->name))
			continue;
		type = str_printf("q_%s-%s", v->command, v->value);
		type_object(all, seen, type, v->fields);
		json_object_set_new(object, "tag", json_string(v->tag));
		json_array_append_new(variants,
				      json_pack("{s:s, s:s}", "case", v->value, "type", type));
	}
	if (json_array_size(variants))
		json_object_set(object, "variants", variants);
	json_decref(variants);
	json_decref(object);
}

static void put_command(json_t *all, json_t *seen, const struct command *cmd)
{
	OWNED(char *) arg = str_printf(cmd->args ? "q_obj_%s-arg" : "0", cmd->name);
	json_t *entry;

	if (cmd->args)
		type_object(all, seen, arg, cmd->args);
	if (cmd->args)
		put_variants(all, seen, cmd);
	if (cmd->ret)
		type_returned(all, seen, cmd->ret);
	entry = json_pack("{s:s, s:s, s:s, s:s}", "name", cmd->name, "meta-type", "command",
			  "arg-type", arg, "ret-type", cmd->ret ? cmd->ret : "0");
	if (cmd->flags & COMMAND_OOB)
		json_object_set_new(entry, "allow-oob", json_true());
	if (cmd->features)
		json_object_set_new(entry, "features", features_of(cmd->features));
	json_array_append_new(all, entry);
}

static void put_event(json_t *all, json_t *seen, const struct qmp_event *event)
{
	OWNED(char *) arg = str_printf(event->fields ? "q_obj_%s-arg" : "0", event->name);

	if (event->fields)
		type_object(all, seen, arg, event->fields);
	json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "name", event->name, "meta-type",
					     "event", "arg-type", arg));
}

/**
 * schema_build() - The whole schema
 *
 * Source: QEMU's qapi/introspect.json
 * Return: a new array of SchemaInfo
 */
json_t *schema_build(void)
{
	static const char *const builtin[][2] = {{"str", "string"},   {"int", "int"},
						 {"bool", "boolean"}, {"null", "null"},
						 {"any", "value"},    {"number", "number"}};
	OWNED_JSON *seen = json_object();
	json_t *all = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(builtin); i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "name", builtin[i][0],
						     "meta-type", "builtin", "json-type",
						     builtin[i][1]));
	json_array_append_new(
		all, json_pack("{s:s, s:s, s:[]}", "name", "0", "meta-type", "object", "members"));
	for (const struct command *const *g = command_groups; *g; g++)
		for (const struct command *cmd = *g; cmd->name; cmd++)
			put_command(all, seen, cmd);
	for (const struct qmp_event *event = qmp_events; event->name; event++)
		put_event(all, seen, event);
	return all;
}
