/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest that writes anything anywhere. The whole chipset with two root ports
 * gets random accesses to its ports, memory and configuration spaces; timers run in between.
 * Nothing may crash (the sanitizers watch), stall or fire for ever, and every device's state must
 * still be one that its own table saves, loads and judges.
 *
 * The sequence follows from a seed, printed when a run fails.
 */
#include "device_round_trip.h"
#include "device_victim.h"

#define ACCESSES 300000

static uint16_t some_port(struct victim *v)
{
	static const uint16_t bases[] = {0x00,  0x08,  0x60,  0x64,  0x61,  0x70,   0x80,   0x92,
					 0xb2,  0x3f8, 0x505, 0x510, 0x514, 0x600,  0x660,  0xa00,
					 0xcc0, 0xcd8, 0xcf8, 0xcf9, 0xcfc, 0x5658, 0xc000, 0xc040};

	return (uint16_t)(bases[victim_random(v) % ARRAY_SIZE(bases)] + victim_random(v) % 16);
}

static void port_access(struct victim *v)
{
	unsigned int size = 1u << victim_random(v) % 3,
		     times = victim_random(v) % 32 ? 1 : victim_random(v) % 64;
	uint16_t port = some_port(v);
	bool in = victim_random(v) & 1;

	while (times--) /* the same one again fills queues and buffers */
		if (in)
			port_in(v->b, port, size);
		else
			port_out(v->b, port, (uint32_t)victim_random(v), size);
}

static void config_access(struct victim *v)
{
	static const uint8_t functions[] = {0x00, 0x08, 0x10, 0xf8, 0xfa, 0xfb};
	uint32_t at = functions[victim_random(v) % ARRAY_SIZE(functions)] << 8 |
		      (uint32_t)victim_random(v) % 256;

	if (victim_random(v) % 8 == 0)
		at |= 1u << 16;
	port_out(v->b, 0xcf8, 1u << 31 | (at & ~3u), 4);
	port_out(v->b, (uint16_t)(0xcfc + (at & 3)), (uint32_t)victim_random(v),
		 1u << victim_random(v) % 3);
}

static void memory_access(struct victim *v)
{
	static const uint64_t bases[] = {0xfed00000, 0xfed1c000, 0xb0000000, 0xb00f8000,
					 0xe0000000, 0xfe000000, 0xfe801000};
	uint64_t at = bases[victim_random(v) % ARRAY_SIZE(bases)] + victim_random(v) % 0x4000;
	unsigned int size = 1u << victim_random(v) % 4;

	if (victim_random(v) & 1)
		mem_in(v->b, at, size);
	else
		mem_out(v->b, at, victim_random(v), size);
}

static void run(struct victim *v)
{
	guest_clock_run(v->b->clock);
	for (int i = 0; i < ACCESSES; i++) {
		if (i % 5000 == 0)
			victim_set_up(v);
		if (i % 64 == 0)
			config_access(v);
		else if (i & 1)
			port_access(v);
		else
			memory_access(v);
		if (i % 500 == 0)
			sd_event_run(loop_event(v->b->loop), 0);
	}
	guest_clock_stop(v->b->clock);
}

static void anything_anywhere_is_survived(void **state)
{
	static const uint64_t seeds[] = {0x9e3779b97f4a7c15, 0xdeadbeefcafef00d,
					 0x0123456789abcdef};

	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		struct err e;
		struct victim *v = victim_create(seeds[i]);

		print_message("seed %#jx\n", (uintmax_t)seeds[i]);
		run(v);
		for (size_t d = 0; d < v->len; d++)
			assert_ok(device_round_trip(v->devices[d], &e), &e);
		for (size_t d = 0; d < v->len; d++)
			device_reset(v->devices[d]);
		for (int line = 0; line < 24; line++)
			assert_false(v->b->gsi[line]);
		victim_destroy(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anything_anywhere_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
