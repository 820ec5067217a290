/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what a disk says about itself: INQUIRY with its pages (SPC-3, 6.4 and 7.6;
 * SBC-3, 6.5), MODE SENSE (SPC-3, 6.9), REPORT LUNS, sense data. Each function fills a buffer of
 * SCSI_REPLY_BYTES that is zero.
 */
#include "base/bytes.h"
#include "device/virtio/scsi.h"

#include <string.h>

const struct scsi_sense scsi_no_sense = {0, 0, 0}, scsi_invalid_opcode = {5, 0x20, 0},
			scsi_invalid_field = {5, 0x24, 0}, scsi_lba_out_of_range = {5, 0x21, 0},
			scsi_lun_not_supported = {5, 0x25, 0}, scsi_io_error = {0xb, 0, 6},
			scsi_write_protected = {7, 0x27, 0}, scsi_parameter_length = {5, 0x1a, 0},
			scsi_reset_happened = {6, 0x29, 0}, scsi_capacity_changed = {6, 0x2a, 9},
			scsi_luns_changed = {6, 0x3f, 0xe};

/**
 * scsi_sense_build() - Fixed format sense data (SPC-3, 4.5.3)
 * @s:		What went wrong
 * @b:		18 bytes
 *
 * Return: 18
 */
size_t scsi_sense_build(const struct scsi_sense *s, uint8_t *b)
{
	memset(b, 0, 18);
	b[0] = 0x70;
	b[2] = s->key;
	b[7] = 10;
	b[12] = s->asc;
	b[13] = s->ascq;
	return 18;
}

static void pad_copy(uint8_t *b, size_t size, const char *s)
{
	memset(b, ' ', size);
	memcpy(b, s, MIN(strlen(s), size));
}

static int page_list(const struct scsi_disk *d, uint8_t *b)
{
	int n = 4;

	b[n++] = 0x00;
	if (d->serial)
		b[n++] = 0x80;
	b[n++] = 0x83;
	b[n++] = 0xb0;
	b[n++] = 0xb1;
	b[n++] = 0xb2;
	return n;
}

static int page_serial(const struct scsi_disk *d, uint8_t *b)
{
	size_t n;

	if (!d->serial)
		return -1;
	n = MIN(strlen(d->serial), 36ul);
	memcpy(b + 4, d->serial, n);
	return 4 + (int)n;
}

static int page_identification(const struct scsi_disk *d, uint8_t *b)
{
	const char *id = d->device_id ? d->device_id : d->serial;
	size_t len = id ? strlen(id) : 0;
	int n = 4;

	len = MIN(len, d->device_id ? 247u : 20u);
	if (len) {
		b[n] = 2; /* ASCII, vendor specific */
		b[n + 3] = (uint8_t)len;
		memcpy(b + n + 4, id, len);
		n += 4 + (int)len;
	}
	if (d->wwn) {
		b[n] = 1; /* binary, NAA */
		b[n + 1] = 3;
		b[n + 3] = 8;
		store_be64(b + n + 4, d->wwn);
		n += 12;
	}
	return n;
}

static int page_limits(const struct scsi_disk *d, uint8_t *b)
{
	uint64_t max_io = d->max_io / d->logical;
	uint64_t max_transfer = d->limits.max_transfer / d->logical;

	if (max_transfer)
		max_io = MIN(max_io, max_transfer);
	b[4] = 1; /* a WRITE SAME of 0 blocks isn't the whole disk */
	store_be16(b + 6, (uint16_t)(d->min_io / d->logical));
	store_be32(b + 8, (uint32_t)max_io);
	store_be32(b + 12, d->opt_io / d->logical);
	store_be32(b + 20, (uint32_t)(d->max_unmap / d->logical));
	store_be32(b + 24, 255);
	store_be32(b + 28, d->discard_granularity / d->logical);
	return 0x40;
}

static int vital_page(const struct scsi_disk *d, uint8_t page, uint8_t *b)
{
	switch (page) {
	case 0x00: return page_list(d, b);
	case 0x80: return page_serial(d, b);
	case 0x83: return page_identification(d, b);
	case 0xb0: return page_limits(d, b);
	case 0xb1: store_be16(b + 4, d->rotation); return 0x40;
	case 0xb2:
		b[5] = 0xe0; /* UNMAP and both WRITE SAME unmap */
		b[6] = d->discard_granularity ? 2 : 1;
		return 8;
	default: return -1;
	}
}

