/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a kernel is started without firmware by doing what a boot loader would: the
 * image, the initrd and the boot data are written to guest memory, and the boot vCPU enters the
 * kernel directly. The kind of file decides: ELF with a PVH note (boot_elf.c), bzImage
 * (boot_bzimage.c).
 */
#include "base/owned.h"
#include "machine/x86/boot_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int file_open(const char *path, struct boot_file *ret, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0)
		return err_sys(e, "open %s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", path);
	if (!S_ISREG(st.st_mode) || !st.st_size)
		return err_set(e, EINVAL, "%s is no regular file with content", path);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "map %s", path);
	*ret = (struct boot_file){.path = path, .data = p, .size = (uint64_t)st.st_size};
	return 0;
}

static void file_close(struct boot_file *f)
{
	if (f->data)
		munmap((void *)(uintptr_t)f->data, f->size);
	f->data = NULL;
}

/**
 * boot_put() - Write to guest memory
 * @m:		Guest memory
 * @what:	For the message
 * @gpa:	Where
 * @data:	What
 * @size:	Bytes
 * @e:		Set on failure
 *
 * Errors: ENOSPC there is no RAM
 * Return: 0, or a negative errno
 */
int boot_put(struct memory *m, const char *what, uint64_t gpa, const void *data, uint64_t size,
	     struct err *e)
{
	if (memory_write(m, gpa, data, size))
		return 0;
	return err_set(e, ENOSPC,
		       "%s: %" PRIu64 " bytes at %#" PRIx64 " don't fit into guest memory", what,
		       size, gpa);
}

/**
 * boot_zero() - Clear guest memory
 * @m:		Guest memory
 * @what:	For the message
 * @gpa:	Where
 * @size:	Bytes
 * @e:		Set on failure
 *
 * Errors: ENOSPC there is no RAM
 * Return: 0, or a negative errno
 */
int boot_zero(struct memory *m, const char *what, uint64_t gpa, uint64_t size, struct err *e)
{
	static const uint8_t zeros[4096];
	int r = 0;

	while (size && r == 0) {
		uint64_t n = MIN(size, (uint64_t)sizeof(zeros));

		r = boot_put(m, what, gpa, zeros, n, e);
		gpa += n;
		size -= n;
	}
	return r;
}

/**
 * boot_initrd() - Load the initial RAM disk
 * @m:		Guest memory
 * @o:		Options
 * @limit:	One past the last address the kernel can take it at
 * @kernel_end:	It must not begin below
 * @ret:	Where it is; size 0 without one
 * @e:		Set on failure
 *
 * Errors: as open(2); ENOSPC no room
 * Return: 0, or a negative errno
 */
int boot_initrd(struct memory *m, const struct boot_options *o, uint64_t limit, uint64_t kernel_end,
		struct boot_initrd *ret, struct err *e)
{
	struct boot_file f;
	uint64_t top = MIN(limit, o->layout.below_4g);
	int r;

	*ret = (struct boot_initrd){0};
	if (!o->initrd)
		return 0;
	r = file_open(o->initrd, &f, e);
	if (r < 0)
		return r;
	ret->size = f.size;
	ret->gpa = f.size < top ? ALIGN_DOWN(top - f.size, 4096) : 0;
	if (ret->gpa < kernel_end)
		r = err_set(e, ENOSPC,
			    "%s: %" PRIu64 " bytes don't fit between the kernel (to %#" PRIx64
			    ") and %#" PRIx64 ": give the guest more memory",
			    o->initrd, f.size, kernel_end, top);
	else
		r = boot_put(m, o->initrd, ret->gpa, f.data, f.size, e);
	file_close(&f);
	return r;
}

/**
 * boot_cmdline() - Write the kernel's command line
 * @m:		Guest memory
 * @o:		Options
 * @max:	Longest that the kernel takes, without the final zero
 * @e:		Set on failure
 *
 * Errors: E2BIG too long
 * Return: 0, or a negative errno
 */
int boot_cmdline(struct memory *m, const struct boot_options *o, uint64_t max, struct err *e)
{
	const char *line = o->cmdline ? o->cmdline : "";

	max = MIN(max, BOOT_CMDLINE_MAX - 1);
	if (strlen(line) > max)
		return err_set(e, E2BIG, "-append has %zu bytes, %s takes %" PRIu64, strlen(line),
			       o->kernel, max);
	return boot_put(m, "-append", BOOT_CMDLINE_GPA, line, strlen(line) + 1, e);
}

static bool is_bzimage(const struct boot_file *f)
{
	return f->size > 0x1000 && !memcmp(f->data + 0x202, "HdrS", 4);
}

/**
 * boot_load() - Write everything a kernel needs to guest memory
 * @m:		Guest memory
 * @o:		What to boot
 * @ret:	Set on success: where the boot vCPU begins
 * @e:		Set on failure; names the file
 *
 * Errors: as open(2); ENOEXEC no kernel that can be started directly; ENOSPC, E2BIG
 * Return: 0, or a negative errno
 */
int boot_load(struct memory *m, const struct boot_options *o, struct x86_entry *ret, struct err *e)
{
	struct boot_file f;
	int r = file_open(o->kernel, &f, e);

	if (r < 0)
		return r;
	if (f.size > 64 && !memcmp(f.data, "\177ELF", 4))
		r = boot_elf(m, o, &f, ret, e);
	else if (is_bzimage(&f))
		r = boot_bzimage(m, o, &f, ret, e);
	else
		r = err_set(e, ENOEXEC, "%s is neither a bzImage nor an ELF file", o->kernel);
	file_close(&f);
	return r;
}
