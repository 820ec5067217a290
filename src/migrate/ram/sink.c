/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: pages that follow each other, in the stream and in the block, go from the
 * channel's buffer to guest RAM by one pwritev to the block's file: half as dear as copying through
 * the mapping, where each fresh page costs a fault. What the file can't take is copied. Huge pages
 * that are new are waited for until they are whole, and written, which saves clearing them. A
 * zero page is written only where there may be something else: the bitmap of touched pages begins
 * with what the file has as data, so that a fresh guest's RAM stays a hole where the source's was
 * empty.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "migrate/content/content.h"
#include "migrate/devices.h"
#include "migrate/multifd/multifd.h"
#include "migrate/ram/ram.h"
#include "migrate/ram/xbzrle.h"
#include "migrate/ram/zero.h"
#include "migrate/snapshot/lazy_room.h"
#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	RUN_PAGES = 64, /* as many as the channel's buffer holds */
	HUGE_PAGES = RAM_HUGE_BYTES /
		     WIRE_PAGE, /* in one page of the host's, where these are huge */
};

/* Marks the pages that the block's file has as data; all of them where the file can't say. */
static void mark_touched(struct ram_sink_block *sb)
{
	const struct ram_block *b = sb->block;
	off_t at = (off_t)b->fd_offset, end = at + (off_t)b->size, hole;

	while (at < end) {
		at = lseek(b->fd, at, SEEK_DATA);
		if (at < 0 && errno == ENXIO)
			return;
		hole = at < 0 ? -1 : lseek(b->fd, at, SEEK_HOLE);
		if (at < 0 || hole < 0) {
			bitmap_set_range(&sb->touched, 0, sb->touched.bits);
			return;
		}
		if (at < end)
			bitmap_set_range(&sb->touched,
					 (uint64_t)(at - (off_t)b->fd_offset) / WIRE_PAGE,
					 (uint64_t)(MIN(hole, end) - at) / WIRE_PAGE);
		at = hole;
	}
}

static int sink_block_begin(struct ram_sink_block *sb, struct ram_block *b, struct err *e)
{
	int ret = bitmap_create(&sb->touched, MAX(b->size, b->resizable_max) / WIRE_PAGE);

	if (ret < 0)
		return err_set(e, ENOMEM, "a bitmap for %s", b->name);
	sb->block = b;
	mark_touched(sb);
	return 0;
}

/**
 * ram_sink_begin() - Get ready to receive
 * @s:		Filled in; ram_sink_end() also after a failure
 * @job:	Stays while @s does
 * @e:		Set on failure only
 *
 * Errors: ENOMEM
 * Return: 0, or a negative errno
 */
int ram_sink_begin(struct ram_sink *s, struct migrate_job *job, struct err *e)
{
	const struct list *l;
	struct ram_block *b;
	size_t n = 0;
	int ret;

	*s = (struct ram_sink){.job = job};
	for (l = job->memory->blocks.next; l != &job->memory->blocks; l = l->next)
		n++;
	s->blocks = mem_calloc(n, sizeof(*s->blocks));
	list_for_each (b, &job->memory->blocks, link) {
		ret = sink_block_begin(&s->blocks[s->blocks_len], b, e);
		if (ret < 0)
			return ret;
		s->blocks_len++;
	}
	return 0;
}

/**
 * ram_sink_end() - Free what the receiving needed
 * @s:	Begun, or zeroed
 */
void ram_sink_end(struct ram_sink *s)
{
	size_t i;

	for (i = 0; i < s->blocks_len; i++)
		bitmap_destroy(&s->blocks[i].touched);
	free(s->blocks);
	*s = (struct ram_sink){0};
}

/**
 * ram_sink_find() - A block by its name
 * @s:		Begun
 * @name:	Of the block
 *
 * Return: NULL if there is none
 */
struct ram_sink_block *ram_sink_find(const struct ram_sink *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->blocks_len; i++)
		if (!strcmp(s->blocks[i].block->name, name))
			return &s->blocks[i];
	return NULL;
}

/* Reads a block's name and finds it. */
static struct ram_sink_block *get_block(struct ram_sink *s, struct err *e)
{
	struct channel *c = s->job->channel;
	struct ram_sink_block *sb;
	char name[256];
	uint8_t len = channel_get_u8(c);

	channel_get(c, name, len);
	name[len] = '\0';
	if (channel_check(c, e) < 0)
		return NULL;
	sb = ram_sink_find(s, name);
	if (!sb) {
		err_set(e, ENOENT, "ram/%s: there is no such block here", name);
		if (strchr(name, '/') && *name != '/')
			device_missing(e, false); /* the device's own memory, or its ROM */
	}
	return sb;
}

