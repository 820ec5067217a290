/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_IO_VIEW_H
#define DEVICE_IO_VIEW_H

#include "device/io.h"

/**
 * struct io_range - Addresses that one region answers
 * @first, @last: Bounds, both included
 * @start, @end: Of the region, both included; parts of it may be hidden by others. An access that
 *		begins in the range is the region's as far as @end, as on a PC where port 0xcf9 lies
 *		inside the 32-bit register at 0xcf8
 * @region:	Who answers
 */
struct io_range {
	uint64_t first, last, start, end;
	struct io_region *region;
};

/**
 * struct io_view - What answers where: ranges in order of address, none overlapping. Immutable
 * @len:	How many
 * @ranges:	They
 */
struct io_view {
	size_t len;
	struct io_range ranges[];
};

struct io_view *io_view_make(const struct list *regions);
const struct io_range *io_view_find(const struct io_view *v, uint64_t addr);

#endif
