/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QEMU keeps snapshots inside of qcow2 images; raw images have no room for
 * them, so here they are files beside the image of the node that the commands call vmstate:
 * IMAGE.TAG.snapshot, the files of the disks as points (points.c), and IMAGE.points.json, which
 * says what belongs together, the newest last. The commands only begin; the job concludes when the
 * migration engine has.
 */
#include "vmm/q35/migration/migration.h"

#include "base/clock.h"
#include "base/durable.h"
#include "base/owned.h"
#include "block/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/**
 * struct snapshot_job - The one that is under way
 * @g:		Whose
 * @job:	Seen by query-jobs; NULL: none is under way
 * @saves:	It saves, it doesn't load
 * @image:	Of the node vmstate; owned
 * @tag:	Owned
 */
static struct {
	struct guest *g;
	struct control_job *job;
	bool saves;
	char *image, *tag;
} current;

static char *index_path(const char *image)
{
	return str_printf("%s.points.json", image);
}

static char *snapshot_path(const char *image, const char *tag)
{
	return str_printf("%s.%s.snapshot", image, tag);
}

static json_t *index_load(const char *image)
{
	OWNED(char) *path = index_path(image);
	json_t *all = json_load_file(path, 0, NULL);

	return all ? all : json_array();
}

static int index_store(const char *image, const json_t *all, struct err *e)
{
	OWNED(char) *path = index_path(image);

	return json_store(all, path, JSON_INDENT(1), e);
}

/* Place of a tag in the index; its length if it isn't there. */
static size_t index_find(const json_t *all, const char *tag)
{
	size_t i = 0;

	while (i < json_array_size(all) &&
	       strcmp(option_str(json_array_get(all, i), "tag", ""), tag) != 0)
		i++;
	return i;
}

static bool tag_fits(const char *tag)
{
	return *tag && !strchr(tag, '/') && strlen(tag) <= 100;
}

static int image_of(const json_t *args, const char **ret, struct err *e)
{
	const char *node = option_str(args, "vmstate", ""), *tag = option_str(args, "tag", "");
	struct block_node *n = block_find(node);

	if (!n)
		return err_set(e, ENOENT, "No block device node '%s'", node);
	*ret = block_filename(n);
	if (!**ret)
		return err_set(e, ENOTSUP, "node '%s' has no file to keep snapshots beside", node);
	if (!tag_fits(tag))
		return err_set(e, EINVAL, "'%s' can't be the name of a snapshot", tag);
	return 0;
}

/* A disk that isn't kept is another one than the guest remembers when it goes back. */
static int devices_check(const json_t *args, struct err *e)
{
	const json_t *names = json_object_get(args, "devices"), *one;
	size_t i;

	if (!json_array_size(names))
		return err_set(e, EINVAL, "'devices' names no disk");
	json_array_foreach (names, i, one)
		if (!block_find(json_string_value(one)))
			return err_set(e, ENOENT, "No block device node '%s'",
				       json_string_value(one));
	return 0;
}

static int added(struct migration *m, struct err *e)
{
	OWNED_JSON *all = index_load(current.image);
	OWNED(char) *path = NULL;
	int r;

	json_array_append_new(all, json_pack("{s:s, s:I, s:O}", "tag", current.tag, "taken-ns",
					     (json_int_t)time_wall_ns(), "disks", m->points));
	r = index_store(current.image, all, e);
	if (r >= 0) {
		points_keep(m->guest, m->points);
		return 0;
	}
	path = snapshot_path(current.image, current.tag);
	points_take_back(m);
	unlink(path);
	return r;
}

/* Points that were made after the one that the guest has gone back to are gone. */
static int gone_back(struct err *e)
{
	OWNED_JSON *all = index_load(current.image);
	size_t i = index_find(all, current.tag), k;
	json_t *p, *d;

	while (json_array_size(all) > i + 1) {
		OWNED(char) *path = NULL;

		p = json_array_get(all, json_array_size(all) - 1);
		path = snapshot_path(current.image, option_str(p, "tag", ""));
		unlink(path);
		json_array_foreach (json_object_get(p, "disks"), k, d)
			unlink(option_str(d, "file", ""));
		json_array_remove(all, json_array_size(all) - 1);
	}
	return index_store(current.image, all, e);
}

