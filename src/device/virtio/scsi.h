/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_SCSI_H
#define DEVICE_VIRTIO_SCSI_H

#include "block/on_error.h"
#include "device/virtio/carried.h"
#include "device/virtio/virtio_state.h"

#define SCSI_CDB_BYTES       32
#define SCSI_SENSE_BYTES     96
#define SCSI_TARGETS         256
#define SCSI_FIXED_QUEUES    2 /* control, event */
#define SCSI_REPLY_BYTES     4096

#define SCSI_GOOD            0
#define SCSI_CHECK_CONDITION 2

/**
 * struct scsi_sense - What went wrong, in SCSI's words (SPC-3, 4.5)
 */
struct scsi_sense {
	uint8_t key, asc, ascq;
};

extern const struct scsi_sense scsi_no_sense, scsi_invalid_opcode, scsi_invalid_field,
	scsi_lba_out_of_range, scsi_lun_not_supported, scsi_io_error, scsi_write_protected,
	scsi_parameter_length, scsi_reset_happened, scsi_capacity_changed, scsi_luns_changed;

struct virtio_scsi;

/**
 * struct scsi_disk - A disk on a controller's bus; requests and attention are the owner's
 * @dev:	First
 * @bus_name, @channel, @id, @lun, @drive, @serial, @vendor, @product, @version, @device_id, @wwn:
 * Properties
 * @logical, @physical, @min_io, @opt_io, @discard_granularity, @max_unmap, @max_io, @rotation:
 * Properties
 * @write_cache, @share_rw, @dpofua, @removable, @bootindex, @policy: Properties
 * @carried:	Commands that wait for the guest to run
 * @c:		Controller; NULL: not realized
 * @bq, @limits: Where requests go
 * @attached:	@drive is ours
 * @wce:	Writes may stay in the host's cache until a flush
 * @attention:	Unit attention for the next command; key 0: none
 * @sense, @sense_len, @sense_is_attention: Of the last command that failed
 */
struct scsi_disk {
	struct device dev;
	char *bus_name;
	uint32_t channel, id, lun;
	struct block_node *drive;
	char *serial, *vendor, *product, *version, *device_id;
	uint64_t wwn, max_unmap, max_io;
	uint32_t logical, physical, min_io, opt_io, discard_granularity;
	uint16_t rotation;
	int write_cache;
	struct block_policy policy;
	bool share_rw, dpofua, removable;
	int32_t bootindex;
	struct carried_list carried;
	struct virtio_scsi *c;
	struct block_queue *bq;
	struct block_limits limits;
	bool attached, wce;
	struct scsi_sense attention;
	uint8_t sense[252];
	uint32_t sense_len;
	bool sense_is_attention;
};

/**
 * struct virtio_scsi - The controller
 * @v:		First
 * @num_queues, @queue_size, @seg_max_adjust, @max_sectors, @cmd_per_lun: Properties
 * @link:	In the list of controllers; main thread
 * @disks, @disks_len: In the order they came; changed on the owner
 * @events_missed: The driver had no buffer for an event
 */
struct virtio_scsi {
	struct virtio v;
	uint32_t num_queues, queue_size, max_sectors, cmd_per_lun;
	bool seg_max_adjust;
	struct list link;
	struct scsi_disk *disks[SCSI_TARGETS];
	unsigned int disks_len;
	bool events_missed;
};

/**
 * struct scsi_request - A command
 * @chain:	First
 * @c, @q, @d:	Whose
 * @r:		As the block room sees it
 * @cdb:	Command
 * @lun:	As addressed
 * @out, @out_len, @out_bytes: Data from the driver
 * @in, @in_len, @in_bytes: Room for data to the driver
 * @slices:	Memory of @out and @in; owned
 * @reply, @reply_len: Data made here; owned
 * @extents, @extents_len, @extents_at: UNMAP's list (pairs of offset and bytes); owned
 * @done:	Bytes transferred
 */
struct scsi_request {
	struct virtq_chain chain;
	struct virtio_scsi *c;
	struct virtqueue *q;
	struct scsi_disk *d;
	struct block_request r;
	uint8_t cdb[SCSI_CDB_BYTES];
	uint32_t lun;
	struct iovec *out, *in, *slices;
	int out_len, in_len;
	uint64_t out_bytes, in_bytes, done;
	uint8_t *reply;
	size_t reply_len;
	uint64_t (*extents)[2];
	unsigned int extents_len, extents_at;
};

static inline struct virtio_scsi *scsi_of(struct virtio *v)
{
	return CONTAINER_OF(v, struct virtio_scsi, v);
}

/* scsi.c: main thread */
struct virtio_scsi *scsi_controller_find(const char *bus_name);

/* scsi_queue.c: owner */
enum virtio_served scsi_command_one(struct virtio *v, struct virtqueue *q);
enum virtio_served scsi_control_one(struct virtio *v, struct virtqueue *q);
void scsi_carried_resume(struct scsi_disk *d);
void scsi_carried_abort(struct scsi_disk *d);
void scsi_carried_cdb(const struct scsi_disk *d, unsigned int i, uint8_t *cdb);
bool scsi_shelve(struct scsi_request *x);
void scsi_event(struct virtio_scsi *c, uint32_t event, uint32_t reason, const struct scsi_disk *d);
void scsi_finish(struct scsi_request *x, uint8_t status, const struct scsi_sense *sense);
struct scsi_disk *scsi_disk_at(struct virtio_scsi *c, uint32_t id, uint32_t lun, bool exact);
size_t scsi_data_out(const struct scsi_request *x, size_t offset, void *buf, size_t len);

/* scsi_command.c: owner */
void scsi_command_start(struct scsi_request *x);

/* scsi_inquiry.c: fill @b, return bytes; negative: invalid field */
int scsi_inquiry(const struct scsi_disk *d, const uint8_t *cdb, uint8_t *b);
int scsi_mode_sense(const struct scsi_disk *d, const uint8_t *cdb, uint8_t *b);
int scsi_report_luns(const struct virtio_scsi *c, uint32_t id, uint8_t *b);
size_t scsi_sense_build(const struct scsi_sense *s, uint8_t *b);

extern const struct state_table virtio_scsi_state_table, scsi_disk_state_table;
extern const struct device_class virtio_scsi_class, virtio_scsi_transitional_class,
	virtio_scsi_non_transitional_class, scsi_hd_class;

#endif