/* A block whose pages have fixed places in the file: reads them. */
static int get_mapped(struct ram_sink *s, struct ram_sink_block *sb, struct err *e)
{
	struct migrate_job *job = s->job;
	struct mapped_block *mb;
	int ret = mapped_get_block(job->mapped, job->channel, sb->block, &mb, e);

	if (ret < 0)
		return ret;
	mb->touched = &sb->touched;
	if (job->lazy && lazy_takes(sb->block))
		return lazy_add(job->lazy, e);
	ret = mapped_get_pages(job->mapped, mb, e);
	bitmap_or(&sb->touched, 0, mb->present.words, mb->present.bits);
	job->progress.normal_pages = job->mapped->normal_pages;
	return ret;
}

/* A ROM may be smaller over there: a snapshot's guest is taken with another firmware file here. */
static int get_block_size(struct ram_sink *s, struct ram_sink_block *sb, uint64_t *left,
			  struct err *e)
{
	struct channel *c = s->job->channel;
	struct ram_block *b = sb->block;
	uint64_t size = channel_get_be64(c), gpa;

	if (s->job->options.ignore_shared) {
		gpa = channel_get_be64(c);
		if (ram_block_skipped(s->job, b) && gpa != ram_block_gpa(s->job, b))
			return err_set(e, EINVAL,
				       "ram/%s: at %#" PRIx64 " there, at %#" PRIx64 " here",
				       b->name, gpa, ram_block_gpa(s->job, b));
	}
	if (channel_check(c, e) < 0)
		return -e->code;
	if (size > *left)
		return err_set(e, EINVAL,
			       "ram/%s: %" PRIu64 " bytes, more than all blocks together", b->name,
			       size);
	*left -= size;
	if (size == b->size)
		return 0;
	if (size % WIRE_PAGE || size > b->resizable_max || (!b->resizable && !b->readonly))
		return err_set(e, EINVAL, "ram/%s: %" PRIu64 " bytes offered, %" PRIu64 " here",
			       b->name, size, b->size);
	return ram_resize(s->job->memory, b, size, e);
}

