/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables for everything: identity, writable, for ring 3, in the largest pages the CPU has.
 * They are built aside and switched to at once: writing to tables in use is dear where the host
 * shadows them.
 */
#include "insn.h"
#include "platform.h"

#define GIB         (1ull << 30)
#define LOW_GIB     4          /* always mapped: RAM and MMIO below 4 GiB */
#define FEATURE_GIB (1u << 26) /* CPUID 0x80000001 edx: 1 GiB pages */

extern char __image_end[];

static uint64_t next_page;
static uint64_t *root;

uint64_t early_end(void)
{
	if (!next_page)
		next_page = (uintptr_t)__image_end;
	return next_page;
}

void *early_pages(uint64_t count)
{
	uint64_t at = early_end();

	next_page += count * PAGE_BYTES;
	return memset((void *)at, 0, count * PAGE_BYTES);
}

uint64_t paging_root(void)
{
	return (uintptr_t)root;
}

static uint64_t *next_level(uint64_t *entry)
{
	if (!*entry)
		*entry = (uintptr_t)early_pages(1) + PTE_DIR;
	return (uint64_t *)(*entry & 0x000ffffffffff000ull);
}

static bool has_gib_pages(void)
{
	return cpuid(0x80000000, 0).eax >= 0x80000001 && cpuid(0x80000001, 0).edx & FEATURE_GIB;
}

static void map_gib(uint64_t gpa)
{
	uint64_t *pdpt = next_level(&root[gpa >> 39 & 511]), *pd;

	if (pdpt[gpa >> 30 & 511])
		return;
	if (has_gib_pages()) {
		pdpt[gpa >> 30 & 511] = (gpa & ~(GIB - 1)) + PTE_LARGE;
		return;
	}
	pd = next_level(&pdpt[gpa >> 30 & 511]);
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = (gpa & ~(GIB - 1)) + (i << 21) + PTE_LARGE;
}

volatile void *paging_map(uint64_t gpa)
{
	map_gib(gpa);
	return (volatile void *)gpa;
}

void paging_full(const struct platform *p)
{
	root = early_pages(1);
	for (uint64_t i = 0; i < LOW_GIB; i++)
		map_gib(i * GIB);
	for (unsigned int r = 0; r < p->ram_ranges; r++)
		for (uint64_t at = p->ram[r].base & ~(GIB - 1);
		     at < p->ram[r].base + p->ram[r].bytes; at += GIB)
			map_gib(at);
	load_cr3(paging_root());
}
