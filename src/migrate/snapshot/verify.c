/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: who is about to give up a guest for a snapshot wants to know first that the
 * snapshot is whole. No machine is needed for that: what lies at fixed places is found by the list
 * of blocks at the stream's beginning, and each page held against its sum by several threads; of
 * any other file the last octets are the sum of all that comes before.
 */
#include "base/owned.h"
#include "migrate/configuration.h"
#include "migrate/snapshot/mapped.h"
#include "migrate/trailer.h"
#include "migrate/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 * 1024 };

/* Takes all but the last @keep bytes of a stream whose length nobody knows. */
static void take_up_to(struct channel *c, size_t keep)
{
	size_t piece = PIECE;

	while (piece)
		if (channel_peek(c, piece + keep))
			channel_skip(c, piece);
		else
			piece /= 2;
}

static int verify_stream(struct channel *c, struct err *e)
{
	channel_hash_start(c, true);
	take_up_to(c, TRAILER_BYTES);
	if (channel_check(c, e) < 0)
		return -e->code;
	if (!channel_peek(c, TRAILER_BYTES))
		return err_set(e, EBADMSG, "too short for a snapshot");
	return trailer_get(c, e);
}

static int verify_piece(void *opaque, const struct work *w, uint8_t *room, struct err *e)
{
	return mapped_read(opaque, w->block, w->first, w->pages, room, e);
}

static int verify_pages(struct mapped *m, struct mapped_block *mb, struct err *e)
{
	uint64_t at, n;

	for (at = 0; at < mb->present.bits; at += n) {
		n = MIN(mb->present.bits - at, (uint64_t)WORK_PAGES);
		workers_put(m->workers, &(struct work){mb, at, n});
	}
	return workers_wait(m->workers, e);
}

/* The list of blocks says nothing of whose they are: any name and size will do. */
static int verify_block(struct mapped *m, struct channel *c, uint64_t *left, struct err *e)
{
	uint8_t len = channel_get_u8(c);
	struct mapped_block *mb;
	struct ram_block b = {0};
	int ret;

	channel_get(c, b.name, len);
	b.size = channel_get_be64(c);
	ret = channel_check(c, e);
	if (ret < 0)
		return ret;
	if (b.size > *left || b.size % WIRE_PAGE)
		return err_set(e, EBADMSG, "ram/%s: damaged: %" PRIu64 " bytes", b.name, b.size);
	*left -= b.size;
	ret = mapped_get_block(m, c, &b, &mb, e);
	return ret < 0 ? ret : verify_pages(m, mb, e);
}

/* Takes a RAM section's head. Sets @left to the size of all blocks. */
static int ram_begin(struct channel *c, uint64_t *left, struct err *e)
{
	uint8_t mark = channel_get_u8(c), len;
	char name[256];

	channel_get_be32(c); /* number of the section */
	len = channel_get_u8(c);
	channel_get(c, name, len);
	name[len] = '\0';
	channel_get_be64(c); /* instance and version */
	*left = channel_get_be64(c);
	if (channel_check(c, e) < 0)
		return -e->code;
	if (mark != WIRE_START || strcmp(name, "ram") || *left % WIRE_PAGE != WIRE_RAM_MEM_SIZE)
		return err_set(e, EBADMSG, "damaged: no list of RAM blocks at its beginning");
	*left -= WIRE_RAM_MEM_SIZE;
	return 0;
}

static int verify_mapped(struct mapped *m, struct channel *c, struct err *e)
{
	uint64_t left = 0;
	int ret;

	channel_hash_start(c, true);
	ret = configuration_skip(c, e);
	if (ret == 0)
		ret = ram_begin(c, &left, e);
	if (ret == 0)
		ret = workers_create(&m->workers, verify_piece, m, e);
	while (left && ret == 0)
		ret = verify_block(m, c, &left, e);
	if (ret < 0)
		return ret;
	if (m->stream_bytes < channel_taken(c))
		return err_set(e, EBADMSG,
			       "damaged: the trailer says that the stream had %" PRIu64 " bytes",
			       m->stream_bytes);
	channel_skip(c, m->stream_bytes - channel_taken(c));
	ret = channel_check(c, e);
	return ret < 0 ? ret : mapped_check(m, c, e);
}

/**
 * migrate_snapshot_verify() - Is a snapshot file what was written?
 * @fd:		The file, of any form of ours; its position isn't used
 * @e:		Says what is wrong, and where
 *
 * Errors: EBADMSG damaged, or without a trailer of ours; as pread(2), pthread_create(3)
 * Return: 0, or a negative errno
 */
int migrate_snapshot_verify(int fd, struct err *e)
{
	OWNED(char) *path = str_printf("/proc/self/fd/%d", fd);
	int own = open(path, O_RDONLY | O_CLOEXEC), ret;
	bool packed = own >= 0 && fd_is_zstd(own, 0);
	struct mapped mapped;
	struct channel *c;
	struct stat st;

	if (own < 0 || fstat(own, &st) < 0)
		return err_sys(e, "open the snapshot");
	if (!S_ISREG(st.st_mode)) {
		close(own);
		return err_set(e, EBADMSG, "no regular file");
	}
	ret = packed ? channel_open_zstd(&c, own, e) : channel_open_fd(&c, own, e);
	if (ret < 0) {
		close(own);
		return ret;
	}
	mapped_begin(&mapped, fd, 0);
	if (!packed)
		ret = mapped_open(&mapped, fd, 0, e);
	if (ret == 0)
		ret = mapped.trailer ? verify_mapped(&mapped, c, e) : verify_stream(c, e);
	mapped_end(&mapped);
	channel_destroy(c);
	return ret;
}
