/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: query-command-line-options from the option table. Options that are parsed
 * but refused when used aren't advertised: a manager that finds them would use them.
 */
#include "vmm/vmm.h"

#include <string.h>

static const char *const refused[] = {"vnc", "parallel", "monitor", NULL};

static bool is_refused(const char *name)
{
	for (const char *const *r = refused; *r; r++)
		if (!strcmp(*r, name))
			return true;
	return false;
}

static const char *type_name(const struct option *o)
{
	switch (o->kind) {
	case OPTION_BOOL: return "boolean";
	case OPTION_INT: return "number";
	case OPTION_SIZE: return "size";
	default: return "string";
	}
}

/**
 * vmm_options_describe() - All options and their keys
 *
 * Return: a new array of CommandLineOptionInfo
 */
json_t *vmm_options_describe(void)
{
	json_t *all = json_array();

	for (const struct vmm_option *row = vmm_options_table; row->name; row++) {
		json_t *keys = json_array();

		for (const struct option *o = row->table; o && o->kind != OPTION_END; o++)
			json_array_append_new(keys,
					      json_pack("{s:s, s:s, s:s}", "name", o->name, "type",
							type_name(o), "help", o->help));
		if (!is_refused(row->name))
			json_array_append_new(all, json_pack("{s:s, s:O}", "option", row->name,
							     "parameters", keys));
		json_decref(keys);
	}
	return all;
}
