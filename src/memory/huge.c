/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a first touch of guest RAM that brings 2 MiB costs a fifteenth of what 512
 * touches of 4 KiB do, and the guest misses the TLB less. Private memory gets huge pages where the
 * program asks for them (madvise(2)), which is the default of distributions; but guest RAM must be
 * shared with the process of the next upgrade, and what a memfd gets is decided for the whole host
 * by transparent_hugepage/shmem_enabled, which says "never" by default.
 *
 * A tmpfs decides for itself: one mounted with huge=always gives huge pages to who touches or
 * writes as much, unless the host denies them everywhere (Linux,
 * Documentation/admin-guide/mm/transhuge.rst). So a guest's RAM is an unlinked file on a tmpfs of
 * its own, which is attached nowhere (fsmount(2)) and lives as long as its file does. Mounting
 * wants CAP_SYS_ADMIN over the mount namespace: who hasn't got it has a child of its own mount it
 * in a new user namespace, where everybody has, and send it back. Where that is forbidden, too, RAM
 * is a memfd.
 *
 * Unlike a memfd such a file can't be sealed against being cut short. Whoever is given it has the
 * guest's whole memory anyway: a process that takes over, and vhost in the kernel.
 */
#include "memory/huge.h"
#include "base/owned.h"
#include "base/scm.h"
#include "memory/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLICY "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

/* The host's word for shared memory, "" if the kernel has no huge pages for it. */
static const char *policy(char *line, size_t room)
{
	OWNED_FD fd = open(POLICY, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, line, room - 1);
	char *word, *end;

	line[MAX(n, 0)] = '\0';
	word = strchr(line, '[');
	end = word ? strchr(word, ']') : NULL;
	if (!end)
		return "";
	*end = '\0';
	return word + 1;
}

/**
 * huge_by_memfd() - Whether a memfd gets huge pages when it asks for them
 */
bool huge_by_memfd(void)
{
	char line[128];
	const char *word = policy(line, sizeof(line));

	return *word && strcmp(word, "never") != 0 && strcmp(word, "deny") != 0;
}

/* A tmpfs without a place; the file system is gone with its last file. */
static int mount_tmpfs(void)
{
	OWNED_FD fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "huge", "always", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "size", "0", 0) < 0 /* no limit but the host's */ ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

static bool write_text(const char *path, const char *text)
{
	OWNED_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Becomes root of a new user namespace, in which the caller's own ids stay what they are. */
static bool enter_namespace(void)
{
	unsigned int uid = getuid(), gid = getgid();
	char users[48], groups[48];

	snprintf(users, sizeof(users), "%u %u 1", uid, uid);
	snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
	       write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups);
}

/* The child's whole life. Other threads of the parent may hold locks: only system calls here. */
static void child(int sock)
{
	int fd = enter_namespace() ? mount_tmpfs() : -1;
	int error = fd < 0 ? errno : 0;

	scm_send(sock, &error, sizeof(error), &fd, fd >= 0);
	_exit(0);
}

/* What the child sent; -1 with errno. */
static int receive(int sock)
{
	int error = EIO, fd = -1;
	size_t fds = 1;

	if (scm_recv(sock, &error, sizeof(error), &fd, &fds) != sizeof(error))
		error = EIO;
	if (!error && fds == 1)
		return fd;
	errno = error ? error : EIO;
	return -1;
}

static int mount_by_child(void)
{
	int pair[2], fd, error;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(pair[1]);
	close(pair[1]);
	fd = pid < 0 ? -1 : receive(pair[0]);
	error = errno;
	close(pair[0]);
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	errno = error;
	return fd;
}

/**
 * huge_by_write() - Whether a huge page that is written whole to such a file costs just that
 *
 * Else the kernel clears all of it first, and writes it 4 KiB at a time.
 *
 * Source: Linux 6.11, generic_perform_write() and folios; 6.14, tmpfs
 */
bool huge_by_write(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 14));
}

/* The folder of a new tmpfs; -1 with errno. */
static int new_root(void)
{
	int root = mount_tmpfs();

	return root < 0 && errno == EPERM ? mount_by_child() : root;
}

static int prepared_root = -1;

/**
 * ram_huge_prepare() - Do now what ram_options.huge needs rights or system calls for
 *
 * For who will deny them to itself. What fails here is told by ram_create(), or need not succeed.
 */
void ram_huge_prepare(void)
{
	if (prepared_root < 0 && !huge_by_memfd())
		prepared_root = new_root();
}

/* An unlinked file of this name; -1 with errno. */
static int make_file(int root, const char *name)
{
	int fd = openat(root, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0)
		unlinkat(root, name, 0);
	return fd;
}

/**
 * huge_open() - Make an empty file of shared memory that gets huge pages
 * @name:	Seen in /proc/PID/maps, behind "guest-ram:"
 * @ret_fd:	Set on success; the caller owns it
 * @e:		Set on failure
 *
 * Errors: EPERM no right to mount, and none to a user namespace; EOPNOTSUPP the host denies huge
 * pages for shared memory; EINVAL its kernel has none; ENOSYS it is older than 5.2
 * Return: 0, or a negative errno
 */
int huge_open(const char *name, int *ret_fd, struct err *e)
{
	char file[NAME_MAX + 1], line[128];
	OWNED_FD root = -1;
	int fd;

	if (!strcmp(policy(line, sizeof(line)), "deny"))
		return err_set(e, EOPNOTSUPP, "%s says deny", POLICY);
	snprintf(file, sizeof(file), "guest-ram:%s", name);
	for (char *slash = file; (slash = strchr(slash, '/'));)
		*slash = '-';
	root = prepared_root >= 0 ? fcntl(prepared_root, F_DUPFD_CLOEXEC, 0) : new_root();
	fd = root < 0 ? -1 : make_file(root, file);
	if (fd < 0)
		return err_sys(e, "%s: a tmpfs with huge pages", name);
	*ret_fd = fd;
	return 0;
}
