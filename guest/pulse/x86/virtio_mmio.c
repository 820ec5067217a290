/* SPDX-License-Identifier: Apache-2.0 */
/* virtio over MMIO (virtio 1.2, 4.2), version 2 and the legacy version 1. */
#include "virtio.h"

#define MAGIC            0x74726976u

#define REG_MAGIC        0x000
#define REG_VERSION      0x004
#define REG_DEVICE       0x008
#define REG_FEATURES     0x010
#define REG_FEATURES_SEL 0x014
#define REG_ACCEPT       0x020
#define REG_ACCEPT_SEL   0x024
#define REG_PAGE_SIZE    0x028 /* legacy */
#define REG_QUEUE_SEL    0x030
#define REG_QUEUE_MAX    0x034
#define REG_QUEUE_NUM    0x038
#define REG_QUEUE_ALIGN  0x03c /* legacy */
#define REG_QUEUE_PFN    0x040 /* legacy */
#define REG_QUEUE_READY  0x044
#define REG_NOTIFY       0x050
#define REG_STATUS       0x070
#define REG_DESC         0x080
#define REG_DRIVER       0x090
#define REG_USED         0x0a0
#define REG_CONFIG       0x100

static volatile uint32_t *reg(const struct vdev *d, unsigned int offset)
{
	return (volatile uint32_t *)(d->regs + offset);
}

static uint8_t status(const struct vdev *d)
{
	return (uint8_t)*reg(d, REG_STATUS);
}

static void set_status(const struct vdev *d, uint8_t value)
{
	*reg(d, REG_STATUS) = value;
	if (!value && d->legacy)
		*reg(d, REG_PAGE_SIZE) = PAGE_BYTES;
}

static uint32_t features(const struct vdev *d, unsigned int word)
{
	*reg(d, REG_FEATURES_SEL) = word;
	return *reg(d, REG_FEATURES);
}

static void accept(const struct vdev *d, unsigned int word, uint32_t value)
{
	*reg(d, REG_ACCEPT_SEL) = word;
	*reg(d, REG_ACCEPT) = value;
}

static void put64(const struct vdev *d, unsigned int offset, const volatile void *address)
{
	*reg(d, offset) = (uint32_t)(uintptr_t)address;
	*reg(d, offset + 4) = (uint32_t)((uintptr_t)address >> 32);
}

static bool queue(const struct vdev *d, unsigned int n, struct virtq *q)
{
	uint32_t size;

	*reg(d, REG_QUEUE_SEL) = n;
	size = *reg(d, REG_QUEUE_MAX);
	if (!size)
		return false;
	if (size > QUEUE_MAX)
		size = QUEUE_MAX;
	virtq_layout(q, (uint16_t)size);
	q->notify = d->regs + REG_NOTIFY;
	q->notify_value = (uint16_t)n;
	q->wide = true;
	*reg(d, REG_QUEUE_NUM) = size;
	if (d->legacy) {
		*reg(d, REG_QUEUE_ALIGN) = PAGE_BYTES;
		*reg(d, REG_QUEUE_PFN) = (uint32_t)((uintptr_t)q->desc / PAGE_BYTES);
		return true;
	}
	put64(d, REG_DESC, q->desc);
	put64(d, REG_DRIVER, q->avail);
	put64(d, REG_USED, q->used);
	*reg(d, REG_QUEUE_READY) = 1;
	return true;
}

const struct transport virtio_mmio = {
	.status = status,
	.set_status = set_status,
	.features = features,
	.accept = accept,
	.queue = queue,
};

bool virtio_mmio_find(uint64_t gpa, struct vdev *d)
{
	*d = (struct vdev){
		.transport = &virtio_mmio, .where = (uint32_t)(gpa >> 8), .regs = paging_map(gpa)};
	if (*reg(d, REG_MAGIC) != MAGIC)
		return false;
	d->legacy = *reg(d, REG_VERSION) == 1;
	d->kind = *reg(d, REG_DEVICE);
	d->config = d->regs + REG_CONFIG;
	return d->kind == VIRTIO_BLK || d->kind == VIRTIO_NET;
}
