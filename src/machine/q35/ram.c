/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the blocks that the migration stream knows ("pc.ram", "pc.bios", "pc.rom",
 * the ACPI blobs) and their first mappings: RAM below and above 4 GiB, the flash below 4 GiB with
 * its last 128 KiB seen below 1 MiB, the option ROM area. The memory controller hub puts RAM over
 * the low ROMs when its PAM registers say so. During a live hand-over every block is the file of
 * the process before, content and all.
 */
#include "machine/q35/acpi.h"
#include "machine/q35/layout.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BIOS_SHADOW_BYTES 0x20000ULL
#define BIOS_DEFAULT      0x40000ULL
#define PRIORITY_RAM      0
#define PRIORITY_ROM      1

/**
 * q35_ram_block() - A block of the machine: the file of the process before, or new
 * @m:		Guest memory
 * @name:	Of the block
 * @size:	Bytes
 * @options:	How it is backed
 * @ret:	Set on success only
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int q35_ram_block(struct memory *m, const char *name, uint64_t size,
		  const struct ram_options *options, struct ram_block **ret, struct err *e)
{
	uint64_t ignored;
	int fd = ram_offered(m, name, &ignored), r;

	if (fd < 0)
		return ram_create(m, name, size, options, ret, e);
	r = ram_adopt(m, name, size, options, fd, 0, ret, e);
	if (r < 0)
		close(fd);
	return r;
}

/**
 * q35_ram_map() - Show a window of a block
 * @m:		Guest memory
 * @gpa:	Where
 * @size:	Bytes
 * @b:		The block
 * @offset:	Where in the block the window begins
 * @rom:	The guest can't write it, and it is seen over RAM
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int q35_ram_map(struct memory *m, gpa_t gpa, uint64_t size, struct ram_block *b, uint64_t offset,
		bool rom, struct err *e)
{
	struct memory_map *ignored;
	const struct memory_map window = {.gpa = gpa,
					  .size = size,
					  .block = b,
					  .offset = offset,
					  .readonly = rom,
					  .enabled = true,
					  .priority = rom ? PRIORITY_ROM : PRIORITY_RAM};

	return memory_map_add(m, &window, &ignored, e);
}

/* Low memory up to @low, the rest from 4 GiB on; @at: where in main memory the part begins. */
static int part_show(struct memory *m, struct ram_block *b, uint64_t at, uint64_t low,
		     struct err *e)
{
	uint64_t below = at < low ? MIN(b->size, low - at) : 0;
	int r = below ? q35_ram_map(m, at, below, b, 0, false, e) : 0;

	if (r >= 0 && below < b->size)
		r = q35_ram_map(m, 4 * GiB + at + below - low, b->size - below, b, below, false, e);
	return r;
}

static int main_memory(struct q35_ram *q, struct memory *m, const struct q35_ram_config *c,
		       struct err *e)
{
	uint64_t low = x86_layout_q35(c->bytes).below_4g;
	int r = 0;

	for (unsigned int i = 0; i < c->parts_len && r >= 0; i++) {
		const struct q35_ram_part *p = &c->parts[i];

		r = q35_ram_block(m, p->name, p->bytes, &p->options, &q->parts[i], e);
		if (r >= 0)
			r = part_show(m, q->parts[i], q->bytes, low, e);
		q->parts_len++;
		q->bytes += p->bytes;
	}
	return r;
}

/**
 * q35_ram_at() - What is seen at a byte of main memory
 * @q:		Created
 * @at:		Which byte, as if main memory had no holes; below its size
 * @ret_offset:	Set to where in the block it is
 *
 * Return: the block, borrowed
 */
struct ram_block *q35_ram_at(const struct q35_ram *q, uint64_t at, uint64_t *ret_offset)
{
	unsigned int i = 0;

	for (; at >= q->parts[i]->size; i++)
		at -= q->parts[i]->size;
	*ret_offset = at;
	return q->parts[i];
}

static int bios_size(const char *path, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, "firmware %s", path);
	if (st.st_size <= 0 || st.st_size % 0x10000 || st.st_size > 16 << 20)
		return err_set(
			e, EINVAL,
			"firmware %s: %jd bytes; a multiple of 64 KiB up to 16 MiB is expected",
			path, (intmax_t)st.st_size);
	*ret = (uint64_t)st.st_size;
	return 0;
}

