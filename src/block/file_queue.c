/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one io_uring per queue. Requests become submission entries at once and go to
 * the kernel together at block_kick(); completions arrive because the ring's own descriptor is in
 * the event loop. A transfer that comes back short goes on from where it stopped; reading beyond
 * the end of the file gives zeros (the file may be shorter than the last sector). With direct I/O
 * buffers that aren't aligned are replaced by an aligned one. It is the guest that says how long a
 * request is and how its buffers lie, so such a request goes piece by piece through a buffer of
 * bounded size, and so many at a time; zeros that the file system can't make by itself are written
 * from one place again and again.
 */
#include "block/file.h"

#include "base/clock.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#define RING_ENTRIES 256
#define BOUNCE_BYTES MiB /* of a request that isn't aligned: what is on its way at once */
#define BOUNCES_MAX  64  /* such requests under way in a queue */
#define ZERO_BYTES   (64 * KiB)
#define ZERO_PIECES  1024 /* as many as there may be in one write */

static uint8_t zeros[ZERO_BYTES] ALIGNED(4096); /* never written */

/**
 * struct ring - A queue's io_uring
 * @uring:	The ring
 * @source:	Its descriptor in the event loop
 * @waiting:	Operations that found no free entry, or too many others with a buffer of their own
 * @spare:	Operations kept for reuse
 * @unsubmitted: Entries not yet given to the kernel
 * @bounces:	Operations that have a buffer of their own
 */
struct ring {
	struct io_uring uring;
	sd_event_source *source;
	struct list waiting, spare;
	unsigned int unsubmitted, bounces;
};

/**
 * struct op - One request on its way, in steps
 * @done_bytes:	Transferred so far
 * @iov:	What is left of the buffers, or of the piece in @bounce; owned
 * @unaligned:	Goes through @bounce
 * @bounce:	Aligned, or NULL
 * @flushing:	The write is done, its FUA flush is under way
 */
struct op {
	struct list link;
	struct block_queue *q;
	struct block_request *r;
	uint64_t done_bytes;
	struct iovec *iov;
	int iov_len;
	void *bounce;
	bool unaligned, flushing;
};

static struct op *op_take(struct ring *ring)
{
	struct op *op;

	if (list_empty(&ring->spare))
		return mem_zalloc(sizeof(*op));
	op = list_entry(ring->spare.next, struct op, link);
	list_del(&op->link);
	return op;
}

static void op_release(struct op *op)
{
	struct ring *ring = op->q->priv;

	ring->bounces -= op->bounce != NULL;
	free(op->iov);
	free(op->bounce);
	*op = (struct op){0};
	list_add_tail(&ring->spare, &op->link);
}

static void op_end(struct op *op, int ret)
{
	struct block_request *r = op->r;

	op_release(op);
	block_complete(r, ret);
}

