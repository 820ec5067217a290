/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a snapshot is restored by starting its guest with the words of its launch
 * record and -incoming behind them. Images that were written since are refused before anything
 * runs: the guest would find other disks than it remembers.
 */
#include "cli/migration.h"
#include "cli/snapshot/snapshot.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define OPEN_SECONDS 10
#define STOP_SECONDS 10
#define LOOK_MS      5

static json_t *restore_argv(const json_t *description, const char *path, bool lazy)
{
	const json_t *argv = json_object_get(json_object_get(description, "launch"), "argv");
	json_t *words = json_copy((json_t *)(uintptr_t)argv);

	json_array_append_new(words, json_string("-incoming"));
	json_array_append_new(words, json_sprintf("%s:%s", lazy ? "lazy" : "file", path));
	return words;
}

/* A VMM that was started with -incoming URI ends when it can't load. */
static bool poll_ended(const struct guest *g)
{
	return guest_wait_end(g, 0.5);
}

/**
 * snapshot_wait_loaded() - Wait until a guest has come from its file
 * @g:	Its VMM loads
 * @e:	Says what the VMM says, or its log if it has ended
 *
 * Errors: ECHILD it has ended; EIO it waits for another try
 * Return: 0, or a negative errno
 */
int snapshot_wait_loaded(struct guest *g, struct err *e)
{
	OWNED_JSON *info = NULL;
	const struct migration_watch w = {.name = g->name, .quiet = true, .look_ms = LOOK_MS};
	struct qmp q;
	int r = qmp_open(g, OPEN_SECONDS, &q, e);

	if (r < 0)
		return guest_refresh(g) ? r : guest_blame_log(g, e);
	r = migration_follow(&q, &w, &info, e);
	qmp_close(&q);
	if (r >= 0 && strcmp(option_str(info, "status", ""), "failed") != 0)
		return 0;
	if (r >= 0 && !poll_ended(g))
		return err_set(e, EIO, "%s", option_str(info, "error-desc", "it can't be loaded"));
	guest_wait_end(g, STOP_SECONDS);
	return guest_blame_log(g, e);
}

/**
 * snapshot_guest_end() - Have a guest's VMM end
 * @g:	Running or not
 * @e:	Set on failure only
 *
 * Errors: ETIMEDOUT it doesn't
 * Return: 0, or a negative errno
 */
int snapshot_guest_end(struct guest *g, struct err *e)
{
	struct qmp q;
	int r;

	if (!guest_refresh(g))
		return 0;
	r = qmp_open(g, OPEN_SECONDS, &q, e);
	if (r < 0)
		return r;
	r = qmp_command(&q, "quit", NULL, NULL, e);
	qmp_close(&q);
	if (r >= 0 && !guest_wait_end(g, STOP_SECONDS))
		r = err_set(e, ETIMEDOUT, "it doesn't end");
	return r;
}

static int end_running(const struct cli_args *args, struct guest *g, const json_t *description,
		       const char *path, struct err *e)
{
	int r;

	if (!guest_refresh(g))
		return 0;
	if (!cli_switch(args, "force"))
		return err_set(e, EEXIST, "it runs; --force ends it and goes back");
	r = snapshot_verify(args, description, path, e);
	return r < 0 ? r : snapshot_guest_end(g, e);
}

/**
 * snapshot_images() - The images that the guest could write, and what they looked like
 * @description: Of a snapshot
 *
 * Return: borrowed; NULL: not noted
 */
const json_t *snapshot_images(const json_t *description)
{
	return json_object_get(json_object_get(description, "migration"), "outlive-images");
}

/**
 * snapshot_images_check() - Are the images what they were when the snapshot was written?
 * @description: Of it
 * @e:		Names the one that isn't
 *
 * Errors: EEXIST one was written since; as stat(2)
 * Return: 0, or a negative errno
 */
int snapshot_images_check(const json_t *description, struct err *e)
{
	const json_t *images = snapshot_images(description);
	const char *name;
	struct stat st;
	json_t *i;
	size_t n;

	json_array_foreach (images, n, i) {
		name = option_str(i, "filename", "");
		if (stat(name, &st) < 0)
			return err_sys(e, "%s", name);
		if (st.st_size == option_int(i, "bytes", 0) &&
		    (json_int_t)st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec ==
			    option_int(i, "written-ns", 0))
			continue;
		err_set(e, EEXIST, "%s was written since the snapshot was", name);
		return err_hint(e, "its guest would find other disks than it remembers; --force "
				   "restores it all the same");
	}
	return 0;
}

static int restore(const struct cli_args *args, struct guest *g, struct err *e)
{
	OWNED(char) *dir = snapshot_folder(args, g), *path = NULL;
	OWNED_JSON *description = NULL, *argv = NULL;
	int r;

	if (!dir)
		return err_sys(e, "%s", cli_value(args, "dir", ""));
	r = snapshot_description(dir, args->words[1], &description, e);
	if (r >= 0 && snapshot_is_point(description))
		r = err_set(e, EEXIST, "'%s' is a point with disks: outlive snapshot rollback",
			    args->words[1]);
	if (r >= 0)
		r = snapshot_file_check(dir, args->words[1], description, e);
	if (r >= 0)
		r = snapshot_enter(description, e);
	if (r >= 0 && !cli_switch(args, "force"))
		r = snapshot_images_check(description, e);
	path = snapshot_file(dir, args->words[1], "snapshot");
	if (r >= 0)
		r = end_running(args, g, description, path, e);
	if (r < 0)
		return r;
	argv = restore_argv(description, path, cli_switch(args, "lazy"));
	r = guest_launch(g, argv, e);
	if (r >= 0)
		r = snapshot_wait_loaded(g, e);
	if (r >= 0 && !args->json)
		printf("%s: runs from %s\n", g->name, path);
	return r;
}

/**
 * cmd_snapshot_restore() - outlive snapshot restore
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_restore(const struct cli_args *args)
{
	return snapshot_with_guest(args, restore, false);
}
