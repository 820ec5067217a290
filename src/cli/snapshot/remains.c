/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a snapshot's description comes last, so a save that was cut off (the command
 * or the VMM killed, no room) leaves files that no description names: the stream, and what keeps a
 * point's disks, which the VMM may go on feeding. They are found by their names, and described as a
 * point that is newer than all others, so that they can be deleted as any.
 *
 * Which image a disk's file is of isn't in its name. The VMM knows which file each of its disks
 * feeds, so it is given every pair of an image and a file, and passes over those that aren't so.
 */
#include "cli/snapshot/snapshot.h"

#include "base/option.h"
#include "base/owned.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define OPEN_SECONDS 10

/* "disk3.undo", "disk3.clone" */
static bool keeps_disk(const char *kind)
{
	if (strncmp(kind, "disk", 4) != 0 || !isdigit((unsigned char)kind[4]))
		return false;
	for (kind += 4; isdigit((unsigned char)*kind); kind++)
		;
	return !strcmp(kind, ".undo") || !strcmp(kind, ".clone");
}

static bool is_stream(const char *kind)
{
	return !strcmp(kind, "snapshot") || !strncmp(kind, "snapshot.new-", 13) ||
	       !strcmp(kind, "json.new");
}

/* Files of the name that @is one of. New reference. */
static json_t *files_of(const char *dir, const char *name, bool (*is)(const char *kind))
{
	json_t *files = json_array();
	size_t n = strlen(name);
	DIR *d = opendir(dir);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (!strncmp(entry->d_name, name, n) && entry->d_name[n] == '.' &&
		    is(entry->d_name + n + 1))
			json_array_append_new(files, json_sprintf("%s/%s", dir, entry->d_name));
	if (d)
		closedir(d);
	return files;
}

/**
 * snapshot_cut_off() - Is there a point of this name that nobody describes?
 * @dir:	Folder
 * @name:	Of the point
 * @e:		Set if there is
 *
 * Errors: EEXIST
 * Return: 0, or a negative errno
 */
int snapshot_cut_off(const char *dir, const char *name, struct err *e)
{
	OWNED_JSON *files = files_of(dir, name, keeps_disk);

	if (!json_array_size(files))
		return 0;
	err_set(e, EEXIST, "a point '%s' was begun and isn't whole (%s)", name,
		json_string_value(json_array_get(files, 0)));
	return err_hint(e, "outlive snapshot delete removes what is left of it");
}

/* The images that a guest's disks have; none if it doesn't run. */
static int images_of(struct guest *g, json_t **ret, struct err *e)
{
	OWNED_JSON *disks = NULL, *info = NULL;
	const char *status;
	struct qmp q;
	json_t *d;
	size_t i;
	int r;

	*ret = json_array();
	if (!guest_refresh(g))
		return 0;
	r = qmp_open(g, OPEN_SECONDS, &q, e);
	if (r < 0)
		return r;
	r = qmp_command(&q, "query-migrate", NULL, &info, e);
	if (r >= 0)
		r = qmp_command(&q, "query-block", NULL, &disks, e);
	qmp_close(&q);
	status = option_str(info, "status", "completed");
	if (r >= 0 && strcmp(status, "completed") && strcmp(status, "failed") &&
	    strcmp(status, "cancelled"))
		r = err_set(e, EEXIST, "it is being saved or moved: once that is over");
	json_array_foreach (disks, i, d)
		json_array_append(*ret, json_object_get(json_object_get(d, "inserted"), "file"));
	return r;
}

static json_t *pairs(const json_t *images, const json_t *files)
{
	json_t *all = json_array(), *file, *image;
	size_t i, k;

	json_array_foreach (files, i, file) {
		json_array_append_new(all, json_pack("{s:s, s:O}", "filename", "", "file", file));
		json_array_foreach (images, k, image)
			json_array_append_new(
				all, json_pack("{s:O, s:O}", "filename", image, "file", file));
	}
	return all;
}

/**
 * snapshot_remains() - Describe what a save that was cut off has left
 * @dir:	Folder
 * @name:	Of the snapshot; it has no description
 * @g:		Its guest
 * @ret:	Set on success only; new reference
 * @e:		Set already: there is no such snapshot; changed if something else is wrong
 *
 * Errors: ENOENT nothing is left; EEXIST it isn't cut off but under way
 * Return: 0, or a negative errno
 */
int snapshot_remains(const char *dir, const char *name, struct guest *g, json_t **ret,
		     struct err *e)
{
	OWNED_JSON *streams = files_of(dir, name, is_stream), *images = NULL;
	OWNED_JSON *disks = files_of(dir, name, keeps_disk);
	json_t *migration;
	int r;

	if (!json_array_size(streams) && !json_array_size(disks))
		return -ENOENT;
	r = images_of(g, &images, e);
	if (r < 0)
		return r;
	migration = json_object();
	if (json_array_size(disks))
		json_object_set_new(migration, "outlive-disks", pairs(images, disks));
	*ret = json_pack("{s:s, s:I, s:o, s:O}", "name", name, "order", (json_int_t)INT64_MAX,
			 "migration", migration, "files", streams);
	return 0;
}
