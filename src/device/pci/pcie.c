/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the PCI Express capability (version 2) as endpoints and ports have it. There
 * is no link underneath: widths and speeds are what the registers say, always up.
 *
 * Source: PCI Express Base Specification 3.1, 7.8.
 */
#include "base/bytes.h"
#include "device/pci/internal.h"

/**
 * pci_express_init() - Give a function the PCI Express capability
 * @d:		Has @express
 * @cap_offset:	Of the capability, 0: the first that is free
 * @type:	PCI_EXP_TYPE_...
 * @port:	Port number
 * @e:		Set on failure only
 *
 * Return: 0, or -ENOSPC
 */
int pci_express_init(struct pci_device *d, uint8_t cap_offset, uint8_t type, uint8_t port,
		     struct err *e)
{
	int at = pci_add_capability(d, PCI_CAP_ID_EXP, cap_offset, 0x3c, e);
	uint8_t *cap = d->config + at;

	if (at < 0)
		return at;
	d->exp_cap = (uint8_t)at;
	store_le16(cap + PCI_EXP_FLAGS, (uint16_t)(type << 4 | 2));
	store_le32(cap + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER);
	store_le32(cap + PCI_EXP_LNKCAP, (uint32_t)port << 24 | 1u << 10 | 1u << 4 | 1);
	store_le16(cap + PCI_EXP_LNKSTA, 1u << 4 | 1);
	store_le16(d->cmask + at + PCI_EXP_LNKSTA, 0);
	store_le32(cap + PCI_EXP_DEVCAP2, 0x00300000); /* extended format, end-to-end prefixes */
	store_le16(d->wmask + at + PCI_EXP_DEVCTL2, 0x8000);
	store_le32(d->wmask + 0x100, 0); /* no extended capability yet: the null header */
	return 0;
}

/**
 * pci_express_errors() - Let error reporting be switched on; errors never happen
 * @d:		Has the capability
 */
void pci_express_errors(struct pci_device *d)
{
	d->wmask[d->exp_cap + PCI_EXP_DEVCTL] |= PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE |
						 PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE;
	d->w1cmask[d->exp_cap + PCI_EXP_DEVSTA] |= 0x0f;
}
