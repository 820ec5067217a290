/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtio-balloon (VIRTIO 1.2, 5.5): the host asks for a size (num_pages), the
 * guest moves towards it and says where it is (actual). Queues: inflate, deflate, statistics, and
 * as switched on free-page hints and reports; they are in balloon_queue.c. Served by the main loop.
 *
 * Free-page hinting belongs to a migration: each round has an id; the guest answers with the id,
 * then free ranges, then the stop id; ranges are worth something only between them.
 */
#include "device/virtio/balloon.h"

#include "base/bytes.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>

#define PCI_CLASS   0x00ff00
#define PFN_SHIFT   12
#define HINT_ID_MIN 0x80000000u
#define HINT_SIZE   1024
#define QUEUE_SIZE  128
#define REPORT_SIZE 32

static uint64_t ram_bytes(const struct virtio_balloon *b)
{
	const struct memory *m = b->v.pci.dev.env->memory;
	struct memory_map *map;
	uint64_t sum = 0;

	/* Main memory is the only writable memory at priority 0. */
	list_for_each (map, &m->maps, link)
		if (map->enabled && !map->readonly && !map->priority)
			sum += map->size;
	return sum;
}

static uint32_t hint_register(const struct virtio_balloon *b)
{
	switch (b->hint_status) {
	case BALLOON_HINT_REQUESTED: return b->hint_id;
	case BALLOON_HINT_DONE: return VIRTIO_BALLOON_CMD_ID_DONE;
	default: return VIRTIO_BALLOON_CMD_ID_STOP;
	}
}

static void balloon_config_read(struct virtio *v, uint8_t *config)
{
	const struct virtio_balloon *b = balloon_of(v);
	struct virtio_balloon_config c = {
		.num_pages = htole32(b->num_pages),
		.actual = htole32(b->actual),
		.poison_val = htole32(b->poison),
	};

	/* While hints come in the register reads as 0, as on QEMU. */
	if (b->hint_status != BALLOON_HINT_START)
		c.free_page_hint_cmd_id = htole32(hint_register(b));
	memcpy(config, &c, v->config_len);
}

static void balloon_config_write(struct virtio *v, const uint8_t *config)
{
	struct virtio_balloon *b = balloon_of(v);
	struct virtio_balloon_config c = {0};

	memcpy(&c, config, v->config_len);
	if (b->actual != le32toh(c.actual) && b->moved)
		b->moved(b->moved_opaque);
	b->actual = le32toh(c.actual);
	b->poison = virtio_has(v, VIRTIO_BALLOON_F_PAGE_POISON) ? le32toh(c.poison_val) : 0;
}

static void balloon_reset(struct virtio *v)
{
	struct virtio_balloon *b = balloon_of(v);

	b->poison = 0;
	b->hint_status = BALLOON_HINT_STOP;
	balloon_stats_clear(b);
}

static const char *const feature_names[64] = {"MUST_TELL_HOST", "STATS_VQ",    "DEFLATE_ON_OOM",
					      "FREE_PAGE_HINT", "PAGE_POISON", "REPORTING"};

static const struct virtio_ops balloon_ops = {
	.id = 5,
	.pci_id = 0x1002,
	.pci_class = PCI_CLASS,
	.name = "virtio-balloon",
	.feature_names = feature_names,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.kick = balloon_kick,
	.reset = balloon_reset,
	.quiesce = balloon_quiesce,
	.resume = virtio_rewind_loaded,
};

/* Main thread, device's lock held. */
static void on_interval(void *opaque)
{
	struct virtio_balloon *b = opaque;
	struct guest_clock *clock = b->v.pci.dev.env->clock;

	balloon_stats_ask(b);
	if (b->stats_interval_s)
		timer_arm_ns(b->timer,
			     guest_clock_now_ns(clock) + (int64_t)b->stats_interval_s * NS_PER_SEC);
}

