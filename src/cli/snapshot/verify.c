/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: before a guest that runs is given up for a snapshot, all of that is held
 * against its checksums. The VMM that is going to load it does so, since it knows the format; what
 * it says is the error.
 */
#include "cli/snapshot/snapshot.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(const char *program, const char *path, int out)
{
	const char *words[] = {program, "-verify-snapshot", path, NULL};

	dup2(out, STDOUT_FILENO);
	execvp(program, (char *const *)(uintptr_t)words);
	_exit(127);
}

/* What the VMM says; its exit status, or -1. */
static int ask(const char *program, const char *path, char *said, size_t room)
{
	size_t n = 0;
	ssize_t got = 1;
	int out[2], status = -1;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(program, path, out[1]);
	close(out[1]);
	while (pid > 0 && got > 0 && n + 1 < room) {
		got = read(out[0], said + n, room - 1 - n);
		n += got > 0 ? (size_t)got : 0;
	}
	said[n] = '\0';
	said[strcspn(said, "\n")] = '\0';
	close(out[0]);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
									       : -1;
}

/**
 * snapshot_verify() - Is all of a snapshot's file what was written?
 * @args:	Without --json and at a terminal it is said what takes so long
 * @description: Of the snapshot
 * @path:	Its file
 * @e:		Says what is damaged, and where
 *
 * Errors: EBADMSG it isn't; ECHILD the VMM can't say
 * Return: 0, or a negative errno
 */
int snapshot_verify(const struct cli_args *args, const json_t *description, const char *path,
		    struct err *e)
{
	const json_t *argv = json_object_get(json_object_get(description, "launch"), "argv");
	const char *program = json_string_value(json_array_get(argv, 0));
	char said[sizeof(e->msg)] = "";
	int status;

	if (!args->json && isatty(STDERR_FILENO))
		fprintf(stderr, "%s: checking %s, the guest runs meanwhile\n", args->words[0],
			path);
	status = program ? ask(program, path, said, sizeof(said)) : -1;
	if (status == 0)
		return 0;
	return *said ? err_set(e, EBADMSG, "%s", said)
		     : err_set(e, ECHILD, "%s can't check %s", program ? program : "no VMM", path);
}
