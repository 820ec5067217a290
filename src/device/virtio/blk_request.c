/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one request of virtio-blk (VIRTIO 1.2, 5.2.6): 16 bytes of header, data, one
 * byte of status. Header and status may share buffers with data, so both are cut off the chain's
 * vectors; what is left goes to the block room as it is, no copy. A request without room for header
 * or status breaks the queue; anything else wrong with it is answered.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "device/virtio/blk.h"
#include "device/virtio/io_error.h"

#include <errno.h>
#include <linux/virtio_blk.h>

#define SECTOR       512u
#define TYPE_BARRIER 0x80000000u
#define HEADER_BYTES 16
#define ID_BYTES     20

/**
 * struct blk_request - A chain and what became of it
 * @chain:	First
 * @r:		As the block room sees it
 * @b, @q:	Whose
 * @status:	Where the status byte goes, and its guest address
 * @in_data:	Bytes the guest may be told were written, without the status
 */
struct blk_request {
	struct virtq_chain chain;
	struct block_request r;
	struct virtio_blk *b;
	struct virtqueue *q;
	uint8_t *status;
	gpa_t status_gpa;
	uint64_t in_data;
};

static void finish(struct blk_request *x, uint8_t status)
{
	uint64_t written = (status == VIRTIO_BLK_S_OK ? x->in_data : 0) + 1;

	if (status == VIRTIO_BLK_S_IOERR)
		x->b->errors++;
	*x->status = status;
	memory_mark_dirty(x->q->memory, x->status_gpa, 1);
	virtqueue_push(x->q, &x->chain, (uint32_t)MIN(written, (uint64_t)UINT32_MAX));
}

/* The buffers as the driver gave them: header and status were cut off at their ends. */
static void buffers_copy(const struct blk_request *x, struct carried *to)
{
	unsigned int n = (unsigned int)x->chain.out_len + x->chain.in_len;

	memcpy(to->chain.gpas, x->chain.gpas, n * sizeof(gpa_t));
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *start = memory_ptr(x->q->memory, x->chain.gpas[i], 1, MEMORY_READ);
		const uint8_t *end = (const uint8_t *)x->chain.iov[i].iov_base +
				     x->chain.iov[i].iov_len + (i == n - 1);

		to->lens[i] = start ? (uint32_t)(end - start) : 0;
	}
}

/* Keeps a request for when the guest runs again. False: the section has no room for more. */
static bool shelve(struct blk_request *x)
{
	struct carried *c = carried_add(&x->b->carried, x->q->index, &x->chain);

	if (!c)
		return false;
	buffers_copy(x, c);
	virtqueue_shelve(x->q, &x->chain);
	return true;
}

/* True: the request waits, its guest is being stopped. Sets @ret to 0 if the error is ignored. */
static bool failed(struct blk_request *x, int *ret)
{
	switch (io_error(&x->b->v.pci.dev, x->b->drive, &x->b->policy, x->r.op, *ret)) {
	case BLOCK_ERROR_IGNORE: *ret = 0; return false;
	case BLOCK_ERROR_STOP: return shelve(x);
	default: return false;
	}
}

static void completed(struct block_request *r, int ret)
{
	struct blk_request *x = CONTAINER_OF(r, struct blk_request, r);
	struct virtio_blk *b = x->b;
	struct virtqueue *q = x->q;

	if (ret < 0 && ret != -EOPNOTSUPP && failed(x, &ret))
		return;
	finish(x, !ret                 ? VIRTIO_BLK_S_OK
		  : ret == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP
				       : VIRTIO_BLK_S_IOERR);
	virtio_notify(&b->v, q);
}

/* Cuts the header off the readable vectors; what remains of them is data to write. */
static bool header_take(struct blk_request *x, uint8_t header[HEADER_BYTES])
{
	struct iovec *iov = x->chain.iov;
	size_t left = HEADER_BYTES;
	unsigned int i = 0;

	if (virtq_read(&x->chain, 0, header, HEADER_BYTES) < HEADER_BYTES)
		return false;
	while (left && i < x->chain.out_len) {
		size_t n = MIN(left, iov[i].iov_len);

		iov[i].iov_base = (char *)iov[i].iov_base + n;
		iov[i].iov_len -= n;
		left -= n;
		i += !iov[i].iov_len;
	}
	x->r.iov = iov + i;
	x->r.iov_len = (int)(x->chain.out_len - i);
	x->r.bytes = x->chain.out_bytes - HEADER_BYTES;
	return true;
}

static bool status_take(struct blk_request *x)
{
	unsigned int last = (unsigned int)x->chain.out_len + x->chain.in_len - 1;
	struct iovec *iov = &x->chain.iov[last];

	if (!x->chain.in_len)
		return false;
	x->status = (uint8_t *)iov->iov_base + iov->iov_len - 1;
	x->status_gpa = x->chain.gpas[last] + iov->iov_len - 1;
	iov->iov_len--;
	x->in_data = x->chain.in_bytes - 1;
	return true;
}

/* Reads fill the writable vectors but for the status byte. */
static void use_writable(struct blk_request *x)
{
	unsigned int n = x->chain.in_len;

	if (!x->chain.iov[x->chain.out_len + n - 1].iov_len)
		n--;
	x->r.iov = x->chain.iov + x->chain.out_len;
	x->r.iov_len = (int)n;
	x->r.bytes = x->in_data;
}

static bool range_ok(const struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
	uint64_t size = block_size(b->drive);

	return sector <= UINT64_MAX / SECTOR && sector * SECTOR % b->logical == 0 &&
	       bytes % b->logical == 0 && bytes <= size && sector * SECTOR <= size - bytes;
}

