/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOST_LAUNCHER_H
#define HOST_LAUNCHER_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * Theory of operation: a process that may start no other (sandbox.h) must still be upgraded. So,
 * before the filter, it makes a child that waits outside of it, for one request: start this program
 * to take the guest over. The child starts nothing else: only a program that the user it runs as
 * can't write (or, run by root, any), always with the words "--takeover 3", with the environment of
 * the start, and without the filter, which the new program sets anew. It holds no descriptor but
 * its socket, and ends with its parent.
 */

/**
 * launcher_start() - Make the child
 * @become:	Called in the child with @user if that isn't NULL: changes to that user
 * @user:	Whom the parent will become, or NULL
 * @e:		Set on failure only
 *
 * The calling process has one thread, and hasn't entered the sandbox.
 *
 * Errors: as fork(2), socketpair(2)
 * Return: 0, or a negative errno
 */
MUST_CHECK int launcher_start(int (*become)(const char *user, struct err *e), const char *user,
			      struct err *e);

/* Is there one in this process? */
bool launcher_there(void);

/**
 * launcher_spawn() - Have a program started that takes the guest over
 * @program:	Path
 * @sock:	Its descriptor 3; stays open here
 * @ret_pid, @ret_pidfd: Set on success only; the caller owns the descriptor. It isn't our child
 * @e:		Set on failure only
 *
 * It gets our standard input, output and error, and our folder. Any thread, one at a time.
 *
 * Errors: EPERM the program isn't one that may be started; ESRCH the child has gone; else as
 * posix_spawn(3)
 * Return: 0, or a negative errno
 */
MUST_CHECK int launcher_spawn(const char *program, int sock, pid_t *ret_pid, int *ret_pidfd,
			      struct err *e);

#endif
