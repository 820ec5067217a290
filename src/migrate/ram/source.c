/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see ram.h. A page is queued in the channel where it is; what is queued is
 * flushed before the next sync, so that a page's content is never older than its dirty bit.
 */
#include "base/owned.h"
#include "migrate/content/content.h"
#include "migrate/multifd/multifd.h"
#include "migrate/ram/ram.h"
#include "migrate/ram/xbzrle.h"
#include "migrate/ram/zero.h"
#include "migrate/snapshot/mapped.h"
#include "migrate/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROTECT_PAGES = 4096 }; /* protected again in one call: 16 MiB */

/**
 * ram_block_skipped() - Does the other side have this block's content already?
 * @job:	With its options
 * @b:		Block
 */
bool ram_block_skipped(const struct migrate_job *job, const struct ram_block *b)
{
	if (!job->options.ignore_shared)
		return false;
	return job->options.shared ? job->options.shared(b) : !b->readonly;
}

/**
 * ram_block_gpa() - Where the guest sees the beginning of a block
 * @job:	With the memory
 * @b:		Block
 *
 * Return: the lowest address; 0 if it is seen nowhere
 */
uint64_t ram_block_gpa(const struct migrate_job *job, const struct ram_block *b)
{
	const struct memory_map *map;
	uint64_t lowest = UINT64_MAX;

	list_for_each (map, &job->memory->maps, link)
		if (map->block == b && map->offset == 0 && map->gpa < lowest)
			lowest = map->gpa;
	return lowest == UINT64_MAX ? 0 : lowest;
}

static uint64_t memory_bytes(const struct memory *m)
{
	const struct ram_block *b;
	uint64_t sum = 0;

	list_for_each (b, &m->blocks, link)
		sum += b->size;
	return sum;
}

static size_t memory_blocks(const struct memory *m)
{
	const struct list *l;
	size_t n = 0;

	for (l = m->blocks.next; l != &m->blocks; l = l->next)
		n++;
	return n;
}

static int source_block_begin(struct ram_source_block *sb, struct ram_block *b, struct err *e)
{
	int ret = bitmap_create(&sb->todo, b->size / WIRE_PAGE);

	if (ret < 0)
		return err_set(e, ENOMEM, "a bitmap for %s", b->name);
	bitmap_set_range(&sb->todo, 0, sb->todo.bits);
	sb->block = b;
	return 0;
}

/**
 * ram_source_begin() - Get ready to send every page
 * @s:		Filled in; ram_source_end() also after a failure
 * @job:	Stays while @s does
 * @e:		Set on failure only
 *
 * Errors: ENOMEM
 * Return: 0, or a negative errno
 */
int ram_source_begin(struct ram_source *s, struct migrate_job *job, struct err *e)
{
	struct ram_block *b;
	int ret;

	*s = (struct ram_source){.job = job, .first_round = true};
	s->blocks = mem_calloc(memory_blocks(job->memory), sizeof(*s->blocks));
	list_for_each (b, &job->memory->blocks, link) {
		if (ram_block_skipped(job, b))
			continue;
		ret = source_block_begin(&s->blocks[s->blocks_len], b, e);
		if (ret < 0)
			return ret;
		s->blocks_len++;
	}
	job->progress.ram_bytes = memory_bytes(job->memory);
	job->progress.remaining_bytes = ram_remaining(s);
	return 0;
}

/**
 * ram_source_end() - Free what the sending needed
 * @s:	Begun, or zeroed
 */
void ram_source_end(struct ram_source *s)
{
	size_t i;

	for (i = 0; i < s->blocks_len; i++)
		bitmap_destroy(&s->blocks[i].todo);
	free(s->blocks);
	*s = (struct ram_source){0};
}

/**
 * ram_put_blocks() - Write the list of blocks
 * @s:	Source
 *
 * Source: docs/wire.md, "RAM: the list of blocks"
 */