static bool aligned(const struct block_request *r, uint32_t memory_alignment)
{
	for (int i = 0; i < r->iov_len; i++)
		if (((uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len) % memory_alignment)
			return false;
	return true;
}

/* Copies between @flat and the request's buffers, from their byte @skip on; NULL: zeros to them. */
static void copy_iov(const struct block_request *r, uint64_t skip, uint8_t *flat, uint64_t len,
		     bool to_iov)
{
	for (int i = 0; i < r->iov_len && len; i++) {
		uint8_t *buf = (uint8_t *)r->iov[i].iov_base + skip;
		uint64_t n;

		if (skip >= r->iov[i].iov_len) {
			skip -= r->iov[i].iov_len;
			continue;
		}
		n = MIN(r->iov[i].iov_len - skip, len);
		if (!flat)
			memset(buf, 0, n);
		else
			memcpy(to_iov ? buf : flat, to_iov ? flat : buf, n);
		flat = flat ? flat + n : NULL;
		len -= n;
		skip = 0;
	}
}

/* The request's own buffers. */
static void op_buffers(struct op *op)
{
	const struct block_request *r = op->r;

	op->iov = mem_calloc((size_t)r->iov_len, sizeof(*op->iov));
	memcpy(op->iov, r->iov, (size_t)r->iov_len * sizeof(*op->iov));
	op->iov_len = r->iov_len;
}

/* The next piece of a request whose buffers aren't aligned. */
static void piece_begin(struct op *op)
{
	const struct block_request *r = op->r;
	uint64_t len = MIN(r->bytes - op->done_bytes, (uint64_t)BOUNCE_BYTES);

	if (r->op == BLOCK_WRITE)
		copy_iov(r, op->done_bytes, op->bounce, len, false);
	op->iov[0] = (struct iovec){.iov_base = op->bounce, .iov_len = len};
	op->iov_len = 1;
}

/* False: it has to wait for others to end. @ret: there is no memory. */
static bool bounce_take(struct op *op, int *ret)
{
	struct ring *ring = op->q->priv;
	uint64_t room = MIN(ALIGN_UP(op->r->bytes, page_size()), (uint64_t)BOUNCE_BYTES);

	if (ring->bounces == BOUNCES_MAX)
		return false;
	if (posix_memalign(&op->bounce, page_size(), room)) {
		op->bounce = NULL;
		*ret = -ENOMEM;
		return true;
	}
	ring->bounces++;
	op->iov = mem_zalloc(sizeof(*op->iov));
	piece_begin(op);
	return true;
}

static void prepare(struct op *op, struct io_uring_sqe *sqe)
{
	const struct file *f = op->q->node->priv;
	const struct block_request *r = op->r;
	off_t offset = (off_t)(r->offset + op->done_bytes);
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (op->flushing || r->op == BLOCK_FLUSH)
		io_uring_prep_fsync(sqe, f->fd, IORING_FSYNC_DATASYNC);
	else if (r->op == BLOCK_READ)
		io_uring_prep_readv(sqe, f->fd, op->iov, (unsigned int)op->iov_len,
				    (uint64_t)offset);
	else if (r->op == BLOCK_WRITE)
		io_uring_prep_writev(sqe, f->fd, op->iov, (unsigned int)op->iov_len,
				     (uint64_t)offset);
	else {
		if (r->op == BLOCK_WRITE_ZEROES && !(r->flags & BLOCK_UNMAP && f->unmap))
			mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
		io_uring_prep_fallocate(sqe, f->fd, mode, offset, (off_t)r->bytes);
	}
	io_uring_sqe_set_data(sqe, op);
}

static void op_start(struct op *op)
{
	struct ring *ring = op->q->priv;
	struct block_request *r = op->r;
	struct io_uring_sqe *sqe = NULL;
	int ret = 0;

	if (!op->unaligned || op->bounce || bounce_take(op, &ret))
		sqe = ret ? NULL : io_uring_get_sqe(&ring->uring);
	if (ret) {
		op_release(op);
		block_complete_later(r, ret);
		return;
	}
	if (!sqe) {
		list_add_tail(&ring->waiting, &op->link);
		return;
	}
	list_init(&op->link);
	prepare(op, sqe);
	ring->unsubmitted++;
}

/* Drops the first @n bytes from the buffers. */
static void advance(struct op *op, size_t n)
{
	int i = 0;

	while (i < op->iov_len && n >= op->iov[i].iov_len)
		n -= op->iov[i++].iov_len;
	memmove(op->iov, op->iov + i, (size_t)(op->iov_len - i) * sizeof(*op->iov));
	op->iov_len -= i;
	if (op->iov_len) {
		op->iov[0].iov_base = (uint8_t *)op->iov[0].iov_base + n;
		op->iov[0].iov_len -= n;
	}
}

/* So many more bytes are read or written. */
static void moved(struct op *op, size_t n)
{
	if (op->unaligned && op->r->op == BLOCK_READ)
		copy_iov(op->r, op->done_bytes, op->bounce, n, true);
	op->done_bytes += n;
	if (op->unaligned)
		piece_begin(op);
	else
		advance(op, n);
}

/* A file system without this kind of hole: write zeros instead. */
static bool zeros_instead(struct op *op)
{
	struct block_request *r = op->r;
	uint64_t n = DIV_ROUND_UP(r->bytes, ZERO_BYTES);

	if (r->op != BLOCK_WRITE_ZEROES || !n || n > ZERO_PIECES)
		return false;
	op->iov = mem_calloc(n, sizeof(*op->iov));
	op->iov_len = (int)n;
	for (uint64_t i = 0; i < n; i++)
		op->iov[i] = (struct iovec){zeros, MIN(r->bytes - i * ZERO_BYTES, ZERO_BYTES)};
	r->op = BLOCK_WRITE;
	op_start(op);
	return true;
}

static void op_finished(struct op *op)
{
	const struct file *f = op->q->node->priv;
	struct block_request *r = op->r;

	if ((r->op == BLOCK_WRITE || r->op == BLOCK_WRITE_ZEROES) && r->flags & BLOCK_FUA &&
	    !f->no_flush && !op->flushing) {
		op->flushing = true;
		op_start(op);
		return;
	}
	op_end(op, 0);
}

static void op_step(struct op *op, int res)
{
	struct block_request *r = op->r;
	bool transfer = !op->flushing && (r->op == BLOCK_READ || r->op == BLOCK_WRITE);

	if (res == -EINTR || res == -EAGAIN) {
		op_start(op);
	} else if (res == -EOPNOTSUPP && r->op == BLOCK_DISCARD) {
		op_end(op, 0); /* a discard is advice */
	} else if (res == -EOPNOTSUPP && zeros_instead(op)) {
		return;
	} else if (res < 0) {
		op_end(op, res);
	} else if (!transfer) {
		op_finished(op);
	} else if (res == 0) { /* beyond the end of the file */
		if (r->op == BLOCK_WRITE) {
			op_end(op, -ENOSPC);
			return;
		}
		copy_iov(r, op->done_bytes, NULL, r->bytes, true);
		op_finished(op);
	} else {
		moved(op, (size_t)res);
		if (op->done_bytes < r->bytes)
			op_start(op);
		else
			op_finished(op);
	}
}

static void reap(struct block_queue *q)
{
	struct ring *ring = q->priv;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
		struct op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&ring->uring, cqe);
		op_step(op, res);
	}
	file_kick(q);
}