static void submit(struct blk_request *x, enum block_op op, uint64_t sector)
{
	x->r.op = op;
	x->r.offset = sector * SECTOR;
	x->r.complete = completed;
	block_submit(x->b->bq, &x->r);
}

static void transfer(struct blk_request *x, bool write, uint64_t sector)
{
	struct virtio_blk *b = x->b;

	if (write)
		x->in_data = 0;
	else
		use_writable(x);
	if (!range_ok(b, sector, x->r.bytes) || (write && block_read_only(b->drive))) {
		finish(x, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!x->r.bytes) {
		finish(x, VIRTIO_BLK_S_OK);
		return;
	}
	*(write ? &b->writes : &b->reads) += 1;
	if (write && !__atomic_load_n(&b->wce, __ATOMIC_RELAXED))
		x->r.flags = BLOCK_FUA;
	submit(x, write ? BLOCK_WRITE : BLOCK_READ, sector);
}

/* One segment, as the configuration space says. Source: VIRTIO 1.2, 5.2.6.2 */
static uint8_t range_status(struct blk_request *x, bool zeroes, uint64_t *sector, uint32_t *flags)
{
	struct virtio_blk *b = x->b;
	uint32_t max = zeroes ? b->max_zeroes : b->max_discard, sectors;
	uint8_t seg[16];

	if (virtq_read(&x->chain, 0, seg, sizeof(seg)) < sizeof(seg) || x->r.bytes != sizeof(seg))
		return VIRTIO_BLK_S_IOERR;
	*sector = load_le64(seg);
	sectors = load_le32(seg + 8);
	*flags = load_le32(seg + 12);
	if (*flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	x->r.bytes = (uint64_t)sectors * SECTOR;
	if (sectors > max || !range_ok(b, *sector, x->r.bytes) || block_read_only(b->drive))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static void discard(struct blk_request *x, bool zeroes)
{
	unsigned int bit = zeroes ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD;
	uint32_t flags = 0;
	uint64_t sector = 0;
	uint8_t status;

	x->in_data = 0;
	if (!virtio_offers(&x->b->v, bit)) {
		finish(x, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	status = range_status(x, zeroes, &sector, &flags);
	if (status || !x->r.bytes) {
		finish(x, status);
		return;
	}
	x->r.iov = NULL;
	x->r.iov_len = 0;
	if (flags)
		x->r.flags = BLOCK_UNMAP;
	submit(x, zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD, sector);
}

static void flush(struct blk_request *x)
{
	x->in_data = 0;
	x->r.iov = NULL;
	x->r.iov_len = 0;
	x->r.bytes = 0;
	x->b->flushes++;
	submit(x, BLOCK_FLUSH, 0);
}

static void get_id(struct blk_request *x)
{
	char id[ID_BYTES] = {0};
	size_t n = MIN(x->in_data, (uint64_t)ID_BYTES);

	if (x->b->serial)
		memcpy(id, x->b->serial, MIN(strlen(x->b->serial), sizeof(id)));
	x->in_data = virtq_write(&x->chain, 0, id, n);
	finish(x, VIRTIO_BLK_S_OK);
}

static void start(struct blk_request *x, const uint8_t header[HEADER_BYTES])
{
	uint64_t sector = load_le64(header + 8);

	switch (load_le32(header) & ~TYPE_BARRIER) {
	case VIRTIO_BLK_T_IN: transfer(x, false, sector); break;
	case VIRTIO_BLK_T_OUT: transfer(x, true, sector); break;
	case VIRTIO_BLK_T_FLUSH: flush(x); break;
	case VIRTIO_BLK_T_GET_ID: get_id(x); break;
	case VIRTIO_BLK_T_DISCARD: discard(x, false); break;
	case VIRTIO_BLK_T_WRITE_ZEROES: discard(x, true); break;
	default: x->in_data = 0; finish(x, VIRTIO_BLK_S_UNSUPP);
	}
}

static void begin(struct virtio_blk *b, struct virtqueue *q, struct blk_request *x)
{
	uint8_t header[HEADER_BYTES];

	x->b = b;
	x->q = q;
	if (!header_take(x, header) || !status_take(x)) {
		virtqueue_detach(q, &x->chain);
		virtqueue_break(q, "request without header or status");
		return;
	}
	start(x, header);
}

/**
 * blk_serve_one() - Take one request and submit it
 * @v:		The device; owner
 * @q:		The queue
 *
 * Return: as virtio_serve() wants
 */
enum virtio_served blk_serve_one(struct virtio *v, struct virtqueue *q)
{
	struct blk_request *x = virtqueue_pop(q, sizeof(*x));

	if (!x)
		return VIRTIO_EMPTY;
	begin(CONTAINER_OF(v, struct virtio_blk, v), q, x);
	return VIRTIO_SERVED;
}

/**
 * blk_resume_carried() - Submit the requests that came with the state, or failed before the stop
 * @b:		The disk; owner, the guest runs
 */
void blk_resume_carried(struct virtio_blk *b)
{
	struct carried_list again = b->carried;

	b->carried = (struct carried_list){0}; /* those that fail again are kept anew */
	for (unsigned int i = 0; i < again.len; i++) {
		struct carried *c = &again.all[i];
		struct virtqueue *q = &b->v.queues[c->queue].vq;
		struct blk_request *x = virtqueue_adopt(q, sizeof(*x), &c->chain, c->lens);

		if (x)
			begin(b, q, x);
	}
	carried_release(&again);
	block_kick(b->bq);
}
