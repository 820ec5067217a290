/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver at whole virtio devices on a bus: the input is a program of register accesses,
 * configuration writes and memory writes; the first byte chooses the device. Whatever it does, the
 * device stays inside guest memory, comes to rest, resets cleanly and gives everything back.
 */
#include "block/block.h"
#include "device/virtio/classes.h"
#include "unit/virtio_machine.h"

#include "base/bytes.h"

#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kind {
	const struct device_class *class;
	const char *props[3];
} kinds[] = {
	{&virtio_blk_class, {"drive=d0", "packed=on"}},
	{&virtio_net_class, {"packed=on"}},
	{&virtio_rng_class, {"packed=on"}},
	{&virtio_serial_class, {"packed=on", "max_ports=2"}},
	{&virtio_balloon_class, {"free-page-reporting=on", "free-page-hint=on"}},
	{&virtio_scsi_class, {"packed=on"}},
};

static void disk_open(void)
{
	json_t *options = json_pack("{s:s,s:s,s:i}", "driver", "null-co", "node-name", "d0", "size",
				    1 << 20);
	struct block_node *n;
	struct err e;

	if (block_open(options, &n, &e))
		abort();
	json_decref(options);
}

/* Eight bytes of program: what, where, value. */
static void step(struct guest *g, const uint8_t *p)
{
	uint16_t where = load_le16(p + 2);
	uint32_t value = load_le32(p + 4);

	switch (p[0] % 6) {
	case 0: guest_write(g, where & 0x3fff, value, 1u << p[1] % 3); break;
	case 1: guest_read(g, where & 0x3fff, 1u << p[1] % 3); break;
	case 2: /* common configuration, where things happen */
		guest_write(g, p[1] & 0x3f, value, 1u << where % 3);
		break;
	case 3: store_le32(RAM(TEST_RAM_GPA + (where & ~3u)), value); break;
	case 4: guest_kick(g, p[1] & 7); break;
	default:
		pthread_mutex_lock(&g->m->chipset_lock);
		pci_config_write(&g->v->pci, where & 0xff, value, 1u << p[1] % 3);
		pthread_mutex_unlock(&g->m->chipset_lock);
	}
}

/* Rings where the program's memory writes reach them, so that not every try is spent on setting
 * them up. */
static void rings_start(struct guest *g, const struct kind *k, uint8_t mode)
{
	struct device *dev = &g->v->pci.dev;
	struct test_machine *m = g->m;

	guest_start(g, m, dev, mode & 1 ? UINT64_MAX : ~VIRTIO_BIT(VIRTIO_F_PACKED_RING));
	for (unsigned int i = 0; i < 3 && i < g->v->queues_len; i++)
		guest_queue(g, i, 8);
	guest_ready(g);
}

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	The try
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct test_machine m;
	const struct kind *k;
	struct device *dev;
	struct guest g = {.m = &m};

	if (size < 2)
		return 0;
	if (!m.loop) {
		machine_open(&m, 16 * MiB);
		disk_open();
	}
	k = &kinds[data[0] % ARRAY_SIZE(kinds)];
	memset(RAM(TEST_RAM_GPA), 0, 0x10000);
	dev = machine_add(&m, k->class, k->props);
	g.v = virtio_of(dev);
	rings_start(&g, k, data[1]);
	for (size_t at = 2; at + 8 <= size && at < 2 + 8 * 256; at += 8) {
		step(&g, data + at);
		machine_poll(&m, 0);
	}
	dev->class->stop(dev);
	dev->class->reset(dev);
	dev->class->run(dev);
	device_destroy(dev);
	return 0;
}
