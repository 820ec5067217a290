/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the controller's queues (VIRTIO 1.2, 5.6.6): commands and their answers
 * around the driver's data, task management, events. The answer lies before the data to the driver,
 * so it is written into the same buffers first. A command too short for its header or answer breaks
 * the queue; everything else is answered.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "device/virtio/scsi.h"

#include <linux/virtio_scsi.h>
#include <string.h>

#define REQUEST_BYTES  (19 + SCSI_CDB_BYTES)
#define RESPONSE_BYTES (12 + SCSI_SENSE_BYTES)

enum { EVENT_QUEUE = 1 };

/**
 * scsi_disk_at() - A disk by its address
 * @c:		The controller
 * @id, @lun:	Address
 * @exact:	Else any disk of the target will do
 *
 * Return: the disk, or NULL
 */
struct scsi_disk *scsi_disk_at(struct virtio_scsi *c, uint32_t id, uint32_t lun, bool exact)
{
	struct scsi_disk *any = NULL;

	for (unsigned int i = 0; i < c->disks_len; i++) {
		if (c->disks[i]->id != id)
			continue;
		if (c->disks[i]->lun == lun)
			return c->disks[i];
		any = any ? any : c->disks[i];
	}
	return exact ? NULL : any;
}

/* Vectors for the chain's readable or writable bytes behind the first @skip. */
static int slice(const struct virtq_chain *c, bool in, size_t skip, struct iovec *to)
{
	unsigned int from = in ? c->out_len : 0,
		     end = in ? (unsigned int)c->out_len + c->in_len : c->out_len;
	int n = 0;

	for (unsigned int i = from; i < end; i++) {
		size_t cut = MIN(skip, c->iov[i].iov_len);

		skip -= cut;
		if (cut < c->iov[i].iov_len)
			to[n++] = (struct iovec){(char *)c->iov[i].iov_base + cut,
						 c->iov[i].iov_len - cut};
	}
	return n;
}

/**
 * scsi_data_out() - Copy out of the data from the driver
 * @x:		The command
 * @offset:	In the data
 * @buf, @len:	Where to, how much
 *
 * Return: bytes copied
 */
size_t scsi_data_out(const struct scsi_request *x, size_t offset, void *buf, size_t len)
{
	return virtq_read(&x->chain, REQUEST_BYTES + offset, buf, len);
}

static void request_free(struct scsi_request *x)
{
	free(x->slices);
	free(x->reply);
	free(x->extents);
}

static void respond(struct scsi_request *x, uint8_t response, uint8_t status, const uint8_t *sense,
		    size_t sense_len, uint64_t moved, uint64_t room)
{
	uint8_t b[RESPONSE_BYTES] = {0};
	uint64_t resid = room > moved ? room - moved : 0;
	uint64_t written = RESPONSE_BYTES + (x->in_bytes ? moved : 0);

	store_le32(b, (uint32_t)sense_len);
	store_le32(b + 4, (uint32_t)MIN(resid, (uint64_t)UINT32_MAX));
	b[10] = status;
	b[11] = response;
	if (sense_len)
		memcpy(b + 12, sense, sense_len);
	virtq_write(&x->chain, 0, b, sizeof(b));
	request_free(x);
	virtqueue_push(x->q, &x->chain, (uint32_t)MIN(written, (uint64_t)UINT32_MAX));
}

static void respond_bare(struct scsi_request *x, uint8_t response)
{
	respond(x, response, 0, NULL, 0, 0, 0);
}

/**
 * scsi_finish() - Answer a command
 * @x:		Freed; reply_len bytes of its reply go to the driver
 * @status:	SCSI status
 * @sense:	For CHECK CONDITION
 */
void scsi_finish(struct scsi_request *x, uint8_t status, const struct scsi_sense *sense)
{
	uint64_t room = x->in_bytes ? x->in_bytes : x->out_bytes;
	uint8_t bytes[18];
	size_t len = 0;

	if (x->done == UINT64_MAX) {
		respond_bare(x, VIRTIO_SCSI_S_OVERRUN);
		return;
	}
	if (status == SCSI_CHECK_CONDITION) {
		len = scsi_sense_build(sense, bytes);
		memcpy(x->d->sense, bytes, len);
		x->d->sense_len = (uint32_t)len;
		x->done = x->reply_len = 0;
	}
	if (x->reply_len)
		x->done = virtq_write(&x->chain, RESPONSE_BYTES, x->reply, x->reply_len);
	respond(x, VIRTIO_SCSI_S_OK, status, bytes, len, MIN(x->done, room), room);
}

static uint32_t lun_of(const uint8_t *address)
{
	return load_be16(address + 2) & 0x3fff;
}

