/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: query-stats shows the kernel's counters of the VM and of its vCPUs, by the
 * names and with the types that the kernel gives them (kvm_stat(1) shows the same). A kernel
 * without such counters gives empty lists. Counters of a kind that isn't known are left out.
 */
#include "vmm/q35/ops/ops.h"

#include "base/owned.h"

#include <string.h>

/**
 * struct wanted - Which counters are asked for, and what was found
 * @names:	Array of strings, or NULL: all
 * @list:	Of Stats, or of StatsSchemaValue
 */
struct wanted {
	const json_t *names;
	json_t *list;
};

static const char *const type_names[] = {"cumulative", "instant", "peak", "linear-histogram",
					 "log2-histogram"};
static const char *const unit_names[] = {"", "bytes", "seconds", "cycles", "boolean"};
static const int bases[] = {10, 2};

static unsigned int type_of(const struct kvm_stats_desc *d)
{
	return (d->flags & KVM_STATS_TYPE_MASK) >> KVM_STATS_TYPE_SHIFT;
}

static unsigned int unit_of(const struct kvm_stats_desc *d)
{
	return (d->flags & KVM_STATS_UNIT_MASK) >> KVM_STATS_UNIT_SHIFT;
}

static unsigned int base_of(const struct kvm_stats_desc *d)
{
	return (d->flags & KVM_STATS_BASE_MASK) >> KVM_STATS_BASE_SHIFT;
}

static bool known(const struct kvm_stats_desc *d)
{
	return type_of(d) < ARRAY_SIZE(type_names) && unit_of(d) < ARRAY_SIZE(unit_names) &&
	       base_of(d) < ARRAY_SIZE(bases) && d->size > 0;
}

static bool contains(const json_t *names, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach (names, i, one)
		if (!strcmp(json_string_value(one) ? json_string_value(one) : "", name))
			return true;
	return false;
}

static json_t *value_of(const struct kvm_stats_desc *d, const uint64_t *values)
{
	json_t *list;

	if (!strcmp(unit_names[unit_of(d)], "boolean"))
		return json_boolean(*values);
	if (d->size == 1)
		return json_integer((json_int_t)*values);
	list = json_array();
	for (unsigned int i = 0; i < d->size; i++)
		json_array_append_new(list, json_integer((json_int_t)values[i]));
	return list;
}

static void put_value(void *opaque, const struct kvm_stats_desc *d, const uint64_t *values)
{
	struct wanted *w = opaque;

	if (known(d) && (!w->names || contains(w->names, d->name)))
		json_array_append_new(w->list, json_pack("{s:s, s:o}", "name", d->name, "value",
							 value_of(d, values)));
}

static void put_schema(void *opaque, const struct kvm_stats_desc *d, const uint64_t *values)
{
	struct wanted *w = opaque;
	json_t *one;

	if (!known(d))
		return;
	one = json_pack("{s:s, s:s, s:i}", "name", d->name, "type", type_names[type_of(d)],
			"exponent", d->exponent);
	if (unit_of(d))
		json_object_set_new(one, "unit", json_string(unit_names[unit_of(d)]));
	if (d->exponent)
		json_object_set_new(one, "base", json_integer(bases[base_of(d)]));
	if (!strcmp(type_names[type_of(d)], "linear-histogram"))
		json_object_set_new(one, "bucket-size", json_integer(d->bucket_size));
	json_array_append_new(w->list, one);
}

static void open_one(struct vm_vcpu *v, void *opaque)
{
	kvm_vcpu_stats_open(v->kvm);
}

/* Counters of vCPUs that came since somebody last asked. */
static void vcpus_open(struct vm *vm)
{
	bool all = true;

	for (unsigned int i = 0; i < vm->vcpus_len; i++)
		all = all && kvm_vcpu_stats_opened(vm->vcpus[i]->kvm);
	if (!all && kvm_vm_host(vm->c.kvm)->caps.stats)
		vm_visit_vcpus(vm, open_one, NULL);
}

