/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a function's option ROM is a RAM block that its ROM BAR shows, named after
 * the function's path and class, as QEMU has it; it goes along when the guest moves, and in an
 * upgrade the new process takes the block over. The size is
 * that of the file, rounded up to a power of two. A default image that isn't installed here leaves
 * a ROM of the usual size with nothing in it, so that the guest finds the same function everywhere.
 */
#include "base/log.h"
#include "base/owned.h"
#include "device/pci/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROM_DEFAULT_BYTES 0x40000u
#define ROM_MAX_BYTES     0x1000000

static int open_default(const char *name)
{
	static const char *const folders[] = {"/usr/lib/ipxe/qemu", "/usr/share/qemu",
					      "/usr/share/seabios"};
	char path[PATH_MAX];
	int fd = -1;

	for (size_t i = 0; i < ARRAY_SIZE(folders) && fd < 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", folders[i], name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	return fd;
}

static int rom_open(const char *file, const char *usual, int *ret_fd, struct err *e)
{
	*ret_fd = file ? open(file, O_RDONLY | O_CLOEXEC) : open_default(usual);
	if (*ret_fd < 0 && file && !strchr(file, '/'))
		*ret_fd = open_default(file);
	if (*ret_fd < 0 && file)
		return err_sys(e, "romfile %s", file);
	if (*ret_fd < 0)
		log_debug("option ROM %s isn't installed: an empty one instead", usual);
	return 0;
}

static int rom_size(int fd, size_t *file_bytes, uint64_t *rom_bytes, struct err *e)
{
	struct stat st = {0};

	if (fd >= 0 && fstat(fd, &st) < 0)
		return err_sys(e, "romfile");
	if (fd >= 0 && (st.st_size <= 0 || st.st_size > ROM_MAX_BYTES))
		return err_set(e, EINVAL, "romfile: %jd bytes", (intmax_t)st.st_size);
	*file_bytes = (size_t)st.st_size;
	*rom_bytes = fd < 0 ? ROM_DEFAULT_BYTES : page_size();
	while (*rom_bytes < *file_bytes)
		*rom_bytes *= 2;
	return 0;
}

static int rom_show(struct pci_device *d, struct err *e)
{
	struct memory_map map = {.readonly = true,
				 .priority = 2,
				 .block = d->rom,
				 .size = d->rom->size},
			  *shown;
	int r = memory_map_add(d->dev.env->memory, &map, &shown, e);

	if (r >= 0)
		pci_bar_map(d, PCI_ROM_SLOT, shown, 0);
	return r;
}

static int rom_load(struct pci_device *d, const char *name, const char *usual, struct err *e)
{
	const struct ram_options options = {.kind = RAM_MEMFD, .readonly = true};
	OWNED_FD fd = -1;
	uint64_t size = 0;
	size_t bytes = 0;
	int r = rom_open(d->romfile, usual, &fd, e);

	if (r >= 0)
		r = rom_size(fd, &bytes, &size, e);
	if (r >= 0)
		r = ram_create(d->dev.env->memory, name, size, &options, &d->rom, e);
	if (r >= 0 && fd >= 0 && pread(fd, d->rom->hva, bytes, 0) != (ssize_t)bytes)
		r = err_set(e, EIO, "romfile: can't be read");
	return r;
}

/* What the guest has seen, whatever became of the image file since. */
static int rom_adopt(struct pci_device *d, const char *name, int fd, uint64_t size, struct err *e)
{
	const struct ram_options options = {.kind = RAM_MEMFD, .readonly = true};
	int r = ram_adopt(d->dev.env->memory, name, size, &options, fd, 0, &d->rom, e);

	if (r < 0)
		close(fd);
	return r;
}

/**
 * pci_rom_add() - Give a function its option ROM
 * @d:		Attached: its path is part of the ROM's name
 * @usual:	Image without the property "romfile"; empty or rombar=0: there is no ROM
 * @e:		Set on failure only
 *
 * A ROM that another process hands over is taken as it is.
 *
 * Errors: EINVAL, EIO, ENOENT the file; else of memory
 * Source: PCI 3.0 6.2.5.2
 * Return: 0, or a negative errno; pci_rom_remove() in any case
 */
int pci_rom_add(struct pci_device *d, const char *usual, struct err *e)
{
	char name[256];
	uint64_t size;
	int fd, r;

	if (!d->rombar || (d->romfile && !*d->romfile))
		return 0;
	snprintf(name, sizeof(name), "%s/%s.rom", d->dev.path, d->dev.class->name);
	fd = ram_offered(d->dev.env->memory, name, &size);
	r = fd < 0 ? rom_load(d, name, usual, e) : rom_adopt(d, name, fd, size, e);
	return r < 0 ? r : rom_show(d, e);
}

/**
 * pci_rom_remove() - Undo pci_rom_add()
 * @d:	Detached
 */
void pci_rom_remove(struct pci_device *d)
{
	struct memory *m = d->dev.env ? d->dev.env->memory : NULL;

	if (d->bars[PCI_ROM_SLOT].map)
		memory_map_del(m, d->bars[PCI_ROM_SLOT].map);
	if (d->rom)
		ram_destroy(m, d->rom);
	d->bars[PCI_ROM_SLOT].map = NULL;
	d->rom = NULL;
}
