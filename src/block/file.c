/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a regular file or a block device, opened once and shared by all queues. What
 * the file system can (direct I/O alignment, punching holes) is asked where it says so and
 * otherwise found by trying. During a live hand-over the descriptor comes from the old process
 * (block_adopt_fd()), so that its locks and its identity stay the same even if the path meanwhile
 * names another file.
 */
#include "block/file.h"

#include "base/list.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static const struct block_option options[] = {
	{"filename", BLOCK_OPTION_STRING, true, "path of the image, or /dev/fdset/N"},
	{"aio", BLOCK_OPTION_STRING, false,
	 "'io_uring', 'native' or 'threads': io_uring serves all three"},
	{"locking", BLOCK_OPTION_STRING, false, "'auto', 'on' or 'off': image locks"},
	{"outlive-undo", BLOCK_OPTION_STRING, false,
	 "undo file of a snapshot point, to go on with"},
	{"outlive-undo-older", BLOCK_OPTION_LIST, false,
	 "undo files that are fed as well, since nobody knows of outlive-undo yet"},
	{NULL, 0, false, NULL},
};

struct adopted {
	struct list link;
	char *filename;
	int fd;
};

static struct list adopted = LIST_INIT(adopted);

/**
 * block_adopt_fd() - Give the next node of this file name an open descriptor
 * @filename:	As in the node's options
 * @fd:		Owned from here on
 */
void block_adopt_fd(const char *filename, int fd)
{
	struct adopted *a = mem_zalloc(sizeof(*a));

	a->filename = str_dup(filename);
	a->fd = fd;
	list_add_tail(&adopted, &a->link);
}

static int adopted_take(const char *filename)
{
	struct adopted *a;

	list_for_each (a, &adopted, link) {
		int fd = a->fd;

		if (strcmp(a->filename, filename))
			continue;
		list_del(&a->link);
		free(a->filename);
		free(a);
		return fd;
	}
	return -1;
}

static int open_path(struct block_node *n, const char *filename, bool direct, struct err *e)
{
	bool automatic = block_option_bool(n, "auto-read-only", false);
	int flags = O_CLOEXEC | (direct ? O_DIRECT : 0);
	int fd = adopted_take(filename);

	if (fd >= 0) {
		n->read_only |= automatic && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
		return fd;
	}
	fd = open(filename, flags | (n->read_only ? O_RDONLY : O_RDWR));
	if (fd < 0 && automatic && !n->read_only &&
	    (errno == EACCES || errno == EROFS || errno == EPERM)) {
		n->read_only = true;
		fd = open(filename, flags | O_RDONLY);
	}
	if (fd < 0 && errno == EINVAL && direct)
		return err_set(e, EINVAL,
			       "%s: this file system has no direct I/O (leave out cache.direct=on)",
			       filename);
	return fd < 0 ? err_sys(e, "open %s", filename) : fd;
}

/* Direct I/O alignment: statx(2) tells since Linux 6.1; before that 512 is what file systems and
 * disks mostly take. */
static void probe_alignment(struct file *f)
{
	f->alignment = 1;
	f->memory_alignment = 1;
	if (!f->direct)
		return;
	f->alignment = f->memory_alignment = 512;
#ifdef STATX_DIOALIGN
	struct statx st;

	if (statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
	    st.stx_mask & STATX_DIOALIGN && st.stx_dio_offset_align) {
		f->alignment = st.stx_dio_offset_align;
		f->memory_alignment = st.stx_dio_mem_align;
	}
#endif
}

static int probe_size(int fd, const char *filename, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", filename);
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, size) < 0 ? err_sys(e, "size of %s", filename) : 0;
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is neither a regular file nor a block device",
			       filename);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int check_words(const struct block_node *n, struct err *e)
{
	const char *aio = block_option_string(n, "aio", "io_uring");
	const char *locking = block_option_string(n, "locking", "auto");

	if (strcmp(aio, "io_uring") && strcmp(aio, "native") && strcmp(aio, "threads"))
		return err_set(e, EINVAL, "aio: '%s' is none of io_uring, native, threads", aio);
	if (strcmp(locking, "auto") && strcmp(locking, "on") && strcmp(locking, "off"))
		return err_set(e, EINVAL, "locking: '%s' is none of auto, on, off", locking);
	return 0;
}