/**
 * balloon_set_target() - Ask the guest to grow or shrink
 * @dev:	The balloon; main thread
 * @guest_bytes: What the guest shall keep; 0 and more than it has: all
 */
void balloon_set_target(struct device *dev, uint64_t guest_bytes)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));
	uint64_t all = ram_bytes(b);

	if (!guest_bytes || guest_bytes > all)
		guest_bytes = all;
	pthread_mutex_lock(dev->lock);
	b->num_pages = (uint32_t)((all - guest_bytes) >> PFN_SHIFT);
	virtio_config_changed(&b->v);
	pthread_mutex_unlock(dev->lock);
}

/**
 * balloon_actual() - What the guest has now
 * @dev:	The balloon; main thread
 *
 * Return: bytes
 */
uint64_t balloon_actual(struct device *dev)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));
	uint64_t all = ram_bytes(b), lent;

	pthread_mutex_lock(dev->lock);
	lent = (uint64_t)b->actual << PFN_SHIFT;
	pthread_mutex_unlock(dev->lock);
	return lent < all ? all - lent : 0;
}

/**
 * balloon_on_change() - Be told when the guest moves the balloon
 * @dev:	The balloon; main thread
 * @fn:		Called on a vCPU's thread, device's lock held
 * @opaque:	Its argument
 */
void balloon_on_change(struct device *dev, void (*fn)(void *opaque), void *opaque)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));

	pthread_mutex_lock(dev->lock);
	b->moved = fn;
	b->moved_opaque = opaque;
	pthread_mutex_unlock(dev->lock);
}

/**
 * balloon_set_interval() - Ask for statistics regularly
 * @dev:	The balloon; main thread
 * @seconds:	0: no more
 */
void balloon_set_interval(struct device *dev, uint32_t seconds)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));

	pthread_mutex_lock(dev->lock);
	b->stats_interval_s = seconds;
	if (b->timer)
		on_interval(b);
	if (b->timer && !seconds)
		timer_cancel(b->timer);
	pthread_mutex_unlock(dev->lock);
}

/**
 * balloon_interval() - How often statistics are asked for
 * @dev:	The balloon; main thread
 *
 * Return: seconds, 0: never
 */
uint32_t balloon_interval(struct device *dev)
{
	return balloon_of(virtio_of(dev))->stats_interval_s;
}

/**
 * balloon_hint_start() - Begin a round of free-page hints
 * @dev:	The balloon; main thread
 * @fn:		Called with each free range, device's lock held
 * @opaque:	Its argument
 *
 * Return: false: the driver gives no hints
 */
bool balloon_hint_start(struct device *dev,
			void (*fn)(void *opaque, struct ram_block *b, uint64_t offset,
				   uint64_t len),
			void *opaque)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));
	bool able = virtio_has(&b->v, VIRTIO_BALLOON_F_FREE_PAGE_HINT);

	if (!able)
		return false;
	pthread_mutex_lock(dev->lock);
	b->hint = fn;
	b->hint_opaque = opaque;
	b->hint_id = b->hint_id == UINT32_MAX ? HINT_ID_MIN : b->hint_id + 1;
	b->hint_status = BALLOON_HINT_REQUESTED;
	virtio_config_changed(&b->v);
	pthread_mutex_unlock(dev->lock);
	return true;
}

/**
 * balloon_hint_stop() - End the round
 * @dev:	The balloon; main thread
 * @done:	The guest may use hinted pages again
 */
void balloon_hint_stop(struct device *dev, bool done)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));

	if (!virtio_has(&b->v, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return;
	pthread_mutex_lock(dev->lock);
	b->hint = NULL;
	b->hint_status = done ? BALLOON_HINT_DONE : BALLOON_HINT_STOP;
	virtio_config_changed(&b->v);
	pthread_mutex_unlock(dev->lock);
}

static void balloon_unrealize(struct device *dev)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));

	virtio_detach(&b->v);
	if (b->timer)
		timer_destroy(b->timer);
	b->timer = NULL;
	virtio_release(&b->v);
}

