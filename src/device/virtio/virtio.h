/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_VIRTIO_H
#define DEVICE_VIRTIO_VIRTIO_H

#include "device/pci/pci.h"
#include "device/virtio/io_thread.h"
#include "device/virtio/virtqueue.h"

/*
 * Theory of operation: a virtio device is a PCI function with queues. What all have in common is
 * struct virtio: status and feature negotiation (virtio.c), the registers (virtio_pci.c,
 * virtio_modern.c, virtio_legacy.c), queues and the thread that serves them (virtio_queue.c), the
 * wire form of the state (virtio_state.c). What a kind of device does is in struct virtio_ops.
 *
 * Two sides: the control side (registers; vCPUs under the device's lock, or the main thread) and
 * the owner side (queues and back ends). The owner is an I/O thread; a device without one is served
 * by the main loop, under the device's lock. The control side hands over with virtio_call(), which
 * waits; an I/O thread never takes the device's lock, so this ends. Fields say who owns them;
 * interrupts, the broken state and config changes may come from either side (atomics).
 */

#define VIRTIO_WIRE_QUEUES   1024 /* queues in the stream, whatever the device has */
#define VIRTIO_QUEUES_MAX    256  /* queues of a device here */
#define VIRTIO_VECTORS_MAX   (VIRTIO_QUEUES_MAX + 1)
#define VIRTIO_CONFIG_MAX    96 /* bytes of device configuration space */

#define VIRTIO_S_ACKNOWLEDGE 1
#define VIRTIO_S_DRIVER      2
#define VIRTIO_S_DRIVER_OK   4
#define VIRTIO_S_FEATURES_OK 8
#define VIRTIO_S_NEEDS_RESET 0x40
#define VIRTIO_S_FAILED      0x80

#define VIRTIO_ISR_QUEUE     1
#define VIRTIO_ISR_CONFIG    2

#define VIRTIO_BIT(n)        (1ULL << (n))
#define VIRTIO_F_EMPTY       24
#define VIRTIO_F_LAYOUT      27
#define VIRTIO_F_INDIRECT    28
#define VIRTIO_F_EVENT       29
#define VIRTIO_F_BAD         30
#define VIRTIO_F_V1          32
#define VIRTIO_F_IOMMU       33
#define VIRTIO_F_PACKED_RING 34
#define VIRTIO_F_QUEUE_RESET 40
#define VIRTIO_LEGACY_ONLY \
	(VIRTIO_BIT(VIRTIO_F_EMPTY) | VIRTIO_BIT(VIRTIO_F_LAYOUT) | VIRTIO_BIT(VIRTIO_F_BAD))
#define VIRTIO_VECTORS_UNSET UINT32_MAX

struct virtio;

/**
 * struct virtio_ops - A kind of virtio device
 * @id:		VIRTIO device type
 * @pci_id:	Transitional PCI device id
 * @pci_class:	24 bits of class code
 * @name:	For messages
 * @feature_names: Names of feature bits 0-23 (and 50-63 at their place), NULL where unknown
 * @legacy_only: Feature bits that a modern driver doesn't see
 * @config_read: Fills the device configuration space; control side
 * @config_write: The guest wrote into it; control side
 * @kick:	Owner: the driver has made chains available, or the guest runs again
 * @negotiated:	Control side: v->features has changed
 * @started:	Control side: DRIVER_OK was set or cleared
 * @reset:	Owner, nothing in flight: to power-on values
 * @drain:	Owner: complete what is in flight until time_ns() is @until_ns; how much still is.
 *		May be NULL
 * @quiesce:	Owner: complete what is in flight, hold back nothing; may be NULL
 * @forget:	Owner: the driver resets this one queue; what is held of it goes. May be NULL
 * @vector:	Owner: the driver chose another interrupt for a queue; may be NULL
 * @resume:	Owner: the guest runs again, before the kicks; may be NULL
 */
