/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see content.h. An index for each block holds what the target has of it, as
 * it was sent last, and one what is in the target's file. */
#include "migrate/content/content.h"

#include "base/owned.h"
#include "migrate/wire.h"

#include <string.h>

/**
 * struct content_source - What the target has
 * @blocks, @blocks_len: Of each block that is sent, in the order of struct ram_source
 * @file:	Of its file; the job's
 * @stats:	The job's
 * @copy:	The page at hand
 */
struct content_source {
	struct content_index *blocks;
	size_t blocks_len;
	const struct content_index *file;
	struct migrate_content *stats;
	uint8_t copy[WIRE_PAGE];
};

/**
 * content_source_create() - Nothing was sent yet
 * @ret:	Set also on failure: content_source_destroy() it
 * @ram:	Begun; its blocks
 * @job:	With the list of the target's file, which stays
 * @e:		Set on failure only
 *
 * Errors: ENOMEM, EFBIG
 * Return: 0, or a negative errno
 */
int content_source_create(struct content_source **ret, const struct ram_source *ram,
			  struct migrate_job *job, struct err *e)
{
	struct content_source *s = *ret = mem_zalloc(sizeof(*s));
	int r = 0;

	s->blocks = mem_calloc(ram->blocks_len + 1, sizeof(*s->blocks));
	s->file = job->content_list;
	s->stats = &job->progress.content;
	s->stats->on = true;
	s->stats->listed_pages = s->file ? s->file->len : 0;
	for (; r == 0 && s->blocks_len < ram->blocks_len; s->blocks_len++)
		r = content_index_create(&s->blocks[s->blocks_len],
					 ram->blocks[s->blocks_len].todo.bits, e);
	return r;
}

/**
 * content_source_destroy() - Free it
 * @s:	May be NULL
 */
void content_source_destroy(struct content_source *s)
{
	size_t i;

	if (!s)
		return;
	for (i = 0; i < s->blocks_len; i++)
		content_index_destroy(&s->blocks[i]);
	free(s->blocks);
	free(s);
}

/**
 * content_source_look() - Copy a page, and see whether the target has it
 * @s:		What it has
 * @block:	Number of the page's block
 * @offset:	Of the page
 * @live:	The page, which the guest may be writing
 * @ret:	Filled in. Whoever asks sends the page so, and from then on the target has it there
 */
void content_source_look(struct content_source *s, size_t block, uint64_t offset,
			 const uint8_t *live, struct content_page *ret)
{
	struct content_index *mine = &s->blocks[block];

	memcpy(s->copy, live, WIRE_PAGE);
	*ret = (struct content_page){.bytes = s->copy};
	content_hash(s->copy, ret->hash);
	if (content_index_find(mine, ret->hash, &ret->place)) {
		ret->where = CONTENT_BLOCK;
		ret->place *= WIRE_PAGE;
	} else if (s->file && content_index_find(s->file, ret->hash, &ret->place)) {
		ret->where = CONTENT_FILE;
		s->stats->file_pages++;
	}
	s->stats->pages += ret->where != CONTENT_NOWHERE;
	content_index_set(mine, offset / WIRE_PAGE, ret->hash);
}

/**
 * content_source_forget() - A page was sent that isn't hashed
 * @s:		What the target has
 * @block:	Number of its block
 * @offset:	Of the page
 */
void content_source_forget(struct content_source *s, size_t block, uint64_t offset)
{
	content_index_forget(&s->blocks[block], offset / WIRE_PAGE);
}
