/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each image that the guest could write gets a file for the clone. From a
 * point it is a copy of the point's clone of the image; or, where the point keeps an undo file, a
 * copy of the image as it is now, which the clone's VMM makes what it was (the image may be written
 * meanwhile: what changes under the copy is in the undo file before). A snapshot without disks fits
 * the images only while they are what they were. A copy shares its blocks where the file system
 * can; elsewhere it is read and written, holes left out.
 */
#include "cli/snapshot/clone.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 20)

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n >= k && !strcmp(text + n - k, end);
}

/* The clone's file for an image: NEW-NAME in the operator's folder, else beside the image. */
static char *copy_path(const struct clone *c, const char *image)
{
	const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image;

	if (c->folder)
		return str_printf("%s/%s-%s", c->folder, c->to.name, name);
	return str_printf("%.*s%s-%s", (int)(name - image), image, c->to.name, name);
}

/* The point's clone of the image, or the image itself. */
static const char *source_of(const struct clone *c, const char *image)
{
	const char *file;
	json_t *d;
	size_t i;

	json_array_foreach (point_disks(c->description), i, d) {
		file = option_str(d, "file", "");
		if (!strcmp(option_str(d, "filename", ""), image) && ends_with(file, ".clone"))
			return file;
	}
	return image;
}

static int plan_one(struct clone *c, const char *image, struct err *e)
{
	OWNED(char) *copy = copy_path(c, image);
	const char *from = source_of(c, image);
	struct stat st;

	if (stat(from, &st) < 0)
		return err_sys(e, "%s", from);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ENOTSUP, "%s is no file: the clone's disk can't be made from it",
			       from);
	if (access(copy, F_OK) == 0)
		return err_set(e, EEXIST, "%s is there already", copy);
	json_array_append_new(
		c->disks, json_pack("{s:s, s:s, s:s}", "image", image, "copy", copy, "from", from));
	return 0;
}

static const char *copy_of(const struct clone *c, const char *image)
{
	json_t *d;
	size_t i;

	json_array_foreach (c->disks, i, d)
		if (!strcmp(option_str(d, "image", ""), image))
			return option_str(d, "copy", "");
	return NULL;
}

/* The undo files that lead from the image of now to that of the point. */
static void plan_undo(struct clone *c)
{
	OWNED_JSON *points = snapshot_points(c->dir), *way = point_way_back(points, c->description);
	json_t *d;
	size_t i;

	json_array_foreach (way, i, d) {
		const char *image = option_str(d, "filename", ""), *copy = copy_of(c, image);
		json_t *one;

		if (!copy || !ends_with(option_str(d, "file", ""), ".undo") ||
		    strcmp(source_of(c, image), image) != 0)
			continue;
		one = json_copy(d);
		json_object_set(one, "image", json_object_get(d, "filename"));
		json_object_set_new(one, "filename", json_string(copy));
		json_array_append_new(c->undo, one);
	}
}

/* Without disks in it a snapshot fits the images only as long as nobody writes them. */
static int still_check(const struct clone *c, const json_t *images, struct err *e)
{
	if (!json_array_size(images) || snapshot_is_point(c->description))
		return 0;
	if (c->from->pid) {
		err_set(e, EEXIST, "%s runs and writes its disks, which aren't in this snapshot",
			c->from->name);
		return err_hint(e, "outlive snapshot point keeps them; clone that");
	}
	return cli_switch(c->args, "force") ? 0 : snapshot_images_check(c->description, e);
}

/**
 * clone_disks_plan() - Decide what the clone's disks are, and see that they can be made
 * @c:		@disks and @undo are filled in
 * @e:		Set on failure only
 *
 * Errors: EEXIST a file is there already, or the images aren't what they were; ENOTSUP an image is
 * no file
 * Return: 0, or a negative errno
 */
int clone_disks_plan(struct clone *c, struct err *e)
{
	const json_t *images = snapshot_images(c->description);
	int r = still_check(c, images, e);
	json_t *i;
	size_t n;

	json_array_foreach (images, n, i)
		if (r == 0)
			r = plan_one(c, option_str(i, "filename", ""), e);
	if (r == 0)
		plan_undo(c);
	return r;
}

/* [@at, @end) of one file to the same place of the other. */
static int copy_range(int from, int to, off_t at, off_t end)
{
	OWNED(char) *room = mem_zalloc(PIECE_BYTES);

	while (at < end) {
		ssize_t n = pread(from, room, MIN(PIECE_BYTES, (size_t)(end - at)), at);

		if (n > 0)
			n = pwrite(to, room, (size_t)n, at);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		at += n;
	}
	return 0;
}

static int copy_data(int from, int to)
{
	off_t end = lseek(from, 0, SEEK_END), at = 0, hole;
	int r = ftruncate(to, end) < 0 ? -errno : 0;

	while (r == 0 && at < end) {
		at = lseek(from, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(from, at, SEEK_HOLE);
		r = copy_range(from, to, at, hole < 0 ? end : hole);
		at = hole < 0 ? end : hole;
	}
	return r;
}

static int make_one(struct clone *c, json_t *d, struct err *e)
{
	const char *from = option_str(d, "from", ""), *copy = option_str(d, "copy", "");
	OWNED_FD in = open(from, O_RDONLY | O_CLOEXEC);
	OWNED_FD out = in < 0 ? -1 : open(copy, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool shared;
	int r = 0;

	if (in < 0 || out < 0)
		return err_sys(e, "%s", in < 0 ? from : copy);
	c->made++;
	shared = ioctl(out, FICLONE, in) == 0;
	json_object_set_new(d, "shared", json_boolean(shared));
	if (!shared)
		r = copy_data(in, out);
	return r < 0 ? err_ret(e, r, "copy %s to %s", from, copy) : 0;
}

/**
 * clone_disks_make() - Make the clone's disks
 * @c:		Planned
 * @e:		Set on failure only; what was made is for clone_disks_remove()
 *
 * Errors: as open(2), pread(2), pwrite(2)
 * Return: 0, or a negative errno
 */
int clone_disks_make(struct clone *c, struct err *e)
{
	json_t *d;
	size_t i;
	int r = 0;

	json_array_foreach (c->disks, i, d)
		if (r == 0)
			r = make_one(c, d, e);
	return r;
}

/**
 * clone_disks_remove() - Take away what clone_disks_make() has made
 * @c:		There is no clone
 */
void clone_disks_remove(struct clone *c)
{
	while (c->made > 0)
		unlink(option_str(json_array_get(c->disks, --c->made), "copy", ""));
}
