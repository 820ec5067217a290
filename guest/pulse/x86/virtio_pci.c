/* SPDX-License-Identifier: Apache-2.0 */
/* Modern virtio over PCI (virtio 1.2, 4.1): the structures are found by vendor capabilities. */
#include "pci.h"
#include "virtio.h"

#define CAP_VENDOR         9
#define CAP_COMMON         1
#define CAP_NOTIFY         2
#define CAP_DEVICE         4
#define DEVICE_NET         0x1041
#define DEVICE_BLK         0x1042
#define DEVICE_NET_OLD     0x1000 /* transitional */
#define DEVICE_BLK_OLD     0x1001
#define DEVICE_BALLOON     0x1045
#define DEVICE_BALLOON_OLD 0x1002
#define CONFIG_BYTES       56

/** struct common - Common configuration (virtio 1.2, 4.1.4.3) */
struct common {
	uint32_t device_feature_select;
	uint32_t device_feature;
	uint32_t driver_feature_select;
	uint32_t driver_feature;
	uint16_t msix_config;
	uint16_t num_queues;
	uint8_t device_status;
	uint8_t config_generation;
	uint16_t queue_select;
	uint16_t queue_size;
	uint16_t queue_msix_vector;
	uint16_t queue_enable;
	uint16_t queue_notify_off;
	uint32_t queue_desc[2];
	uint32_t queue_driver[2];
	uint32_t queue_device[2];
};

_Static_assert(sizeof(struct common) == CONFIG_BYTES, "layout");

static volatile struct common *common(const struct vdev *d)
{
	return (volatile struct common *)d->regs;
}

static uint8_t status(const struct vdev *d)
{
	return common(d)->device_status;
}

static void set_status(const struct vdev *d, uint8_t value)
{
	common(d)->device_status = value;
}

static uint32_t features(const struct vdev *d, unsigned int word)
{
	common(d)->device_feature_select = word;
	return common(d)->device_feature;
}

static void accept(const struct vdev *d, unsigned int word, uint32_t value)
{
	common(d)->driver_feature_select = word;
	common(d)->driver_feature = value;
}

static void put64(volatile uint32_t *at, const volatile void *address)
{
	at[0] = (uint32_t)(uintptr_t)address;
	at[1] = (uint32_t)((uintptr_t)address >> 32);
}

static bool queue(const struct vdev *d, unsigned int n, struct virtq *q)
{
	volatile struct common *c = common(d);
	uint16_t size;

	c->queue_select = (uint16_t)n;
	size = c->queue_size;
	if (!size)
		return false;
	if (size > QUEUE_MAX)
		size = QUEUE_MAX;
	virtq_layout(q, size);
	c->queue_size = size;
	put64(c->queue_desc, q->desc);
	put64(c->queue_driver, q->avail);
	put64(c->queue_device, q->used);
	q->notify = d->notify + c->queue_notify_off * d->notify_multiplier;
	q->notify_value = (uint16_t)n;
	c->queue_enable = 1;
	return true;
}

const struct transport virtio_pci = {
	.status = status,
	.set_status = set_status,
	.features = features,
	.accept = accept,
	.queue = queue,
};

static unsigned int kind_of(uint8_t devfn)
{
	switch (pci_read(devfn, PCI_ID) >> 16) {
	case DEVICE_NET:
	case DEVICE_NET_OLD: return VIRTIO_NET;
	case DEVICE_BLK:
	case DEVICE_BLK_OLD: return VIRTIO_BLK;
	case DEVICE_BALLOON:
	case DEVICE_BALLOON_OLD: return VIRTIO_BALLOON;
	default: return 0;
	}
}

static void read_capability(uint8_t devfn, uint8_t at, struct vdev *d)
{
	uint64_t base = pci_bar(devfn, pci_read8(devfn, (uint8_t)(at + 4))) +
			pci_read(devfn, (uint8_t)(at + 8));

	switch (pci_read8(devfn, (uint8_t)(at + 3))) {
	case CAP_COMMON: d->regs = paging_map(base); break;
	case CAP_NOTIFY:
		d->notify = paging_map(base);
		d->notify_multiplier = pci_read(devfn, (uint8_t)(at + 16));
		break;
	case CAP_DEVICE: d->config = paging_map(base);
	}
}

bool virtio_pci_find(uint8_t devfn, struct vdev *d)
{
	*d = (struct vdev){
		.transport = &virtio_pci, .kind = kind_of(devfn), .where = 0xff00u | devfn};
	if (!d->kind)
		return false;
	pci_enable(devfn);
	for (uint8_t at = pci_read8(devfn, PCI_CAPS); at; at = pci_read8(devfn, (uint8_t)(at + 1)))
		if (pci_read8(devfn, at) == CAP_VENDOR)
			read_capability(devfn, at, d);
	return d->regs && d->notify && d->config;
}
