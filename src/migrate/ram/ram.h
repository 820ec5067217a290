/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_RAM_H
#define MIGRATE_RAM_H

#include "base/bitmap.h"
#include "migrate/migrate.h"

/*
 * The RAM section of a stream. Inside this room only.
 *
 * Theory of operation: a source keeps a bitmap per block of the pages that still have to be sent.
 * At the beginning that is every page; each sync adds what was written since, and a page's bit is
 * taken (and the page protected again) before its content is read, so that a write during the
 * sending is found by the next sync.
 *
 * Guest RAM is a file; where it has holes there are zeros, and lseek(2) knows that without a page
 * being touched.
 */

struct multifd_source;
struct xbzrle_cache;
struct content_source;
struct multifd_sink;

/**
 * struct ram_source - Sending the RAM of a guest
 * @job:	Whose
 * @blocks:	One per block that is sent
 * @blocks_len:	How many
 * @last:	Block of the last record in this section part (CONTINUE)
 * @stopped:	The guest writes no more: pages needn't be protected again
 * @first_round: Holes of the files are trusted: they are zero pages, unsent
 * @multifd:	Channels for the pages that aren't zero; NULL: they go into the stream
 * @xbzrle:	Pages that were sent before, for those sent again; NULL: they go as they are
 * @content:	What the target has already; NULL: everything is sent
 */
struct ram_source {
	struct migrate_job *job;
	struct ram_source_block *blocks;
	size_t blocks_len;
	const struct ram_source_block *last;
	bool stopped, first_round;
	struct multifd_source *multifd;
	struct xbzrle_cache *xbzrle;
	struct content_source *content;
};

/**
 * struct ram_source_block - A block being sent
 * @block:	The block
 * @todo:	Pages of 4 KiB that must be sent
 * @data_at, @data_end: The piece of data in the file that the last look for holes found; a hole is
 * in front of it
 * @protected_end: Pages up to here have been protected again in this pass
 */
struct ram_source_block {
	struct ram_block *block;
	struct bitmap todo;
	uint64_t data_at, data_end;
	uint64_t protected_end;
};

MUST_CHECK int ram_source_begin(struct ram_source *s, struct migrate_job *job, struct err *e);
void ram_source_end(struct ram_source *s);
void ram_put_blocks(struct ram_source *s); /* payload of the START section */
MUST_CHECK int ram_sync(struct ram_source *s, struct err *e);
uint64_t ram_remaining(const struct ram_source *s); /* bytes */
/* Sends up to @pages; a whole pass ends when nothing is left. Payload of PART or END without the
 * final EOS. */
MUST_CHECK int ram_put_pages(struct ram_source *s, uint64_t pages, bool *ret_done, struct err *e);
uint64_t ram_sent_bytes(const struct migrate_job *job);
void ram_put_eos(struct ram_source *s);

/**
 * struct ram_sink - Receiving the RAM of a guest
 * @job:	Whose
 * @last:	Block of the last record (CONTINUE)
 * @blocks:	What is known of each block's content
 * @blocks_len:	How many
 * @multifd:	Channels beside the stream, or NULL
 * @per_round:	Their sync points are records of their own, not each end of a part
 */
struct ram_sink {
	struct migrate_job *job;
	struct ram_sink_block *last;
	struct ram_sink_block *blocks;
	size_t blocks_len;
	struct multifd_sink *multifd;
	bool per_round;
};

/**
 * struct ram_sink_block - A block being received
 * @block:	The block
 * @touched:	Pages that may hold something other than zeros
 */
struct ram_sink_block {
	struct ram_block *block;
	struct bitmap touched;
};

MUST_CHECK int ram_sink_begin(struct ram_sink *s, struct migrate_job *job, struct err *e);
void ram_sink_end(struct ram_sink *s);
MUST_CHECK int ram_get(struct ram_sink *s, struct err *e); /* one section part, up to its EOS */
/* What a channel beside the stream needs; from its thread. */
struct ram_sink_block *ram_sink_find(const struct ram_sink *s, const char *name);
bool ram_sink_is_new(const struct ram_sink_block *sb, uint64_t offset);
void ram_sink_take(struct channel *c, struct ram_sink_block *sb, uint64_t offset, uint32_t n);
MUST_CHECK int ram_sink_fill(struct ram_sink_block *sb, uint64_t offset, uint8_t fill,
			     struct err *e);

bool ram_block_skipped(const struct migrate_job *job, const struct ram_block *b);
uint64_t ram_block_gpa(const struct migrate_job *job, const struct ram_block *b);

#endif
