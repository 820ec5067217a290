/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what the other host has to know of a guest: its machine as it is now, the
 * command line and the folder it was started with, and of its images what tells one file from
 * another, since nothing copies them.
 */
#include "cli/remote/remote.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void add_image(const char *path, json_t *images)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
		json_array_append_new(images, json_pack("{s:s, s:I, s:I}", "path", path, "inode",
							(json_int_t)st.st_ino, "bytes",
							(json_int_t)st.st_size));
}

/* Every "filename" of a block node and the nodes in it. */
static void images_of(const json_t *node, json_t *images)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)node, key, v) {
		const char *dot = strrchr(key, '.');

		if (json_is_object(v))
			images_of(v, images);
		else if (json_is_string(v) && !strcmp(dot ? dot + 1 : key, "filename"))
			add_image(json_string_value(v), images);
	}
}

static json_t *images_all(const struct move *m)
{
	json_t *images = json_array(), *node;
	size_t i;

	json_array_foreach (json_object_get(m->config, "blockdevs"), i, node)
		images_of(node, images);
	return images;
}

/* Taps that came as descriptors have a name all the same. */
static void taps_name(const struct move *m)
{
	size_t i;
	json_t *n;

	json_array_foreach (json_object_get(m->config, "netdevs"), i, n) {
		const char *fds = option_str(n, "fds", option_str(n, "fd", NULL));
		OWNED(char) *name = fds ? borrow_tap_name(m, atoi(fds)) : NULL;

		if (name)
			json_object_set_new(n, "ifname", json_string(name));
	}
}

/**
 * remote_describe() - What the other host has to know of a guest
 * @m:		Connected to its VMM
 * @g:		The guest
 * @ret:	Set on success only; new reference
 * @e:		Set on failure only
 *
 * Errors: as qmp_command(); EACCES the process may not be looked at
 * Return: 0, or a negative errno
 */
int remote_describe(struct move *m, const struct guest *g, json_t **ret, struct err *e)
{
	int r;

	m->remote = true;
	m->source_pid = g->pid;
	r = outlive_read(m, g, e);
	if (r < 0)
		return r;
	taps_name(m);
	*ret = json_pack("{s:s, s:O, s:s, s:s, s:O, s:s, s:s, s:o}", "name", g->name, "argv",
			 m->words, "cwd", m->cwd, "dir", g->dir, "config", m->config, "memory",
			 option_str(g->record, "memory", "?"), "cpus",
			 option_str(g->record, "cpus", "?"), "images", images_all(m));
	return *ret ? 0 : err_set(e, EILSEQ, "the guest's description isn't UTF-8");
}
