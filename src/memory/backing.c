/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: every block is a file mapped shared, so that another process can map the
 * same pages. Anonymous memory is a memfd, sealed against shrinking and growing: no process that is
 * handed the file can make the others fault beyond its end. Where memfds have small pages only,
 * guest RAM is a file that gets huge ones instead (huge.c). A path is a regular file, a DAX device,
 * or a folder of a hugetlbfs, in which an unnamed file is made.
 *
 * A mapping begins at a multiple of the largest page worth having, so that the host can use huge
 * pages in it, and has inaccessible pages behind it.
 */
#include "memory/backing.h"
#include "base/log.h"
#include "base/owned.h"
#include "memory/huge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static uint64_t read_number(const char *path)
{
	unsigned long long v = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu", &v) != 1)
		v = 0;
	fclose(f);
	return v;
}

static uint64_t free_hugepages(uint64_t page_bytes)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/free_hugepages",
		 page_bytes / 1024);
	return read_number(path);
}

/* Puts the remedy behind a failure to get pages. */
static int hint_pages(struct err *e, const struct ram_block *b)
{
	if (b->page_bytes > page_size())
		return err_hint(e,
				"%" PRIu64 " huge pages of %" PRIu64 " KiB needed, %" PRIu64
				" free: "
				"raise vm.nr_hugepages",
				b->resizable_max / b->page_bytes, b->page_bytes / 1024,
				free_hugepages(b->page_bytes));
	return err_hint(e, "is there enough free memory?");
}

static uint64_t dax_size(const struct stat *st)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/size", major(st->st_rdev),
		 minor(st->st_rdev));
	return read_number(path);
}

/* An empty file grows; one with something in it, and a device, have the size they have. */
static int set_size(int fd, const char *what, uint64_t size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", what);
	if (S_ISCHR(st.st_mode)) {
		if (dax_size(&st) < size)
			return err_set(e, ENOSPC, "%s has %" PRIu64 " bytes, %" PRIu64 " needed",
				       what, dax_size(&st), size);
		return 0;
	}
	if (st.st_size && (uint64_t)st.st_size < size)
		return err_set(e, EINVAL, "%s has %jd bytes, %" PRIu64 " needed", what,
			       (intmax_t)st.st_size, size);
	if (!st.st_size && ftruncate(fd, (off_t)size) < 0)
		return err_sys(e, "%s: size %#" PRIx64, what, size);
	return 0;
}

static int open_memfd(const char *name, const struct ram_options *o, int *ret_fd, struct err *e)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd;

	if (o->kind == RAM_HUGETLB) {
		flags |= MFD_HUGETLB;
		if (o->hugepage_bytes)
			flags |= (unsigned int)__builtin_ctzll(o->hugepage_bytes) << MFD_HUGE_SHIFT;
	}
	fd = memfd_create(name, flags);
	if (fd < 0 && o->kind == RAM_HUGETLB && errno == ENODEV) {
		err_sys(e, "%s: huge pages of %" PRIu64 " KiB", name, o->hugepage_bytes / 1024);
		return err_hint(e, "see /sys/kernel/mm/hugepages for the sizes of this host");
	}
	if (fd < 0)
		return err_sys(e, "%s: memfd_create", name);
	*ret_fd = fd;
	return 0;
}

/* A memfd that can't change its size. */
static int open_sealed(const char *name, uint64_t size, const struct ram_options *o, int *ret_fd,
		       struct err *e)
{
	OWNED_FD fd = -1;
	int ret = open_memfd(name, o, &fd, e);

	if (ret == 0)
		ret = set_size(fd, name, size, e);
	if (ret < 0)
		return ret;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		return err_sys(e, "%s: seal", name);
	*ret_fd = fd_take(&fd);
	return 0;
}

/* A file on a tmpfs that gives huge pages. */
static int open_huge(const char *name, uint64_t size, int *ret_fd, struct err *e)
{
	OWNED_FD fd = -1;
	int ret = huge_open(name, &fd, e);

	if (ret == 0)
		ret = set_size(fd, name, size, e);
	if (ret == 0)
		*ret_fd = fd_take(&fd);
	return ret;
}

/**
 * ram_huge_possible() - Whether RAM of ram_options.huge gets huge pages
 * @e:	Set on failure: why not
 *
 * Errors: as huge_open() in memory/huge.c
 * Return: 0, or a negative errno
 */
int ram_huge_possible(struct err *e)
{
	OWNED_FD fd = -1;

	return huge_by_memfd() ? 0 : huge_open("probe", &fd, e);
}

static int open_in_folder(const char *path, int *ret_fd, struct err *e)
{
	OWNED(char) *name = str_printf("%s/outlive.XXXXXX", path);
	int fd;

	if (!name)
		return err_set(e, ENOMEM, "out of memory");
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "make a file in %s", path);
	unlink(name);
	*ret_fd = fd;
	return 0;
}

