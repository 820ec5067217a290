/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration does for each page of memory: is it zero, and is it dirty? */
#include "guard/guard.h"

#include "base/bitmap.h"
#include "migrate/ram/zero.h"

#include <stdlib.h>
#include <string.h>

#define PAGES     256
#define PAGE_SIZE 4096
#define BITS      (64 * 4096) /* 1 GiB of pages */

static uint8_t pages[PAGES][PAGE_SIZE] ALIGNED(4096);
static unsigned int zeros;
static struct bitmap map;
static uint64_t merged[BITS / 64], visited;

static void prepare_zero(void)
{
	memset(pages, 0, sizeof(pages));
	zeros = 0;
}

COUNTED static void count_page_zero(void)
{
	for (unsigned int i = 0; i < PAGES; i++)
		zeros += page_is_zero(pages[i]);
}

static void check_zero(void)
{
	guard_must(zeros == PAGES, "page_zero: a page of zeros was taken for data");
}

/* The first byte that isn't zero stands further back from page to page. */
static void prepare_data(void)
{
	prepare_zero();
	for (unsigned int i = 0; i < PAGES; i++)
		pages[i][i * (PAGE_SIZE / PAGES) + 8] = 1;
}

COUNTED static void count_page_data(void)
{
	for (unsigned int i = 0; i < PAGES; i++)
		zeros += page_is_zero(pages[i]);
}

static void check_data(void)
{
	guard_must(!zeros, "page_data: data was taken for a page of zeros");
}

/* One page in 64, and a run of 64 in each 4096, as guests dirty memory. */
static void fill(uint64_t *words)
{
	for (unsigned int w = 0; w < BITS / 64; w++)
		words[w] = w % 64 ? 1ULL << (w * 7 % 64) : ~0ULL;
}

static void prepare_map(void)
{
	bitmap_destroy(&map);
	guard_must(!bitmap_create(&map, BITS), "no memory");
	fill(merged);
	visited = 0;
}

COUNTED static void count_bitmap_merge(void)
{
	visited = bitmap_or(&map, 0, merged, BITS);
}

static void check_merge(void)
{
	guard_must(visited == 64 * 64 + 63 * 64 && bitmap_count(&map) == visited,
		   "bitmap_merge: bits are missing");
}

static void prepare_walk(void)
{
	prepare_map();
	fill(map.words);
}

COUNTED static void count_bitmap_walk(void)
{
	uint64_t bit;

	bitmap_for_each_set (bit, &map)
		visited += bitmap_take(&map, bit);
}

static void check_walk(void)
{
	guard_must(visited == 64 * 64 + 63 * 64 && !bitmap_count(&map),
		   "bitmap_walk: bits were left out");
}

const struct guard_case pages_cases[] = {
	{"page_zero", PAGES, prepare_zero, count_page_zero, check_zero},
	{"page_data", PAGES, prepare_data, count_page_data, check_data},
	{"bitmap_merge", BITS / 64, prepare_map, count_bitmap_merge, check_merge},
	{"bitmap_walk", 64 * 64 + 63 * 64, prepare_walk, count_bitmap_walk, check_walk},
	{0},
};
