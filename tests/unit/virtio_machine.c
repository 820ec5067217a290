/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: devices under test sit on a real PCI bus with real address spaces and
 * memory; the test is the vCPU and the main loop. Interrupts end in counters and an eventfd, so
 * waiting is for an event with a bound.
 */
#include "unit/virtio_machine.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/owned.h"

#include <assert.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>

#define BAR_GPA  0xfe000000u
#define MSIX_GPA 0xfeb00000u

uint8_t *test_ram;

static void irq_event(struct test_machine *m)
{
	uint64_t one = 1;

	assert(write(m->irq_fd, &one, sizeof(one)) == sizeof(one));
}

static void msi_send(void *opaque, const struct msi_message *msg)
{
	struct test_machine *m = opaque;

	__atomic_add_fetch(&m->msis[msg->data % ARRAY_SIZE(m->msis)], 1, __ATOMIC_SEQ_CST);
	irq_event(m);
}

static const struct msi_ops msi = {.send = msi_send};

static void intx_set(void *opaque, int line, bool level)
{
	struct test_machine *m = opaque;

	__atomic_store_n(&m->intx, level, __ATOMIC_SEQ_CST);
	if (level)
		irq_event(m);
}

static int intx_map(void *opaque, struct pci_device *d, int pin)
{
	return pin;
}

static void must(int r, const struct err *e)
{
	if (r < 0) {
		fprintf(stderr, "%s\n", e->msg);
		abort();
	}
}

void machine_open(struct test_machine *m, uint64_t ram_bytes)
{
	struct ram_options options = {.kind = RAM_MEMFD};
	struct err e;

	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->chipset_lock, NULL);
	m->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	memory_init(&m->memory);
	must(loop_create(&m->loop, &e), &e);
	must(io_space_create(&m->io, NULL, &e), &e);
	must(ram_create(&m->memory, "pc.ram", ram_bytes, &options, &m->ram, &e), &e);
	must(memory_map_add(
		     &m->memory,
		     &(struct memory_map){.size = ram_bytes, .block = m->ram, .enabled = true},
		     &m->map, &e),
	     &e);
	m->root = pci_bus_create("pcie.0", NULL, 0);
	pci_bus_set_irq_sink(m->root, intx_set, intx_map, m, 4);
	m->env = (struct device_env){.memory = &m->memory,
				     .io = m->io,
				     .loop = m->loop,
				     .chipset_lock = &m->chipset_lock,
				     .msi = &msi,
				     .msi_opaque = m,
				     .pci_root = m->root,
				     .vcpus = 1};
	test_ram = m->ram->hva + TEST_RAM_GPA;
}

void machine_close(struct test_machine *m)
{
	pci_bus_destroy(m->root);
	io_space_destroy(m->io);
	loop_destroy(m->loop);
	memory_map_del(&m->memory, m->map);
	ram_destroy(&m->memory, m->ram);
	memory_destroy(&m->memory);
	fd_close(&m->irq_fd);
}

struct device *machine_add(struct test_machine *m, const struct device_class *class,
			   const char *const *props)
{
	struct device *dev = device_create(class, &m->env);
	char name[64];
	struct err e;

	for (; props && *props; props++) {
		const char *eq = strchr(*props, '=');

		snprintf(name, sizeof(name), "%.*s", (int)(eq - *props), *props);
		must(device_set(dev, name, eq + 1, &e), &e);
	}
	must(device_realize(dev, &e), &e);
	return dev;
}

uint32_t guest_read(struct guest *g, unsigned int offset, unsigned int size)
{
	uint8_t bytes[4] = {0};

	io_read(g->m->io, IO_MEMORY, g->bar + offset, bytes, size);
	return load_le32(bytes);
}

void guest_write(struct guest *g, unsigned int offset, uint32_t value, unsigned int size)
{
	uint8_t bytes[4];

	store_le32(bytes, value);
	io_write(g->m->io, IO_MEMORY, g->bar + offset, bytes, size);
}

static void config_write(struct guest *g, unsigned int offset, uint32_t value, unsigned int size)
{
	pthread_mutex_lock(&g->m->chipset_lock);
	pci_bus_config_write(g->m->root, 0, (uint8_t)g->v->pci.devfn, offset, value, size);
	pthread_mutex_unlock(&g->m->chipset_lock);
}

static void msix_start(struct guest *g)
{
	unsigned int n = g->v->pci.msix.entries;
	uint8_t entry[16] = {0};

	for (unsigned int i = 0; i < n; i++) {
		store_le32(entry, 0xfee00000);
		store_le32(entry + 8, i + 1 == n ? 63 : i);
		for (unsigned int at = 0; at < 16; at += 4)
			io_write(g->m->io, IO_MEMORY, MSIX_GPA + 16 * i + at, entry + at, 4);
	}
	config_write(g, g->v->pci.msix.cap + 2u, 0x8000, 2);
}

