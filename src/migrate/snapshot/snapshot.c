/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a snapshot is written to a file without a name, synced, and only then gets
 * its name: a crash leaves either the old file or the whole new one, and nothing else. Where the
 * file system has no files without names (NFS), it has a temporary one in the same folder, and a
 * crash leaves a "NAME.new-XXXXXX" to be deleted. The checksum is that of the stream as it was
 * sent: of a running guest the pages are copied before they are hashed.
 *
 * Behind something else in a file (an offset), or in a file that somebody else has opened, it is
 * written in place, and cut off again if that fails; after a crash its end is missing, which every
 * reader notices.
 *
 * Restoring reads the file as any stream and compares the checksum before the devices get their
 * states.
 */
#include "base/clock.h"
#include "base/durable.h"
#include "base/owned.h"
#include "migrate/migrate.h"
#include "migrate/snapshot/lazy_room.h"
#include "migrate/trailer.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(struct migrate_job *job, bool running, struct err *e)
{
	struct channel *c = job->channel;
	int ret;

	channel_hash_start(c, !running);
	ret = running ? migrate_precopy(job, e) : migrate_save(job, e);
	if (ret < 0)
		return ret;
	if (job->mapped)
		return mapped_put_end(job->mapped, c, e);
	trailer_put(c, channel_written(c));
	return channel_finish(c, e);
}

/* Writes the file that is open as @fd, which is consumed. */
static int write_file(struct migrate_job *job, int fd, bool running, struct err *e)
{
	OWNED_FD keep = dup(fd);
	OWNED_FD own = fd;
	OWNED(char) *path = str_printf("/proc/self/fd/%d", keep);
	struct mapped mapped;
	int ret;

	if (keep < 0)
		return err_sys(e, "dup");
	ret = job->options.compress ? channel_open_zstd(&job->channel, own, e)
				    : channel_open_fd(&job->channel, own, e);
	if (ret < 0)
		return ret;
	fd_take(&own);
	mapped_begin(&mapped, keep, job->options.file_offset);
	mapped.packed = job->options.packed;
	job->mapped = job->options.mapped ? &mapped : NULL;
	if (job->mapped)
		mapped_direct(&mapped, path, O_WRONLY);
	ret = write_all(job, running, e);
	mapped_end(&mapped);
	job->mapped = NULL;
	channel_destroy(job->channel);
	job->channel = NULL;
	if (ret == 0 && fsync(keep) < 0)
		ret = err_sys(e, "fsync");
	return ret;
}