static void put_result(json_t *to, const char *path, struct wanted *w)
{
	json_t *result;

	if (json_array_size(w->list)) {
		result = json_pack("{s:s, s:O}", "provider", "kvm", "stats", w->list);
		if (path)
			json_object_set_new(result, "qom-path", json_string(path));
		json_array_append_new(to, result);
	}
	json_decref(w->list);
}

static int of_vm(struct guest *g, const json_t *names, json_t *to, struct err *e)
{
	struct wanted w = {names, json_array()};
	int r = kvm_vm_stats(g->q->kvm, put_value, &w, e);

	put_result(to, NULL, &w);
	return r;
}

static int of_vcpus(struct guest *g, const json_t *vcpus, const json_t *names, json_t *to,
		    struct err *e)
{
	int r = 0;

	vcpus_open(&g->q->vm);
	for (unsigned int i = 0; i < g->q->vm.vcpus_len && r >= 0; i++) {
		const struct vm_vcpu *v = g->q->vm.vcpus[i];
		OWNED(char *) path = guest_vcpu_path(g, v->index);
		struct wanted w = {names, NULL};

		if (vcpus && !contains(vcpus, path))
			continue;
		w.list = json_array();
		r = kvm_vcpu_stats(v->kvm, put_value, &w, e);
		put_result(to, path, &w);
	}
	return r;
}

/* There is one provider: what is asked of it. false: others only, of which there are none. */
static bool names_wanted(const json_t *args, const json_t **ret)
{
	const json_t *providers = json_object_get(args, "providers"), *one;
	size_t i;

	*ret = NULL;
	json_array_foreach (providers, i, one)
		*ret = json_object_get(one, "names");
	return !providers || i > 0;
}

/**
 * op_query_stats() - QMP query-stats: the kernel's counters
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Of the VM or of vCPUs; which
 * @ret:	Set: a result for the VM, or for each vCPU; none where there are no counters
 * @e:		Set on failure only
 *
 * Errors: as reading the kernel's files
 * Return: 0, or a negative errno
 */
int op_query_stats(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		   struct err *e)
{
	struct guest *g = opaque;
	json_t *all = json_array();
	const json_t *names;
	int r = 0;

	if (!names_wanted(args, &names))
		r = 0;
	else if (!strcmp(option_str(args, "target", ""), "vm"))
		r = of_vm(g, names, all, e);
	else
		r = of_vcpus(g, json_object_get(args, "vcpus"), names, all, e);
	if (r >= 0)
		*ret = all;
	else
		json_decref(all);
	return r;
}

static void put_target(json_t *to, const char *target, struct wanted *w)
{
	if (json_array_size(w->list))
		json_array_append_new(to, json_pack("{s:s, s:s, s:O}", "provider", "kvm", "target",
						    target, "stats", w->list));
	json_decref(w->list);
}

/**
 * op_query_stats_schemas() - QMP query-stats-schemas: which counters there are
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Maybe the provider, of which there is one
 * @ret:	Set: those of vCPUs, those of the VM
 * @e:		Set on failure only
 *
 * Errors: as reading the kernel's files
 * Return: 0, or a negative errno
 */
int op_query_stats_schemas(void *opaque, struct control_request *rq, const json_t *args,
			   json_t **ret, struct err *e)
{
	struct guest *g = opaque;
	struct wanted of_vcpu = {NULL, json_array()}, of_all = {NULL, json_array()};
	int r;

	*ret = json_array();
	vcpus_open(&g->q->vm);
	r = kvm_vcpu_stats(g->q->vm.vcpus[0]->kvm, put_schema, &of_vcpu, e);
	if (r >= 0)
		r = kvm_vm_stats(g->q->kvm, put_schema, &of_all, e);
	put_target(*ret, "vcpu", &of_vcpu);
	put_target(*ret, "vm", &of_all);
	if (r < 0) {
		json_decref(*ret);
		*ret = NULL;
	}
	return r;
}
