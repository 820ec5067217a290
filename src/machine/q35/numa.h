/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_NUMA_H
#define MACHINE_Q35_NUMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define Q35_NODES_MAX  128 /* QEMU's MAX_NODES: numbers are 7 bits in its own tables too */
#define Q35_PLACES_MAX 288 /* places for vCPUs */
#define Q35_FARTHEST   255
#define Q35_NEAREST    10 /* a node to itself. ACPI 6.5, 5.2.17 */

/**
 * struct q35_numa - How memory and vCPUs of a guest belong together, for SRAT and SLIT
 * @nodes:	How many; numbered from 0 without gaps
 * @bytes:	RAM of each, in the order of the memory; a node may have none
 * @vcpus:	By place: its node
 * @distances:	@distance is filled in, all of it
 * @distance:	From one to another, Q35_NEAREST to Q35_FARTHEST (cannot be reached)
 */
struct q35_numa {
	unsigned int nodes;
	uint64_t bytes[Q35_NODES_MAX];
	uint8_t vcpus[Q35_PLACES_MAX];
	bool distances;
	uint8_t distance[Q35_NODES_MAX][Q35_NODES_MAX];
};

struct acpi_node;
struct q35;

size_t numa_ranges(const struct q35_numa *n, uint64_t below_4g, struct acpi_node **ret);
void q35_numa_tell(struct q35 *q);

#endif
