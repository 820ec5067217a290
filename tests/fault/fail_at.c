/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: preloaded into the VMM, and so into the one that follows it. Calls that a
 * hand-over makes are counted in each of the two processes; the one that the plan names fails,
 * once. The plan is a file that both map (FAIL_AT): whoever writes the test says there which
 * process is the source, which role is meant, which call by its number, with which errno; it reads
 * how many there were and what failed.
 *
 * The source counts from the first call of the thread that drives the upgrade to the end of its
 * undoing, on that thread and on the main thread. The target counts from its start to the ownership
 * word being won. Running the guest and waiting for events isn't counted.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

enum { SOURCE, TARGET, ROLES };

/**
 * struct plan - The file; all words are 32 bits, host order
 * @round:	Changes with each attempt; 0: nothing is counted
 * @source:	Process id
 * @role:	Who fails
 * @number:	Which call, from 1; 0: none
 * @error:	errno
 * @count:	Calls so far
 * @failed:	A call has failed
 * @name:	Which
 */
struct plan {
	uint32_t round, source, role, number, error;
	uint32_t count[ROLES];
	uint32_t failed;
	char name[32];
};

static struct plan *plan;
static uint32_t round_seen;
static bool begun, over;

__attribute__((constructor)) static void attach(void)
{
	const char *path = getenv("FAIL_AT");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED
			 : REAL(mmap64)(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
					0);

	if (fd >= 0)
		close(fd);
	plan = p == MAP_FAILED ? NULL : p;
}

static bool on_upgrade_thread(void)
{
	char name[17] = "";

	return getpid() != gettid() && prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "upgrade");
}

static bool counts(int role)
{
	bool upgrade = role == SOURCE && on_upgrade_thread();

	begun |= upgrade;
	return role == TARGET || upgrade || (begun && getpid() == gettid());
}

/* Whether this call shall fail; errno is set then. */
static bool fails(const char *name)
{
	int role;

	if (!plan || !plan->round)
		return false;
	if (round_seen != plan->round)
		begun = over = false;
	round_seen = plan->round;
	if (over)
		return false;
	role = (uint32_t)getpid() == plan->source ? SOURCE : TARGET;
	if (!counts(role))
		return false;
	if (__atomic_add_fetch(&plan->count[role], 1, __ATOMIC_SEQ_CST) != plan->number ||
	    (uint32_t)role != plan->role)
		return false;
	strncpy(plan->name, name, sizeof(plan->name) - 1);
	__atomic_store_n(&plan->failed, 1, __ATOMIC_SEQ_CST);
	errno = (int)plan->error;
	return true;
}

/* What fails returns -1, but for those that say otherwise. */
#define WRAP(type, name, parameters, arguments) \
	type name parameters                    \
	{                                       \
		if (fails(#name))               \
			return (type)-1;        \
		return REAL(name) arguments;    \
	}

WRAP(int, access, (const char *path, int mode), (path, mode))
WRAP(int, socketpair, (int family, int type, int protocol, int fds[2]),
     (family, type, protocol, fds))
WRAP(ssize_t, send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags))
WRAP(ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
WRAP(int, poll, (struct pollfd * p, nfds_t n, int timeout), (p, n, timeout))
WRAP(int, memfd_create, (const char *name, unsigned int flags), (name, flags))
WRAP(int, ftruncate64, (int fd, off64_t len), (fd, len))
WRAP(int, fstat64, (int fd, struct stat64 *st), (fd, st))
WRAP(int, eventfd, (unsigned int count, int flags), (count, flags))
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags))
WRAP(int, epoll_create1, (int flags), (flags))
WRAP(void *, mmap64, (void *at, size_t len, int prot, int flags, int fd, off64_t offset),
     (at, len, prot, flags, fd, offset))

int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fails("open64") ? -1 : REAL(open64)(path, flags, mode);
}

int fcntl64(int fd, int op, ...)
{
	va_list ap;
	long arg;

	va_start(ap, op);
	arg = va_arg(ap, long);
	va_end(ap);
	return fails("fcntl64") ? -1 : REAL(fcntl64)(fd, op, arg);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request != KVM_RUN && fails("ioctl"))
		return -1;
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return fails("posix_spawn") ? (int)plan->error
				    : REAL(posix_spawn)(pid, path, actions, attr, argv, envp);
}

int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	return fails("pthread_create") ? (int)plan->error : REAL(pthread_create)(t, attr, run, arg);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
	pid_t ret = REAL(waitpid)(pid, status, options);

	over |= plan && (uint32_t)getpid() == plan->source; /* it is undone, or was never begun */
	return ret;
}

/* The ownership word's futex is a shared one; those between threads are private. */
long syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_pidfd_open && fails("pidfd_open"))
		return -1;
	if (number == SYS_futex && a[1] == FUTEX_WAKE && plan && (uint32_t)getpid() != plan->source)
		over = true; /* won, or given back: the rest is the guest's life */
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
