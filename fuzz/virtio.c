/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver at a whole virtio device on a bus, with its back end; FUZZ_DEVICE names which,
 * one program for each. The guest writes registers, configuration space, memory, rings and
 * requests; the first byte of the input chooses features. Whatever it does, the device stays inside
 * guest memory (guard pages and sanitizers watch), comes to rest, can be stopped, saved and loaded,
 * resets cleanly and gives everything back.
 */
#include "fuzz/steps.h"

#include "block/block.h"
#include "char/char.h"
#include "device/virtio/classes.h"
#include "net/net.h"
#include "unit/device_round_trip.h"
#include "unit/virtio_machine.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define QUEUES     4u
#define RING       8
#define DATA_GPA   (TEST_RAM_GPA + 0xc000)
#define DATA_BYTES 0x4000u
#define CHILDREN   2

/**
 * struct kind - A device to be fuzzed
 * @name:	FUZZ_DEVICE
 * @props, @child_props: "name=value"
 * @child:	Class of devices that sit on it, made with each of @child_props
 */
static const struct kind {
	const char *name;
	const struct device_class *class;
	const char *props[4];
	const struct device_class *child[CHILDREN];
	const char *child_props[CHILDREN][5];
} kinds[] = {
	{"blk", &virtio_blk_class, {"drive=d0", "packed=on", "num-queues=3"}},
	{"net", &virtio_net_class, {"netdev=n0", "packed=on"}},
	{"rng", &virtio_rng_class, {"packed=on"}},
	{"console",
	 &virtio_serial_class,
	 {"packed=on", "max_ports=3"},
	 {&virtconsole_class, &virtserialport_class},
	 {{"chardev=c0"}, {"chardev=c1", "name=org.example.port"}}},
	{"balloon", &virtio_balloon_class, {"free-page-reporting=on", "free-page-hint=on"}},
	{"scsi",
	 &virtio_scsi_class,
	 {"packed=on", "num_queues=2"},
	 {&scsi_hd_class, &scsi_hd_class},
	 {{"drive=d0", "scsi-id=0", "lun=0"}, {"drive=d1", "scsi-id=0", "lun=1", "serial=x"}}},
};

/**
 * struct fuzzed - The device of one try
 * @g:		Its driver
 * @dev, @children: It, and what sits on it
 */
struct fuzzed {
	struct guest g;
	struct device *dev, *children[CHILDREN];
};

static struct test_machine machine;
static const struct kind *kind;
static int net_peer, char_peer;

static void must(int r, const struct err *e)
{
	if (r < 0) {
		fprintf(stderr, "%s\n", e->msg);
		abort();
	}
}

static void disk_open(const char *name)
{
	json_t *options = json_pack("{s:s,s:s,s:i}", "driver", "null-co", "node-name", name, "size",
				    1 << 20);
	struct block_node *n;
	struct err e;

	must(block_open(options, &n, &e), &e);
	json_decref(options);
}

/* A pair of sockets; the device's side, as a number in decimal, and ours. */
static int peer_open(char text[12])
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	snprintf(text, 12, "%d", fds[0]);
	return fds[1];
}

static int fd_of(void *opaque, const char *name)
{
	return atoi(name);
}

static void net_open(void)
{
	char fd[12];
	json_t *options;
	struct err e;

	net_peer = peer_open(fd);
	options = json_pack("{s:s,s:s,s:{s:s,s:s}}", "type", "stream", "id", "n0", "addr", "type",
			    "fd", "str", fd);
	must(net_add(options, fd_of, NULL, &e), &e);
	json_decref(options);
}

static void chars_open(void)
{
	char fd[12];
	json_t *console, *port;
	struct char_backend *c;
	struct err e;

	char_peer = peer_open(fd);
	console = json_pack("{s:s,s:s}", "backend", "ringbuf", "id", "c0");
	port = json_pack("{s:s,s:s,s:s}", "backend", "socket", "id", "c1", "fd", fd);
	must(char_create(machine.loop, console, &c, &e), &e);
	must(char_create(machine.loop, port, &c, &e), &e);
	json_decref(console);
	json_decref(port);
}

static void world_make(void)
{
	machine_open(&machine, 16 * MiB);
	disk_open("d0");
	disk_open("d1");
	net_open();
	chars_open();
	for (kind = kinds; strcmp(kind->name, FUZZ_DEVICE); kind++)
		;
}

/* What a guest does. */

static void do_register(void *guest, const struct step *s)
{
	struct fuzzed *f = guest;

	guest_write(&f->g, s->where & 0x3fff, s->value, step_size(s, 4));
}

static void do_read(void *guest, const struct step *s)
{
	struct fuzzed *f = guest;

	guest_read(&f->g, s->where & 0x3fff, step_size(s, 4));
}

/* The common configuration, where things happen. */
static void do_common(void *guest, const struct step *s)
{
	struct fuzzed *f = guest;

	guest_write(&f->g, s->where & 0x3f, s->value, step_size(s, 4));
}

