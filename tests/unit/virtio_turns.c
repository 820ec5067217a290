/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest gives chains with far more work than any driver does, to devices
 * that the main loop serves. Each turn of the loop must end after a bounded part of it, and all of
 * it be done in the end.
 */
#include "device/virtio/balloon.h"
#include "device/virtio/console.h"

#include "base/bytes.h"
#include "unit/device_round_trip.h"
#include "unit/virtio_machine.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SPLIT    (~VIRTIO_BIT(VIRTIO_F_PACKED_RING))
#define BUFFERS  8
#define BUFFER   (8 * MiB)
#define TURN_MAX MiB

/* One turn of the main loop: what is ready now, once. */
static void turn(struct test_machine *m)
{
	assert_true(sd_event_run(loop_event(m->loop), 0) >= 0);
}

static void ringbuf(struct test_machine *m)
{
	json_t *options = json_pack("{s:s,s:s}", "backend", "ringbuf", "id", "c0");
	struct char_backend *c;
	struct err e;

	if (char_create(m->loop, options, &c, &e) < 0)
		fail_msg("%s", e.msg);
	json_decref(options);
}

static void a_long_write_to_a_console_leaves_the_loop_to_others(void **state)
{
	static const char *const controller_props[] = {"max_ports=1", NULL};
	static const char *const port_props[] = {"chardev=c0", NULL};
	struct driver_buf bufs[BUFFERS];
	struct console_port *p;
	struct test_machine m;
	struct device *dev, *port;
	struct guest g;
	uint64_t before = 0;
	unsigned int turns = 0;
	uint32_t written;
	uint16_t id;

	machine_open(&m, 16 * MiB);
	ringbuf(&m);
	dev = machine_add(&m, &virtio_serial_class, controller_props);
	port = machine_add(&m, &virtconsole_class, port_props);
	p = CONTAINER_OF(port, struct console_port, dev);
	guest_start(&g, &m, dev, SPLIT);
	guest_queue(&g, 0, 8);
	guest_queue(&g, 1, 8);
	guest_ready(&g);
	for (int i = 0; i < BUFFERS; i++)
		bufs[i] = (struct driver_buf){4 * MiB, BUFFER, false};
	assert_true(driver_add(&g.queues[1], bufs, BUFFERS) >= 0);
	guest_kick(&g, 1);
	while (!driver_take(&g.queues[1], &id, &written)) {
		turn(&m);
		assert_true(!p->chain || p->chain_at <= before + TURN_MAX);
		before = p->chain ? p->chain_at : before;
		turns++;
	}
	assert_true(before >= BUFFERS * BUFFER - TURN_MAX && turns >= BUFFERS * BUFFER / TURN_MAX);
	device_destroy(port);
	device_destroy(dev);
	char_remove_all();
	machine_close(&m);
}

/* Every second page, so that no two are one range. */
static void many_numbers(gpa_t at, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes / 4; i++)
		store_le32(RAM(at + 4ULL * i), 0x1000 + 2 * (i % 512));
}

static void page_numbers_without_end_leave_the_loop_to_others(void **state)
{
	const uint32_t bytes = 64 * KiB;
	unsigned int done = 0, before;
	struct driver_buf buf;
	struct test_machine m;
	struct device *dev;
	struct guest g;
	uint32_t written;
	uint16_t id;

	machine_open(&m, 32 * MiB);
	dev = machine_add(&m, &virtio_balloon_class, NULL);
	guest_start(&g, &m, dev, SPLIT);
	guest_queue(&g, 0, 8);
	guest_queue(&g, 1, 8);
	guest_ready(&g);
	buf = (struct driver_buf){guest_alloc(&g, bytes), bytes, false};
	many_numbers(buf.gpa, bytes);
	for (int i = 0; i < 4; i++)
		assert_true(driver_add(&g.queues[0], &buf, 1) >= 0);
	guest_kick(&g, 0);
	for (int turns = 0; done < 4 && turns < 100; turns++) {
		before = done;
		turn(&m);
		while (driver_take(&g.queues[0], &id, &written))
			done++;
		assert_true(done <= before + 1);
	}
	assert_int_equal(done, 4);
	device_destroy(dev);
	machine_close(&m);
}