static bool request_parse(struct scsi_request *x, uint8_t head[REQUEST_BYTES])
{
	const struct virtq_chain *c = &x->chain;

	if (virtq_read(c, 0, head, REQUEST_BYTES) < REQUEST_BYTES || c->in_bytes < RESPONSE_BYTES)
		return false;
	memcpy(x->cdb, head + 19, SCSI_CDB_BYTES);
	x->slices = mem_calloc((size_t)c->out_len + c->in_len, sizeof(struct iovec));
	x->out = x->slices;
	x->out_len = slice(c, false, REQUEST_BYTES, x->out);
	x->out_bytes = c->out_bytes - REQUEST_BYTES;
	x->in = x->slices + x->out_len;
	x->in_len = slice(c, true, RESPONSE_BYTES, x->in);
	x->in_bytes = c->in_bytes - RESPONSE_BYTES;
	return true;
}

/* False: the driver broke the queue. */
static bool begin(struct virtio_scsi *c, struct virtqueue *q, struct scsi_request *x)
{
	uint8_t head[REQUEST_BYTES];

	x->c = c;
	x->q = q;
	if (!request_parse(x, head)) {
		virtqueue_detach(q, &x->chain);
		virtqueue_break(q, "SCSI command without header or answer");
		return false;
	}
	x->lun = lun_of(head);
	x->d = head[0] == 1 ? scsi_disk_at(x->c, head[1], x->lun, false) : NULL;
	if (!x->d)
		respond_bare(x, VIRTIO_SCSI_S_BAD_TARGET);
	else if (x->out_bytes && x->in_bytes)
		respond_bare(x, VIRTIO_SCSI_S_FAILURE);
	else
		scsi_command_start(x);
	return true;
}

/**
 * scsi_command_one() - Take one command
 * @v:		The controller; owner
 * @q:		A request queue
 *
 * Return: as virtio_serve() wants
 */
enum virtio_served scsi_command_one(struct virtio *v, struct virtqueue *q)
{
	struct scsi_request *x = virtqueue_pop(q, sizeof(*x));

	if (!x)
		return VIRTIO_EMPTY;
	return begin(scsi_of(v), q, x) ? VIRTIO_SERVED : VIRTIO_EMPTY;
}

/**
 * scsi_shelve() - Keep a command that failed until the guest runs again
 * @x:		Freed, if it is kept
 *
 * Return: false: there is no room for more
 */
bool scsi_shelve(struct scsi_request *x)
{
	unsigned int n = (unsigned int)x->chain.out_len + x->chain.in_len;
	struct carried *c = carried_add(&x->d->carried, x->q->index - SCSI_FIXED_QUEUES, &x->chain);

	if (!c)
		return false;
	memcpy(c->chain.gpas, x->chain.gpas, n * sizeof(gpa_t));
	for (unsigned int i = 0; i < n; i++)
		c->lens[i] = (uint32_t)x->chain.iov[i].iov_len;
	request_free(x);
	virtqueue_shelve(x->q, &x->chain);
	return true;
}

static struct virtqueue *carried_queue(struct scsi_disk *d, const struct carried *c)
{
	return &d->c->v.queues[c->queue + SCSI_FIXED_QUEUES].vq;
}

/**
 * scsi_carried_cdb() - The command of one that is kept
 * @d:		The disk, guest stopped
 * @i:		Which
 * @cdb:	16 bytes, filled in; zeroes if the driver has taken the memory away
 */
void scsi_carried_cdb(const struct scsi_disk *d, unsigned int i, uint8_t *cdb)
{
	const struct carried *c = &d->carried.all[i];
	uint8_t head[REQUEST_BYTES] = {0};
	size_t at = 0;

	for (unsigned int k = 0; k < c->chain.out_len && at < sizeof(head); k++) {
		size_t n = MIN((size_t)c->lens[k], sizeof(head) - at);

		if (!memory_read(d->dev.env->memory, c->chain.gpas[k], head + at, n))
			break;
		at += n;
	}
	memcpy(cdb, head + 19, 16);
}

/**
 * scsi_carried_resume() - Start the commands again that wait for the guest to run
 * @d:		The disk; owner
 */
void scsi_carried_resume(struct scsi_disk *d)
{
	struct carried_list again = d->carried;

	d->carried = (struct carried_list){0};
	for (unsigned int i = 0; i < again.len; i++) {
		struct carried *c = &again.all[i];
		struct virtqueue *q = carried_queue(d, c);
		struct scsi_request *x = virtqueue_adopt(q, sizeof(*x), &c->chain, c->lens);

		if (x)
			begin(d->c, q, x);
	}
	carried_release(&again);
	block_kick(d->bq);
}

/**
 * scsi_carried_abort() - Answer the commands that wait: the driver or the disk is gone
 * @d:		The disk; owner
 */
