/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a snapshot is a file SNAPSHOT.snapshot, a migration stream with a checksum,
 * and SNAPSHOT.json beside it with the guest's launch record and when it was taken, so that the
 * guest can be started from it in any place. Both are in the guest's folder, which the host forgets
 * when it reboots, or in one of the operator's. The VMM writes the stream under another name first;
 * the description comes last, and what has none isn't listed.
 *
 * Disks aren't in it: a guest that runs on changes them, and its snapshot then fits copies of them
 * only; what the images looked like from outside is noted, and compared. A point (point.c) is a
 * snapshot with its disks.
 */
#include "cli/snapshot/snapshot.h"
#include "cli/migration.h"

#include "base/clock.h"
#include "base/durable.h"
#include "base/option.h"
#include "base/owned.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OPEN_SECONDS 10
#define LOOK_MS      5
#define END_BYTES    32

/**
 * snapshot_folder() - Where a guest's snapshots are
 * @args:	With --dir, perhaps
 * @g:		The guest
 *
 * Return: absolute; the caller frees it. NULL: there is no such folder, see errno
 */
char *snapshot_folder(const struct cli_args *args, const struct guest *g)
{
	const char *dir = cli_value(args, "dir", NULL);

	return dir ? realpath(dir, NULL) : guest_path(g, "snapshots");
}

/**
 * snapshot_folder_make() - The same, made if it isn't there
 * @args:	With --dir, perhaps
 * @g:		The guest
 * @ret:	Set on success only; the caller frees it
 * @e:		Set on failure only
 *
 * Errors: as mkdir(2)
 * Return: 0, or a negative errno
 */
int snapshot_folder_make(const struct cli_args *args, const struct guest *g, char **ret,
			 struct err *e)
{
	*ret = snapshot_folder(args, g);
	if (!*ret)
		return err_sys(e, "%s", cli_value(args, "dir", ""));
	return mkdir(*ret, 0700) < 0 && errno != EEXIST ? err_sys(e, "%s", *ret) : 0;
}

static int name_check(const char *name, struct err *e)
{
	if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > 100)
		return err_set(e, EINVAL, "'%s' can't be the name of a snapshot", name);
	return 0;
}

/**
 * snapshot_file() - A file of a snapshot
 * @dir:	Folder
 * @name:	Of the snapshot
 * @kind:	"snapshot", "json", "disk0.undo"
 *
 * Return: the caller frees it
 */
char *snapshot_file(const char *dir, const char *name, const char *kind)
{
	return str_printf("%s/%s.%s", dir, name, kind);
}

