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
		if (!m->sums)
			free(m->blocks[i].sums);
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
