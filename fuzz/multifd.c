/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels beside the stream, damaged here and there: the input is a list of damages (steps.h),
 * since channels are mostly pages. The stream itself is a good one. The loader must refuse what
 * comes with a reason and without touching a device, or take the guest; nothing is written outside
 * of its memory (sanitizers watch), and nobody waits for what doesn't come.
 */
#include "migrate/multifd/multifd.h"
#include "migrate/wire.h"
#include "migrate_guest.h"
#include "steps.h"

#include <stdio.h>

enum { LANES = 2, PACKETS = 4, PAGES = 3 };

/**
 * struct lane - What one channel brings
 * @w:		Its bytes
 */
struct lane {
	struct state_writer w;
};

/**
 * struct lanes - All of them, and which is worked on
 */
struct lanes {
	struct lane all[LANES];
	unsigned int current;
};

static struct lane *current(struct lanes *l)
{
	return &l->all[l->current % LANES];
}

static void put_packet(struct lane *l, const struct multifd_packet *p)
{
	uint8_t bytes[MULTIFD_PACKET_BYTES];

	multifd_packet_put(p, bytes);
	state_put(&l->w, bytes, sizeof(bytes));
}

/* Pages as they are, or packed in the way of @codec. */
static void put_pages(struct lane *l, const struct multifd_codec_ops *ops, void *codec,
		      unsigned int n)
{
	static uint8_t pages[PAGES][WIRE_PAGE];
	struct multifd_packet p = {
		.flags = (ops ? ops->flag : 0) | MULTIFD_SYNC,
		.normal = PAGES,
		.zero = 1,
		.block = "pc.ram",
		.offset = {n * WIRE_PAGE, (n + 1) * WIRE_PAGE, 9 * WIRE_PAGE, 20 * WIRE_PAGE}};
	struct iovec iov[PAGES], piece = {pages, sizeof(pages)};
	struct err e;

	for (unsigned int i = 0; i < PAGES; i++) {
		memset(pages[i], (int)(n + i), WIRE_PAGE / 2);
		iov[i] = (struct iovec){pages[i], WIRE_PAGE};
	}
	if (ops && ops->pack(codec, iov, PAGES, &piece, &e) < 0)
		abort();
	p.payload = (uint32_t)piece.iov_len;
	put_packet(l, &p);
	state_put(&l->w, piece.iov_base, piece.iov_len);
}

static void lane_make(struct lane *l, unsigned int id, enum multifd_compression c)
{
	const struct multifd_codec_ops *ops = multifd_codec(c);
	struct multifd_hello h = {.id = (uint8_t)id};
	void *codec = ops ? ops->begin(true, 1) : NULL;
	uint8_t bytes[MULTIFD_HELLO_BYTES];

	multifd_hello_put(&h, bytes);
	state_put(&l->w, bytes, sizeof(bytes));
	for (unsigned int n = 0; n < PACKETS; n++)
		put_pages(l, ops, codec, n * 4 + id);
	if (ops)
		ops->end(codec);
}

/* To pack takes longer than all the rest of a try, and comes to the same each time. */
static void lane_copy(struct lane *l, unsigned int id, unsigned int how)
{
	static struct lane good[3][LANES];
	struct lane *from = &good[how][id];

	if (!from->w.len)
		lane_make(from, id, MULTIFD_NONE + how);
	state_put(&l->w, from->w.buf, from->w.len);
}

static void choose(void *lanes, const struct step *s)
{
	((struct lanes *)lanes)->current = s->how;
}

static void poke(void *lanes, const struct step *s)
{
	struct lane *l = current(lanes);
	size_t at = (s->where | (size_t)s->how << 16) % l->w.len;

	for (unsigned int i = 0; i < step_size(s, 4) && at + i < l->w.len; i++)
		l->w.buf[at + i] = (uint8_t)(s->value >> 8 * i);
}

/* In the first packet's head, where most of what is checked stands. */
static void poke_head(void *lanes, const struct step *s)
{
	struct lane *l = current(lanes);
	size_t at = s->where % (MULTIFD_HELLO_BYTES + 400);

	if (at + 4 <= l->w.len)
		store_be32(l->w.buf + at, s->value);
}

static void add_packet(void *lanes, const struct step *s)
{
	struct multifd_packet p = {
		.flags = s->how, .normal = s->where % (MULTIFD_PAGES + 1u), .payload = s->value};

	p.zero = (s->where >> 8) % (MULTIFD_PAGES - p.normal + 1u);
	if (!(s->how & MULTIFD_METHOD))
		p.payload = p.normal * WIRE_PAGE;
	snprintf(p.block, sizeof(p.block), "%s", s->value & 1 ? "pc.rom" : "pc.ram");
	for (unsigned int i = 0; i < MULTIFD_PAGES; i++)
		p.offset[i] = ((s->value >> 8) + i) % 70u * WIRE_PAGE;
	put_packet(current(lanes), &p);
	for (unsigned int i = 0; i < MIN(p.payload / WIRE_PAGE, 8U); i++)
		state_put(&current(lanes)->w, p.offset, WIRE_PAGE / 4);
}

static void cut(void *lanes, const struct step *s)
{
	struct lane *l = current(lanes);

	l->w.len -= s->where % l->w.len;
}

static void load(struct guest *to, const uint8_t *stream, size_t len, struct lanes *l)
{
	struct channel *channels[LANES], *c = channel_open_memory(stream, len);
	struct migrate_job job = guest_job(to, c);
	unsigned int before = to->applied;
	struct err e = {0};
	int ret;

	for (int i = 0; i < LANES; i++)
		channels[i] = channel_open_memory(l->all[i].w.buf, l->all[i].w.len);
	job.multifd = channels;
	job.multifd_len = job.options.multifd.channels = LANES;
	ret = migrate_load(&job, &e);
	if (ret < 0 ? !e.msg[0] || to->applied != before : to->applied != before + 2)
		abort();
	for (int i = 0; i < LANES; i++)
		channel_destroy(channels[i]);
	channel_destroy(c);
}

static struct channel *stream_make(void)
{
	struct guest *from = guest_create_used();
	struct channel *c = channel_open_memory(NULL, 0);
	struct migrate_job job = guest_job(from, c);
	struct err e;

	job.options.multifd.channels = LANES;
	if (migrate_save(&job, &e) < 0)
		abort();
	guest_destroy(from);
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	First how pages are packed, then damages
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static step_fn *const deeds[] = {poke_head, poke, add_packet, choose, cut};
	static struct guest *to;
	static struct channel *saved;
	struct lanes l = {0};
	const uint8_t *stream;
	size_t len;

	if (!size)
		return 0;
	if (!to) {
		saved = stream_make();
		to = guest_create();
	}
	for (unsigned int i = 0; i < LANES; i++)
		lane_copy(&l.all[i], i, data[0] % 3);
	steps_run(data + 1, size - 1, deeds, ARRAY_SIZE(deeds), NULL, &l);
	stream = channel_memory(saved, &len);
	load(to, stream, len, &l);
	for (int i = 0; i < LANES; i++)
		state_writer_destroy(&l.all[i].w);
	return 0;
}