void scsi_carried_abort(struct scsi_disk *d)
{
	for (unsigned int i = 0; i < d->carried.len; i++) {
		struct carried *c = &d->carried.all[i];
		struct virtqueue *q = carried_queue(d, c);
		struct scsi_request *x = NULL;

		if (virtio_servable(&d->c->v, q))
			x = virtqueue_adopt(q, sizeof(*x), &c->chain, c->lens);
		if (!x)
			continue;
		x->q = q;
		respond_bare(x, VIRTIO_SCSI_S_ABORTED);
		virtio_notify(&d->c->v, q);
	}
	carried_release(&d->carried);
}

static void disk_reset(struct scsi_disk *d)
{
	block_drain(d->bq);
	scsi_carried_abort(d);
	d->attention = scsi_reset_happened;
}

/* Requests aren't aborted: they are completed first, which is what an abort that comes too late
 * finds. */
static uint8_t task_manage(struct virtio_scsi *c, uint32_t type, const uint8_t *address)
{
	struct scsi_disk *d = scsi_disk_at(c, address[1], lun_of(address), false);

	if (address[0] != 1 || !d)
		return VIRTIO_SCSI_S_BAD_TARGET;
	switch (type) {
	case VIRTIO_SCSI_T_TMF_ABORT_TASK:
	case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
	case VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET:
	case VIRTIO_SCSI_T_TMF_QUERY_TASK:
	case VIRTIO_SCSI_T_TMF_QUERY_TASK_SET:
		if (d->lun != lun_of(address))
			return VIRTIO_SCSI_S_INCORRECT_LUN;
		block_drain(d->bq);
		scsi_carried_abort(d);
		return VIRTIO_SCSI_S_OK;
	case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
		if (d->lun != lun_of(address))
			return VIRTIO_SCSI_S_INCORRECT_LUN;
		disk_reset(d);
		return VIRTIO_SCSI_S_OK;
	case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
		for (unsigned int i = 0; i < c->disks_len; i++)
			if (c->disks[i]->id == address[1])
				disk_reset(c->disks[i]);
		return VIRTIO_SCSI_S_OK;
	default: return VIRTIO_SCSI_S_FUNCTION_REJECTED;
	}
}

static size_t control_answer(struct virtio_scsi *c, const struct virtq_chain *chain, uint8_t b[5])
{
	uint8_t head[24] = {0};
	size_t got = virtq_read(chain, 0, head, sizeof(head));

	memset(b, 0, 5);
	if (got >= 24 && load_le32(head) == VIRTIO_SCSI_T_TMF) {
		b[0] = task_manage(c, load_le32(head + 4), head + 8);
		return 1;
	}
	if (got >= 16 && (load_le32(head) == VIRTIO_SCSI_T_AN_QUERY ||
			  load_le32(head) == VIRTIO_SCSI_T_AN_SUBSCRIBE))
		return 5; /* no events to subscribe to */
	return 0;
}

/**
 * scsi_control_one() - Take one control request and answer it
 * @v:		The controller; owner
 * @q:		The control queue
 *
 * Return: as virtio_serve() wants
 */
enum virtio_served scsi_control_one(struct virtio *v, struct virtqueue *q)
{
	struct virtq_chain *c = virtqueue_pop(q, sizeof(*c));
	uint8_t answer[5];
	size_t n;

	if (!c)
		return VIRTIO_EMPTY;
	n = control_answer(scsi_of(v), c, answer);
	if (!n || c->in_bytes < n) {
		virtqueue_detach(q, c);
		virtqueue_break(q, "SCSI control request makes no sense");
		return VIRTIO_EMPTY;
	}
	virtqueue_push(q, c, (uint32_t)virtq_write(c, 0, answer, n));
	return VIRTIO_SERVED;
}

/**
 * scsi_event() - Tell the driver that a disk came, went or changed
 * @c:		The controller; owner
 * @event:	VIRTIO_SCSI_T_*
 * @reason:	As the event says
 * @d:		Whose; NULL: none
 */
void scsi_event(struct virtio_scsi *c, uint32_t event, uint32_t reason, const struct scsi_disk *d)
{
	struct virtqueue *q = &c->v.queues[EVENT_QUEUE].vq;
	struct virtq_chain *chain = NULL;
	uint8_t b[16] = {0};

	if (virtio_servable(&c->v, q))
		chain = virtqueue_pop_or_ask(q, sizeof(*chain));
	if (!chain) {
		c->events_missed |= c->v.ready;
		return;
	}
	store_le32(b, event | (c->events_missed ? VIRTIO_SCSI_T_EVENTS_MISSED : 0));
	c->events_missed = false;
	if (d) {
		b[4] = 1;
		b[5] = (uint8_t)d->id;
		store_be16(b + 6, (uint16_t)(d->lun < 256 ? d->lun : d->lun | 0x4000));
	}
	store_le32(b + 12, reason);
	virtio_complete(&c->v, q, chain, (uint32_t)virtq_write(chain, 0, b, sizeof(b)));
}
