/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: preloaded into a VMM, it makes a system call when the process gets SIGUSR2,
 * as somebody who broke out of the guest would. The file that DENIED_CALL names has the call's
 * number; what the call returns is written behind it, or the process has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void on_signal(int number)
{
	int saved = errno, fd = open(getenv("DENIED_CALL"), O_RDWR | O_CLOEXEC);
	char text[32] = "";
	long nr, ret;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		abort();
	nr = strtol(text, NULL, 10);
	ret = syscall(nr, -1, 0, 0, 0, 0, 0);
	snprintf(text, sizeof(text), " %ld", ret < 0 ? -(long)errno : ret);
	if (write(fd, text, sizeof(text)) < 0)
		abort();
	close(fd);
	errno = saved;
}

__attribute__((constructor)) static void begin(void)
{
	if (getenv("DENIED_CALL"))
		signal(SIGUSR2, on_signal);
}