/**
 * snapshot_job_ended() - A migration has ended: was it for a job?
 * @m:	Main thread; how it ended is in it
 */
void snapshot_job_ended(struct migration *m)
{
	struct control_job *job = current.job;
	struct err e = m->e;
	int r = m->ret;

	if (!job)
		return;
	current.job = NULL;
	if (r >= 0)
		r = current.saves ? added(m, &e) : gone_back(&e);
	control_job_conclude(job, r < 0 ? &e : NULL);
	mem_free(&current.image);
	mem_free(&current.tag);
}

static void cancel(void *opaque)
{
	struct err e;

	if (guest_migrate_cancel(opaque, NULL, NULL, NULL, &e) < 0)
		return; /* too late: it will be done in a moment */
}

static int job_begin(struct guest *g, const json_t *args, const char *image, bool saves,
		     struct err *e)
{
	int r;

	if (current.job)
		return err_set(e, EBUSY, "another snapshot job is under way");
	if (guest_stays(g, e) < 0)
		return -e->code;
	r = control_job_create(g->v->control, option_str(args, "job-id", ""),
			       saves ? "snapshot-save" : "snapshot-load", saves ? cancel : NULL, g,
			       &current.job, e);
	if (r < 0)
		return r;
	current.g = g;
	current.saves = saves;
	current.image = str_dup(image);
	current.tag = str_dup(option_str(args, "tag", ""));
	return 0;
}

/*
 * What saving and loading begin with: the index of the image that @args name, where the tag is in
 * it (of a new one: its length), and the job. @ret_all is set also on failure.
 */
static int begin(struct guest *g, const json_t *args, bool saves, json_t **ret_all, size_t *ret_at,
		 struct err *e)
{
	const char *image = "", *tag = option_str(args, "tag", "");
	int r = image_of(args, &image, e);
	bool known;

	if (r == 0)
		r = devices_check(args, e);
	if (r < 0)
		return r;
	*ret_all = index_load(image);
	*ret_at = index_find(*ret_all, tag);
	known = *ret_at < json_array_size(*ret_all);
	if (saves && known)
		return err_set(e, EEXIST, "Snapshot '%s' already exists in one or more devices",
			       tag);
	if (!saves && !known)
		return err_set(e, ENOENT, "Snapshot '%s' does not exist in one or more devices",
			       tag);
	return job_begin(g, args, image, saves, e);
}

/* The command couldn't even begin: the job says so. */
static void job_failed(const struct err *e)
{
	struct control_job *job = current.job;

	if (!job)
		return;
	current.job = NULL;
	control_job_conclude(job, e);
	mem_free(&current.image);
	mem_free(&current.tag);
}

/**
 * guest_snapshot_save() - QMP snapshot-save
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_snapshot.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EEXIST; ENOENT no such node; EBUSY. What comes later is the job's
 * Return: 0, or a negative errno
 */
int guest_snapshot_save(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	struct guest *g = opaque;
	OWNED_JSON *all = NULL, *words = NULL;
	OWNED(char) *path = NULL;
	struct err later;
	size_t i;
	int r = begin(g, args, true, &all, &i, e);

	if (r < 0)
		return r;
	path = snapshot_path(current.image, current.tag);
	words = json_pack("{s:o, s:b, s:b, s:o, s:O}", "uri", json_sprintf("file:%s", path),
			  "outlive-continue", true, "outlive-mapped", true, "outlive-points",
			  json_sprintf("%s.%s", current.image, current.tag), "outlive-devices",
			  json_object_get(args, "devices"));
	if (guest_migrate(g, rq, words, ret, &later) < 0)
		job_failed(&later);
	return 0;
}

/* Files of disks from the newest point to the one at @to. */
static json_t *way_back(const json_t *all, size_t to)
{
	json_t *disks = json_array(), *d, *one, *other;
	size_t i, k, n;

	for (i = json_array_size(all); i-- > to;)
		json_array_foreach (json_object_get(json_array_get(all, i), "disks"), k, d) {
			one = json_copy(d);
			json_array_foreach (disks, n, other)
				if (json_equal(json_object_get(other, "filename"),
					       json_object_get(d, "filename")))
					json_object_set_new(one, "unchecked", json_true());
			json_array_append_new(disks, one);
		}
	return disks;
}

