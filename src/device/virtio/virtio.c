/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the control side of every virtio device: the status machine, feature
 * negotiation, reset, and the device configuration space. Runs under the device's lock.
 *
 *   status              what the driver may do
 *   0                   nothing but read features; a write of 0 from anywhere comes here
 *   ACKNOWLEDGE|DRIVER  write features
 *   + FEATURES_OK       set up queues (a legacy driver has no such step); features are fixed
 *   + DRIVER_OK         everything; kicks are served (a legacy driver may kick before)
 *   + NEEDS_RESET       set by the device: the driver broke a ring; nothing is served any more
 */
#include "device/virtio/virtio.h"

#include "base/bytes.h"

#include <stdio.h>

static const char *const ring_feature_names[64] = {
	[VIRTIO_F_EMPTY] = "NOTIFY_ON_EMPTY",
	[VIRTIO_F_LAYOUT] = "ANY_LAYOUT",
	[VIRTIO_F_INDIRECT] = "INDIRECT_DESC",
	[VIRTIO_F_EVENT] = "EVENT_IDX",
	[VIRTIO_F_BAD] = "BAD_FEATURE",
	[VIRTIO_F_V1] = "VERSION_1",
	[VIRTIO_F_IOMMU] = "ACCESS_PLATFORM",
	[VIRTIO_F_PACKED_RING] = "RING_PACKED",
	[35] = "IN_ORDER",
	[36] = "ORDER_PLATFORM",
	[37] = "SR_IOV",
	[38] = "NOTIFICATION_DATA",
	[39] = "NOTIF_CONFIG_DATA",
	[VIRTIO_F_QUEUE_RESET] = "RING_RESET",
};

/**
 * virtio_feature_name() - What a feature bit is called
 * @v:		The device
 * @bit:	0-63
 * @buf:	For bits without a name
 *
 * Return: static or @buf
 */
const char *virtio_feature_name(const struct virtio *v, unsigned int bit, char buf[16])
{
	const char *name = ring_feature_names[bit];

	if (!name && v->ops->feature_names)
		name = v->ops->feature_names[bit];
	if (name)
		return name;
	snprintf(buf, 16, "bit %u", bit);
	return buf;
}

/**
 * virtio_ready_update() - Decide anew whether queues may be served
 * @v:		The device; control side
 */
