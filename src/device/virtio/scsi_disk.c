/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: scsi-hd: a disk on a controller's bus. It has a block queue on the
 * controller's I/O thread; the list of disks and everything commands touch is changed there only.
 * Its section has attention and sense, and a list of requests: stopping the
 * controller has completed them.
 */
#include "base/owned.h"
#include "device/virtio/scsi.h"

#include <errno.h>
#include <linux/virtio_scsi.h>
#include <stdio.h>
#include <string.h>

#define AUTO           UINT32_MAX
#define SENSE_SENT     96

#define REQUEST_RETRY  1
#define SCSI_CDB_SENT  16
#define PROGRESS_BYTES 16 /* sector, how many, bytes of a buffer */

/**
 * struct scsi_requests - Commands in flight
 * @carried:	Their chains
 * @cdbs:	Their commands
 * @lun, @queues, @packed: The disk's and its controller's, not sent
 */
struct scsi_requests {
	struct carried_state carried;
	uint8_t cdbs[CARRIED_MAX][SCSI_CDB_SENT];
	uint32_t lun, queues;
	bool packed;
};

/* READ, WRITE, VERIFY, WRITE AND VERIFY: for these QEMU's section says how far it has come. */
static bool has_progress(const uint8_t *cdb)
{
	static const uint8_t codes[] = {0x08, 0x28, 0xa8, 0x88, 0x0a, 0x2a, 0xaa,
					0x8a, 0x2f, 0xaf, 0x8f, 0x2e, 0xae, 0x8e};

	return memchr(codes, cdb[0], sizeof(codes)) != NULL;
}

/**
 * struct scsi_device_state - The part all SCSI devices have
 */
struct scsi_device_state {
	uint8_t key, asc, ascq;
	bool sense_is_attention;
	uint8_t sense[SENSE_SENT], sense_rest[252 - SENSE_SENT];
	uint32_t sense_len, reserved;
	struct scsi_requests requests;
};

/**
 * struct scsi_disk_state - Section "scsi-disk", version 1
 */
struct scsi_disk_state {
	struct scsi_device_state device;
	bool media_changed, media_event, eject_request, tray_open, tray_locked;
	uint8_t padding[3];
};

/* The command itself is read anew from the driver's buffers, so it is written for QEMU only. */
static void requests_save(const void *member, struct state_writer *w)
{
	const struct scsi_requests *s = member;

	for (unsigned int i = 0; i < s->carried.len; i++) {
		state_put_u8(w, REQUEST_RETRY);
		state_put(w, s->cdbs[i], SCSI_CDB_SENT);
		state_put_be32(w, i); /* tag */
		state_put_be32(w, s->lun);
		state_put_be32(w, s->carried.entries[i].queue);
		carried_save(&s->carried, i, s->packed, w);
		if (has_progress(s->cdbs[i]))
			state_put(w, (const uint8_t[PROGRESS_BYTES]){0}, PROGRESS_BYTES);
	}
	state_put_u8(w, 0);
}

/* How far QEMU had come is of no use: the command begins anew. */
static int progress_load(const uint8_t *cdb, bool retry, struct state_reader *r, struct err *e)
{
	uint32_t buffer;

	if (!has_progress(cdb))
		return 0;
	state_skip(r, PROGRESS_BYTES - 4);
	buffer = state_get_be32(r);
	if (buffer)
		return err_set(e, EINVAL, "requests: one has %u bytes of a copy", buffer);
	return 0;
}

static int request_load(struct scsi_requests *s, bool retry, struct state_reader *r, struct err *e)
{
	uint8_t cdb[SCSI_CDB_SENT];
	uint32_t queue;
	int ret;

	state_get(r, cdb, sizeof(cdb));
	state_skip(r, 8); /* tag and lun */
	queue = state_get_be32(r);
	if (queue >= s->queues)
		return err_set(e, EINVAL, "requests: queue %u, %u here", queue, s->queues);
	ret = carried_load(&s->carried, queue, s->packed, r, e);
	if (ret)
		return ret;
	memcpy(s->cdbs[s->carried.len - 1], cdb, sizeof(cdb));
	return progress_load(cdb, retry, r, e);
}

static int requests_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	struct scsi_requests *s = member;
	int ret = 0;
	uint8_t kind;

	s->carried.len = s->carried.buffers = 0;
	while (!ret && (kind = state_get_u8(r)) != 0)
		ret = request_load(s, kind == REQUEST_RETRY, r, e);
	return ret;
}

static const struct state_codec requests_codec = {"scsi-requests", requests_save, requests_load, 0};

static bool long_sense(const void *state)
{
	return ((const struct scsi_device_state *)state)->sense_len > SENSE_SENT;
}