/**
 * guest_snapshot_load() - QMP snapshot-load
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_snapshot.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: ENOENT no such node or tag; EBUSY. What comes later is the job's
 * Return: 0, or a negative errno
 */
int guest_snapshot_load(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	struct guest *g = opaque;
	OWNED_JSON *all = NULL, *words = NULL;
	OWNED(char) *path = NULL;
	struct err later;
	size_t i;
	int r = begin(g, args, false, &all, &i, e);

	if (r < 0)
		return r;
	path = snapshot_path(current.image, current.tag);
	words = json_pack("{s:o, s:o}", "uri", json_sprintf("file:%s", path), "disks",
			  way_back(all, i));
	if (guest_rollback(g, rq, words, ret, &later) < 0)
		job_failed(&later);
	return 0;
}

static int forget(struct guest *g, const char *image, json_t *all, size_t i, struct err *e)
{
	json_t *p = json_array_get(all, i), *d, *o;
	OWNED(char) *path = snapshot_path(image, option_str(p, "tag", ""));
	OWNED_JSON *words = json_pack("{s:O}", "disks", json_object_get(p, "disks"));
	size_t k, n;
	int r;

	if (i > 0 && i + 1 < json_array_size(all))
		return err_set(e, EBUSY, "snapshot '%s' is older and needs it: delete that first",
			       option_str(json_array_get(all, i - 1), "tag", ""));
	json_array_foreach (json_object_get(p, "disks"), k, d)
		json_array_foreach (json_object_get(json_array_get(all, i - 1), "disks"), n, o)
			if (json_equal(json_object_get(d, "filename"),
				       json_object_get(o, "filename")))
				json_object_set(d, "older", json_object_get(o, "file"));
	r = guest_point_drop(g, NULL, words, NULL, e);
	if (r < 0)
		return r;
	json_array_foreach (json_object_get(p, "disks"), k, d)
		unlink(option_str(d, "file", ""));
	unlink(path);
	json_array_remove(all, i);
	return index_store(image, all, e);
}

/* What is left of a snapshot whose VMM was killed while it was made; nobody knows of it. */
static int clear_remains(const struct guest *g, const char *image, const char *tag, struct err *e)
{
	static const char *const kinds[] = {"undo", "clone"};
	OWNED(char) *path = snapshot_path(image, tag);
	unsigned int found = ARRAY_SIZE(kinds), k;

	if (!*image || !tag_fits(tag))
		return 0;
	if (migration_busy(g->migration))
		return err_set(e, EBUSY, "There's a migration process in progress");
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, "%s", path);
	for (unsigned int disk = 0; found; disk++)
		for (found = 0, k = 0; k < ARRAY_SIZE(kinds); k++) {
			OWNED(char) *file = str_printf("%s.%s.disk%u.%s", image, tag, disk,
						       kinds[k]);

			found += unlink(file) == 0;
		}
	return 0;
}

/**
 * guest_snapshot_delete() - QMP snapshot-delete
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_snapshot.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * A tag that isn't there is deleted already, as with QEMU; files of one that was never finished go.
 *
 * Errors: ENOENT no such node; EEXIST the job's id is taken. What comes later is the job's
 * Return: 0, or a negative errno
 */
int guest_snapshot_delete(void *opaque, struct control_request *rq, const json_t *args,
			  json_t **ret, struct err *e)
{
	struct guest *g = opaque;
	const char *name = json_string_value(json_array_get(json_object_get(args, "devices"), 0));
	struct block_node *n = name ? block_find(name) : NULL;
	OWNED_JSON *all = NULL;
	struct control_job *job;
	struct err later;
	size_t i;
	int r;

	if (!n)
		return err_set(e, ENOENT, "No block device node '%s'", name ? name : "");
	r = control_job_create(g->v->control, option_str(args, "job-id", ""), "snapshot-delete",
			       NULL, NULL, &job, e);
	if (r < 0)
		return r;
	all = index_load(block_filename(n));
	i = index_find(all, option_str(args, "tag", ""));
	r = i < json_array_size(all)
		    ? forget(g, block_filename(n), all, i, &later)
		    : clear_remains(g, block_filename(n), option_str(args, "tag", ""), &later);
	control_job_conclude(job, r < 0 ? &later : NULL);
	return 0;
}