static int open_path(const char *path, int *ret_fd, struct err *e)
{
	struct stat st;
	int fd;

	if (!path)
		return err_set(e, EINVAL, "a memory file needs a path");
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return open_in_folder(path, ret_fd, e);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "open %s", path);
	*ret_fd = fd;
	return 0;
}

static int open_sized(const char *path, uint64_t size, int *ret_fd, struct err *e)
{
	OWNED_FD fd = -1;
	int ret = open_path(path, &fd, e);

	if (ret == 0)
		ret = set_size(fd, path, size, e);
	if (ret == 0)
		*ret_fd = fd_take(&fd);
	return ret;
}

static int open_anonymous(struct ram_block *b, const struct ram_options *o, struct err *e)
{
	uint64_t size = b->resizable_max;
	struct err why;

	if (o->kind == RAM_HUGETLB || !o->huge || b->huge)
		return open_sealed(b->name, size, o, &b->fd, e);
	b->huge = open_huge(b->name, size, &b->fd, &why) == 0;
	b->huge_by_write = b->huge && huge_by_write();
	if (b->huge)
		return 0;
	log_warn("%s; small pages are slower for the guest, see `outlive doctor`", why.msg);
	return open_sealed(b->name, size, o, &b->fd, e);
}

/* @path itself if it is one; owned by the caller. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return strdup(path);
	return slash ? str_printf("%.*s", (int)(slash - path) + 1, path) : strdup(".");
}

/* Memory of the kind that a mapping of @o's file would have, and without a name. */
static int open_copy(struct ram_block *b, const struct ram_options *o, struct err *e)
{
	OWNED(char) *folder = folder_of(o->path);
	struct statfs fs;

	if (!folder)
		return err_set(e, ENOMEM, "out of memory");
	if (statfs(folder, &fs) < 0)
		return err_sys(e, "%s: %s", o->path, folder);
	if (fs.f_type == HUGETLBFS_MAGIC)
		return open_sized(folder, b->resizable_max, &b->fd, e);
	return open_anonymous(b, o, e);
}

/**
 * backing_open() - Open or make the file behind a block
 * @b:		With name and resizable_max, the bytes it must have; gets fd and huge
 * @o:		How
 * @e:		Set on failure
 *
 * Errors: as memfd_create(2), open(2), ftruncate(2); ENOSPC a device is too small
 * Return: 0, or a negative errno
 */
int backing_open(struct ram_block *b, const struct ram_options *o, struct err *e)
{
	b->huge = o->kind == RAM_HUGETLB || (o->huge && huge_by_memfd());
	if (o->kind != RAM_FILE)
		return open_anonymous(b, o, e);
	if (o->copy && o->path)
		return open_copy(b, o, e);
	return open_sized(o->path, b->resizable_max, &b->fd, e);
}

/* Size of the pages that the file system behind @fd gives. */
static uint64_t file_page_bytes(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return (uint64_t)fs.f_bsize;
	return page_size();
}

static int reserve(struct ram_block *b, uint64_t align, struct err *e)
{
	uint64_t bytes = b->resizable_max + align + page_size();
	void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return err_sys(e, "%s: reserve %" PRIu64 " bytes of address space", b->name, bytes);
	b->reserve = p;
	b->reserve_bytes = bytes;
	b->hva = (uint8_t *)ALIGN_UP((uintptr_t)p, align);
	return 0;
}

