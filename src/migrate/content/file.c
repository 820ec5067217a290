/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: any file is a row of pages, and those that lie at multiples of 4 KiB can be
 * found in it: a snapshot whose pages have fixed places (mapped-ram), guest memory kept in a file,
 * the image of a disk whose blocks the guest has in its cache. What it is doesn't matter, so it
 * isn't parsed; only what can't hold such pages is refused. Holes are left out. All pages are
 * hashed once, by several threads; a page that is taken is read again and verified, so a file that
 * changes meanwhile fails a migration and harms no guest.
 */
#include "migrate/content/content.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "migrate/channel/channel.h"
#include "migrate/wire.h"
#include "migrate/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/**
 * struct extent - Pages of the file that follow each other
 * @page:	The first, in the file
 * @number:	The first, in the list
 * @pages:	How many
 */
struct extent {
	uint64_t page, number, pages;
};

/**
 * struct content_file - A file and the list of its pages
 * @fd:		Open for reading
 * @path:	For messages
 * @extents, @extents_len: Where there is something
 * @pages:	In all of them
 * @names:	Of each page
 */
struct content_file {
	int fd;
	char *path;
	struct extent *extents;
	size_t extents_len;
	uint64_t pages;
	uint8_t (*names)[CONTENT_NAME_BYTES];
};

/* Is it something whose pages can't be found? */
static int refuse_packed(const struct content_file *f, struct err *e)
{
	uint8_t head[4096] = {0};
	ssize_t n = pread(f->fd, head, sizeof(head), 0);

	if (n < 0)
		return err_sys(e, "read");
	if (fd_is_zstd(f->fd, 0))
		return err_set(e, EINVAL, "it is compressed: no page can be found in it");
	if (load_be32(head) == WIRE_MAGIC && !memmem(head, sizeof(head), "mapped-ram", 10))
		return err_set(e, EINVAL,
			       "a snapshot without mapped-ram: its pages aren't at fixed places; "
			       "save it without --stream");
	return 0;
}

static void add_extent(struct content_file *f, uint64_t from, uint64_t to)
{
	uint64_t first = from / WIRE_PAGE, end = to / WIRE_PAGE;

	if (first >= end)
		return;
	f->extents = mem_realloc(f->extents, (f->extents_len + 1) * sizeof(*f->extents));
	f->extents[f->extents_len++] = (struct extent){first, f->pages, end - first};
	f->pages += end - first;
}

static int find_extents(struct content_file *f, struct err *e)
{
	struct stat st;
	off_t at = 0, hole;

	if (fstat(f->fd, &st) < 0)
		return err_sys(e, "fstat");
	while ((at = lseek(f->fd, at, SEEK_DATA)) >= 0) {
		hole = lseek(f->fd, at, SEEK_HOLE);
		if (hole < 0)
			return err_sys(e, "lseek");
		add_extent(f, (uint64_t)at, (uint64_t)hole);
		at = hole;
	}
	return errno == ENXIO ? 0 : err_sys(e, "lseek");
}

/* Hashes a piece of an extent; on a thread of its own. */
static int hash_piece(void *opaque, const struct work *w, uint8_t *room, struct err *e)
{
	const struct content_file *f = opaque;
	const struct extent *x = w->block;
	uint8_t hash[CONTENT_HASH_BYTES];
	size_t bytes = w->pages * WIRE_PAGE;
	uint64_t i;

	if (pread(f->fd, room, bytes, (off_t)((x->page + w->first) * WIRE_PAGE)) != (ssize_t)bytes)
		return err_set(e, EIO, "read at %#llx: cut short",
			       (unsigned long long)((x->page + w->first) * WIRE_PAGE));
	for (i = 0; i < w->pages; i++) {
		content_hash(room + i * WIRE_PAGE, hash);
		memcpy(f->names[x->number + w->first + i], hash, CONTENT_NAME_BYTES);
	}
	return 0;
}

static int hash_all(struct content_file *f, struct err *e)
{
	struct workers *workers;
	uint64_t at, n;
	size_t i;
	int r = workers_create(&workers, hash_piece, f, e);

	if (r < 0)
		return r;
	for (i = 0; i < f->extents_len; i++)
		for (at = 0; at < f->extents[i].pages; at += n) {
			n = MIN(f->extents[i].pages - at, (uint64_t)WORK_PAGES);
			workers_put(workers, &(struct work){&f->extents[i], at, n});
		}
	r = workers_wait(workers, e);
	workers_destroy(workers);
	return r;
}

static int open_all(struct content_file *f, struct err *e)
{
	int r;

	f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0)
		return err_sys(e, "open");
	r = refuse_packed(f, e);
	if (r == 0)
		r = find_extents(f, e);
	if (r < 0)
		return r;
	f->names = calloc(MAX(f->pages, (uint64_t)1), sizeof(*f->names));
	return f->names ? hash_all(f, e) : err_set(e, ENOMEM, "no memory for content hashes");
}

/**
 * content_file_open() - List the pages of a file
 * @ret:	Set on success only
 * @path:	Any file in which pages lie at multiples of 4 KiB
 * @e:		Names the file
 *
 * Errors: EINVAL it is packed; ENOMEM; as open(2), pread(2)
 * Return: 0, or a negative errno
 */
int content_file_open(struct content_file **ret, const char *path, struct err *e)
{
	struct content_file *f = mem_zalloc(sizeof(*f));
	int r;

	f->path = str_dup(path);
	r = open_all(f, e);
	if (r < 0) {
		content_file_close(f);
		return err_in(e, "outlive-content-file %s", path);
	}
	*ret = f;
	return 0;
}

/**
 * content_file_close() - Free the list
 * @f:	May be NULL
 */
void content_file_close(struct content_file *f)
{
	if (!f)
		return;
	fd_close(&f->fd);
	free(f->path);
	free(f->extents);
	free(f->names);
	free(f);
}

/**
 * content_file_pages() - How long the list is
 * @f:	May be NULL
 */
uint64_t content_file_pages(const struct content_file *f)
{
	return f ? f->pages : 0;
}

/**
 * content_file_names() - The list
 * @f:	Opened
 *
 * Return: CONTENT_NAME_BYTES for each page
 */
const uint8_t *content_file_names(const struct content_file *f)
{
	return f->names[0];
}

static const struct extent *extent_of(const struct content_file *f, uint64_t number)
{
	size_t low = 0, high = f->extents_len;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (f->extents[middle].number <= number)
			low = middle;
		else
			high = middle;
	}
	return &f->extents[low];
}

/**
 * content_file_read() - Read a page of the list
 * @f:		May be NULL: it has none
 * @number:	In the list; may be any
 * @page:	Filled in, WIRE_PAGE bytes; not verified
 * @e:		Set on failure only
 *
 * Errors: EINVAL there is no such page; EIO
 * Return: 0, or a negative errno
 */
int content_file_read(const struct content_file *f, uint64_t number, uint8_t *page, struct err *e)
{
	const struct extent *x;

	if (number >= content_file_pages(f))
		return err_set(e, EINVAL, "ram: page %llu of a file with %llu pages",
			       (unsigned long long)number,
			       (unsigned long long)content_file_pages(f));
	x = extent_of(f, number);
	if (pread(f->fd, page, WIRE_PAGE, (off_t)((x->page + number - x->number) * WIRE_PAGE)) !=
	    WIRE_PAGE)
		return err_set(e, EIO, "outlive-content-file %s: page %llu can't be read any more",
			       f->path, (unsigned long long)number);
	return 0;
}
