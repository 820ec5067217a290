/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CHANNEL_H
#define MIGRATE_CHANNEL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Theory of operation: a channel is a stream of bytes in both directions, buffered, owned by one
 * thread. The first failure is latched with its story: writes after it do nothing, reads after it
 * give zeros, and whoever drives the stream looks once in a while (channel_check). Only
 * channel_shutdown() may be called by another thread.
 *
 * Written bytes are small (headers, fields: copied to the buffer) or large (guest pages: queued
 * where they are, and handed to the kernel together with the small ones by one writev). What was
 * queued must stay until the next flush. Read bytes are buffered, too, but a large read goes
 * straight to its place.
 */

struct channel;

/**
 * struct channel_ops - What carries the bytes
 * @readv:	As readv(2): 0 at the end, -errno on failure (never EINTR, EAGAIN)
 * @writev:	As writev(2), may write less
 * @finish:	No more is written: waits until the other side has taken everything, where that can
 *		be known; NULL: it can't
 * @seek:	Moves the file's position by so many bytes; NULL: it isn't a file
 * @story:	Why the last transfer failed, in words; NULL, or gives NULL: its errno says it all
 * @shutdown:	Makes a blocked or later @readv and @writev fail with ECANCELED; any thread
 * @revive:	Takes a @shutdown back, so that a last word can be said or heard; NULL: it can't be
 * @patience:	From now on a transfer fails with ETIMEDOUT once nothing could be moved for so many
 *		ms; -1: never, as in the beginning. NULL: never
 * @close:	Releases @carrier
 */
struct channel_ops {
	ssize_t (*readv)(void *carrier, const struct iovec *iov, int n);
	ssize_t (*writev)(void *carrier, const struct iovec *iov, int n);
	int (*finish)(void *carrier, struct err *e);
	int (*seek)(void *carrier, off_t bytes);
	const char *(*story)(void *carrier);
	void (*shutdown)(void *carrier);
	void (*revive)(void *carrier);
	void (*patience)(void *carrier, int ms);
	void (*close)(void *carrier);
};

struct channel *channel_create(const struct channel_ops *ops, void *carrier);
void *channel_carrier(struct channel *c, const struct channel_ops *ops);
void channel_destroy(struct channel *c); /* what isn't flushed is dropped */
void channel_shutdown(struct channel *c);
bool channel_revive(struct channel *c);
void channel_patience(struct channel *c, int ms);

/* channel/fd.c: pipe, socket, character device or file; the channel owns the fd, which becomes
 * non-blocking. */
MUST_CHECK int channel_open_fd(struct channel **ret, int fd, struct err *e);
int channel_socket(struct channel *c); /* to look at; -1: it isn't one */
/* A socket: everything is flushed, and the other side's kernel has it. Others: nothing to do. */
MUST_CHECK int channel_settle(struct channel *c, struct err *e);
/* channel/command.c: standard input (writing) or output of a shell command. */
MUST_CHECK int channel_open_command(struct channel **ret, const char *command, bool writing,
				    struct err *e);
/* channel/zstd.c: the same, compressed by zstd; a file that begins with its magic is one. */
MUST_CHECK int channel_open_zstd(struct channel **ret, int fd, struct err *e);
bool fd_is_zstd(int fd, uint64_t at);
/* channel/memory.c: for tests, and for state that crosses in shared memory. Reads @bytes
 * (borrowed), keeps what is written. */
struct channel *channel_open_memory(const void *bytes, size_t len);
const uint8_t *channel_memory(struct channel *c, size_t *ret_len); /* flushes first */

/* Writing. */
void channel_put(struct channel *c, const void *bytes, size_t n);
void channel_put_u8(struct channel *c, uint8_t v);
void channel_put_be16(struct channel *c, uint16_t v);
void channel_put_be32(struct channel *c, uint32_t v);
void channel_put_be64(struct channel *c, uint64_t v);
void channel_put_ref(struct channel *c, const void *bytes,
		     size_t n); /* stays where it is until flushed */
void channel_flush(struct channel *c);
MUST_CHECK int channel_finish(struct channel *c, struct err *e);
uint64_t channel_written(const struct channel *c);
uint64_t channel_handed(const struct channel *c); /* what the carrier took of them */

/* Reading. */
const uint8_t *channel_peek(struct channel *c, size_t n); /* NULL: not there (not latched) */
void channel_room(struct channel *c, size_t n);           /* that will be peeked at, bit by bit */
const uint8_t *channel_buffered(const struct channel *c, size_t *ret_len); /* read ahead already */
void channel_skip(struct channel *c, size_t n); /* of what was peeked, or more */
bool channel_get(struct channel *c, void *bytes, size_t n);
uint8_t channel_get_u8(struct channel *c);
uint16_t channel_get_be16(struct channel *c);
uint32_t channel_get_be32(struct channel *c);
uint64_t channel_get_be64(struct channel *c);
uint64_t channel_taken(const struct channel *c); /* bytes read so far: the offset for messages */

/* Both. */
/* Goes to an offset that channel_offset() or channel_taken() will then say; files only. What is in
 * between isn't hashed. */
void channel_seek(struct channel *c, uint64_t to);
uint64_t channel_offset(const struct channel *c); /* as channel_written(), and what was sought */
void channel_fail(struct channel *c,
		  const struct err *e); /* latches the story of whoever noticed */
bool channel_failed(const struct channel *c);
MUST_CHECK int channel_check(struct channel *c, struct err *e);
/*
 * Running XXH3 of what passes, in wire order. Without @stable what is queued is copied first, since
 * the guest may write it between being hashed and being sent.
 */
void channel_hash_start(struct channel *c, bool stable);
uint64_t channel_hash(struct channel *c); /* of all that was put or taken since the start */

#endif