struct virtio_ops {
	uint16_t id, pci_id;
	uint32_t pci_class;
	const char *name;
	const char *const *feature_names;
	uint64_t legacy_only;
	void (*config_read)(struct virtio *v, uint8_t *config);
	void (*config_write)(struct virtio *v, const uint8_t *config);
	void (*kick)(struct virtio *v, struct virtqueue *q);
	void (*negotiated)(struct virtio *v);
	void (*started)(struct virtio *v, bool on);
	void (*reset)(struct virtio *v);
	unsigned int (*drain)(struct virtio *v, int64_t until_ns);
	void (*quiesce)(struct virtio *v);
	void (*forget)(struct virtio *v, struct virtqueue *q);
	void (*vector)(struct virtio *v, unsigned int queue);
	void (*resume)(struct virtio *v);
};

/**
 * struct virtio_queue - A queue with its registers and signals
 * @vq:		Owner's while active; its s.vector is the control side's (atomic)
 * @v:		Whose
 * @num, @enabled, @desc, @avail, @used: Registers of the modern layout, low and high halves
 * @loaded:	Its state was loaded; the ring in memory is taken up when the guest runs
 * @doorbell_fd, @source: What the guest rings
 * @modern_bell, @legacy_bell, @bells: Bound to kernel doorbells while @bells
 * @irq_fd:	Raises the queue's vector; atomic; -1: none
 */
struct virtio_queue {
	struct virtqueue vq;
	struct virtio *v;
	uint16_t num;
	bool enabled, loaded;
	uint32_t desc[2], avail[2], used[2];
	int doorbell_fd;
	sd_event_source *source;
	struct io_doorbell modern_bell, legacy_bell;
	bool bells;
	int irq_fd;
};

/**
 * struct virtio - What every virtio device begins with
 * @pci:	First
 * @ops:	Set by the device before virtio_init()
 * @disable_legacy, @disable_modern, @ioeventfd, @page_per_vq, @vectors, @class_code, @iothread:
 * Properties
 * @host_features: Offered; feature switches are properties of their own
 * @features:	Negotiated; control side
 * @status, @isr, @broken: Atomic
 * @disabled:	Bus mastering is off
 * @ready:	Atomic: queues may be served
 * @generation:	Atomic: changes with the configuration space
 * @started:	DRIVER_OK, or a legacy driver that kicked before it
 * @queue_sel, @config_vector, @dfselect, @gfselect, @guest_features: Registers; control side
 * @config, @config_len: Device configuration space as last read or written
 * @queues, @queues_len: All that may exist
 * @scratch:	Owner's
 * @legacy, @modern: Register layouts it has
 * @legacy_bar, @modern_bar: I/O regions
 * @cfg_cap, @pm_cap: Offsets of the PCI configuration access and power management capabilities, 0:
 * none
 * @io:		Owner thread, NULL: the main loop
 * @own_io:	The class wants an I/O thread
 * @running:	Between ->run() and ->stop(); owner
 * @limit:	For messages the guest can cause
 */
struct virtio {
	struct pci_device pci;
	const struct virtio_ops *ops;
	int disable_legacy;
	bool disable_modern, ioeventfd, page_per_vq;
	uint32_t vectors, class_code;
	char *iothread;
	uint64_t host_features;
	uint64_t features;
	uint8_t status, isr, generation;
	bool broken, disabled, started, ready;
	uint16_t queue_sel, config_vector;
	uint32_t dfselect, gfselect, guest_features[2];
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint16_t config_len;
	struct virtio_queue *queues;
	unsigned int queues_len;
	struct virtq_scratch *scratch;
	bool legacy, modern;
	struct io_region legacy_bar, modern_bar;
	uint8_t cfg_cap, pm_cap;
	struct io_thread *io;
	bool own_io, running;
	struct log_limit limit;
};

static inline bool virtio_has(const struct virtio *v, unsigned int bit)
{
	return v->features >> bit & 1;
}

