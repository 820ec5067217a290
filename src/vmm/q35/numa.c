/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: -numa as QEMU takes it for this machine type. Nodes have numbers without
 * gaps, and memory by an -object each (memdev). A vCPU's node is what -numa node,cpus= or -numa
 * cpu says; if no word is said of any vCPU, sockets are dealt to the nodes in turn, else those
 * that are left go to node 0. Distances are given for each pair in one direction at least.
 */
#include "vmm/q35/guest.h"

#include "base/owned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOT_GIVEN 0xff

/* What is being read. */
struct reading {
	const struct vmm_options *o;
	struct q35_numa *numa;
	const char **memdev;
	bool there[Q35_NODES_MAX];
};

static int vcpu_give(struct reading *r, unsigned int place, unsigned int node, struct err *e)
{
	uint8_t *now;

	if (place >= r->o->smp.max_cpus)
		return err_set(e, EINVAL, "vCPU %u: there are places for %u (-smp maxcpus)", place,
			       r->o->smp.max_cpus);
	now = &r->numa->vcpus[place];
	if (*now != NOT_GIVEN && *now != node)
		return err_set(e, EINVAL, "vCPU %u is of node %u already", place, *now);
	*now = (uint8_t)node;
	return 0;
}

/* "N" or "N-M". */
static int vcpus_give(struct reading *r, const char *text, unsigned int node, struct err *e)
{
	unsigned int first, last;
	int len = 0, n = sscanf(text, "%u%n-%u%n", &first, &len, &last, &len);

	if (n < 1 || text[0] < '0' || text[0] > '9' || text[len] || (n == 2 && last < first))
		return err_set(e, EINVAL, "cpus=%s: a number or a range N-M is expected", text);
	for (unsigned int i = first; i <= (n == 2 ? last : first); i++)
		if (vcpu_give(r, i, node, e) < 0)
			return -e->code;
	return 0;
}

static int read_node(struct reading *r, const json_t *o, struct err *e)
{
	unsigned int node = (unsigned int)option_int(o, "nodeid", r->numa->nodes);
	const json_t *cpus = json_object_get(o, "cpus");

	if (node >= Q35_NODES_MAX)
		return err_set(e, EINVAL, "at most %d nodes", Q35_NODES_MAX);
	if (r->there[node])
		return err_set(e, EEXIST, "nodeid=%u is given twice", node);
	r->there[node] = true;
	r->numa->nodes++;
	r->memdev[node] = option_str(o, "memdev", NULL);
	for (size_t i = 0; i < json_array_size(cpus); i++)
		if (vcpus_give(r, json_string_value(json_array_get(cpus, i)), node, e) < 0)
			return -e->code;
	return 0;
}

static int named(struct reading *r, int64_t node, const char *key, struct err *e)
{
	if (node >= 0 && node < Q35_NODES_MAX && r->there[node])
		return 0;
	return err_set(e, ENOENT, "%s: there is no such node before it: describe nodes first", key);
}

static int read_distance(struct reading *r, const json_t *o, struct err *e)
{
	int64_t from = option_int(o, "src", -1), to = option_int(o, "dst", -1);
	int64_t value = option_int(o, "val", Q35_NEAREST);

	if (named(r, from, "src", e) < 0 || named(r, to, "dst", e) < 0)
		return -e->code;
	if (from == to && value != Q35_NEAREST)
		return err_set(e, EINVAL, "val: a node's distance to itself is %d", Q35_NEAREST);
	r->numa->distance[from][to] = (uint8_t)value;
	r->numa->distances = true;
	return 0;
}

static struct x86_place place_of(const struct vmm_options *o, unsigned int index)
{
	const struct x86_topology t = {o->smp.sockets, o->smp.dies, o->smp.cores, o->smp.threads};

	return x86_place_of(&t, index);
}

/* Does the place of a vCPU have the numbers that are given? */
static bool fits(const struct x86_place *p, const json_t *o)
{
	const struct {
		const char *key;
		unsigned int is;
	} numbers[] = {{"thread-id", p->thread},
		       {"core-id", p->core},
		       {"cluster-id", 0},
		       {"die-id", p->die},
		       {"socket-id", p->socket}};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (option_int(o, numbers[i].key, numbers[i].is) != numbers[i].is)
			return false;
	return true;
}

static int read_cpu(struct reading *r, const json_t *o, struct err *e)
{
	int64_t node = option_int(o, "node-id", -1);
	bool any = false;

	if (named(r, node, "node-id", e) < 0)
		return -e->code;
	for (unsigned int i = 0; i < r->o->smp.max_cpus; i++) {
		struct x86_place p = place_of(r->o, i);

		if (!fits(&p, o))
			continue;
		any = true;
		if (vcpu_give(r, i, (unsigned int)node, e) < 0)
			return -e->code;
	}
	return any ? 0
		   : err_set(e, ENOENT,
			     "no vCPU has this place (-smp says %u sockets of %u dies "
			     "of %u cores of %u threads)",
			     r->o->smp.sockets, r->o->smp.dies, r->o->smp.cores, r->o->smp.threads);
}

