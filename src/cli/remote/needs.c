/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest from another host finds here what it had there, by the names that
 * rules give. What isn't here is one sentence each, all of them at once and before a VMM is
 * started: images, kernels and firmware, folders of sockets and logs, taps. An image of the same
 * name needn't be the same image: nothing copies them, so a regular file has to be the same file,
 * which its inode tells on shared storage, unless the operator says that it is a copy kept in step.
 */
#include "cli/remote/remote.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <libgen.h>
#include <net/if.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

/* "/srv/a.img (over there /var/a.img)". The caller frees it. */
static char *both_names(const struct move *m, const char *name)
{
	const char *there = option_str(m->renamed, name, NULL);

	return there ? str_printf("%s (there %s)", name, there) : str_dup(name);
}

static void missing(struct move *m, const char *kind, const char *what, const char *name,
		    const char *why)
{
	OWNED(char) *names = both_names(m, name);
	const char *there = option_str(m->renamed, name, name);

	move_block(
		m,
		"%s %s: %s; provide it, or name another: --map %s:%s=..., or a line '%s %s = ...' "
		"in %s",
		what, names, why, kind, there, kind, there, rules_file_all);
}

static void need_file(struct move *m, const char *what, const char *path, int mode)
{
	if (access(path, mode) < 0)
		missing(m, "path", what, path, errno == ENOENT ? "it isn't here" : strerror(errno));
}

/* A socket or a log that will be made. */
static void need_folder_of(struct move *m, const char *what, const char *path)
{
	OWNED(char) *copy = str_dup(path), *folder = NULL;

	if (!strncmp(path, "@DIR@", 5) || *path != '/')
		return;
	folder = str_dup(dirname(copy));
	if (access(folder, W_OK | X_OK) < 0)
		missing(m, "path", what, path,
			errno == ENOENT ? "its folder isn't here" : strerror(errno));
}

static void need_node(struct move *m, const json_t *node, const char *name, bool readonly)
{
	OWNED(char) *what = str_printf("disk %s", name);
	const char *key;
	json_t *v;

	readonly |= option_bool(node, "read-only", false) ||
		    !strcmp(option_str(node, "read-only", ""), "on");
	json_object_foreach ((json_t *)(uintptr_t)node, key, v) {
		const char *dot = strrchr(key, '.');

		if (json_is_object(v))
			need_node(m, v, name, readonly);
		else if (json_is_string(v) && !strcmp(dot ? dot + 1 : key, "filename"))
			need_file(m, what, json_string_value(v), readonly ? R_OK : R_OK | W_OK);
	}
}

static void need_tap(struct move *m, const json_t *n)
{
	const char *name = option_str(n, "ifname", NULL);
	OWNED(char) *what = str_printf("netdev %s: tap", option_str(n, "id", ""));

	if (name && !if_nametoindex(name))
		missing(m, "tap", what, name,
			"there is no such interface here, in its bridge (ip tuntap add mode tap)");
}

static void need_netdev(struct move *m, const json_t *n)
{
	const char *path = option_str(json_object_get(n, "addr"), "path",
				      option_str(n, "addr.path", NULL));
	OWNED(char) *what = str_printf("netdev %s", option_str(n, "id", ""));

	if (!strcmp(option_str(n, "type", ""), "tap"))
		need_tap(m, n);
	else if (path)
		need_file(m, what, path, R_OK | W_OK);
}

static bool listens(const json_t *c)
{
	return option_bool(c, "server", false) || !strcmp(option_str(c, "server", ""), "on");
}

static void need_chardev(struct move *m, const json_t *c)
{
	const char *path = option_str(c, "path", NULL), *log = option_str(c, "logfile", NULL);
	OWNED(char) *what = str_printf("chardev %s", option_str(c, "id", ""));
	bool made = listens(c) || !strcmp(option_str(c, "backend", ""), "file");

	if (log)
		need_folder_of(m, what, log);
	if (path && made)
		need_folder_of(m, what, path);
	else if (path && *path == '/')
		need_file(m, what, path, R_OK | W_OK);
}

static void need_memory(struct move *m, const json_t *o)
{
	const char *path = option_str(o, "mem-path", NULL);

	if (path)
		need_folder_of(m, "memory", path);
}

/* Options that stay as they are and name a file. */
static void need_words(struct move *m)
{
	static const char *const files[] = {"-kernel", "-initrd", "-bios"};
	static const char *const values[] = {"-fw_cfg", "-smbios", "-drive"};

	for (size_t i = 0; i + 1 < json_array_size(m->argv); i++) {
		const char *word = json_string_value(json_array_get(m->argv, i));
		const char *next = json_string_value(json_array_get(m->argv, i + 1));
		OWNED_JSON *parsed = NULL;
		struct err e;

		for (size_t n = 0; n < ARRAY_SIZE(files); n++) {
			if (!strcmp(word, files[n]))
				need_file(m, word, next, R_OK);
			if (!strcmp(word, values[n]) &&
			    keyval_parse(next, "name", &parsed, &e) >= 0 &&
			    json_object_get(parsed, "file"))
				need_file(m, word, option_str(parsed, "file", ""), R_OK);
		}
	}
}

/* Is it the file that the guest has over there? */
static void need_same(struct move *m, const json_t *image, bool copied)
{
	OWNED(char) *path = move_path(m, option_str(image, "path", ""));
	OWNED(char) *names = both_names(m, path);
	struct stat st;

	if (copied || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if ((int64_t)st.st_ino == option_int(image, "inode", 0))
		return;
	move_block(
		m,
		"%s is another file than the guest has over there (inode %lld, there %lld), and "
		"disks aren't copied: use storage that both hosts share, or say --copied if it is "
		"kept the same in another way",
		names, (long long)st.st_ino, (long long)option_int(image, "inode", 0));
}

/* The folder of guests goes with the last login of a user who doesn't linger. */
static void need_linger(struct move *m, const char *dir)
{
	const struct passwd *user = getpwuid(geteuid());
	OWNED(char) *path = str_printf("/var/lib/systemd/linger/%s", user ? user->pw_name : "");

	if (strncmp(dir, "/run/user/", 10) || !user || access(path, F_OK) == 0)
		return;
	move_block(m,
		   "%s is removed when you log out, and the guest's sockets with it: 'loginctl "
		   "enable-linger %s' keeps it",
		   dir, user->pw_name);
}

/**
 * needs_check() - What a guest needs and this host hasn't
 * @m:		With its command line; a blocker for each thing
 * @images:	Of remote_describe()
 * @dir:	The folder that the guest will have
 * @copied:	Regular files needn't be the same ones
 */
void needs_check(struct move *m, const json_t *images, const char *dir, bool copied)
{
	static const struct {
		const char *list;
		void (*need)(struct move *m, const json_t *one);
	} lists[] = {
		{"netdevs", need_netdev}, {"chardevs", need_chardev}, {"objects", need_memory}};
	size_t n;
	json_t *one;

	need_linger(m, dir);
	need_words(m);
	json_array_foreach (json_object_get(m->config, "blockdevs"), n, one)
		need_node(m, one, option_str(one, "node-name", ""), false);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		json_array_foreach (json_object_get(m->config, lists[i].list), n, one)
			lists[i].need(m, one);
	json_array_foreach ((json_t *)(uintptr_t)images, n, one)
		need_same(m, one, copied);
}