static void do_config_space(void *guest, const struct step *s)
{
	struct fuzzed *f = guest;

	pthread_mutex_lock(&machine.chipset_lock);
	pci_config_write(&f->g.v->pci, s->where & 0xff, s->value, step_size(s, 4));
	pthread_mutex_unlock(&machine.chipset_lock);
}

/* Rings and data alike. */
static void do_memory(void *guest, const struct step *s)
{
	store_le32(RAM(TEST_RAM_GPA + (s->where & ~3u)), s->value);
}

static void do_data(void *guest, const struct step *s)
{
	store_le32(RAM(DATA_GPA + s->how % 128u), s->value);
}

static void do_kick(void *guest, const struct step *s)
{
	struct fuzzed *f = guest;

	guest_kick(&f->g, s->how % 8u);
}

/* A driver that doesn't wait for what it gave: all descriptors count as free again. */
static void all_free(struct driver *d)
{
	for (d->free_len = 0; d->free_len < d->num; d->free_len++)
		d->free[d->free_len] = (uint16_t)(d->num - 1 - d->free_len);
	d->slots_free = d->num;
}

/* A well-formed chain of up to four buffers over the data, so that not every try is spent on rings:
 * @where has their lengths, four bits each, @value says where each begins and which are written. */
static void do_request(void *guest, const struct step *s)
{
	struct fuzzed *f = guest;
	struct driver *d = &f->g.queues[s->how % QUEUES];
	struct driver_buf bufs[4];
	unsigned int n = 0;

	if (!d->num)
		return;
	for (; n < ARRAY_SIZE(bufs) && s->where >> 4 * n & 15; n++) {
		unsigned int len = (unsigned int)s->where >> 4 * n & 15;

		bufs[n] = (struct driver_buf){.gpa = DATA_GPA + (s->value >> 4 * n & 15) * 16,
					      .len = len < 12 ? len * len : 1u << len,
					      .write = s->value >> (24 + n) & 1};
	}
	if (d->free_len < n || d->slots_free < n)
		all_free(d);
	if (n && driver_add(d, bufs, n) >= 0)
		guest_kick(&f->g, s->how % QUEUES);
}

/* The outside says something too, and takes what came out. */
static void do_outside(void *guest, const struct step *s)
{
	uint8_t bytes[4 + 64] = {0}, taken[4096];
	size_t len = s->how % 64u;

	store_be32(bytes, (uint32_t)len);
	store_le32(bytes + 4 + len / 2 % 60, s->value);
	if (write(net_peer, bytes, 4 + len) < 0 || write(char_peer, bytes + 4, len) < 0)
		return; /* full: the guest doesn't listen */
	while (read(net_peer, taken, sizeof(taken)) > 0 ||
	       read(char_peer, taken, sizeof(taken)) > 0)
		;
}

/* Stopped, saved, loaded, going on: as a migration finds it. */
static void do_move(void *guest, const struct step *s)
{
	struct fuzzed *f = guest;
	struct err e;

	f->dev->class->stop(f->dev);
	must(device_round_trip(f->dev, &e), &e);
	f->dev->class->run(f->dev);
}

static step_fn *const deeds[] = {do_register, do_common,  do_memory, do_data,         do_kick,
				 do_request,  do_outside, do_read,   do_config_space, do_move};

static void breathe(void *guest)
{
	machine_poll(&machine, 0);
}

static void rings_start(struct fuzzed *f, uint8_t mode)
{
	uint64_t want = mode & 1 ? UINT64_MAX : ~VIRTIO_BIT(VIRTIO_F_PACKED_RING);

	if (mode & 2)
		want &= ~VIRTIO_BIT(VIRTIO_F_V1);
	guest_start(&f->g, &machine, f->dev, want);
	for (unsigned int i = 0; i < QUEUES && i < f->g.v->queues_len; i++)
		guest_queue(&f->g, i, RING);
	guest_ready(&f->g);
}

static void device_make(struct fuzzed *f)
{
	f->dev = machine_add(&machine, kind->class, kind->props);
	for (int i = 0; i < CHILDREN && kind->child[i]; i++)
		f->children[i] = machine_add(&machine, kind->child[i], kind->child_props[i]);
}

static void device_end(struct fuzzed *f)
{
	f->dev->class->stop(f->dev);
	f->dev->class->reset(f->dev);
	f->dev->class->run(f->dev);
	for (int i = CHILDREN - 1; i >= 0; i--)
		if (f->children[i])
			device_destroy(f->children[i]);
	device_destroy(f->dev);
}

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	A byte for the features, then the program
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzzed f = {0};

	if (!size)
		return 0;
	if (!kind)
		world_make();
	memset(RAM(TEST_RAM_GPA), 0, 0x10000);
	device_make(&f);
	rings_start(&f, data[0]);
	steps_run(data + 1, size - 1, deeds, ARRAY_SIZE(deeds), breathe, &f);
	device_end(&f);
	return 0;
}