void virtio_ready_update(struct virtio *v)
{
	bool driver_ok = virtio_status(v) & VIRTIO_S_DRIVER_OK, v1 = virtio_has(v, VIRTIO_F_V1);
	bool ready = (driver_ok || (!v1 && v->started)) && !v->disabled;

	__atomic_store_n(&v->ready, ready && !__atomic_load_n(&v->broken, __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
}

/**
 * virtio_set_features() - The driver writes the features it wants
 * @v:		The device
 * @features:	What isn't offered is dropped; nothing changes once FEATURES_OK is set
 */
void virtio_set_features(struct virtio *v, uint64_t features)
{
	if (virtio_status(v) & VIRTIO_S_FEATURES_OK)
		return;
	v->features = features & v->host_features;
	if (v->ops->negotiated)
		v->ops->negotiated(v);
}

/* The one feature a driver may not leave out; without it FEATURES_OK stays unset
 * (VIRTIO 1.2, 3.1.1). */
static bool features_acceptable(const struct virtio *v)
{
	return !virtio_offers(v, VIRTIO_F_IOMMU) || virtio_has(v, VIRTIO_F_IOMMU);
}

static void driver_ok_changed(struct virtio *v, bool on)
{
	v->started = on;
	virtio_ready_update(v);
	if (v->ops->started)
		v->ops->started(v, on);
	virtio_bells(v, on);
	if (on)
		virtio_kick_all(v);
}

/**
 * virtio_set_status() - The driver writes the status register
 * @v:		The device
 * @status:	0 resets
 */
void virtio_set_status(struct virtio *v, uint8_t status)
{
	uint8_t before = virtio_status(v);

	if (!status) {
		virtio_reset(v);
		return;
	}
	if (virtio_has(v, VIRTIO_F_V1) && status & VIRTIO_S_FEATURES_OK &&
	    !(before & VIRTIO_S_FEATURES_OK) && !features_acceptable(v))
		return;
	/* The device's own bit can come at any time from the owner. */
	status |= virtio_status(v) & VIRTIO_S_NEEDS_RESET;
	__atomic_store_n(&v->status, status, __ATOMIC_RELAXED);
	if (__atomic_load_n(&v->broken, __ATOMIC_ACQUIRE) && virtio_has(v, VIRTIO_F_V1))
		__atomic_or_fetch(&v->status, VIRTIO_S_NEEDS_RESET, __ATOMIC_RELAXED);
	if ((before ^ status) & VIRTIO_S_DRIVER_OK)
		driver_ok_changed(v, status & VIRTIO_S_DRIVER_OK);
}

/**
 * virtio_set_disabled() - Bus mastering was switched
 * @v:		The device
 * @disabled:	Off: the device may not touch memory, and forgets that the driver was ready
 */
void virtio_set_disabled(struct virtio *v, bool disabled)
{
	v->disabled = disabled;
	virtio_ready_update(v);
	if (disabled && virtio_status(v) & VIRTIO_S_DRIVER_OK) {
		virtio_bells(v, false);
		virtio_set_status(v, virtio_status(v) & (uint8_t)~VIRTIO_S_DRIVER_OK);
	}
}

static void owner_reset(void *opaque)
{
	struct virtio *v = opaque;

	if (v->ops->quiesce)
		v->ops->quiesce(v);
	if (v->ops->reset)
		v->ops->reset(v);
	for (unsigned int i = 0; i < v->queues_len; i++)
		virtqueue_reset(&v->queues[i].vq);
}

/**
 * virtio_drain() - Complete what is in flight and forget the queues
 * @v:		The guest can't reach it any more
 */
void virtio_drain(struct virtio *v)
{
	__atomic_store_n(&v->ready, false, __ATOMIC_RELEASE);
	virtio_call(v, owner_reset, v);
}

static void registers_reset(struct virtio *v)
{
	for (unsigned int i = 0; i < v->queues_len; i++) {
		struct virtio_queue *q = &v->queues[i];

		q->num = 0;
		q->enabled = false;
		memset(q->desc, 0, sizeof(q->desc));
		memset(q->avail, 0, sizeof(q->avail));
		memset(q->used, 0, sizeof(q->used));
		__atomic_store_n(&q->irq_fd, -1, __ATOMIC_RELAXED);
	}
}

/**
 * virtio_reset() - As the driver resets the device: requests in flight are completed first
 * @v:		The device
 *
 * The kind of device sees the features vanish, as if the driver had taken none. The feature and
 * select registers of the modern layout keep their values, as on QEMU.
 */
void virtio_reset(struct virtio *v)
{
	bool was_on = virtio_status(v) & VIRTIO_S_DRIVER_OK;

	__atomic_store_n(&v->ready, false, __ATOMIC_RELEASE);
	virtio_bells(v, false);
	__atomic_store_n(&v->status, 0, __ATOMIC_RELAXED);
	if (was_on && v->ops->started)
		v->ops->started(v, false);
	virtio_call(v, owner_reset, v);
	__atomic_store_n(&v->broken, false, __ATOMIC_RELAXED);
	__atomic_store_n(&v->status, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&v->isr, 0, __ATOMIC_RELAXED);
	v->features = 0;
	v->started = v->disabled = false;
	v->queue_sel = 0;
	v->config_vector = VIRTQUEUE_NO_VECTOR;
	registers_reset(v);
	if (v->ops->negotiated)
		v->ops->negotiated(v);
	pci_intx_set(&v->pci, false);
}

/**
 * virtio_config_read() - The guest reads device configuration space
 * @v:		The device
 * @offset:	Bytes
 * @size:	1, 2 or 4
 *
 * Return: little-endian value, all ones beyond the end
 */
uint32_t virtio_config_read(struct virtio *v, unsigned int offset, unsigned int size)
{
	uint8_t bytes[4] = {0};

	if (offset >= v->config_len || size > v->config_len - offset)
		return UINT32_MAX;
	v->ops->config_read(v, v->config);
	memcpy(bytes, v->config + offset, size);
	return load_le32(bytes);
}

/**
 * virtio_config_write() - The guest writes device configuration space
 * @v:		The device
 * @offset:	Bytes; what doesn't fit is ignored
 * @value:	Little-endian
 * @size:	1, 2 or 4
 */
void virtio_config_write(struct virtio *v, unsigned int offset, uint32_t value, unsigned int size)
{
	uint8_t bytes[4];

	if (offset >= v->config_len || size > v->config_len - offset)
		return;
	store_le32(bytes, value);
	memcpy(v->config + offset, bytes, size);
	if (v->ops->config_write)
		v->ops->config_write(v, v->config);
}

static void config_interrupt(struct virtio *v)
{
	uint16_t vector = __atomic_load_n(&v->config_vector, __ATOMIC_RELAXED);

	__atomic_or_fetch(&v->isr, VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG, __ATOMIC_SEQ_CST);
	if (!pci_msix_enabled(&v->pci))
		pci_intx_set(&v->pci, true);
	else if (vector != VIRTQUEUE_NO_VECTOR)
		pci_msix_notify(&v->pci, vector);
}

/**
 * virtio_config_changed() - Tell the driver that the configuration space changed
 * @v:		The device; any thread. Nothing is told before DRIVER_OK
 */
void virtio_config_changed(struct virtio *v)
{
	if (!(virtio_status(v) & VIRTIO_S_DRIVER_OK))
		return;
	__atomic_add_fetch(&v->generation, 1, __ATOMIC_RELEASE);
	config_interrupt(v);
}

/**
 * virtio_needs_reset() - The driver did what it mustn't: stop serving it until it resets the device
 * @v:		The device; any thread
 * @why:	For the log
 *
 * Source: VIRTIO 1.2, 2.1.2
 */
void virtio_needs_reset(struct virtio *v, const char *why)
{
	if (__atomic_exchange_n(&v->broken, true, __ATOMIC_ACQ_REL))
		return;
	__atomic_store_n(&v->ready, false, __ATOMIC_RELEASE);
	log_guest(&v->limit, "%s %s: %s; the device needs a reset", v->ops->name, v->pci.dev.path,
		  why);
	if (!virtio_has(v, VIRTIO_F_V1))
		return;
	__atomic_or_fetch(&v->status, VIRTIO_S_NEEDS_RESET, __ATOMIC_RELAXED);
	virtio_config_changed(v);
}
