/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see undo.h. */
#include "block/undo.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 4096
#define ALIGNMENT    ((uint64_t)1024 * 1024)
/* Between a write and the time the file system notes. */
#define SLACK_NS     (2 * (uint64_t)NS_PER_SEC)

static const char magic[8] = "OUTLUND1";

static uint64_t bitmap_bytes(uint64_t clusters)
{
	return DIV_ROUND_UP(clusters, 64) * 8;
}

static int map(struct undo *u, struct err *e)
{
	void *at = mmap(NULL, u->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, 0);

	if (at == MAP_FAILED)
		return err_sys(e, "map %s", u->path);
	u->h = at;
	u->bits = (uint64_t *)(void *)((uint8_t *)at + HEADER_BYTES);
	return 0;
}

static struct undo *undo_new(const char *path, int fd, uint64_t image_bytes)
{
	struct undo *u = mem_zalloc(sizeof(*u));

	u->path = str_dup(path);
	u->fd = fd;
	u->clusters = DIV_ROUND_UP(image_bytes, (uint64_t)UNDO_CLUSTER);
	u->map_bytes = ALIGN_UP(HEADER_BYTES + bitmap_bytes(u->clusters), (uint64_t)HEADER_BYTES);
	pthread_mutex_init(&u->lock, NULL);
	return u;
}

static void undo_free(struct undo *u)
{
	if (u->h)
		munmap(u->h, u->map_bytes);
	fd_close(&u->fd);
	pthread_mutex_destroy(&u->lock);
	free(u->path);
	free(u);
}

/**
 * undo_drop() - Close it without a word about its state
 * @u:	Open
 */
void undo_drop(struct undo *u)
{
	undo_free(u);
}

static void touch(struct undo *u)
{
	__atomic_store_n(&u->h->written_ns, (uint64_t)time_wall_ns(), __ATOMIC_RELAXED);
}

/**
 * undo_create() - Begin an undo file
 * @ret:	Set on success only; undo_close() it
 * @path:	Must not exist
 * @image_bytes: Size of the image
 * @e:		Set on failure only
 *
 * Errors: as open(2), ftruncate(2), mmap(2)
 * Return: 0, or a negative errno
 */
int undo_create(struct undo **ret, const char *path, uint64_t image_bytes, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r;
	struct undo *u;

	if (fd < 0)
		return err_sys(e, "create %s", path);
	u = undo_new(path, fd, image_bytes);
	r = ftruncate(fd, (off_t)u->map_bytes) < 0 ? err_sys(e, "%s", path) : map(u, e);
	if (r < 0) {
		undo_free(u);
		unlink(path);
		return r;
	}
	*u->h = (struct undo_header){.image_bytes = image_bytes,
				     .cluster_bytes = UNDO_CLUSTER,
				     .data_at = ALIGN_UP(u->map_bytes, ALIGNMENT),
				     .state = UNDO_OPEN};
	memcpy(u->h->magic, magic, sizeof(magic));
	boot_id(u->h->boot_id);
	touch(u);
	u->opened = true; /* what the disk doesn't have of a new file nobody can take for closed */
	*ret = u;
	return 0;
}

static int header_check(const struct undo_header *h, uint64_t file_bytes, struct err *e)
{
	uint64_t clusters = h->image_bytes / UNDO_CLUSTER + 1;

	if (memcmp(h->magic, magic, sizeof(magic)) || h->cluster_bytes != UNDO_CLUSTER)
		return err_set(e, EBADMSG, "not an undo file of this version");
	if (h->image_bytes > INT64_MAX / 2 || h->data_at % HEADER_BYTES ||
	    h->data_at > INT64_MAX / 4 || h->data_at < HEADER_BYTES + clusters / 8 ||
	    file_bytes < HEADER_BYTES + bitmap_bytes(clusters - 1))
		return err_set(e, EBADMSG, "damaged: sizes in its header can't be right");
	return 0;
}

/**
 * undo_open() - Go on with an undo file
 * @ret:	Set on success only; undo_close() it
 * @path:	From undo_create()
 * @e:		Set on failure only
 *
 * Errors: EBADMSG it isn't one; as open(2), mmap(2)
 * Return: 0, or a negative errno
 */
int undo_open(struct undo **ret, const char *path, struct err *e)
{
	OWNED_FD fd = open(path, O_RDWR | O_CLOEXEC);
	struct undo_header h;
	struct stat st;
	struct undo *u;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open %s", path);
	if (pread(fd, &h, sizeof(h), 0) != sizeof(h))
		return err_set(e, EBADMSG, "%s: too short", path);
	if (header_check(&h, (uint64_t)st.st_size, e) < 0)
		return err_in(e, "%s", path);
	u = undo_new(path, fd_take(&fd), h.image_bytes);
	r = map(u, e);
	if (r < 0)
		undo_free(u);
	else
		*ret = u;
	return r;
}

