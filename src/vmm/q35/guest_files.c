/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: files of -fw_cfg are read once, into memory that is a file of its own: the
 * process after this one takes it over, whatever became of the path meanwhile.
 */
#include "vmm/q35/upgrade/upgrade.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (64 * MiB)

static int copy_in(const char *path, int *ret_fd, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC), memory = -1;
	struct stat st;
	off_t done = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX_BYTES)
		return err_set(e, EINVAL, "%s: a regular file of up to 64 MiB is expected", path);
	memory = memfd_create("outlive-fw_cfg", MFD_CLOEXEC);
	if (memory < 0)
		return err_sys(e, "memory for %s", path);
	while (done < st.st_size) {
		ssize_t n = sendfile(memory, fd, &done, (size_t)(st.st_size - done));

		if (n <= 0)
			return n < 0 ? err_sys(e, "%s", path)
				     : err_set(e, EIO, "%s became shorter", path);
	}
	*ret_fd = fd_take(&memory);
	return 0;
}

/* @taken_fd: Owned by the list from here on. */
static int show(struct guest *g, const char *name, int taken_fd, struct err *e)
{
	struct guest_file *f = mem_zalloc(sizeof(*f));
	struct fw_cfg_blob blob = {0};
	struct stat st;

	f->name = str_dup(name);
	f->fd = taken_fd;
	list_add_tail(&g->files, &f->link);
	if (fstat(f->fd, &st) < 0)
		return err_sys(e, "size");
	f->len = (size_t)st.st_size;
	if (f->len)
		f->data = mmap(NULL, f->len, PROT_READ, MAP_SHARED, f->fd, 0);
	if (f->data == MAP_FAILED) {
		f->data = NULL;
		return err_sys(e, "map %zu bytes", f->len);
	}
	blob.data = f->data;
	blob.len = (uint32_t)f->len;
	return fw_cfg_add_shared(g->q->fw_cfg, name, &blob, e);
}

static int file_make(struct guest *g, const char *name, const char *path,
		     const struct guest_parts *parts, struct err *e)
{
	char full[FW_CFG_NAME + 8];
	int r = 0, fd;

	snprintf(full, sizeof(full), "fw_cfg/%s", name);
	fd = parts ? parts->adopt_ram(parts->opaque, full) : -1;
	if (fd < 0)
		r = copy_in(path, &fd, e);
	if (r >= 0)
		r = show(g, name, fd, e);
	return r < 0 ? err_in(e, "-fw_cfg %s", name) : 0;
}

/**
 * guest_files_make() - The items of -fw_cfg; a string comes without its end, as QEMU has it
 * @g:		With its machine
 * @parts:	From another process; NULL: a new guest
 * @e:		Set on failure only
 *
 * Errors: ENAMETOOLONG, ENOSPC too many; EINVAL, EIO, else of the file
 * Return: 0, or a negative errno
 */
int guest_files_make(struct guest *g, const struct guest_parts *parts, struct err *e)
{
	const struct vmm_items *all = &g->v->options->groups[VMM_FW_CFG];
	int r = 0;

	for (size_t i = 0; i < all->len && r >= 0; i++) {
		const char *name = option_str(all->items[i].values, "name", "");
		const char *file = option_str(all->items[i].values, "file", NULL);
		const char *text = option_str(all->items[i].values, "string", NULL);

		if (!*name || !file == !text) {
			err_set(e, EINVAL, "it needs name=, and file= or string=");
			return vmm_err_item(e, &all->items[i]);
		}
		r = file ? file_make(g, name, file, parts, e)
			 : fw_cfg_add_file(g->q->fw_cfg, name, text, strlen(text), e);
	}
	return r;
}

/**
 * guest_files_describe() - Hand the files over
 * @g:		The guest
 * @b:		Gets their descriptors
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int guest_files_describe(struct guest *g, struct bundle *b, struct err *e)
{
	const struct guest_file *f;
	int r = 0;

	list_for_each (f, &g->files, link) {
		OWNED(char *) name = str_printf("ram/fw_cfg/%s", f->name);

		if (r >= 0)
			r = bundle_add_fd(b, name, f->fd, e);
	}
	return r;
}

/**
 * guest_files_end() - Release them; the machine has gone
 * @g:		The guest
 */
void guest_files_end(struct guest *g)
{
	struct guest_file *f, *next;

	list_for_each_safe (f, next, &g->files, link) {
		if (f->data)
			munmap(f->data, f->len);
		close(f->fd);
		list_del(&f->link);
		free(f->name);
		free(f);
	}
}
