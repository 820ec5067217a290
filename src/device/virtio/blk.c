/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtio-blk (VIRTIO 1.2, 5.2). All its queues are served by one I/O thread,
 * which submits to one block queue; requests are in blk_request.c. Stopping drains, so a captured
 * state has no request in flight; a state that another VMM wrote may carry some, which are
 * submitted anew when the guest runs.
 *
 * A guest that doesn't negotiate flushes gets each write on stable storage before it completes.
 */
#include "device/virtio/blk.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "device/virtio/blk_state.h"

#include <errno.h>
#include <linux/virtio_blk.h>

#define SECTOR             512u
#define SECTORS_MAX        (INT32_MAX / SECTOR)
#define NUM_QUEUES_AUTO    0xffff
#define PCI_CLASS          0x010000
#define QUEUE_SIZE_DEFAULT 256

static struct virtio_blk *blk_of(struct virtio *v)
{
	return CONTAINER_OF(v, struct virtio_blk, v);
}

static uint8_t physical_exponent(const struct virtio_blk *b)
{
	uint8_t n = 0;

	while (b->logical << (n + 1) <= b->physical)
		n++;
	return n;
}

static void limits_fill(const struct virtio_blk *b, struct virtio_blk_config *c)
{
	uint32_t granularity = b->discard_granularity == UINT32_MAX ? b->logical
								    : b->discard_granularity;

	if (virtio_offers(&b->v, VIRTIO_BLK_F_DISCARD)) {
		c->max_discard_sectors = htole32(b->max_discard);
		c->discard_sector_alignment = htole32(granularity / SECTOR);
		c->max_discard_seg = htole32(1);
	}
	if (virtio_offers(&b->v, VIRTIO_BLK_F_WRITE_ZEROES)) {
		c->max_write_zeroes_sectors = htole32(b->max_zeroes);
		c->max_write_zeroes_seg = htole32(1);
		c->write_zeroes_may_unmap = 1;
	}
}

static void blk_config_read(struct virtio *v, uint8_t *config)
{
	const struct virtio_blk *b = blk_of(v);
	struct virtio_blk_config c = {
		.capacity = htole64(block_size(b->drive) / SECTOR),
		.seg_max = htole32(b->seg_max_adjust ? b->queue_size - 2u : 126),
		.geometry = {htole16((uint16_t)b->cyls), (uint8_t)b->heads, (uint8_t)b->secs},
		.blk_size = htole32(b->logical),
		.physical_block_exp = physical_exponent(b),
		.min_io_size = htole16((uint16_t)(b->min_io / b->logical)),
		.opt_io_size = htole32(b->opt_io / b->logical),
		.wce = __atomic_load_n(&b->wce, __ATOMIC_RELAXED),
		.num_queues = htole16(b->num_queues),
	};

	limits_fill(b, &c);
	memcpy(config, &c, v->config_len);
}

/* The driver may write one byte: wce. */
static void blk_config_write(struct virtio *v, const uint8_t *config)
{
	struct virtio_blk *b = blk_of(v);

	if (virtio_offers(v, VIRTIO_BLK_F_CONFIG_WCE))
		__atomic_store_n(&b->wce, config[offsetof(struct virtio_blk_config, wce)] != 0,
				 __ATOMIC_RELAXED);
}

static void blk_started(struct virtio *v, bool on)
{
	struct virtio_blk *b = blk_of(v);

	if (on && !virtio_has(v, VIRTIO_BLK_F_CONFIG_WCE))
		__atomic_store_n(&b->wce, virtio_has(v, VIRTIO_BLK_F_FLUSH), __ATOMIC_RELAXED);
}

static void blk_kick(struct virtio *v, struct virtqueue *q)
{
	virtio_serve(v, q, blk_serve_one);
	block_kick(blk_of(v)->bq);
}

static void blk_quiesce(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);

	if (b->bq)
		block_drain(b->bq);
}

static unsigned int blk_drain(struct virtio *v, int64_t until_ns)
{
	struct virtio_blk *b = blk_of(v);

	return b->bq ? block_drain_until(b->bq, until_ns) : 0;
}

