/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one 32-bit word in a shared memfd says who owns the guest. Each of its moves
 * is a single compare-and-swap that exactly one process can win, so whatever dies whenever, the
 * word tells the survivor what to do. The word is also a futex: the target sleeps on it until the
 * offer, the source until the answer, which costs a few microseconds instead of a trip through two
 * event loops. The device state lies behind the header in the same area; offering publishes it
 * (release), seeing the offer acquires it.
 *
 * Reading along: before the offer the source says how much of the state is final already (release),
 * and the target may read so much (acquire). It polls for that, in turn with whoever else wants its
 * CPU, for as long as stopping a guest takes; then it sleeps on the word, and if nobody nudges it
 * sees everything with the offer. A source that says nothing is thus one that writes all at once.
 *
 * Only as much of the area has pages beforehand as the state is expected to take: the rest would
 * have to be cleared before the pause, and freed while the guest's first moments are at stake.
 *
 * Source: futex(2); C11 7.17.3; madvise(2) MADV_POPULATE_WRITE
 */
#include "upgrade/ownership.h"

#include "base/clock.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define AREA_MAGIC 0x4f55544c49564531ULL /* "OUTLIVE1" */
#define POLL_NS    (300 * NS_PER_US)     /* awake after a nudge or a piece of the state */

/**
 * struct area_header - First page of the area
 * @magic:	AREA_MAGIC
 * @owner:	enum owner, a futex
 * @written:	Bytes of the state that are final; 0 if the source doesn't say
 * @state_len:	Bytes of state behind the first page
 * @marks_ns:	CLOCK_MONOTONIC, 0 until reached
 * @expected:	Bytes of state for which there are pages; 0, by builds that don't say: for all
 */
struct area_header {
	uint64_t magic;
	uint32_t owner;
	uint32_t written;
	uint64_t state_len;
	int64_t marks_ns[HANDOVER_MARKS];
	uint64_t expected;
};

/* @fd: The area's on success, the caller's on failure, which leaves @a without a mapping. */
static int area_map(struct area *a, int fd, struct err *e)
{
	void *p = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return err_sys(e, "map the hand-over area");
	a->map = p;
	a->fd = fd;
	return 0;
}

/* Pages and entries for what is expected. Only a hint: what is missing is faulted in. */
static void area_populate(struct area *a)
{
	size_t state = a->size - page_size();
	size_t expected = __atomic_load_n(&a->map->expected, __ATOMIC_RELAXED);

	if (expected && expected < state)
		state = ALIGN_UP(expected, page_size());
	(void)!madvise(a->map, page_size() + state, MADV_POPULATE_WRITE);
}

/**
 * area_create() - Make the area; the source owns the guest
 * @a:		Filled in on success
 * @state_room:	Bytes of device state it must hold
 * @expected:	Bytes of it that shall cost no page fault in either process, at least 1
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int area_create(struct area *a, size_t state_room, size_t expected, struct err *e)
{
	OWNED_FD fd = memfd_create("outlive-handover", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, "memfd_create");
	a->size = page_size() + ALIGN_UP(state_room, page_size());
	if (ftruncate(fd, (off_t)a->size) < 0)
		return err_sys(e, "size the hand-over area to %zu bytes", a->size);
	r = area_map(a, fd, e);
	if (r < 0)
		return r;
	fd_take(&fd);
	a->map->magic = AREA_MAGIC;
	a->map->expected = expected;
	area_populate(a);
	__atomic_store_n(&a->map->owner, OWNER_SOURCE, __ATOMIC_RELEASE);
	return 0;
}

/**
 * area_open() - Map the area that the source made
 * @a:		Filled in on success
 * @fd:		Owned by @a on success
 * @e:		Set on failure only
 *
 * Errors: EPROTO it is no such area
 * Return: 0, or a negative errno
 */
int area_open(struct area *a, int fd, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "hand-over area");
	if ((size_t)st.st_size < page_size())
		return err_set(e, EPROTO, "the hand-over area is too small");
	a->size = (size_t)st.st_size;
	r = area_map(a, fd, e);
	if (r < 0)
		return r;
	if (a->map->magic != AREA_MAGIC) {
		munmap(a->map, a->size);
		*a = (struct area){.fd = -1};
		return err_set(e, EPROTO, "the hand-over area has another format");
	}
	area_populate(a);
	return 0;
}

/**
 * area_close() - Unmap and close
 * @a:		Made by area_create() or area_open()
 */
void area_close(struct area *a)
{
	if (a->map)
		munmap(a->map, a->size);
	a->map = NULL;
	fd_close(&a->fd);
}

/**
 * area_state() - Where the device state lies
 * @a:		The area
 * @ret_room:	Bytes there are
 *
 * Return: valid until area_close()
 */
uint8_t *area_state(struct area *a, size_t *ret_room)
{
	*ret_room = a->size - page_size();
	return (uint8_t *)a->map + page_size();
}

/**
 * area_set_written() - Let the target read along
 * @a:		The area
 * @len:	Bytes that won't change any more
 */
void area_set_written(struct area *a, size_t len)
{
	__atomic_store_n(&a->map->written, (uint32_t)len, __ATOMIC_RELEASE);
}