static const struct state_field sense_fields[] = {
	FIELD("sense", struct scsi_device_state, sense_rest),
	FIELDS_END,
};

static const struct state_table sense_table = {
	.name = "SCSIDevice/sense",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct scsi_device_state),
	.fields = sense_fields,
	.needed = long_sense,
};

static const struct state_table *const device_subsections[] = {&sense_table, NULL};

static int device_check(const void *state, unsigned int version, struct err *e)
{
	uint32_t len = ((const struct scsi_device_state *)state)->sense_len;

	return len > 252 ? err_set(e, EINVAL, "sense_len: %u, at most 252", len) : 0;
}

static const struct state_field device_fields[] = {
	FIELD("unit_attention.key", struct scsi_device_state, key),
	FIELD("unit_attention.asc", struct scsi_device_state, asc),
	FIELD("unit_attention.ascq", struct scsi_device_state, ascq),
	FIELD("sense_is_ua", struct scsi_device_state, sense_is_attention),
	FIELD_U8S("sense", struct scsi_device_state, sense),
	FIELD("sense_len", struct scsi_device_state, sense_len),
	NOT_SENT(struct scsi_device_state, reserved, "padding"),
	FIELD_CODEC("requests", struct scsi_device_state, requests, &requests_codec),
	FIELDS_END,
};

static const struct state_table device_table = {
	.name = "SCSIDevice",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct scsi_device_state),
	.fields = device_fields,
	.subsections = device_subsections,
	.check = device_check,
};

static const struct state_field disk_fields[] = {
	FIELD_STRUCT("qdev", struct scsi_disk_state, device, &device_table),
	FIELD("media_changed", struct scsi_disk_state, media_changed),
	FIELD("media_event", struct scsi_disk_state, media_event),
	FIELD("eject_request", struct scsi_disk_state, eject_request),
	FIELD("tray_open", struct scsi_disk_state, tray_open),
	FIELD("tray_locked", struct scsi_disk_state, tray_locked),
	NOT_SENT(struct scsi_disk_state, padding, "fills the struct up"),
	FIELDS_END,
};

const struct state_table scsi_disk_state_table = {
	.name = "scsi-disk",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct scsi_disk_state),
	.fields = disk_fields,
};

static struct scsi_disk *disk_of(const struct device *dev)
{
	return CONTAINER_OF(dev, struct scsi_disk, dev);
}

static void requests_capture(const struct scsi_disk *d, struct scsi_requests *s)
{
	s->lun = d->lun;
	s->queues = d->c->num_queues;
	s->packed = virtio_offers(&d->c->v, VIRTIO_F_PACKED_RING);
	carried_capture(&s->carried, &d->carried);
	for (unsigned int i = 0; i < d->carried.len; i++)
		scsi_carried_cdb(d, i, s->cdbs[i]);
}

static void disk_capture(const struct device *dev, void *state)
{
	const struct scsi_disk *d = disk_of(dev);
	struct scsi_device_state *s = &((struct scsi_disk_state *)state)->device;

	s->key = d->attention.key;
	s->asc = d->attention.asc;
	s->ascq = d->attention.ascq;
	s->sense_is_attention = d->sense_is_attention;
	memcpy(s->sense, d->sense, SENSE_SENT);
	memcpy(s->sense_rest, d->sense + SENSE_SENT, sizeof(s->sense_rest));
	s->sense_len = d->sense_len;
	requests_capture(d, &s->requests);
}

static void disk_apply(struct device *dev, const void *state)
{
	const struct scsi_device_state *s = &((const struct scsi_disk_state *)state)->device;
	struct scsi_disk *d = disk_of(dev);

	d->attention = (struct scsi_sense){s->key, s->asc, s->ascq};
	d->sense_is_attention = s->sense_is_attention;
	memcpy(d->sense, s->sense, SENSE_SENT);
	memcpy(d->sense + SENSE_SENT, s->sense_rest, sizeof(s->sense_rest));
	d->sense_len = s->sense_len;
	carried_apply(&d->carried, &s->requests.carried);
}

static void disk_reset(struct device *dev)
{
	struct scsi_disk *d = disk_of(dev);

	carried_release(&d->carried);
	d->attention = scsi_reset_happened;
	d->sense_len = 0;
	memset(d->sense, 0, sizeof(d->sense));
}

