/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a virtio device as a PCI function: ids, BARs (0 legacy registers, 1 MSI-X, 4
 * modern registers) and capabilities, laid out as QEMU lays them out, since guests have seen them
 * and a state carries the configuration space. On the root bus a device is transitional, behind a
 * bridge (where no I/O space need be) modern only, unless properties or the class's name say
 * otherwise.
 *
 * The configuration access capability lets firmware reach the modern registers without mapping the
 * BAR.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "device/virtio/virtio.h"

#include <errno.h>
#include <linux/virtio_pci.h>

#define VENDOR            0x1af4
#define MODERN_ID         0x1040
#define DEFAULT_SUBSYSTEM 0x1100
#define LEGACY_BAR        0
#define MSIX_BAR          1
#define MODERN_BAR        4
#define NOTIFY_OFFSET     0x3000
#define CFG_DATA          offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)

/**
 * virtio_vector_clamp() - A vector as the guest wrote it, or none if there is no such vector
 * @v:		The device
 * @vector:	From the guest
 *
 * Return: @vector or VIRTQUEUE_NO_VECTOR, which the guest can read back
 */
uint32_t virtio_vector_clamp(const struct virtio *v, uint32_t vector)
{
	return vector < v->vectors ? vector : VIRTQUEUE_NO_VECTOR;
}

/**
 * virtio_set_config_vector() - The driver chose the configuration interrupt
 * @v:		The device
 * @vector:	Checked
 */
void virtio_set_config_vector(struct virtio *v, uint16_t vector)
{
	__atomic_store_n(&v->config_vector, vector, __ATOMIC_RELAXED);
}

static bool behind_bridge(const struct virtio *v, bool *ret, struct err *e)
{
	struct pci_bus *root = v->pci.dev.env->pci_root;
	struct pci_bus *bus = root;

	if (v->pci.bus_name && root)
		bus = pci_bus_find_name(root, v->pci.bus_name);
	*ret = bus && bus->bridge;
	return bus;
}

static bool name_ends(const struct virtio *v, const char *end)
{
	const char *name = v->pci.dev.class->name;
	size_t have = strlen(name), want = strlen(end);

	return have >= want && !strcmp(name + have - want, end);
}

static int layouts_choose(struct virtio *v, struct err *e)
{
	bool port = false;

	if (!behind_bridge(v, &port, e))
		return err_set(e, ENOENT, "bus: there is no bus '%s'", v->pci.bus_name);
	v->modern = !v->disable_modern;
	v->legacy = v->disable_legacy == PROP_IS_AUTO ? !port : v->disable_legacy == PROP_IS_OFF;
	if (name_ends(v, "-non-transitional")) {
		v->modern = true;
		v->legacy = false;
	} else if (name_ends(v, "-transitional")) {
		v->modern = v->legacy = true;
	}
	if (!v->modern && !v->legacy)
		return err_set(e, EINVAL,
			       "disable-legacy and disable-modern are both on, nothing is left");
	if (virtio_offers(v, VIRTIO_F_IOMMU))
		return err_set(e, EINVAL, "iommu_platform: there is no IOMMU here");
	v->pci.express = port && v->modern;
	return 0;
}

static struct pci_ids ids_of(const struct virtio *v)
{
	struct pci_ids ids = {
		.vendor = VENDOR,
		.device = v->ops->pci_id,
		.subsystem_vendor = VENDOR,
		.subsystem = v->ops->id,
		.class_code = v->class_code ? v->class_code << 8 : v->ops->pci_class,
	};

	if (!v->legacy) {
		ids.device = (uint16_t)(MODERN_ID + v->ops->id);
		ids.subsystem = DEFAULT_SUBSYSTEM;
		ids.revision = 1;
	}
	return ids;
}

static int cap_add(struct virtio *v, uint8_t type, uint32_t offset, uint32_t length, uint8_t size,
		   struct err *e)
{
	int at = pci_add_capability(&v->pci, PCI_CAP_ID_VNDR, 0, size, e);
	uint8_t *c = v->pci.config + at;

