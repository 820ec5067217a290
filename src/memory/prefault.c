/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a process that has just mapped the memory of a guest that runs elsewhere has
 * no page table entries for it. Each page that the guest touches afterwards then costs a fault of
 * this process inside KVM's own. Entries for pages that are in memory can be made beforehand. Pages
 * that aren't must stay so: touching a hole would allocate it. mincore(2) tells them apart, and
 * SEEK_DATA passes over large holes. Low addresses come first, where kernels are.
 *
 * Only for shared memory (memfd, tmpfs): there a page in memory is all there is to it. What is on
 * hugetlbfs has few entries to make; files on a disk would be read.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "memory/memory.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#define CHUNK (2 * MiB)

static bool shared_memory(const struct ram_block *b)
{
	struct statfs fs;

	return fstatfs(b->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* One run of pages that are there. Only a hint: a kernel without it has nothing to say. */
static void run_map(const struct ram_block *b, uint64_t at, uint64_t bytes)
{
	if (bytes)
		(void)!madvise(b->hva + at, bytes, MADV_POPULATE_READ);
}

static void chunk_map(const struct ram_block *b, uint64_t at, uint64_t bytes)
{
	uint8_t in_memory[CHUNK / 4096];
	uint64_t page = page_size(), begin = at;

	if (mincore(b->hva + at, bytes, in_memory) < 0)
		return;
	for (uint64_t i = 0; i < bytes / page; i++) {
		if (in_memory[i] & 1)
			continue;
		run_map(b, begin, at + i * page - begin);
		begin = at + (i + 1) * page;
	}
	run_map(b, begin, at + bytes - begin);
}

static uint64_t data_from(const struct ram_block *b, uint64_t at)
{
	off_t data = lseek(b->fd, (off_t)(b->fd_offset + at), SEEK_DATA);

	return data < 0 ? b->size : MIN((uint64_t)data - b->fd_offset, b->size);
}

static bool block_map(const struct ram_block *b, int64_t end_ns)
{
	for (uint64_t at = data_from(b, 0); at < b->size; at = data_from(b, at)) {
		uint64_t bytes = MIN(CHUNK - at % CHUNK, b->size - at);

		if (time_ns() >= end_ns)
			return false;
		chunk_map(b, at, bytes);
		at += bytes;
	}
	return true;
}

/**
 * memory_prefault() - Make page table entries for what is in memory already
 * @m:		Guest memory that another process has filled
 * @budget_ns:	Begin nothing more after this long
 *
 * Allocates no page of the guest's.
 */
void memory_prefault(struct memory *m, int64_t budget_ns)
{
	int64_t end_ns = time_ns() + budget_ns;
	const struct ram_block *b;

	list_for_each (b, &m->blocks, link)
		if (shared_memory(b) && !block_map(b, end_ns))
			return;
}
