/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what this build can read, as data: asked by the process that hands a
 * guest over, printed by --dump-state-schema. */
#include "vmm/q35/upgrade/upgrade.h"

/**
 * schema_of_build() - The state of every device this build knows
 *
 * Return: new reference to {section: schema}
 */
json_t *schema_of_build(void)
{
	json_t *all = json_object();

	for (const struct device_class *const *c = device_classes(); *c; c++)
		if ((*c)->state)
			json_object_set_new(all, (*c)->section, state_schema((*c)->state));
	return all;
}

/**
 * schema_of_machine() - The state of the sections of a machine
 * @s:		Its sections
 *
 * Return: new reference to {section: schema}
 */
json_t *schema_of_machine(const struct migrate_sections *s)
{
	json_t *all = json_object();

	for (size_t i = 0; i < s->len; i++)
		if (!json_object_get(all, s->all[i].name))
			json_object_set_new(all, s->all[i].name, state_schema(s->all[i].table));
	return all;
}