	if (at < 0)
		return at;
	c[VIRTIO_PCI_CAP_LEN] = size;
	c[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	c[VIRTIO_PCI_CAP_BAR] = type == VIRTIO_PCI_CAP_PCI_CFG ? 0 : MODERN_BAR;
	store_le32(c + VIRTIO_PCI_CAP_OFFSET, offset);
	store_le32(c + VIRTIO_PCI_CAP_LENGTH, length);
	return at;
}

static int modern_caps(struct virtio *v, uint32_t stride, struct err *e)
{
	uint8_t plain = sizeof(struct virtio_pci_cap);
	int at = cap_add(v, VIRTIO_PCI_CAP_COMMON_CFG, 0, 0x1000, plain, e);

	if (at >= 0)
		at = cap_add(v, VIRTIO_PCI_CAP_ISR_CFG, 0x1000, 0x1000, plain, e);
	if (at >= 0)
		at = cap_add(v, VIRTIO_PCI_CAP_DEVICE_CFG, 0x2000, 0x1000, plain, e);
	if (at >= 0)
		at = cap_add(v, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_OFFSET,
			     stride * VIRTIO_WIRE_QUEUES, sizeof(struct virtio_pci_notify_cap), e);
	if (at < 0)
		return at;
	store_le32(v->pci.config + at + VIRTIO_PCI_NOTIFY_CAP_MULT, stride);
	at = cap_add(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, sizeof(struct virtio_pci_cfg_cap), e);
	if (at < 0)
		return at;
	v->cfg_cap = (uint8_t)at;
	v->pci.wmask[at + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(v->pci.wmask + at + VIRTIO_PCI_CAP_OFFSET, 0xff, 12);
	return 0;
}

static void region_init(struct virtio *v, struct io_region *r, const char *name, uint64_t size,
			const struct io_ops *ops)
{
	*r = (struct io_region){.name = name, .size = 16, .ops = ops, .opaque = v};
	while (r->size < size)
		r->size *= 2;
	r->lock = v->pci.dev.lock;
}

static int modern_init(struct virtio *v, struct err *e)
{
	uint32_t stride = v->page_per_vq ? 0x1000 : 4;
	int r = modern_caps(v, stride, e);

	if (r)
		return r;
	region_init(v, &v->modern_bar, "virtio-pci-modern",
		    NOTIFY_OFFSET + stride * (uint64_t)VIRTIO_WIRE_QUEUES, &virtio_modern_ops);
	pci_bar_region(&v->pci, MODERN_BAR, &v->modern_bar,
		       PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	return 0;
}

static void legacy_init(struct virtio *v)
{
	region_init(v, &v->legacy_bar, "virtio-pci", (v->vectors ? 24u : 20u) + v->config_len,
		    &virtio_legacy_ops);
	pci_bar_region(&v->pci, LEGACY_BAR, &v->legacy_bar, PCI_BASE_ADDRESS_SPACE_IO);
}

static bool touches(unsigned int offset, unsigned int size, unsigned int from, unsigned int len)
{
	return offset < from + len && from < offset + size;
}

/* The access that the capability describes now; false: none. */
static bool cfg_access(const struct virtio *v, uint64_t *offset, unsigned int *size)
{
	const uint8_t *c = v->pci.config + v->cfg_cap;

	*offset = load_le32(c + VIRTIO_PCI_CAP_OFFSET);
	*size = load_le32(c + VIRTIO_PCI_CAP_LENGTH);
	if (*size != 1 && *size != 2 && *size != 4)
		return false;
	*offset &= ~(uint64_t)(*size - 1);
	return c[VIRTIO_PCI_CAP_BAR] == MODERN_BAR && *offset < v->modern_bar.size;
}

static void config_reading(struct pci_device *d, unsigned int offset, unsigned int size)
{
	struct virtio *v = CONTAINER_OF(d, struct virtio, pci);
	uint8_t bytes[4];
	unsigned int len;
	uint64_t at;

	if (!v->cfg_cap || !touches(offset, size, v->cfg_cap + CFG_DATA, 4) ||
	    !cfg_access(v, &at, &len))
		return;
	store_le32(bytes, (uint32_t)virtio_modern_read(v, at, len));
	memcpy(d->config + v->cfg_cap + CFG_DATA, bytes, len);
}

static void config_written(struct pci_device *d, unsigned int offset, unsigned int size)
{
	struct virtio *v = CONTAINER_OF(d, struct virtio, pci);
	uint8_t bytes[4] = {0};
	unsigned int len;
	uint64_t at;

	if (touches(offset, size, PCI_COMMAND, 1))
		virtio_set_disabled(v, !pci_bus_master(d));
	virtio_express_written(v);
	if (!v->cfg_cap || !touches(offset, size, v->cfg_cap + CFG_DATA, 4) ||
	    !cfg_access(v, &at, &len))
		return;
	memcpy(bytes, d->config + v->cfg_cap + CFG_DATA, len);
	virtio_modern_write(v, at, load_le32(bytes), len);
}

static int function_init(struct virtio *v, struct err *e)
{
	struct pci_ids ids = ids_of(v);
	int r = pci_device_init(&v->pci, &ids, e);

	if (r)
		return r;
	v->pci.config[PCI_INTERRUPT_PIN] = 1;
	v->pci.config_reading = config_reading;
	v->pci.config_written = config_written;
	if (v->pci.express)
		r = virtio_express_init(v, e);
	if (!r && v->modern)
		r = modern_init(v, e);
	if (!r && v->vectors)
		r = pci_msix_init(&v->pci, (uint16_t)v->vectors, MSIX_BAR, 0,
				  MAX(2048u, v->vectors * 16u), 0, e);
	if (!r && v->legacy)
		legacy_init(v);
	return r;
}

static int owner_choose(struct virtio *v, struct err *e)
{
	struct io_thread *t;

	if (v->iothread) {
		t = io_thread_find(v->iothread);
		if (!t)
			return err_set(e, ENOENT, "iothread: there is no iothread '%s'",
				       v->iothread);
		v->io = io_thread_ref(t);
	} else if (v->own_io) {
		return io_thread_default(&v->io, e);
	}
	return 0;
}

/**
 * virtio_default_queues() - Request queues of a device that is given no number: one a vCPU
 * @v:		The device
 * @fixed:	Queues it has besides
 *
 * Return: at least 1
 */
unsigned int virtio_default_queues(const struct virtio *v, unsigned int fixed)
{
	unsigned int n = MAX(v->pci.dev.env->vcpus, 1u);

	return MIN(n, VIRTIO_QUEUES_MAX - fixed);
}

/**
 * virtio_init() - Make the function and its queues, not on a bus yet
 * @v:		Its ops, own_io and host_features are set
 * @queues:	How many
 * @sizes:	Entries of each
 * @config_len:	Bytes of device configuration space
 * @e:		Set on failure only
 *
 * Errors: EINVAL properties contradict each other; ENOENT no such bus or iothread
 * Return: 0, or a negative errno; call virtio_release() in any case
 */
int virtio_init(struct virtio *v, unsigned int queues, const uint16_t *sizes, uint16_t config_len,
		struct err *e)
{
	int r = layouts_choose(v, e);

	if (r)
		return r;
	if (v->vectors == VIRTIO_VECTORS_UNSET)
		v->vectors = queues + 1;
	if (v->vectors > VIRTIO_VECTORS_MAX)
		return err_set(e, EINVAL, "vectors: %u, at most %u are possible", v->vectors,
			       VIRTIO_VECTORS_MAX);
	if (v->modern)
		v->host_features |= VIRTIO_BIT(VIRTIO_F_V1);
	v->host_features |= VIRTIO_BIT(VIRTIO_F_BAD);
	v->config_len = config_len;
	v->config_vector = VIRTQUEUE_NO_VECTOR;
	v->running = true;
	r = owner_choose(v, e);
	if (!r)
		r = virtio_queues_create(v, queues, sizes, e);
	return r ? r : function_init(v, e);
}

/**
 * virtio_attach() - Appear to the guest
 * @v:		Initialised
 * @e:		Set on failure only
 *
 * Return: 0, or as pci_device_attach()
 */
int virtio_attach(struct virtio *v, struct err *e)
{
	return pci_device_attach(&v->pci, NULL, e);
}

/**
 * virtio_detach() - Disappear, and complete what is in flight
 * @v:		May be detached already; main thread, no lock held
 */
void virtio_detach(struct virtio *v)
{
	if (!v->pci.bus)
		return;
	pthread_mutex_lock(v->pci.dev.lock);
	virtio_reset(v);
	pthread_mutex_unlock(v->pci.dev.lock);
	pci_device_detach(&v->pci);
	virtio_drain(v);
}

/**
 * virtio_release() - Give back what virtio_init() took
 * @v:		Detached
 */
void virtio_release(struct virtio *v)
{
	virtio_queues_destroy(v);
	io_thread_unref(v->io);
	v->io = NULL;
	if (v->pci.config)
		pci_device_release(&v->pci);
}

/**
 * virtio_device_reset() - Class op: a machine reset
 * @dev:	The device; guest stopped, or its lock held
 */
void virtio_device_reset(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	virtio_reset(v);
	pci_device_reset(&v->pci);
	virtio_express_reset(v);
}