static int address_choose(struct scsi_disk *d, struct virtio_scsi *c, struct err *e)
{
	if (d->channel)
		return err_set(e, EINVAL, "channel: %u, there is only 0", d->channel);
	if (d->id == AUTO)
		for (d->id = 0, d->lun = d->lun == AUTO ? 0 : d->lun;
		     d->id < SCSI_TARGETS && scsi_disk_at(c, d->id, d->lun, true); d->id++)
			;
	else if (d->lun == AUTO)
		for (d->lun = 0; d->lun < 16384 && scsi_disk_at(c, d->id, d->lun, true); d->lun++)
			;
	if (d->id >= SCSI_TARGETS || d->lun > 16383)
		return err_set(e, EINVAL,
			       "scsi-id %u, lun %u: 0 to 255 and 0 to 16383 are possible", d->id,
			       d->lun);
	if (scsi_disk_at(c, d->id, d->lun, true))
		return err_set(e, EBUSY, "scsi-id %u, lun %u is in use", d->id, d->lun);
	return c->disks_len == SCSI_TARGETS ? err_set(e, ENOSPC, "the controller is full") : 0;
}

/**
 * struct join - Request to the owner to open the queue and take the disk in
 * @d:		The disk
 * @r, @e:	Result
 */
struct join {
	struct scsi_disk *d;
	int r;
	struct err *e;
};

static void owner_join(void *opaque)
{
	struct join *j = opaque;
	struct virtio_scsi *c = j->d->c;

	j->r = block_queue_open(j->d->drive, virtio_loop(&c->v), &j->d->bq, j->e);
	if (j->r)
		return;
	block_queue_limits(j->d->bq, &j->d->limits);
	c->disks[c->disks_len++] = j->d;
	scsi_event(c, VIRTIO_SCSI_T_TRANSPORT_RESET, VIRTIO_SCSI_EVT_RESET_RESCAN, j->d);
}

static void owner_leave(void *opaque)
{
	struct scsi_disk *d = opaque;
	struct virtio_scsi *c = d->c;
	unsigned int i = 0;

	while (i < c->disks_len && c->disks[i] != d)
		i++;
	if (i == c->disks_len)
		return;
	block_drain(d->bq);
	scsi_carried_abort(d);
	block_queue_close(d->bq);
	d->bq = NULL;
	memmove(c->disks + i, c->disks + i + 1, (c->disks_len - i - 1) * sizeof(c->disks[0]));
	c->disks_len--;
	scsi_event(c, VIRTIO_SCSI_T_TRANSPORT_RESET, VIRTIO_SCSI_EVT_RESET_REMOVED, d);
}

static void owner_resized(void *opaque)
{
	struct scsi_disk *d = opaque;

	d->attention = scsi_capacity_changed;
	scsi_event(d->c, VIRTIO_SCSI_T_PARAM_CHANGE, 0x2a | 9 << 8, d);
}

static void on_resize(void *opaque)
{
	struct scsi_disk *d = opaque;

	virtio_call(&d->c->v, owner_resized, d);
}

static void disk_unrealize(struct device *dev)
{
	struct scsi_disk *d = disk_of(dev);

	if (d->attached)
		block_on_resize(d->drive, NULL, NULL);
	if (d->c)
		virtio_call(&d->c->v, owner_leave, d);
	if (d->attached)
		block_detach(d->drive);
	d->attached = false;
	d->c = NULL;
	dev->parent = NULL;
}

static int props_check(struct scsi_disk *d, struct err *e)
{
	if (!d->drive)
		return err_set(e, EINVAL, "drive: must be given");
	d->logical = d->logical ? d->logical : 512;
	d->physical = d->physical ? d->physical : d->logical;
	if (d->logical < 512 || d->logical > 32768 || !IS_POWER_OF_2(d->logical) ||
	    !IS_POWER_OF_2(d->physical) || d->physical < d->logical)
		return err_set(e, EINVAL,
			       "logical_block_size %u, physical_block_size %u: powers of two from "
			       "512, the logical not above the physical",
			       d->logical, d->physical);
	if (d->discard_granularity == AUTO)
		d->discard_granularity = MAX(d->logical, 4096u);
	d->wce = d->write_cache == PROP_IS_AUTO ? !block_write_through(d->drive)
						: d->write_cache == PROP_IS_ON;
	d->attention = scsi_reset_happened;
	return 0;
}

static int disk_join(struct scsi_disk *d, struct err *e)
{
	struct join j = {.d = d, .e = e};
	int r = block_attach(d->drive, d->dev.id ? d->dev.id : d->dev.class->name,
			     !block_read_only(d->drive), e);

	if (r)
		return r;
	d->attached = true;
	virtio_call(&d->c->v, owner_join, &j);
	if (j.r)
		return j.r;
	if (d->limits.request_alignment > d->logical)
		return err_set(e, EINVAL, "logical_block_size: %u, the drive needs at least %u",
			       d->logical, d->limits.request_alignment);
	block_on_resize(d->drive, on_resize, d);
	return 0;
}