static unsigned int queues_choose(struct virtio_balloon *b, uint16_t sizes[5])
{
	unsigned int n = 0;

	while (n < 3)
		sizes[n++] = QUEUE_SIZE;
	if (virtio_offers(&b->v, VIRTIO_BALLOON_F_FREE_PAGE_HINT)) {
		b->hint_queue = n;
		sizes[n++] = HINT_SIZE;
	}
	if (virtio_offers(&b->v, VIRTIO_BALLOON_F_REPORTING)) {
		b->report_queue = n;
		sizes[n++] = REPORT_SIZE;
	}
	return n;
}

static uint16_t config_length(const struct virtio_balloon *b)
{
	if (virtio_offers(&b->v, VIRTIO_BALLOON_F_PAGE_POISON))
		return sizeof(struct virtio_balloon_config);
	if (virtio_offers(&b->v, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return offsetof(struct virtio_balloon_config, poison_val);
	return offsetof(struct virtio_balloon_config, free_page_hint_cmd_id);
}

static int balloon_realize(struct device *dev, struct err *e)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));
	uint16_t sizes[5];
	unsigned int n;
	int r;

	b->v.ops = &balloon_ops;
	b->hint_id = HINT_ID_MIN;
	b->v.vectors = 0; /* QEMU's balloon has no MSI-X */
	b->v.host_features |= VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ);
	balloon_stats_clear(b);
	n = queues_choose(b, sizes);
	r = virtio_init(&b->v, n, sizes, config_length(b), e);
	if (!r && dev->env->clock)
		b->timer = timer_create_guest(dev->env->clock, on_interval, b, dev->lock);
	if (!r)
		r = virtio_attach(&b->v, e);
	if (r)
		balloon_unrealize(dev);
	return r;
}

static const struct prop balloon_props[] = {
	VIRTIO_PROPS(struct virtio_balloon, "0"),
	VIRTIO_SWITCH(struct virtio_balloon, "deflate-on-oom", VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
		      "off", "The guest may take pages back when it runs out of memory"),
	VIRTIO_SWITCH(struct virtio_balloon, "free-page-hint", VIRTIO_BALLOON_F_FREE_PAGE_HINT,
		      "off", "The guest says what a migration needn't send"),
	VIRTIO_SWITCH(struct virtio_balloon, "page-poison", VIRTIO_BALLOON_F_PAGE_POISON, "on",
		      "The guest may fill free pages with a pattern"),
	VIRTIO_SWITCH(struct virtio_balloon, "free-page-reporting", VIRTIO_BALLOON_F_REPORTING,
		      "off", "The guest gives free pages back by itself"),
	{"iothread", PROP_LINK, offsetof(struct virtio_balloon, iothread), NULL,
	 "Accepted for free-page hints"},
	PROPS_END,
};

#define BALLOON_CLASS(var, wire)                       \
	const struct device_class var = {              \
		.name = (wire),                        \
		.help = "Memory balloon",              \
		.bus = "PCI",                          \
		.size = sizeof(struct virtio_balloon), \
		.user = true,                          \
		.hotplug = true,                       \
		.own_lock = true,                      \
		.continuity = CONTINUITY_STATE,        \
		.state = &virtio_balloon_state_table,  \
		.section = "virtio-balloon",           \
		.props = balloon_props,                \
		.realize = balloon_realize,            \
		.unrealize = balloon_unrealize,        \
		.reset = virtio_device_reset,          \
		.capture = balloon_capture,            \
		.validate = balloon_validate,          \
		.apply = balloon_apply,                \
		.stop = virtio_stop,                   \
		.run = virtio_run,                     \
	}

BALLOON_CLASS(virtio_balloon_class, "virtio-balloon-pci");
BALLOON_CLASS(virtio_balloon_transitional_class, "virtio-balloon-pci-transitional");
BALLOON_CLASS(virtio_balloon_non_transitional_class, "virtio-balloon-pci-non-transitional");
