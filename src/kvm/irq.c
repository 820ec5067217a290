/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the kernel wants the whole routing table at each change and waits for a
 * grace period, so changes can be bundled (kvm_routes_begin/commit). GSIs 0-23 are the interrupt
 * controllers' pins and never change; each MSI route has a GSI of its own above them. An eventfd
 * may be bound before its route reaches the kernel: the kernel looks the route up again at every
 * change of the table.
 */
#include "base/log.h"
#include "base/owned.h"
#include "kvm/private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

static void entry_msi(struct kvm_irq_routing_entry *to, unsigned int gsi,
		      const struct kvm_msi_entry *m)
{
	*to = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = (uint32_t)m->addr,
			  .address_hi = (uint32_t)(m->addr >> 32),
			  .data = m->data},
	};
}

static int routing_push(struct kvm_vm *vm, struct err *e)
{
	struct kvm_routing *t = &vm->routing;
	size_t room = t->fixed_len + t->msi_len;
	OWNED(struct kvm_irq_routing) *table =
		mem_zalloc(sizeof(*table) + room * sizeof(table->entries[0]));

	if (!table)
		return err_set(e, ENOMEM, "no memory for %zu interrupt routes", room);
	memcpy(table->entries, t->fixed, t->fixed_len * sizeof(t->fixed[0]));
	table->nr = t->fixed_len;
	for (unsigned int i = 0; i < t->msi_len; i++)
		if (t->msi[i].used)
			entry_msi(&table->entries[table->nr++], KVM_MSI_GSI0 + i, &t->msi[i]);
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0)
		return err_sys(e, "KVM_SET_GSI_ROUTING of %" PRIu32 " routes", table->nr);
	t->changed = false;
	return 0;
}

/* With the lock held. */
static int routing_changed(struct kvm_vm *vm, struct err *e)
{
	vm->routing.changed = true;
	return vm->routing.depth ? 0 : routing_push(vm, e);
}

/**
 * kvm_routing_init() - Give the kernel the interrupt controllers' pins
 * @vm:		A VM with irqchip
 * @e:		Set on failure
 *
 * Errors: as KVM_SET_GSI_ROUTING
 * Return: 0, or a negative errno
 */
int kvm_routing_init(struct kvm_vm *vm, struct err *e)
{
	vm->routing.fixed_len = kvm_arch_fixed_routes(vm->routing.fixed);
	return routing_push(vm, e);
}

/**
 * kvm_routing_destroy() - Release the table
 * @vm:		A VM that is going away
 */
void kvm_routing_destroy(struct kvm_vm *vm)
{
	free(vm->routing.msi);
	vm->routing.msi = NULL;
	pthread_mutex_destroy(&vm->routing.lock);
}

/**
 * kvm_routes_begin() - Begin several route changes; nests
 * @vm:		A VM
 */
void kvm_routes_begin(struct kvm_vm *vm)
{
	pthread_mutex_lock(&vm->routing.lock);
	vm->routing.depth++;
	pthread_mutex_unlock(&vm->routing.lock);
}

/**
 * kvm_routes_commit() - Let the changes since kvm_routes_begin() take effect
 * @vm:		A VM
 * @e:		Set on failure
 *
 * Errors: ENOMEM; as KVM_SET_GSI_ROUTING
 * Return: 0, or a negative errno
 */
int kvm_routes_commit(struct kvm_vm *vm, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&vm->routing.lock);
	if (--vm->routing.depth == 0 && vm->routing.changed)
		r = routing_push(vm, e);
	pthread_mutex_unlock(&vm->routing.lock);
	return r;
}

static int route_grow(struct kvm_routing *t)
{
	unsigned int room = t->msi_room ? t->msi_room * 2 : 64;
	struct kvm_msi_entry *msi;

	if (t->msi_room >= KVM_ROUTES_MAX - 64)
		return -ENOSPC;
	room = MIN(room, KVM_ROUTES_MAX - 64U);
	msi = realloc(t->msi, room * sizeof(*msi));
	if (!msi)
		return -ENOMEM;
	memset(msi + t->msi_room, 0, (room - t->msi_room) * sizeof(*msi));
	t->msi = msi;
	t->msi_room = room;
	return 0;
}

static int route_new(struct kvm_routing *t)
{
	unsigned int i = 0;

	while (i < t->msi_room && t->msi[i].used)
		i++;
	if (i == t->msi_room) {
		int r = route_grow(t);

		if (r < 0)
			return r;
	}
	t->msi[i] = (struct kvm_msi_entry){.used = true, .fd = -1};
	t->msi_len = MAX(t->msi_len, i + 1);
	return (int)i;
}

