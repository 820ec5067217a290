/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a snapshot is written under a temporary name in the same folder, synced, and
 * only then gets its name: a crash leaves either the old file or the whole new one, and perhaps a
 * "NAME.new-XXXXXX" to be deleted. The checksum is that of the stream as it was sent: of a running
 * guest the pages are copied before they are hashed.
 *
 * Restoring reads the file as any stream and compares the checksum before the devices get their
 * states.
 */
#include "base/bytes.h"
#include "base/durable.h"
#include "base/owned.h"
#include "migrate/migrate.h"
#include "migrate/snapshot/lazy_room.h"
#include "migrate/trailer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

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
static int write_file(struct migrate_job *job, const char *path, int fd, bool running,
		      struct err *e)
{
	OWNED_FD keep = dup(fd);
	OWNED_FD own = fd;
	struct mapped mapped;
	int ret;

	if (keep < 0)
		return err_sys(e, "dup");
	ret = job->options.compress ? channel_open_zstd(&job->channel, own, e)
				    : channel_open_fd(&job->channel, own, e);
	if (ret < 0)
		return ret;
	fd_take(&own);
	mapped_begin(&mapped, keep);
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

/**
 * migrate_snapshot_save() - Write a guest to a file
 * @job:	Without a channel
 * @path:	Its name; an older file of that name is replaced when the new one is whole
 * @running:	The guest runs: as migrate_precopy(), which stops it at the end; else it is stopped,
 * as migrate_save()
 * @e:		Set on failure only
 *
 * Errors: as open(2), write(2), rename(2) and the migration. Nothing is left behind
 * Return: 0, or a negative errno
 */
int migrate_snapshot_save(struct migrate_job *job, const char *path, bool running, struct err *e)
{
	OWNED(char) *temporary = str_printf("%s.new-XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC), ret;

	if (fd < 0)
		return err_sys(e, "create %s", temporary);
	ret = write_file(job, temporary, fd, running, e);
	if (ret == 0 && rename(temporary, path) < 0)
		ret = err_sys(e, "rename %s to %s", temporary, path);
	if (ret < 0) {
		unlink(temporary);
		return ret;
	}
	return folder_sync(path, e);
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
	ret = lazy_create(&job->lazy, fd, e);
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
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	OWNED_FD keep = fd < 0 ? -1 : dup(fd);
	struct mapped mapped;
	bool packed;
	int ret;

	if (keep < 0)
		return err_sys(e, "open %s", path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	packed = fd_is_zstd(fd);
	ret = packed ? channel_open_zstd(&job->channel, fd, e)
		     : channel_open_fd(&job->channel, fd, e);
	if (ret < 0)
		return ret;
	fd_take(&fd);
	if (job->options.lazy) {
		ret = read_lazily(job, keep, packed, e);
	} else {
		mapped_begin(&mapped, keep);
		ret = packed ? 0 : mapped_open(&mapped, keep, e);
		if (ret == 0 && !packed)
			mapped_direct(&mapped, path, O_RDONLY);
		if (ret == 0)
			ret = read_all(job, packed ? NULL : &mapped, e);
		mapped_end(&mapped);
	}
	channel_destroy(job->channel);
	job->channel = NULL;
	return ret < 0 ? err_in(e, "%s", path) : 0;
}

static int hash_file(int fd, uint64_t bytes, uint64_t *hash, struct err *e)
{
	OWNED(uint8_t) *buf = mem_zalloc(MiB);
	XXH3_state_t *state = XXH3_createState();
	uint64_t at = 0;
	ssize_t n = 1;

	XXH3_64bits_reset(state);
	for (; at < bytes && n > 0; at += (uint64_t)MAX(n, 0)) {
		n = pread(fd, buf, MIN(bytes - at, MiB), (off_t)at);
		if (n > 0)
			XXH3_64bits_update(state, buf, (size_t)n);
	}
	*hash = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return n < 0 ? err_sys(e, "read the snapshot at %llu", (unsigned long long)at) : 0;
}

/**
 * migrate_snapshot_verify() - Is a snapshot file what was written?
 * @fd:		The file; its position isn't used
 * @e:		Says what is wrong
 *
 * Errors: EBADMSG damaged, or without a trailer of ours; as pread(2)
 * Return: 0, or a negative errno
 */
int migrate_snapshot_verify(int fd, struct err *e)
{
	uint8_t trailer[TRAILER_BYTES];
	struct stat st;
	uint64_t hash;
	int ret;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "fstat");
	if (st.st_size < TRAILER_BYTES ||
	    pread(fd, trailer, TRAILER_BYTES, st.st_size - TRAILER_BYTES) != TRAILER_BYTES)
		return err_set(e, EBADMSG, "too short for a snapshot");
	ret = hash_file(fd, (uint64_t)st.st_size - TRAILER_BYTES, &hash, e);
	return ret < 0 ? ret
		       : trailer_parse(trailer, (uint64_t)st.st_size - TRAILER_BYTES, hash, e);
}
