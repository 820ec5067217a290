/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: images are protected against a second writer by the convention that QEMU's
 * tools follow, so that either side sees the other. A process announces what it does with an image
 * by shared locks on single bytes of an open file description (fcntl(2) F_OFD_SETLK): byte 100+i
 * "uses permission i", byte 200+i "lets nobody else use i". Permission 0 is consistent reading, 1
 * writing, 3 resizing. Announce first, then look for a conflict: two that start at once may both
 * give way, but never both go on. The locks belong to the open file description and thus follow it
 * through a live hand-over.
 */
#include "block/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define USES     100
#define UNSHARED 200
#define BYTES    4

enum { PERM_READ = 1 << 0, PERM_WRITE = 1 << 1, PERM_RESIZE = 1 << 3 };

static const char *const perm_name[BYTES] = {"consistent read", "write", "write unchanged",
					     "resize"};

static int byte_set(int fd, off_t at, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static bool byte_taken(int fd, off_t at)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int announce(int fd, unsigned int uses, unsigned int unshared)
{
	int r = 0;

	for (int i = 0; i < BYTES && r >= 0; i++) {
		r = byte_set(fd, USES + i, uses >> i & 1 ? F_RDLCK : F_UNLCK);
		if (r >= 0)
			r = byte_set(fd, UNSHARED + i, unshared >> i & 1 ? F_RDLCK : F_UNLCK);
	}
	return r;
}

static int conflict(int fd, unsigned int uses, unsigned int unshared)
{
	for (int i = 0; i < BYTES; i++)
		if ((uses >> i & 1 && byte_taken(fd, UNSHARED + i)) ||
		    (unshared >> i & 1 && byte_taken(fd, USES + i)))
			return i;
	return -1;
}

/**
 * block_lock() - Announce the use of an image, refuse if another process's use conflicts
 * @fd:		The image
 * @filename:	For messages
 * @writable:	It will be written
 * @e:		Set on failure only
 *
 * Errors: EBUSY. A file system without locks (ENOLCK, EINVAL, EOPNOTSUPP) counts as unlocked
 * Return: 0, or a negative errno
 */
int block_lock(int fd, const char *filename, bool writable, struct err *e)
{
	unsigned int uses = writable ? PERM_READ | PERM_WRITE | PERM_RESIZE : PERM_READ;
	unsigned int unshared = PERM_WRITE | PERM_RESIZE;
	int r = announce(fd, uses, unshared);

	if (r == -ENOLCK || r == -EINVAL || r == -EOPNOTSUPP)
		return 0;
	if (r < 0)
		return err_ret(e, r, "lock %s", filename);
	r = conflict(fd, uses, unshared);
	if (r < 0)
		return 0;
	block_unlock(fd);
	err_set(e, EBUSY, "%s is in use by another process ('%s' lock)", filename, perm_name[r]);
	return err_hint(e, "is another guest or qemu-img using it?");
}

/**
 * block_unlock() - Withdraw what block_lock() announced
 * @fd:		The image
 */
void block_unlock(int fd)
{
	announce(fd, 0, 0);
}
