/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtio-scsi (VIRTIO 1.2, 5.6): a controller with a control queue, an event
 * queue and request queues, and disks that are devices on its bus. All queues and disks are served
 * by one I/O thread. Commands are in scsi_queue.c (framing) and scsi_command.c, disks in
 * scsi_disk.c; the controller's section has no part of its own.
 */
#include "device/virtio/scsi.h"

#include <errno.h>
#include <linux/virtio_scsi.h>
#include <stdio.h>
#include <string.h>

#define PCI_CLASS       0x010000
#define NUM_QUEUES_AUTO UINT32_MAX

static struct list controllers = LIST_INIT(controllers); /* main thread */

/**
 * scsi_controller_find() - A controller by the name of its bus
 * @bus_name:	"ID.0"; NULL: the first there is
 *
 * Return: borrowed, or NULL
 */
struct virtio_scsi *scsi_controller_find(const char *bus_name)
{
	struct virtio_scsi *c;
	char name[256];

	list_for_each (c, &controllers, link) {
		snprintf(name, sizeof(name), "%s.0", c->v.pci.dev.id ? c->v.pci.dev.id : "scsi");
		if (!bus_name || !strcmp(name, bus_name))
			return c;
	}
	return NULL;
}

static void scsi_config_read(struct virtio *v, uint8_t *config)
{
	const struct virtio_scsi *c = scsi_of(v);
	struct virtio_scsi_config s = {
		.num_queues = htole32(c->num_queues),
		.seg_max = htole32(c->seg_max_adjust ? c->queue_size - 2 : 126),
		.max_sectors = htole32(c->max_sectors),
		.cmd_per_lun = htole32(c->cmd_per_lun),
		.event_info_size = htole32(sizeof(struct virtio_scsi_event)),
		.sense_size = htole32(SCSI_SENSE_BYTES),
		.cdb_size = htole32(SCSI_CDB_BYTES),
		.max_target = htole16(SCSI_TARGETS - 1),
		.max_lun = htole32(16383),
	};

	memcpy(config, &s, v->config_len);
}

static void scsi_kick(struct virtio *v, struct virtqueue *q)
{
	struct virtio_scsi *c = scsi_of(v);

	if (q->index == 0) {
		virtio_serve(v, q, scsi_control_one);
	} else if (q->index == 1) {
		if (c->events_missed)
			scsi_event(c, VIRTIO_SCSI_T_NO_EVENT, 0, NULL);
	} else {
		virtio_serve(v, q, scsi_command_one);
		for (unsigned int i = 0; i < c->disks_len; i++)
			block_kick(c->disks[i]->bq);
	}
}

static void scsi_quiesce(struct virtio *v)
{
	struct virtio_scsi *c = scsi_of(v);

	for (unsigned int i = 0; i < c->disks_len; i++)
		block_drain(c->disks[i]->bq);
}

static unsigned int scsi_drain(struct virtio *v, int64_t until_ns)
{
	struct virtio_scsi *c = scsi_of(v);
	unsigned int left = 0;

	for (unsigned int i = 0; i < c->disks_len; i++)
		left += block_drain_until(c->disks[i]->bq, until_ns);
	return left;
}

static void scsi_reset(struct virtio *v)
{
	struct virtio_scsi *c = scsi_of(v);

	c->events_missed = false;
	for (unsigned int i = 0; i < c->disks_len; i++) {
		carried_release(&c->disks[i]->carried);
		c->disks[i]->attention = scsi_reset_happened;
	}
}

static void scsi_resume(struct virtio *v)
{
	struct virtio_scsi *c = scsi_of(v);

	for (unsigned int i = 0; i < c->disks_len; i++)
		scsi_carried_resume(c->disks[i]);
}

static const char *const feature_names[64] = {"INOUT", "HOTPLUG", "CHANGE", "T10_PI"};

static const struct virtio_ops scsi_ops = {
	.id = 8,
	.pci_id = 0x1004,
	.pci_class = PCI_CLASS,
	.name = "virtio-scsi",
	.feature_names = feature_names,
	.config_read = scsi_config_read,
	.kick = scsi_kick,
	.reset = scsi_reset,
	.drain = scsi_drain,
	.quiesce = scsi_quiesce,
	.resume = scsi_resume,
};

static void scsi_unrealize(struct device *dev)
{
	struct virtio_scsi *c = scsi_of(virtio_of(dev));

	list_del(&c->link);
	virtio_detach(&c->v);
	while (c->disks_len) /* each leaves the list */
		scsi_hd_class.unrealize(&c->disks[0]->dev);
	virtio_release(&c->v);
}

