/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a clone is a second guest from one's snapshot or point. It has a folder, a
 * name, a UUID, disks, networks and interface addresses of its own; nothing of the first one is
 * written, and that one may run meanwhile. All that can be wrong is looked for first; if something
 * fails afterwards, the new VMM is ended and the disks that were made are removed.
 */
#include "cli/snapshot/clone.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPEN_SECONDS 10

static void clone_release(struct clone *c)
{
	if (c->to.name)
		guest_release(&c->to);
	json_decref(c->description);
	json_decref(c->disks);
	json_decref(c->undo);
	json_decref(c->macs);
	json_decref(c->argv);
	free(c->dir);
	free(c->folder);
	free(c->uuid);
}

static char *uri_of(const struct clone *c)
{
	OWNED(char *) path = snapshot_file(c->dir, c->args->words[1], "snapshot");

	return str_printf("%s:%s", cli_switch(c->args, "lazy") ? "lazy" : "file", path);
}

/* Everything that can be found wrong without touching anything. */
static int prepare(struct clone *c, struct err *e)
{
	const char *disks = cli_value(c->args, "disks", NULL);
	int r;

	c->dir = snapshot_folder(c->args, c->from);
	if (!c->dir)
		return err_sys(e, "%s", cli_value(c->args, "dir", ""));
	c->folder = disks ? realpath(disks, NULL) : NULL;
	if (disks && !c->folder)
		return err_sys(e, "%s", disks);
	r = snapshot_description(c->dir, c->args->words[1], &c->description, e);
	if (r == 0)
		r = snapshot_file_check(c->dir, c->args->words[1], c->description, e);
	if (r == 0)
		r = snapshot_enter(c->description, e);
	if (r == 0)
		r = guest_make(c->args->words[2], &c->to, e);
	c->disks = json_array();
	c->undo = json_array();
	c->macs = json_array();
	c->argv = json_array();
	if (r == 0)
		r = clone_disks_plan(c, e);
	if (r == 0)
		r = clone_words(c, e);
	if (r < 0 && c->to.name)
		rmdir(c->to.dir); /* if it is new and so empty */
	return r;
}

static int write_record(const struct clone *c, struct err *e)
{
	OWNED(char *) path = guest_path(&c->to, "launch.json");
	OWNED_JSON *r = json_copy(json_object_get(c->description, "launch"));

	json_object_set_new(r, "name", json_string(c->to.name));
	json_object_set_new(r, "started", json_integer(time_wall_ns() / NS_PER_SEC));
	json_object_set(r, "argv", c->argv);
	return json_dump_file(r, path, JSON_INDENT(2)) < 0 ? err_sys(e, "%s", path) : 0;
}

static int load(struct clone *c, struct err *e)
{
	OWNED(char *) uri = uri_of(c);
	struct qmp q;
	int r;

	if (!json_array_size(c->undo))
		return snapshot_wait_loaded(&c->to, e);
	r = qmp_open(&c->to, OPEN_SECONDS, &q, e);
	if (r < 0)
		return r;
	r = qmp_command(&q, "outlive-rollback",
			json_pack("{s:s, s:O, s:b}", "uri", uri, "disks", c->undo, "force",
				  cli_switch(c->args, "force")),
			NULL, e);
	qmp_close(&q);
	return r < 0 ? r : snapshot_wait_loaded(&c->to, e);
}

static int launch(struct clone *c, struct err *e)
{
	OWNED_JSON *argv = json_copy(c->argv);
	OWNED(char *) uri = uri_of(c);
	int r;

	json_array_append_new(argv, json_string("-incoming"));
	json_array_append_new(argv, json_string(json_array_size(c->undo) ? "defer" : uri));
	r = write_record(c, e);
	if (r == 0)
		r = guest_launch(&c->to, argv, e);
	return r < 0 ? r : load(c, e);
}

static void give_up(struct clone *c)
{
	struct err e;

	if (snapshot_guest_end(&c->to, &e) < 0)
		fprintf(stderr, "outlive: %s: %s\n", c->to.name, e.msg);
	clone_disks_remove(c);
}

static void report(const struct clone *c)
{
	OWNED_JSON *result = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:O, s:O}", "name",
				       c->to.name, "pid", c->to.pid, "folder", c->to.dir, "from",
				       c->from->name, "snapshot", c->args->words[1], "uuid",
				       c->uuid, "macs", c->macs, "disks", c->disks);

	if (c->args->json)
		cli_print_json(result);
	else
		printf("%s: runs, a clone of %s at %s\n", c->to.name, c->from->name,
		       c->args->words[1]);
}

static int clone(const struct cli_args *args, struct guest *g, struct err *e)
{
	struct clone c = {.args = args, .from = g};
	int r = prepare(&c, e);

	if (r == 0) {
		r = clone_disks_make(&c, e);
		if (r == 0)
			r = launch(&c, e);
		if (r < 0)
			give_up(&c);
		else
			report(&c);
	}
	clone_release(&c);
	return r;
}

/**
 * cmd_snapshot_clone() - outlive snapshot clone
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_snapshot_clone(const struct cli_args *args)
{
	return snapshot_with_guest(args, clone, false);
}
