/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: MSI as the chipset's functions have it: one vector, 64-bit address, no mask
 * bit. Everything is in configuration space, so there is no state beside it.
 */
#include "base/bytes.h"
#include "device/pci/internal.h"

/**
 * pci_msi_init() - Give a function MSI
 * @d:		Initialised
 * @cap_offset:	Of the capability, 0: the first that is free
 * @e:		Set on failure only
 *
 * Return: 0, or -ENOSPC
 */
int pci_msi_init(struct pci_device *d, uint8_t cap_offset, struct err *e)
{
	int cap = pci_add_capability(d, PCI_CAP_ID_MSI, cap_offset, 14, e);

	if (cap < 0)
		return cap;
	d->msi_cap = (uint8_t)cap;
	store_le16(d->config + cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT);
	store_le16(d->wmask + cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
	store_le32(d->wmask + cap + PCI_MSI_ADDRESS_LO, 0xfffffffc);
	store_le32(d->wmask + cap + PCI_MSI_ADDRESS_HI, UINT32_MAX);
	store_le16(d->wmask + cap + PCI_MSI_DATA_64, 0xffff);
	return 0;
}

/**
 * pci_msi_enabled() - Does the guest use MSI?
 * @d:		The function
 *
 * Return: the capability's enable bit
 */
bool pci_msi_enabled(const struct pci_device *d)
{
	return d->msi_cap && d->config[d->msi_cap + PCI_MSI_FLAGS] & PCI_MSI_FLAGS_ENABLE;
}

/**
 * pci_msi_notify() - Send the function's MSI
 * @d:		Device lock held; nothing happens while MSI is off
 */
void pci_msi_notify(struct pci_device *d)
{
	const uint8_t *cap = d->config + d->msi_cap;
	struct msi_message m = {
		.addr = load_le64(cap + PCI_MSI_ADDRESS_LO),
		.data = load_le16(cap + PCI_MSI_DATA_64),
		.requester = pci_requester(d),
	};

	if (pci_msi_enabled(d) && pci_bus_master(d) && d->dev.env->msi)
		d->dev.env->msi->send(d->dev.env->msi_opaque, &m);
}

/**
 * msi_control_written() - The guest wrote the capability
 * @d:		The function
 *
 * More vectors than the one there is can't be allocated: the field goes back to what is possible.
 */
void msi_control_written(struct pci_device *d)
{
	if (pci_msi_enabled(d))
		pci_intx_set(d, false);
	d->config[d->msi_cap + PCI_MSI_FLAGS] &= (uint8_t)~PCI_MSI_FLAGS_QSIZE;
}

/**
 * msi_reset() - Off
 * @d:		The function
 */
void msi_reset(struct pci_device *d)
{
	if (!d->msi_cap)
		return;
	d->config[d->msi_cap + PCI_MSI_FLAGS] &= (uint8_t) ~(PCI_MSI_FLAGS_QSIZE |
							     PCI_MSI_FLAGS_ENABLE);
	store_le64(d->config + d->msi_cap + PCI_MSI_ADDRESS_LO, 0);
	store_le16(d->config + d->msi_cap + PCI_MSI_DATA_64, 0);
}