void ram_put_blocks(struct ram_source *s)
{
	struct channel *c = s->job->channel;
	struct ram_block *b;

	channel_put_be64(c, memory_bytes(s->job->memory) | WIRE_RAM_MEM_SIZE);
	list_for_each (b, &s->job->memory->blocks, link) {
		channel_put_u8(c, (uint8_t)strlen(b->name));
		channel_put(c, b->name, strlen(b->name));
		channel_put_be64(c, b->size);
		if (s->job->options.ignore_shared)
			channel_put_be64(c, ram_block_gpa(s->job, b));
		if (s->job->mapped)
			mapped_put_block(s->job->mapped, c, b);
	}
	ram_put_eos(s);
}

/**
 * ram_put_eos() - Write the end of a section part
 * @s:	Source
 *
 * It is a sync point of the channels beside the stream.
 */
void ram_put_eos(struct ram_source *s)
{
	if (s->multifd)
		multifd_source_sync(s->multifd);
	channel_put_be64(s->job->channel, WIRE_RAM_EOS);
	s->last = NULL;
}

/**
 * ram_sync() - Add what the guest wrote since the last time to what must be sent
 * @s:	Source
 * @e:	Set on failure only
 *
 * Return: 0, or what the dirty log said
 */
int ram_sync(struct ram_source *s, struct err *e)
{
	const struct migrate_hooks *h = &s->job->hooks;
	struct ram_source_block *sb;
	uint64_t i, word;
	size_t n;
	int ret = h->dirty_sync ? h->dirty_sync(h->opaque, e) : 0;

	if (ret < 0)
		return ret;
	for (n = 0; n < s->blocks_len; n++) {
		sb = &s->blocks[n];
		sb->protected_end = 0;
		for (i = 0; sb->block->dirty.words && i < DIV_ROUND_UP(sb->todo.bits, 64); i++) {
			word = __atomic_exchange_n(&sb->block->dirty.words[i], 0, __ATOMIC_RELAXED);
			sb->todo.words[i] |= word;
		}
	}
	s->first_round = false;
	s->job->progress.remaining_bytes = ram_remaining(s);
	return 0;
}

/**
 * ram_remaining() - What must still be sent
 * @s:	Source
 *
 * Return: bytes
 */
uint64_t ram_remaining(const struct ram_source *s)
{
	uint64_t pages = 0;
	size_t i;

	for (i = 0; i < s->blocks_len; i++)
		pages += bitmap_count(&s->blocks[i].todo);
	return pages * WIRE_PAGE;
}

/* Is there a hole in the file at this offset? Only offsets that grow are asked for. */
static bool in_hole(struct ram_source_block *sb, uint64_t offset)
{
	const struct ram_block *b = sb->block;
	off_t data, hole;

	if (offset < sb->data_at)
		return true;
	if (offset < sb->data_end)
		return false;
	data = lseek(b->fd, (off_t)(b->fd_offset + offset), SEEK_DATA);
	if (data < 0 && errno == ENXIO) {
		sb->data_at = sb->data_end = UINT64_MAX;
		return true;
	}
	hole = data < 0 ? -1 : lseek(b->fd, data, SEEK_HOLE);
	sb->data_at = data < 0 ? 0
			       : (uint64_t)data - b->fd_offset; /* no holes known: all is data */
	sb->data_end = hole < 0 ? UINT64_MAX : (uint64_t)hole - b->fd_offset;
	return offset < sb->data_at;
}

static void put_record(struct ram_source *s, const struct ram_source_block *sb, uint64_t offset,
		       uint64_t flags)
{
	struct channel *c = s->job->channel;
	const char *name = sb->block->name;

	if (s->last == sb) {
		channel_put_be64(c, offset | flags | WIRE_RAM_CONTINUE);
		return;
	}
	channel_put_be64(c, offset | flags);
	channel_put_u8(c, (uint8_t)strlen(name));
	channel_put(c, name, strlen(name));
	s->last = sb;
}

