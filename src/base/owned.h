/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_OWNED_H
#define BASE_OWNED_H

#include "base/compiler.h"

#include <stdlib.h>
#include <unistd.h>

/*
 * Scoped ownership: a local that is released when its scope ends, unless it was taken out before.
 *
 *	OWNED_FD fd = open(...);	closed at the end of the scope
 *	*ret_fd = fd_take(&fd);		the caller owns it now
 */

static inline void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void mem_free(void *p)
{
	free(*(void **)p);
	*(void **)p = NULL;
}

#define OWNED_FD    CLEANUP(fd_close) int
#define OWNED(type) CLEANUP(mem_free) type
#define mem_take(pp)                              \
	({                                        \
		__typeof__(*(pp)) taken_ = *(pp); \
		*(pp) = NULL;                     \
		taken_;                           \
	})

void *mem_zalloc(size_t size);
void *mem_calloc(size_t n, size_t size);
void *mem_realloc(void *p, size_t size);
char *str_dup(const char *s);
char *str_printf(const char *fmt, ...) PRINTF(1, 2);
size_t page_size(void);

#endif
