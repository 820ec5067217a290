/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: which disks are firmware flash: nodes that -machine pflash0= and pflash1=
 * name, or -drive if=pflash with the chip's number as unit (or index), in the order given without.
 */
#include "vmm/q35/ops/ops.h"

#include <errno.h>
#include <string.h>

static int chip_set(struct q35_ram_config *ram, size_t unit, const char *name, struct err *e)
{
	struct block_node *n = block_find(name);

	if (unit >= Q35_FLASHES)
		return err_set(e, EINVAL, "pflash%zu: there are %d chips", unit, Q35_FLASHES);
	if (!n)
		return err_set(e, ENOENT, "pflash%zu: there is no node '%s'", unit, name);
	if (ram->pflash[unit])
		return err_set(e, EEXIST, "pflash%zu is given twice", unit);
	ram->pflash[unit] = n;
	return 0;
}

static int take_machine(const struct vmm *v, struct q35_ram_config *ram, struct err *e)
{
	static const char *const words[Q35_FLASHES] = {"pflash0", "pflash1"};
	const json_t *machine = vmm_values(v->options, VMM_MACHINE);

	for (size_t i = 0; i < Q35_FLASHES; i++) {
		const char *name = option_str(machine, words[i], NULL);

		if (name && chip_set(ram, i, name, e) < 0)
			return vmm_err_item(e, &v->options->groups[VMM_MACHINE].items[0]);
	}
	return 0;
}

static size_t next_free(const struct q35_ram_config *ram)
{
	size_t i = 0;

	while (i < Q35_FLASHES && ram->pflash[i])
		i++;
	return i;
}

static int take_drives(const struct vmm *v, struct q35_ram_config *ram, struct err *e)
{
	const struct vmm_items *all = &v->options->groups[VMM_DRIVE];

	for (size_t i = 0; i < all->len; i++) {
		const json_t *d = all->items[i].values;
		int64_t unit = option_int(d, "unit", option_int(d, "index", -1));
		char name[64];

		if (strcmp(option_str(d, "if", ""), "pflash"))
			continue;
		guest_drive_name(d, i, name);
		if (chip_set(ram, unit < 0 ? next_free(ram) : (size_t)unit, name, e) < 0)
			return vmm_err_item(e, &all->items[i]);
	}
	return 0;
}

/**
 * guest_flash_fill() - Find the nodes of the firmware's flash chips
 * @v:		The process
 * @ram:	@pflash is filled in; @bios becomes NULL if there are chips
 * @e:		Set on failure only: names the argument
 *
 * Errors: ENOENT no such node; EEXIST; EINVAL there is the second chip only, or -bios as well
 * Return: 0, or a negative errno
 */
int guest_flash_fill(const struct vmm *v, struct q35_ram_config *ram, struct err *e)
{
	int r = take_machine(v, ram, e);

	if (r >= 0)
		r = take_drives(v, ram, e);
	if (r < 0 || !next_free(ram))
		return r < 0 || !ram->pflash[1]
			       ? r
			       : err_set(e, EINVAL,
					 "pflash1 requires pflash0, the firmware's code");
	if (vmm_given(v->options, VMM_BIOS)) {
		err_set(e, EINVAL, "the firmware is in flash (pflash0) already");
		return vmm_err_item(e, &v->options->groups[VMM_BIOS].items[0]);
	}
	ram->bios = NULL;
	return 0;
}
