/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each chipset device by itself, through its registers, against its data
 * sheet.
 */
#include "device/classes.h"
#include "device/fw_cfg.h"
#include "device/hpet.h"
#include "device/i8042.h"
#include "device/rtc.h"
#include "device_env.h"
#include "machine/q35/lpc.h"

#include <time.h>

static void serial_sends_and_interrupts(void **state)
{
	struct bench *b = bench_create();
	struct device *dev = device_create(&serial_class, &b->env);
	struct err e;

	test_char.out_len = 0;
	assert_ok(device_set(dev, "chardev", "c0", &e), &e);
	bench_realize(b, dev);
	assert_int_equal(port_in(b, 0x3fd, 1), 0x60);
	port_out(b, 0x3f9, 0x02, 1); /* transmitter empty */
	assert_true(b->gsi[4]);
	assert_int_equal(port_in(b, 0x3fa, 1), 0x02);
	assert_false(b->gsi[4]); /* reading the id acknowledges it */
	port_out(b, 0x3f8, 'x', 1);
	assert_int_equal(test_char.out_len, 1);
	assert_int_equal(test_char.out[0], 'x');
	test_char.room = 0;
	port_out(b, 0x3f8, 'y', 1);
	assert_int_equal(port_in(b, 0x3fd, 1) & 0x40, 0); /* waits in the shift register */
	test_char.room = SIZE_MAX;
	test_char.front.writable(test_char.front.opaque);
	assert_int_equal(test_char.out[1], 'y');
	assert_int_equal(port_in(b, 0x3fd, 1), 0x60);
	device_destroy(dev);
	bench_destroy(b);
}

static void serial_receives_at_the_trigger_level(void **state)
{
	static const uint8_t text[] = "abcdefgh";
	struct bench *b = bench_create();
	struct device *dev = device_create(&serial_class, &b->env);
	struct err e;

	assert_ok(device_set(dev, "chardev", "c0", &e), &e);
	bench_realize(b, dev);
	port_out(b, 0x3fa, 0x81, 1); /* FIFO, trigger at 8 */
	port_out(b, 0x3f9, 0x01, 1);
	assert_int_equal(test_char.front.can_receive(test_char.front.opaque), 8);
	test_char.front.receive(test_char.front.opaque, text, 7);
	assert_false(b->gsi[4]);
	test_char.front.receive(test_char.front.opaque, text + 7, 1);
	assert_true(b->gsi[4]);
	for (int i = 0; i < 8; i++)
		assert_int_equal(port_in(b, 0x3f8, 1), text[i]);
	assert_false(b->gsi[4]);
	assert_int_equal(port_in(b, 0x3fd, 1) & 1, 0);
	device_destroy(dev);
	bench_destroy(b);
}

static uint8_t cmos_in(struct bench *b, uint8_t reg)
{
	port_out(b, 0x70, reg, 1);
	return (uint8_t)port_in(b, 0x71, 1);
}

static void cmos_out(struct bench *b, uint8_t reg, uint8_t value)
{
	port_out(b, 0x70, reg, 1);
	port_out(b, 0x71, value, 1);
}

static void rtc_tells_the_time_and_takes_it(void **state)
{
	struct bench *b = bench_create();
	struct rtc *d = bench_device(b, &rtc_class);

	rtc_set_time(d, 951782399); /* 2000-02-28 23:59:59 UTC, a leap year */
	cmos_out(b, 0x0b, 0x82);    /* SET: stands still */
	assert_int_equal(cmos_in(b, 9), 0x00);
	assert_int_equal(cmos_in(b, 8), 0x02);
	assert_int_equal(cmos_in(b, 7), 0x28);
	assert_int_equal(cmos_in(b, 0x32), 0x20);
	cmos_out(b, 4, 0x12);
	cmos_out(b, 0x0b, 0x06); /* runs again; binary from here on */
	assert_int_equal(cmos_in(b, 0x37), 20);
	assert_int_equal(cmos_in(b, 4), 12);
	assert_int_equal(b->request, MACHINE_RTC_SET);
	assert_in_range(rtc_change_s(d) + 11 * 3600 + 1, 0, 2); /* a second begins in between */
	cmos_out(b, 0x0b, 0x86);
	cmos_out(b, 9, 69);
	cmos_out(b, 0x32, 19); /* before the epoch */
	cmos_out(b, 0x0b, 0x06);
	assert_int_equal(cmos_in(b, 9), 69);
	assert_int_equal(cmos_in(b, 0x32), 19);
	device_destroy(&d->dev);
	bench_destroy(b);
}

static void on_tick(void *opaque)
{
	*(bool *)opaque = true;
}

