/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_VIRTIO_RAM_H
#define TESTS_UNIT_VIRTIO_RAM_H

#include "memory/memory.h"

/* Guest memory for tests of queues: one window of RAM, one of ROM, and a count of dirty marks per
 * page. */
#define TEST_RAM_GPA   0x100000
#define TEST_RAM_BYTES 0x200000
#define TEST_ROM_GPA   0xf0000
#define TEST_ROM_BYTES 0x1000

extern uint8_t *test_ram; /* the byte at TEST_RAM_GPA */
extern unsigned int test_dirty[TEST_RAM_BYTES / 4096];

#define RAM(gpa) (&test_ram[(gpa)-TEST_RAM_GPA])

#endif
