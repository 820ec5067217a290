/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_BALLOON_H
#define DEVICE_VIRTIO_BALLOON_H

#include "device/virtio/virtio_state.h"

#define BALLOON_STATS 10

/* Phases of free-page hinting, as in the stream. */
enum balloon_hint {
	BALLOON_HINT_STOP,      /* no hints wanted; the guest may free its hinted pages */
	BALLOON_HINT_REQUESTED, /* the guest was asked and hasn't answered */
	BALLOON_HINT_START,     /* hints of the current round come in */
	BALLOON_HINT_DONE,      /* the migration is over; the guest may use hinted pages again */
};

/**
 * struct virtio_balloon - Memory that the guest lends back
 * @v:		First
 * @iothread:	Property, accepted; hints are served where everything else is
 * @num_pages:	Target size, 4 KiB pages
 * @actual:	Size as the guest says
 * @poison:	Byte pattern the guest fills free pages with
 * @hint_id, @hint_status: Round of free-page hinting
 * @hint, @hint_opaque: Told of each free range while a round is on; NULL: nobody asks
 * @stats_chain: Buffer the guest gave for the next statistics
 * @stats, @stats_at_s: Last statistics by tag, ~0: not given, and when they came (wall clock, s; 0
 * never)
 * @stats_interval_s: Ask this often, 0: never
 * @timer:	For @stats_interval_s
 * @moved, @moved_opaque: Told when @actual changes
 * @hint_queue, @report_queue: Indices, 0: don't exist
 */
struct virtio_balloon {
	struct virtio v;
	char *iothread;
	uint32_t num_pages, actual, poison;
	uint32_t hint_id, hint_status;
	void (*hint)(void *opaque, struct ram_block *b, uint64_t offset, uint64_t len);
	void *hint_opaque;
	struct virtq_chain *stats_chain;
	uint64_t stats[BALLOON_STATS];
	int64_t stats_at_s;
	uint32_t stats_interval_s;
	struct timer *timer;
	void (*moved)(void *opaque);
	void *moved_opaque;
	unsigned int hint_queue, report_queue;
};

/**
 * struct balloon_body - What the section's one field holds
 * @v:		The common part
 */
struct balloon_body {
	struct virtio_state v;
	uint32_t num_pages, actual, poison, hint_id, hint_status;
};

/**
 * struct virtio_balloon_state - Section "virtio-balloon", version 1
 * @body:	All of it
 */
struct virtio_balloon_state {
	struct balloon_body body;
};

extern const struct state_table virtio_balloon_state_table;
extern const struct device_class virtio_balloon_class, virtio_balloon_transitional_class,
	virtio_balloon_non_transitional_class;

static inline struct virtio_balloon *balloon_of(struct virtio *v)
{
	return CONTAINER_OF(v, struct virtio_balloon, v);
}

/* balloon_queue.c */
void balloon_kick(struct virtio *v, struct virtqueue *q);
void balloon_quiesce(struct virtio *v);
void balloon_stats_clear(struct virtio_balloon *b);
void balloon_stats_ask(struct virtio_balloon *b);

/* balloon_state.c */
void balloon_capture(const struct device *dev, void *state);
int balloon_validate(const struct device *dev, const void *state, struct err *e);
void balloon_apply(struct device *dev, const void *state);

/* For QMP and migration; main thread, without the device's lock. */
void balloon_set_target(struct device *dev, uint64_t guest_bytes);
uint64_t balloon_actual(struct device *dev);
/* @fn: the guest moved the balloon; on a vCPU's thread, device's lock held. */
void balloon_on_change(struct device *dev, void (*fn)(void *opaque), void *opaque);
void balloon_set_interval(struct device *dev, uint32_t seconds);
uint32_t balloon_interval(struct device *dev); /* s, 0: never */
bool balloon_hint_start(struct device *dev,
			void (*fn)(void *opaque, struct ram_block *b, uint64_t offset,
				   uint64_t len),
			void *opaque);
void balloon_hint_stop(struct device *dev, bool done);

#endif
