/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the device room knows nothing of KVM, the kvm room nothing of devices. Here
 * one's function pointers call the other. An MSI that can't be sent or a doorbell that can't be
 * bound isn't an error of the guest's: the dispatcher signals the eventfd itself (device/io.h), and
 * what is lost otherwise is logged by the kvm room.
 */
#include "machine/wires.h"

/**
 * wires_gsi() - Drive an input of the IOAPIC and, below 16, of the PICs
 * @kvm_vm:	struct kvm_vm
 * @line:	0 to 23
 * @level:	High or low
 */
void wires_gsi(void *kvm_vm, int line, bool level)
{
	kvm_irq_line(kvm_vm, (unsigned int)line, level);
}

static void msi_send(void *opaque, const struct msi_message *m)
{
	kvm_msi_send(opaque, m->addr, m->data, m->requester);
}

static int msi_route(void *opaque, int *route, const struct msi_message *m, int fd)
{
	return kvm_msi_route(opaque, route, m->addr, m->data, m->requester, fd);
}

static void msi_unroute(void *opaque, int route, int fd)
{
	kvm_msi_unroute(opaque, route, fd);
}

const struct msi_ops wires_msi = {.send = msi_send, .route = msi_route, .unroute = msi_unroute};

static int doorbell_bind(void *opaque, enum io_kind kind, uint64_t addr,
			 const struct io_doorbell *d, bool on)
{
	return kvm_ioeventfd(opaque, kind == IO_PORT, addr, d->size, d->datamatch, d->match, d->fd,
			     on);
}

/**
 * wires_doorbells() - Doorbells that don't leave the kernel
 * @vm:		The VM
 *
 * Return: for io_space_create()
 */
struct io_doorbell_ops wires_doorbells(struct kvm_vm *vm)
{
	return (struct io_doorbell_ops){.bind = doorbell_bind, .opaque = vm};
}
