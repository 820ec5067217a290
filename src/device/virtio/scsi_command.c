/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one command for one disk (SPC-3, SBC-3): transfers go to the block room with
 * the driver's buffers as they are; what a disk says about itself is made in a reply buffer;
 * UNMAP's ranges are discarded one after the other. Addresses and lengths are checked against the
 * disk and against the buffers the driver gave before anything is done.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "device/virtio/io_error.h"
#include "device/virtio/scsi.h"

#include <errno.h>
#include <string.h>

#define UNMAP_MAX 255

static void fail(struct scsi_request *x, const struct scsi_sense *s)
{
	scsi_finish(x, SCSI_CHECK_CONDITION, s);
}

static void reply(struct scsi_request *x, int len, uint32_t allocation)
{
	if (len < 0) {
		fail(x, &scsi_invalid_field);
		return;
	}
	x->reply_len = MIN((size_t)len, (size_t)allocation);
	scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
}

/* True: the command waits, its guest is being stopped. Sets @ret to 0 if the error is ignored. */
static bool failed(struct scsi_request *x, int *ret)
{
	switch (io_error(&x->d->dev, x->d->drive, &x->d->policy, x->r.op, *ret)) {
	case BLOCK_ERROR_IGNORE: *ret = 0; return false;
	case BLOCK_ERROR_STOP: return scsi_shelve(x);
	default: return false;
	}
}

static void completed(struct block_request *r, int ret)
{
	struct scsi_request *x = CONTAINER_OF(r, struct scsi_request, r);
	struct virtio_scsi *c = x->c;
	struct virtqueue *q = x->q;

	if (ret < 0 && failed(x, &ret))
		return;
	if (ret) {
		fail(x, ret == -ENOSPC  ? &(const struct scsi_sense){7, 0x27, 7}
			: ret == -EROFS ? &scsi_write_protected
					: &scsi_io_error);
	} else {
		x->done = r->op == BLOCK_READ || r->op == BLOCK_WRITE ? r->bytes : 0;
		scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
	}
	virtio_notify(&c->v, q);
}

static void submit(struct scsi_request *x, enum block_op op, uint64_t offset, uint64_t bytes)
{
	x->r.op = op;
	x->r.offset = offset;
	x->r.bytes = bytes;
	x->r.complete = completed;
	block_submit(x->d->bq, &x->r);
}

static bool range_ok(const struct scsi_disk *d, uint64_t lba, uint64_t blocks)
{
	uint64_t n = block_size(d->drive) / d->logical;

	return blocks <= n && lba <= n - blocks;
}

/* Address and length of a READ, WRITE, VERIFY or WRITE SAME by the size of its command. */
static void lba_parse(const uint8_t *cdb, uint64_t *lba, uint64_t *blocks)
{
	switch (cdb[0] >> 5) {
	case 0:
		*lba = load_be32(cdb) & 0x1fffff;
		*blocks = cdb[4] ? cdb[4] : 256;
		break;
	case 4:
		*lba = load_be64(cdb + 2);
		*blocks = load_be32(cdb + 10);
		break;
	case 5:
		*lba = load_be32(cdb + 2);
		*blocks = load_be32(cdb + 6);
		break;
	default: *lba = load_be32(cdb + 2); *blocks = load_be16(cdb + 7);
	}
}

/* The vectors of exactly the bytes wanted: the driver may give more room. */
static void vectors_use(struct scsi_request *x, struct iovec *iov, int len, uint64_t bytes)
{
	int n = 0;

	for (uint64_t left = bytes; left && n < len; n++) {
		iov[n].iov_len = MIN(iov[n].iov_len, (size_t)left);
		left -= iov[n].iov_len;
	}
	x->r.iov = iov;
	x->r.iov_len = n;
}

static void transfer(struct scsi_request *x, bool write)
{
	struct scsi_disk *d = x->d;
	uint64_t lba, blocks, bytes;
	bool six = !(x->cdb[0] >> 5);

	lba_parse(x->cdb, &lba, &blocks);
	bytes = blocks * d->logical;
	if (!six && x->cdb[1] >> 5) { /* protection information: there is none */
		fail(x, &scsi_invalid_field);
	} else if (write && block_read_only(d->drive)) {
		fail(x, &scsi_write_protected);
	} else if (!range_ok(d, lba, blocks)) {
		fail(x, &scsi_lba_out_of_range);
	} else if (bytes > (write ? x->out_bytes : x->in_bytes)) {
		x->done = UINT64_MAX; /* answered as an overrun */
		scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
	} else if (!bytes) {
		scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
	} else {
		vectors_use(x, write ? x->out : x->in, write ? x->out_len : x->in_len, bytes);
		if (write && (!d->wce || (!six && x->cdb[1] & 8)))
			x->r.flags = BLOCK_FUA;
		submit(x, write ? BLOCK_WRITE : BLOCK_READ, lba * d->logical, bytes);
	}
}