/**
 * area_written() - How much of the state is final
 * @a:		The area
 *
 * Return: bytes, never more than there is room for
 */
size_t area_written(const struct area *a)
{
	return MIN((size_t)__atomic_load_n(&a->map->written, __ATOMIC_ACQUIRE),
		   a->size - page_size());
}

static void word_sleep(struct area *a, enum owner while_is, int64_t timeout_ns)
{
	struct timespec ts = {.tv_sec = timeout_ns / NS_PER_SEC,
			      .tv_nsec = timeout_ns % NS_PER_SEC};

	syscall(SYS_futex, &a->map->owner, FUTEX_WAIT, (uint32_t)while_is, &ts, NULL, 0);
}

static void word_wake(struct area *a)
{
	syscall(SYS_futex, &a->map->owner, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/**
 * area_nudge() - Wake the target: state will come in a moment
 * @a:		The area
 */
void area_nudge(struct area *a)
{
	word_wake(a);
}

/**
 * area_await() - Wait until there is more to read
 * @a:		The area
 * @known:	Bytes that are known to be written
 * @timeout_ns:	At most this long
 *
 * Return: bytes written; not more than @known: the guest is offered, or the time is over
 */
size_t area_await(struct area *a, size_t known, int64_t timeout_ns)
{
	int64_t now_ns = time_ns(), end_ns = now_ns + timeout_ns, poll_ns = now_ns + POLL_NS;

	while (area_written(a) <= known && ownership(a) == OWNER_SOURCE && now_ns < end_ns) {
		if (now_ns < poll_ns) {
			sched_yield();
		} else {
			word_sleep(a, OWNER_SOURCE, end_ns - now_ns);
			poll_ns = time_ns() + POLL_NS;
		}
		now_ns = time_ns();
	}
	return area_written(a);
}

/**
 * area_state_len() - How much state there is
 * @a:		The area
 *
 * Return: bytes, never more than there is room for
 */
size_t area_state_len(const struct area *a)
{
	return MIN((size_t)__atomic_load_n(&a->map->state_len, __ATOMIC_RELAXED),
		   a->size - page_size());
}

/**
 * area_set_state_len() - Say how much state there is
 * @a:		The area
 * @len:	Bytes
 */
void area_set_state_len(struct area *a, size_t len)
{
	a->map->state_len = len;
}

/**
 * ownership() - Who owns the guest now
 * @a:		The area
 *
 * Return: the word
 */
enum owner ownership(const struct area *a)
{
	return (enum owner)__atomic_load_n(&a->map->owner, __ATOMIC_ACQUIRE);
}

static bool move(struct area *a, enum owner from, enum owner to)
{
	uint32_t expected = from;

	if (!__atomic_compare_exchange_n(&a->map->owner, &expected, (uint32_t)to, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return false;
	word_wake(a);
	return true;
}

/**
 * ownership_offer() - The source gives the guest away, revocably
 * @a:		The area; all state is written
 *
 * Return: whether the word moved
 */
bool ownership_offer(struct area *a)
{
	return move(a, OWNER_SOURCE, OWNER_OFFERED);
}

/**
 * ownership_revoke() - The source takes the offer back
 * @a:		The area
 *
 * Return: true: the source owns the guest again; false: the target was faster and runs it
 */
bool ownership_revoke(struct area *a)
{
	return move(a, OWNER_OFFERED, OWNER_SOURCE);
}

/**
 * ownership_take() - The target accepts the offer
 * @a:		The area; all state is applied
 *
 * Return: true: the target owns the guest for good; false: the offer was revoked
 */
bool ownership_take(struct area *a)
{
	return move(a, OWNER_OFFERED, OWNER_TARGET);
}

/**
 * ownership_wait() - Sleep until the word changes
 * @a:		The area
 * @while_is:	Sleep while it is this
 * @timeout_ns:	At most this long
 *
 * Return: what the word is at the end
 */
enum owner ownership_wait(struct area *a, enum owner while_is, int64_t timeout_ns)
{
	int64_t end_ns = time_ns() + timeout_ns;

	for (;;) {
		enum owner now = ownership(a);
		int64_t left_ns = end_ns - time_ns();

		if (now != while_is || left_ns <= 0)
			return now;
		word_sleep(a, while_is, left_ns);
	}
}

/**
 * area_mark() - Note that a moment is reached
 * @a:		The area
 * @mark:	Which
 */
void area_mark(struct area *a, enum handover_mark mark)
{
	area_mark_at(a, mark, time_ns());
}

/**
 * area_mark_at() - Note when a moment was reached
 * @a:		The area
 * @mark:	Which
 * @at_ns:	Host monotonic clock
 */
void area_mark_at(struct area *a, enum handover_mark mark, int64_t at_ns)
{
	a->map->marks_ns[mark] = at_ns;
}

/**
 * area_mark_ns() - When a moment was reached
 * @a:		The area
 * @mark:	Which
 *
 * Return: ns, host monotonic clock; 0: not yet
 */
int64_t area_mark_ns(const struct area *a, enum handover_mark mark)
{
	return a->map->marks_ns[mark];
}