/**
 * scsi_inquiry() - INQUIRY
 * @d:		The disk
 * @cdb:	Command
 * @b:		Reply
 *
 * Return: bytes, negative for an invalid field
 */
int scsi_inquiry(const struct scsi_disk *d, const uint8_t *cdb, uint8_t *b)
{
	int len = MIN((int)load_be16(cdb + 3), 256);
	int n;

	if (cdb[1] & 1) {
		n = vital_page(d, cdb[2], b);
		b[1] = cdb[2];
		b[3] = (uint8_t)(n - 4);
		return n;
	}
	if (cdb[2])
		return -1;
	b[1] = d->removable ? 0x80 : 0;
	b[2] = 5;    /* SPC-3 */
	b[3] = 0x12; /* hierarchical addressing, response format 2 */
	b[4] = (uint8_t)(len > 36 ? len - 5 : 31);
	b[7] = 0x12; /* synchronous transfers, command queueing */
	pad_copy(b + 8, 8, d->vendor);
	pad_copy(b + 16, 16, d->product);
	memcpy(b + 32, d->version, MIN(strlen(d->version), 4ul));
	return MAX(len, 36);
}

static uint64_t blocks(const struct scsi_disk *d)
{
	return block_size(d->drive) / d->logical;
}

static int mode_page(const struct scsi_disk *d, uint8_t page, bool changeable, uint8_t *b)
{
	b[0] = page;
	switch (page) {
	case 0x08: /* caching */
		b[1] = 0x12;
		b[2] = changeable || d->wce ? 4 : 0;
		return 0x14;
	case 0x01: /* read-write error recovery */
		b[1] = 10;
		b[2] = changeable ? 0 : 0x80;
		return 12;
	default: b[0] = 0; return -1;
	}
}

static int block_descriptor(const struct scsi_disk *d, uint8_t *b)
{
	uint64_t n = blocks(d);

	if (!n)
		return 0;
	store_be32(b, n > 0xffffff ? 0 : (uint32_t)n);
	b[0] = 0;
	store_be16(b + 5, (uint16_t)(d->logical >> 8));
	return 8;
}

/**
 * scsi_mode_sense() - MODE SENSE of 6 and 10 bytes
 * @d:		The disk
 * @cdb:	Command
 * @b:		Reply
 *
 * Return: bytes, negative for an invalid field
 */
int scsi_mode_sense(const struct scsi_disk *d, const uint8_t *cdb, uint8_t *b)
{
	bool ten = cdb[0] == 0x5a, changeable = cdb[2] >> 6 == 1;
	uint8_t page = cdb[2] & 0x3f;
	int n = ten ? 8 : 4, got;

	if (cdb[2] >> 6 == 3) /* saved values: there are none */
		return -1;
	b[ten ? 3 : 2] = (uint8_t)((d->dpofua ? 0x10 : 0) | (block_read_only(d->drive) ? 0x80 : 0));
	if (!(cdb[1] & 8)) {
		got = block_descriptor(d, b + n);
		b[ten ? 7 : 3] = (uint8_t)got;
		n += got;
	}
	for (uint8_t p = page == 0x3f ? 0 : page; p <= (page == 0x3f ? 0x3e : page); p++) {
		got = mode_page(d, p, changeable, b + n);
		if (got < 0 && page != 0x3f)
			return -1;
		n += MAX(got, 0);
	}
	if (ten)
		store_be16(b, (uint16_t)(n - 2));
	else
		b[0] = (uint8_t)(n - 1);
	return n;
}

/**
 * scsi_report_luns() - REPORT LUNS of a target (SPC-3, 6.21)
 * @c:		The controller
 * @id:		Target
 * @b:		Reply
 *
 * Return: bytes
 */
int scsi_report_luns(const struct virtio_scsi *c, uint32_t id, uint8_t *b)
{
	bool zero = false;
	int n = 8;

	for (unsigned int i = 0; i < c->disks_len; i++)
		zero |= c->disks[i]->id == id && !c->disks[i]->lun;
	if (!zero) /* LUN 0 is always listed */
		n += 8;
	for (unsigned int i = 0; i < c->disks_len; i++) {
		uint32_t lun = c->disks[i]->lun;

		if (c->disks[i]->id != id || n + 8 > SCSI_REPLY_BYTES)
			continue;
		store_be16(b + n, (uint16_t)(lun < 256 ? lun : lun | 0x4000));
		n += 8;
	}
	store_be32(b, (uint32_t)n - 8);
	return n;
}
