/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the registers of the modern layout (VIRTIO 1.2, 4.1.4), one memory BAR:
 * common configuration at 0, ISR at 0x1000, device configuration at 0x2000, doorbells at 0x3000,
 * where QEMU has them. A register is known by its offset alone; what is none reads as 0 and ignores
 * writes.
 */
#include "device/virtio/virtio.h"

#include <linux/virtio_pci.h>

#define COMMON_Q_RESET 58 /* since VIRTIO 1.2 */

/**
 * virtio_isr_take() - Read and clear the interrupt status
 * @v:		The device
 *
 * Return: VIRTIO_ISR_* bits; the interrupt pin is released
 */
uint8_t virtio_isr_take(struct virtio *v)
{
	uint8_t isr = __atomic_exchange_n(&v->isr, 0, __ATOMIC_SEQ_CST);

	pci_intx_set(&v->pci, false);
	return isr;
}

static uint32_t queues_seen(const struct virtio *v)
{
	unsigned int n = v->queues_len;

	while (n && !v->queues[n - 1].vq.s.num)
		n--;
	return n;
}

static uint32_t device_features(const struct virtio *v)
{
	uint64_t offered = v->host_features & ~(VIRTIO_LEGACY_ONLY | v->ops->legacy_only);

	return v->dfselect <= 1 ? (uint32_t)(offered >> 32 * v->dfselect) : 0;
}

static uint32_t device_read(const struct virtio *v, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: return v->dfselect;
	case VIRTIO_PCI_COMMON_DF: return device_features(v);
	case VIRTIO_PCI_COMMON_GFSELECT: return v->gfselect;
	case VIRTIO_PCI_COMMON_GF: return v->gfselect <= 1 ? v->guest_features[v->gfselect] : 0;
	case VIRTIO_PCI_COMMON_MSIX: return v->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ: return queues_seen(v);
	case VIRTIO_PCI_COMMON_STATUS: return virtio_status(v);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return __atomic_load_n(&v->generation, __ATOMIC_ACQUIRE);
	case VIRTIO_PCI_COMMON_Q_SELECT: return v->queue_sel;
	default: return 0;
	}
}

static uint32_t queue_read(const struct virtio_queue *q, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE: return q->vq.s.num;
	case VIRTIO_PCI_COMMON_Q_MSIX: return q->vq.s.vector;
	case VIRTIO_PCI_COMMON_Q_ENABLE: return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF: return q->vq.index;
	case VIRTIO_PCI_COMMON_Q_DESCLO: return q->desc[0];
	case VIRTIO_PCI_COMMON_Q_DESCHI: return q->desc[1];
	case VIRTIO_PCI_COMMON_Q_AVAILLO: return q->avail[0];
	case VIRTIO_PCI_COMMON_Q_AVAILHI: return q->avail[1];
	case VIRTIO_PCI_COMMON_Q_USEDLO: return q->used[0];
	case VIRTIO_PCI_COMMON_Q_USEDHI: return q->used[1];
	default: return 0;
	}
}

static uint32_t common_read(struct virtio *v, uint64_t offset)
{
	struct virtio_queue *q = virtio_selected(v);

	if (offset <= VIRTIO_PCI_COMMON_Q_SELECT)
		return device_read(v, offset);
	if (q)
		return queue_read(q, offset);
	return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTQUEUE_NO_VECTOR : 0;
}

/**
 * virtio_modern_read() - The guest reads the modern BAR, or through the configuration access
 * capability
 * @opaque:	The device
 * @offset:	In the BAR
 * @size:	1, 2 or 4
 *
 * Return: little-endian value
 */
uint64_t virtio_modern_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct virtio *v = opaque;

	switch (offset >> 12) {
	case 0: return common_read(v, offset);
	case 1: return virtio_isr_take(v);
	case 2: return virtio_config_read(v, (unsigned int)(offset & 0xfff), size);
	default: return 0;
	}
}

/**
 * virtio_queue_set_num() - The driver chooses a queue's size
 * @v:		The device
 * @q:		The queue
 * @num:	Ignored if it can't be: a queue doesn't come into being or vanish by it
 */