static void rtc_interrupts_periodically(void **state)
{
	struct bench *b = bench_create();
	struct rtc *d = bench_device(b, &rtc_class);
	bool late = false;
	struct timer *limit = timer_create_guest(b->clock, on_tick, &late, NULL);

	guest_clock_run(b->clock);
	timer_arm_ns(limit, guest_clock_now_ns(b->clock) + NS_PER_SEC);
	cmos_out(b, 0x0a, 0x26); /* 1024 Hz */
	cmos_out(b, 0x0b, 0x42);
	while (!b->gsi[8] && !late)
		sd_event_run(loop_event(b->loop), 10000);
	assert_true(b->gsi[8]);
	assert_int_equal(cmos_in(b, 0x0c) & 0xc0, 0xc0);
	assert_false(b->gsi[8]);
	timer_destroy(limit);
	device_destroy(&d->dev);
	bench_destroy(b);
}

static void keyboard_controller_tests_itself(void **state)
{
	struct bench *b = bench_create();
	struct ps2_keyboard *k = bench_device(b, &ps2_keyboard_class);
	struct ps2_mouse *m = bench_device(b, &ps2_mouse_class);
	struct i8042 *d = (struct i8042 *)device_create(&i8042_class, &b->env);

	d->keyboard = k;
	d->mouse = m;
	bench_realize(b, &d->dev);
	port_out(b, 0x64, 0xaa, 1);
	assert_int_equal(port_in(b, 0x64, 1) & 1, 1);
	assert_int_equal(port_in(b, 0x60, 1), 0x55);
	port_out(b, 0x60, 0xf2, 1); /* identify */
	assert_true(b->gsi[1]);
	assert_int_equal(port_in(b, 0x60, 1), 0xfa);
	port_out(b, 0x64, 0xd4, 1);
	port_out(b, 0x60, 0xff, 1); /* mouse: reset */
	assert_int_equal(m->s.queue.count, 3);
	port_out(b, 0x64, 0xfe, 1);
	assert_int_equal(b->request, MACHINE_RESET);
	device_destroy(&d->dev);
	device_destroy(&m->dev);
	device_destroy(&k->dev);
	bench_destroy(b);
}

/* Runs until some ticks of 1024 Hz have found the one before unread. */
static void ticks_miss(struct bench *b, struct rtc *d)
{
	while (d->s.irq_coalesced < 5)
		sd_event_run(loop_event(b->loop), 10000);
	assert_true(b->gsi[8]);
}

static void rtc_ticks_that_a_guest_missed_come_later(void **state)
{
	struct bench *b = bench_create();
	struct rtc *d = (struct rtc *)device_create(&rtc_class, &b->env);
	uint32_t owed;

	d->lost_ticks = RTC_SLEW;
	bench_realize(b, &d->dev);
	guest_clock_run(b->clock);
	cmos_out(b, 0x0a, 0x26);
	cmos_out(b, 0x0b, 0x42);
	ticks_miss(b, d);
	owed = d->s.irq_coalesced;
	for (uint32_t i = 1; i <= owed && i <= 20; i++) { /* as soon as the last one is read */
		assert_int_equal(cmos_in(b, 0x0c) & 0xc0, 0xc0);
		assert_int_equal(d->s.irq_coalesced, owed - i);
		assert_true(b->gsi[8]);
	}
	ticks_miss(b, d);
	cmos_out(b, 0x0a, 0x27); /* half as fast: half as many */
	assert_in_range(d->s.irq_coalesced, 2, INT32_MAX);
	rtc_forget_ticks(d);
	cmos_in(b, 0x0c);
	assert_false(b->gsi[8]);
	ticks_miss(b, d);
	cmos_out(b, 0x0b, 0x02);
	assert_int_equal(d->s.irq_coalesced, 0);
	device_destroy(&d->dev);
	bench_destroy(b);
}

static void rtc_ticks_that_a_guest_missed_are_lost_by_default(void **state)
{
	struct bench *b = bench_create();
	struct rtc *d = bench_device(b, &rtc_class);
	int64_t first;

	guest_clock_run(b->clock);
	cmos_out(b, 0x0a, 0x26);
	cmos_out(b, 0x0b, 0x42);
	first = d->s.next_periodic;
	while (d->s.next_periodic < first + 20 * NS_PER_MS)
		sd_event_run(loop_event(b->loop), 10000);
	cmos_in(b, 0x0c);
	assert_false(b->gsi[8]);
	device_destroy(&d->dev);
	bench_destroy(b);
}

