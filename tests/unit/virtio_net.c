/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a driver against the whole virtio-net device with a stream socket behind it;
 * the test is the peer and counts bytes in each frame. The stream has no headers, so the device
 * adds and cuts them.
 */
#include "device/virtio/net.h"
#include "device/virtio/net_state.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "unit/virtio_machine.h"

#include <jansson.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define ALL    (~VIRTIO_BIT(VIRTIO_F_PACKED_RING))
#define HEADER 12

enum { RX, TX, CTRL };

struct fixture {
	struct test_machine m;
	struct device *dev;
	struct guest g;
	gpa_t data, ctrl, ack;
	int listener, peer;
	struct sockaddr_un sa;
};

static void backend_open(struct fixture *f)
{
	json_t *options;
	struct err e;

	f->sa.sun_family = AF_UNIX;
	snprintf(f->sa.sun_path, sizeof(f->sa.sun_path), "/tmp/outlive-net-%d", getpid());
	unlink(f->sa.sun_path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&f->sa, sizeof(f->sa)), 0);
	assert_int_equal(listen(f->listener, 1), 0);
	options = json_pack("{s:s,s:s,s:{s:s,s:s}}", "type", "stream", "id", "n0", "addr", "type",
			    "unix", "path", f->sa.sun_path);
	if (net_add(options, NULL, NULL, &e))
		fail_msg("%s", e.msg);
	json_decref(options);
	f->peer = accept(f->listener, NULL, NULL);
	assert_true(f->peer >= 0);
}

static void setup(struct fixture *f, uint64_t want)
{
	static const char *const props[] = {"netdev=n0", "mac=52:54:00:aa:bb:cc", NULL};

	memset(f, 0, sizeof(*f));
	machine_open(&f->m, 64 * MiB);
	backend_open(f);
	f->dev = machine_add(&f->m, &virtio_net_class, props);
	guest_start(&f->g, &f->m, f->dev, want);
	guest_queue(&f->g, RX, 256);
	guest_queue(&f->g, TX, 256);
	guest_queue(&f->g, CTRL, 64);
	guest_ready(&f->g);
	f->data = guest_alloc(&f->g, 0x40000);
	f->ctrl = guest_alloc(&f->g, 4096);
	f->ack = guest_alloc(&f->g, 16);
}

static void teardown(struct fixture *f)
{
	struct err e;

	device_destroy(f->dev);
	assert_int_equal(net_remove("n0", &e), 0);
	close(f->peer);
	close(f->listener);
	unlink(f->sa.sun_path);
	machine_close(&f->m);
}

static void peer_send(struct fixture *f, const uint8_t *frame, uint32_t len)
{
	uint8_t prefix[4];

	store_be32(prefix, len);
	assert_int_equal(write(f->peer, prefix, 4), 4);
	assert_int_equal(write(f->peer, frame, len), len);
}

static uint32_t peer_receive(struct fixture *f, uint8_t *frame, size_t size)
{
	struct pollfd p = {f->peer, POLLIN, 0};
	uint8_t prefix[4];

	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(recv(f->peer, prefix, 4, MSG_WAITALL), 4);
	assert_true(load_be32(prefix) <= size);
	assert_int_equal(recv(f->peer, frame, load_be32(prefix), MSG_WAITALL), load_be32(prefix));
	return load_be32(prefix);
}

static uint8_t control(struct fixture *f, uint8_t class, uint8_t cmd, const void *data,
		       uint32_t len)
{
	struct driver_buf bufs[] = {{f->ctrl, 2 + len, false}, {f->ack, 1, true}};

	RAM(f->ctrl)[0] = class;
	RAM(f->ctrl)[1] = cmd;
	memcpy(RAM(f->ctrl) + 2, data, len);
	*RAM(f->ack) = 0x77;
	guest_do(&f->g, CTRL, bufs, 2);
	return *RAM(f->ack);
}

static void frames_go_out_without_their_header(void **state)
{
	struct fixture f;
	uint8_t got[2000];

	setup(&f, ALL);
	for (uint32_t len = 60; len < 1500; len += 17) {
		struct driver_buf bufs[] = {{f.data, HEADER, false},
					    {f.data + 0x1000, 14, false},
					    {f.data + 0x2000, len - 14, false}};

		memset(RAM(f.data), 0, HEADER);
		memset(RAM(f.data + 0x1000), 0xab, 14);
		memset(RAM(f.data + 0x2000), (int)len, len - 14);
		guest_do(&f.g, TX, bufs, 3);
		assert_int_equal(peer_receive(&f, got, sizeof(got)), len);
		assert_int_equal(got[13], 0xab);
		assert_int_equal(got[14], (uint8_t)len);
		assert_int_equal(got[len - 1], (uint8_t)len);
	}
	teardown(&f);
}

