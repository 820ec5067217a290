/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest that begins with what a file holds and must not change it (QEMU's
 * share=off). A private mapping would keep the guest's writes in this process, where no other could
 * map them, so the block has memory of its own, as any other, and the file's data are copied there
 * once. Holes cost nothing.
 */
#include "memory/private.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What QEMU takes as well: nothing yet, or a file with all of the guest's memory. */
static int source_check(const struct ram_block *b, int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", path);
	if (!S_ISREG(st.st_mode)) {
		err_set(e, EINVAL, "%s isn't a file, and can only be shared", path);
		return err_hint(e, "say share=on: the guest then writes to it");
	}
	if (!st.st_size || (uint64_t)st.st_size >= b->size)
		return 0;
	return err_set(e, EINVAL, "%s has %jd bytes, fewer than the %" PRIu64 " of %s", path,
		       (intmax_t)st.st_size, b->size, b->name);
}

static int copy(struct ram_block *b, int fd, off_t from, off_t to, struct err *e)
{
	while (from < to) {
		ssize_t n = pread(fd, b->hva + from, (size_t)(to - from), from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "%s: read what it begins with", b->name);
		if (!n)
			return 0; /* it has become shorter */
		from += n;
	}
	return 0;
}

/**
 * private_fill() - Begin with what a file holds
 * @b:		Mapped, of zeros
 * @path:	The file; one that isn't there is as an empty one
 * @e:		Set on failure only
 *
 * Errors: EINVAL it isn't a file, or is smaller than @b; else as open(2), read(2)
 * Source: QEMU, memory-backend-file without share=on
 * Return: 0, or a negative errno
 */
int private_fill(struct ram_block *b, const char *path, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = (off_t)b->size, end = 0;
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_sys(e, "open %s", path);
	r = source_check(b, fd, path, e);
	while (r == 0 && end < size) {
		off_t data = lseek(fd, end, SEEK_DATA);

		if (data < 0 || data >= size)
			return 0;
		end = lseek(fd, data, SEEK_HOLE);
		end = end < 0 || end > size ? size : end;
		r = copy(b, fd, data, end, e);
	}
	return r;
}
