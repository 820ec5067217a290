/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: vCPUs as QMP shows them. Each has a place, whether it is there or not. Those
 * of the start belong to the machine; one of the user's is a device (machine/q35/vcpu.c) and has
 * its path. What the guest says of a vCPU that came or shall go becomes an event.
 */
#include "vmm/q35/ops/ops.h"

#include "base/owned.h"

#include <errno.h>
#include <string.h>

/**
 * guest_vcpu_check() - Is this the kind of vCPU that the machine has?
 * @g:		The guest
 * @driver:	Kind of device: MODEL-x86_64-cpu
 * @e:		Set on failure only
 *
 * Return: 0, or -EINVAL
 */
int guest_vcpu_check(const struct guest *g, const char *driver, struct err *e)
{
	OWNED(char *) mine = str_printf("%s-%s", g->q->cpuid.cpu.name, vcpu_class.name);

	if (!strcmp(driver, mine))
		return 0;
	return err_set(e, EINVAL, "'%s': all vCPUs are of one kind, here '%s'", driver, mine);
}

/* As QEMU: the die only where a socket has several. */
static json_t *place_props(const struct q35 *q, unsigned int index)
{
	struct x86_place p = x86_place_of(&q->cpuid.topology, index);
	json_t *props = json_pack("{s:i, s:i, s:i}", "socket-id", (int)p.socket, "core-id",
				  (int)p.core, "thread-id", (int)p.thread);

	if (q->cpuid.topology.dies > 1)
		json_object_set_new(props, "die-id", json_integer((json_int_t)p.die));
	if (q->numa)
		json_object_set_new(props, "node-id", json_integer(q->numa->vcpus[index]));
	return props;
}

/**
 * guest_vcpu_argument() - A vCPU in the words of -device
 * @g:		The guest
 * @place:	Of the vCPU
 *
 * Return: text, new reference
 */
json_t *guest_vcpu_argument(const struct guest *g, unsigned int place)
{
	json_t *props = place_props(g->q, place), *value;
	OWNED(char *) text = str_printf("%s-%s", g->q->cpuid.cpu.name, vcpu_class.name);
	const char *key;

	json_object_foreach (props, key, value) {
		char *more = str_printf("%s,%s=%d", text, key, (int)json_integer_value(value));

		free(text);
		text = more;
	}
	json_decref(props);
	return json_string(text);
}

/**
 * guest_vcpu_path() - A vCPU's path in the object tree
 * @g:		The guest
 * @place:	Of the vCPU
 *
 * Return: the caller frees it
 */
char *guest_vcpu_path(struct guest *g, unsigned int place)
{
	const struct device *dev = q35_vcpu_device(g->q, place);

	return dev ? guest_device_path(g, dev)
		   : str_printf("/machine/unattached/device[%u]", place);
}

static json_t *describe(struct guest *g, struct vm_vcpu *v)
{
	OWNED(char *) path = guest_vcpu_path(g, v->index);

	return json_pack("{s:i, s:i, s:s, s:s, s:o}", "cpu-index", (int)v->index, "thread-id",
			 (int)vm_vcpu_tid(v), "qom-path", path, "target", "x86_64", "props",
			 place_props(g->q, v->index));
}

/**
 * op_query_cpus_fast() - QMP query-cpus-fast
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	The vCPUs in the order in which they came
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_cpus_fast(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		       struct err *e)
{
	struct guest *g = opaque;

	*ret = json_array();
	for (unsigned int i = 0; i < g->q->vm.vcpus_len; i++)
		json_array_append_new(*ret, describe(g, g->q->vm.vcpus[i]));
	return 0;
}

static json_t *hotpluggable(struct guest *g, unsigned int place)
{
	bool there = g->q->vcpus->cpu[place].v != NULL;
	OWNED(char *) path = there ? guest_vcpu_path(g, place) : NULL;

	return json_pack("{s:o, s:i, s:o, s:s*}", "type",
			 json_sprintf("%s-%s", g->q->cpuid.cpu.name, vcpu_class.name),
			 "vcpus-count", 1, "props", place_props(g->q, place), "qom-path", path);
}

/**
 * op_query_hotpluggable_cpus() - QMP query-hotpluggable-cpus
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	All places, the last one first, as QEMU
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_hotpluggable_cpus(void *opaque, struct control_request *rq, const json_t *args,
			       json_t **ret, struct err *e)
{
	struct guest *g = opaque;

	*ret = json_array();
	for (unsigned int i = g->q->max_cpus; i-- > 0;)
		json_array_append_new(*ret, hotpluggable(g, i));
	return 0;
}

static json_t *ost_info(struct guest *g, const struct device_ost *ost)
{
	const struct device *dev = q35_vcpu_device(g->q, ost->place);

	return json_pack("{s:s*, s:o, s:s, s:I, s:I}", "device", dev ? dev->id : NULL, "slot",
			 json_sprintf("%u", ost->place), "slot-type", "CPU", "source",
			 (json_int_t)ost->source, "status", (json_int_t)ost->status);
}

/**
 * op_query_acpi_ospm_status() - QMP query-acpi-ospm-status
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	What the guest said last of each place
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_acpi_ospm_status(void *opaque, struct control_request *rq, const json_t *args,
			      json_t **ret, struct err *e)
{
	struct guest *g = opaque;

	*ret = json_array();
	for (unsigned int i = 0; i < g->q->max_cpus; i++) {
		struct device_ost said;

		lpc_cpu_ost(g->q->lpc, i, &said);
		json_array_append_new(*ret, ost_info(g, &said));
	}
	return 0;
}

/**
 * struct ost_report - What the guest said, on its way to the main thread
 */
struct ost_report {
	struct guest *g;
	struct device_ost what;
};

static void on_ost(void *opaque)
{
	struct ost_report *r = opaque;

	control_event(r->g->v->control, "ACPI_DEVICE_OST",
		      json_pack("{s:o}", "info", ost_info(r->g, &r->what)));
	free(r);
}

/**
 * guest_ost() - The guest said what became of a vCPU that came or shall go
 * @opaque:	The guest
 * @what:	That; any thread
 */
void guest_ost(void *opaque, const struct device_ost *what)
{
	struct guest *g = opaque;
	struct ost_report *r = mem_zalloc(sizeof(*r));

	*r = (struct ost_report){.g = g, .what = *what};
	loop_post(g->v->loop, on_ost, r);
}