static int props_check(struct virtio_scsi *c, struct err *e)
{
	unsigned int most = VIRTIO_QUEUES_MAX - SCSI_FIXED_QUEUES;

	if (c->num_queues == NUM_QUEUES_AUTO)
		c->num_queues = virtio_default_queues(&c->v, SCSI_FIXED_QUEUES);
	if (!c->num_queues || c->num_queues > most)
		return err_set(e, EINVAL, "num_queues: %u, 1 to %u are possible", c->num_queues,
			       most);
	if (c->queue_size <= 2 || c->queue_size > VIRTQUEUE_SIZE_MAX ||
	    !IS_POWER_OF_2(c->queue_size))
		return err_set(e, EINVAL, "virtqueue_size: %u is no power of two from 4 to 1024",
			       c->queue_size);
	return 0;
}

static int scsi_realize(struct device *dev, struct err *e)
{
	struct virtio_scsi *c = scsi_of(virtio_of(dev));
	uint16_t sizes[VIRTIO_QUEUES_MAX];
	int r;

	list_init(&c->link);
	r = props_check(c, e);
	if (r)
		return r;
	for (unsigned int i = 0; i < c->num_queues + SCSI_FIXED_QUEUES; i++)
		sizes[i] = (uint16_t)c->queue_size;
	c->v.ops = &scsi_ops;
	c->v.own_io = true;
	r = virtio_init(&c->v, c->num_queues + SCSI_FIXED_QUEUES, sizes,
			sizeof(struct virtio_scsi_config), e);
	if (!r)
		r = virtio_attach(&c->v, e);
	if (r)
		scsi_unrealize(dev);
	else
		list_add_tail(&controllers, &c->link);
	return r;
}

const struct state_table virtio_scsi_state_table = {
	.name = "virtio-scsi",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct virtio_plain_state),
	.fields = virtio_plain_fields,
};

#define SCSI_FIELD(m) offsetof(struct virtio_scsi, m)

static const struct prop scsi_props[] = {
	VIRTIO_PROPS(struct virtio_scsi, "4294967295"),
	{"num_queues", PROP_U32, SCSI_FIELD(num_queues), "4294967295",
	 "Request queues (default: one a vCPU)"},
	{"virtqueue_size", PROP_U32, SCSI_FIELD(queue_size), "256", "Entries of each queue"},
	{"seg_max_adjust", PROP_BOOL, SCSI_FIELD(seg_max_adjust), "on",
	 "Segments as the size allows"},
	{"max_sectors", PROP_U32, SCSI_FIELD(max_sectors), "65535", "Of one command"},
	{"cmd_per_lun", PROP_U32, SCSI_FIELD(cmd_per_lun), "128", "Commands a disk takes at once"},
	{"iothread", PROP_LINK, SCSI_FIELD(v.iothread), NULL, "Thread that serves it"},
	VIRTIO_SWITCH(struct virtio_scsi, "hotplug", VIRTIO_SCSI_F_HOTPLUG, "on",
		      "Tell the driver of disks that come and go"),
	VIRTIO_SWITCH(struct virtio_scsi, "param_change", VIRTIO_SCSI_F_CHANGE, "on",
		      "Tell the driver of new sizes"),
	PROPS_END,
};

#define SCSI_CLASS(var, wire)                       \
	const struct device_class var = {           \
		.name = (wire),                     \
		.help = "SCSI controller",          \
		.bus = "PCI",                       \
		.size = sizeof(struct virtio_scsi), \
		.user = true,                       \
		.hotplug = true,                    \
		.own_lock = true,                   \
		.continuity = CONTINUITY_STATE,     \
		.state = &virtio_scsi_state_table,  \
		.section = "virtio-scsi",           \
		.props = scsi_props,                \
		.realize = scsi_realize,            \
		.unrealize = scsi_unrealize,        \
		.reset = virtio_device_reset,       \
		.capture = virtio_plain_capture,    \
		.validate = virtio_plain_validate,  \
		.apply = virtio_plain_apply,        \
		.settle = virtio_settle,            \
		.stop = virtio_stop,                \
		.run = virtio_run,                  \
	}

SCSI_CLASS(virtio_scsi_class, "virtio-scsi-pci");
SCSI_CLASS(virtio_scsi_transitional_class, "virtio-scsi-pci-transitional");
SCSI_CLASS(virtio_scsi_non_transitional_class, "virtio-scsi-pci-non-transitional");
