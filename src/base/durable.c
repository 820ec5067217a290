/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what must survive a crash of the host is written under a temporary name in
 * the same folder and synced; then it gets its name, and the folder is synced.
 */
#include "base/durable.h"

#include "base/owned.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <unistd.h>

/**
 * folder_sync() - See that a file's name is on the disk
 * @path:	The file
 * @e:		Set on failure only
 *
 * Errors: as open(2), fsync(2)
 * Return: 0, or a negative errno
 */
int folder_sync(const char *path, struct err *e)
{
	OWNED(char) *copy = str_dup(path);
	OWNED_FD fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, "sync the folder of %s", path);
	return 0;
}

/**
 * json_store() - Write a document to a file
 * @j:		The document
 * @path:	Its name; an older file of that name is replaced when the new one is whole
 * @flags:	Of json_dumpf(3)
 * @e:		Set on failure only; the folder has an older file as it was, or nothing
 *
 * Errors: as open(2), write(2), fsync(2), rename(2)
 * Return: 0, or a negative errno
 */
int json_store(const json_t *j, const char *path, size_t flags, struct err *e)
{
	OWNED(char) *fresh = str_printf("%s.new", path);
	OWNED_FD fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return err_sys(e, "create %s", fresh);
	if (json_dumpfd(j, fd, flags) == 0 && fsync(fd) == 0 && rename(fresh, path) == 0)
		return folder_sync(path, e);
	r = err_sys(e, "%s", path);
	unlink(fresh);
	return r;
}