static bool cache_at_start(const struct virtio_blk *b)
{
	if (b->write_cache == PROP_IS_AUTO)
		return !block_write_through(b->drive);
	return b->write_cache == PROP_IS_ON;
}

static void blk_reset(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);

	carried_release(&b->carried);
	__atomic_store_n(&b->wce, cache_at_start(b), __ATOMIC_RELAXED);
}

static void blk_resume(struct virtio *v)
{
	blk_resume_carried(blk_of(v));
}

static const char *const feature_names[64] = {
	[VIRTIO_BLK_F_SIZE_MAX] = "SIZE_MAX",
	[VIRTIO_BLK_F_SEG_MAX] = "SEG_MAX",
	[VIRTIO_BLK_F_GEOMETRY] = "GEOMETRY",
	[VIRTIO_BLK_F_RO] = "RO",
	[VIRTIO_BLK_F_BLK_SIZE] = "BLK_SIZE",
	[VIRTIO_BLK_F_SCSI] = "SCSI",
	[VIRTIO_BLK_F_FLUSH] = "FLUSH",
	[VIRTIO_BLK_F_TOPOLOGY] = "TOPOLOGY",
	[11] = "CONFIG_WCE",
	[VIRTIO_BLK_F_MQ] = "MQ",
	[VIRTIO_BLK_F_DISCARD] = "DISCARD",
	[VIRTIO_BLK_F_WRITE_ZEROES] = "WRITE_ZEROES",
};

static const struct virtio_ops blk_ops = {
	.id = 2,
	.pci_id = 0x1001,
	.pci_class = PCI_CLASS,
	.name = "virtio-blk",
	.feature_names = feature_names,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.kick = blk_kick,
	.started = blk_started,
	.reset = blk_reset,
	.drain = blk_drain,
	.quiesce = blk_quiesce,
	.resume = blk_resume,
};

static int props_check(struct virtio_blk *b, struct err *e)
{
	if (!b->drive)
		return err_set(e, EINVAL, "drive: must be given");
	if (b->num_queues == NUM_QUEUES_AUTO)
		b->num_queues = (uint16_t)virtio_default_queues(&b->v, 0);
	if (!b->num_queues || b->num_queues > VIRTIO_QUEUES_MAX)
		return err_set(e, EINVAL, "num-queues: %u, 1 to %u are possible", b->num_queues,
			       VIRTIO_QUEUES_MAX);
	if (b->queue_size <= 2 || b->queue_size > VIRTQUEUE_SIZE_MAX ||
	    !IS_POWER_OF_2(b->queue_size))
		return err_set(e, EINVAL, "queue-size: %u is no power of two from 4 to 1024",
			       b->queue_size);
	if (!b->max_discard || b->max_discard > SECTORS_MAX || !b->max_zeroes ||
	    b->max_zeroes > SECTORS_MAX)
		return err_set(
			e, EINVAL,
			"max-discard-sectors, max-write-zeroes-sectors: 1 to %u are possible",
			SECTORS_MAX);
	return 0;
}

static bool block_size_ok(uint32_t n)
{
	return n >= SECTOR && n <= 2 * MiB && IS_POWER_OF_2(n);
}

/* Without a property: 512 bytes, and the geometry old firmware expects. */
static int sizes_choose(struct virtio_blk *b, struct err *e)
{
	uint64_t cyls = block_size(b->drive) / SECTOR / (16 * 63);

	b->logical = b->logical ? b->logical : SECTOR;
	b->physical = b->physical ? b->physical : MAX(b->logical, SECTOR);
	if (!block_size_ok(b->logical) || !block_size_ok(b->physical) || b->logical > b->physical)
		return err_set(
			e, EINVAL,
			"logical_block_size %u, physical_block_size %u: powers of two from 512, "
			"the logical not above the physical",
			b->logical, b->physical);
	if (b->limits.request_alignment > b->logical)
		return err_set(e, EINVAL, "logical_block_size: %u, the drive needs at least %u",
			       b->logical, b->limits.request_alignment);
	if (!b->cyls) {
		cyls = MAX(cyls, 2ULL);
		b->cyls = (uint32_t)MIN(cyls, 16383ULL);
		b->heads = 16;
		b->secs = 63;
	}
	return 0;
}

