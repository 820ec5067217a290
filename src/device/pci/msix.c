/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a vector is *open* when MSI-X is enabled and neither the function nor the
 * vector is masked. A notified vector that is open becomes an MSI at once; one that isn't sets its
 * pending bit and becomes an MSI when it opens.
 *
 * A vector can have an eventfd (pci_msix_irqfd()) that back ends and I/O threads signal. While the
 * vector is open the kernel turns the signal into the MSI ("live"). While it isn't, the eventfd
 * keeps the signal: whoever looks at the pending bits (the guest, or capture) looks into the
 * eventfds as well, and opening the vector takes it out. An open vector for which the kernel has no
 * route left is raised by the main thread (msix_relay.c).
 *
 * Everything is under msix.lock, a leaf lock, for notifications come from any thread.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "base/owned.h"
#include "device/pci/internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#define ENTRY_BYTES 16

static size_t pba_bytes(const struct pci_msix *x)
{
	return ALIGN_UP((size_t)x->entries, 64) / 8;
}

static uint8_t *entry(const struct pci_msix *x, unsigned int v)
{
	return x->table + (size_t)v * ENTRY_BYTES;
}

static bool entry_masked(const struct pci_msix *x, unsigned int v)
{
	return entry(x, v)[PCI_MSIX_ENTRY_VECTOR_CTRL] & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static bool is_open(const struct pci_msix *x, unsigned int v)
{
	return x->enabled && !x->masked && !entry_masked(x, v);
}

static bool pending(const struct pci_msix *x, unsigned int v)
{
	return x->pba[v / 8] >> v % 8 & 1;
}

static void pending_set(struct pci_msix *x, unsigned int v, bool on)
{
	uint8_t bit = (uint8_t)(1u << v % 8);

	x->pba[v / 8] = (uint8_t)(on ? x->pba[v / 8] | bit : x->pba[v / 8] & ~bit);
}

static struct msi_message message(const struct pci_device *d, unsigned int v)
{
	const uint8_t *at = entry(&d->msix, v);

	return (struct msi_message){
		.addr = load_le64(at + PCI_MSIX_ENTRY_LOWER_ADDR),
		.data = load_le32(at + PCI_MSIX_ENTRY_DATA),
		.requester = pci_requester(d),
	};
}

static void send(struct pci_device *d, unsigned int v)
{
	struct msi_message m = message(d, v);

	if (d->dev.env->msi)
		d->dev.env->msi->send(d->dev.env->msi_opaque, &m);
}

/* A signal waits in the eventfd of a vector that isn't live. */
static bool signalled(const struct pci_vector *vector)
{
	struct pollfd p = {.fd = vector->fd, .events = POLLIN};

	return vector->fd >= 0 && !vector->live && poll(&p, 1, 0) == 1;
}

static bool take_signal(const struct pci_vector *vector)
{
	uint64_t count;

	return vector->fd >= 0 && !vector->live &&
	       read(vector->fd, &count, sizeof(count)) == sizeof(count);
}

static void go_live(struct pci_device *d, unsigned int v)
{
	static struct log_limit limit;
	struct pci_vector *vector = &d->msix.vectors[v];
	struct msi_message m = message(d, v);
	int r;

	if (vector->fd < 0)
		return;
	r = d->dev.env->msi->route(d->dev.env->msi_opaque, &vector->route, &m, vector->fd);
	vector->live = r >= 0;
	if (r >= 0)
		return;
	log_guest(&limit, "%s: vector %u has no interrupt route (%s), its interrupts take longer",
		  d->dev.path, v, strerror(-r));
	msix_relay(d, v);
}

static void leave_live(struct pci_device *d, unsigned int v)
{
	struct pci_vector *vector = &d->msix.vectors[v];

	if (vector->route >= 0)
		d->dev.env->msi->unroute(d->dev.env->msi_opaque, vector->route, vector->fd);
	vector->live = false;
	vector->route = -1;
}

/* After its mask or message, or the function's, may have changed. Lock held. */
static void vector_refresh(struct pci_device *d, unsigned int v)
{
	struct pci_msix *x = &d->msix;

	if (!is_open(x, v)) {
		leave_live(d, v);
		return;
	}
	if (take_signal(&x->vectors[v]) || pending(x, v)) {
		pending_set(x, v, false);
		send(d, v);
	}
	go_live(d, v);
}

static void all_refresh(struct pci_device *d)
{
	for (unsigned int v = 0; v < d->msix.entries; v++)
		vector_refresh(d, v);
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_device *d = opaque;
	uint64_t value = 0;

	pthread_mutex_lock(&d->msix.lock);
	memcpy(&value, d->msix.table + offset, size);
	pthread_mutex_unlock(&d->msix.lock);
	return le64toh(value);
}

static void table_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_device *d = opaque;
	unsigned int v = (unsigned int)(offset / ENTRY_BYTES);
	bool masked;

	pthread_mutex_lock(&d->msix.lock);
	store_le32(d->msix.table + offset, (uint32_t)value);
	vector_refresh(d, v);
	masked = !is_open(&d->msix, v);
	pthread_mutex_unlock(&d->msix.lock);
	if (d->vector_changed)
		d->vector_changed(d, v, masked);
}