static int read_item(struct reading *r, const json_t *o, struct err *e)
{
	const char *type = option_str(o, "type", "");

	if (!strcmp(type, "node"))
		return read_node(r, o, e);
	return !strcmp(type, "dist") ? read_distance(r, o, e) : read_cpu(r, o, e);
}

static void vcpus_finish(struct reading *r)
{
	unsigned int places = r->o->smp.max_cpus;
	bool any = false;

	for (unsigned int i = 0; i < places; i++)
		any |= r->numa->vcpus[i] != NOT_GIVEN;
	for (unsigned int i = 0; i < places; i++)
		if (r->numa->vcpus[i] == NOT_GIVEN)
			r->numa->vcpus[i] =
				(uint8_t)(any ? 0 : place_of(r->o, i).socket % r->numa->nodes);
}

/* Whether some pair is given with a different distance each way: then each needs both. */
static bool one_way(const struct q35_numa *n)
{
	for (unsigned int i = 0; i < n->nodes; i++)
		for (unsigned int j = 0; j < i; j++)
			if (n->distance[i][j] && n->distance[j][i] &&
			    n->distance[i][j] != n->distance[j][i])
				return true;
	return false;
}

static int distances_finish(struct q35_numa *n, struct err *e)
{
	bool both = one_way(n);

	for (unsigned int i = 0; i < n->nodes; i++) {
		for (unsigned int j = 0; j < i; j++) {
			uint8_t *there = &n->distance[i][j], *back = &n->distance[j][i];

			if ((!*there && !*back) || (both && (!*there || !*back)))
				return err_set(e, EINVAL,
					       "-numa dist: from node %u to %u is missing%s",
					       *back ? i : j, *back ? j : i,
					       both ? "; where one pair differs by direction, all "
						      "need both"
						    : "");
			*there = *there ? *there : *back;
			*back = *back ? *back : *there;
		}
		n->distance[i][i] = Q35_NEAREST;
	}
	return 0;
}

/**
 * guest_numa_fill() - The nodes that -numa describes
 * @o:		Options
 * @ret:	Zeroed; filled in, but for @bytes. @nodes 0: there are none
 * @memdev:	Zeroed; set to the id of each node's memory, borrowed
 * @e:		Set on failure only: names the argument
 *
 * Errors: EINVAL, EEXIST, ENOENT
 * Return: 0, or a negative errno
 */
int guest_numa_fill(const struct vmm_options *o, struct q35_numa *ret,
		    const char *memdev[Q35_NODES_MAX], struct err *e)
{
	const struct vmm_items *all = &o->groups[VMM_NUMA];
	struct reading r = {.o = o, .numa = ret, .memdev = memdev};

	memset(ret->vcpus, NOT_GIVEN, sizeof(ret->vcpus));
	for (size_t i = 0; i < all->len; i++)
		if (read_item(&r, all->items[i].values, e) < 0)
			return vmm_err_item(e, &all->items[i]);
	for (unsigned int i = 0; i < ret->nodes; i++)
		if (!r.there[i])
			return err_set(e, EINVAL, "-numa node: nodeid=%u is missing", i);
	if (!ret->nodes)
		return 0;
	vcpus_finish(&r);
	return ret->distances ? distances_finish(ret, e) : 0;
}

/**
 * guest_numa_check() - Do the nodes' pieces make the guest's memory?
 * @o:		Options
 * @n:		Complete
 * @e:		Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or -EINVAL
 */
int guest_numa_check(const struct vmm_options *o, const struct q35_numa *n, struct err *e)
{
	uint64_t sum = 0, low = x86_layout_q35(o->ram_bytes).below_4g;

	if (option_str(vmm_values(o, VMM_MACHINE), "memory-backend", NULL))
		return err_set(e, EINVAL,
			       "-machine memory-backend= and -numa node,memdev= exclude "
			       "each other");
	for (unsigned int i = 0; i < n->nodes; i++) {
		if (n->bytes[i] % page_size() || (!i && n->bytes[0] < MiB))
			return err_set(e, EINVAL,
				       "-numa node: %ju bytes for node %u; whole pages, "
				       "and 1 MiB at least for node 0, are expected",
				       (uintmax_t)n->bytes[i], i);
		sum += n->bytes[i];
		if (sum < low && low - sum < Q35_TSEG_BYTES)
			return err_set(e, EINVAL,
				       "-numa node: node %u ends less than %ju MiB "
				       "below the end of low memory, where firmware's "
				       "SMRAM is: take other sizes",
				       i, (uintmax_t)(Q35_TSEG_BYTES / MiB));
	}
	if (sum != o->ram_bytes)
		return err_set(e, EINVAL,
			       "-numa node: memdev= of all nodes have %ju bytes "
			       "together, -m says %ju",
			       (uintmax_t)sum, (uintmax_t)o->ram_bytes);
	return 0;
}
