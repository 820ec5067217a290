/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FDSTORE_H
#define BASE_FDSTORE_H

#include "base/err.h"
#include "base/list.h"

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

MUST_CHECK int fdstore_set_add(int64_t *id, int fd, const char *opaque, struct err *e);
MUST_CHECK int fdstore_set_remove(int64_t id, int fd, struct err *e);
const struct list *fdstore_sets(void);
/* open(2), where "/dev/fdset/N" means a copy of the set's descriptor with that access mode. */
MUST_CHECK int fdstore_open(const char *path, int flags, unsigned int mode, int *ret_fd,
			    struct err *e);
void fdstore_clear(void);

#endif
