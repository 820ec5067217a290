/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot with pages at fixed places, damaged here and there: the input is a list of damages
 * (steps.h), since a file is mostly holes and pages. The loader must refuse it with a reason and
 * without touching a device, or take it whole; and what it takes with its sums in place must be the
 * guest that was saved.
 */
#include "base/owned.h"
#include "migrate_guest.h"
#include "steps.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#define TRAILER_BYTES 32
#define STREAM_BYTES  4096 /* more than all that isn't pages */

/**
 * struct mapped_file - The file that is damaged, and what it was
 * @fd, @path:	In memory
 * @good, @len:	What it was
 */
struct mapped_file {
	int fd;
	char path[64];
	uint8_t *good;
	size_t len;
};

static void put(const struct mapped_file *f, size_t at, uint32_t value)
{
	if (at + 4 > f->len || pwrite(f->fd, &value, 4, (off_t)at) != 4)
		return; /* behind the end there is nothing to damage */
}

static void in_stream(void *opaque, const struct step *s)
{
	put(opaque, s->where % STREAM_BYTES, s->value);
}

static void in_tail(void *opaque, const struct step *s)
{
	const struct mapped_file *f = opaque;

	put(f, f->len - 4 - s->where % STREAM_BYTES, s->value);
}

static void in_pages(void *opaque, const struct step *s)
{
	const struct mapped_file *f = opaque;

	put(f, ((size_t)s->where << 8 | s->how) % f->len, s->value);
}

static void one_bit(void *opaque, const struct step *s)
{
	const struct mapped_file *f = opaque;
	size_t at = s->how & 1 ? s->where % STREAM_BYTES : f->len - 1 - s->where % STREAM_BYTES;
	uint8_t byte = f->good[at] ^ (uint8_t)(1U << (s->value & 7));

	put(f, at & ~3UL,
	    (load_le32(f->good + (at & ~3UL)) & ~(0xffU << 8 * (at & 3))) |
		    (uint32_t)byte << 8 * (at & 3));
}

static void cut(void *opaque, const struct step *s)
{
	const struct mapped_file *f = opaque;
	size_t to = s->how & 1 ? f->len - s->where % STREAM_BYTES : s->value % f->len;

	if (ftruncate(f->fd, (off_t)to) < 0)
		abort();
}

static void write_all(const struct mapped_file *f)
{
	if (ftruncate(f->fd, 0) < 0 || ftruncate(f->fd, (off_t)f->len) < 0)
		abort();
	for (size_t at = 0; at < f->len; at += STREAM_BYTES) {
		size_t n = MIN(f->len - at, (size_t)STREAM_BYTES);

		if ((f->good[at] || memcmp(f->good + at, f->good + at + 1, n - 1) != 0) &&
		    pwrite(f->fd, f->good + at, n, (off_t)at) != (ssize_t)n)
			abort();
	}
}

/* The guest @g in a file of one of the two layouts. */
static struct mapped_file *file_make(struct guest *g, bool packed)
{
	struct mapped_file *f = mem_zalloc(sizeof(*f));
	char name[] = "/tmp/outlive-fuzz-XXXXXX";
	struct migrate_job job = guest_job(g, NULL);
	struct err e = {0};
	int fd = mkstemp(name);

	job.options.mapped = true;
	job.options.packed = packed;
	if (fd < 0 || migrate_snapshot_save(&job, name, false, &e) < 0)
		abort();
	close(fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	unlink(name);
	f->len = (size_t)lseek(fd, 0, SEEK_END);
	f->good = mem_zalloc(f->len);
	if (pread(fd, f->good, f->len, 0) != (ssize_t)f->len)
		abort();
	close(fd);
	f->fd = memfd_create("fuzz", MFD_CLOEXEC);
	snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
	return f;
}

static bool trailer_is_whole(const struct mapped_file *f)
{
	uint8_t now[TRAILER_BYTES];

	return lseek(f->fd, 0, SEEK_END) == (off_t)f->len &&
	       pread(f->fd, now, sizeof(now), (off_t)(f->len - sizeof(now))) == sizeof(now) &&
	       !memcmp(now, f->good + f->len - sizeof(now), sizeof(now));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	Damages
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static step_fn *const deeds[] = {in_stream, in_tail, in_pages, one_bit, cut};
	static struct guest *from, *to;
	static struct mapped_file *files[2];
	const struct mapped_file *file;
	struct migrate_job job;
	struct err e = {0};
	unsigned int before;
	int r, verified;

	if (!from) {
		from = guest_create_used();
		to = guest_create();
		files[0] = file_make(from, false);
		files[1] = file_make(from, true);
	}
	file = files[size && data[size - 1] & 1];
	write_all(file);
	steps_run(data, size, deeds, ARRAY_SIZE(deeds), NULL, (void *)(uintptr_t)file);
	verified = migrate_snapshot_verify(file->fd, &e);
	if (verified < 0 && !e.msg[0])
		abort();
	before = to->applied;
	job = guest_job(to, NULL);
	r = migrate_snapshot_load(&job, file->path, &e);
	if (r < 0 ? !e.msg[0] || to->applied != before : to->applied != before + 2)
		abort();
	if (r == 0 && trailer_is_whole(file) && !guest_same(from, to))
		abort();
	if (verified == 0 && r < 0) /* somebody has given up a guest for it */
		abort();
	return 0;
}