static void a_frame_larger_than_a_buffer_is_merged(void **state)
{
	struct driver_buf buf = {0, 1000, true};
	uint8_t frame[5000];
	uint32_t written, at = 0;
	struct fixture f;
	uint16_t id;

	setup(&f, ALL);
	for (unsigned int i = 0; i < 64; i++) {
		buf.gpa = f.data + i * 0x1000;
		driver_add(&f.g.queues[RX], &buf, 1);
	}
	guest_kick(&f.g, RX);
	for (unsigned int i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	peer_send(&f, frame, sizeof(frame));
	for (unsigned int i = 0; i < 6; i++) {
		assert_true(guest_wait(&f.g, RX, &id, &written));
		if (!i)
			assert_int_equal(load_le16(RAM(f.data + 10)), 6);
		for (uint32_t n = i ? 0 : HEADER; n < written; n++)
			assert_int_equal(*RAM(f.data + i * 0x1000 + n), (uint8_t)(at++ * 7));
	}
	assert_int_equal(at, sizeof(frame));
	teardown(&f);
}

static void frames_wait_until_there_are_buffers(void **state)
{
	struct driver_buf buf = {0, 2048, true};
	uint8_t frame[64] = {0};
	struct fixture f;
	uint32_t written;
	uint16_t id;

	setup(&f, ALL);
	for (uint8_t i = 0; i < 50; i++) {
		frame[20] = i;
		peer_send(&f, frame, sizeof(frame));
	}
	for (unsigned int i = 0; i < 50; i++) {
		buf.gpa = f.data + i * 0x1000;
		driver_add(&f.g.queues[RX], &buf, 1);
		guest_kick(&f.g, RX);
		assert_true(guest_wait(&f.g, RX, &id, &written));
		assert_int_equal(written, HEADER + 64);
		assert_int_equal(*RAM(f.data + i * 0x1000 + HEADER + 20), i);
	}
	teardown(&f);
}

static bool rx_add(struct fixture *f, unsigned int i)
{
	struct driver_buf buf = {f->data + i % 64 * 0x1000, 2048, true};

	assert_true(driver_add(&f->g.queues[RX], &buf, 1) >= 0);
	return driver_must_kick(&f->g.queues[RX]);
}

static void rx_frame(struct fixture *f)
{
	uint8_t frame[64] = {0};
	uint32_t written;
	uint16_t id;

	peer_send(f, frame, sizeof(frame));
	assert_true(guest_wait(&f->g, RX, &id, &written));
	assert_int_equal(written, HEADER + 64);
}

/* Gives a buffer and kicks if it is asked to, as all drivers do. */
static bool rx_add_and_kick(struct fixture *f, unsigned int i)
{
	bool asked = rx_add(f, i);

	if (asked)
		guest_kick(&f->g, RX);
	return asked;
}

/* With event indices, which ask anew each time, and without. */
static void a_driver_is_asked_for_receive_kicks_only_when_it_gave_too_few(void **state)
{
	static const uint64_t wants[] = {ALL, ALL & ~VIRTQ_F_EVENT_IDX};
	struct fixture f;

	for (unsigned int w = 0; w < ARRAY_SIZE(wants); w++) {
		setup(&f, wants[w]);
		for (unsigned int i = 0; i < 20; i++) { /* one each time: it runs dry */
			rx_add_and_kick(&f, i);
			rx_frame(&f);
		}
		for (unsigned int i = 0; i < 8; i++)
			rx_add_and_kick(&f, i);
		rx_frame(&f);
		for (unsigned int i = 8; i < 48; i++) {
			assert_false(rx_add_and_kick(&f, i));
			rx_frame(&f);
		}
		teardown(&f);
	}
}

static void count_one(void *opaque)
{
	(*(int *)opaque)++;
}

/* A guest that changes its filter all the time doesn't flood who watches. */
static void a_change_of_the_filter_is_told_once_until_it_is_looked_at(void **state)
{
	struct fixture f;
	struct virtio_net *n;
	const uint8_t on = 1;
	int told = 0;

	setup(&f, ALL);
	n = net_of(virtio_of(f.dev));
	net_on_filter_change(n, count_one, &told);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			control(&f, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), 0);
	assert_int_equal(told, 1);
	assert_true(net_filter_news(n));
	assert_false(net_filter_news(n));
	net_filter_seen(n);
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_RX, 77, &on, 1), 1); /* nothing changes */
	assert_int_equal(told, 1);
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), 0);
	assert_int_equal(told, 2);
	teardown(&f);
}

