/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: preloaded into a VMM whose storage stands still from some moment on, as a
 * server that is restarted or a path that is switched over does. While the file STILL_STORAGE is
 * there, fdatasync(2) doesn't return. The file says how many calls are let through before that; who
 * waits adds ".waits" to its name for the test to see.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int calls;

static int let_through(const char *path)
{
	FILE *file = fopen(path, "re");
	int n = 0;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &n) != 1)
		n = 0;
	fclose(file);
	return n;
}

static void tell(const char *path)
{
	char name[4096];
	FILE *file;

	snprintf(name, sizeof(name), "%s.waits", path);
	file = fopen(name, "we");
	if (file)
		fclose(file);
}

int fdatasync(int fd)
{
	const char *path = getenv("STILL_STORAGE");
	int n = path ? let_through(path) : -1;

	if (n >= 0 && atomic_fetch_add(&calls, 1) >= n) {
		tell(path);
		while (access(path, F_OK) == 0)
			usleep(1000);
	}
	return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