static int disk_realize(struct device *dev, struct err *e)
{
	struct scsi_disk *d = disk_of(dev);
	struct virtio_scsi *c = scsi_controller_find(d->bus_name);
	int r;

	if (!c)
		return err_set(e, ENOENT, "bus: there is no SCSI bus '%s'",
			       d->bus_name ? d->bus_name : "scsi");
	r = props_check(d, e);
	if (!r)
		r = address_choose(d, c, e);
	if (r)
		return r;
	d->c = c;
	dev->parent = &c->v.pci.dev;
	snprintf(dev->path, sizeof(dev->path), "%.40s/%u:%u:%u", c->v.pci.dev.path, d->channel,
		 d->id, d->lun);
	r = disk_join(d, e);
	if (r)
		disk_unrealize(dev);
	return r;
}

#define DISK_FIELD(m) offsetof(struct scsi_disk, m)

static const struct prop disk_props[] = {
	{"bus", PROP_STRING, DISK_FIELD(bus_name), NULL, "Controller's id and \".0\""},
	{"channel", PROP_U32, DISK_FIELD(channel), "0", "Channel"},
	{"scsi-id", PROP_U32, DISK_FIELD(id), "4294967295", "Target (default: the next free)"},
	{"lun", PROP_U32, DISK_FIELD(lun), "4294967295", "Logical unit (default: the next free)"},
	{"drive", PROP_DRIVE, DISK_FIELD(drive), NULL, "Block node or drive id"},
	{"serial", PROP_STRING, DISK_FIELD(serial), NULL, "Serial number"},
	{"vendor", PROP_STRING, DISK_FIELD(vendor), "QEMU", "8 characters"},
	{"product", PROP_STRING, DISK_FIELD(product), "QEMU HARDDISK", "16 characters"},
	{"ver", PROP_STRING, DISK_FIELD(version), "2.5+", "4 characters"},
	{"device_id", PROP_STRING, DISK_FIELD(device_id), NULL, "Name in page 83h"},
	{"wwn", PROP_U64, DISK_FIELD(wwn), "0", "World wide name"},
	{"logical_block_size", PROP_SIZE32, DISK_FIELD(logical), "0", "Bytes, default 512"},
	{"physical_block_size", PROP_SIZE32, DISK_FIELD(physical), "0", "Bytes, default 512"},
	{"min_io_size", PROP_SIZE32, DISK_FIELD(min_io), "0", "Bytes"},
	{"opt_io_size", PROP_SIZE32, DISK_FIELD(opt_io), "0", "Bytes"},
	{"discard_granularity", PROP_SIZE32, DISK_FIELD(discard_granularity), "4294967295",
	 "Bytes"},
	{"max_unmap_size", PROP_U64, DISK_FIELD(max_unmap), "1073741824", "Bytes"},
	{"max_io_size", PROP_U64, DISK_FIELD(max_io), "2147483647", "Bytes"},
	{"rotation_rate", PROP_U16, DISK_FIELD(rotation), "0", "Turns a minute; 1: none"},
	{"write-cache", PROP_AUTO, DISK_FIELD(write_cache), "auto", "Offer a volatile write cache"},
	{"share-rw", PROP_BOOL, DISK_FIELD(share_rw), "off", "Others may write the drive too"},
	{"dpofua", PROP_BOOL, DISK_FIELD(dpofua), "off", "Say that forced writes are known"},
	{"removable", PROP_BOOL, DISK_FIELD(removable), "off", "Say that it is removable"},
	{"bootindex", PROP_I32, DISK_FIELD(bootindex), "-1", "Place in the boot order"},
	{.name = "rerror",
	 .kind = PROP_ENUM,
	 .offset = DISK_FIELD(policy.on_read),
	 .def = "auto",
	 .names = block_on_error_names,
	 .help = "What a failed read does: report it to the guest, stop, ignore"},
	{.name = "werror",
	 .kind = PROP_ENUM,
	 .offset = DISK_FIELD(policy.on_write),
	 .def = "auto",
	 .names = block_on_error_names,
	 .help = "What a failed write does: report it to the guest, stop, enospc, ignore"},
	PROPS_END,
};

const struct device_class scsi_hd_class = {
	.name = "scsi-hd",
	.help = "SCSI disk",
	.bus = "SCSI",
	.size = sizeof(struct scsi_disk),
	.user = true,
	.hotplug = true,
	.own_lock = true,
	.continuity = CONTINUITY_STATE,
	.state = &scsi_disk_state_table,
	.section = "scsi-disk",
	.props = disk_props,
	.realize = disk_realize,
	.unrealize = disk_unrealize,
	.reset = disk_reset,
	.capture = disk_capture,
	.apply = disk_apply,
};