/* The bytes that wait, in hex. */
static const char *typed(struct ps2_keyboard *k)
{
	static char text[64];
	size_t at = 0;

	text[0] = '\0';
	while (k->s.queue.count)
		at += (size_t)snprintf(text + at, sizeof(text) - at, at ? " %02x" : "%02x",
				       ps2_keyboard_read(k));
	return text;
}

static const char *type(struct ps2_keyboard *k, const char *key, bool down)
{
	ps2_keyboard_key(k, ps2_key_find(key), down);
	return typed(k);
}

static void keys_have_a_code_in_each_set(void **state)
{
	struct bench *b = bench_create();
	struct ps2_keyboard *k = bench_device(b, &ps2_keyboard_class);

	assert_string_equal(type(k, "a", true), "1c");
	assert_string_equal(type(k, "a", false), "f0 1c");
	assert_string_equal(type(k, "delete", false), "e0 f0 71");
	assert_string_equal(type(k, "pause", true), "e1 14 77 e1 f0 14 f0 77");
	k->s.translate = 1;
	assert_string_equal(type(k, "a", true), "1e");
	assert_string_equal(type(k, "delete", false), "e0 d3");
	assert_string_equal(type(k, "pause", true), "e1 1d 45 e1 9d c5");
	assert_string_equal(type(k, "alt", true), "38");
	assert_string_equal(type(k, "print", true), "b8 38 54");
	assert_string_equal(type(k, "alt", false), "b8");
	k->s.translate = 0;
	k->s.scancode_set = 1;
	assert_string_equal(type(k, "delete", false), "e0 d3");
	assert_string_equal(type(k, "print", true), "e0 2a e0 37");
	k->s.scancode_set = 3;
	assert_string_equal(type(k, "delete", false), "f0 64");
	k->s.scan_enabled = 0;
	assert_string_equal(type(k, "a", true), "");
	assert_ptr_equal(ps2_key_numbered(0xd3), ps2_key_find("delete"));
	assert_null(ps2_key_find("delet"));
	device_destroy(&k->dev);
	bench_destroy(b);
}

static void hpet_counts_and_fires_once(void **state)
{
	struct bench *b = bench_create();
	struct hpet *h = bench_device(b, &hpet_class);
	uint64_t first;

	assert_int_equal(mem_in(b, 0xfed00000, 8), 0x009896808086a201);
	mem_out(b, 0xfed00010, 1, 4);
	guest_clock_run(b->clock);
	first = mem_in(b, 0xfed000f0, 8);
	mem_out(b, 0xfed00100, 0x0004 | 16 << 9, 4); /* enabled, edge, input 16 */
	mem_out(b, 0xfed00108, (first + 1000) & 0xffffffff, 4);
	for (int i = 0; i < 100 && !b->raised[16]; i++)
		sd_event_run(loop_event(b->loop), 10000);
	assert_int_equal(b->raised[16], 1);
	assert_true(mem_in(b, 0xfed000f0, 8) >= first + 1000);
	device_destroy(&h->dev);
	bench_destroy(b);
}

/* A period of one tick must neither spin nor starve. */
static void hpet_bounds_a_tiny_period(void **state)
{
	struct bench *b = bench_create();
	struct hpet *h = bench_device(b, &hpet_class);
	int64_t start;

	mem_out(b, 0xfed00100, 0x004c | 16 << 9, 4);
	mem_out(b, 0xfed00108, 1, 4);
	mem_out(b, 0xfed00108, 1, 4);
	guest_clock_run(b->clock);
	mem_out(b, 0xfed00010, 1, 4);
	start = guest_clock_now_ns(b->clock);
	while (guest_clock_now_ns(b->clock) < start + 20 * NS_PER_MS)
		sd_event_run(loop_event(b->loop), 1000);
	assert_in_range(b->raised[16], 2, 450);
	device_destroy(&h->dev);
	bench_destroy(b);
}

static struct lpc *lpc_create(struct bench *b)
{
	static const uint32_t cpu = 0;
	struct lpc *l = (struct lpc *)device_create(&lpc_class, &b->env);

	lpc_set_cpus(l, &cpu, 1, 1);
	bench_realize(b, &l->pci.dev);
	pci_config_write(&l->pci, 0x40, 0x600, 4);
	pci_config_write(&l->pci, 0x44, 0x80, 1);
	return l;
}

