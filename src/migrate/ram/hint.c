/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a hinted page isn't to be sent, unless it is written from now on. So its
 * dirty log is begun anew first, as for a page that is sent, and then its bits are taken: that of
 * what must be sent, and that of what this process wrote, which is set by having the page at hand
 * as the buffer of a request. The driver writes it only when it has the buffer back. The job's
 * thread takes bits at the same time: both take them one by one and atomically, and only the job's
 * thread sets any, when no hints are heard.
 */
#include "migrate/ram/ram.h"
#include "migrate/wire.h"

static struct ram_source_block *source_block(const struct ram_source *s, const struct ram_block *b)
{
	size_t i;

	for (i = 0; i < s->blocks_len; i++)
		if (s->blocks[i].block == b)
			return &s->blocks[i];
	return NULL;
}

/**
 * migrate_hint() - The guest doesn't use these pages
 * @job:	Between its hooks hint_start and hint_stop
 * @b:		Block
 * @offset, @len: Bytes; only whole pages count. Any values
 */
void migrate_hint(struct migrate_job *job, struct ram_block *b, uint64_t offset, uint64_t len)
{
	const struct migrate_hooks *h = &job->hooks;
	struct ram_source_block *sb = source_block(job->hinted, b);
	uint64_t first = DIV_ROUND_UP(offset, WIRE_PAGE), end, taken = 0;
	struct err e;

	if (!sb || len > b->size || offset > b->size - len)
		return;
	end = MIN((offset + len) / WIRE_PAGE, sb->todo.bits);
	if (first >= end ||
	    (h->dirty_clear && h->dirty_clear(h->opaque, b, &sb->todo, first, end - first, &e) < 0))
		return; /* they are sent, then */
	for (; first < end; first++) {
		if (b->dirty.words)
			bitmap_take(&b->dirty, first);
		taken += bitmap_take(&sb->todo, first);
	}
	__atomic_fetch_add(&job->progress.hinted_pages, taken, __ATOMIC_RELAXED);
}