static void the_control_queue_filters_addresses(void **state)
{
	static const uint8_t mine[6] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};
	struct driver_buf buf = {0, 2048, true};
	uint8_t frame[64] = {0x52, 0x54, 0, 1, 2, 3}, off = 0;
	uint8_t table[8] = {0};
	uint16_t id, vlan = 0;
	struct fixture f;
	uint32_t written;

	setup(&f, ALL);
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0);
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 8),
			 0);
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vlan, 2), 0);
	buf.gpa = f.data;
	driver_add(&f.g.queues[RX], &buf, 1);
	guest_kick(&f.g, RX);
	peer_send(&f, frame, sizeof(frame)); /* to somebody else */
	frame[0] = 0x33;                     /* to a group nobody joined */
	peer_send(&f, frame, sizeof(frame));
	memcpy(frame, mine, 6);
	frame[30] = 0x99;
	peer_send(&f, frame, sizeof(frame));
	assert_true(guest_wait(&f.g, RX, &id, &written));
	assert_int_equal(*RAM(f.data + HEADER + 30), 0x99);
	/* Nonsense is answered with an error. */
	assert_int_equal(control(&f, 99, 0, &off, 1), 1);
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_RX, 77, &off, 1), 1);
	memset(table, 0xff, sizeof(table));
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 8),
			 1);
	teardown(&f);
}

static void the_link_and_the_address_are_in_the_configuration(void **state)
{
	struct fixture f;

	setup(&f, ALL);
	assert_int_equal(guest_read(&f.g, 0x2000, 1), 0x52);
	assert_int_equal(guest_read(&f.g, 0x2005, 1), 0xcc);
	assert_int_equal(guest_read(&f.g, 0x2006, 2), 1);
	assert_int_equal(guest_read(&f.g, 0x12, 2), 3);
	teardown(&f);
}

/* State moves to a second device; the guest is asked to announce itself there, and traffic goes
 * on. */
static void an_interface_goes_on_in_another_device(void **state)
{
	static const char *const props[] = {"netdev=n0", "mac=52:54:00:aa:bb:cc", NULL};
	struct virtio_net_state *s = mem_zalloc(sizeof(*s));
	struct state_writer w = {0};
	struct state_reader r;
	struct fixture f;
	uint8_t got[200];
	struct driver_buf buf;
	struct err e;

	setup(&f, ALL);
	f.dev->class->stop(f.dev);
	f.dev->class->capture(f.dev, s);
	state_save(f.dev->class->state, s, &w);
	device_destroy(f.dev);
	f.dev = machine_add(&f.m, &virtio_net_class, props);
	f.g.v = virtio_of(f.dev);
	f.dev->class->capture(f.dev, s);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	if (state_load(f.dev->class->state, s, 11, &r, &e) || f.dev->class->validate(f.dev, s, &e))
		fail_msg("%s", e.msg);
	f.dev->class->apply(f.dev, s);
	f.dev->class->run(f.dev);
	assert_int_equal(guest_read(&f.g, 0x2006, 2), 3);
	assert_int_equal(control(&f, VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0), 0);
	assert_int_equal(guest_read(&f.g, 0x2006, 2), 1);
	buf = (struct driver_buf){f.data, HEADER + 60, false};
	guest_do(&f.g, TX, &buf, 1);
	assert_int_equal(peer_receive(&f, got, sizeof(got)), 60);
	state_writer_destroy(&w);
	free(s);
	teardown(&f);
}

static void a_feature_that_is_not_offered_is_refused_by_name(void **state)
{
	struct virtio_net_state *s = mem_zalloc(sizeof(*s));
	struct fixture f;
	struct err e;

	setup(&f, ALL);
	f.dev->class->stop(f.dev);
	f.dev->class->capture(f.dev, s);
	s->body.v.features |= VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_F_PACKED_RING);
	assert_true(f.dev->class->validate(f.dev, s, &e) < 0);
	assert_string_equal(e.msg, "features: the guest uses MQ, RING_PACKED, not offered here");
	free(s);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_out_without_their_header),
		cmocka_unit_test(a_frame_larger_than_a_buffer_is_merged),
		cmocka_unit_test(frames_wait_until_there_are_buffers),
		cmocka_unit_test(a_driver_is_asked_for_receive_kicks_only_when_it_gave_too_few),
		cmocka_unit_test(the_control_queue_filters_addresses),
		cmocka_unit_test(a_change_of_the_filter_is_told_once_until_it_is_looked_at),
		cmocka_unit_test(the_link_and_the_address_are_in_the_configuration),
		cmocka_unit_test(an_interface_goes_on_in_another_device),
		cmocka_unit_test(a_feature_that_is_not_offered_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
