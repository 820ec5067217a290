/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_INTERNAL_H
#define DEVICE_INTERNAL_H

#include "device/pci/pci.h"

/* What the files of the PCI core tell each other. */

unsigned int bar_register(const struct pci_device *d, int bar);
void bars_reset(struct pci_device *d);
void bars_show(struct pci_device *d);
void bars_hide(struct pci_device *d);
void bar_reserve(struct pci_device *d, int bar, uint64_t size, uint8_t flags);

void intx_refresh(struct pci_device *d);
void intx_restore(struct pci_device *d, bool level);

void msi_control_written(struct pci_device *d);
void msi_reset(struct pci_device *d);
void msix_control_written(struct pci_device *d);
void msix_reset(struct pci_device *d);
void msix_release(struct pci_device *d);
void msix_place(struct pci_device *d, const struct pci_bar *bar);
/* Send what waits in a vector's eventfd. False: the vector has a route, the kernel does that. */
bool msix_forward(struct pci_device *d, unsigned int vector);
void msix_relay(struct pci_device *d, unsigned int vector);
void msix_relays_release(struct pci_device *d);

#endif