/* When a regular file was last written; 0 of others, where nobody knows. */
static uint64_t changed_ns(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return (uint64_t)st.st_mtim.tv_sec * NS_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
}

static void close_one(struct undo *u, int image_fd)
{
	if (u->h->state == UNDO_OPEN && msync(u->h, u->map_bytes, MS_SYNC) == 0 &&
	    fsync(u->fd) == 0) {
		u->h->state = UNDO_CLOSED;
		u->h->closed_ns = changed_ns(image_fd);
		if (msync(u->h, HEADER_BYTES, MS_SYNC) < 0)
			log_warn("%s: %s", u->path, strerror(errno));
	}
	undo_free(u);
}

/**
 * undo_close() - Keep nothing more
 * @u:		May be NULL; the older ones that it has are closed, too
 * @image_fd:	The image
 */
void undo_close(struct undo *u, int image_fd)
{
	struct undo *older;

	for (; u; u = older) {
		older = u->older;
		close_one(u, image_fd);
	}
}

static bool saved(const struct undo *u, uint64_t cluster)
{
	return __atomic_load_n(&u->bits[cluster / 64], __ATOMIC_ACQUIRE) >> cluster % 64 & 1;
}

static uint64_t cluster_bytes(const struct undo *u, uint64_t cluster)
{
	return MIN(u->h->image_bytes - cluster * UNDO_CLUSTER, (uint64_t)UNDO_CLUSTER);
}

static uint64_t place(const struct undo *u, uint64_t cluster)
{
	return u->h->data_at + cluster * UNDO_CLUSTER;
}

/* Copies @n bytes; what the source doesn't have is zeros. */
static int copy(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t n)
{
	static _Thread_local uint8_t room[UNDO_CLUSTER] __attribute__((aligned(4096)));
	ssize_t got = pread(from, room, n, (off_t)from_at);

	if (got < 0)
		return -errno;
	memset(room + got, 0, n - (uint64_t)got);
	got = pwrite(to, room, n, (off_t)to_at);
	return got < 0 ? -errno : (uint64_t)got < n ? -ENOSPC : 0;
}

static void break_it(struct undo *u, int code)
{
	if (u->h->state == UNDO_BROKEN)
		return;
	u->h->state = UNDO_BROKEN;
	log_warn("%s can't be kept: %s. The guest goes on, this point is lost", u->path,
		 strerror(code));
}

