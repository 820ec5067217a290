/* SPDX-License-Identifier: Apache-2.0 */
/* What touching, copying and sharing memory costs. RAM blocks come from the memory room. */
#include "floor/floor.h"

#include "memory/memory.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GROUP "Memory"
#define SIZE  (32ULL << 20)
#define PAGES (SIZE / 4096)

static void touch(struct floor_table *t, const char *name, uint8_t *at)
{
	uint64_t start = floor_now();

	for (uint64_t i = 0; i < PAGES; i++)
		*(volatile uint8_t *)(at + i * 4096) = 1;
	floor_add(t, GROUP, name, (double)(floor_now() - start) / 1e3 / PAGES);
}

static void map_again(struct floor_table *t, int fd)
{
	uint64_t start = floor_now();
	void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED) {
		floor_missing(t, GROUP, "second mapping");
		return;
	}
	floor_since(t, GROUP, "map 32 MiB that are there", start);
	touch(t, "first touch of a page that is there", at);
	munmap(at, SIZE);
}

static void copy(struct floor_table *t, uint8_t *to, const uint8_t *from)
{
	uint64_t start = floor_now();

	for (unsigned int i = 0; i < 4; i++)
		memcpy(to, from, SIZE / 2);
	floor_add(t, GROUP, "memcpy of 1 MiB", (double)(floor_now() - start) / 1e3 / (SIZE >> 19));
}

/**
 * floor_memory() - One round of memory's costs
 * @t:		Receives the figures
 */
void floor_memory(struct floor_table *t)
{
	struct ram_block *b;
	struct memory m;
	struct err e = {0};
	uint64_t start;

	memory_init(&m);
	start = floor_now();
	if (ram_create(&m, "floor", SIZE, &(struct ram_options){.kind = RAM_MEMFD}, &b, &e) < 0) {
		floor_missing(t, GROUP, e.msg);
	} else {
		floor_since(t, GROUP, "create a memory file", start);
		touch(t, "first touch of a new page", b->hva);
		map_again(t, b->fd);
		copy(t, b->hva, b->hva + SIZE / 2);
		start = floor_now();
		ram_destroy(&m, b);
		floor_since(t, GROUP, "release 32 MiB", start);
	}
	memory_destroy(&m);
}
