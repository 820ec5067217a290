/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_IO_H
#define DEVICE_IO_H

#include "base/err.h"
#include "base/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Theory of operation: two address spaces, ports and memory-mapped I/O, each a set of regions. A
 * vCPU exit is looked up in an immutable sorted view (replaced as a whole when a BAR moves; old
 * views are freed when no vCPU can be in them), then the region's lock is taken and its handler
 * runs. That lock is the only one a vCPU takes. An access to nothing reads as all ones and writes
 * nowhere.
 *
 * An access belongs to the region at its first address. It is cut where that region ends and where
 * it isn't aligned, as QEMU does, and then fitted to the sizes the region takes: a larger one is
 * split; a smaller read is widened and the wanted bytes cut out; a smaller write comes with the
 * bytes around it zero.
 */

/**
 * struct io_ops - Handlers of a region
 * @read:	@offset from the region's start; @size 1, 2, 4 or 8, within the bounds below
 * @write:	Likewise
 * @min, @max:	Sizes the handlers take, bytes; the dispatcher splits larger and widens smaller
 *accesses (little-endian). 0 means 1 and 8
 */
struct io_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned int size);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned int size);
	unsigned int min, max;
};

enum io_kind { IO_PORT = 1, IO_MEMORY };

struct io_space;
struct io_doors;

/**
 * struct io_region - Addresses that a device answers at
 * @name:	For messages and /proc/iomem-like listings
 * @kind:	Which space
 * @base:	First address
 * @size:	Bytes
 * @ops:	Handlers
 * @opaque:	Passed to them
 * @lock:	Taken around each handler; NULL: the handlers lock for themselves
 * @priority:	Where regions overlap, the highest answers (chipset 0, BARs 1, overlays 2)
 * @enabled:	Answers now; set by io_region_set()
 * @space:	Set by io_region_add()
 * @doorbells:	All of them, for moving
 * @doors:	The same as an immutable array for vCPUs; atomic, NULL: none
 */
struct io_region {
	struct list link;
	const char *name;
	enum io_kind kind;
	uint64_t base, size;
	const struct io_ops *ops;
	void *opaque;
	pthread_mutex_t *lock;
	int priority;
	bool enabled;
	struct io_space *space;
	struct list doorbells;
	struct io_doors *doors;
};

/**
 * struct io_doorbell - A guest write that becomes an eventfd signal without leaving the kernel
 * @offset:	In the region
 * @size:	Of the write, bytes; 0: any size
 * @match:	Only this value, if @datamatch
 * @fd:		Eventfd, borrowed
 * @bound:	The kernel does it at the region's present address; the dispatcher's own
 */
struct io_doorbell {
	struct list link;
	uint64_t offset;
	unsigned int size;
	bool datamatch;
	uint64_t match;
	int fd;
	bool bound;
};

/**
 * struct io_doorbell_ops - What binds doorbells to the kernel (KVM_IOEVENTFD); set by the machine
 */
struct io_doorbell_ops {
	int (*bind)(void *opaque, enum io_kind kind, uint64_t addr, const struct io_doorbell *d,
		    bool on);
	void *opaque;
};

MUST_CHECK int io_space_create(struct io_space **ret, const struct io_doorbell_ops *ops,
			       struct err *e);
void io_space_destroy(struct io_space *s);

void io_region_add(struct io_space *s, struct io_region *r);
void io_region_set(struct io_region *r, uint64_t base,
		   bool enabled); /* moves, shows or hides; doorbells follow */
/* Waits until no vCPU can be in the region's handlers: not from a handler, and not while holding
 * the region's lock. */
void io_region_del(struct io_region *r);
/* Without KVM's help (no ioeventfd) the dispatcher signals the fd itself, so this always works. */
void io_doorbell_add(struct io_region *r, struct io_doorbell *d);
void io_doorbell_del(struct io_region *r, struct io_doorbell *d);

/* From vCPU threads. @data is in guest (little-endian) byte order. */
void io_read(struct io_space *s, enum io_kind kind, uint64_t addr, void *data, unsigned int size);
void io_write(struct io_space *s, enum io_kind kind, uint64_t addr, const void *data,
	      unsigned int size);

#endif
