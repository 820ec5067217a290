/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * As many threads as requests shall be in flight, each with blocks of its own, so that no two
 * requests meet. A thread writes or reads one block at a time, past the page cache where the file
 * system allows it, and knows from its shadow table what each read must give. Counters are added to
 * by all threads, so they are atomic; what belongs to the first bad block is written by whoever is
 * first.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "disk.h"

#define THREADS_MAX 64
#define BLOCK_MARK  (1ull << 62) /* block numbers are kept apart from page numbers */

/** struct disk_thread - One request at a time on blocks @first to @first + @count */
struct disk_thread {
	struct witness *w;
	struct pulse_device *out;
	int fd;
	uint64_t first, count;
	uint32_t *shadow;
	uint64_t *buffer;
	uint64_t random;
};

static struct disk_thread threads[THREADS_MAX];

static void add(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void note_time(struct disk_thread *t, uint64_t ticks)
{
	uint64_t ns = clock_ns(&t->w->clock, ticks), longest = t->out->longest_ns;

	while (ns > longest)
		if (__atomic_compare_exchange_n(&t->out->longest_ns, &longest, ns, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			break;
}

static void check(struct disk_thread *t, const struct page_name *name)
{
	struct pulse_fault fault;

	add(&t->out->in);
	if (page_verify(t->buffer, name, &fault))
		return;
	if (__atomic_fetch_add(&t->out->bad, 1, __ATOMIC_RELAXED) == 0) {
		t->out->first_bad = name->page & ~BLOCK_MARK;
		t->out->want = name->seq;
		t->out->found = fault.found_seq;
	}
	t->shadow[(name->page & ~BLOCK_MARK) - t->first] = 0;
}

static void one_block(struct disk_thread *t)
{
	uint64_t number, start;
	struct page_name name = {.life = t->w->report->life};
	off_t at;
	ssize_t done;

	t->random += 0x9e3779b97f4a7c15ull;
	number = mix64(t->random, t->random >> 29);
	name.page = BLOCK_MARK | (t->first + number % t->count);
	name.seq = t->shadow[number % t->count];
	at = (off_t)((t->first + number % t->count) * PAGE_BYTES);
	start = tsc();
	if (!name.seq || number >> 63) {
		name.seq++;
		page_write(t->buffer, &name, PAGE_RANDOM);
		done = pwrite(t->fd, t->buffer, PAGE_BYTES, at);
		t->shadow[number % t->count] = done == PAGE_BYTES ? (uint32_t)name.seq : 0;
		if (done == PAGE_BYTES)
			add(&t->out->out);
	} else {
		done = pread(t->fd, t->buffer, PAGE_BYTES, at);
		if (done == PAGE_BYTES)
			check(t, &name);
	}
	note_time(t, tsc() - start);
	if (done != PAGE_BYTES)
		add(&t->out->lost);
}

static void *run(void *arg)
{
	for (;;)
		one_block(arg);
	return NULL;
}

static int open_disk(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_END) < (off_t)bytes && ftruncate(fd, (off_t)bytes) < 0) {
		int code = errno;

		close(fd);
		return -code;
	}
	return fd;
}

static int start_thread(struct disk_thread *t)
{
	pthread_t thread;
	void *buffer = NULL;

	t->shadow = calloc(t->count, sizeof(*t->shadow));
	if (!t->shadow || posix_memalign(&buffer, PAGE_BYTES, PAGE_BYTES))
		return -ENOMEM;
	t->buffer = buffer;
	return -pthread_create(&thread, NULL, run, t);
}

int disk_start(struct witness *w, struct pulse_device *out, const char *path)
{
	uint64_t wanted = w->args.blk ? w->args.blk : 1, blocks = w->args.blk_bytes / PAGE_BYTES;
	unsigned int count = wanted < THREADS_MAX ? (unsigned int)wanted : THREADS_MAX;
	int fd = open_disk(path, w->args.blk_bytes), code = 0;

	if (fd < 0)
		return fd;
	if (blocks < count)
		return -ENOSPC;
	out->kind = 1;
	out->depth = count;
	out->id = w->args.blk_bytes / 512;
	out->state = 1;
	for (unsigned int i = 0; i < count && !code; i++) {
		uint64_t first = blocks * i / count, end = blocks * (i + 1) / count;

		threads[i] = (struct disk_thread){
			.w = w,
			.out = out,
			.fd = fd,
			.first = first,
			.count = end - first,
			.random = mix64(w->report->life, i),
		};
		code = start_thread(&threads[i]);
	}
	return code;
}
