/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see demand.h. */
#include "memory/demand.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system call needs a privilege, the device only access to it; either may be missing. */
static int open_any(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), dev;

	if (fd >= 0)
		return fd;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -1;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	close(dev);
	return fd;
}

/**
 * demand_open() - Get a descriptor for watching blocks
 * @ret_fd:	Set on success only; closing it unwatches all
 * @e:		Set on failure only
 *
 * Errors: as userfaultfd(2)
 * Return: 0, or a negative errno
 */
int demand_open(int *ret_fd, struct err *e)
{
	struct uffdio_api api = {.api = UFFD_API,
				 .features = UFFD_FEATURE_MISSING_SHMEM |
					     UFFD_FEATURE_MISSING_HUGETLBFS};
	OWNED_FD fd = open_any();

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0) {
		err_sys(e, "userfaultfd");
		return err_hint(e, "give this user access to /dev/userfaultfd, or set sysctl "
				   "vm.unprivileged_userfaultfd=1");
	}
	*ret_fd = fd_take(&fd);
	return 0;
}

/**
 * demand_watch() - Empty a block and watch it
 * @fd:	From demand_open()
 * @b:	The block
 * @e:	Set on failure only
 *
 * Errors: as fallocate(2), UFFDIO_REGISTER (EINVAL: the block's file is of a kind that can't be
 * watched)
 * Return: 0, or a negative errno
 */
int demand_watch(int fd, struct ram_block *b, struct err *e)
{
	struct uffdio_register r = {.range = {(uintptr_t)b->hva, b->size},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};

	if (fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)b->fd_offset,
		      (off_t)b->size) < 0)
		return err_sys(e, "%s: empty its memory", b->name);
	if (ioctl(fd, UFFDIO_REGISTER, &r) < 0) {
		err_sys(e, "%s: watch its memory", b->name);
		return err_hint(e, "pages come on demand only into memfd, shmem and huge pages");
	}
	return 0;
}

/**
 * demand_unwatch() - Watch a block no longer
 * @fd:	From demand_open()
 * @b:	Watched
 */
void demand_unwatch(int fd, const struct ram_block *b)
{
	struct uffdio_range range = {(uintptr_t)b->hva, b->size};

	if (ioctl(fd, UFFDIO_UNREGISTER, &range) < 0)
		abort(); /* can't happen: the range was registered */
}

/**
 * demand_next() - Which page is waited for?
 * @fd:	From demand_open()
 *
 * Return: an address in it; NULL if nobody waits
 */
uint8_t *demand_next(int fd)
{
	struct uffd_msg msg;

	while (read(fd, &msg, sizeof(msg)) == sizeof(msg))
		if (msg.event == UFFD_EVENT_PAGEFAULT)
			return (uint8_t *)(uintptr_t)msg.arg.pagefault.address;
	return NULL;
}

static void wake(int fd, uintptr_t at, uint64_t bytes)
{
	struct uffdio_range range = {at, bytes};

	if (ioctl(fd, UFFDIO_WAKE, &range) < 0)
		abort(); /* can't happen: a registered range */
}

/* One step of giving pages; returns how many bytes were, or a negative errno. */
static int64_t copy(int fd, uintptr_t to, const uint8_t *from, uint64_t bytes)
{
	struct uffdio_copy c = {.dst = to, .src = (uintptr_t)from, .len = bytes};

	if (ioctl(fd, UFFDIO_COPY, &c) == 0)
		return (int64_t)bytes;
	return c.copy > 0 ? c.copy : -errno;
}

static int64_t zero(int fd, uintptr_t to, uint64_t bytes)
{
	struct uffdio_zeropage z = {.range = {to, bytes}};

	if (ioctl(fd, UFFDIO_ZEROPAGE, &z) == 0)
		return (int64_t)bytes;
	return z.zeropage > 0 ? z.zeropage : -errno;
}

/**
 * demand_give() - Give pages to whoever waits for them, or will
 * @fd:		From demand_open()
 * @b:		Watched
 * @offset:	Of the first page in the block
 * @bytes:	Whole pages of the block's page size
 * @from:	Their content; NULL: zeros
 * @e:		Set on failure only
 *
 * Pages that are there already stay as they are.
 *
 * Errors: as UFFDIO_COPY, UFFDIO_ZEROPAGE
 * Return: 0, or a negative errno
 */
int demand_give(int fd, const struct ram_block *b, uint64_t offset, uint64_t bytes,
		const uint8_t *from, struct err *e)
{
	uintptr_t to = (uintptr_t)b->hva + offset;
	int64_t done;

	for (; bytes; to += (uint64_t)done, bytes -= (uint64_t)done) {
		done = from ? copy(fd, to, from, bytes) : zero(fd, to, bytes);
		if (done == -EEXIST) {
			wake(fd, to, b->page_bytes);
			done = (int64_t)b->page_bytes;
		} else if (done == -EAGAIN) {
			done = 0; /* the address space is being changed */
		} else if (done < 0) {
			return err_ret(e, (int)done, "%s: give the page at %#" PRIx64, b->name,
				       to - (uintptr_t)b->hva);
		}
		from = from ? from + done : NULL;
	}
	return 0;
}