/* A file in the folder of @path; its temporary name, or an empty one. */
static int file_create(const char *path, char **ret_name, struct err *e)
{
	OWNED(char) *folder = str_dup(path);
	int fd = open(dirname(folder), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	*ret_name = str_dup("");
	if (fd >= 0)
		return fd;
	free(*ret_name);
	*ret_name = str_printf("%s.new-XXXXXX", path);
	fd = mkostemp(*ret_name, O_CLOEXEC);
	return fd < 0 ? err_sys(e, "create %s", *ret_name) : fd;
}

/* linkat(2) replaces no file: where there is an old one, a name for a moment leads there. */
static int name_give(int fd, char **name, const char *path, struct err *e)
{
	OWNED(char) *here = str_printf("/proc/self/fd/%d", fd);

	if (!**name && linkat(AT_FDCWD, here, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (!**name) {
		free(*name);
		*name = str_printf("%s.new-%06x", path, (unsigned int)getpid());
		unlink(*name); /* of an earlier process with this number */
		if (linkat(AT_FDCWD, here, AT_FDCWD, *name, AT_SYMLINK_FOLLOW) < 0)
			return err_sys(e, "link %s", *name);
	}
	return rename(*name, path) < 0 ? err_sys(e, "rename %s to %s", *name, path) : 0;
}

static int save_anew(struct migrate_job *job, const char *path, bool running, struct err *e)
{
	OWNED(char) *name = NULL;
	OWNED_FD fd = file_create(path, &name, e);
	int ret;

	if (fd < 0)
		return fd;
	ret = write_file(job, dup(fd), running, e);
	if (ret == 0)
		ret = name_give(fd, &name, path, e);
	if (ret == 0)
		return folder_sync(path, e);
	if (*name)
		unlink(name);
	return ret;
}

static int save_in_place(struct migrate_job *job, const char *path, bool running, struct err *e)
{
	off_t begin = (off_t)job->options.file_offset;
	OWNED_FD fd = job->options.file_fd ? dup(job->options.file_fd)
					   : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return err_sys(e, "open %s", path);
	if (ftruncate(fd, begin) < 0 || lseek(fd, begin, SEEK_SET) < 0)
		return err_sys(e, "%s from byte %jd on", path, (intmax_t)begin);
	ret = write_file(job, dup(fd), running, e);
	if (ret < 0 && ftruncate(fd, begin) < 0)
		err_hint(e, "%s has a part of it", path);
	return ret;
}

/* What a name that is there already stands for. */
static int target_check(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
		return 0;
	err_set(e, S_ISDIR(st.st_mode) ? EISDIR : ENOTSUP, "%s is no regular file", path);
	return S_ISDIR(st.st_mode)
		       ? -EISDIR
		       : err_hint(e, "a plain stream can go there by exec:cat > %s", path);
}

/**
 * migrate_snapshot_save() - Write a guest to a file
 * @job:	Without a channel
 * @path:	Its name; an older file of that name is replaced when the new one is whole. A
 *		symbolic link stays, what it leads to is replaced. With an offset or a descriptor it
 *		is written in place
 * @running:	The guest runs: as migrate_precopy(), which stops it at the end; else it is stopped,
 * as migrate_save()
 * @e:		Set on failure only
 *
 * Errors: EISDIR, ENOTSUP there is something else of that name; as open(2), write(2), rename(2) and
 * the migration. Nothing is left behind
 * Return: 0, or a negative errno
 */
int migrate_snapshot_save(struct migrate_job *job, const char *path, bool running, struct err *e)
{
	OWNED(char) *real = realpath(path, NULL);
	const struct migrate_options *o = &job->options;
	int ret = o->file_fd ? 0 : target_check(path, e);

	if (ret < 0)
		return ret;
	return o->file_fd || o->file_offset ? save_in_place(job, path, running, e)
					    : save_anew(job, real ? real : path, running, e);
}

static int read_all(struct migrate_job *job, struct mapped *mapped, struct err *e)
{
	int ret;

	channel_hash_start(job->channel, true);
	job->trailer = true;
	job->mapped = mapped;
	ret = migrate_load(job, e);
	job->mapped = NULL;
	return ret;
}

/* Leaves the pages for later. */
static int read_lazily(struct migrate_job *job, int fd, bool packed, struct err *e)
{
	int ret;

	if (packed)
		return err_set(
			e, ENOTSUP,
			"a compressed snapshot can't be restored lazily; restore it as a whole");
	ret = lazy_create(&job->lazy, fd, job->options.file_offset, e);
	if (ret < 0)
		return ret;
	lazy_listen(job->lazy, job->options.lazy);
	ret = read_all(job, lazy_file(job->lazy), e);
	if (ret < 0) {
		lazy_destroy(job->lazy);
		job->lazy = NULL;
	}
	return ret;
}

static int read_now(struct migrate_job *job, int fd, bool packed, struct err *e)
{
	OWNED(char) *path = str_printf("/proc/self/fd/%d", fd);
	struct mapped mapped;
	int ret = 0;

	mapped_begin(&mapped, fd, job->options.file_offset);
	if (!packed)
		ret = mapped_open(&mapped, fd, job->options.file_offset, e);
	if (ret == 0 && !packed)
		mapped_direct(&mapped, path, O_RDONLY);
	if (ret == 0)
		ret = read_all(job, packed ? NULL : &mapped, e);
	mapped_end(&mapped);
	return ret;
}

static int64_t written_ns(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return (int64_t)st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec;
}

/**
 * migrate_snapshot_load() - Read a guest from a file
 * @job:	Without a channel
 * @path:	Of ours, or QEMU's ("migrate" to a file); of ours the checksum must be right
 * @e:		Set on failure only
 *
 * Errors: EBADMSG damaged; as open(2); as migrate_load()
 * Return: 0, or a negative errno
 */
int migrate_snapshot_load(struct migrate_job *job, const char *path, struct err *e)
{
	const struct migrate_options *o = &job->options;
	OWNED_FD fd = o->file_fd ? dup(o->file_fd) : open(path, O_RDONLY | O_CLOEXEC);
	OWNED_FD keep = fd < 0 ? -1 : dup(fd);
	bool packed;
	int ret;

	if (keep < 0 || (o->file_offset && lseek(fd, (off_t)o->file_offset, SEEK_SET) < 0))
		return err_sys(e, "open %s", path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	job->file_written_ns = written_ns(fd);
	packed = fd_is_zstd(fd, o->file_offset);
	ret = packed ? channel_open_zstd(&job->channel, fd, e)
		     : channel_open_fd(&job->channel, fd, e);
	if (ret < 0)
		return ret;
	fd_take(&fd);
	ret = o->lazy ? read_lazily(job, keep, packed, e) : read_now(job, keep, packed, e);
	channel_destroy(job->channel);
	job->channel = NULL;
	return ret < 0 ? err_in(e, "%s", path) : 0;
}