/* The device's own bit in it may come from the owner at any time. */
static inline uint8_t virtio_status(const struct virtio *v)
{
	return __atomic_load_n(&v->status, __ATOMIC_RELAXED);
}

static inline bool virtio_offers(const struct virtio *v, unsigned int bit)
{
	return v->host_features >> bit & 1;
}

static inline struct virtio *virtio_of(struct device *dev)
{
	return CONTAINER_OF(dev, struct virtio, pci.dev);
}

static inline const struct virtio *virtio_of_const(const struct device *dev)
{
	return CONTAINER_OF(dev, const struct virtio, pci.dev);
}

/* virtio.c: control side. */
void virtio_set_status(struct virtio *v, uint8_t status);
void virtio_set_features(struct virtio *v, uint64_t features);
void virtio_reset(struct virtio *v);
void virtio_drain(struct virtio *v);
void virtio_set_disabled(struct virtio *v, bool disabled);
uint32_t virtio_config_read(struct virtio *v, unsigned int offset, unsigned int size);
void virtio_config_write(struct virtio *v, unsigned int offset, uint32_t value, unsigned int size);
const char *virtio_feature_name(const struct virtio *v, unsigned int bit, char buf[16]);
/* From any thread. */
void virtio_config_changed(struct virtio *v);
void virtio_needs_reset(struct virtio *v, const char *why);

/* virtio_queue.c */
MUST_CHECK int virtio_queues_create(struct virtio *v, unsigned int n, const uint16_t *sizes,
				    struct err *e);
void virtio_queues_destroy(struct virtio *v);
void virtio_call(struct virtio *v, loop_fn *fn, void *opaque);
struct loop *virtio_loop(struct virtio *v);
void virtio_lock_owner(struct virtio *v);
void virtio_unlock_owner(struct virtio *v);
void virtio_queue_start(struct virtio *v, struct virtio_queue *q);
void virtio_queue_restart(struct virtio *v, struct virtio_queue *q);
void virtio_queue_set_vector(struct virtio *v, struct virtio_queue *q, uint16_t vector);
void virtio_queue_signal(struct virtio *v, unsigned int index);
void virtio_bells(struct virtio *v, bool on);
void virtio_kick_all(struct virtio *v);
void virtio_ready_update(struct virtio *v);
void virtio_rewind_loaded(struct virtio *v);
void virtio_notify(struct virtio *v, struct virtqueue *q);
void virtio_interrupt(struct virtio *v, struct virtio_queue *q);
/* What serving one chain came to: go on, nothing was available, the back end must come first, or it
 * took long enough for others to have their turn before the next. */
enum virtio_served { VIRTIO_SERVED, VIRTIO_EMPTY, VIRTIO_STALLED, VIRTIO_LONG };
void virtio_serve(struct virtio *v, struct virtqueue *q,
		  enum virtio_served (*one)(struct virtio *v, struct virtqueue *q));
bool virtio_servable(const struct virtio *v, const struct virtqueue *q);
void virtio_complete(struct virtio *v, struct virtqueue *q, struct virtq_chain *c,
		     uint32_t written);
MUST_CHECK int virtio_settle(struct device *dev, int64_t until_ns, struct err *e);
void virtio_stop(struct device *dev);
void virtio_run(struct device *dev);

static inline struct virtio_queue *virtio_queue_of(struct virtqueue *q)
{
	return CONTAINER_OF(q, struct virtio_queue, vq);
}

/* virtio_pci.c */
/* @sizes: entries of each of @queues queues. Then the device attaches with virtio_attach(). */
MUST_CHECK int virtio_init(struct virtio *v, unsigned int queues, const uint16_t *sizes,
			   uint16_t config_len, struct err *e);
unsigned int virtio_default_queues(const struct virtio *v, unsigned int fixed);
MUST_CHECK int virtio_attach(struct virtio *v, struct err *e);
void virtio_detach(struct virtio *v);
void virtio_release(struct virtio *v);
void virtio_device_reset(struct device *dev);
uint32_t virtio_vector_clamp(const struct virtio *v, uint32_t vector);
void virtio_set_config_vector(struct virtio *v, uint16_t vector);