static uint64_t pba_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_device *d = opaque;
	uint64_t value = 0;

	pthread_mutex_lock(&d->msix.lock);
	for (unsigned int v = 0; v < d->msix.entries; v++)
		if (take_signal(&d->msix.vectors[v]))
			pending_set(&d->msix, v, true);
	memcpy(&value, d->msix.pba + offset, size);
	pthread_mutex_unlock(&d->msix.lock);
	return le64toh(value);
}

static void pba_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	/* read-only */
}

static const struct io_ops table_ops = {table_read, table_write, 4, 4};
static const struct io_ops pba_ops = {pba_read, pba_write, 4, 8};

static void region_init(struct pci_device *d, struct io_region *r, const char *name, uint64_t size,
			const struct io_ops *ops)
{
	*r = (struct io_region){.name = name,
				.kind = IO_MEMORY,
				.size = size,
				.ops = ops,
				.opaque = d,
				.lock = d->dev.lock,
				.priority = 2};
}

static void vectors_create(struct pci_msix *x)
{
	x->table = mem_zalloc((size_t)x->entries * ENTRY_BYTES);
	x->pba = mem_zalloc(pba_bytes(x));
	x->vectors = mem_calloc(x->entries, sizeof(*x->vectors));
	for (unsigned int v = 0; v < x->entries; v++) {
		x->vectors[v] = (struct pci_vector){.fd = -1, .route = -1};
		entry(x, v)[PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
}

static uint64_t bar_size(uint64_t end)
{
	uint64_t size = 4096;

	while (size < end)
		size *= 2;
	return size;
}

/**
 * pci_msix_init() - Give a function MSI-X
 * @d:		Initialised, not attached yet
 * @entries:	1-2048
 * @bar:	Which BAR; if it is none yet, a 32-bit memory BAR is made for it
 * @table_offset, @pba_offset: In the BAR, multiples of 8
 * @cap_offset:	Of the capability, 0: the first that is free
 * @e:		Set on failure only
 *
 * Errors: EINVAL too many entries, ENOSPC no room for the capability
 * Return: 0, or a negative errno
 */
int pci_msix_init(struct pci_device *d, uint16_t entries, int bar, uint32_t table_offset,
		  uint32_t pba_offset, uint8_t cap_offset, struct err *e)
{
	struct pci_msix *x = &d->msix;
	int cap;

	if (!entries || entries > 2048)
		return err_set(e, EINVAL, "%u MSI-X vectors, 1 to 2048 are possible", entries);
	cap = pci_add_capability(d, PCI_CAP_ID_MSIX, cap_offset, PCI_CAP_MSIX_SIZEOF, e);
	if (cap < 0)
		return cap;
	pthread_mutex_init(&x->lock, NULL);
	x->entries = entries;
	x->cap = (uint8_t)cap;
	x->bar = bar;
	x->table_offset = table_offset;
	x->pba_offset = pba_offset;
	vectors_create(x);
	store_le16(d->config + cap + PCI_MSIX_FLAGS, (uint16_t)(entries - 1));
	d->wmask[cap + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	store_le32(d->config + cap + PCI_MSIX_TABLE, table_offset | (uint32_t)bar);
	store_le32(d->config + cap + PCI_MSIX_PBA, pba_offset | (uint32_t)bar);
	if (!d->bars[bar].size)
		bar_reserve(d, bar,
			    bar_size(MAX(table_offset + entries * 16u,
					 pba_offset + (uint32_t)pba_bytes(x))),
			    0);
	region_init(d, &x->table_region, "msix-table", entries * 16u, &table_ops);
	region_init(d, &x->pba_region, "msix-pba", pba_bytes(x), &pba_ops);
	return 0;
}

/**
 * msix_release() - Give back what pci_msix_init() took
 * @d:		Detached
 */
void msix_release(struct pci_device *d)
{
	struct pci_msix *x = &d->msix;

	if (!x->entries)
		return;
	msix_relays_release(d);
	for (unsigned int v = 0; v < x->entries; v++) {
		leave_live(d, v);
		fd_close(&x->vectors[v].fd);
	}
	mem_free(&x->table);
	mem_free(&x->pba);
	mem_free(&x->vectors);
	pthread_mutex_destroy(&x->lock);
	x->entries = 0;
}

/**
 * msix_place() - Follow the BAR
 * @d:		The function
 * @bar:	The BAR the table is in
 */
void msix_place(struct pci_device *d, const struct pci_bar *bar)
{
	io_region_set(&d->msix.table_region, bar->addr + d->msix.table_offset, bar->mapped);
	io_region_set(&d->msix.pba_region, bar->addr + d->msix.pba_offset, bar->mapped);
}

static bool control_read(struct pci_device *d)
{
	struct pci_msix *x = &d->msix;
	uint16_t flags = load_le16(d->config + x->cap + PCI_MSIX_FLAGS);
	bool was = x->enabled && !x->masked;

	x->enabled = flags & PCI_MSIX_FLAGS_ENABLE;
	x->masked = flags & PCI_MSIX_FLAGS_MASKALL;
	return was != (x->enabled && !x->masked);
}

static void all_changed(struct pci_device *d)
{
	for (unsigned int v = 0; d->vector_changed && v < d->msix.entries; v++)
		d->vector_changed(d, v, !is_open(&d->msix, v));
}

/**
 * msix_control_written() - The guest wrote the capability
 * @d:		The function; its lock held
 */
void msix_control_written(struct pci_device *d)
{
	bool changed;

	pthread_mutex_lock(&d->msix.lock);
	changed = control_read(d);
	if (changed)
		all_refresh(d);
	pthread_mutex_unlock(&d->msix.lock);
	if (d->msix.enabled)
		pci_intx_set(d, false);
	if (changed)
		all_changed(d);
}

/**
 * msix_reset() - Off, all vectors masked, nothing pending
 * @d:		The function
 */
void msix_reset(struct pci_device *d)
{
	struct pci_msix *x = &d->msix;

	if (!x->entries)
		return;
	pthread_mutex_lock(&x->lock);
	d->config[x->cap + PCI_MSIX_FLAGS + 1] &= (uint8_t)~d->wmask[x->cap + PCI_MSIX_FLAGS + 1];
	control_read(d);
	memset(x->table, 0, (size_t)x->entries * ENTRY_BYTES);
	memset(x->pba, 0, pba_bytes(x));
	for (unsigned int v = 0; v < x->entries; v++) {
		entry(x, v)[PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		leave_live(d, v);
		take_signal(&x->vectors[v]);
	}
	pthread_mutex_unlock(&x->lock);
}

/**
 * pci_msix_enabled() - Does the guest use MSI-X?
 * @d:		The function
 *
 * Return: the capability's enable bit
 */
bool pci_msix_enabled(const struct pci_device *d)
{
	return __atomic_load_n(&d->msix.enabled, __ATOMIC_RELAXED);
}

/**
 * pci_msix_notify() - Raise a vector, or leave it pending while masked
 * @d:		Any thread, any lock held
 * @vector:	Ignored if there is no such vector (the guest chose the number)
 */
void pci_msix_notify(struct pci_device *d, unsigned int vector)
{
	struct pci_msix *x = &d->msix;

	if (vector >= x->entries)
		return;
	pthread_mutex_lock(&x->lock);
	if (is_open(x, vector))
		send(d, vector);
	else if (x->enabled)
		pending_set(x, vector, true);
	pthread_mutex_unlock(&x->lock);
}

/**
 * pci_msix_irqfd() - The eventfd of a vector
 * @d:		The function
 * @vector:	Which
 *
 * Return: borrowed, stays the same until the function is released; -1: there is no such vector or
 * no eventfd
 */
int pci_msix_irqfd(struct pci_device *d, unsigned int vector)
{
	struct pci_msix *x = &d->msix;
	int fd;

	if (vector >= x->entries || !d->dev.env->msi || !d->dev.env->msi->route)
		return -1;
	pthread_mutex_lock(&x->lock);
	if (x->vectors[vector].fd < 0) {
		x->vectors[vector].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		vector_refresh(d, vector);
	}
	fd = x->vectors[vector].fd;
	pthread_mutex_unlock(&x->lock);
	return fd;
}

/**
 * msix_forward() - Send what waits in a vector's eventfd
 * @d:		The function; main thread
 * @vector:	Has an eventfd
 *
 * Return: false: the vector has a route, the kernel sends it
 */
bool msix_forward(struct pci_device *d, unsigned int vector)
{
	struct pci_msix *x = &d->msix;
	bool live;

	pthread_mutex_lock(&x->lock);
	live = x->vectors[vector].live;
	if (take_signal(&x->vectors[vector])) {
		if (is_open(x, vector))
			send(d, vector);
		else
			pending_set(x, vector, true);
	}
	pthread_mutex_unlock(&x->lock);
	return !live;
}

/**
 * pci_msix_pba_bytes() - Size of the pending bits on the wire
 * @d:		The function
 *
 * Return: bytes
 */
size_t pci_msix_pba_bytes(const struct pci_device *d)
{
	return DIV_ROUND_UP((size_t)d->msix.entries, 8);
}

/**
 * pci_msix_capture() - Copy table and pending bits out
 * @d:		Guest stopped
 * @table:	16 bytes an entry
 * @pba:	pci_msix_pba_bytes(); signals that wait in eventfds are in it, and stay there
 */
void pci_msix_capture(const struct pci_device *d, uint8_t *table, uint8_t *pba)
{
	const struct pci_msix *x = &d->msix;

	memcpy(table, x->table, (size_t)x->entries * ENTRY_BYTES);
	memcpy(pba, x->pba, pci_msix_pba_bytes(d));
	for (unsigned int v = 0; v < x->entries; v++)
		if (signalled(&x->vectors[v]))
			pba[v / 8] |= (uint8_t)(1u << v % 8);
}

/**
 * pci_msix_apply() - Take over table and pending bits
 * @d:		Its configuration space is applied already
 * @table:	16 bytes an entry
 * @pba:	pci_msix_pba_bytes()
 */
void pci_msix_apply(struct pci_device *d, const uint8_t *table, const uint8_t *pba)
{
	struct pci_msix *x = &d->msix;

	if (!x->entries)
		return;
	pthread_mutex_lock(&x->lock);
	memcpy(x->table, table, (size_t)x->entries * ENTRY_BYTES);
	memset(x->pba, 0, pba_bytes(x));
	memcpy(x->pba, pba, pci_msix_pba_bytes(d));
	control_read(d);
	all_refresh(d);
	pthread_mutex_unlock(&x->lock);
	all_changed(d);
}