static int bios_read(const char *path, struct ram_block *b, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t at = 0;

	if (fd < 0)
		return err_sys(e, "firmware %s", path);
	while (at < b->size) {
		ssize_t n = read(fd, b->hva + at, b->size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(e, "firmware %s", path)
				     : err_set(e, EIO, "firmware %s became shorter", path);
		at += (uint64_t)n;
	}
	return 0;
}

/* A new guest's firmware; that of one that another process hands over is in the block it had. */
static int bios_fill(struct memory *m, const struct q35_ram_config *c, struct ram_block **ret,
		     struct err *e)
{
	const struct ram_options rom = {.kind = RAM_MEMFD, .readonly = true};
	uint64_t size = BIOS_DEFAULT;
	OWNED_FD fd = ram_offered(m, "pc.bios", &size);
	int r = c->bios && fd < 0 ? bios_size(c->bios, &size, e) : 0;

	if (r >= 0 && fd >= 0)
		r = ram_adopt(m, "pc.bios", size, &rom, fd, 0, ret, e);
	else if (r >= 0)
		r = ram_create(m, "pc.bios", size, &rom, ret, e);
	if (r >= 0 && fd < 0 && c->bios)
		r = bios_read(c->bios, *ret, e);
	if (r >= 0)
		fd_take(&fd);
	return r;
}

static int bios(struct q35_ram *q, struct memory *m, const struct q35_ram_config *c, struct err *e)
{
	int r = bios_fill(m, c, &q->bios, e);
	uint64_t size = r < 0 ? 0 : q->bios->size, shadow = MIN(size, BIOS_SHADOW_BYTES);

	if (r >= 0)
		r = q35_ram_map(m, Q35_BIOS_END - size, size, q->bios, 0, true, e);
	return r < 0 ? r
		     : q35_ram_map(m, 0x100000 - shadow, shadow, q->bios, size - shadow, true, e);
}

/* The ACPI blobs are read through fw_cfg, never mapped; they may grow from one version to the
 * next. */
static int acpi_blobs(struct q35_ram *q, struct memory *m, const struct q35_ram_config *c,
		      struct err *e)
{
	const struct ram_options tables = {.kind = RAM_MEMFD, .max_bytes = 0x200000};
	const struct ram_options loader = {.kind = RAM_MEMFD, .max_bytes = 0x10000};
	const struct ram_options rsdp = {.kind = RAM_MEMFD, .max_bytes = 0x1000};
	int r = q35_ram_block(m, "/rom@" ACPI_TABLES_FILE, ACPI_TABLES_BYTES, &tables, &q->tables,
			      e);

	if (r >= 0)
		r = q35_ram_block(m, "/rom@" ACPI_LOADER_FILE, ACPI_LOADER_BYTES, &loader,
				  &q->loader, e);
	return r < 0 ? r
		     : q35_ram_block(m, "/rom@" ACPI_RSDP_FILE, page_size(), &rsdp, &q->rsdp, e);
}

/**
 * q35_ram_create() - Make the machine's memory
 * @ret:	Filled in; the blocks belong to @m
 * @m:		Guest memory, empty
 * @c:		What the operator chose
 * @e:		Set on failure only
 *
 * Errors: EINVAL the firmware image has no possible size; else of memory and files
 * Return: 0, or a negative errno
 */
int q35_ram_create(struct q35_ram *ret, struct memory *m, const struct q35_ram_config *c,
		   struct err *e)
{
	const struct ram_options rom = {.kind = RAM_MEMFD, .readonly = false};
	int r;

	ram_offer_by(m, c->adopt, c->opaque);
	r = main_memory(ret, m, c, e);
	if (r >= 0)
		r = c->pflash[0] ? q35_flash_create(ret, m, c, e) : bios(ret, m, c, e);
	if (r >= 0)
		r = q35_ram_block(m, "pc.rom", 0x20000, &rom, &ret->rom, e);
	if (r >= 0)
		r = q35_ram_map(m, 0xc0000, 0x20000, ret->rom, 0, true, e);
	return r < 0 ? r : acpi_blobs(ret, m, c, e);
}