/* virtio_express.c */
MUST_CHECK int virtio_express_init(struct virtio *v, struct err *e);
void virtio_express_written(struct virtio *v);
void virtio_express_reset(struct virtio *v);

/* virtio_modern.c, virtio_legacy.c */
extern const struct io_ops virtio_modern_ops, virtio_legacy_ops;
uint64_t virtio_modern_read(void *opaque, uint64_t offset, unsigned int size);
void virtio_modern_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size);
void virtio_queue_set_num(struct virtio *v, struct virtio_queue *q, uint32_t num);
uint8_t virtio_isr_take(struct virtio *v);

static inline struct virtio_queue *virtio_selected(struct virtio *v)
{
	return v->queue_sel < v->queues_len ? &v->queues[v->queue_sel] : NULL;
}

#define VIRTIO_SWITCH(type, wire, n, on, text)                                               \
	{                                                                                    \
		.name = (wire), .kind = PROP_BIT, .offset = offsetof(type, v.host_features), \
		.bit = (n), .def = (on), .help = (text)                                      \
	}

/* Properties that every virtio device has; @type's member v is the struct virtio. */
#define VIRTIO_PROPS(type, vectors_default)                                                       \
	PCI_PROPS(type, v.pci),                                                                   \
		{.name = "disable-legacy",                                                        \
		 .kind = PROP_AUTO,                                                               \
		 .offset = offsetof(type, v.disable_legacy),                                      \
		 .def = "auto",                                                                   \
		 .help = "No registers of the legacy layout (auto: off on the root bus)"},        \
		{.name = "disable-modern",                                                        \
		 .kind = PROP_BOOL,                                                               \
		 .offset = offsetof(type, v.disable_modern),                                      \
		 .def = "off",                                                                    \
		 .help = "No registers of the modern layout"},                                    \
		{.name = "ioeventfd",                                                             \
		 .kind = PROP_BOOL,                                                               \
		 .offset = offsetof(type, v.ioeventfd),                                           \
		 .def = "on",                                                                     \
		 .help = "The kernel takes doorbell writes"},                                     \
		{.name = "page-per-vq",                                                           \
		 .kind = PROP_BOOL,                                                               \
		 .offset = offsetof(type, v.page_per_vq),                                         \
		 .def = "off",                                                                    \
		 .help = "A page of doorbell addresses for each queue"},                          \
		{.name = "vectors",                                                               \
		 .kind = PROP_U32,                                                                \
		 .offset = offsetof(type, v.vectors),                                             \
		 .def = (vectors_default),                                                        \
		 .help = "MSI-X vectors (default: one for each queue and the configuration)"},    \
		VIRTIO_SWITCH(type, "indirect_desc", VIRTIO_F_INDIRECT, "on",                     \
			      "Offer indirect descriptors"),                                      \
		VIRTIO_SWITCH(type, "event_idx", VIRTIO_F_EVENT, "on", "Offer event indices"),    \
		VIRTIO_SWITCH(type, "notify_on_empty", VIRTIO_F_EMPTY, "on",                      \
			      "Offer an interrupt when a queue runs empty (legacy)"),             \
		VIRTIO_SWITCH(type, "any_layout", VIRTIO_F_LAYOUT, "on",                          \
			      "Accept any layout of headers (legacy)"),                           \
		VIRTIO_SWITCH(type, "iommu_platform", VIRTIO_F_IOMMU, "off",                      \
			      "Offer DMA through an IOMMU (not available)"),                      \
		VIRTIO_SWITCH(type, "packed", VIRTIO_F_PACKED_RING, "off", "Offer packed rings"), \
		VIRTIO_SWITCH(type, "queue_reset", VIRTIO_F_QUEUE_RESET, "on",                    \
			      "Offer resetting one queue")

#endif
