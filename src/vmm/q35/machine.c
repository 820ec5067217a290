/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: which machine -machine names. "none" has no guest: QMP answers what this
 * program can be, which is what libvirt asks for before it starts any guest.
 */
#include "base/nearest.h"
#include "vmm/q35/guest.h"
#include "vmm/q35/ops/ops.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {"none", "q35", "pc-q35-7.2", NULL};

/**
 * machine_types_help() - List the machine types
 * @out:	Where to
 */
void machine_types_help(FILE *out)
{
	fputs("  q35          alias of pc-q35-7.2 (default)\n"
	      "  pc-q35-7.2   standard PC (Q35 + ICH9), as QEMU 7.2 presents it\n"
	      "  none         no machine: only QMP\n",
	      out);
}

static const char *known(const char *name)
{
	for (const char *const *n = names; *n; n++)
		if (!strcmp(*n, name))
			return *n;
	return NULL;
}

/**
 * machine_classes_add() - Add the chipset's classes to the registry, at program start
 */
void machine_classes_add(void)
{
	device_classes_add(q35_classes);
	device_classes_add(chips_classes);
}

/* What is answered without a guest. */
static const struct control_ops no_guest = {
	.query_cpu_definitions = op_query_cpu_definitions,
	.query_cpu_model_expansion = op_query_cpu_model_expansion,
};

static int guest_start(struct vmm *v, struct err *e)
{
	struct guest *g;
	int r = guest_create(&g, v, NULL, e);

	if (r < 0)
		return r;
	v->machine = g;
	return guest_begin(g, e);
}

/**
 * machine_start() - Build the machine that the options name
 * @v:		With loop and QMP
 * @e:		Set on failure only
 *
 * Errors: EINVAL no such machine, ENOTSUP it isn't in this build
 * Return: 0, or a negative errno
 */
int machine_start(struct vmm *v, struct err *e)
{
	const char *name = v->options->machine;

	if (!known(name)) {
		err_set(e, EINVAL, "'%s' is not a machine type (known: %s, %s, %s)", name, names[0],
			names[1], names[2]);
		err_nearest(e, nearest_string(name, names));
		return vmm_given(v->options, VMM_MACHINE)
			       ? vmm_err_item(e, v->options->groups[VMM_MACHINE].items)
			       : -e->code;
	}
	if (strcmp(name, "none"))
		return guest_start(v, e);
	control_set_ops(v->control, &no_guest);
	return 0;
}

/**
 * machine_stop() - End the machine
 * @v:		Whose
 */
void machine_stop(struct vmm *v)
{
	guest_destroy(v->machine);
	v->machine = NULL;
}
