/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: firmware in flash chips (UEFI: code in the first, variables in the second)
 * instead of a ROM. The chips end at 4 GiB, one below the other; their content is read from their
 * images once. The end of the first chip is seen below 1 MiB too, as a copy, as on QEMU. The chips
 * themselves are devices (device/pflash.c).
 */
#include "machine/q35/layout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHADOW_BYTES 0x20000ULL
#define SECTOR       4096u

static int size_check(const struct block_node *n, uint64_t total, struct err *e)
{
	uint64_t size = block_size(n);

	if (!size || size % SECTOR)
		return err_set(e, EINVAL,
			       "flash %s: %ju bytes; a multiple of %u that isn't 0 is expected",
			       block_name(n), (uintmax_t)size, SECTOR);
	if (size > Q35_FLASH_MAX - total)
		return err_set(e, EINVAL, "flash %s: the chips are larger than %ju bytes together",
			       block_name(n), (uintmax_t)Q35_FLASH_MAX);
	return 0;
}

static int chip_create(struct q35_ram *q, size_t i, struct memory *m,
		       const struct q35_ram_config *c, struct err *e)
{
	const struct ram_options rom = {.kind = RAM_MEMFD, .readonly = true};
	uint64_t size = block_size(c->pflash[i]);
	char name[32];
	int r;

	snprintf(name, sizeof(name), "system.flash%zu", i);
	r = q35_ram_block(m, name, size, &rom, &q->flash[i], e);
	return r < 0 || c->adopt ? r : block_pread(c->pflash[i], 0, q->flash[i]->hva, size, e);
}

static int shadow_create(struct q35_ram *q, struct memory *m, const struct q35_ram_config *c,
			 struct err *e)
{
	const struct ram_options rom = {.kind = RAM_MEMFD, .readonly = true};
	uint64_t size = MIN(q->flash[0]->size, SHADOW_BYTES);
	int r = q35_ram_block(m, "isa-bios", size, &rom, &q->shadow, e);

	if (r < 0)
		return r;
	if (!c->adopt)
		memcpy(q->shadow->hva, q->flash[0]->hva + q->flash[0]->size - size, size);
	return q35_ram_map(m, MiB - size, size, q->shadow, 0, true, e);
}

/**
 * q35_flash_create() - Make the flash chips' content
 * @ret:	@flash and @shadow are filled in
 * @m:		Guest memory
 * @c:		What the operator chose
 * @e:		Set on failure only
 *
 * Errors: EINVAL an image has no possible size; else of memory and files
 * Return: 0, or a negative errno
 */
int q35_flash_create(struct q35_ram *ret, struct memory *m, const struct q35_ram_config *c,
		     struct err *e)
{
	uint64_t total = 0;
	int r = 0;

	for (size_t i = 0; i < Q35_FLASHES && c->pflash[i] && r >= 0; i++) {
		r = size_check(c->pflash[i], total, e);
		if (r >= 0)
			r = chip_create(ret, i, m, c, e);
		if (r >= 0)
			total += ret->flash[i]->size;
	}
	return r < 0 ? r : shadow_create(ret, m, c, e);
}
