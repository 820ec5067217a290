/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A small virtio driver, polled: no interrupts. Modern devices over PCI and virtio-mmio, and the
 * legacy register layout of virtio-mmio, which QEMU's microvm has by default. Devices are started
 * by the boot vCPU (configuration space needs I/O ports) and then belong to one vCPU, the last;
 * only memory and doorbells are touched from then on.
 */
#include "virtio.h"
#include "insn.h"
#include "pci.h"

#define PCI_VENDOR_VIRTIO 0x1af4
#define MMIO_FIRST        0xfeb00000ull
#define MMIO_STEP         0x200
#define MMIO_COUNT        24
#define PCI_POSITIONS     256
#define FEATURE_VERSION_1 1u /* in the second word */
#define USED_ALIGN        4096
#define RESET_TRIES       1000

static struct vdev first_device;
const struct vdev *io_device;
const struct virtq *io_queue;

bool virtio_next(unsigned int *position, struct vdev *d)
{
	uint32_t id;

	while (*position < PCI_POSITIONS) {
		int devfn = pci_next((int)*position, &id);

		*position = devfn < 0 ? PCI_POSITIONS : (unsigned int)devfn + 1;
		if (devfn >= 0 && (id & 0xffff) == PCI_VENDOR_VIRTIO &&
		    virtio_pci_find((uint8_t)devfn, d))
			return true;
	}
	while (*position < PCI_POSITIONS + MMIO_COUNT) {
		uint64_t gpa = MMIO_FIRST + (*position - PCI_POSITIONS) * MMIO_STEP;

		++*position;
		if (virtio_mmio_find(gpa, d))
			return true;
	}
	return false;
}

bool virtio_begin(struct vdev *d, uint32_t want, uint32_t *got)
{
	const struct transport *t = d->transport;

	t->set_status(d, 0);
	for (int i = 0; i < RESET_TRIES && t->status(d); i++)
		pause();
	t->set_status(d, STATUS_ACKNOWLEDGE);
	t->set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	*got = t->features(d, 0) & want;
	t->accept(d, 0, *got);
	if (d->legacy)
		return true;
	if (!(t->features(d, 1) & FEATURE_VERSION_1))
		return false;
	t->accept(d, 1, FEATURE_VERSION_1);
	t->set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	return t->status(d) & STATUS_FEATURES_OK;
}

void virtio_ready(const struct vdev *d)
{
	uint8_t features_ok = d->legacy ? 0 : STATUS_FEATURES_OK;

	d->transport->set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER | features_ok |
					    STATUS_DRIVER_OK);
}

bool virtq_open(const struct vdev *d, unsigned int n, struct virtq *q)
{
	bool there = d->transport->queue(d, n, q);

	if (there && !io_queue)
		io_queue = q;
	return there;
}

void virtq_layout(struct virtq *q, uint16_t size)
{
	uint64_t driver = size * sizeof(struct virtq_desc) + sizeof(struct virtq_avail) +
			  2 * (size + 1u);
	uint64_t used = (driver + USED_ALIGN - 1) / USED_ALIGN * USED_ALIGN;
	uint8_t *at = early_pages((used + 8 * size + 6 + PAGE_BYTES - 1) / PAGE_BYTES);

	*q = (struct virtq){
		.desc = (struct virtq_desc *)at,
		.size = size,
		.avail = (volatile struct virtq_avail *)(at + size * sizeof(struct virtq_desc)),
		.used = (volatile struct virtq_used *)(at + used),
	};
	q->avail->flags = 1; /* no interrupts */
}

void virtio_doorbell(const struct virtq *q)
{
	if (q->wide)
		*(volatile uint32_t *)q->notify = q->notify_value;
	else
		*(volatile uint16_t *)q->notify = q->notify_value;
}

void virtq_offer(struct virtq *q, uint16_t head)
{
	uint16_t index = q->avail->index;

	q->avail->ring[index % q->size] = head;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	q->avail->index = (uint16_t)(index + 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->used->flags & 1) /* the device polls */
		return;
	virtio_doorbell(q);
}

bool virtq_take(struct virtq *q, uint16_t *head, uint32_t *length)
{
	if (q->used->index == q->seen)
		return false;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*head = (uint16_t)q->used->ring[q->seen % q->size].id;
	*length = q->used->ring[q->seen % q->size].length;
	q->seen++;
	return true;
}

bool io_start(struct witness *w)
{
	struct pulse_device *out = w->report->device;
	unsigned int position = 0;
	bool wanted[VIRTIO_BALLOON + 1] = {[VIRTIO_BLK] = w->args.blk,
					   [VIRTIO_NET] = w->args.net || w->args.net_ip,
					   [VIRTIO_BALLOON] = w->args.balloon};
	struct vdev d;

	while (virtio_next(&position, &d)) {
		if (!wanted[d.kind])
			continue;
		wanted[d.kind] = false;
		if (!io_device) {
			first_device = d;
			io_device = &first_device;
		}
		out->where = d.where;
		if (d.kind == VIRTIO_BLK)
			blk_start(w, &d, out++);
		else if (d.kind == VIRTIO_BALLOON)
			balloon_start(w, &d, out++);
		else
			net_start(w, &d, out++);
	}
	return out != w->report->device;
}
