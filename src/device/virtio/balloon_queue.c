/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the balloon's queues (VIRTIO 1.2, 5.5.6). Inflating gives the host pages
 * back by punching holes into the shared file behind guest memory, so the pages read as zeros when
 * the guest takes them again; deflating needs nothing. Reported free pages likewise. The guest says
 * page numbers and ranges as it likes: only whole pages of writable RAM are touched, and a chain is
 * worked on in bounded bites.
 */
#include "device/virtio/balloon.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <linux/virtio_balloon.h>
#include <sys/mman.h>

#define PFN_SHIFT   12
#define PFN_BYTES   (1ULL << PFN_SHIFT)
#define BITE        256 /* page numbers copied in at once */

#define NUMBERS_MAX (64 * KiB) /* bytes of them worked on in a chain */
#define RANGES_FEW  32         /* free ranges of a chain; no driver gives more */

enum { INFLATE, DEFLATE, STATS };

/* Gives back what of [hva, hva+len) are whole pages of the block's file. */
static void punch(struct virtio_balloon *b, uint8_t *hva, uint64_t len)
{
	uint64_t offset, first, last;
	struct ram_block *block = memory_block_of(b->v.pci.dev.env->memory, hva, &offset);

	if (!block || block->readonly)
		return;
	first = ALIGN_UP(offset, block->page_bytes);
	last = ALIGN_DOWN(offset + len, block->page_bytes);
	if (first < last)
		madvise(block->hva + first, last - first, MADV_REMOVE);
}

/**
 * struct run - Consecutive page numbers
 * @gpa, @len:	Bytes
 */
struct run {
	gpa_t gpa;
	uint64_t len;
};

static void run_end(struct virtio_balloon *b, struct run *r)
{
	uint8_t *hva = NULL;

	if (r->len)
		hva = memory_ptr(b->v.pci.dev.env->memory, r->gpa, r->len, MEMORY_WRITE);
	if (hva)
		punch(b, hva, r->len);
	/* A run over the end of a window: page by page. */
	for (uint64_t at = 0; !hva && r->len > PFN_BYTES && at < r->len; at += PFN_BYTES) {
		uint8_t *page = memory_ptr(b->v.pci.dev.env->memory, r->gpa + at, PFN_BYTES,
					   MEMORY_WRITE);

		if (page)
			punch(b, page, PFN_BYTES);
	}
	r->len = 0;
}

static void run_add(struct virtio_balloon *b, struct run *r, gpa_t gpa)
{
	if (r->len && gpa == r->gpa + r->len) {
		r->len += PFN_BYTES;
		return;
	}
	run_end(b, r);
	*r = (struct run){gpa, PFN_BYTES};
}

/* Returns how many bytes of page numbers there were. */
static uint64_t inflate(struct virtio_balloon *b, const struct virtq_chain *c)
{
	uint8_t raw[BITE * 4];
	struct run r = {0, 0};
	uint64_t at = 0;
	size_t n;

	/* Drivers give 256 to 1024 numbers a chain; of far more the rest is passed over. */
	while (at < NUMBERS_MAX && (n = virtq_read(c, at, raw, sizeof(raw))) >= 4) {
		for (size_t i = 0; i + 4 <= n; i += 4)
			run_add(b, &r, (gpa_t)load_le32(raw + i) << PFN_SHIFT);
		at += n;
	}
	run_end(b, &r);
	return at;
}

static enum virtio_served page_one(struct virtio *v, struct virtqueue *q)
{
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));
	uint64_t numbers = 0;

	if (!c)
		return VIRTIO_EMPTY;
	if (q->index == INFLATE)
		numbers = inflate(balloon_of(v), c);
	virtqueue_push(q, c, 0);
	return numbers > BITE * 4 ? VIRTIO_LONG : VIRTIO_SERVED;
}

/**
 * balloon_stats_clear() - Forget the guest's statistics
 * @b:		The balloon
 */
void balloon_stats_clear(struct virtio_balloon *b)
{
	memset(b->stats, 0xff, sizeof(b->stats));
	b->stats_at_s = 0;
}

static void stats_read(struct virtio_balloon *b, const struct virtq_chain *c)
{
	uint8_t raw[10];
	uint64_t at = 0;

	balloon_stats_clear(b);
	for (int i = 0; i < 64 && virtq_read(c, at, raw, sizeof(raw)) == sizeof(raw); i++) {
		uint16_t tag = load_le16(raw);

		if (tag < BALLOON_STATS)
			b->stats[tag] = load_le64(raw + 2);
		at += sizeof(raw);
	}
	b->stats_at_s = time_wall_ns() / NS_PER_SEC;
}