static int irqfd(struct kvm_vm *vm, int route, int fd, bool on)
{
	struct kvm_irqfd arg = {
		.fd = (uint32_t)fd,
		.gsi = KVM_MSI_GSI0 + (uint32_t)route,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return ioctl(vm->fd, KVM_IRQFD, &arg) < 0 ? -errno : 0;
}

static int route_bind(struct kvm_vm *vm, int route, int fd)
{
	struct kvm_msi_entry *m = &vm->routing.msi[route];
	int r = 0;

	if (m->fd == fd)
		return 0;
	if (m->fd >= 0)
		irqfd(vm, route, m->fd, false);
	m->fd = -1;
	if (fd >= 0)
		r = irqfd(vm, route, fd, true);
	if (r == 0)
		m->fd = fd;
	return r;
}

static int route_set(struct kvm_vm *vm, int route, const struct kvm_msi_entry *want, int fd)
{
	struct kvm_msi_entry *m = &vm->routing.msi[route];
	int r = 0;

	if (m->addr != want->addr || m->data != want->data || m->devid != want->devid ||
	    m->fd < 0) {
		m->addr = want->addr;
		m->data = want->data;
		m->devid = want->devid;
		r = routing_changed(vm, NULL);
	}
	return r < 0 ? r : route_bind(vm, route, fd);
}

static void route_free(struct kvm_vm *vm, int route)
{
	route_bind(vm, route, -1);
	vm->routing.msi[route].used = false;
	vm->routing.changed = true; /* the kernel may forget it at the next change */
}

/**
 * kvm_msi_route() - Make an eventfd raise an MSI, or change which
 * @vm:		A VM
 * @route:	In: -1 for a new one; out, on success: its handle
 * @addr:	MSI address
 * @data:	MSI data
 * @devid:	Requester id (not used on x86)
 * @fd:		Eventfd, borrowed until another is set or the route is gone; -1: none
 *
 * Callable while vCPUs run, from any thread.
 *
 * Errors: ENOSPC too many routes; ENOMEM; as KVM_IRQFD and KVM_SET_GSI_ROUTING
 * Return: 0, or a negative errno
 */
int kvm_msi_route(struct kvm_vm *vm, int *route, uint64_t addr, uint32_t data, uint32_t devid,
		  int fd)
{
	struct kvm_msi_entry want = {.addr = addr, .data = data, .devid = devid};
	bool fresh = *route < 0;
	int n, r;

	pthread_mutex_lock(&vm->routing.lock);
	n = fresh ? route_new(&vm->routing) : *route;
	r = n < 0 ? n : route_set(vm, n, &want, fd);
	if (r < 0 && fresh && n >= 0)
		route_free(vm, n);
	pthread_mutex_unlock(&vm->routing.lock);
	if (r == 0)
		*route = n;
	return r;
}

/**
 * kvm_msi_unroute() - Release a route
 * @vm:		A VM
 * @route:	Its handle; -1 does nothing
 * @fd:		The eventfd bound to it (known here as well; for the reader of the call)
 */
void kvm_msi_unroute(struct kvm_vm *vm, int route, int fd)
{
	if (route < 0)
		return;
	pthread_mutex_lock(&vm->routing.lock);
	route_free(vm, route);
	pthread_mutex_unlock(&vm->routing.lock);
}

/**
 * kvm_msi_send() - Deliver an MSI now
 * @vm:		A VM
 * @addr:	Address
 * @data:	Data
 * @devid:	Requester id (not used on x86)
 *
 * What the guest programmed wrongly is lost, as on a real bus.
 */
void kvm_msi_send(struct kvm_vm *vm, uint64_t addr, uint32_t data, uint32_t devid)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
	};

	ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

/**
 * kvm_irq_line() - Drive an input of the interrupt controllers
 * @vm:		A VM
 * @gsi:	0-23
 * @level:	High or low
 */
void kvm_irq_line(struct kvm_vm *vm, unsigned int gsi, bool level)
{
	struct kvm_irq_level arg = {.irq = gsi, .level = level};

	if (ioctl(vm->fd, KVM_IRQ_LINE, &arg) < 0)
		log_error("KVM_IRQ_LINE %u: errno %d", gsi, errno);
}

/**
 * kvm_ioeventfd() - Turn a guest write into an eventfd signal, or stop doing so
 * @vm:		A VM
 * @port:	Port, not memory
 * @addr:	Address
 * @size:	Of the write, bytes; 0: any
 * @datamatch:	Only for the value @match
 * @match:	See @datamatch
 * @fd:		Eventfd, borrowed
 * @on:		Bind or unbind
 *
 * Errors: as KVM_IOEVENTFD
 * Return: 0, or a negative errno
 */
int kvm_ioeventfd(struct kvm_vm *vm, bool port, uint64_t addr, unsigned int size, bool datamatch,
		  uint64_t match, int fd, bool on)
{
	struct kvm_ioeventfd arg = {
		.datamatch = match,
		.addr = addr,
		.len = size,
		.fd = fd,
		.flags = (port ? KVM_IOEVENTFD_FLAG_PIO : 0) |
			 (datamatch ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(vm->fd, KVM_IOEVENTFD, &arg) < 0 ? -errno : 0;
}
