/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_DEVICE_ENV_H
#define TESTS_DEVICE_ENV_H

/*
 * A machine's services for one device under test: real memory, I/O spaces and clock; interrupt
 * inputs, requests and back ends that write down what came.
 */

#include "base/bytes.h"
#include "base/owned.h"
#include "block/block.h"
#include "char/char.h"
#include "device/device.h"
#include "device/pci/pci.h"
#include "net/net.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/**
 * struct bench - What the device under test is plugged into
 * @gsi:	Levels of the interrupt inputs
 * @raised:	How often each went from low to high
 * @request, @request_arg: What was asked of the machine last
 * @msi_sent:	MSIs, and the last one
 * @ejected:	Device that the guest let go last
 */
struct bench {
	struct loop *loop;
	struct guest_clock *clock;
	struct io_space *io;
	struct memory memory;
	struct pci_bus *root;
	pthread_mutex_t chipset_lock;
	struct device_env env;
	bool gsi[24];
	unsigned int raised[24];
	int request, request_arg;
	unsigned int msi_sent;
	struct msi_message msi_last;
	struct device *ejected;
};

/* A character back end that keeps what is written and gives what the test says. */
static struct {
	struct char_front front;
	uint8_t out[256];
	size_t out_len, room;
} test_char = {.room = SIZE_MAX};

struct block_node *block_find(const char *name)
{
	return NULL;
}

struct net_backend *net_find(const char *id)
{
	return NULL;
}

struct char_backend *char_find(const char *id)
{
	return strcmp(id, "c0") ? NULL : (struct char_backend *)&test_char;
}

int char_attach(struct char_backend *c, const char *user, const struct char_front *front,
		struct err *e)
{
	test_char.front = *front;
	return 0;
}

void char_detach(struct char_backend *c)
{
	test_char.front = (struct char_front){0};
}

size_t char_write(struct char_backend *c, const uint8_t *buf, size_t len)
{
	if (test_char.room < len)
		return 0;
	test_char.room -= len;
	if (test_char.out_len + len <= sizeof(test_char.out))
		memcpy(test_char.out + test_char.out_len, buf, len);
	test_char.out_len += len;
	return len;
}

void char_accept_input(struct char_backend *c)
{
}

static void bench_gsi(void *opaque, int line, bool level)
{
	struct bench *b = opaque;

	assert_in_range(line, 0, 23);
	b->raised[line] += level && !b->gsi[line];
	b->gsi[line] = level;
}

static void bench_request(void *opaque, int what, int arg)
{
	struct bench *b = opaque;

	b->request = what;
	b->request_arg = arg;
}

static void bench_eject(void *opaque, struct device *dev)
{
	((struct bench *)opaque)->ejected = dev;
}

static void bench_msi(void *opaque, const struct msi_message *m)
{
	struct bench *b = opaque;

	b->msi_sent++;
	b->msi_last = *m;
}

static const struct msi_ops bench_msi_ops = {.send = bench_msi};

static inline struct bench *bench_create(void)
{
	struct bench *b = mem_zalloc(sizeof(*b));
	struct err e;

	assert_int_equal(loop_create(&b->loop, &e), 0);
	assert_int_equal(guest_clock_create(&b->clock, b->loop, &e), 0);
	assert_int_equal(io_space_create(&b->io, NULL, &e), 0);
	memory_init(&b->memory);
	pthread_mutex_init(&b->chipset_lock, NULL);
	b->root = pci_bus_create("pcie.0", NULL, 0);
	b->env = (struct device_env){
		.memory = &b->memory,
		.io = b->io,
		.clock = b->clock,
		.loop = b->loop,
		.chipset_lock = &b->chipset_lock,
		.msi = &bench_msi_ops,
		.msi_opaque = b,
		.gsi = {.set = bench_gsi, .opaque = b},
		.pci_root = b->root,
		.request = bench_request,
		.eject = bench_eject,
		.opaque = b,
	};
	return b;
}

static inline void bench_destroy(struct bench *b)
{
	pci_bus_destroy(b->root);
	memory_destroy(&b->memory);
	io_space_destroy(b->io);
	guest_clock_destroy(b->clock);
	loop_destroy(b->loop);
	pthread_mutex_destroy(&b->chipset_lock);
	free(b);
}

/* Fails the test with the story if something that must work doesn't. */
#define assert_ok(call, err)                                   \
	do {                                                   \
		int ret_ = (call);                             \
		if (ret_)                                      \
			fail_msg("%s: %s", #call, (err)->msg); \
	} while (0)

static inline void *bench_realize(struct bench *b, struct device *dev)
{
	struct err e;

	assert_ok(device_realize(dev, &e), &e);
	device_reset(dev);
	return dev;
}

static inline void *bench_device(struct bench *b, const struct device_class *class)
{
	return bench_realize(b, device_create(class, &b->env));
}

static inline uint32_t port_in(struct bench *b, uint16_t port, unsigned int size)
{
	uint8_t bytes[4] = {0};

	io_read(b->io, IO_PORT, port, bytes, size);
	return load_le32(bytes);
}

static inline void port_out(struct bench *b, uint16_t port, uint32_t value, unsigned int size)
{
	uint8_t bytes[4];

	store_le32(bytes, value);
	io_write(b->io, IO_PORT, port, bytes, size);
}

static inline uint64_t mem_in(struct bench *b, uint64_t addr, unsigned int size)
{
	uint8_t bytes[8] = {0};

	io_read(b->io, IO_MEMORY, addr, bytes, size);
	return load_le64(bytes);
}

static inline void mem_out(struct bench *b, uint64_t addr, uint64_t value, unsigned int size)
{
	uint8_t bytes[8];

	store_le64(bytes, value);
	io_write(b->io, IO_MEMORY, addr, bytes, size);
}

/* Runs the main loop until @done, at most about a second. */
static inline void bench_wait(struct bench *b, const bool *done)
{
	for (int i = 0; i < 100 && !*done; i++)
		sd_event_run(loop_event(b->loop), 10000);
	assert_true(*done);
}

#endif
