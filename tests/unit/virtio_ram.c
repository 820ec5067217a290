/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: stands in for the memory room at link time, so that a queue's tests see each
 * mark of a dirty page and need no files. Only the calls that queues make exist here.
 */
#include "unit/virtio_ram.h"

static uint8_t ram[TEST_RAM_BYTES] ALIGNED(4096);
uint8_t *test_ram = ram;
unsigned int test_dirty[TEST_RAM_BYTES / 4096];
static uint8_t test_rom[TEST_ROM_BYTES] ALIGNED(4096);

void *memory_ptr(struct memory *m, gpa_t gpa, uint64_t len, enum memory_access access)
{
	if (!len)
		return NULL;
	if (access == MEMORY_READ && gpa >= TEST_ROM_GPA && gpa - TEST_ROM_GPA < TEST_ROM_BYTES &&
	    len <= TEST_ROM_BYTES - (gpa - TEST_ROM_GPA))
		return &test_rom[gpa - TEST_ROM_GPA];
	if (gpa < TEST_RAM_GPA || gpa - TEST_RAM_GPA >= TEST_RAM_BYTES ||
	    len > TEST_RAM_BYTES - (gpa - TEST_RAM_GPA))
		return NULL;
	return RAM(gpa);
}

void memory_mark_dirty(struct memory *m, gpa_t gpa, uint64_t len)
{
	uint64_t first = (gpa - TEST_RAM_GPA) / 4096, last = (gpa + len - 1 - TEST_RAM_GPA) / 4096;

	for (uint64_t i = first; i <= last && i < ARRAY_SIZE(test_dirty); i++)
		test_dirty[i]++;
}