/* A driver gives one free range a chain. */
static void hints_of_many_ranges_leave_the_loop_to_others(void **state)
{
	static const char *const props[] = {"free-page-hint=on", NULL};
	struct driver_buf bufs[BUFFERS];
	unsigned int done = 0, before;
	struct test_machine m;
	struct device *dev;
	struct guest g;
	uint32_t written;
	uint16_t id;

	machine_open(&m, 32 * MiB);
	dev = machine_add(&m, &virtio_balloon_class, props);
	guest_start(&g, &m, dev, SPLIT);
	for (unsigned int i = 0; i < 4; i++)
		guest_queue(&g, i, 64);
	guest_ready(&g);
	for (int i = 0; i < BUFFERS; i++)
		bufs[i] = (struct driver_buf){4 * MiB, BUFFER, true};
	for (int i = 0; i < 4; i++)
		assert_true(driver_add(&g.queues[3], bufs, BUFFERS) >= 0);
	guest_kick(&g, 3);
	for (int turns = 0; done < 4 && turns < 100; turns++) {
		before = done;
		turn(&m);
		while (driver_take(&g.queues[3], &id, &written))
			done++;
		assert_true(done <= before + 1);
	}
	assert_int_equal(done, 4);
	device_destroy(dev);
	machine_close(&m);
}

/* VIRTIO 1.2, 2.6.1: the device may not use a buffer of a queue that was reset. */
static void a_reset_queue_takes_back_what_a_console_had_in_hand(void **state)
{
	static const char *const controller_props[] = {"max_ports=1", NULL};
	static const char *const port_props[] = {"chardev=c0", NULL};
	struct driver_buf buf = {4 * MiB, BUFFER, false};
	struct console_port *p;
	struct test_machine m;
	struct device *dev, *port;
	struct guest g;
	uint32_t written;
	uint16_t id;

	machine_open(&m, 16 * MiB);
	ringbuf(&m);
	dev = machine_add(&m, &virtio_serial_class, controller_props);
	port = machine_add(&m, &virtconsole_class, port_props);
	p = CONTAINER_OF(port, struct console_port, dev);
	guest_start(&g, &m, dev, SPLIT);
	guest_queue(&g, 0, 8);
	guest_queue(&g, 1, 8);
	guest_ready(&g);
	assert_true(driver_add(&g.queues[1], &buf, 1) >= 0);
	guest_kick(&g, 1);
	for (int i = 0; i < 16 && !p->chain; i++)
		turn(&m);
	assert_non_null(p->chain);
	guest_write(&g, 22, 1, 2);
	guest_write(&g, 58, 1, 2);
	assert_null(p->chain);
	for (int i = 0; i < 16; i++)
		turn(&m);
	assert_false(driver_take(&g.queues[1], &id, &written));
	device_destroy(port);
	device_destroy(dev);
	char_remove_all();
	machine_close(&m);
}

/* Output in hand belongs to a port: two records of one would leave one without an owner. */
static void a_stream_has_each_port_once(void **state)
{
	static const char *const props[] = {"max_ports=2", NULL};
	static const uint8_t start[] = {0, 0, 0, 2, 0, 0, 0, 0};
	struct device *dev, *ports[2];
	struct state_writer w = {0};
	struct test_machine m;
	struct err e;
	uint8_t *s, *at;

	machine_open(&m, 16 * MiB);
	dev = machine_add(&m, &virtio_serial_class, props);
	for (int i = 0; i < 2; i++)
		ports[i] = machine_add(&m, &virtconsole_class, (const char *const[]){NULL});
	s = mem_zalloc(dev->class->state->size);
	dev->class->capture(dev, s);
	state_save(dev->class->state, s, &w);
	if (device_load_back(dev, s, &w, &e) < 0)
		fail_msg("%s", e.msg);
	at = memmem(w.buf, w.len, start, sizeof(start));
	assert_non_null(at);
	assert_int_equal(load_be32(at + 14), 1);
	at[17] = 0;
	assert_int_equal(device_load_back(dev, s, &w, &e), -EINVAL);
	state_writer_destroy(&w);
	free(s);
	device_destroy(ports[1]);
	device_destroy(ports[0]);
	device_destroy(dev);
	machine_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hints_of_many_ranges_leave_the_loop_to_others),
		cmocka_unit_test(a_reset_queue_takes_back_what_a_console_had_in_hand),
		cmocka_unit_test(a_stream_has_each_port_once),
		cmocka_unit_test(a_long_write_to_a_console_leaves_the_loop_to_others),
		cmocka_unit_test(page_numbers_without_end_leave_the_loop_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
