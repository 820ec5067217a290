/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the nodes share the guest's memory in their order, as if it had no holes:
 * the first one begins at 0, each next one where the one before has ended. Where RAM isn't seen
 * (640 KiB to 1 MiB, and from the end of low memory to 4 GiB) a node's range is cut; what lies
 * behind low memory goes on at 4 GiB. Sources: ACPI 6.5, 5.2.16 (SRAT) and 5.2.17 (SLIT); QEMU's
 * docs/specs/fw_cfg
 */
#include "machine/q35/numa.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "device/fw_cfg.h"
#include "machine/q35/acpi.h"
#include "machine/q35/q35.h"

#define CONVENTIONAL_END (640 * KiB)

struct ranges {
	struct acpi_node *at;
	size_t len;
};

/* What of [from, to) lies in [low, high), seen @shift further up. */
static void add(struct ranges *r, uint32_t node, const uint64_t range[2], const uint64_t window[2],
		uint64_t shift)
{
	uint64_t from = MAX(range[0], window[0]), to = MIN(range[1], window[1]);

	if (from < to)
		r->at[r->len++] = (struct acpi_node){from + shift, to - from, node};
}

/**
 * numa_ranges() - The entries for memory that SRAT has
 * @n:		The nodes
 * @below_4g:	End of low memory
 * @ret:	Set to the entries, those of size 0 at the end included; the caller frees them
 *
 * QEMU's tables have two entries more than nodes, at least, for an operating system that counted on
 * it; those that aren't needed are of size 0.
 *
 * Return: how many
 */
size_t numa_ranges(const struct q35_numa *n, uint64_t below_4g, struct acpi_node **ret)
{
	const uint64_t windows[][2] = {
		{0, CONVENTIONAL_END}, {MiB, below_4g}, {below_4g, UINT64_MAX}};
	struct ranges r = {.at = mem_calloc(n->nodes + ARRAY_SIZE(windows), sizeof(*r.at))};
	uint64_t at = 0;

	for (unsigned int i = 0; i < n->nodes; i++) {
		const uint64_t range[] = {at, at + n->bytes[i]};

		add(&r, i, range, windows[0], 0);
		add(&r, i, range, windows[1], 0);
		add(&r, i, range, windows[2], 4 * GiB - below_4g);
		at = range[1];
	}
	*ret = r.at;
	return MAX(r.len, (size_t)n->nodes + 2);
}

/**
 * q35_numa_tell() - What fw_cfg says of nodes: how many, each vCPU's by APIC id, each one's bytes
 * @q:		The machine; with or without nodes
 */
void q35_numa_tell(struct q35 *q)
{
	unsigned int ids = x86_apic_id(&q->cpuid.topology, q->max_cpus - 1) + 1;
	unsigned int nodes = q->numa ? q->numa->nodes : 0;
	size_t len = (1 + ids + nodes) * sizeof(uint64_t);
	OWNED(uint8_t *) words = mem_zalloc(len);

	store_le64(words, nodes);
	for (unsigned int i = 0; nodes && i < q->max_cpus; i++)
		store_le64(words + (size_t)8 * (1 + x86_apic_id(&q->cpuid.topology, i)),
			   q->numa->vcpus[i]);
	for (unsigned int i = 0; i < nodes; i++)
		store_le64(words + (size_t)8 * (1 + ids + i), q->numa->bytes[i]);
	fw_cfg_add(q->fw_cfg, FW_CFG_NUMA, words, len);
}
