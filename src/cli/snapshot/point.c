/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a point is a snapshot of a running guest with what its disks were, as clones
 * where the file system shares blocks, else as undo files that the VMM feeds. Only the newest
 * point's undo files are fed, so to go back to an older one the newer ones are applied first, and
 * are gone afterwards. A guest that runs is taken back in place; for one that has ended a VMM is
 * started that waits.
 */
#include "cli/snapshot/snapshot.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define OPEN_SECONDS 10

/**
 * point_disks() - The files that keep what the disks were
 * @description: Of a point
 *
 * Return: borrowed
 */
const json_t *point_disks(const json_t *description)
{
	return json_object_get(json_object_get(description, "migration"), "outlive-disks");
}

/* Disks as the VMM is told of them: with what the point before kept, if there is one. */
static json_t *told_disks(const json_t *disks, const json_t *older)
{
	json_t *all = json_array(), *d, *o, *one;
	size_t i, k;

	json_array_foreach (disks, i, d) {
		one = json_pack("{s:O, s:O}", "filename", json_object_get(d, "filename"), "file",
				json_object_get(d, "file"));
		json_array_foreach (point_disks(older), k, o)
			if (json_equal(json_object_get(o, "filename"),
				       json_object_get(d, "filename")))
				json_object_set(one, "older", json_object_get(o, "file"));
		json_array_append_new(all, one);
	}
	return all;
}

/* @disks is consumed. */
static int tell(struct guest *g, const char *command, json_t *disks, struct err *e)
{
	json_t *args = json_pack("{s:o}", "disks", disks);
	struct qmp q;
	int r = qmp_open(g, OPEN_SECONDS, &q, e);

	if (r < 0) {
		json_decref(args);
		return r;
	}
	r = qmp_command(&q, command, args, NULL, e);
	qmp_close(&q);
	return r;
}

/* From now on older points need this one. If the VMM doesn't hear it, more is kept than need be. */
static void keep(struct guest *g, const json_t *info)
{
	json_t *disks = told_disks(json_object_get(info, "outlive-disks"), NULL);
	struct err e = {0};

	if (tell(g, "outlive-point-keep", disks, &e) < 0)
		fprintf(stderr, "outlive: %s: %s\n", g->name, e.msg);
}

/* What keeps the disks is of no use without a description, and mustn't be fed for ever. */
static void take_back(struct guest *g, const char *dir, const char *name)
{
	OWNED_JSON *left = NULL;
	struct err e = {0};

	if (snapshot_remains(dir, name, g, &left, &e) < 0)
		return;
	if (point_drop(g, dir, left, &e) < 0 || snapshot_forget(dir, name, left, &e) < 0)
		fprintf(stderr, "outlive: %s: %s\n", g->name, e.msg);
}

static int point(const struct cli_args *args, struct guest *g, struct err *e)
{
	const char *name = args->words[1];
	OWNED(char) *dir = NULL, *path = NULL, *prefix = NULL, *about = NULL;
	OWNED_JSON *info = NULL;
	struct qmp q;
	int r = snapshot_folder_make(args, g, &dir, e);

	if (r < 0)
		return r;
	about = snapshot_file(dir, name, "json");
	if (access(about, F_OK) == 0)
		return err_set(e, EEXIST, "there is a snapshot '%s' already", name);
	r = snapshot_cut_off(dir, name, e);
	if (r >= 0)
		r = qmp_open(g, OPEN_SECONDS, &q, e);
	if (r < 0)
		return r;
	path = snapshot_file(dir, name, "snapshot");
	prefix = str_printf("%s/%s", dir, name);
	r = snapshot_write(args, &q, path, prefix, &info, e);
	qmp_close(&q);
	if (r < 0)
		return r;
	r = snapshot_describe(dir, name, g, info, e);
	if (r < 0) {
		take_back(g, dir, name);
		return r;
	}
	keep(g, info);
	snapshot_report(args, path, info);
	return 0;
}