void virtio_queue_set_num(struct virtio *v, struct virtio_queue *q, uint32_t num)
{
	if (!num != !q->vq.s.num || num > VIRTQUEUE_SIZE_MAX || q->vq.active)
		return;
	q->vq.s.num = num;
}

static void queue_enable(struct virtio *v, struct virtio_queue *q, uint64_t value)
{
	if (value != 1) {
		virtio_needs_reset(v, "queue_enable is written with something else than 1");
		return;
	}
	/* One that was set up by the legacy registers is its owner's already. */
	if (q->enabled || !q->vq.s.num || q->vq.active)
		return;
	virtio_queue_set_num(v, q, q->num);
	q->vq.s.desc = (uint64_t)q->desc[1] << 32 | q->desc[0];
	q->vq.s.avail = (uint64_t)q->avail[1] << 32 | q->avail[0];
	q->vq.s.used = (uint64_t)q->used[1] << 32 | q->used[0];
	q->enabled = true;
	virtio_queue_start(v, q);
	if (virtio_status(v) & VIRTIO_S_DRIVER_OK)
		virtio_bells(v, true);
}

static void queue_reset(struct virtio *v, struct virtio_queue *q)
{
	if (!virtio_has(v, VIRTIO_F_QUEUE_RESET))
		return;
	virtio_queue_restart(v, q);
	q->enabled = false;
}

static void queue_write(struct virtio *v, struct virtio_queue *q, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		q->num = (uint16_t)value;
		virtio_queue_set_num(v, q, q->num);
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		virtio_queue_set_vector(v, q, (uint16_t)virtio_vector_clamp(v, value));
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE: queue_enable(v, q, value); break;
	case VIRTIO_PCI_COMMON_Q_DESCLO: q->desc[0] = value; break;
	case VIRTIO_PCI_COMMON_Q_DESCHI: q->desc[1] = value; break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO: q->avail[0] = value; break;
	case VIRTIO_PCI_COMMON_Q_AVAILHI: q->avail[1] = value; break;
	case VIRTIO_PCI_COMMON_Q_USEDLO: q->used[0] = value; break;
	case VIRTIO_PCI_COMMON_Q_USEDHI: q->used[1] = value; break;
	case COMMON_Q_RESET:
		if (value == 1)
			queue_reset(v, q);
		break;
	default: break;
	}
}

static void features_write(struct virtio *v, uint32_t value)
{
	if (v->gfselect > 1)
		return;
	v->guest_features[v->gfselect] = value;
	virtio_set_features(v, (uint64_t)v->guest_features[1] << 32 | v->guest_features[0]);
}

static void common_write(struct virtio *v, uint64_t offset, uint32_t value)
{
	struct virtio_queue *q = virtio_selected(v);

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: v->dfselect = value; break;
	case VIRTIO_PCI_COMMON_GFSELECT: v->gfselect = value; break;
	case VIRTIO_PCI_COMMON_GF: features_write(v, value); break;
	case VIRTIO_PCI_COMMON_MSIX:
		virtio_set_config_vector(v, (uint16_t)virtio_vector_clamp(v, value));
		break;
	case VIRTIO_PCI_COMMON_STATUS: virtio_set_status(v, (uint8_t)value); break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		if (value < VIRTIO_WIRE_QUEUES)
			v->queue_sel = (uint16_t)value;
		break;
	default:
		if (q)
			queue_write(v, q, offset, value);
	}
}

/**
 * virtio_modern_write() - The guest writes the modern BAR, or through the configuration access
 * capability
 * @opaque:	The device
 * @offset:	In the BAR
 * @value:	Little-endian
 * @size:	1, 2 or 4
 */
void virtio_modern_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio *v = opaque;

	switch (offset >> 12) {
	case 0: common_write(v, offset, (uint32_t)value); break;
	case 1: break;
	case 2:
		virtio_config_write(v, (unsigned int)(offset & 0xfff), (uint32_t)value, size);
		break;
	default:
		virtio_queue_signal(v,
				    (unsigned int)((offset - 0x3000) >> (v->page_per_vq ? 12 : 2)));
	}
}

const struct io_ops virtio_modern_ops = {
	.read = virtio_modern_read,
	.write = virtio_modern_write,
	.min = 1,
	.max = 4,
};
