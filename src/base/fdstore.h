/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FDSTORE_H
#define BASE_FDSTORE_H

#include "base/err.h"
#include "base/list.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Descriptors that were handed to us: by name (getfd), by set (add-fd), or by inheritance (a
 * number). Main thread.
 */

/**
 * struct fdstore_fd - One descriptor of a set
 */
struct fdstore_fd {
	struct list link;
	int fd;
	int number;   /* how clients know it: @fd's when it came, also in the process after this */
	char *opaque; /* what the giver calls it, or NULL */
};

/**
 * struct fdstore_set - Copies of one file with different access modes, opened as /dev/fdset/ID
 */
struct fdstore_set {
	struct list link;
	int64_t id;
	struct list fds;
};

void fdstore_name(const char *name, int fd);
MUST_CHECK int fdstore_close(const char *name, struct err *e);
MUST_CHECK int fdstore_take(const char *name, int *ret_fd, struct err *e);

MUST_CHECK int fdstore_set_add(int64_t *id, int fd, const char *opaque, int *ret_number,
			       struct err *e);
MUST_CHECK int fdstore_set_remove(int64_t id, int fd, struct err *e);
const struct list *fdstore_sets(void);
/* open(2), where "/dev/fdset/N" means a copy of the set's descriptor with that access mode. */
MUST_CHECK int fdstore_open(const char *path, int flags, unsigned int mode, int *ret_fd,
			    struct err *e);
void fdstore_clear(void);

/* What the store holds, for another process: @add is called for each descriptor (borrowed), which
 * later takes it back out by the same name; returns a new reference. */
json_t *fdstore_describe(void (*add)(void *opaque, const char *name, int fd), void *opaque);
/* @take gives the descriptor of a name (owned by the store then), -1 if it didn't come. */
void fdstore_adopt(const json_t *state, int (*take)(void *opaque, const char *name), void *opaque);

#endif
