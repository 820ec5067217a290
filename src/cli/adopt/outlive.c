/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a running Outlive describes its machine as it is now
 * (outlive-query-configuration); what it was given as descriptors has its name in the launch
 * record.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <string.h>

/* Those that a device uses: monitors stay behind. */
static json_t *used_chardevs(const json_t *config)
{
	const json_t *all = json_object_get(config, "chardevs");
	json_t *used = json_array(), *d;
	size_t i;

	json_array_foreach (json_object_get(config, "devices"), i, d) {
		json_t *c = move_find(all, "id", option_str(d, "chardev", "/"));

		if (c && !move_find(used, "id", option_str(c, "id", "")))
			json_array_append(used, c);
	}
	return used;
}

/* A chardev or tap that came as a descriptor has its name in the launch record only. */
static void names_take(const struct move *m, const struct guest *g, const char *list,
		       const char *option, const char *implied)
{
	const json_t *argv = json_object_get(g->record, "argv");
	size_t i;
	json_t *word;

	json_array_foreach ((json_t *)(uintptr_t)argv, i, word) {
		const char *next = json_string_value(json_array_get(argv, i + 1));
		OWNED_JSON *values = NULL;
		json_t *now;
		struct err e;

		if (strcmp(json_string_value(word), option) || !next ||
		    keyval_parse(next, implied, &values, &e) < 0)
			continue;
		now = move_find(json_object_get(m->config, list), "id",
				option_str(values, "id", ""));
		if (!json_object_get(now, "fd") && !json_object_get(now, "fds"))
			continue;
		json_object_del(now, "fd");
		json_object_del(now, "fds");
		json_object_update_missing(now, values);
	}
}

/* A version that doesn't tell has none, which "auto" on the other side may not come to. */
static void smm_default(json_t *words)
{
	json_t *word;
	size_t i;

	json_array_foreach (words, i, word) {
		if (strstr(json_string_value(word), "smm="))
			return;
	}
	json_array_append_new(words, json_string("-machine"));
	json_array_append_new(words, json_string("smm=off"));
}

/**
 * outlive_read() - What a running Outlive is now
 * @m:		@source is connected; with @remote @source_pid is known, else it is found and must
 *		be the process behind the monitor
 * @g:		The guest
 * @e:		Set on failure only
 *
 * Sets @words, @cwd, @config (chardevs that devices use, paths absolute), @was_running,
 * @ignore_shared.
 *
 * Errors: as qmp_command(), words_take()
 * Return: 0, or a negative errno
 */
int outlive_read(struct move *m, const struct guest *g, struct err *e)
{
	static const char *const lists[] = {"devices", "objects", "blockdevs", "netdevs"};
	OWNED_JSON *config = NULL, *status = NULL;
	int r = qmp_command(&m->source, "outlive-query-configuration", NULL, &config, e);
	json_t *one;
	size_t n;

	if (r >= 0)
		r = qmp_command(&m->source, "query-status", NULL, &status, e);
	if (r < 0)
		return r;
	m->was_running = option_bool(status, "running", false);
	m->words = json_incref(json_object_get(config, "argv"));
	smm_default(m->words);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		json_object_set(m->config, lists[i], json_object_get(config, lists[i]));
	json_object_set_new(m->config, "chardevs", used_chardevs(config));
	r = m->remote ? cwd_take(m, e) : words_take(m, e);
	if (r < 0)
		return r;
	names_take(m, g, "chardevs", "-chardev", "backend");
	names_take(m, g, "netdevs", "-netdev", "type");
	json_array_foreach (json_object_get(m->config, "chardevs"), n, one)
		move_paths(m, one);
	json_array_foreach (json_object_get(m->config, "blockdevs"), n, one)
		move_paths(m, one);
	json_array_foreach (json_object_get(m->config, "objects"), n, one) {
		if (!strcmp(option_str(one, "qom-type", ""), "memory-backend-file"))
			m->ignore_shared |= option_bool(one, "share", false);
	}
	return 0;
}
