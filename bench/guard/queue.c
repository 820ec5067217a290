/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a ring in guest memory that the memory room made, filled by the unit tests'
 * driver with requests as virtio-blk has them (header, 4 KiB of data, status); counted is the
 * device's side only: taking all, giving all back, publishing them.
 */
#include "guard/guard.h"

#include "device/virtio/virtqueue.h"
#include "unit/virtio_driver.h"

#include <string.h>

#define RING     256
#define REQUESTS 64
#define DATA_GPA (TEST_RAM_GPA + 0x100000)

uint8_t *test_ram; /* where the driver writes */

static struct memory memory;
static struct ram_block *ram;
static struct virtqueue queue;
static struct virtq_scratch scratch;
static struct driver driver;
static struct virtq_chain *chains[REQUESTS];

static void make_ram(void)
{
	struct memory_map *map;
	struct err e;

	if (ram)
		return;
	memory_init(&memory);
	guard_must(!ram_create(&memory, "pc.ram", TEST_RAM_BYTES,
			       &(struct ram_options){.kind = RAM_MEMFD}, &ram, &e),
		   "no memory for the guest");
	guard_must(!memory_map_add(&memory,
				   &(struct memory_map){.gpa = TEST_RAM_GPA,
							.size = TEST_RAM_BYTES,
							.block = ram,
							.enabled = true},
				   &map, &e),
		   "no place for the guest's memory");
	test_ram = ram->hva;
}

static void prepare(uint64_t features)
{
	struct driver_buf bufs[] = {{DATA_GPA, 16, false},
				    {DATA_GPA + 0x1000, 4096, true},
				    {DATA_GPA + 0x800, 1, true}};

	make_ram();
	memset(&queue, 0, sizeof(queue));
	virtqueue_init(&queue, &memory, &scratch, 0, RING);
	driver_init(&driver, &queue, RING, features, TEST_RAM_GPA, false);
	guard_must(virtqueue_start(&queue, features), "the ring doesn't start");
	for (unsigned int i = 0; i < REQUESTS; i++)
		guard_must(driver_add(&driver, bufs, 3) >= 0, "the ring is too small");
}

static void take_all(void)
{
	for (unsigned int i = 0; i < REQUESTS; i++)
		chains[i] = virtqueue_pop(&queue, sizeof(struct virtq_chain));
}

static void give_all(void)
{
	for (unsigned int i = 0; i < REQUESTS; i++)
		virtqueue_push(&queue, chains[i], 4097);
	virtqueue_flush(&queue);
}

static void check_taken(void)
{
	for (unsigned int i = 0; i < REQUESTS; i++)
		guard_must(chains[i] && chains[i]->in_bytes == 4097, "a request is missing");
	guard_must(!virtqueue_pop(&queue, sizeof(struct virtq_chain)), "one request too many");
	give_all();
}

static void check_given(void)
{
	uint32_t written;
	uint16_t id;

	for (unsigned int i = 0; i < REQUESTS; i++)
		guard_must(driver_take(&driver, &id, &written) && written == 4097,
			   "a request did not come back");
}

static void prepare_split(void)
{
	prepare(VIRTQ_F_VERSION_1 | VIRTQ_F_EVENT_IDX);
}

static void prepare_packed(void)
{
	prepare(VIRTQ_F_VERSION_1 | VIRTQ_F_EVENT_IDX | VIRTQ_F_PACKED);
}

static void prepare_split_push(void)
{
	prepare_split();
	take_all();
}

static void prepare_packed_push(void)
{
	prepare_packed();
	take_all();
}

COUNTED static void count_split_pop(void)
{
	take_all();
}

COUNTED static void count_split_push(void)
{
	give_all();
}

COUNTED static void count_packed_pop(void)
{
	take_all();
}

COUNTED static void count_packed_push(void)
{
	give_all();
}

const struct guard_case queue_cases[] = {
	{"split_pop", REQUESTS, prepare_split, count_split_pop, check_taken},
	{"split_push", REQUESTS, prepare_split_push, count_split_push, check_given},
	{"packed_pop", REQUESTS, prepare_packed, count_packed_pop, check_taken},
	{"packed_push", REQUESTS, prepare_packed_push, count_packed_push, check_given},
	{0},
};
