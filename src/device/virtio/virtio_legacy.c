/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the registers of the legacy layout (VIRTIO 1.2, 4.1.4.10), an I/O BAR: 20
 * bytes, 4 more for MSI-X vectors while the guest has MSI-X enabled, then the device configuration
 * space. One page frame number places a whole ring; writing 0 there resets the device.
 */
#include "device/virtio/virtio.h"

#include <linux/virtio_pci.h>

#define LEGACY_ALIGN 4096 /* of rings, and the unit of page frame numbers */

static unsigned int header_size(const struct virtio *v)
{
	return pci_msix_enabled(&v->pci) ? 24 : 20;
}

static uint32_t queue_read(const struct virtio_queue *q, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_QUEUE_PFN: return (uint32_t)(q->vq.s.desc / LEGACY_ALIGN);
	case VIRTIO_PCI_QUEUE_NUM: return q->vq.s.num;
	default: return q->vq.s.vector;
	}
}

static uint32_t header_read(struct virtio *v, uint64_t offset)
{
	const struct virtio_queue *q = virtio_selected(v);

	switch (offset) {
	case VIRTIO_PCI_HOST_FEATURES: return (uint32_t)v->host_features;
	case VIRTIO_PCI_GUEST_FEATURES: return (uint32_t)v->features;
	case VIRTIO_PCI_QUEUE_PFN:
	case VIRTIO_PCI_QUEUE_NUM: return q ? queue_read(q, offset) : 0;
	case VIRTIO_PCI_QUEUE_SEL: return v->queue_sel;
	case VIRTIO_PCI_STATUS: return virtio_status(v);
	case VIRTIO_PCI_ISR: return virtio_isr_take(v);
	case VIRTIO_MSI_CONFIG_VECTOR: return v->config_vector;
	case VIRTIO_MSI_QUEUE_VECTOR: return q ? queue_read(q, offset) : VIRTQUEUE_NO_VECTOR;
	default: return UINT32_MAX;
	}
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct virtio *v = opaque;
	unsigned int header = header_size(v);

	if (offset < header)
		return header_read(v, offset);
	return virtio_config_read(v, (unsigned int)offset - header, size);
}

static void pfn_write(struct virtio *v, struct virtio_queue *q, uint32_t pfn)
{
	if (!pfn) {
		virtio_reset(v);
		return;
	}
	if (!q || !q->vq.s.num || q->vq.active)
		return;
	virtqueue_legacy_layout(&q->vq.s, (gpa_t)pfn * LEGACY_ALIGN, LEGACY_ALIGN);
	virtio_queue_start(v, q);
	if (virtio_status(v) & VIRTIO_S_DRIVER_OK)
		virtio_bells(v, true);
}

/* A legacy driver may ring before it says DRIVER_OK; from then on it is served. */
static void notify_write(struct virtio *v, uint32_t index)
{
	if (index >= v->queues_len)
		return;
	if (!v->started && !virtio_has(v, VIRTIO_F_V1) && v->queues[index].vq.active) {
		v->started = true;
		__atomic_store_n(&v->ready,
				 !v->disabled && !__atomic_load_n(&v->broken, __ATOMIC_ACQUIRE),
				 __ATOMIC_RELEASE);
	}
	virtio_queue_signal(v, index);
}

/* Some drivers forget to switch bus mastering on; the sequence of status values gives them away. */
static void status_write(struct virtio *v, uint8_t value)
{
	virtio_set_status(v, value);
	if (value == (VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER)) {
		v->pci.config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
		virtio_set_disabled(v, false);
	}
}

static void header_write(struct virtio *v, uint64_t offset, uint32_t value)
{
	struct virtio_queue *q = virtio_selected(v);

	switch (offset) {
	case VIRTIO_PCI_GUEST_FEATURES: virtio_set_features(v, value); break;
	case VIRTIO_PCI_QUEUE_PFN: pfn_write(v, q, value); break;
	case VIRTIO_PCI_QUEUE_SEL:
		if (value < VIRTIO_WIRE_QUEUES)
			v->queue_sel = (uint16_t)value;
		break;
	case VIRTIO_PCI_QUEUE_NOTIFY: notify_write(v, value); break;
	case VIRTIO_PCI_STATUS: status_write(v, (uint8_t)value); break;
	case VIRTIO_MSI_CONFIG_VECTOR:
		virtio_set_config_vector(v, (uint16_t)virtio_vector_clamp(v, value));
		break;
	case VIRTIO_MSI_QUEUE_VECTOR:
		if (q)
			virtio_queue_set_vector(v, q, (uint16_t)virtio_vector_clamp(v, value));
		break;
	default: break;
	}
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio *v = opaque;
	unsigned int header = header_size(v);

	if (offset < header)
		header_write(v, offset, (uint32_t)value);
	else
		virtio_config_write(v, (unsigned int)offset - header, (uint32_t)value, size);
}

const struct io_ops virtio_legacy_ops = {
	.read = legacy_read,
	.write = legacy_write,
	.min = 1,
	.max = 4,
};