static uint64_t offered(struct guest *g)
{
	uint64_t f;

	guest_write(g, VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	f = guest_read(g, VIRTIO_PCI_COMMON_DF, 4);
	guest_write(g, VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	return f | (uint64_t)guest_read(g, VIRTIO_PCI_COMMON_DF, 4) << 32;
}

void guest_start(struct guest *g, struct test_machine *m, struct device *dev, uint64_t want)
{
	memset(g, 0, sizeof(*g));
	g->m = m;
	g->v = virtio_of(dev);
	g->bar = BAR_GPA + 0x10000u * (unsigned int)g->v->pci.devfn;
	g->next = TEST_RAM_GPA;
	config_write(g, 0x14, MSIX_GPA, 4);
	config_write(g, 0x20, (uint32_t)g->bar, 4);
	config_write(g, 0x24, 0, 4);
	config_write(g, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	if (g->v->pci.msix.entries)
		msix_start(g);
	guest_write(g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	guest_write(g, VIRTIO_PCI_COMMON_STATUS, 3, 1);
	g->features = offered(g) & want;
	for (unsigned int i = 0; i < 2; i++) {
		guest_write(g, VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		guest_write(g, VIRTIO_PCI_COMMON_GF, (uint32_t)(g->features >> 32 * i), 4);
	}
	guest_write(g, VIRTIO_PCI_COMMON_MSIX, g->v->pci.msix.entries - 1u, 2);
	guest_write(g, VIRTIO_PCI_COMMON_STATUS, 11, 1);
}

gpa_t guest_alloc(struct guest *g, uint64_t bytes)
{
	gpa_t at = g->next;

	g->next = ALIGN_UP(at + bytes, 4096);
	return at;
}

static void address_write(struct guest *g, unsigned int offset, gpa_t gpa)
{
	guest_write(g, offset, (uint32_t)gpa, 4);
	guest_write(g, offset + 4, (uint32_t)(gpa >> 32), 4);
}

void guest_queue(struct guest *g, unsigned int index, uint16_t num)
{
	struct driver *d = &g->queues[index];
	struct virtqueue shape;
	uint64_t bytes = 16ULL * num + 6 + 2ULL * num + 10 + 8ULL * num + 4096 + num * 512ULL;

	driver_init(d, &shape, num, g->features, guest_alloc(g, bytes), false);
	guest_write(g, VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
	guest_write(g, VIRTIO_PCI_COMMON_Q_SIZE, num, 2);
	guest_write(g, VIRTIO_PCI_COMMON_Q_MSIX, index, 2);
	address_write(g, VIRTIO_PCI_COMMON_Q_DESCLO, d->desc);
	address_write(g, VIRTIO_PCI_COMMON_Q_AVAILLO, d->avail);
	address_write(g, VIRTIO_PCI_COMMON_Q_USEDLO, d->used);
	guest_write(g, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

void guest_ready(struct guest *g)
{
	guest_write(g, VIRTIO_PCI_COMMON_STATUS, 15, 1);
}

void guest_kick(struct guest *g, unsigned int queue)
{
	guest_write(g, 0x3000 + 4 * queue, queue, 2);
}

void machine_poll(struct test_machine *m, int timeout_ms)
{
	struct pollfd fds[] = {{m->irq_fd, POLLIN, 0},
			       {sd_event_get_fd(loop_event(m->loop)), POLLIN, 0}};
	uint64_t count;

	while (sd_event_run(loop_event(m->loop), 0) > 0)
		;
	poll(fds, 2, timeout_ms);
	if (read(m->irq_fd, &count, sizeof(count)) < 0)
		count = 0;
}

bool guest_wait(struct guest *g, unsigned int queue, uint16_t *id, uint32_t *written)
{
	int64_t until = time_ns() + 60 * NS_PER_SEC;

	do {
		if (driver_take(&g->queues[queue], id, written))
			return true;
		machine_poll(g->m, 20);
	} while (time_ns() < until);
	return false;
}

uint32_t guest_do(struct guest *g, unsigned int queue, const struct driver_buf *bufs,
		  unsigned int len)
{
	uint32_t written;
	uint16_t id;

	assert(driver_add(&g->queues[queue], bufs, len) >= 0);
	guest_kick(g, queue);
	if (!guest_wait(g, queue, &id, &written)) {
		fprintf(stderr, "queue %u: nothing came back\n", queue);
		abort();
	}
	return written;
}
