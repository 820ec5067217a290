/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_X86_VIRTIO_H
#define PULSE_X86_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "platform.h"

#define VIRTIO_NET         1
#define VIRTIO_BLK         2
#define VIRTIO_BALLOON     5
#define QUEUE_MAX          256 /* largest queue we use */

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER      2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 0x40
#define STATUS_FAILED      0x80

/** struct virtq_desc - Descriptor (virtio 1.2, 2.7.5) */
struct virtq_desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

#define DESC_NEXT  1
#define DESC_WRITE 2 /* the device writes */

/** struct virtq_avail - What the driver offers; the event word follows the ring */
struct virtq_avail {
	uint16_t flags;
	uint16_t index;
	uint16_t ring[];
};

/** struct virtq_used - What the device has finished */
struct virtq_used {
	uint16_t flags;
	uint16_t index;
	struct {
		uint32_t id;
		uint32_t length;
	} ring[];
};

/**
 * struct virtq - One queue, laid out as legacy devices need it (which suits modern ones too)
 * @size:	Entries
 * @seen:	Used entries taken
 * @notify:	Doorbell
 * @notify_value: What to write there
 * @wide:	The doorbell is 32 bits wide (virtio-mmio), else 16
 */
struct virtq {
	struct virtq_desc *desc;
	volatile struct virtq_avail *avail;
	volatile struct virtq_used *used;
	uint16_t size;
	uint16_t seen;
	volatile void *notify;
	uint16_t notify_value;
	bool wide;
};

struct vdev;

/**
 * struct transport - How a device is reached
 * @status:	Read the status byte
 * @set_status:	Write it
 * @features:	Read 32 bits of the device's features
 * @accept:	Write 32 bits of ours
 * @queue:	Set up queue @n in memory at @q; false when the device has none
 */
struct transport {
	uint8_t (*status)(const struct vdev *d);
	void (*set_status)(const struct vdev *d, uint8_t status);
	uint32_t (*features)(const struct vdev *d, unsigned int word);
	void (*accept)(const struct vdev *d, unsigned int word, uint32_t features);
	bool (*queue)(const struct vdev *d, unsigned int n, struct virtq *q);
};

/**
 * struct vdev - A virtio device
 * @transport:	How to reach it
 * @kind:	VIRTIO_NET, VIRTIO_BLK or VIRTIO_BALLOON
 * @where:	As in struct pulse_device
 * @legacy:	It knows nothing of virtio 1
 * @regs:	Common configuration, or the virtio-mmio registers
 * @config:	Device configuration
 * @notify, @notify_multiplier: PCI doorbells
 */
struct vdev {
	const struct transport *transport;
	unsigned int kind;
	uint32_t where;
	bool legacy;
	volatile uint8_t *regs;
	volatile uint8_t *config;
	volatile uint8_t *notify;
	uint32_t notify_multiplier;
};

/**
 * virtio_next() - Find virtio devices: PCI bus 0 first, then microvm's virtio-mmio places
 * @position:	0 to begin; changed
 * @d:		Set
 * Return: false when there are no more
 */
bool virtio_next(unsigned int *position, struct vdev *d);

/**
 * virtio_begin() - Reset, and agree on features
 * @d:		Device
 * @want:	Of its first 32 features, those we use
 * @got:	Set to those both have
 * Return: false when it refuses
 */
bool virtio_begin(struct vdev *d, uint32_t want, uint32_t *got);

/**
 * virtq_open() - Set up a queue
 * @d:	Device
 * @n:	Its number
 * @q:	Set
 * Return: false when the device has none
 */
bool virtq_open(const struct vdev *d, unsigned int n, struct virtq *q);

/**
 * virtio_ready() - Let the device work
 * @d:	Device
 */
void virtio_ready(const struct vdev *d);

/**
 * virtq_layout() - Take memory for a queue
 * @q:		Set
 * @size:	Entries
 */
void virtq_layout(struct virtq *q, uint16_t size);

/**
 * virtq_offer() - Give the device a chain of descriptors, and ring
 * @q:		Queue
 * @head:	First descriptor
 */
void virtq_offer(struct virtq *q, uint16_t head);

/**
 * virtq_take() - Take back what the device has finished
 * @q:		Queue
 * @head:	Set to the chain's first descriptor
 * @length:	Set to how many bytes the device wrote
 * Return: false when there is nothing
 */
bool virtq_take(struct virtq *q, uint16_t *head, uint32_t *length);

extern const struct transport virtio_pci, virtio_mmio;

/**
 * virtio_pci_find() - Look at a PCI function
 * @devfn:	Device and function
 * @d:		Set when it is a virtio device we use
 * Return: whether it is
 */
bool virtio_pci_find(uint8_t devfn, struct vdev *d);

/**
 * virtio_mmio_find() - Look at a virtio-mmio place
 * @gpa:	Address of its registers
 * @d:		Set when there is a device we use
 * Return: whether there is
 */
bool virtio_mmio_find(uint64_t gpa, struct vdev *d);

/**
 * blk_start() - Begin with a block device
 * @w:		Witness
 * @d:		Device
 * @out:	Figures
 */
void blk_start(struct witness *w, struct vdev *d, struct pulse_device *out);

/**
 * blk_step() - Do what is due now: at most one completion and one submission
 * Return: whether anything was done
 */
bool blk_step(void);

/**
 * net_start() - Begin with a network device
 * @w:		Witness
 * @d:		Device
 * @out:	Figures
 */
void net_start(struct witness *w, struct vdev *d, struct pulse_device *out);

/**
 * net_step() - Do what is due now: at most one packet each way
 * Return: whether anything was done
 */
bool net_step(void);

/**
 * balloon_start() - Begin with a balloon
 * @w:		Witness
 * @d:		Device
 * @out:	Figures
 */
void balloon_start(struct witness *w, struct vdev *d, struct pulse_device *out);

/**
 * balloon_step() - Do what is due now: at most one thing in each queue
 * Return: whether anything was done
 */
bool balloon_step(void);

/**
 * virtio_doorbell() - Ring a queue's doorbell
 * @q:	Queue
 */
void virtio_doorbell(const struct virtq *q);

/* The first device in use and its first queue; NULL where there is none. */
extern const struct vdev *io_device;
extern const struct virtq *io_queue;

/**
 * io_start() - Find and start the devices that the parameters ask for
 * @w:	Witness
 * Return: whether there are any
 */
bool io_start(struct witness *w);

#endif