/* What goes out is a copy: it must be what the cache has. */
static void put_change(struct ram_source *s, const struct ram_source_block *sb, uint64_t offset)
{
	struct channel *c = s->job->channel;
	const uint8_t *bytes;
	size_t len;

	switch (xbzrle_cache_send(s->xbzrle, sb->block, offset, s->job->progress.round, &bytes,
				  &len)) {
	case XBZRLE_AS_IT_IS:
		put_record(s, sb, offset, WIRE_RAM_PAGE);
		channel_put_ref(c, sb->block->hva + offset, WIRE_PAGE);
		break;
	case XBZRLE_WHOLE:
		put_record(s, sb, offset, WIRE_RAM_PAGE);
		channel_put(c, bytes, len);
		break;
	case XBZRLE_CHANGE:
		put_record(s, sb, offset, WIRE_RAM_XBZRLE);
		channel_put_u8(c, 1);
		channel_put_be16(c, (uint16_t)len);
		channel_put(c, bytes, len);
		break;
	case XBZRLE_SAME: break;
	}
}

/* A page that the target has is named; what goes out otherwise is the copy that was hashed. */
static void put_content(struct ram_source *s, const struct ram_source_block *sb, uint64_t offset)
{
	struct channel *c = s->job->channel;
	struct content_page p;

	content_source_look(s->content, (size_t)(sb - s->blocks), offset, sb->block->hva + offset,
			    &p);
	put_record(s, sb, offset, p.where == CONTENT_NOWHERE ? WIRE_RAM_PAGE : WIRE_RAM_KNOWN);
	if (p.where == CONTENT_NOWHERE)
		channel_put(c, p.bytes, WIRE_PAGE);
	else
		content_record_put(c, &p);
	s->job->progress.normal_pages += p.where == CONTENT_NOWHERE;
}

static void put_zeros(struct ram_source *s, const struct ram_source_block *sb, uint64_t offset)
{
	if (s->xbzrle)
		xbzrle_cache_forget(s->xbzrle, sb->block, offset);
	if (s->content)
		content_source_forget(s->content, (size_t)(sb - s->blocks), offset);
	put_record(s, sb, offset, WIRE_RAM_ZERO);
	channel_put_u8(s->job->channel, 0);
	s->job->progress.zero_pages++;
}

static void put_page(struct ram_source *s, struct ram_source_block *sb, uint64_t page)
{
	uint64_t offset = page * WIRE_PAGE;
	const uint8_t *bytes = sb->block->hva + offset;

	if ((s->first_round && in_hole(sb, offset)) ||
	    (!s->job->options.multifd.find_zeros && page_is_zero(bytes))) {
		put_zeros(s, sb, offset);
		return;
	}
	if (s->content) {
		put_content(s, sb, offset);
		return;
	}
	if (s->multifd) {
		multifd_source_put(s->multifd, sb->block, offset);
	} else if (s->xbzrle && !s->first_round) {
		put_change(s, sb, offset);
	} else {
		put_record(s, sb, offset, WIRE_RAM_PAGE);
		channel_put_ref(s->job->channel, bytes, WIRE_PAGE);
	}
	s->job->progress.normal_pages++;
}

/* Protects the pages around @page again before the first of them is read in this pass. */
static int protect(struct ram_source *s, struct ram_source_block *sb, uint64_t page, struct err *e)
{
	const struct migrate_hooks *h = &s->job->hooks;
	uint64_t first = ALIGN_DOWN(page, (uint64_t)PROTECT_PAGES);
	uint64_t n = MIN((uint64_t)PROTECT_PAGES, sb->todo.bits - first);

	if (!h->dirty_clear || page < sb->protected_end)
		return 0;
	sb->protected_end = first + n;
	if (s->stopped)
		return 0;
	return h->dirty_clear(h->opaque, sb->block, &sb->todo, first, n, e);
}

