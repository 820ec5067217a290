/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: requests that only a hostile driver makes, at an image file: it says how
 * long they are and how their buffers lie, and the VMM's own memory must not follow. The largest
 * piece that is allocated meanwhile is what the sanitizer's hook saw; where there is none only the
 * data are looked at.
 */
#include "block/block.h"

#include "base/loop.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define LARGEST (2 * MiB)
#define PIECES  1024
#define PIECE   (256 * KiB)
#define SMALL   (96 * KiB)
#define WRITES  200 /* more than may be under way at once */

typedef void malloc_hook(const volatile void *p, size_t bytes);
typedef void free_hook(const volatile void *p);

int __sanitizer_install_malloc_and_free_hooks(malloc_hook *, free_hook *) __attribute__((weak));

static size_t largest;

static void on_malloc(const volatile void *p, size_t bytes)
{
	if (bytes > largest)
		largest = bytes;
}

static void on_free(const volatile void *p)
{
}

struct fixture {
	char path[64];
	struct loop *loop;
	struct block_node *node;
	struct block_queue *q;
	unsigned int done;
};

/**
 * struct request - A request and its end
 */
struct request {
	struct block_request r;
	struct fixture *f;
	int ret;
};

static void on_complete(struct block_request *r, int ret)
{
	struct request *x = CONTAINER_OF(r, struct request, r);

	x->ret = ret;
	x->f->done++;
}

/* False: this file system has no direct I/O. */
static bool setup(struct fixture *f, int fd, bool direct, uint64_t bytes)
{
	json_t *options;
	struct err e;
	int r;

	memset(f, 0, sizeof(*f));
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", fd);
	options = json_pack("{s:s,s:s,s:s,s:{s:b}}", "driver", "file", "node-name", "d0",
			    "filename", f->path, "cache", "direct", direct);
	r = block_open(options, &f->node, &e);
	json_decref(options);
	if (r < 0 && direct)
		return false;
	if (r < 0 || loop_create(&f->loop, &e) < 0 ||
	    block_queue_open(f->node, f->loop, &f->q, &e) < 0)
		fail_msg("%s", e.msg);
	largest = 0;
	return true;
}

static void teardown(struct fixture *f, int fd)
{
	struct err e;

	block_queue_close(f->q);
	loop_destroy(f->loop);
	assert_int_equal(block_remove("d0", &e), 0);
	close(fd);
}

static void submit(struct fixture *f, struct request *x, enum block_op op, uint64_t offset,
		   struct iovec *iov, int iov_len, uint64_t bytes)
{
	*x = (struct request){.f = f, .ret = 1};
	x->r.op = op;
	x->r.offset = offset;
	x->r.bytes = bytes;
	x->r.iov = iov;
	x->r.iov_len = iov_len;
	x->r.complete = on_complete;
	block_submit(f->q, &x->r);
}

static int image_in_folder(void)
{
	char path[] = "block-file-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

static void a_request_beyond_all_measure_takes_a_bounded_copy(void **state)
{
	uint8_t *buf = (uint8_t *)mem_zalloc(PIECE + 4096) + 1;
	struct iovec *iov = mem_calloc(PIECES, sizeof(*iov));
	int fd = image_in_folder();
	struct fixture f;
	struct request x;

	if (setup(&f, fd, true, PIECES * PIECE)) {
		for (int i = 0; i < PIECES; i++)
			iov[i] = (struct iovec){buf, PIECE};
		memset(buf, 0xaa, PIECE);
		submit(&f, &x, BLOCK_READ, 0, iov, PIECES, PIECES * PIECE);
		block_drain(f.q);
		assert_int_equal(x.ret, 0);
		assert_true(!buf[0] && !memcmp(buf, buf + 1, PIECE - 1));
		assert_true(largest <= LARGEST);
		teardown(&f, fd);
	}
	free(iov);
	free(buf - 1);
}

static void writes_that_are_not_aligned_all_arrive(void **state)
{
	uint8_t *buf = (uint8_t *)mem_zalloc((size_t)WRITES * SMALL + 1) + 1;
	uint8_t *back = mem_zalloc(SMALL);
	struct request *x = mem_calloc(WRITES, sizeof(*x));
	struct iovec *iov = mem_calloc(WRITES, 2 * sizeof(*iov));
	int fd = image_in_folder();
	struct fixture f;

	for (size_t i = 0; i < (size_t)WRITES * SMALL; i++)
		buf[i] = (uint8_t)(i / SMALL + i);
	if (setup(&f, fd, true, (uint64_t)WRITES * SMALL)) {
		for (size_t i = 0; i < WRITES; i++) {
			iov[2 * i] = (struct iovec){buf + i * SMALL, 777};
			iov[2 * i + 1] = (struct iovec){buf + i * SMALL + 777, SMALL - 777};
			submit(&f, &x[i], BLOCK_WRITE, i * SMALL, &iov[2 * i], 2, SMALL);
		}
		block_kick(f.q);
		block_drain(f.q);
		assert_int_equal(f.done, WRITES);
		for (size_t i = 0; i < WRITES; i++) {
			assert_int_equal(x[i].ret, 0);
			assert_int_equal(pread(fd, back, SMALL, (off_t)(i * SMALL)), SMALL);
			assert_memory_equal(back, buf + i * SMALL, SMALL);
		}
		teardown(&f, fd);
	}
	free(iov);
	free(x);
	free(back);
	free(buf - 1);
}

/* Memory is a file system that can't make a range of zeros. */
static void zeros_take_no_memory(void **state)
{
	const uint64_t bytes = 64 * MiB, from = 4096;
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct fixture f;
	struct request x;
	uint8_t *image;

	assert_true(setup(&f, fd, false, bytes + 2 * from));
	image = mmap(NULL, bytes + 2 * from, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(image != MAP_FAILED);
	memset(image, 0x55, bytes + 2 * from);
	submit(&f, &x, BLOCK_WRITE_ZEROES, from, NULL, 0, bytes);
	block_drain(f.q);
	assert_int_equal(x.ret, 0);
	assert_true(largest <= LARGEST);
	assert_true(!image[from] && !memcmp(image + from, image + from + 1, bytes - 1));
	assert_true(image[from - 1] == 0x55 && image[from + bytes] == 0x55);
	munmap(image, bytes + 2 * from);
	teardown(&f, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_beyond_all_measure_takes_a_bounded_copy),
		cmocka_unit_test(writes_that_are_not_aligned_all_arrive),
		cmocka_unit_test(zeros_take_no_memory),
	};

	if (__sanitizer_install_malloc_and_free_hooks)
		__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