static void features_offer(struct virtio_blk *b)
{
	uint64_t *f = &b->v.host_features;

	*f |= VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_GEOMETRY) |
	      VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE);
	if (b->wce || virtio_offers(&b->v, VIRTIO_BLK_F_CONFIG_WCE))
		*f |= VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
	if (block_read_only(b->drive))
		*f |= VIRTIO_BIT(VIRTIO_BLK_F_RO);
	if (b->num_queues > 1)
		*f |= VIRTIO_BIT(VIRTIO_BLK_F_MQ);
	if (b->v.disable_modern)
		*f &= ~VIRTIO_BIT(VIRTIO_F_LAYOUT);
}

static uint16_t config_length(const struct virtio_blk *b)
{
	if (virtio_offers(&b->v, VIRTIO_BLK_F_WRITE_ZEROES))
		return offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 1;
	if (virtio_offers(&b->v, VIRTIO_BLK_F_DISCARD))
		return offsetof(struct virtio_blk_config, max_write_zeroes_sectors);
	return offsetof(struct virtio_blk_config, max_discard_sectors);
}

static void on_resize(void *opaque)
{
	virtio_config_changed(opaque);
}

/**
 * struct queue_open - Request to the owner to open the block queue
 * @b:		Whose
 * @r, @e:	Result
 */
struct queue_open {
	struct virtio_blk *b;
	int r;
	struct err *e;
};

static void owner_open(void *opaque)
{
	struct queue_open *o = opaque;

	o->r = block_queue_open(o->b->drive, virtio_loop(&o->b->v), &o->b->bq, o->e);
}

static void owner_close(void *opaque)
{
	struct virtio_blk *b = opaque;

	if (b->bq)
		block_queue_close(b->bq);
	b->bq = NULL;
}

static void blk_unrealize(struct device *dev)
{
	struct virtio_blk *b = blk_of(virtio_of(dev));

	virtio_detach(&b->v);
	if (b->attached)
		block_on_resize(b->drive, NULL, NULL);
	if (b->v.queues)
		virtio_call(&b->v, owner_close, b);
	virtio_release(&b->v);
	carried_release(&b->carried);
	if (b->attached)
		block_detach(b->drive);
	b->attached = false;
}

static int drive_open(struct virtio_blk *b, struct err *e)
{
	struct queue_open o = {.b = b, .e = e};

	virtio_call(&b->v, owner_open, &o);
	if (o.r)
		return o.r;
	block_queue_limits(b->bq, &b->limits);
	block_on_resize(b->drive, on_resize, &b->v);
	return sizes_choose(b, e);
}

static int blk_setup(struct virtio_blk *b, struct err *e)
{
	uint16_t sizes[VIRTIO_QUEUES_MAX];
	int r = props_check(b, e);

	if (r)
		return r;
	r = block_attach(b->drive, b->v.pci.dev.id ? b->v.pci.dev.id : b->v.pci.dev.class->name,
			 !block_read_only(b->drive), e);
	if (r)
		return r;
	b->attached = true;
	b->wce = cache_at_start(b);
	features_offer(b);
	for (unsigned int i = 0; i < b->num_queues; i++)
		sizes[i] = b->queue_size;
	r = virtio_init(&b->v, b->num_queues, sizes, config_length(b), e);
	if (!r)
		r = drive_open(b, e);
	return r ? r : virtio_attach(&b->v, e);
}

static int blk_realize(struct device *dev, struct err *e)
{
	struct virtio_blk *b = blk_of(virtio_of(dev));
	int r;

	b->v.ops = &blk_ops;
	b->v.own_io = true;
	r = blk_setup(b, e);
	if (r)
		blk_unrealize(dev);
	return r;
}

#define BLK_FIELD(m) offsetof(struct virtio_blk, m)