static void save_one(struct undo *u, int image_fd, uint64_t cluster)
{
	int ret;

	pthread_mutex_lock(&u->lock);
	if (!saved(u, cluster) && u->h->state != UNDO_BROKEN) {
		ret = copy(image_fd, cluster * UNDO_CLUSTER, u->fd, place(u, cluster),
			   cluster_bytes(u, cluster));
		if (ret < 0)
			break_it(u, -ret);
		__atomic_fetch_or(&u->bits[cluster / 64], 1ULL << cluster % 64, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&u->lock);
}

/* Not if another that has it open has closed it since. */
static bool is_open(const struct undo *u)
{
	return __atomic_load_n(&u->opened, __ATOMIC_ACQUIRE) && u->h->state != UNDO_CLOSED;
}

/*
 * It is going to be changed, and the image with it. If the host crashed and its disk still said
 * that the file is closed, with an image that looks like then, a wrong one would be copied back.
 */
static void open_again(struct undo *u)
{
	pthread_mutex_lock(&u->lock);
	if (!is_open(u) && u->h->state != UNDO_BROKEN) {
		u->opened = false; /* whoever comes now waits for the disk */
		u->h->state = UNDO_OPEN;
		boot_id(u->h->boot_id);
		if (msync(u->h, HEADER_BYTES, MS_SYNC) < 0)
			break_it(u, errno);
	}
	__atomic_store_n(&u->opened, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&u->lock);
}

static void save_all(struct undo *u, int image_fd, uint64_t offset, uint64_t bytes)
{
	uint64_t end = MIN(offset + bytes, u->h->image_bytes), c;

	touch(u);
	if (!is_open(u))
		open_again(u);
	for (c = offset / UNDO_CLUSTER; c * UNDO_CLUSTER < end; c++)
		if (!saved(u, c))
			save_one(u, image_fd, c);
}

/**
 * undo_save() - Save what is about to be changed
 * @u:		Open; the older ones that it has get it, too
 * @image_fd:	The image
 * @offset:	First byte
 * @bytes:	How many; what lies behind the image of that moment needn't be saved
 */
void undo_save(struct undo *u, int image_fd, uint64_t offset, uint64_t bytes)
{
	for (; u; u = u->older)
		save_all(u, image_fd, offset, bytes);
}

/**
 * undo_check() - Is what it has, and the image, what it should be?
 * @u:		Open
 * @image_fd:	The image
 * @e:		Says why it can't be trusted
 *
 * Errors: EBADMSG it isn't complete; ESTALE the image was changed by somebody else
 * Return: 0, or a negative errno
 */
int undo_check(const struct undo *u, int image_fd, struct err *e)
{
	uint64_t changed = changed_ns(image_fd);
	char now[BOOT_ID_BYTES];

	boot_id(now);
	if (u->h->state == UNDO_BROKEN)
		return err_set(e, EBADMSG, "%s isn't complete: it couldn't be written", u->path);
	if (u->h->state != UNDO_CLOSED && memcmp(u->h->boot_id, now, sizeof(now)) != 0)
		return err_set(e, EBADMSG,
			       "%s may not be complete: the host went down while it was written",
			       u->path);
	if (u->h->state == UNDO_CLOSED ? changed != u->h->closed_ns
				       : changed > u->h->written_ns + SLACK_NS)
		return err_set(e, ESTALE,
			       "the image was written after %s was last kept: somebody else has "
			       "changed it",
			       u->path);
	return 0;
}

static int restart(struct undo *u, struct err *e)
{
	memset(u->bits, 0, bitmap_bytes(u->clusters));
	u->h->state = UNDO_OPEN;
	boot_id(u->h->boot_id);
	touch(u);
	if (msync(u->h, u->map_bytes, MS_SYNC) < 0 || ftruncate(u->fd, (off_t)u->map_bytes) < 0)
		return err_sys(e, "%s", u->path);
	return 0;
}

/**
 * undo_copy_back() - Make an image, or a copy of it, what the image was
 * @u:		Open, in anybody's use
 * @image_fd:	The image, or a copy that was made after @u began; in nobody's use
 * @e:		Set on failure only: the image is neither; it can be tried again
 *
 * A copy may have been made while the image was written: what changed under it was saved in @u
 * before.
 *
 * Errors: as pread(2), pwrite(2), ftruncate(2)
 * Return: 0, or a negative errno
 */
int undo_copy_back(const struct undo *u, int image_fd, struct err *e)
{
	struct stat st;
	uint64_t c;
	int ret = 0;

	if (fstat(image_fd, &st) < 0)
		return err_sys(e, "fstat");
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size != u->h->image_bytes &&
	    ftruncate(image_fd, (off_t)u->h->image_bytes) < 0)
		return err_sys(e, "resize the image");
	for (c = 0; c < u->clusters && ret == 0; c++)
		if (saved(u, c))
			ret = copy(u->fd, place(u, c), image_fd, c * UNDO_CLUSTER,
				   cluster_bytes(u, c));
	if (ret == 0 && fdatasync(image_fd) < 0)
		ret = -errno;
	return ret < 0 ? err_ret(e, ret, "copy %s back", u->path) : 0;
}

/**
 * undo_apply() - Make the image what it was
 * @u:		Open; empty afterwards, and goes on from here
 * @image_fd:	The image, in nobody's use
 * @e:		Set on failure only: the image is neither; it can be tried again
 *
 * The disk has all of @u before the image is touched: cut off by a crash of the host, it can be
 * repeated (and must be forced: the image isn't what @u knows).
 *
 * Errors: as undo_copy_back()
 * Return: 0, or a negative errno
 */
int undo_apply(struct undo *u, int image_fd, struct err *e)
{
	int r;

	if (msync(u->h, u->map_bytes, MS_SYNC) < 0 || fsync(u->fd) < 0)
		return err_sys(e, "%s", u->path);
	r = undo_copy_back(u, image_fd, e);
	return r < 0 ? r : restart(u, e);
}

/**
 * undo_merge() - Give an older undo file what a newer one has saved
 * @older:	Open; of the same image, from before @u began
 * @u:		The newer one, in nobody's use
 * @e:		Set on failure only
 *
 * Errors: EBADMSG @u isn't complete; as pwrite(2)
 * Return: 0, or a negative errno
 */
int undo_merge(struct undo *older, const struct undo *u, struct err *e)
{
	uint64_t c, n = MIN(older->clusters, u->clusters);
	int ret = 0;

	if (u->h->state == UNDO_BROKEN)
		break_it(older, EIO);
	open_again(older);
	for (c = 0; c < n && ret == 0; c++) {
		if (!saved(u, c) || saved(older, c))
			continue;
		ret = copy(u->fd, place(u, c), older->fd, place(older, c), cluster_bytes(older, c));
		if (ret == 0)
			__atomic_fetch_or(&older->bits[c / 64], 1ULL << c % 64, __ATOMIC_RELEASE);
	}
	older->h->written_ns = u->h->written_ns;
	return ret < 0 ? err_ret(e, ret, "merge %s into %s", u->path, older->path) : 0;
}