static void power_management_works(void **state)
{
	struct bench *b = bench_create();
	struct lpc *l = lpc_create(b);
	uint32_t before;

	guest_clock_run(b->clock);
	before = port_in(b, 0x608, 4);
	while (port_in(b, 0x608, 4) == before)
		;
	lpc_power_button(l);
	assert_false(b->gsi[9]); /* nobody listens */
	port_out(b, 0x602, 0x0100, 2);
	lpc_power_button(l);
	assert_true(b->gsi[9]);
	port_out(b, 0x600, 0x0100, 2);
	assert_false(b->gsi[9]);
	lpc_gpe_event(l, GPE_PCI_HOTPLUG);
	port_out(b, 0x628, 0x02, 1);
	assert_true(b->gsi[9]);
	port_out(b, 0x620, 0x02, 1);
	assert_false(b->gsi[9]);
	port_out(b, 0x604, 0x2000, 2);
	assert_int_equal(b->request, MACHINE_POWEROFF);
	port_out(b, 0xcf9, 0x06, 1);
	assert_int_equal(b->request, MACHINE_RESET);
	device_destroy(&l->pci.dev);
	bench_destroy(b);
}

static void watchdog_acts_at_the_second_timeout(void **state)
{
	struct bench *b = bench_create();
	struct lpc *l = lpc_create(b);

	l->noreboot = false;
	pci_config_write(&l->pci, 0xf0, 0xfed1c001, 4);
	mem_out(b, 0xfed1f410, 0, 4); /* NO_REBOOT off */
	port_out(b, 0x672, 2, 2);
	port_out(b, 0x660, 1, 2);
	assert_true(timer_pending(l->tco_timer));
	tco_expired(l);
	assert_int_equal(b->request, 0);
	assert_int_equal(port_in(b, 0x664, 2) & 8, 8);
	tco_expired(l);
	assert_int_equal(b->request, MACHINE_WATCHDOG);
	device_destroy(&l->pci.dev);
	bench_destroy(b);
}

static void fw_cfg_reads_files_by_port_and_dma(void **state)
{
	const struct ram_options options = {.kind = RAM_MEMFD};
	struct memory_map map = {.size = 65536, .enabled = true};
	struct bench *b = bench_create();
	struct fw_cfg *f = bench_device(b, &fw_cfg_class);
	struct memory_map *mapped;
	uint8_t request[16], copy[8];
	struct err e;

	assert_ok(ram_create(&b->memory, "pc.ram", 65536, &options, &map.block, &e), &e);
	assert_ok(memory_map_add(&b->memory, &map, &mapped, &e), &e);
	assert_ok(fw_cfg_add_file(f, "opt/b", "hello", 5, &e), &e);
	assert_ok(fw_cfg_add_file(f, "opt/a", "abc", 3, &e), &e);
	port_out(b, 0x510, 0x20, 2); /* files are in order of name */
	assert_int_equal(port_in(b, 0x511, 1), 'a');
	port_out(b, 0x510, 0, 2);
	assert_int_equal(port_in(b, 0x511, 1), 'Q');
	assert_int_equal(port_in(b, 0x514, 4), 0x554d4551);
	store_be32(request, 0x21 << 16 | 8 | 2);
	store_be32(request + 4, 8);
	store_be64(request + 8, 0x1000);
	assert_true(memory_write(&b->memory, 0x100, request, sizeof(request)));
	port_out(b, 0x518, htobe32(0x100), 4);
	assert_true(memory_read(&b->memory, 0x1000, copy, sizeof(copy)));
	assert_memory_equal(copy, "hello\0\0\0", 8);
	assert_true(memory_read(&b->memory, 0x100, request, 4));
	assert_int_equal(load_be32(request), 0);
	store_be64(request + 8, 1ull << 40); /* not RAM */
	store_be32(request, 0x21 << 16 | 8 | 2);
	assert_true(memory_write(&b->memory, 0x100, request, sizeof(request)));
	port_out(b, 0x518, htobe32(0x100), 4);
	assert_true(memory_read(&b->memory, 0x100, request, 4));
	assert_int_equal(load_be32(request), 1);
	device_destroy(&f->dev);
	bench_destroy(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serial_sends_and_interrupts),
		cmocka_unit_test(serial_receives_at_the_trigger_level),
		cmocka_unit_test(rtc_tells_the_time_and_takes_it),
		cmocka_unit_test(rtc_interrupts_periodically),
		cmocka_unit_test(rtc_ticks_that_a_guest_missed_come_later),
		cmocka_unit_test(rtc_ticks_that_a_guest_missed_are_lost_by_default),
		cmocka_unit_test(keyboard_controller_tests_itself),
		cmocka_unit_test(keys_have_a_code_in_each_set),
		cmocka_unit_test(hpet_counts_and_fires_once),
		cmocka_unit_test(hpet_bounds_a_tiny_period),
		cmocka_unit_test(power_management_works),
		cmocka_unit_test(watchdog_acts_at_the_second_timeout),
		cmocka_unit_test(fw_cfg_reads_files_by_port_and_dma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
