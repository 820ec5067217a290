/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PFLASH_H
#define DEVICE_PFLASH_H

#include "block/block.h"
#include "device/device.h"

#define PFLASH_SECTOR    4096u
#define PFLASH_CFI_BYTES 0x52

/**
 * struct pflash_state - What the guest can see beside the content, which is a RAM block
 * @wcycle:	Step of the command sequence under way, 0: none
 * @cmd:	Command, 0: reads show the content
 * @status:	Status register
 * @counter:	Writes that the buffer command still expects, less one
 */
struct pflash_state {
	uint8_t wcycle, cmd, status, reserved[5];
	uint64_t counter;
};

/**
 * struct pflash - A parallel flash chip with Intel's commands, 8 bits wide, behind a block node
 * @drive, @block, @gpa: Set before realize: the image, its content in memory, where it is seen
 * @secure:	Property: only firmware in SMM may write; for all others it is ROM
 * @attached:	@drive is ours
 * @adopted:	Set before realize: content and image are those of the process before
 * @read_only:	The image is
 * @behind:	State was loaded: the image is written as a whole before the guest runs
 * @failed:	The last write to the image failed, which has been logged
 * @map:	Shows the content while @s.cmd is 0
 * @io:		Answers writes, and reads while the content isn't shown
 * @out:	Way to the image
 */
struct pflash {
	struct device dev;
	struct pflash_state s;
	struct block_node *drive;
	struct ram_block *block;
	gpa_t gpa;
	bool secure, attached, adopted, read_only, behind, failed;
	struct memory_map *map;
	struct io_region io;
	struct block_sync *out;
	uint8_t cfi[PFLASH_CFI_BYTES];
};

#endif