/* Adds the disks of a point; of each image only the first file is checked. */
static void add_disks(json_t *all, const json_t *disks)
{
	json_t *d, *one, *other;
	size_t i, k;

	json_array_foreach (disks, i, d) {
		one = json_pack("{s:O, s:O}", "filename", json_object_get(d, "filename"), "file",
				json_object_get(d, "file"));
		json_array_foreach (all, k, other)
			if (json_equal(json_object_get(other, "filename"),
				       json_object_get(d, "filename")))
				json_object_set_new(one, "unchecked", json_true());
		json_array_append_new(all, one);
	}
}

/**
 * point_way_back() - What has to be applied to the disks to go back
 * @points:	All of the guest, the newest first
 * @target:	The one to go back to
 *
 * Return: for outlive-rollback, the newest first; new reference
 */
json_t *point_way_back(const json_t *points, const json_t *target)
{
	json_t *all = json_array(), *p;
	size_t i;

	json_array_foreach (points, i, p)
		if (option_int(p, "order", 0) > option_int(target, "order", 0))
			add_disks(all, point_disks(p));
	add_disks(all, point_disks(target));
	return all;
}

static int launch_waiting(struct guest *g, const json_t *description, struct err *e)
{
	const json_t *argv = json_object_get(json_object_get(description, "launch"), "argv");
	OWNED_JSON *words = json_copy((json_t *)(uintptr_t)argv);

	json_array_append_new(words, json_string("-incoming"));
	json_array_append_new(words, json_string("defer"));
	return guest_launch(g, words, e);
}

static int go_back(const struct cli_args *args, struct guest *g, const char *path, json_t *disks,
		   struct err *e)
{
	OWNED(char) *uri = str_printf("%s:%s", cli_switch(args, "lazy") ? "lazy" : "file", path);
	struct qmp q;
	int r = qmp_open(g, OPEN_SECONDS, &q, e);

	if (r < 0) {
		json_decref(disks);
		return r;
	}
	r = qmp_command(&q, "outlive-rollback",
			json_pack("{s:s, s:o, s:b}", "uri", uri, "disks", disks, "force",
				  cli_switch(args, "force")),
			NULL, e);
	qmp_close(&q);
	return r < 0 ? r : snapshot_wait_loaded(g, e);
}

static int forget_newer(const char *dir, const json_t *points, const json_t *target, struct err *e)
{
	json_t *p;
	size_t i;
	int r = 0;

	json_array_foreach (points, i, p)
		if (r >= 0 && option_int(p, "order", 0) > option_int(target, "order", 0))
			r = snapshot_forget(dir, option_str(p, "name", ""), p, e);
	return r;
}

static bool same_device(const json_t *a, const json_t *b)
{
	static const char *const keys[] = {"driver", "id", "bus", "addr"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(option_str(a, keys[i], ""), option_str(b, keys[i], "")) != 0)
			return false;
	return true;
}

/* The first of @some that @others don't have. */
static const json_t *device_missing_in(const json_t *others, const json_t *some)
{
	json_t *one, *other;
	size_t i, k;
	bool found;

	json_array_foreach (some, i, one) {
		found = false;
		json_array_foreach (others, k, other)
			found |= same_device(one, other);
		if (!found)
			return one;
	}
	return NULL;
}

static const char *device_name(const json_t *d)
{
	return option_str(d, "id", option_str(d, "driver", "a device"));
}

