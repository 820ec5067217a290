/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: everything that "help" answers, from the tables that parse. */
#include "base/owned.h"
#include "char/char.h"
#include "device/device.h"
#include "vmm/vmm.h"

#include <string.h>

/**
 * vmm_help() - Print all options
 * @out:	Where to
 */
void vmm_help(FILE *out)
{
	fputs("Usage: outlive-vmm [OPTION...]\n\n"
	      "Runs one guest on KVM. The options are QEMU's; what isn't listed here is refused.\n"
	      "Most take key=value lists, in which \",,\" stands for a comma; 'help' as the value\n"
	      "of -machine, -cpu, -device, -netdev, -object and -chardev lists what they know.\n\n",
	      out);
	for (const struct vmm_option *o = vmm_options_table; o->name; o++) {
		char head[120];

		snprintf(head, sizeof(head), "-%s %s", o->name, o->argument ? o->argument : "");
		fprintf(out,
			strlen(head) < 38 ? "  %-38s %s\n"
					  : "  %s\n                                         %s\n",
			head, o->help);
	}
	fputs("\nExit status: 0 the guest ended or was asked to; 1 an error, told on stderr.\n",
	      out);
}

static void object_help(FILE *out, const char *kind)
{
	for (const struct object_kind *k = object_kinds; k->name; k++) {
		if (!kind)
			fprintf(out, "  %-24s %s\n", k->name, k->help);
		else if (!strcmp(kind, k->name))
			option_help(out, k->table);
	}
}

static void device_help_print(FILE *out, const char *kind)
{
	const struct device_class *class = kind ? device_class_find(kind) : NULL;
	OWNED(char *) text = class ? device_class_help(class) : kind ? NULL : device_help();

	if (text)
		fputs(text, out);
	else
		fprintf(out, "There is no device '%s'.\n", kind);
}

static void cpu_help(FILE *out, const char *kind)
{
	cpu_models_help(out);
}

static void accel_help(FILE *out, const char *kind)
{
	fputs("  kvm\n", out);
}

static void netdev_help(FILE *out, const char *kind)
{
	fputs("  tap      a tap device, by name or descriptor, with vhost-net if asked for\n"
	      "  stream   Ethernet frames over a stream socket (passt)\n",
	      out);
}

static void machine_help(FILE *out, const char *kind)
{
	machine_types_help(out);
}

static const struct {
	enum vmm_group group;
	const char *key;
	void (*print)(FILE *out, const char *kind);
} helpers[] = {
	{VMM_MACHINE, "type", machine_help}, {VMM_ACCEL, "accel", accel_help},
	{VMM_CPU, "cpu-model", cpu_help},    {VMM_DEVICE, "driver", device_help_print},
	{VMM_NETDEV, "type", netdev_help},   {VMM_OBJECT, "qom-type", object_help},
	{VMM_CHARDEV, "backend", char_help},
};

static bool is_help(const char *word)
{
	return !strcmp(word, "help") || !strcmp(word, "?");
}

/**
 * vmm_help_item() - Answer "-device help", "-device X,help" and the like
 * @out:	Where to
 * @item:	Any item
 *
 * Return: whether it asked for help
 */
bool vmm_help_item(FILE *out, const struct vmm_item *item)
{
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++) {
		const char *kind = option_str(item->values, helpers[i].key, "");

		if (item->option->group != helpers[i].group)
			continue;
		if (!is_help(kind) && !json_object_get(item->values, "help"))
			return false;
		helpers[i].print(out, is_help(kind) ? NULL : kind);
		return true;
	}
	return false;
}
