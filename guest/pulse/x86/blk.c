/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Blocks of 4 KiB that name themselves like the pages in memory do (core/page.c): block number,
 * sequence, life. Always as many requests in flight as asked for, writes and reads mixed, on random
 * blocks but never two on one block. The sequence that a completed write left on the disk is
 * recorded in memory; each read is checked against it. So what the disk lost, reverted, tore or
 * misplaced is found at the next read.
 */
#include "insn.h"
#include "virtio.h"

#define SECTOR      512
#define SLOTS_MAX   64
#define TYPE_IN     0
#define TYPE_OUT    1
#define PICK_TRIES  8
#define FAULT_BLOCK (1ull << 62) /* block numbers are kept apart from page numbers */

/** struct blk_head - Request header (virtio 1.2, 5.2.6) */
struct blk_head {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

/** struct slot - One request in flight; the device reads and writes @head, @status and the buffer
 */
struct slot {
	struct blk_head head;
	volatile uint8_t status;
	bool busy;
	uint64_t block;
	uint64_t seq;
	uint64_t submitted;
	uint64_t *buffer;
};

static struct {
	const struct clock *clock;
	struct pulse_device *out;
	struct virtq queue;
	struct slot slot[SLOTS_MAX];
	unsigned int depth;
	uint64_t blocks;
	uint32_t *shadow;
	uint64_t life;
	uint64_t random;
} blk;

static uint64_t random_below(uint64_t n)
{
	blk.random += 0x9e3779b97f4a7c15ull;
	return mix64(blk.random, blk.random >> 29) % n;
}

static bool in_flight(uint64_t block)
{
	for (unsigned int i = 0; i < blk.depth; i++)
		if (blk.slot[i].busy && blk.slot[i].block == block)
			return true;
	return false;
}

static struct page_name name_of(uint64_t block, uint64_t seq)
{
	return (struct page_name){.page = FAULT_BLOCK | block, .seq = seq, .life = blk.life};
}

static void check(const struct slot *s)
{
	struct page_name name = name_of(s->block, s->seq);
	struct pulse_fault fault;

	blk.out->in++;
	if (page_verify(s->buffer, &name, &fault))
		return;
	if (!blk.out->bad++) {
		blk.out->first_bad = s->block;
		blk.out->want = s->seq;
		blk.out->found = fault.found_seq;
	}
	blk.shadow[s->block] = 0; /* written anew before it is read again */
}

static void complete(struct slot *s)
{
	uint64_t ns = clock_ns(blk.clock, tsc() - s->submitted);

	if (ns > blk.out->longest_ns)
		blk.out->longest_ns = ns;
	s->busy = false;
	if (s->status) {
		blk.out->lost++;
		blk.shadow[s->block] = 0;
	} else if (s->head.type == TYPE_OUT) {
		blk.out->out++;
		blk.shadow[s->block] = (uint32_t)s->seq;
	} else {
		check(s);
	}
}

static void submit(unsigned int n, uint64_t block)
{
	struct slot *s = &blk.slot[n];
	uint32_t last = blk.shadow[block];
	bool write = !last || random_below(2);
	struct virtq_desc *desc = &blk.queue.desc[3 * n];

	s->block = block;
	s->seq = write ? last + 1 : last;
	s->head = (struct blk_head){.type = write ? TYPE_OUT : TYPE_IN,
				    .sector = block * (PAGE_BYTES / SECTOR)};
	s->status = 0xff;
	s->busy = true;
	if (write) {
		struct page_name name = name_of(block, s->seq);

		page_write(s->buffer, &name, PAGE_RANDOM);
	}
	desc[1].flags = write ? DESC_NEXT : DESC_NEXT | DESC_WRITE;
	s->submitted = tsc();
	virtq_offer(&blk.queue, (uint16_t)(3 * n));
}

static bool submit_next(void)
{
	for (unsigned int n = 0; n < blk.depth; n++) {
		if (blk.slot[n].busy)
			continue;
		for (int i = 0; i < PICK_TRIES; i++) {
			uint64_t block = random_below(blk.blocks);

			if (in_flight(block))
				continue;
			submit(n, block);
			return true;
		}
		return false;
	}
	return false;
}

static void slot_start(unsigned int n)
{
	struct slot *s = &blk.slot[n];
	struct virtq_desc *desc = &blk.queue.desc[3 * n];

	s->buffer = early_pages(1);
	desc[0] = (struct virtq_desc){(uintptr_t)&s->head, sizeof(s->head), DESC_NEXT,
				      (uint16_t)(3 * n + 1)};
	desc[1] = (struct virtq_desc){(uintptr_t)s->buffer, PAGE_BYTES, DESC_NEXT,
				      (uint16_t)(3 * n + 2)};
	desc[2] = (struct virtq_desc){(uintptr_t)&s->status, 1, DESC_WRITE, 0};
}

void blk_start(struct witness *w, struct vdev *d, struct pulse_device *out)
{
	uint64_t sectors = *(volatile uint32_t *)d->config |
			   (uint64_t) * (volatile uint32_t *)(d->config + 4) << 32;
	uint32_t features;

	blk.blocks = (w->args.blk_bytes < sectors * SECTOR ? w->args.blk_bytes : sectors * SECTOR) /
		     PAGE_BYTES;
	blk.depth = w->args.blk < SLOTS_MAX ? (unsigned int)w->args.blk : SLOTS_MAX;
	out->kind = 1;
	out->id = sectors;
	out->state = 2;
	if (!virtio_begin(d, 0, &features) || !virtq_open(d, 0, &blk.queue) ||
	    blk.blocks < 2 * blk.depth)
		return;
	if (blk.depth > blk.queue.size / 3u)
		blk.depth = blk.queue.size / 3u;
	for (unsigned int n = 0; n < blk.depth; n++)
		slot_start(n);
	virtio_ready(d);
	blk.shadow = early_pages((blk.blocks * sizeof(*blk.shadow) + PAGE_BYTES - 1) / PAGE_BYTES);
	blk.clock = &w->clock;
	blk.life = blk.random = w->report->life;
	out->depth = blk.depth;
	out->state = 1;
	blk.out = out;
}

bool blk_step(void)
{
	uint16_t head;
	uint32_t length;
	bool done;

	if (!blk.out)
		return false;
	done = virtq_take(&blk.queue, &head, &length);
	if (done)
		complete(&blk.slot[head / 3 % SLOTS_MAX]);
	return submit_next() || done;
}