static void verify(struct scsi_request *x)
{
	uint64_t lba, blocks;

	lba_parse(x->cdb, &lba, &blocks);
	if (x->cdb[1] & 6)
		fail(x, &scsi_invalid_field);
	else if (!range_ok(x->d, lba, blocks))
		fail(x, &scsi_lba_out_of_range);
	else
		scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
}

static bool all_zero(const uint8_t *b, size_t n)
{
	return !b[0] && !memcmp(b, b + 1, n - 1);
}

/* Only of zeros: what file systems and image tools use it for. */
static void write_same(struct scsi_request *x)
{
	struct scsi_disk *d = x->d;
	OWNED(uint8_t *) block = mem_zalloc(d->logical);
	uint64_t lba, blocks;

	lba_parse(x->cdb, &lba, &blocks);
	if (block_read_only(d->drive))
		fail(x, &scsi_write_protected);
	else if (!blocks || x->cdb[1] & 0x16)
		fail(x, &scsi_invalid_field);
	else if (!range_ok(d, lba, blocks))
		fail(x, &scsi_lba_out_of_range);
	else if (!(x->cdb[1] & 1) && (scsi_data_out(x, 0, block, d->logical) < d->logical ||
				      !all_zero(block, d->logical)))
		fail(x, &scsi_invalid_field);
	else {
		x->r.flags = x->cdb[1] & 9 ? BLOCK_UNMAP : 0;
		submit(x, BLOCK_WRITE_ZEROES, lba * d->logical, blocks * d->logical);
	}
}

static void unmap_next(struct block_request *r, int ret)
{
	struct scsi_request *x = CONTAINER_OF(r, struct scsi_request, r);

	if (ret || x->extents_at == x->extents_len) {
		completed(r, ret);
		return;
	}
	r->op = BLOCK_DISCARD;
	r->offset = x->extents[x->extents_at][0];
	r->bytes = x->extents[x->extents_at++][1];
	block_submit(x->d->bq, r);
	block_kick(x->d->bq);
}

/* Source: SBC-3, 5.28 */
static void unmap(struct scsi_request *x)
{
	uint8_t head[8], raw[16];
	unsigned int n;

	if (block_read_only(x->d->drive)) {
		fail(x, &scsi_write_protected);
		return;
	}
	if (scsi_data_out(x, 0, head, sizeof(head)) < sizeof(head) || load_be16(head + 2) % 16 ||
	    load_be16(head + 2) / 16 > UNMAP_MAX) {
		fail(x, &scsi_parameter_length);
		return;
	}
	n = load_be16(head + 2) / 16;
	x->extents = mem_calloc(n + 1, sizeof(x->extents[0]));
	for (unsigned int i = 0; i < n; i++) {
		uint64_t lba, blocks;

		if (scsi_data_out(x, 8 + 16 * i, raw, sizeof(raw)) < sizeof(raw)) {
			fail(x, &scsi_parameter_length);
			return;
		}
		lba = load_be64(raw);
		blocks = load_be32(raw + 8);
		if (!range_ok(x->d, lba, blocks)) {
			fail(x, &scsi_lba_out_of_range);
			return;
		}
		if (!blocks)
			continue;
		x->extents[x->extents_len][0] = lba * x->d->logical;
		x->extents[x->extents_len++][1] = blocks * x->d->logical;
	}
	if (!x->extents_len) {
		scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
		return;
	}
	x->r.complete = unmap_next;
	unmap_next(&x->r, 0);
}

static void capacity10(struct scsi_request *x)
{
	uint64_t last = block_size(x->d->drive) / x->d->logical - 1;

	store_be32(x->reply, (uint32_t)MIN(last, (uint64_t)UINT32_MAX));
	store_be32(x->reply + 4, x->d->logical);
	reply(x, 8, 8);
}