/* A machine that has other devices than at the point would only be lost: it refuses the point. */
static int devices_check(struct guest *g, const json_t *target, struct err *e)
{
	const json_t *then = json_object_get(json_object_get(target, "migration"),
					     "outlive-devices"),
		     *devices, *d;
	OWNED_JSON *now = NULL;
	struct qmp q;
	int r = then ? qmp_open(g, OPEN_SECONDS, &q, e) : 0;

	if (!then || r < 0)
		return r;
	r = qmp_command(&q, "outlive-query-configuration", NULL, &now, e);
	qmp_close(&q);
	if (r < 0)
		return r;
	devices = json_object_get(now, "devices");
	d = device_missing_in(then, devices);
	if (d) {
		err_set(e, EEXIST, "%s was plugged in since the point", device_name(d));
		return err_hint(e, "outlive device rm %s %s", g->name, device_name(d));
	}
	d = device_missing_in(devices, then);
	if (!d)
		return 0;
	err_set(e, EEXIST, "%s was unplugged since the point", device_name(d));
	return err_hint(e, "plug it in again, or go back after outlive kill %s", g->name);
}

static int rollback(const struct cli_args *args, struct guest *g, struct err *e)
{
	OWNED(char) *dir = snapshot_folder(args, g), *path = NULL;
	OWNED_JSON *target = NULL, *points = NULL;
	struct err other;
	bool launched;
	int r = dir ? snapshot_description(dir, args->words[1], &target, e) : err_sys(e, "--dir");

	if (r >= 0 && !snapshot_is_point(target))
		r = err_set(e, EEXIST,
			    "'%s' is no point but a snapshot without disks: outlive "
			    "snapshot restore",
			    args->words[1]);
	if (r >= 0)
		r = snapshot_file_check(dir, args->words[1], target, e);
	if (r >= 0)
		r = snapshot_enter(target, e);
	path = snapshot_file(dir, args->words[1], "snapshot");
	launched = r >= 0 && !guest_refresh(g);
	if (launched)
		r = launch_waiting(g, target, e);
	else if (r >= 0)
		r = devices_check(g, target, e);
	if (r >= 0 && !launched)
		r = snapshot_verify(args, target, path, e);
	if (r < 0)
		return r;
	points = snapshot_points(dir);
	r = go_back(args, g, path, point_way_back(points, target), e);
	if (r < 0 && launched && snapshot_guest_end(g, &other) < 0)
		err_hint(e, "its VMM still waits: %s", other.msg);
	if (r >= 0)
		r = forget_newer(dir, points, target, e);
	if (r >= 0 && !args->json)
		printf("%s: is back at %s\n", g->name, args->words[1]);
	return r;
}

/* The newest point before @description. */
static const json_t *point_before(const json_t *points, const json_t *description)
{
	json_t *p;
	size_t i;

	json_array_foreach (points, i, p)
		if (option_int(p, "order", 0) < option_int(description, "order", 0))
			return p;
	return NULL;
}

/**
 * point_drop() - Keep no more what disks were at a point
 * @g:		Its guest
 * @dir:	Folder of its snapshots
 * @description: Of the point; its files are still there afterwards
 * @e:		Set on failure only
 *
 * Errors: EEXIST an older point needs this one
 * Return: 0, or a negative errno
 */
int point_drop(struct guest *g, const char *dir, const json_t *description, struct err *e)
{
	OWNED_JSON *points = snapshot_points(dir);
	const json_t *older = point_before(points, description);
	bool begun = json_object_get(description, "files"); /* nobody needs it yet */
	bool newest = option_int(json_array_get(points, 0), "order", 0) <=
		      option_int(description, "order", 0);

	if (older && !begun && (!newest || !guest_refresh(g)))
		return err_set(e, EEXIST, "point '%s' is older and needs it: delete that one first",
			       option_str(older, "name", ""));
	if (!guest_refresh(g))
		return 0;
	return tell(g, "outlive-point-drop", told_disks(point_disks(description), older), e);
}

/**
 * cmd_snapshot_point() - outlive snapshot point
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_point(const struct cli_args *args)
{
	return snapshot_with_guest(args, point, true);
}

/**
 * cmd_snapshot_rollback() - outlive snapshot rollback
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_rollback(const struct cli_args *args)
{
	return snapshot_with_guest(args, rollback, false);
}
