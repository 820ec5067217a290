/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest that comes to an Outlive gets a folder as one that "outlive run"
 * starts: monitor, console, log, pid file, and a launch record from which it can be started again.
 */
#include "cli/adopt/adopt.h"

#include "base/clock.h"
#include "base/owned.h"

#include <string.h>

/* "@DIR@" stands for the folder. The caller frees it. */
static char *word_placed(const char *word, const char *dir)
{
	char *text = str_dup(word), *at;

	while ((at = strstr(text, "@DIR@"))) {
		char *longer = str_printf("%.*s%s%s", (int)(at - text), text, dir, at + 5);

		free(text);
		text = longer;
	}
	return text;
}

/**
 * move_placed() - Words with the guest's folder in them
 * @words:	"@DIR@" stands for it
 * @g:		The guest
 *
 * Return: new reference
 */
json_t *move_placed(const json_t *words, const struct guest *g)
{
	json_t *list = json_array(), *word;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)words, i, word) {
		OWNED(char *) text = word_placed(json_string_value(word), g->dir);

		json_array_append_new(list, json_string(text));
	}
	return list;
}

/**
 * move_add_own() - Options every guest with a folder has
 * @m:	@argv and @record grow
 */
void move_add_own(struct move *m)
{
	OWNED(char *) name = str_printf("guest=%s", m->name);

	move_add(m, "-name", name);
	move_add(m, "-msg", "timestamp=on");
	move_add(m, "-qmp", "unix:@DIR@/qmp.sock,server=on,wait=off");
	move_add(m, "-pidfile", "@DIR@/pid");
}

/**
 * move_record() - The launch record of a guest that comes
 * @m:		@record is complete
 * @g:		Its folder
 * @memory:	For people: "512M"
 * @cpus:	The same
 *
 * Return: new reference
 */
json_t *move_record(const struct move *m, const struct guest *g, const char *memory,
		    const char *cpus)
{
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:o}", "name", g->name, "started",
			 (json_int_t)(time_wall_ns() / NS_PER_SEC), "version", OUTLIVE_VERSION,
			 "memory", memory, "cpus", cpus, "argv", move_placed(m->record, g));
}

/**
 * move_record_write() - Write a launch record
 * @g:		Its folder
 * @record:	Borrowed
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int move_record_write(const struct guest *g, const json_t *record, struct err *e)
{
	OWNED(char *) path = guest_path(g, "launch.json");

	return json_dump_file(record, path, JSON_INDENT(2)) < 0 ? err_sys(e, "%s", path) : 0;
}