static const struct prop blk_props[] = {
	VIRTIO_PROPS(struct virtio_blk, "4294967295"),
	{"drive", PROP_DRIVE, BLK_FIELD(drive), NULL, "Block node or drive id"},
	{"serial", PROP_STRING, BLK_FIELD(serial), NULL, "Serial number, 20 bytes reach the guest"},
	{"num-queues", PROP_U16, BLK_FIELD(num_queues), "65535", "Queues (default: one a vCPU)"},
	{"queue-size", PROP_U16, BLK_FIELD(queue_size), "256", "Entries of each queue"},
	{"iothread", PROP_LINK, BLK_FIELD(v.iothread), NULL, "Thread that serves it"},
	{"bootindex", PROP_I32, BLK_FIELD(bootindex), "-1", "Place in the boot order"},
	{"class", PROP_U32, BLK_FIELD(v.class_code), "0", "PCI class, 0: mass storage"},
	{"logical_block_size", PROP_SIZE32, BLK_FIELD(logical), "0", "Bytes, default 512"},
	{"physical_block_size", PROP_SIZE32, BLK_FIELD(physical), "0", "Bytes, default 512"},
	{"min_io_size", PROP_SIZE32, BLK_FIELD(min_io), "0", "Bytes"},
	{"opt_io_size", PROP_SIZE32, BLK_FIELD(opt_io), "0", "Bytes"},
	{"discard_granularity", PROP_SIZE32, BLK_FIELD(discard_granularity), "4294967295", "Bytes"},
	{"max-discard-sectors", PROP_U32, BLK_FIELD(max_discard), "4194303", "Of one request"},
	{"max-write-zeroes-sectors", PROP_U32, BLK_FIELD(max_zeroes), "4194303", "Of one request"},
	{"cyls", PROP_U32, BLK_FIELD(cyls), "0", "Geometry: cylinders"},
	{"heads", PROP_U32, BLK_FIELD(heads), "0", "Geometry: heads"},
	{"secs", PROP_U32, BLK_FIELD(secs), "0", "Geometry: sectors"},
	{"write-cache", PROP_AUTO, BLK_FIELD(write_cache), "auto", "Offer a volatile write cache"},
	{"share-rw", PROP_BOOL, BLK_FIELD(share_rw), "off", "Others may write the drive too"},
	{"seg-max-adjust", PROP_BOOL, BLK_FIELD(seg_max_adjust), "on",
	 "Segments as queue-size allows"},
	{"request-merging", PROP_BOOL, BLK_FIELD(request_merging), "on", "Accepted, has no effect"},
	{.name = "rerror",
	 .kind = PROP_ENUM,
	 .offset = BLK_FIELD(policy.on_read),
	 .def = "auto",
	 .names = block_on_error_names,
	 .help = "What a failed read does: report it to the guest, stop, ignore"},
	{.name = "werror",
	 .kind = PROP_ENUM,
	 .offset = BLK_FIELD(policy.on_write),
	 .def = "auto",
	 .names = block_on_error_names,
	 .help = "What a failed write does: report it to the guest, stop, enospc, ignore"},
	VIRTIO_SWITCH(struct virtio_blk, "config-wce", 11, "on", "The guest may switch the cache"),
	VIRTIO_SWITCH(struct virtio_blk, "discard", VIRTIO_BLK_F_DISCARD, "on", "Offer discard"),
	VIRTIO_SWITCH(struct virtio_blk, "write-zeroes", VIRTIO_BLK_F_WRITE_ZEROES, "on",
		      "Offer write zeroes"),
	PROPS_END,
};

#define BLK_CLASS(var, wire)                       \
	const struct device_class var = {          \
		.name = (wire),                    \
		.help = "Disk",                    \
		.bus = "PCI",                      \
		.size = sizeof(struct virtio_blk), \
		.user = true,                      \
		.hotplug = true,                   \
		.own_lock = true,                  \
		.continuity = CONTINUITY_STATE,    \
		.state = &virtio_blk_state_table,  \
		.section = "virtio-blk",           \
		.props = blk_props,                \
		.realize = blk_realize,            \
		.unrealize = blk_unrealize,        \
		.reset = virtio_device_reset,      \
		.capture = blk_capture,            \
		.validate = blk_validate,          \
		.apply = blk_apply,                \
		.settle = virtio_settle,           \
		.stop = virtio_stop,               \
		.run = virtio_run,                 \
	}

BLK_CLASS(virtio_blk_class, "virtio-blk-pci");
BLK_CLASS(virtio_blk_transitional_class, "virtio-blk-pci-transitional");
BLK_CLASS(virtio_blk_non_transitional_class, "virtio-blk-pci-non-transitional");