/* Undo files that the process before has fed, or that it was told of. */
static int open_undo(const struct block_node *n, struct undo **ret, struct err *e)
{
	const char *path = block_option_string(n, "outlive-undo", NULL);
	const json_t *older = json_object_get(n->options, "outlive-undo-older"), *one;
	struct undo **end = ret;
	size_t i;
	int r = path ? undo_open(end, path, e) : 0;

	json_array_foreach (older, i, one) {
		if (r < 0 || !path)
			break;
		end = &(*end)->older;
		r = undo_open(end, json_string_value(one), e);
	}
	return r;
}

static int file_open(struct block_node *n, struct err *e)
{
	const char *filename = block_option_string(n, "filename", "");
	struct file *f;
	int fd, r = check_words(n, e);

	if (r < 0)
		return r;
	n->read_only = block_option_bool(n, "read-only", false);
	fd = open_path(n, filename, block_option_bool(n, "cache.direct", false), e);
	if (fd < 0)
		return fd;
	r = probe_size(fd, filename, &n->size, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	f = mem_zalloc(sizeof(*f));
	*f = (struct file){
		.fd = fd,
		.direct = block_option_bool(n, "cache.direct", false),
		.no_flush = block_option_bool(n, "cache.no-flush", false),
		.unmap = strcmp(block_option_string(n, "discard", "ignore"), "unmap") == 0,
		.zero_range = true,
		.punch_hole = true,
	};
	probe_alignment(f);
	n->priv = f;
	r = open_undo(n, &f->undo, e);
	if (r < 0) {
		undo_close(f->undo, fd);
		close(fd);
		free(f);
	}
	return r;
}

static void file_close(struct block_node *n)
{
	struct file *f = n->priv;

	undo_close(f->undo, f->fd);
	close(f->fd);
	free(f);
}

static void file_limits(const struct block_queue *q, struct block_limits *l)
{
	const struct file *f = q->node->priv;

	l->request_alignment = MAX(l->request_alignment, f->alignment);
	l->memory_alignment = MAX(l->memory_alignment, f->memory_alignment);
}

static int file_resize(struct block_node *n, uint64_t bytes, struct err *e)
{
	const struct file *f = n->priv;
	struct stat st;

	if (f->undo && bytes < n->size)
		undo_save(f->undo, f->fd, bytes, n->size - bytes);
	if (fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(f->fd, (off_t)bytes) < 0)
		return err_sys(e, "resize %s", block_filename(n));
	return probe_size(f->fd, block_filename(n), &n->size, e);
}

static bool locks(const struct block_node *n)
{
	return strcmp(block_option_string(n, "locking", "auto"), "off") != 0;
}

static int file_attach(struct block_node *n, bool writable, struct err *e)
{
	const struct file *f = n->priv;

	return locks(n) ? block_lock(f->fd, block_filename(n), writable, e) : 0;
}

static void file_detach(struct block_node *n)
{
	const struct file *f = n->priv;

	if (locks(n))
		block_unlock(f->fd);
}

static int file_fd(const struct block_node *n)
{
	return ((const struct file *)n->priv)->fd;
}

#define FILE_OPS                                                                                   \
	.options = options, .open = file_open, .close = file_close, .queue_open = file_queue_open, \
	.queue_close = file_queue_close, .limits = file_limits, .submit = file_submit,             \
	.kick = file_kick, .poll = file_poll, .resize = file_resize, .attach = file_attach,        \
	.detach = file_detach, .fd = file_fd

const struct block_driver block_file = {.name = "file", .help = "regular file", FILE_OPS};
const struct block_driver block_host_device = {
	.name = "host_device", .help = "block device of the host", FILE_OPS};
