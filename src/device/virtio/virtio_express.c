/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a virtio function behind a PCIe port is an Express endpoint: it has the
 * Express capability, power management with states that do nothing, and can be reset by itself
 * (function level reset, a bit that reads as 0).
 *
 * Source: PCI Express Base Specification 3.1, 6.6.2 and 7.8; PCI Power Management 1.2.
 */
#include "base/bytes.h"
#include "device/virtio/virtio.h"

#define PM_VERSION 3 /* of the specification: 1.2 */

/**
 * virtio_express_init() - Make the function an Express endpoint
 * @v:		Its configuration space is made, without capabilities
 * @e:		Set on failure only
 *
 * Return: 0, or -ENOSPC
 */
int virtio_express_init(struct virtio *v, struct err *e)
{
	struct pci_device *d = &v->pci;
	int r = pci_express_init(d, 0, PCI_EXP_TYPE_ENDPOINT, 0, e), at;

	if (r < 0)
		return r;
	at = pci_add_capability(d, PCI_CAP_ID_PM, 0, PCI_PM_SIZEOF, e);
	if (at < 0)
		return at;
	store_le16(d->config + at + PCI_PM_PMC, PM_VERSION);
	store_le16(d->wmask + at + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
	v->pm_cap = (uint8_t)at;
	pci_express_errors(d);
	store_le16(d->wmask + d->exp_cap + PCI_EXP_LNKCTL, PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES);
	store_le32(d->config + d->exp_cap + PCI_EXP_DEVCAP,
		   PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR);
	d->wmask[d->exp_cap + PCI_EXP_DEVCTL + 1] |= PCI_EXP_DEVCTL_BCR_FLR >> 8;
	return 0;
}

/**
 * virtio_express_written() - Look whether the guest asked for a function level reset
 * @v:		An Express endpoint, or not
 */
void virtio_express_written(struct virtio *v)
{
	struct pci_device *d = &v->pci;
	uint8_t *control = d->config + d->exp_cap + PCI_EXP_DEVCTL;

	if (!d->exp_cap || !(load_le16(control) & PCI_EXP_DEVCTL_BCR_FLR))
		return;
	store_le16(control, 0);
	virtio_device_reset(&d->dev);
}

/**
 * virtio_express_reset() - Power-on values
 * @v:		An Express endpoint, or not
 */
void virtio_express_reset(struct virtio *v)
{
	struct pci_device *d = &v->pci;

	if (!d->exp_cap)
		return;
	store_le16(d->config + d->exp_cap + PCI_EXP_DEVCTL, 0);
	store_le16(d->config + d->exp_cap + PCI_EXP_DEVSTA, 0);
	store_le16(d->config + d->exp_cap + PCI_EXP_LNKCTL, 0);
	store_le16(d->config + v->pm_cap + PCI_PM_CTRL, 0);
}
