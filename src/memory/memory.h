/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "base/bitmap.h"
#include "base/err.h"
#include "base/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Theory of operation: guest memory is a set of named RAM blocks (each one shared mapping of a file
 * that can be handed to another process: memfd, hugetlb, a path, DAX) and a set of mappings that
 * place windows of blocks at guest physical addresses (RAM below and above 4 GiB, ROMs, the
 * shadowed BIOS area, option-ROM BARs). The set of mappings is turned into KVM memory slots by
 * whoever listens (struct memory_listener; the kvm room's slots do).
 *
 * A vCPU in system management mode may see other things at an address than all others do (SMRAM).
 * That is a second flattened view of the same mappings, made only once memory_use_smm() was called.
 * A mapping without a block is a hole: it hides what lies below it.
 *
 * There is one gate from a guest physical address to a pointer: memory_ptr(). It checks bounds
 * once, and a pointer for writing marks the pages dirty while somebody tracks (migration,
 * snapshot), since KVM sees only what vCPUs write. A page can be sent between that mark and the
 * write itself, so who writes through a pointer while vCPUs run marks again when done:
 * memory_mark_dirty(), one load while nobody tracks. memory_write() does both.
 *
 * The mappings change rarely and under a lock; readers take a consistent view without one. Views
 * live in a few buffers used in turn, each with a generation that readers compare before and after
 * (a sequence lock), so a guest that moves a mapping a million times costs no memory, and no reader
 * waits for it.
 *
 * gpa: guest physical address. hva: address in this process. They never share a name or a type.
 */

typedef uint64_t gpa_t;

enum ram_kind { RAM_MEMFD = 1 /* anonymous */, RAM_HUGETLB, RAM_FILE };

/**
 * struct ram_options - How a block is backed
 * @kind:	Backing
 * @path:	RAM_FILE: file or DAX device or hugetlbfs folder; else NULL
 * @hugepage_bytes: RAM_HUGETLB: page size, 0 for the host's default
 * @prealloc:	Allocate every page at creation
 * @lock:	mlock(2)
 * @huge:	RAM_MEMFD: worth huge pages, even where a memfd gets none (the guest's RAM)
 * @readonly:	ROM: the guest can't write it, whatever the mapping says
 * @copy:	RAM_FILE: @path only says what the block begins with, and isn't changed
 * @max_bytes:	The block may grow to this by ram_resize(); 0: fixed
 *
 * There is no private mapping: what another process can't map couldn't be handed over.
 */
struct ram_options {
	enum ram_kind kind;
	const char *path;
	uint64_t hugepage_bytes;
	bool prealloc, lock, huge, readonly, copy;
	uint64_t max_bytes;
};

/**
 * struct ram_block - Named guest RAM or ROM contents
 * @link:	In struct memory
 * @name:	As in the migration stream ("pc.ram", "/rom@etc/acpi/tables")
 * @size:	Bytes, a multiple of the host page size
 * @fd:		The file behind it; owned
 * @fd_offset:	Where it begins in the file
 * @hva:	Mapping of the whole block
 * @page_bytes:	Size of the pages behind it (4 KiB, or huge)
 * @huge:	A first touch through @hva brings a huge page; writing to @fd may bring small ones
 * @huge_by_write: But for a whole one, which then isn't cleared first
 * @readonly:	The guest can't write it (ROM)
 * @resizable:	@size may change (ACPI tables may grow between versions)
 * @resizable_max: Largest size; @size if fixed
 * @reserve:	Address space taken for it: guard pages and alignment around @hva
 * @reserve_bytes: Its length
 * @dirty:	One bit a page of 4 KiB written by this process while tracking; merged with KVM's by
 *		the tracker
 * @owner:	The device that made it, or NULL (opaque here)
 */
struct ram_block {
	struct list link;
	char name[256];
	uint64_t size;
	int fd;
	uint64_t fd_offset;
	uint8_t *hva;
	uint64_t page_bytes;
	bool huge, huge_by_write, readonly, resizable;
	uint64_t resizable_max;
	void *reserve;
	uint64_t reserve_bytes;
	struct bitmap dirty;
	void *owner;
};

/**
 * enum memory_space - Who looks at guest memory; the numbers are KVM's address spaces
 */
enum memory_space {
	MEMORY_NORMAL, /* devices, and vCPUs outside of SMM */
	MEMORY_SMM,    /* vCPUs in system management mode */
	MEMORY_SPACES
};

/**
 * struct memory_map - A window of a block at a guest physical address
 * @link:	In struct memory
 * @gpa:	First address, page aligned
 * @size:	Bytes
 * @block:	What is seen there; NULL: a hole, accesses exit
 * @offset:	Where in the block the window begins
 * @readonly:	Guest writes exit instead
 * @enabled:	Seen by the guest now
 * @smm_only:	Not in MEMORY_NORMAL
 * @priority:	Where windows overlap, the highest is seen (RAM 0, ROM and shadow 1, BARs 2, what
 *		the chipset shows or hides 3, SMRAM 4)
 */
struct memory_map {
	struct list link;
	gpa_t gpa;
	uint64_t size;
	struct ram_block *block;
	uint64_t offset;
	bool readonly, enabled, smm_only;
	int priority;
};

/**
 * struct memory_range - One piece of the flattened view: no overlaps, ordered by address
 */
struct memory_range {
	gpa_t gpa;
	uint64_t size;
	struct ram_block *block;
	uint64_t offset;
	bool readonly;
};

/**
 * struct memory_view - A flattened view, immutable while it is the current one
 * @generation:	Odd while the buffer is being rewritten (long after it was current); readers compare
 *		it
 * @len:	Ranges
 * @room:	Allocated
 * @retired:	Next in the list of buffers that became too small; readers may still look at them
 */
struct memory_view {
	uint64_t generation;
	size_t len, room;
	struct memory_view *retired;
	struct memory_range ranges[];
};

#define MEMORY_VIEWS 4

/**
 * struct memory_listener - Told of each change of the flattened view (the kvm room makes slots of
 * it)
 * @changed:	@view of @space is complete; called with the memory lock held. Errors are fatal for
 *		the change
 * @tracking:	Dirty pages are noted from now on, or no more; likewise. May be NULL
 */
struct memory_listener {
	struct list link;
	int (*changed)(struct memory_listener *l, enum memory_space space,
		       const struct memory_view *view, struct err *e);
	void (*tracking)(struct memory_listener *l, bool on);
};

/**
 * struct memory_views - The flattened view of one address space
 * @now:	Atomic: the current one of @buffer
 * @buffer:	Used in turn
 * @next:	Which one comes next
 */
struct memory_views {
	struct memory_view *now;
	struct memory_view *buffer[MEMORY_VIEWS];
	unsigned int next;
};

/**
 * struct memory - The guest's memory. Changed by the main thread and by vCPUs under @lock; read by
 * all
 * @lock:	Recursive: held from memory_begin() to memory_commit()
 * @blocks, @maps, @listeners: What there is
 * @views:	By enum memory_space
 * @spaces:	How many of them there are
 * @retired:	Buffers kept for readers that may still be in them; freed at the end. Each is half
 *		of its successor
 * @depth:	Of memory_begin()
 * @tracking:	Atomic: pointers for writing mark pages dirty
 * @offer, @offer_opaque: See ram_offer_by()
 */
struct memory {
	pthread_mutex_t lock;
	struct list blocks, maps, listeners;
	struct memory_views views[MEMORY_SPACES];
	unsigned int spaces;
	struct memory_view *retired;
	unsigned int depth;
	bool tracking;
	int (*offer)(void *opaque, const char *name);
	void *offer_opaque;
};

/* What is where now, as devices see it, by address; *@ret: the caller frees it. */
size_t memory_ranges(struct memory *m, struct memory_range **ret);

enum memory_access { MEMORY_READ, MEMORY_WRITE };

void memory_init(struct memory *m);
/* vCPUs have a view of their own in system management mode. Before the first mapping. */
void memory_use_smm(struct memory *m);
void memory_destroy(struct memory *m);

MUST_CHECK int ram_create(struct memory *m, const char *name, uint64_t size,
			  const struct ram_options *options, struct ram_block **ret, struct err *e);
/* Takes over an existing file (live upgrade): the content stays. @fd is owned by the block on
 * success. */
MUST_CHECK int ram_adopt(struct memory *m, const char *name, uint64_t size,
			 const struct ram_options *options, int fd, uint64_t fd_offset,
			 struct ram_block **ret, struct err *e);
/* While a machine is built for a guest of another process: @offer gives the file of a block (owned)
 * or -1. */
void ram_offer_by(struct memory *m, int (*offer)(void *opaque, const char *name), void *opaque);
/* The file of the block of this name that another process hands over, and its size; -1: none. The
 * caller owns it, for ram_adopt(). */
int ram_offered(struct memory *m, const char *name, uint64_t *ret_size);
/* After ram_adopt() of a running guest's memory: page table entries for what is there, low
 * addresses first, for as long as @budget_ns; nothing is allocated. */
void memory_prefault(struct memory *m, int64_t budget_ns);
/* Has the host give all pages of a range now: touching one that it can't give would end the process
 * (SIGBUS). */
MUST_CHECK int ram_reserve(const struct ram_block *b, uint64_t offset, uint64_t bytes,
			   struct err *e);
/* Fills RAM that no guest uses yet, the cheapest way. */
enum { RAM_HUGE_BYTES = 2 << 20 }; /* the smallest huge page */
/* ram_put() of a whole huge page that is new costs less than the same in parts. */
bool ram_puts_whole(const struct ram_block *b, uint64_t offset);
MUST_CHECK int ram_put(const struct ram_block *b, uint64_t offset, const struct iovec *parts, int n,
		       struct err *e);
struct ram_block *ram_find(struct memory *m, const char *name);
/* Before system calls are denied: what ram_options.huge needs of them (huge.c). */
void ram_huge_prepare(void);
/* Whether this process can have RAM in huge pages without a pool of them. */
MUST_CHECK int ram_huge_possible(struct err *e);
/* Changes the used size of a resizable block (content kept up to the smaller size); maps of it
 * follow. */
MUST_CHECK int ram_resize(struct memory *m, struct ram_block *b, uint64_t size, struct err *e);
void ram_destroy(struct memory *m, struct ram_block *b);

MUST_CHECK int memory_map_add(struct memory *m, const struct memory_map *map,
			      struct memory_map **ret, struct err *e);
MUST_CHECK int memory_map_set(struct memory *m, struct memory_map *map, gpa_t gpa, bool enabled,
			      bool readonly, struct err *e);
void memory_map_del(struct memory *m, struct memory_map *map);
/* Several changes that the guest must see as one: between begin and commit listeners aren't
 * called. */
void memory_begin(struct memory *m);
MUST_CHECK int memory_commit(struct memory *m, struct err *e);
void memory_listen(struct memory *m, struct memory_listener *l);

/**
 * memory_ptr() - The one gate: guest physical range to pointer
 * @m:		Guest memory
 * @gpa:	First address
 * @len:	Bytes, > 0; the range may not cross from one block to another
 * @access:	MEMORY_WRITE marks the pages dirty while tracking, and refuses read-only ranges
 *
 * What the guest wrote can change at any time: copy in once, then look at the copy.
 *
 * Return: pointer valid while the guest has this mapping, or NULL if any byte isn't RAM
 */
void *memory_ptr(struct memory *m, gpa_t gpa, uint64_t len, enum memory_access access);
/* Copies across blocks; false (and nothing promised about the buffer) if any byte isn't RAM. */
MUST_CHECK bool memory_read(struct memory *m, gpa_t gpa, void *buf, uint64_t len);
MUST_CHECK bool memory_write(struct memory *m, gpa_t gpa, const void *buf, uint64_t len);
/* The same as a vCPU in @space sees it. */
MUST_CHECK bool memory_read_in(struct memory *m, enum memory_space space, gpa_t gpa, void *buf,
			       uint64_t len);
MUST_CHECK bool memory_write_in(struct memory *m, enum memory_space space, gpa_t gpa,
				const void *buf, uint64_t len);
/* Marks what was written through a kept pointer (io_uring reads into guest memory, virtqueue
 * used rings). */
void memory_mark_dirty(struct memory *m, gpa_t gpa, uint64_t len);
/* The same for bytes of a block, seen by the guest or not. */
void memory_mark_block(struct memory *m, struct ram_block *b, uint64_t offset, uint64_t len);
/* Block and offset of a pointer that memory_ptr() gave, for bulk writers; NULL if it is none. */
struct ram_block *memory_block_of(struct memory *m, const void *hva, uint64_t *ret_offset);
MUST_CHECK int memory_track(struct memory *m, bool on, struct err *e);

#endif