static int populate(struct ram_block *b, struct err *e)
{
	if (madvise(b->hva, b->size, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno == EINVAL && fallocate(b->fd, 0, (off_t)b->fd_offset, (off_t)b->size) == 0)
		return 0; /* Linux before 5.14 */
	err_sys(e, "%s: allocate %" PRIu64 " bytes", b->name, b->size);
	return hint_pages(e, b);
}

static int lock_pages(struct ram_block *b, struct err *e)
{
	if (mlock(b->hva, b->size) == 0)
		return 0;
	err_sys(e, "%s: lock %" PRIu64 " bytes in memory", b->name, b->size);
	return err_hint(e, "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)");
}

/* Huge pages where the host allows them, and not in core dumps or forked children. All of it is
 * only advice. */
static void advise(struct ram_block *b)
{
	madvise(b->hva, b->resizable_max, MADV_HUGEPAGE);
	madvise(b->hva, b->resizable_max, MADV_DONTDUMP);
	madvise(b->hva, b->resizable_max, MADV_DONTFORK);
}

static int map_file(struct ram_block *b, const struct ram_options *o, struct err *e)
{
	uint64_t align = MAX(b->page_bytes,
			     b->resizable_max >= 2 * MiB ? 2 * MiB : (uint64_t)page_size());
	int ret;

	if (b->resizable_max % b->page_bytes || b->fd_offset % b->page_bytes)
		return err_set(e, EINVAL,
			       "%s: %#" PRIx64 " bytes are no multiple of the page size %#" PRIx64,
			       b->name, b->resizable_max, b->page_bytes);
	ret = reserve(b, align, e);
	if (ret < 0)
		return ret;
	if (mmap(b->hva, b->resizable_max, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, b->fd,
		 (off_t)b->fd_offset) == MAP_FAILED) {
		err_sys(e, "%s: map %" PRIu64 " bytes", b->name, b->resizable_max);
		return hint_pages(e, b);
	}
	advise(b);
	ret = o->prealloc ? populate(b, e) : 0;
	if (ret == 0 && o->lock)
		ret = lock_pages(b, e);
	return ret;
}

/**
 * backing_map() - Map the file of a block
 * @b:		With fd, fd_offset, size and resizable_max set; gets hva, page_bytes and the
 *		reservation
 * @o:		prealloc and lock
 * @e:		Set on failure
 *
 * Errors: EINVAL the size doesn't fit the page size; else as mmap(2), madvise(2), mlock(2)
 * Return: 0, or a negative errno
 */
int backing_map(struct ram_block *b, const struct ram_options *o, struct err *e)
{
	int ret;

	b->page_bytes = file_page_bytes(b->fd);
	ret = map_file(b, o, e);
	if (ret < 0)
		backing_unmap(b);
	return ret;
}

/**
 * backing_unmap() - Give the address space back; the file stays open
 * @b:		Mapped, or not at all
 */
void backing_unmap(struct ram_block *b)
{
	if (b->reserve)
		munmap(b->reserve, b->reserve_bytes);
	b->reserve = NULL;
	b->hva = NULL;
}

/**
 * ram_reserve() - Have the host give the pages of a range now
 * @b:		Block
 * @offset, @bytes: The range, inside the block
 * @e:		Set on failure only: says what is full
 *
 * Errors: ENOSPC the host has none: its pool of huge pages or the file system is full, or a limit
 * is reached
 * Source: madvise(2): EFAULT stands for the SIGBUS that a touch would be
 * Return: 0, also where the kernel can't be asked, or a negative errno
 */
int ram_reserve(const struct ram_block *b, uint64_t offset, uint64_t bytes, struct err *e)
{
	if (madvise(b->hva + offset, bytes, MADV_POPULATE_WRITE) == 0 || errno == EINVAL)
		return 0;
	err_set(e, ENOSPC, "%s: the host has no room for the %" PRIu64 " KiB at %#" PRIx64, b->name,
		bytes / 1024, offset);
	if (b->page_bytes > page_size())
		return hint_pages(e, b);
	return err_hint(e, "is its file system (mem-path) full, or a limit of memory reached?");
}

/**
 * ram_puts_whole() - Is a whole huge page put at once?
 * @b:		Block
 * @offset:	Where one may begin
 */
bool ram_puts_whole(const struct ram_block *b, uint64_t offset)
{
	return b->huge_by_write && (b->fd_offset + offset) % RAM_HUGE_BYTES == 0 &&
	       offset < b->size && b->size - offset >= RAM_HUGE_BYTES;
}

static bool goes_by_file(const struct ram_block *b, uint64_t offset, uint64_t bytes)
{
	return !b->huge || (bytes == RAM_HUGE_BYTES && ram_puts_whole(b, offset));
}

/**
 * ram_put() - Fill RAM that no guest uses yet
 * @b:		Block
 * @offset:	Where in it
 * @parts:	What comes there, one behind the other
 * @n:		How many parts, IOV_MAX at most
 * @e:		Set on failure only
 *
 * A new small page costs less by a write to the file, which neither clears nor maps it, and so does
 * a huge one that is written whole; else a huge one comes with the first touch and then costs
 * nothing. Marks nothing as dirty.
 *
 * Errors: as ram_reserve()
 * Return: 0, or a negative errno
 */
int ram_put(const struct ram_block *b, uint64_t offset, const struct iovec *parts, int n,
	    struct err *e)
{
	ssize_t bytes = 0;
	int ret;

	for (int i = 0; i < n; i++)
		bytes += (ssize_t)parts[i].iov_len;
	if (goes_by_file(b, offset, (uint64_t)bytes) &&
	    pwritev(b->fd, parts, n, (off_t)(b->fd_offset + offset)) == bytes)
		return b->huge ? ram_reserve(b, offset, (uint64_t)bytes, e) : 0; /* maps it */
	ret = ram_reserve(b, offset, (uint64_t)bytes, e);
	for (int i = 0; i < n && ret == 0; offset += parts[i++].iov_len)
		memcpy(b->hva + offset, parts[i].iov_base, parts[i].iov_len);
	return ret;
}
