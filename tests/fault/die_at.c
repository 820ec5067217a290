/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: preloaded into the VMM, and so into the one that follows it. Source and
 * target of a hand-over meet in a few calls only: messages on their socket and futexes on the
 * ownership word; before and after each is a boundary between two stages. The file that DIE_AT
 * names says who dies where, as "ROLE N": ROLE is "source" or "target", and the Nth boundary that
 * this process comes to while the file is there ends it by SIGKILL. DIE_LOG gets a line then: the
 * call, whether this process has moved the ownership word (it wakes the other side then; a wake
 * without a move is the nudge before the pause), its pid.
 */
#include "upgrade/ownership.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static int count;
static bool moved;

static bool is_target(void)
{
	char words[256] = "";
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, words, sizeof(words) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && memmem(words, (size_t)n, "--takeover", 10);
}

/* The plan's number for this process; 0: it isn't meant. */
static int planned(void)
{
	const char *path = getenv("DIE_AT");
	char role[16] = "", text[64] = "";
	int number = 0, fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) > 0)
		(void)!sscanf(text, "%15s %d", role, &number);
	close(fd);
	return is_target() == !strcmp(role, "target") ? number : 0;
}

static void boundary(const char *call)
{
	const char *log = getenv("DIE_LOG");
	int fd, number = planned();

	if (!number || __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) != number)
		return;
	fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	if (fd >= 0)
		dprintf(fd, "%s,%d,%d\n", call, moved, (int)getpid());
	kill(getpid(), SIGKILL);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	ssize_t n;

	boundary("before send");
	n = REAL(send)(fd, buf, len, flags);
	boundary("after send");
	return n;
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	ssize_t n;

	boundary("before recv");
	n = REAL(recv)(fd, buf, len, flags);
	boundary("after recv");
	return n;
}

/* The ownership word's futex is a shared one; those between threads are private. */
long syscall(long number, ...)
{
	long a[6], ret;
	bool word;
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	word = number == SYS_futex && !(a[1] & FUTEX_PRIVATE_FLAG);
	moved |= word && a[1] == FUTEX_WAKE && *(const uint32_t *)a[0] != OWNER_SOURCE;
	if (word)
		boundary(a[1] == FUTEX_WAKE ? "before wake" : "before wait");
	ret = REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (word)
		boundary(a[1] == FUTEX_WAKE ? "after wake" : "after wait");
	return ret;
}
