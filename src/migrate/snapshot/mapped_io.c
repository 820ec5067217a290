/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: runs of pages go between guest RAM and the disk without the page cache
 * (O_DIRECT), each in a thread of its own that waits, so that some are under way while others are
 * hashed. That saves a copy and the making of cache pages, which takes longer than a disk does, and
 * the host keeps what it had cached. Three things go through the cache after all: short runs, since
 * a disk's answer takes longer than a copy (what a guest writes while it is saved is mostly such,
 * and is waited for in its pause); what is read and is in the cache already; and everything where
 * the file system has no direct I/O, or is memory itself.
 *
 * A direct transfer that fails or ends early is done again, or goes on, through the cache: who
 * can't tells so in many ways, and what really is wrong is told again.
 */
#include "base/bytes.h"
#include "migrate/snapshot/mapped.h"
#include "migrate/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { DIRECT_BYTES = 64 * 1024 }; /* shorter ones aren't worth a way of their own to the disk */

/**
 * mapped_direct() - Transfer runs of pages past the page cache, where that is possible
 * @m:		Begun or open
 * @path:	Its file's
 * @flags:	O_RDONLY or O_WRONLY
 */
void mapped_direct(struct mapped *m, const char *path, int flags)
{
	struct statfs fs;
	void *map;

	if (fstatfs(m->fd, &fs) < 0 || fs.f_type == TMPFS_MAGIC)
		return;
	m->direct_fd = open(path, flags | O_DIRECT | O_CLOEXEC);
	if (m->direct_fd < 0 || flags != O_RDONLY || !m->file_bytes)
		return;
	map = mmap(NULL, m->file_bytes, PROT_READ, MAP_SHARED, m->fd, 0);
	m->cache = map == MAP_FAILED ? NULL : map;
}

static uint64_t parts_bytes(const struct iovec *parts, int n)
{
	uint64_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += parts[i].iov_len;
	return bytes;
}

/* Is all of it in the page cache? */
static bool is_cached(const struct mapped *m, uint64_t at, uint64_t n)
{
	unsigned char there[WORK_PAGES + 1];
	uint64_t from = ALIGN_DOWN(at, (uint64_t)WIRE_PAGE), i;
	uint64_t pages = DIV_ROUND_UP(at + n - from, WIRE_PAGE);

	if (!m->cache || at + n > m->file_bytes || pages > sizeof(there) ||
	    mincore(m->cache + from, pages * WIRE_PAGE, there) < 0)
		return false;
	for (i = 0; i < pages; i++)
		if (!(there[i] & 1))
			return false;
	return true;
}

/**
 * mapped_write() - Write what isn't pages
 * @m:		File being written
 * @bytes:	What
 * @n:		How many
 * @at:		Where to
 * @e:		Set on failure only
 *
 * Errors: as pwrite(2)
 * Return: 0, or a negative errno
 */
int mapped_write(const struct mapped *m, const void *bytes, uint64_t n, uint64_t at, struct err *e)
{
	const uint8_t *from = bytes;
	ssize_t done;

	for (; n; from += done, at += (uint64_t)done, n -= (uint64_t)done) {
		done = pwrite(m->fd, from, n, (off_t)at);
		if (done < 0 && errno == EINTR)
			done = 0;
		if (done < 0)
			return err_sys(e, "write the snapshot at byte %" PRIu64, at);
	}
	return 0;
}

/**
 * mapped_write_parts() - Write pages that follow each other in the file
 * @m:		File being written
 * @parts:	Page aligned, at most IOV_MAX; may change meanwhile: then the file has some of each
 * @n:		How many
 * @at:		Where to, page aligned
 * @e:		Set on failure only
 *
 * Errors: as pwrite(2)
 * Return: 0, or a negative errno
 */
int mapped_write_parts(const struct mapped *m, const struct iovec *parts, int n, uint64_t at,
		       struct err *e)
{
	uint64_t bytes = parts_bytes(parts, n);
	bool direct = m->direct_fd >= 0 && bytes >= DIRECT_BYTES;
	int i, ret = 0;

	if (pwritev(direct ? m->direct_fd : m->fd, parts, n, (off_t)at) == (ssize_t)bytes)
		return 0;
	for (i = 0; i < n && ret == 0; at += parts[i++].iov_len)
		ret = mapped_write(m, parts[i].iov_base, parts[i].iov_len, at, e);
	return ret;
}

/**
 * mapped_read_bytes() - Read by way of the page cache
 * @m:		Open
 * @to:		Room
 * @n:		Bytes
 * @at:		Where from
 * @e:		Set on failure only
 *
 * Errors: EBADMSG the file ends before; as pread(2)
 * Return: 0, or a negative errno
 */
int mapped_read_bytes(const struct mapped *m, void *to, uint64_t n, uint64_t at, struct err *e)
{
	uint8_t *into = to;
	ssize_t done;

	for (; n; into += done, at += (uint64_t)done, n -= (uint64_t)done) {
		done = pread(m->fd, into, n, (off_t)at);
		if (done < 0 && errno == EINTR)
			done = 0;
		else if (done < 0)
			return err_sys(e, "read byte %" PRIu64, at);
		else if (done == 0)
			return err_set(e, EBADMSG, "damaged: the file ends at byte %" PRIu64, at);
	}
	return 0;
}

/**
 * mapped_read_parts() - Read pages that follow each other in the file to several places
 * @m:		Open
 * @parts:	Page aligned rooms, at most IOV_MAX
 * @n:		How many
 * @at:		Where from, page aligned
 * @e:		Set on failure only
 *
 * Errors: as mapped_read_bytes()
 * Return: 0, or a negative errno
 */
int mapped_read_parts(const struct mapped *m, const struct iovec *parts, int n, uint64_t at,
		      struct err *e)
{
	uint64_t bytes = parts_bytes(parts, n);
	bool direct = m->direct_fd >= 0 && bytes >= DIRECT_BYTES && !is_cached(m, at, bytes);
	int i, ret = 0;

	if (preadv(direct ? m->direct_fd : m->fd, parts, n, (off_t)at) == (ssize_t)bytes)
		return 0;
	for (i = 0; i < n && ret == 0; at += parts[i++].iov_len)
		ret = mapped_read_bytes(m, parts[i].iov_base, parts[i].iov_len, at, e);
	return ret;
}