static void capacity16(struct scsi_request *x)
{
	const struct scsi_disk *d = x->d;
	uint8_t exponent = 0;

	if ((x->cdb[1] & 0x1f) != 0x10) {
		fail(x, &scsi_invalid_field);
		return;
	}
	while (d->logical << (exponent + 1) <= d->physical)
		exponent++;
	store_be64(x->reply, block_size(d->drive) / d->logical - 1);
	store_be32(x->reply + 8, d->logical);
	x->reply[13] = exponent;
	if (d->discard_granularity)
		x->reply[14] = 0x80; /* thin provisioned */
	reply(x, 32, load_be32(x->cdb + 10));
}

static void request_sense(struct scsi_request *x)
{
	struct scsi_sense s = x->d->attention;

	x->d->attention = scsi_no_sense;
	reply(x, (int)scsi_sense_build(&s, x->reply), x->cdb[4]);
}

/* The one parameter that can change is the write cache. */
static void mode_select(struct scsi_request *x)
{
	bool ten = x->cdb[0] == 0x55;
	size_t at = ten ? 8 : 4;
	uint8_t head[8], page[4];

	if (scsi_data_out(x, 0, head, at) == at) {
		at += ten ? load_be16(head + 6) : head[3];
		if (scsi_data_out(x, at, page, 3) == 3 && (page[0] & 0x3f) == 8 && page[1] == 0x12)
			x->d->wce = page[2] & 4;
	}
	scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
}

static void luns(struct scsi_request *x)
{
	if (load_be32(x->cdb + 6) < 16)
		fail(x, &scsi_invalid_field);
	else
		reply(x, scsi_report_luns(x->c, x->d->id, x->reply), load_be32(x->cdb + 6));
}

static void disk_command(struct scsi_request *x)
{
	switch (x->cdb[0]) {
	case 0x00: /* TEST UNIT READY */
	case 0x1b: /* START STOP UNIT */
	case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL */
		scsi_finish(x, SCSI_GOOD, &scsi_no_sense);
		break;
	case 0x1a: reply(x, scsi_mode_sense(x->d, x->cdb, x->reply), x->cdb[4]); break;
	case 0x5a: reply(x, scsi_mode_sense(x->d, x->cdb, x->reply), load_be16(x->cdb + 7)); break;
	case 0x15:
	case 0x55: mode_select(x); break;
	case 0x25: capacity10(x); break;
	case 0x9e: capacity16(x); break;
	case 0x08:
	case 0x28:
	case 0x88:
	case 0xa8: transfer(x, false); break;
	case 0x0a:
	case 0x2a:
	case 0x8a:
	case 0xaa: transfer(x, true); break;
	case 0x2f:
	case 0x8f: verify(x); break;
	case 0x35:
	case 0x91: submit(x, BLOCK_FLUSH, 0, 0); break;
	case 0x41:
	case 0x93: write_same(x); break;
	case 0x42: unmap(x); break;
	default: fail(x, &scsi_invalid_opcode);
	}
}

/* A LUN that isn't there, on a target that is (SPC-3, 6.4.2: peripheral qualifier 3). */
static void absent_lun(struct scsi_request *x)
{
	if (x->cdb[0] == 0x12) {
		x->reply[0] = 0x7f;
		reply(x, 36, load_be16(x->cdb + 3));
	} else if (x->cdb[0] == 0xa0) {
		luns(x);
	} else if (x->cdb[0] == 0x03) {
		reply(x, (int)scsi_sense_build(&scsi_lun_not_supported, x->reply), x->cdb[4]);
	} else {
		fail(x, &scsi_lun_not_supported);
	}
}

/**
 * scsi_command_start() - Carry a command out
 * @x:		With its disk, data and CDB; finished here or when the block room has
 */
void scsi_command_start(struct scsi_request *x)
{
	struct scsi_sense attention = x->d->attention;

	x->reply = mem_zalloc(SCSI_REPLY_BYTES);
	if (x->lun != x->d->lun) {
		absent_lun(x);
	} else if (x->cdb[0] == 0x12) {
		reply(x, scsi_inquiry(x->d, x->cdb, x->reply), load_be16(x->cdb + 3));
	} else if (x->cdb[0] == 0xa0) {
		luns(x);
	} else if (x->cdb[0] == 0x03) {
		request_sense(x);
	} else if (attention.key) {
		x->d->attention = scsi_no_sense;
		fail(x, &attention);
	} else {
		disk_command(x);
	}
}