/* The driver gives one buffer and gets it back when we want new numbers. */
static enum virtio_served stats_one(struct virtio *v, struct virtqueue *q)
{
	struct virtio_balloon *b = balloon_of(v);
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));

	if (!c)
		return VIRTIO_EMPTY;
	stats_read(b, c);
	if (b->stats_chain)
		virtqueue_push(q, b->stats_chain, 0);
	b->stats_chain = c;
	return VIRTIO_SERVED;
}

/**
 * balloon_stats_ask() - Give the statistics buffer back, so that the driver fills it anew
 * @b:		The balloon; owner
 */
void balloon_stats_ask(struct virtio_balloon *b)
{
	struct virtqueue *q = &b->v.queues[STATS].vq;

	if (!b->stats_chain || !virtio_servable(&b->v, q))
		return;
	virtio_complete(&b->v, q, b->stats_chain, 0);
	b->stats_chain = NULL;
}

static void hint_command(struct virtio_balloon *b, const struct virtq_chain *c)
{
	uint8_t raw[4];
	uint32_t id;

	if (virtq_read(c, 0, raw, 4) < 4)
		return;
	id = load_le32(raw);
	if (b->hint_status == BALLOON_HINT_REQUESTED && id == b->hint_id)
		b->hint_status = BALLOON_HINT_START;
	else if (b->hint_status == BALLOON_HINT_START)
		b->hint_status = BALLOON_HINT_STOP;
}

static void each_free_range(struct virtio_balloon *b, const struct virtq_chain *c, bool report)
{
	for (unsigned int i = c->out_len; i < (unsigned int)c->out_len + c->in_len; i++) {
		uint64_t offset;
		struct ram_block *block = memory_block_of(b->v.pci.dev.env->memory,
							  c->iov[i].iov_base, &offset);

		if (report)
			punch(b, c->iov[i].iov_base, c->iov[i].iov_len);
		else if (block && b->hint)
			b->hint(b->hint_opaque, block, offset, c->iov[i].iov_len);
	}
}

/* A driver that has agreed on a pattern wants to find it, or zeros, in the pages that come back. */
static enum virtio_served hint_one(struct virtio *v, struct virtqueue *q)
{
	struct virtio_balloon *b = balloon_of(v);
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));
	bool many;

	if (!c)
		return VIRTIO_EMPTY;
	many = c->in_len > 1;
	if (c->out_len)
		hint_command(b, c);
	if (c->in_len && b->hint_status == BALLOON_HINT_START &&
	    !virtio_has(v, VIRTIO_BALLOON_F_PAGE_POISON))
		each_free_range(b, c, false);
	virtqueue_push(q, c, 0);
	return many ? VIRTIO_LONG : VIRTIO_SERVED;
}

/* A guest that wants its pattern in free pages would not find it in a hole. */
static enum virtio_served report_one(struct virtio *v, struct virtqueue *q)
{
	struct virtio_balloon *b = balloon_of(v);
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));
	bool many;

	if (!c)
		return VIRTIO_EMPTY;
	many = c->in_len > RANGES_FEW;
	if (!b->poison)
		each_free_range(b, c, true);
	virtqueue_push(q, c, 0);
	return many ? VIRTIO_LONG : VIRTIO_SERVED;
}

/**
 * balloon_kick() - Device op
 * @v:		The balloon; owner
 * @q:		The queue
 */
void balloon_kick(struct virtio *v, struct virtqueue *q)
{
	const struct virtio_balloon *b = balloon_of(v);

	if (q->index == STATS)
		virtio_serve(v, q, stats_one);
	else if (b->hint_queue && q->index == b->hint_queue)
		virtio_serve(v, q, hint_one);
	else if (b->report_queue && q->index == b->report_queue)
		virtio_serve(v, q, report_one);
	else
		virtio_serve(v, q, page_one);
}

/**
 * balloon_quiesce() - Device op: the statistics buffer goes back into the ring, to be taken again
 * @v:		The balloon; owner
 */
void balloon_quiesce(struct virtio *v)
{
	struct virtio_balloon *b = balloon_of(v);

	if (b->stats_chain)
		virtqueue_unpop(&v->queues[STATS].vq, b->stats_chain);
	b->stats_chain = NULL;
}
