/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest at a part of the chipset; FUZZ_DEVICE names which, one program for each. The
 * whole chipset is there, so that what the part reaches (memory, interrupts, BARs, timers, the
 * functions behind root ports) is real. Whatever the guest does, nothing leaves guest memory (guard
 * pages and sanitizers watch), no timer fires for ever, every device saves a state that it takes
 * back, and no interrupt stays behind a reset.
 */
#include "fuzz/steps.h"

#include "device_round_trip.h"
#include "device_victim.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WINDOWS     6
#define RAM_TOUCHED 0x10000u
#define REQUEST_GPA 0x8000u

/**
 * struct window - Addresses that the guest tries
 * @bytes:	A power of two
 */
struct window {
	enum io_kind kind;
	uint64_t base;
	uint32_t bytes;
};

/**
 * struct part - A part of the chipset
 * @name:	FUZZ_DEVICE
 * @windows:	Where it is
 * @len:	How many of them
 */
static const struct part {
	const char *name;
	struct window windows[WINDOWS];
	size_t len;
} parts[] = {
	{"fw_cfg", {{IO_PORT, 0x510, 16}}, 1},
	{"ahci", {{IO_MEMORY, 0xfe801000, 4096}, {IO_PORT, 0xc040, 32}}, 2},
	{"hpet", {{IO_MEMORY, 0xfed00000, 1024}}, 1},
	{"pci",
	 {{IO_PORT, 0xcf8, 8},
	  {IO_MEMORY, 0xb0000000, 0x10000},
	  {IO_MEMORY, 0xb00f8000, 0x8000},
	  {IO_MEMORY, 0xb0100000, 0x10000},
	  {IO_MEMORY, 0xfe000000, 0x1000}},
	 5},
	{"lpc",
	 {{IO_PORT, 0x600, 128},
	  {IO_PORT, 0xb2, 2},
	  {IO_PORT, 0xcc0, 64},
	  {IO_PORT, 0xa00, 32},
	  {IO_MEMORY, 0xfed1c000, 0x4000},
	  {IO_PORT, 0xc000, 64}},
	 6},
	{"isa",
	 {{IO_PORT, 0x60, 8},
	  {IO_PORT, 0x70, 2},
	  {IO_PORT, 0x3f8, 8},
	  {IO_PORT, 0x5658, 4},
	  {IO_PORT, 0, 256}},
	 5},
};

static const struct part *part;

static const struct window *window_of(const struct step *s)
{
	return &part->windows[(s->how >> 2) % part->len];
}

static void do_write(void *guest, const struct step *s)
{
	struct victim *v = guest;
	const struct window *w = window_of(s);
	uint64_t at = w->base + s->where % w->bytes;

	if (w->kind == IO_PORT)
		port_out(v->b, (uint16_t)at, s->value, step_size(s, 4));
	else
		mem_out(v->b, at, s->value | (uint64_t)s->value << 32, step_size(s, 8));
}

static void do_read(void *guest, const struct step *s)
{
	struct victim *v = guest;
	const struct window *w = window_of(s);
	uint64_t at = w->base + s->where % w->bytes;

	if (w->kind == IO_PORT)
		port_in(v->b, (uint16_t)at, step_size(s, 4));
	else
		mem_in(v->b, at, step_size(s, 8));
}

/* The same write again and again fills queues and buffers. */
static void do_repeat(void *guest, const struct step *s)
{
	for (unsigned int i = 0; i < s->value % 64u; i++)
		do_write(guest, s);
}

static uint8_t *ram(struct victim *v, uint32_t gpa)
{
	return ram_find(&v->b->memory, "pc.ram")->hva + gpa % RAM_TOUCHED;
}

static void do_memory(void *guest, const struct step *s)
{
	store_le32(ram(guest, s->where & ~3u), s->value);
}

/* A whole DMA request to fw_cfg, so that not every try is spent on its byte order: low bits of @how
 * are what to do, @value has length and file. */
static void do_request(void *guest, const struct step *s)
{
	struct victim *v = guest;
	uint8_t *p = ram(v, REQUEST_GPA);

	store_be32(p, (s->value & 0xff) << 16 | (s->how & 0x1f));
	store_be32(p + 4, s->value >> 8);
	store_be64(p + 8, s->how & 0x80 ? 2 * MiB - s->where : s->where);
	port_out(v->b, 0x514, 0, 4);
	port_out(v->b, 0x518, htobe32(REQUEST_GPA), 4);
}

/* A chipset function's configuration space: BARs move, MSI is switched. */
static void do_config(void *guest, const struct step *s)
{
	static const uint8_t functions[] = {0x00, 0x08, 0xf8, 0xfa, 0xfb, 0x10};
	struct victim *v = guest;
	uint32_t at = functions[(s->how >> 2) % ARRAY_SIZE(functions)] << 8 | (s->where & 0xff);

	port_out(v->b, 0xcf8, 1u << 31 | (at & ~3u), 4);
	port_out(v->b, (uint16_t)(0xcfc + (at & 3)), s->value, step_size(s, 4));
}

static void do_set_up(void *guest, const struct step *s)
{
	victim_set_up(guest);
}

/* Timers and deferred work; a bounded number of events comes of what a guest can ask for. */
static void do_time(void *guest, const struct step *s)
{
	struct victim *v = guest;

	for (int i = 0; i < 16 && sd_event_run(loop_event(v->b->loop), 0) > 0; i++)
		;
}

static step_fn *const deeds[] = {do_write,  do_write,  do_read, do_memory, do_repeat,
				 do_config, do_set_up, do_time, do_request};

static void all_stand(struct victim *v)
{
	struct err e;

	for (size_t i = 0; i < v->len; i++)
		if (device_round_trip(v->devices[i], &e) < 0) {
			fprintf(stderr, "%s: %s\n", v->devices[i]->class->name, e.msg);
			abort();
		}
	for (size_t i = 0; i < v->len; i++)
		device_reset(v->devices[i]);
	for (size_t line = 0; line < ARRAY_SIZE(v->b->gsi); line++)
		if (v->b->gsi[line])
			abort();
}

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	The program
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct victim *v = victim_create(size + 1);

	for (part = parts; strcmp(part->name, FUZZ_DEVICE); part++)
		;
	victim_set_up(v);
	guest_clock_run(v->b->clock);
	steps_run(data, size, deeds, ARRAY_SIZE(deeds), NULL, v);
	guest_clock_stop(v->b->clock);
	all_stand(v);
	victim_destroy(v);
	return 0;
}
