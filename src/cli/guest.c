/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: guests are folders: $OUTLIVE_RUN_DIR, else $XDG_RUNTIME_DIR/outlive (not
 * for root), else /run/outlive. Whether a guest lives is told by the lock on its pid file, which
 * the kernel drops with the process: no stale number is ever taken for a guest.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NAME_BYTES_MAX 64

static char *base_dir(void)
{
	const char *own = getenv("OUTLIVE_RUN_DIR"), *user = getenv("XDG_RUNTIME_DIR");

	if (own && *own)
		return str_dup(own);
	if (user && *user && geteuid() != 0)
		return str_printf("%s/outlive", user);
	return str_dup("/run/outlive");
}

/**
 * guest_name_check() - May a guest have this name?
 * @name:	Its name
 * @e:		Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or a negative errno
 */
int guest_name_check(const char *name, struct err *e)
{
	size_t n = strspn(name,
			  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (!*name || name[n] || n > NAME_BYTES_MAX || *name == '.' || *name == '-')
		return err_set(e, EINVAL,
			       "'%s' is not a name: letters, digits, '.', '_', '-', at most %d",
			       name, NAME_BYTES_MAX);
	return 0;
}

/**
 * guest_path() - A file of a guest
 * @g:		The guest
 * @file:	Its name in the folder
 *
 * Return: the caller frees it
 */
char *guest_path(const struct guest *g, const char *file)
{
	return str_printf("%s/%s", g->dir, file);
}

static int pid_read(int fd)
{
	char text[32] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

/**
 * guest_refresh() - Look whether it still lives
 * @g:		@pid is updated
 *
 * Return: its pid, 0: it has ended
 */
int guest_refresh(struct guest *g)
{
	OWNED(char *) path = guest_path(g, "pid");
	OWNED_FD fd = open(path, O_RDWR | O_CLOEXEC);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	g->pid = 0;
	if (fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
		g->pid = pid_read(fd);
	return g->pid;
}

static void fill(struct guest *g, const char *base, const char *name)
{
	OWNED(char *) record = NULL;

	*g = (struct guest){.name = str_dup(name), .dir = str_printf("%s/%s", base, name)};
	record = guest_path(g, "launch.json");
	g->record = json_load_file(record, 0, NULL);
	if (!g->record)
		g->record = json_object();
	guest_refresh(g);
}

/**
 * guest_release() - Forget a guest
 * @g:		Empty afterwards
 */
void guest_release(struct guest *g)
{
	free(g->name);
	free(g->dir);
	json_decref(g->record);
	*g = (struct guest){0};
}

/**
 * guest_open() - The guest of a name
 * @name:	Its name
 * @ret:	Set on success only, guest_release()
 * @e:		Set on failure only
 *
 * Errors: EINVAL not a name, ENOENT no such guest
 * Return: 0, or a negative errno
 */
int guest_open(const char *name, struct guest *ret, struct err *e)
{
	OWNED(char *) base = base_dir();
	struct stat st;
	int r = guest_name_check(name, e);

	if (r < 0)
		return r;
	fill(ret, base, name);
	if (stat(ret->dir, &st) == 0)
		return 0;
	guest_release(ret);
	return err_set(e, ENOENT, "there is no guest '%s' (in %s)", name, base);
}

/**
 * guest_open_running() - The guest of a name, if it lives
 * @name:	Its name
 * @ret:	Set on success only, guest_release()
 * @e:		Set on failure only
 *
 * Errors: EINVAL not a name, ENOENT no such guest, ESRCH it has ended
 * Return: 0, or a negative errno
 */
int guest_open_running(const char *name, struct guest *ret, struct err *e)
{
	int r = guest_open(name, ret, e);

	if (r < 0 || ret->pid)
		return r;
	err_set(e, ESRCH, "guest '%s' has ended; its log: %s/log", name, ret->dir);
	guest_release(ret);
	return -ESRCH;
}

/**
 * guest_exit_code() - How the process should end
 * @r:		Negative errno of a function of this file or qmp.c
 *
 * Return: enum cli_exit
 */
int guest_exit_code(int r)
{
	switch (-r) {
	case ENOENT:
	case ESRCH: return CLI_NO_GUEST;
	case EINVAL: return CLI_USAGE;
	case ETIMEDOUT: return CLI_TIMEOUT;
	case EEXIST: return CLI_REFUSED;
	default: return CLI_FAILED;
	}
}

static int files_remove(const struct guest *g, struct err *e)
{
	static const char *const old[] = {"pid",      "log",          "launch.json",
					  "qmp.sock", "console.sock", "console.log"};

	for (size_t i = 0; i < ARRAY_SIZE(old); i++) {
		OWNED(char *) path = guest_path(g, old[i]);

		if (unlink(path) < 0 && errno != ENOENT)
			return err_sys(e, "%s", path);
	}
	return 0;
}

/**
 * guest_make() - A folder for a new guest; files of one that has ended are removed
 * @name:	Its name
 * @ret:	Set on success only, guest_release()
 * @e:		Set on failure only
 *
 * Errors: EINVAL not a name, EEXIST a guest of this name runs; else as mkdir(2)
 * Return: 0, or a negative errno
 */
int guest_make(const char *name, struct guest *ret, struct err *e)
{
	OWNED(char *) base = base_dir();
	int r = guest_name_check(name, e);

	if (r < 0)
		return r;
	if (mkdir(base, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "%s", base);
	fill(ret, base, name);
	if (ret->pid)
		r = err_set(e, EEXIST, "guest '%s' runs already (pid %d)", name, ret->pid);
	else if (mkdir(ret->dir, 0700) < 0 && errno != EEXIST)
		r = err_sys(e, "%s", ret->dir);
	if (r == 0)
		r = files_remove(ret, e);
	if (r < 0)
		guest_release(ret);
	return r;
}

/**
 * guest_remove() - Nothing is left of a guest that has ended, but snapshots
 * @g:	guest_make() has made it
 */
void guest_remove(const struct guest *g)
{
	if (files_remove(g, NULL) == 0)
		rmdir(g->dir);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/**
 * guest_each() - Walk all guests by name
 * @fn:		Called for each
 * @opaque:	Its argument
 */
void guest_each(void (*fn)(const struct guest *g, void *opaque), void *opaque)
{
	OWNED(char *) base = base_dir();
	struct dirent **entries;
	int n = scandir(base, &entries, NULL, by_name);

	for (int i = 0; i < n; i++) {
		struct guest g;

		if (*entries[i]->d_name != '.') {
			fill(&g, base, entries[i]->d_name);
			fn(&g, opaque);
			guest_release(&g);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

/**
 * guest_wait_end() - Wait for its process
 * @g:		The guest
 * @seconds:	At most
 *
 * Return: whether it has ended
 */
bool guest_wait_end(const struct guest *g, double seconds)
{
	OWNED_FD fd = (int)syscall(SYS_pidfd_open, g->pid, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return errno == ESRCH;
	return poll(&poll_fd, 1, (int)(seconds * 1000)) == 1;
}