static int on_ring(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	reap(opaque);
	return 0;
}

/**
 * file_queue_open() - Make the queue's ring
 * @q:		The queue
 * @e:		Set on failure only
 *
 * Errors: as io_uring_setup(2); EPERM and ENOSYS say that io_uring is switched off
 * Return: 0, or a negative errno
 */
int file_queue_open(struct block_queue *q, struct err *e)
{
	struct ring *ring = mem_zalloc(sizeof(*ring));
	int r = io_uring_queue_init(RING_ENTRIES, &ring->uring, 0);

	if (r < 0) {
		free(ring);
		err_ret(e, r, "io_uring");
		return r == -EPERM || r == -ENOSYS
			       ? err_hint(e, "sysctl kernel.io_uring_disabled=0")
			       : r;
	}
	list_init(&ring->waiting);
	list_init(&ring->spare);
	r = sd_event_add_io(loop_event(q->loop), &ring->source, ring->uring.ring_fd, EPOLLIN,
			    on_ring, q);
	if (r < 0) {
		io_uring_queue_exit(&ring->uring);
		free(ring);
		return err_ret(e, r, "event loop");
	}
	q->priv = ring;
	return 0;
}

/**
 * file_queue_close() - Release the ring
 * @q:		No request in flight
 */
void file_queue_close(struct block_queue *q)
{
	struct ring *ring = q->priv;
	struct op *op, *tmp;

	sd_event_source_disable_unref(ring->source);
	io_uring_queue_exit(&ring->uring);
	list_for_each_safe (op, tmp, &ring->spare, link)
		free(op);
	free(ring);
}

/**
 * file_submit() - Start a request
 * @q:		The queue
 * @r:		The request
 */
void file_submit(struct block_queue *q, struct block_request *r)
{
	const struct file *f = q->node->priv;
	struct op *op;

	if ((r->op == BLOCK_FLUSH && f->no_flush) || (r->op == BLOCK_DISCARD && !f->unmap)) {
		block_complete_later(r, 0);
		return;
	}
	if ((r->offset | r->bytes) % f->alignment) {
		block_complete_later(r, -EINVAL);
		return;
	}
	if (f->undo && r->op != BLOCK_READ && r->op != BLOCK_FLUSH)
		undo_save(f->undo, f->fd, r->offset, r->bytes);
	op = op_take(q->priv);
	op->q = q;
	op->r = r;
	if (r->op == BLOCK_READ || r->op == BLOCK_WRITE)
		op->unaligned = f->direct && !aligned(r, f->memory_alignment);
	if ((r->op == BLOCK_READ || r->op == BLOCK_WRITE) && !op->unaligned)
		op_buffers(op);
	op_start(op);
}

/**
 * file_kick() - Give the kernel what is prepared, and prepare what waited
 * @q:		The queue
 */
void file_kick(struct block_queue *q)
{
	struct ring *ring = q->priv;

	do {
		if (ring->unsubmitted && io_uring_submit(&ring->uring) > 0)
			ring->unsubmitted = 0;
		if (list_empty(&ring->waiting))
			return;
		struct op *op = list_entry(ring->waiting.next, struct op, link);

		list_del(&op->link);
		op_start(op);
	} while (ring->unsubmitted);
}

/**
 * file_poll() - Wait for at least one completion and run it
 * @q:		A queue with requests in flight
 * @until_ns:	time_ns() at which to give up; TIME_NEVER: don't
 */
void file_poll(struct block_queue *q, int64_t until_ns)
{
	int64_t left = until_ns == TIME_NEVER ? 0 : MAX(until_ns - time_ns(), (int64_t)0);
	struct __kernel_timespec t = {left / NS_PER_SEC, left % NS_PER_SEC};
	struct ring *ring = q->priv;
	struct io_uring_cqe *cqe;

	file_kick(q);
	if (io_uring_wait_cqe_timeout(&ring->uring, &cqe, until_ns == TIME_NEVER ? NULL : &t) == 0)
		reap(q);
}
