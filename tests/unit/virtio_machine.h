/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_VIRTIO_MACHINE_H
#define TESTS_UNIT_VIRTIO_MACHINE_H

#include "device/virtio/virtio.h"
#include "unit/virtio_driver.h"

/**
 * struct test_machine - A machine without vCPUs: memory, address spaces and a PCI bus as the real
 * one has, interrupts counted
 * @irq_fd:	Signalled by each MSI and each rise of an INTx line
 * @msis:	MSIs by their data word
 */
struct test_machine {
	struct device_env env;
	struct loop *loop;
	struct io_space *io;
	struct memory memory;
	struct ram_block *ram;
	struct memory_map *map;
	struct pci_bus *root;
	pthread_mutex_t chipset_lock;
	int irq_fd;
	unsigned int msis[64];
	unsigned int intx;
};

void machine_open(struct test_machine *m, uint64_t ram_bytes);
void machine_close(struct test_machine *m);
/* Properties as "name=value", NULL-terminated. Fails the test if it can't be made. */
struct device *machine_add(struct test_machine *m, const struct device_class *class,
			   const char *const *props);

/**
 * struct guest - The driver's side of one modern device
 * @queues:	Its rings, as set up by guest_queue()
 */
struct guest {
	struct test_machine *m;
	struct virtio *v;
	uint64_t bar;
	uint64_t features;
	gpa_t next;
	struct driver queues[8];
};

/* Maps the BARs, enables MSI-X (vector n for queue n, 63 for configuration) and negotiates; @want:
 * features wanted. */
void guest_start(struct guest *g, struct test_machine *m, struct device *dev, uint64_t want);
void guest_queue(struct guest *g, unsigned int index, uint16_t num);
void guest_ready(struct guest *g);
uint32_t guest_read(struct guest *g, unsigned int offset, unsigned int size);
void guest_write(struct guest *g, unsigned int offset, uint32_t value, unsigned int size);
void guest_kick(struct guest *g, unsigned int queue);
gpa_t guest_alloc(struct guest *g, uint64_t bytes);
/* Waits for the next used chain of a queue, at most 5 s, and runs the main loop meanwhile. */
bool guest_wait(struct guest *g, unsigned int queue, uint16_t *id, uint32_t *written);
/* Adds, kicks, waits. Fails the test on a timeout. Returns bytes written. */
uint32_t guest_do(struct guest *g, unsigned int queue, const struct driver_buf *bufs,
		  unsigned int len);
void machine_poll(struct test_machine *m, int timeout_ms);

#endif
