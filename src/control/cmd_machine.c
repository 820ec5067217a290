/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what this program can be: machines, CPU models, kinds of devices and their
 * properties. This is what libvirt asks of "-machine none" before it ever starts a guest; the
 * answers must not depend on a machine being there. qom-list-properties of a kind that isn't known
 * answers an empty list: libvirt crashes on class DeviceNotFound there.
 */
#include "control/command.h"
#include "device/device.h"
#include "device/props.h"

#include <errno.h>
#include <string.h>

static const struct option types_args[] = {
	{"implements", OPTION_STRING, "only kinds of this one"},
	{"abstract", OPTION_BOOL, "abstract kinds too (there are none)"},
	OPTIONS_END,
};

static const struct option typename_args[] = {
	{"typename", OPTION_STRING, "the kind", .required = true},
	OPTIONS_END,
};

/* Kinds that are neither devices nor objects. */
static const struct {
	const char *name, *parent;
} other_types[] = {
	{"host-x86_64-cpu", "max-x86_64-cpu"},
	{"max-x86_64-cpu", "x86_64-cpu"},
	{"pc-q35-7.2-machine", "generic-pc-machine"},
	{"kvm-accel", "accel"},
};

static void put_type(json_t *to, const char *wanted, const char *name, const char *parent)
{
	if (wanted && strcmp(wanted, parent) && strcmp(wanted, name))
		return;
	json_array_append_new(to, json_pack("{s:s, s:s}", "name", name, "parent", parent));
}

static int qom_list_types(struct control *c, struct control_request *rq, const json_t *args,
			  json_t **ret, struct err *e)
{
	const char *wanted = option_str(args, "implements", NULL);

	*ret = json_array();
	for (const struct device_class *const *d = device_classes(); *d; d++)
		put_type(*ret, wanted, (*d)->name, "device");
	for (const struct object_kind *k = object_kinds; k->name; k++)
		put_type(*ret, wanted, k->name, "object");
	for (size_t i = 0; i < ARRAY_SIZE(other_types); i++)
		put_type(*ret, wanted, other_types[i].name, other_types[i].parent);
	return 0;
}

static void put_property(json_t *to, const char *name, const char *type, const char *help,
			 json_t *def)
{
	json_t *one = json_pack("{s:s, s:s, s:o*}", "name", name, "type", type, "default-value",
				def);

	if (help)
		json_object_set_new(one, "description", json_string(help));
	json_array_append_new(to, one);
}

static json_t *integer_value(const char *text)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 0);
	return errno || *end ? NULL : json_integer(n);
}

/* As a value of its kind; NULL: none, or more than JSON's integers hold. */
static json_t *default_value(const struct prop *p)
{
	if (!p->def)
		return NULL;
	switch (p->kind) {
	case PROP_BOOL:
	case PROP_BIT: return json_boolean(!strcmp(p->def, "on"));
	case PROP_U8:
	case PROP_U16:
	case PROP_U32:
	case PROP_U64:
	case PROP_I32:
	case PROP_SIZE:
	case PROP_SIZE32:
	case PROP_PCI_ADDR: return integer_value(p->def);
	default: return json_string(p->def);
	}
}

static void put_properties(json_t *to, const struct device_class *class)
{
	for (const struct prop *p = class->props; p && p->kind != PROP_END; p++)
		put_property(to, p->name, prop_kind_name(p), p->help, default_value(p));
}

static int device_list_properties(struct control *c, struct control_request *rq, const json_t *args,
				  json_t **ret, struct err *e)
{
	const char *name = option_str(args, "typename", "");
	const struct device_class *class = device_class_find(name);

	if (!class)
		return err_set(e, ENXIO, "Device '%s' not found", name);
	*ret = json_array();
	put_properties(*ret, class);
	return 0;
}

static void put_object_properties(json_t *to, const char *name)
{
	for (const struct object_kind *k = object_kinds; k->name; k++)
		for (const struct option *o = strcmp(k->name, name) ? NULL : k->table;
		     o && o->kind != OPTION_END; o++)
			put_property(to, o->name, option_kind_name(o), o->help, NULL);
}

static int qom_list_properties(struct control *c, struct control_request *rq, const json_t *args,
			       json_t **ret, struct err *e)
{
	const char *name = option_str(args, "typename", "");
	const struct device_class *class = device_class_find(name);

	*ret = json_array();
	if (class)
		put_properties(*ret, class);
	put_object_properties(*ret, name);
	if (!strcmp(name, "max-x86_64-cpu") || !strcmp(name, "host-x86_64-cpu"))
		put_property(*ret, "migratable", "bool", "leave out what can't be migrated", NULL);
	return 0;
}