/* The last bytes of a snapshot's file in hex, which its checksum is among: new with each save. */
static int last_bytes(const char *dir, const char *name, char ret[2 * END_BYTES + 1], struct err *e)
{
	OWNED(char) *path = snapshot_file(dir, name, "snapshot");
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t bytes[END_BYTES];

	if (fd < 0)
		return err_sys(e, "%s", path);
	if (lseek(fd, -(off_t)END_BYTES, SEEK_END) < 0 ||
	    read(fd, bytes, sizeof(bytes)) != sizeof(bytes))
		return err_set(e, EBADMSG, "%s is too short for a snapshot", path);
	for (size_t i = 0; i < END_BYTES; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/**
 * snapshot_describe() - Write the description, which makes a snapshot known
 * @dir:	Folder
 * @name:	Of the snapshot
 * @g:		The guest
 * @info:	The last query-migrate
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int snapshot_describe(const char *dir, const char *name, const struct guest *g, const json_t *info,
		      struct err *e)
{
	OWNED(char) *path = snapshot_file(dir, name, "json");
	int64_t now = time_wall_ns();
	char end[2 * END_BYTES + 1];
	OWNED_JSON *d = NULL;
	int r = last_bytes(dir, name, end, e);

	if (r < 0)
		return r;
	d = json_pack("{s:s, s:s, s:I, s:I, s:s, s:O, s:O}", "name", name, "guest", g->name,
		      "taken", (json_int_t)(now / NS_PER_SEC), "order", (json_int_t)now, "end", end,
		      "launch", g->record, "migration", info);
	return json_store(d, path, JSON_INDENT(2), e);
}

/**
 * snapshot_enter() - Go to where the guest was started: paths of its command line begin there
 * @description: Of the snapshot; of one that doesn't say so nothing happens
 * @e:		Set on failure only
 *
 * Errors: as chdir(2)
 * Return: 0, or a negative errno
 */
int snapshot_enter(const json_t *description, struct err *e)
{
	const char *folder = option_str(json_object_get(description, "launch"), "folder", NULL);

	if (!folder || chdir(folder) == 0)
		return 0;
	return err_sys(e, "%s, where the guest was started", folder);
}

/**
 * snapshot_file_check() - Is the file the one that was described?
 * @dir:	Folder
 * @name:	Of the snapshot
 * @description: Of it
 * @e:		Set on failure only
 *
 * Looks at its end only: a file that is missing, cut short or of another save is found before a
 * guest is ended for it.
 *
 * Errors: EBADMSG it isn't; as open(2)
 * Return: 0, or a negative errno
 */
int snapshot_file_check(const char *dir, const char *name, const json_t *description, struct err *e)
{
	char end[2 * END_BYTES + 1];
	int r = last_bytes(dir, name, end, e);

	if (r < 0 || !strcmp(option_str(description, "end", end), end))
		return r;
	return err_set(e, EBADMSG,
		       "%s/%s.snapshot isn't what %s.json describes: it is cut short, or saving "
		       "it again was cut off",
		       dir, name, name);
}

/**
 * snapshot_description() - Read a description
 * @dir:	Folder
 * @name:	Of the snapshot
 * @ret:	Set on success only; new reference
 * @e:		Set on failure only
 *
 * Errors: ENOENT there is no such snapshot
 * Return: 0, or a negative errno
 */
int snapshot_description(const char *dir, const char *name, json_t **ret, struct err *e)
{
	OWNED(char) *path = snapshot_file(dir, name, "json");

	*ret = json_load_file(path, 0, NULL);
	return *ret ? 0 : err_set(e, ENOENT, "there is no snapshot '%s' in %s", name, dir);
}

/* What it has now, plugged devices among it: a point fits no other machine. */
static int note_devices(struct qmp *q, json_t *info, struct err *e)
{
	OWNED_JSON *now = NULL;
	int r = qmp_command(q, "outlive-query-configuration", NULL, &now, e);

	if (r >= 0)
		json_object_set(info, "outlive-devices", json_object_get(now, "devices"));
	return r;
}

/**
 * snapshot_write() - Have a guest written to a file
 * @args:	--stop, --compress, --mapped, --stream
 * @q:		To its VMM
 * @path:	File
 * @prefix:	See snapshot.h
 * @info:	Set to the last query-migrate
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int snapshot_write(const struct cli_args *args, struct qmp *q, const char *path, const char *prefix,
		   json_t **info, struct err *e)
{
	const struct migration_watch w = {.name = args->words[0],
					  .quiet = args->json,
					  .look_ms = args->json || !isatty(STDERR_FILENO) ? LOOK_MS
											  : 0};
	OWNED(char) *uri = str_printf("file:%s", path);
	const char *packing = cli_value(args, "compress", "none");
	bool stays = !cli_switch(args, "stop"), mapped = !strcmp(packing, "none");
	json_t *words;
	int r;

	if (cli_switch(args, "mapped") && (!mapped || cli_switch(args, "stream")))
		return err_set(e, EINVAL,
			       "--mapped: such a file is neither compressed nor a stream");
	r = qmp_command(q, "migrate-set-parameters", json_pack("{s:i}", "max-bandwidth", 0), NULL,
			e);
	words = json_pack("{s:s, s:b, s:b, s:s, s:s*}", "uri", uri, "outlive-continue", stays,
			  "outlive-mapped", mapped && !cli_switch(args, "stream"),
			  "outlive-compress", packing, "outlive-points", prefix);
	if (cli_switch(args, "mapped"))
		json_object_set_new(words, "outlive-packed", json_false());
	if (r >= 0)
		r = qmp_command(q, "migrate", words, NULL, e);
	else
		json_decref(words);
	if (r >= 0)
		r = migration_follow(q, &w, info, e);
	if (r >= 0 && strcmp(option_str(*info, "status", ""), "completed"))
		r = err_set(e, EIO, "%s", option_str(*info, "error-desc", "cancelled"));
	return r < 0 ? r : note_devices(q, *info, e);
}

/**
 * snapshot_end() - After a guest was written: with --stop it ends, if the snapshot is known
 * @args:	--stop
 * @q:		To its VMM
 * @known:	The description is there; else @e is set, and the guest runs on
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int snapshot_end(const struct cli_args *args, struct qmp *q, bool known, struct err *e)
{
	struct err other;

	if (!cli_switch(args, "stop"))
		return 0;
	if (known)
		return qmp_command(q, "quit", NULL, NULL, e);
	if (qmp_command(q, "cont", NULL, NULL, &other) < 0)
		err_hint(e, "the guest is stopped: %s", other.msg);
	return 0;
}

/**
 * snapshot_report() - Tell the operator what was written
 * @args:	--json
 * @path:	File
 * @info:	The last query-migrate
 */
void snapshot_report(const struct cli_args *args, const char *path, const json_t *info)
{
	double pause_ms = (double)option_int(info, "outlive-downtime-us", 0) / 1000;
	OWNED_JSON *result = json_pack("{s:s, s:s, s:s, s:f}", "name", args->words[0], "snapshot",
				       args->words[1], "file", path, "pause-ms", pause_ms);

	if (args->json)
		cli_print_json(result);
	else
		printf("%s: %s is written; paused for %.2f ms\n", args->words[0], path, pause_ms);
}

/* A point has more to it than a file, and may be fed: it can't just be written over. */
static int replace_check(const char *dir, const char *name, struct err *e)
{
	OWNED_JSON *old = NULL;
	struct err none;

	if (snapshot_description(dir, name, &old, &none) < 0)
		return snapshot_cut_off(dir, name, e);
	if (!snapshot_is_point(old))
		return 0;
	return err_set(e, EEXIST,
		       "'%s' is a point with disks: delete it first, or take another name", name);
}

static int save(const struct cli_args *args, struct guest *g, struct err *e)
{
	OWNED(char) *dir = NULL, *path = NULL;
	OWNED_JSON *info = NULL;
	struct qmp q;
	int r = snapshot_folder_make(args, g, &dir, e), ended;

	if (r >= 0)
		r = replace_check(dir, args->words[1], e);
	if (r >= 0)
		r = qmp_open(g, OPEN_SECONDS, &q, e);
	if (r < 0)
		return r;
	path = snapshot_file(dir, args->words[1], "snapshot");
	r = snapshot_write(args, &q, path, NULL, &info, e);
	if (r >= 0) {
		r = snapshot_describe(dir, args->words[1], g, info, e);
		ended = snapshot_end(args, &q, r >= 0, e);
		r = r < 0 ? r : ended;
	}
	qmp_close(&q);
	if (r >= 0)
		snapshot_report(args, path, info);
	return r;
}

static json_t *row_of(const char *dir, const char *name)
{
	OWNED(char) *path = snapshot_file(dir, name, "snapshot");
	OWNED_JSON *d = NULL;
	struct err e;
	struct stat st;
	char when[32];
	time_t taken;

	if (snapshot_description(dir, name, &d, &e) < 0 || stat(path, &st) < 0)
		return NULL;
	taken = (time_t)option_int(d, "taken", 0);
	strftime(when, sizeof(when), "%F %T", localtime(&taken));
	return json_pack("{s:s, s:s, s:s, s:o}", "name", name, "taken", when, "file", path, "size",
			 json_integer((json_int_t)st.st_blocks * 512));
}

static json_t *rows_of(const char *dir)
{
	json_t *rows = json_array();
	DIR *d = opendir(dir);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		size_t n = strlen(entry->d_name);
		OWNED(char) *name = str_dup(entry->d_name);
		json_t *row;

		if (n < 6 || strcmp(name + n - 5, ".json"))
			continue;
		name[n - 5] = '\0';
		row = row_of(dir, name);
		if (row)
			json_array_append_new(rows, row);
	}
	if (d)
		closedir(d);
	return rows;
}

static int list(const struct cli_args *args, struct guest *g, struct err *e)
{
	static const char *const columns[] = {"name", "taken", "size", "file", NULL};
	OWNED(char) *dir = snapshot_folder(args, g);
	OWNED_JSON *rows = dir ? rows_of(dir) : NULL;

	if (!rows)
		return err_sys(e, "%s", cli_value(args, "dir", ""));
	if (args->json)
		cli_print_json(rows);
	else
		cli_print_table(rows, columns);
	return 0;
}

static int show(const struct cli_args *args, struct guest *g, struct err *e)
{
	OWNED(char) *dir = snapshot_folder(args, g);
	OWNED_JSON *d = NULL;
	int r = dir ? snapshot_description(dir, args->words[1], &d, e) : err_sys(e, "--dir");

	if (r >= 0)
		cli_print_json(d);
	return r;
}

/**
 * snapshot_is_point() - Were its disks kept, too?
 * @description: Of a snapshot
 */
bool snapshot_is_point(const json_t *description)
{
	return json_object_get(json_object_get(description, "migration"), "outlive-disks");
}

static int by_order(const void *a, const void *b)
{
	json_int_t x = option_int(*(json_t *const *)a, "order", 0);
	json_int_t y = option_int(*(json_t *const *)b, "order", 0);

	return x < y ? 1 : x > y ? -1 : 0;
}

/**
 * snapshot_points() - The points in a folder
 * @dir:	Folder
 *
 * Return: descriptions, the newest first; new reference
 */
json_t *snapshot_points(const char *dir)
{
	OWNED_JSON *rows = rows_of(dir);
	size_t n = 0, room = json_array_size(rows), i;
	OWNED(json_t *) *all = mem_calloc(room, sizeof(*all));
	json_t *sorted = json_array(), *row;
	struct err e;

	json_array_foreach (rows, i, row) {
		if (snapshot_description(dir, option_str(row, "name", ""), &all[n], &e) < 0)
			continue;
		if (snapshot_is_point(all[n]))
			n++;
		else
			json_decref(all[n]);
	}
	qsort(all, n, sizeof(*all), by_order);
	for (i = 0; i < n; i++)
		json_array_append_new(sorted, all[i]);
	return sorted;
}

/**
 * snapshot_forget() - Delete the files of a snapshot
 * @dir:	Folder
 * @name:	Of the snapshot
 * @description: Of it
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of unlink(2)
 */
int snapshot_forget(const char *dir, const char *name, const json_t *description, struct err *e)
{
	OWNED(char) *about = snapshot_file(dir, name, "json");
	OWNED(char) *path = snapshot_file(dir, name, "snapshot");
	const json_t *disks = json_object_get(json_object_get(description, "migration"),
					      "outlive-disks");
	json_t *d;
	size_t i;

	if ((unlink(about) < 0 && errno != ENOENT) || (unlink(path) < 0 && errno != ENOENT))
		return err_sys(e, "%s", path);
	json_array_foreach (disks, i, d)
		if (unlink(option_str(d, "file", "")) < 0 && errno != ENOENT)
			return err_sys(e, "%s", option_str(d, "file", ""));
	json_array_foreach (json_object_get(description, "files"), i, d)
		if (unlink(json_string_value(d)) < 0 && errno != ENOENT)
			return err_sys(e, "%s", json_string_value(d));
	return 0;
}

static int delete (const struct cli_args *args, struct guest *g, struct err *e)
{
	OWNED(char) *dir = snapshot_folder(args, g);
	OWNED_JSON *d = NULL;
	int r = dir ? snapshot_description(dir, args->words[1], &d, e) : err_sys(e, "--dir");

	if (r == -ENOENT)
		r = snapshot_remains(dir, args->words[1], g, &d, e);
	if (r >= 0 && snapshot_is_point(d))
		r = point_drop(g, dir, d, e);
	return r < 0 ? r : snapshot_forget(dir, args->words[1], d, e);
}

/**
 * snapshot_with_guest() - Do a command about a guest and perhaps a snapshot
 * @args:	NAME [SNAPSHOT]
 * @fn:		The command
 * @running:	Only if the guest runs
 *
 * Return: enum cli_exit
 */
int snapshot_with_guest(const struct cli_args *args,
			int (*fn)(const struct cli_args *args, struct guest *g, struct err *e),
			bool running)
{
	struct guest g;
	struct err e = {0};
	int r = args->words_len > 1 ? name_check(args->words[1], &e) : 0;

	if (r < 0)
		return cli_fail(CLI_USAGE, &e);
	r = running ? guest_open_running(args->words[0], &g, &e)
		    : guest_open(args->words[0], &g, &e);
	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	r = fn(args, &g, &e);
	if (r < 0)
		err_in(&e, "%s", g.name);
	guest_release(&g);
	return r < 0 ? cli_fail(r == -EEXIST ? CLI_REFUSED : CLI_FAILED, &e) : CLI_OK;
}

/**
 * cmd_snapshot_save() - outlive snapshot save
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_save(const struct cli_args *args)
{
	return snapshot_with_guest(args, save, true);
}

/**
 * cmd_snapshot_list() - outlive snapshot list
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_list(const struct cli_args *args)
{
	return snapshot_with_guest(args, list, false);
}

/**
 * cmd_snapshot_show() - outlive snapshot show
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_show(const struct cli_args *args)
{
	return snapshot_with_guest(args, show, false);
}

/**
 * cmd_snapshot_delete() - outlive snapshot delete
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_delete(const struct cli_args *args)
{
	return snapshot_with_guest(args, delete, false);
}
