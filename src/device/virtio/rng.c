/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtio-rng (VIRTIO 1.2, 5.4): one queue of buffers to fill. Served by the
 * main loop, a bounded number of bytes a buffer (the driver is told how many), so that a guest with
 * huge buffers can't hold the loop. With a limit, buffers wait in the ring until the period ends.
 */
#include "device/virtio/rng.h"

#include <errno.h>
#include <sys/random.h>

#define PCI_CLASS   0x00ff00
#define QUEUE_SIZE  8
#define CHUNK_BYTES 4096

static struct virtio_rng *rng_of(struct virtio *v)
{
	return CONTAINER_OF(v, struct virtio_rng, v);
}

static void period_start(struct virtio_rng *r)
{
	struct guest_clock *clock = r->v.pci.dev.env->clock;

	if (r->timer && !timer_pending(r->timer))
		timer_arm_ns(r->timer,
			     guest_clock_now_ns(clock) + (int64_t)r->period_ms * NS_PER_MS);
}

static enum virtio_served serve_one(struct virtio *v, struct virtqueue *q)
{
	struct virtio_rng *r = rng_of(v);
	uint8_t bytes[CHUNK_BYTES];
	struct virtq_chain *c;
	uint64_t want;
	ssize_t n;

	if (!r->quota)
		return VIRTIO_STALLED;
	c = virtqueue_pop(q, sizeof(*c));
	if (!c)
		return VIRTIO_EMPTY;
	want = MIN(c->in_bytes, r->quota);
	n = getrandom(bytes, MIN(want, sizeof(bytes)), 0);
	n = MAX(n, (ssize_t)0);
	virtq_write(c, 0, bytes, (size_t)n);
	r->quota -= (uint64_t)n;
	virtqueue_push(q, c, (uint32_t)n);
	return VIRTIO_SERVED;
}

static void rng_kick(struct virtio *v, struct virtqueue *q)
{
	period_start(rng_of(v));
	virtio_serve(v, q, serve_one);
}

/* Main thread, device's lock held. */
static void period_over(void *opaque)
{
	struct virtio_rng *r = opaque;
	struct virtqueue *q = &r->v.queues[0].vq;

	r->quota = r->max_bytes;
	if (virtio_servable(&r->v, q) && !virtqueue_empty(q))
		rng_kick(&r->v, q);
}

static void rng_config_read(struct virtio *v, uint8_t *config)
{
}

static const struct virtio_ops rng_ops = {
	.id = 4,
	.pci_id = 0x1005,
	.pci_class = PCI_CLASS,
	.name = "virtio-rng",
	.config_read = rng_config_read,
	.kick = rng_kick,
	.resume = virtio_rewind_loaded,
};

static void rng_unrealize(struct device *dev)
{
	struct virtio_rng *r = rng_of(virtio_of(dev));

	virtio_detach(&r->v);
	if (r->timer)
		timer_destroy(r->timer);
	r->timer = NULL;
	virtio_release(&r->v);
}

static int rng_realize(struct device *dev, struct err *e)
{
	static const uint16_t sizes[] = {QUEUE_SIZE};
	struct virtio_rng *r = rng_of(virtio_of(dev));
	int rc;

	if (!r->period_ms)
		return err_set(e, EINVAL, "period: must be above 0");
	r->v.ops = &rng_ops;
	r->quota = r->max_bytes;
	rc = virtio_init(&r->v, 1, sizes, 0, e);
	if (!rc && dev->env->clock)
		r->timer = timer_create_guest(dev->env->clock, period_over, r, dev->lock);
	if (!rc)
		rc = virtio_attach(&r->v, e);
	if (rc)
		rng_unrealize(dev);
	return rc;
}

const struct state_table virtio_rng_state_table = {
	.name = "virtio-rng",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct virtio_plain_state),
	.fields = virtio_plain_fields,
};

#define RNG_FIELD(m) offsetof(struct virtio_rng, m)

static const struct prop rng_props[] = {
	VIRTIO_PROPS(struct virtio_rng, "4294967295"),
	{"rng", PROP_LINK, RNG_FIELD(rng), NULL,
	 "Source object (the kernel's generator in any case)"},
	{"max-bytes", PROP_U64, RNG_FIELD(max_bytes), "9223372036854775807", "Limit in a period"},
	{"period", PROP_U32, RNG_FIELD(period_ms), "65536", "Length of a period, ms"},
	PROPS_END,
};

#define RNG_CLASS(var, wire)                       \
	const struct device_class var = {          \
		.name = (wire),                    \
		.help = "Random number generator", \
		.bus = "PCI",                      \
		.size = sizeof(struct virtio_rng), \
		.user = true,                      \
		.hotplug = true,                   \
		.own_lock = true,                  \
		.continuity = CONTINUITY_STATE,    \
		.state = &virtio_rng_state_table,  \
		.section = "virtio-rng",           \
		.props = rng_props,                \
		.realize = rng_realize,            \
		.unrealize = rng_unrealize,        \
		.reset = virtio_device_reset,      \
		.capture = virtio_plain_capture,   \
		.validate = virtio_plain_validate, \
		.apply = virtio_plain_apply,       \
		.stop = virtio_stop,               \
		.run = virtio_run,                 \
	}

RNG_CLASS(virtio_rng_class, "virtio-rng-pci");
RNG_CLASS(virtio_rng_transitional_class, "virtio-rng-pci-transitional");
RNG_CLASS(virtio_rng_non_transitional_class, "virtio-rng-pci-non-transitional");
