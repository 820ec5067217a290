/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see mapped.h. Here: what both directions share. */
#include "migrate/snapshot/mapped.h"

#include "base/owned.h"
#include "migrate/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/**
 * mapped_begin() - Get ready to write or read a file
 * @m:	Filled in; mapped_end() it
 * @fd:	The file; stays open while @m is used
 * @begin: Where in it the stream begins
 */
void mapped_begin(struct mapped *m, int fd, uint64_t begin)
{
	*m = (struct mapped){.fd = fd, .direct_fd = -1, .begin = begin};
}

/**
 * mapped_end() - Free what is known of a file
 * @m:	Begun, or zeroed
 */
void mapped_end(struct mapped *m)
{
	size_t i;

	workers_destroy(m->workers);
	for (i = 0; i < m->blocks_len; i++) {
		bitmap_destroy(&m->blocks[i].present);
		bitmap_destroy(&m->blocks[i].wanted);
		bitmap_destroy(&m->blocks[i].placed);
		free(m->blocks[i].used);
		if (m->sums)
			continue; /* those of the file */
		free(m->blocks[i].sums);
		free(m->blocks[i].places);
	}
	if (m->sums)
		munmap(m->sums, m->sums_bytes);
	if (m->cache)
		munmap(m->cache, m->file_bytes);
	fd_close(&m->direct_fd);
	free(m->blocks);
	*m = (struct mapped){.fd = -1, .direct_fd = -1};
}

/**
 * mapped_block_add() - The next block of the stream
 * @m:	File
 * @b:	Its RAM
 *
 * Return: new, valid until the next one is added
 */
struct mapped_block *mapped_block_add(struct mapped *m, struct ram_block *b)
{
	struct mapped_block *mb;

	if (m->blocks_len == m->blocks_room) {
		m->blocks_room = m->blocks_room ? 2 * m->blocks_room : 16;
		m->blocks = mem_realloc(m->blocks, m->blocks_room * sizeof(*m->blocks));
	}
	mb = &m->blocks[m->blocks_len++];
	*mb = (struct mapped_block){.block = b};
	return mb;
}

/**
 * mapped_bitmap_bytes() - Size of a block's bitmap in the file
 * @b:	Its RAM
 *
 * Return: bytes, whole words of 8
 */
uint64_t mapped_bitmap_bytes(const struct ram_block *b)
{
	return DIV_ROUND_UP(b->size / WIRE_PAGE, 64) * 8;
}

/**
 * mapped_places_bytes() - Size of a packed block's places in the file
 * @mb:	The block
 *
 * Return: bytes, a multiple of 8
 */
uint64_t mapped_places_bytes(const struct mapped_block *mb)
{
	return ALIGN_UP(mb->block->size / WIRE_PAGE, 8);
}

/**
 * mapped_place() - Where a page is
 * @mb:		Its block
 * @page:	Which; packed: it has a place
 *
 * Return: offset in the file
 */
uint64_t mapped_place(const struct mapped_block *mb, uint64_t page)
{
	uint64_t place = page;

	if (mb->places)
		place = ALIGN_DOWN(page, (uint64_t)MAPPED_GROUP_PAGES) + mb->places[page];
	return mb->pages_at + place * WIRE_PAGE;
}