static int get_blocks(struct ram_sink *s, uint64_t left, struct err *e)
{
	struct ram_sink_block *sb;
	int ret;

	s->job->progress.ram_bytes = left;
	while (left) {
		sb = get_block(s, e);
		ret = sb ? get_block_size(s, sb, &left, e) : -e->code;
		if (ret == 0 && s->job->options.mapped)
			ret = get_mapped(s, sb, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int get_xbzrle(struct ram_sink *s, uint8_t *page, struct err *e)
{
	struct channel *c = s->job->channel;
	uint8_t encoding = channel_get_u8(c);
	uint16_t len = channel_get_be16(c);
	uint8_t bytes[WIRE_PAGE];

	if (encoding != 1 || len > sizeof(bytes))
		return err_set(e, EINVAL, "ram: XBZRLE encoding %u, %u bytes", encoding, len);
	channel_get(c, bytes, len);
	if (xbzrle_apply(page, bytes, len) < 0)
		return err_set(e, EINVAL, "ram: a page's XBZRLE code is damaged");
	return 0;
}

/* A page that is here already, elsewhere. */
static int get_known(struct ram_sink *s, struct ram_sink_block *sb, uint64_t offset, struct err *e)
{
	struct migrate_job *job = s->job;
	uint8_t page[WIRE_PAGE];
	int ret;

	if (!job->content_agreed)
		return err_set(
			e, EINVAL,
			"ram: a known page (outlive-content-hashes), which wasn't agreed on");
	ret = content_record_get(job->channel, sb->block, job->content_file, page, e);
	if (ret < 0)
		return ret;
	bitmap_set(&sb->touched, offset / WIRE_PAGE);
	job->progress.content.pages++;
	return ram_put(sb->block, offset, &(struct iovec){page, WIRE_PAGE}, 1, e);
}

/**
 * ram_sink_fill() - A page of one value has come
 * @sb:		Its block
 * @offset:	Where in it
 * @fill:	The value of its bytes
 * @e:		Set on failure only
 *
 * Errors: as ram_reserve()
 * Return: 0, or a negative errno
 */
int ram_sink_fill(struct ram_sink_block *sb, uint64_t offset, uint8_t fill, struct err *e)
{
	uint8_t *page = sb->block->hva + offset;
	int ret;

	if (!fill && (!bitmap_test(&sb->touched, offset / WIRE_PAGE) || page_is_zero(page)))
		return 0;
	ret = ram_reserve(sb->block, offset, WIRE_PAGE, e);
	if (ret < 0)
		return ret;
	memset(page, fill, WIRE_PAGE);
	bitmap_set(&sb->touched, offset / WIRE_PAGE);
	return 0;
}

/* Small pages: a write to the file costs less than touching them. */
static int take_by_file(struct channel *c, const struct ram_block *b, uint64_t offset, uint64_t n,
			struct err *e)
{
	const uint8_t *bytes = channel_peek(c, n);
	int ret = 0;

	if (bytes)
		ret = ram_put(b, offset, &(struct iovec){(void *)(uintptr_t)bytes, n}, 1, e);
	channel_skip(c, n); /* latches that the stream ends */
	return ret;
}

/* Huge pages: read to where they are. */
static int take_in_place(struct channel *c, const struct ram_block *b, uint64_t offset, uint64_t n,
			 struct err *e)
{
	int ret = ram_reserve(b, offset, n, e);

	if (ret == 0)
		channel_get(c, b->hva + offset, n);
	return ret;
}

/**
 * ram_sink_take() - Read pages that follow each other, on the wire and in the block
 * @c:		Channel; the stream's or another. Failures are latched there
 * @sb:		Their block
 * @offset:	Of the first
 * @n:		How many
 */
void ram_sink_take(struct channel *c, struct ram_sink_block *sb, uint64_t offset, uint32_t n)
{
	const struct ram_block *b = sb->block;
	uint64_t end = offset + (uint64_t)n * WIRE_PAGE, part;
	struct err e;

	bitmap_set_range(&sb->touched, offset / WIRE_PAGE, n);
	for (; offset < end && !channel_failed(c); offset += part) {
		part = MIN(end - offset, (uint64_t)RUN_PAGES * WIRE_PAGE);
		if ((b->huge ? take_in_place : take_by_file)(c, b, offset, part, &e) < 0)
			channel_fail(c, &e);
	}
}

/**
 * ram_sink_is_new() - Does a huge page begin here that nothing has come for yet?
 * @sb:		Block
 * @offset:	Where
 *
 * Whoever brings all of it to ram_put() at once has it at half the price.
 */
bool ram_sink_is_new(const struct ram_sink_block *sb, uint64_t offset)
{
	uint64_t page = offset / WIRE_PAGE;

	return ram_puts_whole(sb->block, offset) &&
	       bitmap_next(&sb->touched, page) >= page + HUGE_PAGES;
}

/* Looks at bytes; those that haven't come are waited for only if they surely will. */
static const uint8_t *look(struct channel *c, size_t n, bool wait)
{
	const uint8_t *bytes;
	size_t have;

	if (wait)
		return channel_peek(c, n);
	bytes = channel_buffered(c, &have);
	return have >= n ? bytes : NULL;
}

/* How many pages follow each other, in the stream and in the block, the first of which is there. A
 * page is never the last record of its part, so the next one's first 8 bytes can be waited for. */
static int run_pages(struct channel *c, const struct ram_sink_block *sb, uint64_t offset)
{
	const uint64_t next = WIRE_RAM_PAGE | WIRE_RAM_CONTINUE;
	bool wait = ram_sink_is_new(sb, offset);
	int n = 1, max = wait ? HUGE_PAGES : RUN_PAGES;
	const uint8_t *bytes;
	size_t at = WIRE_PAGE;

	if (wait)
		channel_room(c, HUGE_PAGES * (8 + WIRE_PAGE));
	for (; n < max; at += 8 + WIRE_PAGE, n++) {
		uint64_t to = offset + (uint64_t)n * WIRE_PAGE;

		bytes = to < sb->block->size ? look(c, at + 8, wait) : NULL;
		if (!bytes || load_be64(bytes + at) != (to | next) ||
		    !look(c, at + 8 + WIRE_PAGE, wait))
			break;
	}
	return n;
}

/* Reads a page's content, and the pages behind it that continue it. */
static int get_run(struct ram_sink *s, struct ram_sink_block *sb, uint64_t offset, struct err *e)
{
	struct channel *c = s->job->channel;
	struct iovec pages[HUGE_PAGES];
	const uint8_t *bytes;
	size_t have;
	int n, i, ret;

	if (!channel_peek(c, WIRE_PAGE)) {
		channel_skip(c, WIRE_PAGE); /* latches that the stream ends */
		return 0;
	}
	n = run_pages(c, sb, offset);
	bytes = channel_buffered(c, &have);
	for (i = 0; i < n; i++)
		pages[i] = (struct iovec){(void *)(uintptr_t)(bytes + (size_t)i * (8 + WIRE_PAGE)),
					  WIRE_PAGE};
	ret = ram_put(sb->block, offset, pages, n, e);
	bitmap_set_range(&sb->touched, offset / WIRE_PAGE, (uint64_t)n);
	__atomic_fetch_add(&s->job->progress.normal_pages, (uint64_t)n, __ATOMIC_RELAXED);
	channel_skip(c, (size_t)n * (8 + WIRE_PAGE) - 8);
	return ret;
}

static int get_page(struct ram_sink *s, uint64_t offset, uint64_t flags, struct err *e)
{
	struct ram_sink_block *sb = flags & WIRE_RAM_CONTINUE ? s->last : get_block(s, e);
	int ret;

	if (!sb)
		return flags & WIRE_RAM_CONTINUE
			       ? err_set(e, EINVAL,
					 "ram: a page of the block before, and there is none")
			       : -e->code;
	if (offset >= sb->block->size)
		return err_set(e, EINVAL,
			       "ram/%s: a page at %#" PRIx64 ", the block ends at %#" PRIx64,
			       sb->block->name, offset, sb->block->size);
	s->last = sb;
	if (flags & WIRE_RAM_ZERO) {
		__atomic_fetch_add(&s->job->progress.zero_pages, 1, __ATOMIC_RELAXED);
		return ram_sink_fill(sb, offset, channel_get_u8(s->job->channel), e);
	}
	if (flags & WIRE_RAM_KNOWN)
		return get_known(s, sb, offset, e);
	if (!(flags & WIRE_RAM_XBZRLE))
		return get_run(s, sb, offset, e);
	bitmap_set(&sb->touched, offset / WIRE_PAGE);
	s->job->progress.normal_pages++;
	ret = ram_reserve(sb->block, offset, WIRE_PAGE, e);
	return ret < 0 ? ret : get_xbzrle(s, sb->block->hva + offset, e);
}

/* A source that writes these has no other sync points. Its first is in front of the first EOS. */
static int get_flush(struct ram_sink *s, struct err *e)
{
	if (!s->multifd)
		return err_set(e, ENOTSUP,
			       "ram: the source has several channels; set the capability multifd "
			       "here, too");
	s->per_round = true;
	return multifd_sink_sync(s->multifd, e);
}

static int get_record(struct ram_sink *s, uint64_t offset, uint64_t flags, struct err *e)
{
	switch (flags & ~(uint64_t)WIRE_RAM_CONTINUE) {
	case WIRE_RAM_MEM_SIZE: return get_blocks(s, offset, e);
	case WIRE_RAM_ZERO:
	case WIRE_RAM_PAGE:
	case WIRE_RAM_XBZRLE:
	case WIRE_RAM_KNOWN: return get_page(s, offset, flags, e);
	case WIRE_RAM_EOS: return s->per_round ? 0 : multifd_sink_sync(s->multifd, e);
	case WIRE_RAM_COMPRESS:
		return err_set(e, ENOTSUP,
			       "ram: compressed pages (capability compress) aren't supported: "
			       "send it again without (multifd can pack pages, by zstd)");
	case WIRE_RAM_MULTIFD_FLUSH: return get_flush(s, e);
	default: return err_set(e, EINVAL, "ram: record with unknown flags %#" PRIx64, flags);
	}
}

/**
 * ram_get() - Read one part of the RAM section
 * @s:	Sink
 * @e:	Says which block, and what about it
 *
 * Errors: ENOENT a block that isn't here; EINVAL sizes, addresses or records that can't be right;
 * ENOTSUP compressed pages; else as the channel or ram_resize()
 * Return: 0 behind the part's end
 * mark, or a negative errno
 */
int ram_get(struct ram_sink *s, struct err *e)
{
	const struct migrate_hooks *h = &s->job->hooks;
	struct channel *c = s->job->channel;
	uint64_t word, flags, records = 0;
	int ret;

	do {
		word = channel_get_be64(c);
		flags = word % WIRE_PAGE;
		ret = channel_check(c, e);
		if (ret == 0)
			ret = get_record(s, word - flags, flags, e);
		if (ret == 0)
			ret = channel_check(c, e);
		if (ret == 0 && ++records % 4096 == 0 && h->cancelled && h->cancelled(h->opaque))
			ret = err_set(e, ECANCELED, "cancelled");
	} while (ret == 0 && flags != WIRE_RAM_EOS);
	return ret;
}
