/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_WIRES_H
#define MACHINE_WIRES_H

#include "device/device.h"
#include "kvm/kvm.h"

/*
 * Where the devices' promises meet KVM: interrupt lines, MSI, doorbells. Each opaque is the struct
 * kvm_vm.
 */

extern const struct msi_ops wires_msi;

void wires_gsi(void *kvm_vm, int line, bool level); /* struct irq.set */
struct io_doorbell_ops wires_doorbells(struct kvm_vm *vm);

#endif
