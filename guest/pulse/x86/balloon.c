/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * What the witness gives away are the last pages of the share of the vCPU that drives the devices:
 * nobody else touches them. It gives them to the balloon when that is made larger, and tells of
 * them as free when a migration asks (free-page hints): in pieces, each forgotten before it is
 * told. When a piece comes back, its first page is used again at once: written and from then on
 * checked. Such a page must arrive, however little time there was between the hint and the write.
 *
 * Only the first question of a migration finds pages; later ones are answered with none.
 */
#include "insn.h"
#include "virtio.h"

#define FEATURES    (1u << 1 | 1u << 3) /* statistics (never given), free-page hints */
#define HINT_QUEUE  3
#define PIECE_PAGES 16
#define DEPTH       64
#define COMMAND     DEPTH /* descriptors behind those of pieces: a question is answered, no more */
#define NO_MORE     (DEPTH + 1)
#define ID_MIN      0x80000000u
#define LOOKS       200 /* at the configuration, a second */
#define PFNS        256

/** struct balloon_config - VIRTIO 1.2, 5.5.4 */
struct balloon_config {
	uint32_t wanted, actual, hint_id;
};

static struct {
	struct witness *w;
	struct worker *worker;
	struct pulse_device *out;
	volatile struct balloon_config *config;
	struct virtq inflate, hints;
	struct pace look;
	uint64_t next, end; /* pages that weren't given away yet */
	uint64_t piece[DEPTH];
	bool busy[DEPTH], inflating, hinting, has_hints;
	uint32_t command, no_more, lent, lending, seen;
	uint32_t *pfns;
} balloon;

void balloon_start(struct witness *w, struct vdev *d, struct pulse_device *out)
{
	uint32_t features;

	out->kind = 3;
	out->state = 2;
	if (!virtio_begin(d, FEATURES, &features) || !virtq_open(d, 0, &balloon.inflate))
		return;
	balloon.has_hints = features >> 3 & 1 && virtq_open(d, HINT_QUEUE, &balloon.hints) &&
			    balloon.hints.size > NO_MORE;
	virtio_ready(d);
	balloon.pfns = early_pages(1);
	balloon.config = (volatile struct balloon_config *)d->config;
	balloon.w = w;
	out->state = 1;
	balloon.out = out;
}

/* Memory has been divided: takes the end of our worker's share. */
static void take_memory(void)
{
	struct witness *w = balloon.w;
	uint64_t pages = w->args.balloon / PAGE_BYTES;

	balloon.worker = &w->worker[w->report->cpus - 1];
	balloon.end = balloon.worker->rest.first + balloon.worker->rest.count;
	balloon.next = balloon.end - (pages < balloon.worker->rest.count ? pages : 0);
	pace_set(&balloon.look, &w->clock, LOOKS);
}

/* The next pages in one piece of memory, at most @n; sets where they begin. */
static uint64_t give(uint64_t n, uint64_t *gpa)
{
	uint64_t first = balloon.next, count = 0, at;

	memory_page(&balloon.w->memory, first, gpa);
	for (; count < n && balloon.next < balloon.end; count++, balloon.next++) {
		memory_page(&balloon.w->memory, balloon.next, &at);
		if (at != *gpa + count * PAGE_BYTES)
			break;
		worker_forget(balloon.worker, balloon.next);
	}
	return count;
}

static void send_command(unsigned int slot, uint32_t *word, uint32_t value)
{
	*word = value;
	balloon.hints.desc[slot] = (struct virtq_desc){(uintptr_t)word, sizeof(*word), 0, 0};
	virtq_offer(&balloon.hints, (uint16_t)slot);
}

static bool hint_next(void)
{
	unsigned int slot = 0;
	uint64_t gpa, n;

	if (!balloon.hinting)
		return false;
	if (balloon.next == balloon.end) {
		balloon.hinting = false;
		send_command(NO_MORE, &balloon.no_more, 0);
		return true;
	}
	while (slot < DEPTH && balloon.busy[slot])
		slot++;
	if (slot == DEPTH)
		return false;
	balloon.piece[slot] = balloon.next;
	n = give(PIECE_PAGES, &gpa);
	balloon.busy[slot] = true;
	balloon.out->out += n;
	balloon.hints.desc[slot] = (struct virtq_desc){gpa, (uint32_t)(n * PAGE_BYTES), DESC_WRITE,
						       0};
	virtq_offer(&balloon.hints, (uint16_t)slot);
	return true;
}

/* A piece comes back: its first page is in use from now on. */
static bool take_piece(void)
{
	uint16_t head;
	uint32_t length;

	if (!balloon.has_hints || !virtq_take(&balloon.hints, &head, &length))
		return false;
	if (head < DEPTH) {
		worker_write(balloon.worker, balloon.piece[head]);
		balloon.busy[head] = false;
		balloon.out->in++;
	}
	return true;
}

static bool inflate_next(uint32_t wanted)
{
	uint64_t gpa, n;

	if (balloon.inflating || wanted <= balloon.lent || balloon.next == balloon.end)
		return false;
	n = give(wanted - balloon.lent < PFNS ? wanted - balloon.lent : PFNS, &gpa);
	for (uint64_t i = 0; i < n; i++)
		balloon.pfns[i] = (uint32_t)(gpa / PAGE_BYTES + i);
	balloon.lending = (uint32_t)n;
	balloon.inflating = true;
	balloon.inflate.desc[0] = (struct virtq_desc){(uintptr_t)balloon.pfns, (uint32_t)(n * 4), 0,
						      0};
	virtq_offer(&balloon.inflate, 0);
	return true;
}

static bool inflated(void)
{
	uint16_t head;
	uint32_t length;

	if (!balloon.inflating || !virtq_take(&balloon.inflate, &head, &length))
		return false;
	balloon.inflating = false;
	balloon.lent += balloon.lending;
	balloon.out->lent = balloon.lent;
	balloon.config->actual = balloon.lent;
	return true;
}

static bool look(void)
{
	uint64_t ignored = 0;
	uint32_t id;

	if (!pace_due(&balloon.look, &balloon.w->clock, &ignored))
		return false;
	id = balloon.config->hint_id;
	if (balloon.has_hints && !balloon.hinting && id >= ID_MIN && id != balloon.seen) {
		balloon.seen = id;
		send_command(COMMAND, &balloon.command, id);
		balloon.hinting = true;
	}
	return inflate_next(balloon.config->wanted);
}

bool balloon_step(void)
{
	bool done;

	if (!balloon.out || balloon.w->report->state != PULSE_RUNNING)
		return false;
	if (!balloon.worker)
		take_memory();
	done = take_piece();
	done = inflated() || done;
	done = look() || done;
	return hint_next() || done;
}
