/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_MAPPED_H
#define MIGRATE_MAPPED_H

#include "base/bitmap.h"
#include "migrate/migrate.h"
#include "migrate/workers.h"

#include <sys/uio.h>
#include <xxhash.h>

/*
 * RAM at fixed places of a file: QEMU's capability mapped-ram, with a checksum for each page behind
 * the stream. Inside this room only.
 *
 * Theory of operation: the list of blocks tells for each block where in the file its pages lie, one
 * behind the other, and where a bitmap of those that aren't zeros is. So a page that the guest
 * writes again is written again to the same place, several threads can write and read, and a file
 * can be mapped instead of read. Zeros are holes. The stream goes on behind the last page.
 *
 * Packed: where zeros are scattered among other pages, fixed places cost a write for each run, or
 * the writing of zeros. So in a layout of our own the pages of each MiB of a block (a group) lie
 * one behind the other at the group's fixed place, in the order in which they first came: one
 * write and one extent a group. A page keeps its place when it comes again. Which one it is says
 * an octet per page behind the stream.
 *
 * Sums: behind the stream, page aligned, each block in stream order has be64 XXH3 of its bitmap,
 * packed also be64 XXH3 of the places and the places themselves, then be64 XXH3 per page (of pages
 * that are in the bitmap; else nothing is said). Then comes the trailer. A file of QEMU's has
 * neither and ends behind the description.
 */

enum {
	MAPPED_HEADER_BYTES = 28,
	MAPPED_VERSION = 1,
	MAPPED_VERSION_PACKED = 2,
	MAPPED_ALIGN = 1024 * 1024, /* of a block's pages; a reader asks for a page only */
	MAPPED_TRAILER_BYTES = 32,
	MAPPED_GAP_PAGES = 4, /* a gap up to this costs less if it is transferred, too */
	MAPPED_GROUP_PAGES = WORK_PAGES,
};

/**
 * struct mapped_block - A block in the file
 * @block:	Its RAM
 * @bitmap_at, @pages_at: Offsets in the file
 * @present:	Pages that are in the file
 * @sums:	Per page, big-endian; NULL: the file has none
 * @places:	Packed: per page, which of its group's places it has; NULL: its own
 * @wanted:	Saving: pages that are to be written
 * @placed:	Saving, packed: pages that have one
 * @used:	Saving, packed: places of each group that are given; atomic
 * @touched:	Loading: pages of @block that may hold something already; borrowed
 */
struct mapped_block {
	struct ram_block *block;
	uint64_t bitmap_at, pages_at;
	struct bitmap present;
	uint64_t *sums;
	uint8_t *places;
	struct bitmap wanted, placed;
	uint16_t *used;
	struct bitmap *touched;
};

/**
 * struct mapped - A file being written or read
 * @fd:		The file; borrowed
 * @direct_fd:	It once more, past the page cache; -1: not
 * @begin:	Where in the file the stream begins: places in the file count from its first byte
 * @cache:	Mapping of it that tells what of it is cached, @file_bytes; NULL: none
 * @blocks:	In stream order
 * @blocks_len, @blocks_room: How many there are and fit
 * @copy:	Saving: pages are copied before they are hashed
 * @packed:	Saving: the pages of a group lie one behind the other
 * @normal_pages, @zero_pages: Done so far; atomic
 * @workers:	Started with the first page
 * @gathered:	Saving: the group whose wanted pages are being gathered; no pages: none
 * @file_bytes:	Loading: its size
 * @trailer:	Loading: there are sums
 * @stream_bytes, @stream_hash: Of the trailer
 * @sums:	Loading: mapping of the file from @sums_from on, @sums_bytes of it; the next block's
 *		begin at @sums_next
 */
struct mapped {
	int fd, direct_fd;
	uint64_t begin;
	uint8_t *cache;
	struct mapped_block *blocks;
	size_t blocks_len, blocks_room;
	bool copy, packed;
	uint64_t normal_pages, zero_pages;
	struct workers *workers;
	struct work gathered;
	uint64_t file_bytes;
	bool trailer;
	uint64_t stream_bytes, stream_hash;
	void *sums;
	uint64_t sums_from, sums_bytes, sums_next;
};

/* mapped.c */
void mapped_begin(struct mapped *m, int fd, uint64_t begin);
void mapped_end(struct mapped *m);
struct mapped_block *mapped_block_add(struct mapped *m, struct ram_block *b);
uint64_t mapped_bitmap_bytes(const struct ram_block *b);
uint64_t mapped_places_bytes(const struct mapped_block *mb);
uint64_t mapped_place(const struct mapped_block *mb, uint64_t page);

/* mapped_io.c */
void mapped_direct(struct mapped *m, const char *path, int flags);
MUST_CHECK int mapped_write(const struct mapped *m, const void *bytes, uint64_t n, uint64_t at,
			    struct err *e);
MUST_CHECK int mapped_write_parts(const struct mapped *m, const struct iovec *parts, int n,
				  uint64_t at, struct err *e);
MUST_CHECK int mapped_read_bytes(const struct mapped *m, void *to, uint64_t n, uint64_t at,
				 struct err *e);
MUST_CHECK int mapped_read_parts(const struct mapped *m, const struct iovec *parts, int n,
				 uint64_t at, struct err *e);

/* mapped_save.c */
void mapped_put_block(struct mapped *m, struct channel *c, struct ram_block *b);
MUST_CHECK int mapped_put_pages(struct mapped *m, struct ram_block *b, uint64_t first,
				uint64_t pages, struct err *e);
MUST_CHECK int mapped_put_wait(struct mapped *m, struct err *e);
MUST_CHECK int mapped_put_end(struct mapped *m, struct channel *c, struct err *e);

/* mapped_load.c */
MUST_CHECK int mapped_open(struct mapped *m, int fd, uint64_t begin, struct err *e);
MUST_CHECK int mapped_get_block(struct mapped *m, struct channel *c, struct ram_block *b,
				struct mapped_block **ret, struct err *e);
MUST_CHECK int mapped_check(const struct mapped *m, struct channel *c, struct err *e);

/* mapped_read.c */
MUST_CHECK int mapped_get_pages(struct mapped *m, struct mapped_block *mb, struct err *e);
MUST_CHECK int mapped_read(const struct mapped *m, const struct mapped_block *mb, uint64_t first,
			   uint64_t pages, uint8_t *to, struct err *e);

#endif