/* Has the pages from @page on that follow each other, at most @max, put to their fixed places. Sets
 * how many these were. */
static int put_mapped(struct ram_source *s, struct ram_source_block *sb, uint64_t page,
		      uint64_t max, uint64_t *ret_pages, struct err *e)
{
	uint64_t run = bitmap_next_zero(&sb->todo, page) - page;
	uint64_t n = MIN(run + !run, max); /* 0: it was hinted this moment */

	if (s->job->hooks.dirty_clear)
		n = MIN(n, sb->protected_end - page);
	*ret_pages = n;
	if (!s->first_round || !in_hole(sb, page * WIRE_PAGE)) {
		if (s->first_round)
			n = *ret_pages = MIN(n, DIV_ROUND_UP(sb->data_end, WIRE_PAGE) - page);
		bitmap_clear_range(&sb->todo, page, n);
		return mapped_put_pages(s->job->mapped, sb->block, page, n, e);
	}
	n = *ret_pages = MIN(n, sb->data_at / WIRE_PAGE - page);
	bitmap_clear_range(&sb->todo, page, n);
	s->job->progress.zero_pages += n;
	return 0;
}

static int put_block_pages(struct ram_source *s, struct ram_source_block *sb, uint64_t *pages,
			   struct err *e)
{
	uint64_t page, n = 1;
	int ret;

	for (page = bitmap_next(&sb->todo, 0); *pages && page < sb->todo.bits;
	     page = bitmap_next(&sb->todo, page + n), *pages -= n) {
		ret = protect(s, sb, page, e);
		if (ret == 0 && s->job->mapped) {
			ret = put_mapped(s, sb, page, *pages, &n, e);
		} else if (ret == 0) {
			bitmap_take(&sb->todo, page);
			put_page(s, sb, page);
		}
		if (ret < 0)
			return ret;
		if (channel_failed(s->job->channel))
			return channel_check(s->job->channel, e);
	}
	return 0;
}

/* Waits for the threads that write pages to fixed places. */
static int wait_mapped(struct ram_source *s, struct err *e)
{
	struct mapped *m = s->job->mapped;
	int ret = m ? mapped_put_wait(m, e) : 0;

	if (m)
		s->job->progress.normal_pages = __atomic_load_n(&m->normal_pages, __ATOMIC_RELAXED);
	return ret;
}

/**
 * ram_sent_bytes() - What a job has written, pages at fixed places included
 * @job:	Saving
 *
 * Return: bytes
 */
uint64_t ram_sent_bytes(const struct migrate_job *job)
{
	uint64_t pages = 0;

	if (job->mapped)
		pages = __atomic_load_n(&job->mapped->normal_pages, __ATOMIC_RELAXED);
	return channel_written(job->channel) + pages * WIRE_PAGE;
}

/**
 * ram_put_pages() - Write pages that must be sent
 * @s:		Source
 * @pages:	At most so many
 * @ret_done:	Set: was this all there was?
 * @e:		Set on failure only
 *
 * What is queued in the channel is flushed: the guest may go on writing, and pages aren't to be
 * older than their bits.
 *
 * Return: 0, or a negative errno of the channel or the dirty log
 */
int ram_put_pages(struct ram_source *s, uint64_t pages, bool *ret_done, struct err *e)
{
	uint64_t left = pages;
	size_t i;
	int ret;

	for (i = 0; i < s->blocks_len && left; i++) {
		ret = put_block_pages(s, &s->blocks[i], &left, e);
		if (ret < 0)
			return ret;
	}
	*ret_done = left > 0;
	ret = *ret_done ? wait_mapped(s, e) : 0;
	if (ret < 0)
		return ret;
	s->job->progress.remaining_bytes -= MIN(s->job->progress.remaining_bytes,
						(pages - left) * WIRE_PAGE);
	channel_flush(s->job->channel);
	ret = multifd_source_check(s->multifd, e);
	return ret < 0 ? ret : channel_check(s->job->channel, e);
}