static int query_machines(struct control *c, struct control_request *rq, const json_t *args,
			  json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_machines)
		return c->ops->query_machines(c->ops->opaque, rq, args, ret, e);
	*ret = json_pack(
		"[{s:s, s:b, s:s, s:i, s:b, s:s, s:s, s:b, s:b, s:b}, {s:s, s:i, s:b, s:b, s:b}]",
		"name", "pc-q35-7.2", "is-default", 1, "alias", "q35", "cpu-max", 255,
		"hotpluggable-cpus", 1, "default-cpu-type", "host-x86_64-cpu", "default-ram-id",
		"pc.ram", "numa-mem-supported", 0, "deprecated", 0, "acpi", 1, "name", "none",
		"cpu-max", 1, "hotpluggable-cpus", 0, "numa-mem-supported", 0, "deprecated", 0);
	return 0;
}

static const char *const expansion_types[] = {"static", "full", NULL};

static const struct option model_fields[] = {
	{"name", OPTION_STRING, "of the model", .required = true},
	{"props", OPTION_ANY, "properties that differ from it"},
	OPTIONS_END,
};

static const struct option expansion_args[] = {
	{"type", OPTION_ENUM,
	 "static: every feature of a model that never changes; full: every "
	 "property of the same model",
	 .required = true, .names = expansion_types, .type = "CpuModelExpansionType"},
	{"model", OPTION_OBJECT, "the model", .required = true, .fields = model_fields,
	 .type = "CpuModelInfo"},
	OPTIONS_END,
};

static const char *const stats_targets[] = {"vm", "vcpu", NULL};
static const char *const stats_providers[] = {"kvm", NULL};

static const struct option stats_request_fields[] = {
	{"provider", OPTION_ENUM, "who counts", .required = true, .names = stats_providers,
	 .type = "StatsProvider"},
	{"names", OPTION_STRING, "only these counters", .list = true},
	OPTIONS_END,
};

static const struct option stats_args[] = {
	{"target", OPTION_ENUM, "of the whole VM, or of each vCPU", .required = true,
	 .names = stats_targets, .type = "StatsTarget"},
	{"vcpus", OPTION_STRING, "only these vCPUs, by their paths in query-cpus-fast",
	 .list = true},
	{"providers", OPTION_OBJECT, "only from these", .list = true,
	 .fields = stats_request_fields, .type = "StatsRequest"},
	OPTIONS_END,
};

static const struct option stats_schemas_args[] = {
	{"provider", OPTION_ENUM, "only of this one", .names = stats_providers,
	 .type = "StatsProvider"},
	OPTIONS_END,
};

const struct command commands_machine[] = {
	{"query-machines", NULL, "[MachineInfo]", query_machines, .help = "machine types"},
	{"query-current-machine", NULL, "CurrentMachineParams",
	 .op = COMMAND_OP(query_current_machine), .help = "what this machine can do"},
	{"query-cpu-definitions", NULL, "[CpuDefinitionInfo]",
	 .op = COMMAND_OP(query_cpu_definitions), .help = "CPU models"},
	{"query-cpu-model-expansion", expansion_args, "CpuModelExpansionInfo",
	 .op = COMMAND_OP(query_cpu_model_expansion), .help = "what a CPU model means"},
	{"query-vm-generation-id", NULL, "GuidInfo", .op = COMMAND_OP(query_vm_generation_id),
	 .help = "generation id of the guest, if it has a vmgenid device"},
	{"query-cpus-fast", NULL, "[CpuInfoFast]", .op = COMMAND_OP(query_cpus_fast),
	 .help = "vCPUs and their threads"},
	{"query-hotpluggable-cpus", NULL, "[HotpluggableCPU]",
	 .op = COMMAND_OP(query_hotpluggable_cpus), .help = "places for vCPUs"},
	{"query-acpi-ospm-status", NULL, "[ACPIOSTInfo]", .op = COMMAND_OP(query_acpi_ospm_status),
	 .help = "what the guest said last of each place for a vCPU"},
	{"query-stats", stats_args, "[StatsResult]", .op = COMMAND_OP(query_stats),
	 .help = "the host kernel's counters of the guest; none before Linux 5.14"},
	{"query-stats-schemas", stats_schemas_args, "[StatsSchema]",
	 .op = COMMAND_OP(query_stats_schemas), .help = "which counters there are, with units"},
	{"qom-list-types", types_args, "[ObjectTypeInfo]", qom_list_types,
	 .help = "kinds of everything"},
	{"qom-list-properties", typename_args, "[ObjectPropertyInfo]", qom_list_properties,
	 .help = "properties of a kind"},
	{"device-list-properties", typename_args, "[ObjectPropertyInfo]", device_list_properties,
	 .help = "properties of a kind of device"},
	{0},
};
